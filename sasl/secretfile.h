/* SPDX-License-Identifier: ISC */
/*
 * secretfile: the LMDB file under the secrets, and all of LMDB's quirks.
 *
 * For secrets.c. Keys: "d" → what is usual (usual.h), which older files lack; "k" → u8
 * version, 32 random octets made with the file; "u" + name → a record.
 * A reader opens when it first looks something up and again when another file lies at the path, so a
 * file made, or replaced, after the server's start is found. Every transaction ends within the call
 * that began it. One process, one open environment: never kept over a fork.
 */
#ifndef KPOPD_SASL_SECRETFILE_H
#define KPOPD_SASL_SECRETFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "credentials.h"
#include "secrets.h"
#include "usual.h"

struct secretfile;
/* A writer's file is opened, or made, at once: SECRETS_TEMP. A reader's need not be there yet. */
int secretfile_open(struct secretfile **file_r, const char *path, bool writer);
void secretfile_close(struct secretfile **file);
bool secretfile_exists(const struct secretfile *file); /* now, at its path */

/*
 * The file's key (CREDENTIALS_FILE_KEY_OCTETS), what is usual, and the record of user (CREDENTIALS_OCTETS;
 * its length in len_r). SECRETS_NO_USER: the former are there, the record is not. SECRETS_TEMP with errno.
 */
int secretfile_get(struct secretfile *file, const char *user, uint8_t *key_r, struct usual *usual_r,
    uint8_t *record_r, size_t *len_r);

struct secretfile_entry {
	const char *user;
	uint8_t record[CREDENTIALS_OCTETS];
	size_t len;
};
/*
 * All of them or none, durable on return. SECRETS_ADD: SECRETS_EXISTS when one is there; SECRETS_REPLACE:
 * SECRETS_NO_USER unless it is. failed_r, which may be NULL, says which one.
 */
int secretfile_put(struct secretfile *file, const struct secretfile_entry *entries, size_t count,
    enum secrets_entering how, size_t *failed_r);
int secretfile_put_usual(struct secretfile *file, const struct usual *usual);
int secretfile_delete(struct secretfile *file, const char *user); /* SECRETS_NO_USER, SECRETS_TEMP */
/* How many entries there are, about as many as users. */
size_t secretfile_count(struct secretfile *file);

/*
 * The first user whose name comes after the one in user (SECRETS_USER_OCTETS + 1), which it replaces; ""
 * starts. SECRETS_NO_USER: no more.
 */
int secretfile_next(struct secretfile *file, char *user, uint8_t *record_r, size_t *len_r);

#endif
