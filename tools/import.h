/* SPDX-License-Identifier: ISC */
/*
 * import: users of another server's file into the secrets.
 *
 * For kpopctl. The file is read whole and looked through before anything is written, so that by default
 * a bad line leaves everything as it was; then the users go in by transactions of some hundred.
 */
#ifndef KPOPD_TOOLS_IMPORT_H
#define KPOPD_TOOLS_IMPORT_H

#include <stdbool.h>

#include "sasl/secrets.h"
#include "server/config.h"

#define IMPORT_FILE_OCTETS ((size_t)256 << 20) /* a million users and more */
#define IMPORT_BATCH_COUNT 256u                /* users a transaction */

enum import_format { IMPORT_GUESS = 0, IMPORT_SASLDB, IMPORT_DOVECOT, IMPORT_HTPASSWD };

struct import_options {
	enum import_format format;
	const char *realm; /* of a sasldb; NULL: all of it, if it has one only */
	bool keep_realm, replace, keep_going, dry_run;
	struct secrets_forms forms; /* for passwords that are there in the clear */
	/* Opens the secrets; NULL: there are none yet, or, of a writer, that was told. */
	struct secrets *(*open)(const struct config *config, bool writer);
	const struct config *config;
};

/* "sasldb", "dovecot", "htpasswd". 0 or -1. */
int import_format_find(const char *name, enum import_format *format_r);
/* path "-": standard input. The exit status. */
int import_run(const char *path, const struct import_options *options);

#endif
