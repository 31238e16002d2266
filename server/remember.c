/* SPDX-License-Identifier: ISC */
#include "server/remember.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first octets of a tag say where it lies; whoever comes later takes the place. */
enum { PLACES_COUNT = 1024, KEY_OCTETS = 32, TAG_OCTETS = 32 };

struct place {
	uint8_t tag[TAG_OCTETS];
	uint64_t end_msecs;
	char *principal;
};

struct remember {
	unsigned secs;
	uint8_t key_secret[KEY_OCTETS];
	struct place places[PLACES_COUNT];
};

struct remember *remember_new(unsigned secs)
{
	struct remember *remember = secs != 0 ? calloc(1, sizeof *remember) : NULL;
	if (remember == NULL)
		return NULL;
	remember->secs = secs;
	if (RAND_bytes(remember->key_secret, KEY_OCTETS) == 1)
		return remember;
	free(remember);
	return NULL;
}

/* Over who was asked, the name and the password; a NUL stands between them and in neither. */
static bool make_tag(const struct remember *remember, const struct check *check, uint8_t tag_r[TAG_OCTETS])
{
	uint8_t text[1 + sizeof check->user + sizeof check->secret];
	size_t user_len = strlen(check->user) + 1, secret_len = strlen(check->secret);
	unsigned tag_len = 0;
	text[0] = (uint8_t)check->kind;
	memcpy(text + 1, check->user, user_len);
	memcpy(text + 1 + user_len, check->secret, secret_len);
	bool made = HMAC(EVP_sha256(), remember->key_secret, KEY_OCTETS, text, 1 + user_len + secret_len,
			tag_r, &tag_len) != NULL;
	OPENSSL_cleanse(text, sizeof text);
	return made && tag_len == TAG_OCTETS;
}

static size_t place_of(const uint8_t tag[TAG_OCTETS])
{
	return ((size_t)tag[0] << 8 | tag[1]) % PLACES_COUNT;
}

bool remember_find(const struct remember *remember, const struct check *check, uint64_t now_msecs,
    struct check_result *result_r)
{
	uint8_t tag[TAG_OCTETS];
	if (remember == NULL || !make_tag(remember, check, tag))
		return false;
	const struct place *place = &remember->places[place_of(tag)];
	if (place->principal == NULL || now_msecs >= place->end_msecs ||
	    CRYPTO_memcmp(place->tag, tag, TAG_OCTETS) != 0)
		return false;
	*result_r = (struct check_result){.verdict = CHECK_RIGHT, .why = "remembered"};
	snprintf(result_r->principal, sizeof result_r->principal, "%s", place->principal);
	return true;
}

void remember_add(struct remember *remember, const struct check *check, const struct check_result *result,
    uint64_t now_msecs)
{
	uint8_t tag[TAG_OCTETS];
	if (remember == NULL || !make_tag(remember, check, tag))
		return;
	struct place *place = &remember->places[place_of(tag)];
	free(place->principal);
	place->principal = strdup(result->principal);
	place->end_msecs = now_msecs + (uint64_t)remember->secs * 1000;
	memcpy(place->tag, tag, TAG_OCTETS);
}
