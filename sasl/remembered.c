/* SPDX-License-Identifier: ISC */
#include "remembered.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

struct remembered {
	uint8_t key_secret[32];
	uint8_t tags[REMEMBERED_COUNT][REMEMBERED_TAG_OCTETS];
};

struct remembered *remembered_new(void)
{
	struct remembered *remembered = calloc(1, sizeof(*remembered));

	if (remembered != NULL && RAND_bytes(remembered->key_secret, sizeof(remembered->key_secret)) != 1)
		remembered_free(&remembered);
	return remembered;
}

void remembered_free(struct remembered **remembered)
{
	if (*remembered == NULL)
		return;
	OPENSSL_cleanse(*remembered, sizeof(**remembered));
	free(*remembered);
	*remembered = NULL;
}

int remembered_tag(const struct remembered *remembered, const void *record, size_t record_len,
    const void *password_secret, size_t len, uint8_t *tag_r)
{
	/* Both parts are bounded by their callers: a record and a password, each of less than 512 octets. */
	uint8_t text_secret[1024];
	int rc = -1;

	if (remembered == NULL || record_len + len > sizeof(text_secret))
		return -1;
	memcpy(text_secret, record, record_len);
	memcpy(text_secret + record_len, password_secret, len);
	/* No two pairs give the same text: a record says itself where it ends. */
	if (HMAC(EVP_sha256(), remembered->key_secret, (int)sizeof(remembered->key_secret), text_secret,
		record_len + len, tag_r, NULL) != NULL)
		rc = 0;
	OPENSSL_cleanse(text_secret, record_len + len);
	return rc;
}

static size_t slot(const uint8_t *tag)
{
	return (size_t)(tag[0] << 8 | tag[1]) % REMEMBERED_COUNT;
}

bool remembered_has(const struct remembered *remembered, const uint8_t *tag)
{
	return remembered != NULL &&
	       CRYPTO_memcmp(remembered->tags[slot(tag)], tag, REMEMBERED_TAG_OCTETS) == 0;
}

void remembered_add(struct remembered *remembered, const uint8_t *tag)
{
	if (remembered != NULL)
		memcpy(remembered->tags[slot(tag)], tag, REMEMBERED_TAG_OCTETS);
}
