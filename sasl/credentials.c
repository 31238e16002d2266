/* SPDX-License-Identifier: ISC */
#include "credentials.h"

#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "prep.h"

enum { VERSION_1 = 1, VERSION_2 = 2 };
enum { PART_KEYS = 1, PART_HASH = 16, PART_PASSWORD = 17 };
#define VERSION_1_HAS_PASSWORD 1
#define VERSION_2_CHOSEN 1

static int make_keys(
    enum scram_hash hash, uint32_t iterations, const char *prepared_secret, struct scramkeys *keys)
{
	keys->iterations = iterations;
	keys->salt_len = SCRAM_SALT_OCTETS;
	return RAND_bytes(keys->salt, keys->salt_len) == 1
		   ? scramkeys_derive(hash, prepared_secret, strlen(prepared_secret), keys)
		   : -1;
}

int credentials_make(
    struct credentials *record_r, const char *password_secret, const struct secrets_forms *forms)
{
	char prepared_secret[SECRETS_PREPARED_OCTETS];
	size_t len = strnlen(password_secret, SECRETS_PASSWORD_OCTETS + 1);
	int rc = 0;

	memset(record_r, 0, sizeof(*record_r));
	if (len == 0 || len > SECRETS_PASSWORD_OCTETS || forms->iterations < SECRETS_ITERATIONS_COUNT ||
	    forms->iterations > SECRETS_ITERATIONS_MAX_COUNT || forms->keys == 0 ||
	    forms->keys >= 1u << SCRAM_HASH_COUNT)
		return SECRETS_INVALID;
	if (prep_query(password_secret, len, prepared_secret, sizeof(prepared_secret)) != PREP_OK)
		return SECRETS_UNPREPARED;
	for (int hash = 0; rc == 0 && hash < SCRAM_HASH_COUNT; hash++)
		if ((forms->keys & 1u << hash) != 0)
			rc = make_keys(
			    (enum scram_hash)hash, forms->iterations, prepared_secret, &record_r->keys[hash]);
	OPENSSL_cleanse(prepared_secret, sizeof(prepared_secret));
	if (rc < 0) {
		credentials_clear(record_r);
		errno = EIO;
		return SECRETS_TEMP;
	}
	record_r->chosen = forms->chosen;
	record_r->plain = forms->plain;
	if (forms->plain)
		memcpy(record_r->password_secret, password_secret, len + 1);
	return SECRETS_OK;
}

/* One of the made-up fields: what distinguishes it goes into the text before the user's name. */
static int fake_field(
    const uint8_t *file_key_secret, char purpose, int hash, const char *user, uint8_t *out, size_t len)
{
	uint8_t text[2 + SECRETS_USER_OCTETS], mac[64];
	size_t user_len = strnlen(user, SECRETS_USER_OCTETS);

	text[0] = (uint8_t)purpose;
	text[1] = (uint8_t)hash;
	memcpy(text + 2, user, user_len);
	if (HMAC(len <= 32 ? EVP_sha256() : EVP_sha512(), file_key_secret, CREDENTIALS_FILE_KEY_OCTETS, text,
		2 + user_len, mac, NULL) == NULL)
		return -1;
	memcpy(out, mac, len);
	OPENSSL_cleanse(mac, sizeof(mac));
	return 0;
}

int credentials_fake(
    struct credentials *record_r, const uint8_t *file_key_secret, uint32_t iterations, const char *user)
{
	static const char hex[] = "0123456789abcdef";
	uint8_t password_secret[32];

