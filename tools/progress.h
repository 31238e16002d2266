/* SPDX-License-Identifier: ISC */
/*
 * progress: how far a long work is, on a terminal; nothing when standard error is none.
 */
#ifndef KPOPD_TOOLS_PROGRESS_H
#define KPOPD_TOOLS_PROGRESS_H

#include <stdint.h>

/* "what: done of all", at most some times a second. */
void progress(const char *what, uint64_t done, uint64_t all);
/* Removes it before something else is printed. */
void progress_end(void);

#endif
