/* SPDX-License-Identifier: ISC */
/*
 * credentials: one user's record as it lies in the secrets file, and the made-up one of a user who is not
 * there.
 *
 * For secrets.c, and for the import of kpopctl, which fills records from other programs' files; nobody
 * else sees a stored octet. Integers in network order. Version 2, which is written:
 *   u8 version, u8 flags (1: keys were left out on purpose), then parts in rising order of type, each u8
 * type, u16 length, octets: 1, 2, 3  SCRAM keys of SHA-1, SHA-256, SHA-512: u32 iterations, u8 length of the
 * salt, salt, StoredKey, ServerKey 16       a password hash as text (passhash.h) 17       the password itself
 *   At least one of 1, 2, 3 and 16 is there. A type that is not known spoils the record.
 * Version 1, which is read for ever:
 *   u8 version, u8 flags (1: has the password itself), u32 iterations,
 *   SHA-1:   16 salt, 20 StoredKey, 20 ServerKey,
 *   SHA-256: 16 salt, 32 StoredKey, 32 ServerKey,
 *   then, with flag 1, u8 length and the password.
 * A record of version 1 becomes one of version 2 when the user gets a new password.
 */
#ifndef KPOPD_SASL_CREDENTIALS_H
#define KPOPD_SASL_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "passhash.h"
#include "scramkeys.h"
#include "secrets.h"

#define CREDENTIALS_PART_OCTETS 3u
#define CREDENTIALS_KEYS_OCTETS(key) (CREDENTIALS_PART_OCTETS + 5u + SCRAM_SALT_MAX_OCTETS + 2u * (key))
#define CREDENTIALS_OCTETS                                                                                 \
	(2u + CREDENTIALS_KEYS_OCTETS(20u) + CREDENTIALS_KEYS_OCTETS(32u) + CREDENTIALS_KEYS_OCTETS(64u) + \
	    2u * CREDENTIALS_PART_OCTETS + PASSHASH_OCTETS + SECRETS_PASSWORD_OCTETS)
#define CREDENTIALS_FILE_KEY_OCTETS 32u

struct credentials {
	struct scramkeys keys[SCRAM_HASH_COUNT];
	char hash[PASSHASH_OCTETS + 1]; /* "": none */
	bool chosen; /* which keys there are; else it is not the user's fault when some are missing */
	bool plain;
	char password_secret[SECRETS_PASSWORD_OCTETS + 1];
};

/*
 * New salts, new keys of the password as SASLprep leaves it; the password itself, when it is to be kept, as
 * it is. forms->iterations is not 0. SECRETS_OK, _UNPREPARED, _INVALID (the forms), _TEMP.
 */
int credentials_make(
    struct credentials *record_r, const char *password_secret, const struct secrets_forms *forms);
/*
 * What user would have: the same at each call with the same file key and iterations, told from a real
 * record by nobody who does not have that key. No password fits the keys. 0 or -1.
 */
int credentials_fake(
    struct credentials *record_r, const uint8_t *file_key_secret, uint32_t iterations, const char *user);
/* The keys a password is verified with: SHA-256 when they are there. -1: no keys. */
int credentials_main_hash(const struct credentials *record);

/* Which keys there are, as bits. */
unsigned credentials_keys(const struct credentials *record);

/* The octets stored; bytes_r has CREDENTIALS_OCTETS. */
size_t credentials_encode(const struct credentials *record, uint8_t *bytes_r);
/* 0, or -1: not a record of a version we know, or not to its last octet, or out of bounds. */
int credentials_decode(struct credentials *record_r, const void *bytes, size_t len);
void credentials_clear(struct credentials *record);

#endif
