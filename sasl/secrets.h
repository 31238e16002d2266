/* SPDX-License-Identifier: ISC */
/*
 * secrets: the users' stored keys, in one LMDB file.
 *
 * For auth, which reads it, and kpopctl, which writes it. A user has SCRAM keys (RFC 5802 StoredKey and
 * ServerKey), or a password hash that another program made (passhash.h) and, only when CRAM-MD5 or APOP
 * are to work, the password itself. The file also keeps a random key of its own, from which unknown users
 * get stable fake records, and what is usual among its users, so that no mechanism tells who exists.
 *
 * Passwords are prepared (SASLprep, prep_query) before keys are made of them. To verify one, its octets as
 * they came are tried, and then, where it makes a difference, their prepared form.
 */
#ifndef KPOPD_SASL_SECRETS_H
#define KPOPD_SASL_SECRETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scramkeys.h"

#define SECRETS_USER_OCTETS 255
#define SECRETS_PASSWORD_OCTETS 255           /* RFC 4616 section 2 */
#define SECRETS_PREPARED_OCTETS 3072          /* with the NUL; NFKC makes 33 octets of 3 at most */
#define SECRETS_ITERATIONS_COUNT 4096u        /* RFC 7677 section 4: at least */
#define SECRETS_ITERATIONS_MAX_COUNT 1000000u /* half a second of SHA-256 for each login */

enum secrets_err {
	SECRETS_OK = 0,
	SECRETS_NO_USER = -1,
	SECRETS_EXISTS = -2,
	SECRETS_REFUSED = -3,    /* the password does not match; also for users we do not have */
	SECRETS_TEMP = -4,       /* cannot open, read or write the file now; errno says why */
	SECRETS_INVALID = -5,    /* empty, too long, or a NUL inside */
	SECRETS_UNPREPARED = -6, /* no UTF-8, or with characters that RFC 4013 forbids: no keys can be made */
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

#define SECRETS_ALL_KEYS 7u /* bits 1 << enum scram_hash: SHA-1, SHA-256, SHA-512 */
/* What is to be kept of a password. */
struct secrets_forms {
	unsigned keys;       /* bits, at least one */
	uint32_t iterations; /* 0: what is usual in the file */
	bool plain;          /* the password itself, too */
	bool chosen;         /* keys that are left out are so for a reason: see secrets_keys */
};
enum secrets_entering {
	SECRETS_ADD = 0, /* SECRETS_EXISTS when the user is there */
	SECRETS_REPLACE, /* SECRETS_NO_USER unless the user is there */
	SECRETS_EITHER,
};
/* Adds a user or changes the password. _EXISTS, _NO_USER, _INVALID, _UNPREPARED, _TEMP. */
int secrets_enter(struct secrets *secrets, const char *user, const char *password_secret,
    const struct secrets_forms *forms, enum secrets_entering how);
/* The same with all keys; plain: keep the password itself too. */
int secrets_add(struct secrets *secrets, const char *user, const char *password_secret, bool plain);
int secrets_set(struct secrets *secrets, const char *user, const char *password_secret, bool plain);
int secrets_delete(struct secrets *secrets, const char *user); /* _NO_USER, _TEMP */
/*
 * The keys that all users with keys have, but for those whose keys were chosen; all of them when there are no
 * users. Mechanisms of others are better not offered: a client takes the strongest, and its user might
 * have no keys for it. The bits of secrets_forms; when the file cannot be read, all.
 */
unsigned secrets_keys(struct secrets *secrets);
/* The iterations that are usual in the file. 0: it cannot be read; errno. */
uint32_t secrets_iterations(struct secrets *secrets);

struct credentials; /* credentials.h */
struct secrets_entry {
	const char *user;
	const struct credentials *record;
};
/* All or none, in one transaction; failed_r says which one was in the way. As secrets_enter. */
int secrets_enter_many(struct secrets *secrets, const struct secrets_entry *entries, size_t count,
    enum secrets_entering how, size_t *failed_r);
/*
 * Looks through all records and notes what is usual. What changes single users does it while they are few, or
 * when it matters; whoever enters many calls it at the end. _TEMP.
 */
int secrets_settle(struct secrets *secrets);

/* The user's record, which the caller clears. _NO_USER; _TEMP, with errno EBADMSG when it is damaged. */
int secrets_get(struct secrets *secrets, const char *user, struct credentials *record_r);
/* Calls fn for each user in order of name, until it returns another value than 0. record NULL: damaged. */
typedef int secrets_user_fn(void *arg, const char *user, const struct credentials *record);
int secrets_list(struct secrets *secrets, secrets_user_fn *fn, void *arg);

/*
 * Whether password_secret is the user's. 0, _REFUSED, _TEMP. For a user who is not there, as much is computed
 * as for most who are.
 */
int secrets_verify(struct secrets *secrets, const char *user, const char *password_secret, size_t len);
/* What the last one cost: microseconds of processor time spent on hashes, 0 when it was remembered. */
uint32_t secrets_cost_usecs(const struct secrets *secrets);

#define SECRETS_VALUE_OCTETS 512
/*
 * What SCRAM needs, for known and unknown users alike, a value for each enum scram_hash:
 * "SCRAM-SHA-256$4096:salt$StoredKey:ServerKey" (base64 parts). _TEMP.
 */
int secrets_scram(
    struct secrets *secrets, const char *user, char values_r[SCRAM_HASH_COUNT][SECRETS_VALUE_OCTETS]);
/* The password itself, or for users without one a stable random string nobody knows. The caller wipes it.
 * _TEMP. */
int secrets_plain(struct secrets *secrets, const char *user, char *value_r);

#endif