	memset(record_r, 0, sizeof(*record_r));
	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++) {
		struct scramkeys *keys = &record_r->keys[hash];
		size_t octets = scramkeys_octets((enum scram_hash)hash);

		keys->iterations = iterations;
		keys->salt_len = SCRAM_SALT_OCTETS;
		if (fake_field(file_key_secret, 's', hash, user, keys->salt, SCRAM_SALT_OCTETS) < 0 ||
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

int credentials_main_hash(const struct credentials *record)
{
	static const enum scram_hash order[] = {SCRAM_SHA256, SCRAM_SHA512, SCRAM_SHA1};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (record->keys[order[i]].iterations != 0)
			return (int)order[i];
	return -1;
}

unsigned credentials_keys(const struct credentials *record)
{
	unsigned keys = 0;

	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++)
		if (record->keys[hash].iterations != 0)
			keys |= 1u << hash;
	return keys;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

static uint8_t *put_part(uint8_t *at, uint8_t type, size_t len)
{
	*at++ = type;
	*at++ = (uint8_t)(len >> 8);
	*at++ = (uint8_t)len;
	return at;
}

static uint8_t *put_keys(uint8_t *at, enum scram_hash hash, const struct scramkeys *keys)
{
	size_t octets = scramkeys_octets(hash);

	at = put_part(at, (uint8_t)(PART_KEYS + hash), 5 + keys->salt_len + 2 * octets);
	for (int shift = 24; shift >= 0; shift -= 8)
		*at++ = (uint8_t)(keys->iterations >> shift);
	*at++ = keys->salt_len;
	at = put(at, keys->salt, keys->salt_len);
	at = put(at, keys->stored, octets);
	return put(at, keys->server, octets);
}

size_t credentials_encode(const struct credentials *record, uint8_t *bytes_r)
{
	uint8_t *at = bytes_r;
	size_t len;

	*at++ = VERSION_2;
	*at++ = record->chosen ? VERSION_2_CHOSEN : 0;
	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++)
		if (record->keys[hash].iterations != 0)
			at = put_keys(at, (enum scram_hash)hash, &record->keys[hash]);
	if ((len = strlen(record->hash)) != 0)
		at = put(put_part(at, PART_HASH, len), record->hash, len);
	if (record->plain) {
		len = strlen(record->password_secret);
		at = put(put_part(at, PART_PASSWORD, len), record->password_secret, len);
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

static uint32_t get_number(struct reader *reader, int octets)
{
	uint32_t value = 0;

	while (octets-- > 0) {
		uint8_t octet;

		get(reader, &octet, sizeof(octet));
		value = value << 8 | octet;
	}
	return value;
}

static void get_text(struct reader *reader, char *text_r, size_t len, size_t most)
{
	if (len == 0 || len > most)
		reader->bad = true;
	else
		get(reader, text_r, len);
	if (!reader->bad && memchr(text_r, '\0', len) != NULL)
		reader->bad = true;
}

static void get_stored(
    struct reader *reader, enum scram_hash hash, uint32_t iterations, size_t salt_len, struct scramkeys *keys)
{
	size_t octets = scramkeys_octets(hash);

	if (iterations == 0 || iterations > SECRETS_ITERATIONS_MAX_COUNT || salt_len == 0 ||
	    salt_len > sizeof(keys->salt)) {
		reader->bad = true;
		return;
	}
	keys->iterations = iterations;
	keys->salt_len = (uint8_t)salt_len;
	get(reader, keys->salt, salt_len);
	get(reader, keys->stored, octets);
	get(reader, keys->server, octets);
}

static void decode_1(struct reader *reader, struct credentials *record_r)
{
	uint32_t flags = get_number(reader, 1), iterations = get_number(reader, 4);

	get_stored(reader, SCRAM_SHA1, iterations, SCRAM_SALT_OCTETS, &record_r->keys[SCRAM_SHA1]);
	get_stored(reader, SCRAM_SHA256, iterations, SCRAM_SALT_OCTETS, &record_r->keys[SCRAM_SHA256]);
	record_r->plain = flags == VERSION_1_HAS_PASSWORD;
	if (record_r->plain)
		get_text(reader, record_r->password_secret, get_number(reader, 1), SECRETS_PASSWORD_OCTETS);
	else if (flags != 0)
		reader->bad = true;
}

static void decode_part(struct reader *part, uint32_t type, struct credentials *record_r)
{
	if (type >= PART_KEYS && type < PART_KEYS + SCRAM_HASH_COUNT) {
		enum scram_hash hash = (enum scram_hash)(type - PART_KEYS);
		uint32_t iterations = get_number(part, 4), salt_len = get_number(part, 1);

		get_stored(part, hash, iterations, salt_len, &record_r->keys[hash]);
	} else if (type == PART_HASH) {
		get_text(part, record_r->hash, part->left, PASSHASH_OCTETS);
		part->bad = part->bad || passhash_wrong(record_r->hash) != NULL;
	} else if (type == PART_PASSWORD) {
		get_text(part, record_r->password_secret, part->left, SECRETS_PASSWORD_OCTETS);
		record_r->plain = true;
	} else {
		part->bad = true;
	}
}

static void decode_2(struct reader *reader, struct credentials *record_r)
{
	uint32_t last = 0, flags = get_number(reader, 1);

	record_r->chosen = flags == VERSION_2_CHOSEN;
	reader->bad = reader->bad || flags > VERSION_2_CHOSEN;
	while (!reader->bad && reader->left != 0) {
		uint32_t type = get_number(reader, 1), len = get_number(reader, 2);
		struct reader part = {reader->at, len, false};

		if (reader->bad || type <= last || len > reader->left) {
			reader->bad = true;
			return;
		}
		decode_part(&part, type, record_r);
		reader->bad = part.bad || part.left != 0;
		reader->at += len;
		reader->left -= len;
		last = type;
	}
	if (credentials_main_hash(record_r) < 0 && record_r->hash[0] == '\0')
		reader->bad = true;
}

int credentials_decode(struct credentials *record_r, const void *bytes, size_t len)
{
	struct reader reader = {.at = bytes, .left = len};
	uint32_t version = get_number(&reader, 1);

	memset(record_r, 0, sizeof(*record_r));
	if (version == VERSION_1)
		decode_1(&reader, record_r);
	else if (version == VERSION_2)
		decode_2(&reader, record_r);
	else
		reader.bad = true;
	if (reader.bad || reader.left != 0) {
		credentials_clear(record_r);
		return -1;
	}
	return 0;
}

void credentials_clear(struct credentials *record)
{
	OPENSSL_cleanse(record, sizeof(*record));
}
