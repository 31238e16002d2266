/* SPDX-License-Identifier: ISC */
/*
 * passverify: computes a password hash whose form and cost passhash.c has looked at.
 *
 * For passhash.c. One thread and no more, whatever a hash asks for: the auth roles may start none.
 */
#ifndef KPOPD_SASL_PASSVERIFY_H
#define KPOPD_SASL_PASSVERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum passhash_kind { PASSHASH_CRYPT = 0, PASSHASH_ARGON2ID, PASSHASH_ARGON2I, PASSHASH_PBKDF2 };

/* A part of a hash's text. */
struct passhash_word {
	const char *at;
	size_t len;
};

struct passhash {
	const char *text;
	enum passhash_kind kind;
	uint32_t rounds;                         /* passes, or a cost */
	uint32_t memory, lanes, version;         /* memory in KiB */
	struct passhash_word cost, salt, digest; /* cost: as it stands in the text, with its '$' */
};

/* enum passhash_err. */
int passverify(const struct passhash *hash, const char *password_secret, size_t len);

#endif
