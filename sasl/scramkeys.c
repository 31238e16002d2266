/* SPDX-License-Identifier: ISC */
#include "scramkeys.h"

#include <limits.h>
#include <stdio.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define BASE64_OCTETS(len) (((len) + 2u) / 3u * 4u + 1u) /* with the NUL that EVP_EncodeBlock writes */

static const struct {
	const char *name;
	size_t octets;
	const EVP_MD *(*md)(void);
} hashes[SCRAM_HASH_COUNT] = {
    [SCRAM_SHA1] = {"SHA-1", 20, EVP_sha1},
    [SCRAM_SHA256] = {"SHA-256", 32, EVP_sha256},
    [SCRAM_SHA512] = {"SHA-512", 64, EVP_sha512},
};

const char *scramkeys_name(enum scram_hash hash)
{
	return hashes[hash].name;
}

size_t scramkeys_octets(enum scram_hash hash)
{
	return hashes[hash].octets;
}

int scramkeys_find(const char *name, enum scram_hash *hash_r)
{
	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++)
		if (strcasecmp(name, hashes[hash].name) == 0) {
			*hash_r = (enum scram_hash)hash;
			return 0;
		}
	return -1;
}

static int keyed(enum scram_hash hash, const uint8_t *key, const char *text, size_t len, uint8_t *out)
{
	return HMAC(hashes[hash].md(), key, (int)hashes[hash].octets, (const uint8_t *)text, len, out,
		   NULL) == NULL
		   ? -1
		   : 0;
}

int scramkeys_derive(enum scram_hash hash, const void *password_secret, size_t len, struct scramkeys *keys)
{
	static const char client_text[] = "Client Key", server_text[] = "Server Key";
	uint8_t salted_secret[SCRAM_KEY_OCTETS], client_secret[SCRAM_KEY_OCTETS];
	size_t octets = hashes[hash].octets;
	int rc = -1;

	if (len > INT_MAX || keys->salt_len > sizeof(keys->salt) || keys->iterations == 0 ||
	    keys->iterations > INT_MAX)
		return -1;
	if (PKCS5_PBKDF2_HMAC(password_secret, (int)len, keys->salt, keys->salt_len, (int)keys->iterations,
		hashes[hash].md(), (int)octets, salted_secret) == 1 &&
	    keyed(hash, salted_secret, client_text, sizeof(client_text) - 1, client_secret) == 0 &&
	    EVP_Digest(client_secret, octets, keys->stored, NULL, hashes[hash].md(), NULL) == 1 &&
	    keyed(hash, salted_secret, server_text, sizeof(server_text) - 1, keys->server) == 0)
		rc = 0;
	OPENSSL_cleanse(salted_secret, sizeof(salted_secret));
	OPENSSL_cleanse(client_secret, sizeof(client_secret));
	return rc;
}

int scramkeys_format(enum scram_hash hash, const struct scramkeys *keys, char *text_r, size_t size)
{
	char salt[BASE64_OCTETS(SCRAM_SALT_MAX_OCTETS)], stored[BASE64_OCTETS(SCRAM_KEY_OCTETS)],
	    server[BASE64_OCTETS(SCRAM_KEY_OCTETS)];
	int octets = (int)hashes[hash].octets, len;

	EVP_EncodeBlock((uint8_t *)salt, keys->salt, keys->salt_len);
	EVP_EncodeBlock((uint8_t *)stored, keys->stored, octets);
	EVP_EncodeBlock((uint8_t *)server, keys->server, octets);
	len = snprintf(text_r, size, "SCRAM-%s$%u:%s$%s:%s", hashes[hash].name, (unsigned)keys->iterations,
	    salt, stored, server);
	return len < 0 || (size_t)len >= size ? -1 : 0;
}
