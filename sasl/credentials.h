/* SPDX-License-Identifier: ISC */
/*
 * credentials: one user's record as it lies in the secrets file, and the made-up one of a user who is not
 * there.
 *
 * For secrets.c; nobody else sees a stored octet. Version 1, integers in network order:
 *   u8 version, u8 flags (1: has the password itself), u32 iterations,
 *   SHA-1:   16 salt, 20 StoredKey, 20 ServerKey,
 *   SHA-256: 16 salt, 32 StoredKey, 32 ServerKey,
 *   then, with flag 1, u8 length and the password.
 */
#ifndef KPOPD_SASL_CREDENTIALS_H
#define KPOPD_SASL_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scramkeys.h"
#include "secrets.h"

#define CREDENTIALS_OCTETS (6u + 2u * SCRAM_SALT_OCTETS + 2u * 20u + 2u * 32u + 1u + SECRETS_PASSWORD_OCTETS)
#define CREDENTIALS_FILE_KEY_OCTETS 32u

struct credentials {
	struct scramkeys keys[SCRAM_HASH_COUNT];
	bool plain;
	char password_secret[SECRETS_PASSWORD_OCTETS + 1];
};

/* New salts, new keys. 0, or -1: no random octets, or libcrypto failed. */
int credentials_make(struct credentials *record_r, const char *password_secret, bool plain);
/*
 * What user would have: the same at each call with the same file key, told from a real record by nobody
 * who does not have that key. No password fits the keys. 0 or -1.
 */
int credentials_fake(struct credentials *record_r, const uint8_t *file_key_secret, const char *user);

/* The octets stored; bytes_r has CREDENTIALS_OCTETS. */
size_t credentials_encode(const struct credentials *record, uint8_t *bytes_r);
/* 0, or -1: not a record of a version we know, or not to its last octet. */
int credentials_decode(struct credentials *record_r, const void *bytes, size_t len);
void credentials_clear(struct credentials *record);

#endif
