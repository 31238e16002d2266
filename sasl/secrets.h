/* SPDX-License-Identifier: ISC */
/*
 * secrets: the users' stored keys, in one LMDB file.
 *
 * For auth, which reads it, and kpopctl, which writes it. For each user there are SCRAM keys (RFC 5802
 * StoredKey and ServerKey, SHA-1 and SHA-256) and, only for users who are to have CRAM-MD5 or APOP, the
 * password itself. The file also keeps a random key of its own, from which unknown users get stable
 * fake records, so that no mechanism tells who exists.
 */
#ifndef KPOPD_SASL_SECRETS_H
#define KPOPD_SASL_SECRETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRETS_USER_OCTETS 255
#define SECRETS_PASSWORD_OCTETS 255   /* RFC 4616 section 2 */
#define SECRETS_ITERATIONS_COUNT 4096 /* RFC 7677 section 4: at least */

enum secrets_err {
	SECRETS_OK = 0,
	SECRETS_NO_USER = -1,
	SECRETS_EXISTS = -2,
	SECRETS_REFUSED = -3, /* the password does not match; also for users we do not have */
	SECRETS_TEMP = -4,    /* cannot open, read or write the file now; errno says why */
	SECRETS_INVALID = -5, /* empty, too long, or a NUL inside */
};

struct secrets;
/*
 * Opens path (a file; its lock is path-lock). writer: create it, mode 0600, owned by the directory's owner.
 * A reader's file need not be there yet: each lookup opens what lies at path, if that is not open already.
 */
int secrets_open(struct secrets **secrets_r, const char *path, bool writer);
void secrets_close(struct secrets **secrets);
/* Whether there is a file at the path just now. NULL: no. */
bool secrets_exist(const struct secrets *secrets);

/* Adds a user or changes the password; plain: keep the password itself too. _EXISTS, _NO_USER, _INVALID,
 * _TEMP. */
int secrets_add(struct secrets *secrets, const char *user, const char *password_secret, bool plain);
int secrets_set(struct secrets *secrets, const char *user, const char *password_secret, bool plain);
int secrets_delete(struct secrets *secrets, const char *user); /* _NO_USER, _TEMP */
/* Calls fn for each user in order of name; plain tells whether the password itself is kept. */
typedef int secrets_user_fn(void *arg, const char *user, bool plain);
int secrets_list(struct secrets *secrets, secrets_user_fn *fn, void *arg);

/* Whether password_secret is the user's, at the same cost whoever the user is. 0, _REFUSED, _TEMP. */
int secrets_verify(struct secrets *secrets, const char *user, const char *password_secret, size_t len);

#define SECRETS_VALUE_OCTETS 512
/*
 * What SCRAM needs: "SCRAM-SHA-256$4096:salt$StoredKey:ServerKey" (base64 parts), for known and unknown
 * users alike. hash is "SHA-1" or "SHA-256". value_r has SECRETS_VALUE_OCTETS. _TEMP.
 */
int secrets_scram(struct secrets *secrets, const char *user, const char *hash, char *value_r);
/* The password itself, or for users without one a stable random string nobody knows. The caller wipes it.
 * _TEMP. */
int secrets_plain(struct secrets *secrets, const char *user, char *value_r);

#endif
