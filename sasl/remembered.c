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
	uint8_t text_secret[2 + REMEMBERED_RECORD_OCTETS + REMEMBERED_PASSWORD_OCTETS];
	int rc = -1;

	if (remembered == NULL || record_len > REMEMBERED_RECORD_OCTETS || len > REMEMBERED_PASSWORD_OCTETS)
		return -1;
	/* No two pairs give the same text: it says where the record ends. */
	text_secret[0] = (uint8_t)(record_len >> 8);
	text_secret[1] = (uint8_t)record_len;
	memcpy(text_secret + 2, record, record_len);
	memcpy(text_secret + 2 + record_len, password_secret, len);
	if (HMAC(EVP_sha256(), remembered->key_secret, (int)sizeof(remembered->key_secret), text_secret,
		2 + record_len + len, tag_r, NULL) != NULL)
		rc = 0;
	OPENSSL_cleanse(text_secret, 2 + record_len + len);
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
