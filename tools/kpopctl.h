/* SPDX-License-Identifier: ISC */
/*
 * kpopctl: what its commands share: what was typed, and how they complain.
 *
 * For the commands of kpopctl, each of which returns the exit status.
 */
#ifndef KPOPD_TOOLS_KPOPCTL_H
#define KPOPD_TOOLS_KPOPCTL_H

#include <stdbool.h>
#include <stdint.h>

#include "sasl/secrets.h"
#include "server/config.h"
#include "tools/import.h"

struct options {
	const char *config;
	const char *operand; /* a user's name, checked, or a file; "" when the command takes none */
	struct secrets_forms forms;
	struct import_options import;
};

/* One line on standard error; EXIT_FAILURE. */
int kpopctl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The names of keys, "SHA-1,SHA-256", as bits. 0: not such names. */
unsigned kpopctl_keys(const char *text);

#endif
