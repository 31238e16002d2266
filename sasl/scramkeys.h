/* SPDX-License-Identifier: ISC */
/*
 * scramkeys: the key derivation of SCRAM (RFC 5802 section 3), and nothing of its messages.
 *
 * For secrets.c, which stores what comes out of it.
 */
#ifndef KPOPD_SASL_SCRAMKEYS_H
#define KPOPD_SASL_SCRAMKEYS_H

#include <stddef.h>
#include <stdint.h>

enum scram_hash { SCRAM_SHA1 = 0, SCRAM_SHA256, SCRAM_SHA512, SCRAM_HASH_COUNT };

#define SCRAM_SALT_OCTETS 16u     /* of the salts we make, and of those of users who are not there */
#define SCRAM_SALT_MAX_OCTETS 32u /* of salts that other programs made */
#define SCRAM_KEY_OCTETS 64u      /* room for the longest key */

struct scramkeys {
	uint32_t iterations; /* 0: no keys */
	uint8_t salt_len;
	uint8_t salt[SCRAM_SALT_MAX_OCTETS];
	uint8_t stored[SCRAM_KEY_OCTETS];
	uint8_t server[SCRAM_KEY_OCTETS];
};

/* "SHA-1", "SHA-256", "SHA-512"; how long its keys are. */
const char *scramkeys_name(enum scram_hash hash);
size_t scramkeys_octets(enum scram_hash hash);
/* The hash of a name, in either case. 0, or -1: none of ours. */
int scramkeys_find(const char *name, enum scram_hash *hash_r);

/*
 * StoredKey and ServerKey of a password from keys->salt and keys->iterations, which the caller has set.
 * 0, or -1: libcrypto failed.
 */
int scramkeys_derive(enum scram_hash hash, const void *password_secret, size_t len, struct scramkeys *keys);

/*
 * What a storage value of SCRAM looks like (RFC 5803): "SCRAM-SHA-1$4096:salt$StoredKey:ServerKey".
 * text_r has size octets; 0, or -1 when they do not suffice.
 */
int scramkeys_format(enum scram_hash hash, const struct scramkeys *keys, char *text_r, size_t size);

#endif
