/* SPDX-License-Identifier: ISC */
/*
 * passhash: password hashes that other programs made: crypt(3), Argon2, Dovecot's PBKDF2.
 *
 * For secrets.c, which verifies passwords with them, and the import of kpopctl, which must know what it
 * can take. They serve where the client sends the password; SCRAM needs keys of its own. Forms taken, and
 * the most that one verification may cost, so that no line of a file keeps a processor busy:
 *   $y$j…          yescrypt       256 MiB
 *   $6$… and $5$…  SHA-crypt      1,000,000 rounds
 *   $2a$ $2b$ $2y$ bcrypt         cost 14
 *   $argon2id$… $argon2i$…        256 MiB, 2 GiB filled in all passes
 *   {PBKDF2}$1$…   PBKDF2-SHA1    1,000,000 rounds
 * DES, MD5 and NT hashes are not taken: they are tried by the billion.
 */
#ifndef KPOPD_SASL_PASSHASH_H
#define KPOPD_SASL_PASSHASH_H

#include <stddef.h>

#define PASSHASH_OCTETS 255u /* of a hash as text, without its NUL */
#define PASSHASH_ROUNDS_MAX_COUNT 1000000u
#define PASSHASH_BCRYPT_MAX_COST 14u
#define PASSHASH_MEMORY_MAX_KIB (256u << 10)
#define PASSHASH_FILLED_MAX_KIB (2u << 20) /* Argon2: memory times passes */

enum passhash_err {
	PASSHASH_OK = 0,
	PASSHASH_DIFFERS = -1,
	PASSHASH_TROUBLE = -2, /* no memory, or the library does not know this hash; errno */
};

/* NULL when text is a hash we verify, else what is wrong with it. */
const char *passhash_wrong(const char *text);
/* "bcrypt", "yescrypt" …; NULL: none of ours. */
const char *passhash_name(const char *text);
/* Its cost for a person, "cost 10", "65536 KiB, 3 passes"; text_r has PASSHASH_OCTETS + 1. 0 or -1. */
int passhash_cost(const char *text, char *text_r);
/*
 * A hash of the same kind and cost that no password is known to fit: verifying it takes as long. All hashes
 * of one kind and cost give the same. blank_r has PASSHASH_OCTETS + 1. 0 or -1: none of ours.
 */
int passhash_blank(const char *text, char *blank_r);
/* Whether the len octets fit, as they are; without a NUL among them. */
int passhash_verify(const char *text, const char *password_secret, size_t len);

#endif
