/* SPDX-License-Identifier: ISC */
/*
 * secretfile: the LMDB file under the secrets, and all of LMDB's quirks.
 *
 * For secrets.c. Keys: "k" → u8 version, 32 random octets made with the file; "u" + name → a record.
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

struct secretfile;
/* A writer's file is opened, or made, at once: SECRETS_TEMP. A reader's need not be there yet. */
int secretfile_open(struct secretfile **file_r, const char *path, bool writer);
void secretfile_close(struct secretfile **file);
bool secretfile_exists(const struct secretfile *file); /* now, at its path */

/*
 * The file's key (CREDENTIALS_FILE_KEY_OCTETS) and the record of user (CREDENTIALS_OCTETS; its length in
 * len_r). SECRETS_NO_USER: the key is there, the record is not. SECRETS_TEMP with errno.
 */
int secretfile_get(
    struct secretfile *file, const char *user, uint8_t *key_r, uint8_t *record_r, size_t *len_r);

/* must_exist: SECRETS_NO_USER unless there; else SECRETS_EXISTS when there. Durable on return. */
int secretfile_put(
    struct secretfile *file, const char *user, const void *record, size_t len, bool must_exist);
int secretfile_delete(struct secretfile *file, const char *user); /* SECRETS_NO_USER, SECRETS_TEMP */

/*
 * The first user whose name comes after the one in user (SECRETS_USER_OCTETS + 1), which it replaces; ""
 * starts. SECRETS_NO_USER: no more.
 */
int secretfile_next(struct secretfile *file, char *user, uint8_t *record_r, size_t *len_r);

#endif
