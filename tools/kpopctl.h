/* SPDX-License-Identifier: ISC */
/*
 * kpopctl: what its nouns share: how they complain, and what is the same in all of them.
 *
 * A noun ("user", "map") is a row of the table in kpopctl.c: a main of its own, which gets all that was typed
 * and returns the exit status, and a usage of its own.
 */
#ifndef KPOPD_TOOLS_KPOPCTL_H
#define KPOPD_TOOLS_KPOPCTL_H

#include <stdio.h>

#include "server/config.h"

#define KPOPCTL_CONFIG KPOPD_SYSCONFDIR "/kpopd/kpopd.conf" /* without -c */

/* Prints the commands of a noun, each a line that begins "       kpopctl [-c FILE] NOUN", and its options. */
typedef void kpopctl_usage_fn(FILE *out);

/* One line on standard error; EXIT_FAILURE. */
int kpopctl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The usage on standard error, EX_USAGE; on standard output, EXIT_SUCCESS. */
int kpopctl_misused(kpopctl_usage_fn *usage);
int kpopctl_help(kpopctl_usage_fn *usage);
/* Prints the version; EXIT_SUCCESS. */
int kpopctl_version(void);
/* The configuration of a server; NULL: the reason was told. */
struct config *kpopctl_config(const char *path);

#endif
