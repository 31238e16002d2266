/* SPDX-License-Identifier: ISC */
#include "credentials.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#define RECORD_VERSION 1
#define RECORD_HAS_PASSWORD 1
#define RECORD_ITERATIONS_MAX_COUNT 10000000u /* a damaged count must not keep us busy for hours */

int credentials_make(struct credentials *record_r, const char *password_secret, bool plain)
{
	size_t len = strlen(password_secret);

	memset(record_r, 0, sizeof(*record_r));
	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++) {
		struct scramkeys *keys = &record_r->keys[hash];

		keys->iterations = SECRETS_ITERATIONS_COUNT;
		if (RAND_bytes(keys->salt, sizeof(keys->salt)) != 1 ||
		    scramkeys_derive((enum scram_hash)hash, password_secret, len, keys->salt,
			sizeof(keys->salt), keys) < 0)
			return -1;
	}
	record_r->plain = plain;
	if (plain)
		memcpy(record_r->password_secret, password_secret, len + 1);
	return 0;
}

/* One of the made-up fields: what distinguishes it goes into the text before the user's name. */
static int fake_field(
    const uint8_t *file_key_secret, char purpose, int hash, const char *user, uint8_t *out, size_t len)
{
	uint8_t text[2 + SECRETS_USER_OCTETS], mac[32];
	size_t user_len = strnlen(user, SECRETS_USER_OCTETS);

	text[0] = (uint8_t)purpose;
	text[1] = (uint8_t)hash;
	memcpy(text + 2, user, user_len);
	if (HMAC(EVP_sha256(), file_key_secret, CREDENTIALS_FILE_KEY_OCTETS, text, 2 + user_len, mac, NULL) ==
	    NULL)
		return -1;
	memcpy(out, mac, len);
	OPENSSL_cleanse(mac, sizeof(mac));
	return 0;
}

int credentials_fake(struct credentials *record_r, const uint8_t *file_key_secret, const char *user)
{
	static const char hex[] = "0123456789abcdef";
	uint8_t password_secret[32];

	memset(record_r, 0, sizeof(*record_r));
	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++) {
		struct scramkeys *keys = &record_r->keys[hash];
		size_t octets = scramkeys_octets((enum scram_hash)hash);

		keys->iterations = SECRETS_ITERATIONS_COUNT;
		if (fake_field(file_key_secret, 's', hash, user, keys->salt, sizeof(keys->salt)) < 0 ||
		    fake_field(file_key_secret, 'k', hash, user, keys->stored, octets) < 0 ||
		    fake_field(file_key_secret, 'v', hash, user, keys->server, octets) < 0)
			return -1;
	}
	if (fake_field(file_key_secret, 'p', 0, user, password_secret, sizeof(password_secret)) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(password_secret); i++) {
		record_r->password_secret[2 * i] = hex[password_secret[i] >> 4];
		record_r->password_secret[2 * i + 1] = hex[password_secret[i] & 15];
	}
	OPENSSL_cleanse(password_secret, sizeof(password_secret));
	return 0;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

size_t credentials_encode(const struct credentials *record, uint8_t *bytes_r)
{
	/* All hashes of a record have the same count of iterations. */
	uint32_t iterations = record->keys[0].iterations;
	uint8_t *at = bytes_r;

	*at++ = RECORD_VERSION;
	*at++ = record->plain ? RECORD_HAS_PASSWORD : 0;
	for (int shift = 24; shift >= 0; shift -= 8)
		*at++ = (uint8_t)(iterations >> shift);
	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++) {
		size_t octets = scramkeys_octets((enum scram_hash)hash);

		at = put(at, record->keys[hash].salt, SCRAM_SALT_OCTETS);
		at = put(at, record->keys[hash].stored, octets);
		at = put(at, record->keys[hash].server, octets);
	}
	if (record->plain) {
		size_t len = strlen(record->password_secret);

		*at++ = (uint8_t)len;
		at = put(at, record->password_secret, len);
	}
	return (size_t)(at - bytes_r);
}

/* Reads that never pass the end: once short, always short. */
struct reader {
	const uint8_t *at;
	size_t left;
	bool bad;
};

static void get(struct reader *reader, void *out, size_t len)
{
	if (reader->bad || reader->left < len) {
		reader->bad = true;
		memset(out, 0, len);
		return;
	}
	memcpy(out, reader->at, len);
	reader->at += len;
	reader->left -= len;
}

static uint8_t get_u8(struct reader *reader)
{
	uint8_t value;

	get(reader, &value, sizeof(value));
	return value;
}

int credentials_decode(struct credentials *record_r, const void *bytes, size_t len)
{
	struct reader reader = {.at = bytes, .left = len};
	uint8_t version = get_u8(&reader), flags = get_u8(&reader);
	uint32_t iterations = 0;

	memset(record_r, 0, sizeof(*record_r));
	for (int i = 0; i < 4; i++)
		iterations = iterations << 8 | get_u8(&reader);
	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++) {
		size_t octets = scramkeys_octets((enum scram_hash)hash);

		record_r->keys[hash].iterations = iterations;
		get(&reader, record_r->keys[hash].salt, SCRAM_SALT_OCTETS);
		get(&reader, record_r->keys[hash].stored, octets);
		get(&reader, record_r->keys[hash].server, octets);
	}
	record_r->plain = flags & RECORD_HAS_PASSWORD;
	if (record_r->plain)
		get(&reader, record_r->password_secret, get_u8(&reader));
	if (reader.bad || reader.left != 0 || version != RECORD_VERSION ||
	    (flags & ~RECORD_HAS_PASSWORD) != 0 || iterations == 0 ||
	    iterations > RECORD_ITERATIONS_MAX_COUNT) {
		credentials_clear(record_r);
		return -1;
	}
	return 0;
}

void credentials_clear(struct credentials *record)
{
	OPENSSL_cleanse(record, sizeof(*record));
}
