/* SPDX-License-Identifier: ISC */
/*
 * mbox_date: when a message came, by the "From " line before it, as pure code.
 *
 * Deliverers write their local time, most without a zone, so what is read here is the latest it can have
 * been: for whoever must not take a message for older than it is.
 */
#ifndef KPOPD_STORE_MBOX_DATE_H
#define KPOPD_STORE_MBOX_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In any of the forms of mbox_from.h. Seconds since the epoch; false: there is no date. */
bool mbox_date(const char *line, size_t len, int64_t *secs_r);

#endif
