/* SPDX-License-Identifier: ISC */
#include "enctype.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#define BLOCK_OCTETS 16u
#define DIGEST_OCTETS 64u /* room for the longest */

/* RFC 3961 section 5.3, RFC 8009 section 5: the last octet of what a key is derived with says what for. */
enum purpose { TO_SIGN = 0x99, TO_ENCRYPT = 0xaa, TO_PROVE = 0x55 };

static const struct enctype enctypes[] = {
    {17, "aes128-cts-hmac-sha1-96", 16, 12, "AES-128-CBC", "AES-128-CBC-CTS", "SHA1", false, 16},
    {18, "aes256-cts-hmac-sha1-96", 32, 12, "AES-256-CBC", "AES-256-CBC-CTS", "SHA1", false, 32},
    {19, "aes128-cts-hmac-sha256-128", 16, 16, "AES-128-CBC", "AES-128-CBC-CTS", "SHA256", true, 16},
    {20, "aes256-cts-hmac-sha384-192", 32, 24, "AES-256-CBC", "AES-256-CBC-CTS", "SHA384", true, 24},
};

struct enctype_keys {
	const struct enctype *enctype;
	EVP_CIPHER *cipher; /* NULL: to sign */
	EVP_MAC *mac;
	uint8_t cipher_key[ENCTYPE_KEY_OCTETS], mac_key[ENCTYPE_KEY_OCTETS];
};

/* One or two runs of octets, as one. */
struct pieces {
	const uint8_t *first, *second;
	size_t first_len, second_len;
};

const struct enctype *enctype_find(int number)
{
	for (size_t i = 0; i < sizeof(enctypes) / sizeof(enctypes[0]); i++)
		if (enctypes[i].number == number)
			return &enctypes[i];
	return NULL;
}

static OSSL_PARAM text_param(const char *name, const char *text)
{
	return OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)text, 0);
}

static OSSL_PARAM octets_param(const char *name, const void *octets, size_t len)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)octets, len);
}

/* HMAC of the pieces; mac_r has DIGEST_OCTETS. */
static int hmac(EVP_MAC *mac, const char *digest, const uint8_t *key_secret, size_t key_len,
    const struct pieces *text, uint8_t *mac_r)
{
	OSSL_PARAM params[] = {text_param(OSSL_MAC_PARAM_DIGEST, digest), OSSL_PARAM_END};
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
	size_t len;
	bool good = ctx != NULL && EVP_MAC_init(ctx, key_secret, key_len, params) == 1 &&
		    EVP_MAC_update(ctx, text->first, text->first_len) == 1 &&
		    (text->second_len == 0 || EVP_MAC_update(ctx, text->second, text->second_len) == 1) &&
		    EVP_MAC_final(ctx, mac_r, &len, DIGEST_OCTETS) == 1;

	EVP_MAC_CTX_free(ctx);
	if (!good)
		ERR_clear_error();
	return good ? 0 : -1;
}

/* RFC 3961 section 5.1. */
static int derive_sha1(const struct enctype *enctype, const uint8_t *key_secret, const uint8_t *constant,
    size_t constant_len, uint8_t *derived_r)
{
	OSSL_PARAM params[] = {text_param(OSSL_KDF_PARAM_CIPHER, enctype->cipher),
	    octets_param(OSSL_KDF_PARAM_KEY, key_secret, enctype->key_octets),
	    octets_param(OSSL_KDF_PARAM_CONSTANT, constant, constant_len), OSSL_PARAM_END};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_KRB5KDF, NULL);
	EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
	bool good = ctx != NULL && EVP_KDF_derive(ctx, derived_r, enctype->key_octets, params) == 1;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	if (!good)
		ERR_clear_error();
	return good ? 0 : -1;
}

/* RFC 8009 section 3: one block of SP800-108's counter mode is all that is needed. */
static int derive_sha2(const struct enctype_keys *keys, const uint8_t *key_secret, const uint8_t *constant,
    size_t constant_len, size_t len, uint8_t *derived_r)
{
	uint8_t text[64] = {0, 0, 0, 1}, digest_secret[DIGEST_OCTETS];
	size_t bits = len * 8, at = 4;
	struct pieces pieces = {.first = text};
	int rc;

	memcpy(text + at, constant, constant_len);
	at += constant_len + 1; /* and a zero */
	text[at + 2] = (uint8_t)(bits >> 8);
	text[at + 3] = (uint8_t)bits;
	pieces.first_len = at + 4;
	rc = hmac(
	    keys->mac, keys->enctype->digest, key_secret, keys->enctype->key_octets, &pieces, digest_secret);
	if (rc == 0)
		memcpy(derived_r, digest_secret, len);
	OPENSSL_cleanse(digest_secret, sizeof(digest_secret));
	return rc;
}

static int derive(const struct enctype_keys *keys, const uint8_t *key_secret, uint32_t usage,
    enum purpose purpose, uint8_t *derived_r)
{
	const struct enctype *enctype = keys->enctype;
	const uint8_t constant[] = {(uint8_t)(usage >> 24), (uint8_t)(usage >> 16), (uint8_t)(usage >> 8),
	    (uint8_t)usage, (uint8_t)purpose};
	size_t len = purpose == TO_ENCRYPT ? enctype->key_octets : enctype->mac_key_octets;

	if (enctype->sha2)
		return derive_sha2(keys, key_secret, constant, sizeof(constant), len, derived_r);
	return derive_sha1(enctype, key_secret, constant, sizeof(constant), derived_r);
}

static struct enctype_keys *keys_new(const struct enctype *enctype)
{
	struct enctype_keys *keys = calloc(1, sizeof(*keys));

	if (keys == NULL)
		return NULL;
	keys->enctype = enctype;
	keys->mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
	if (keys->mac == NULL)
		enctype_keys_free(&keys);
	return keys;
}

struct enctype_keys *enctype_seal_keys(
    const struct enctype *enctype, const uint8_t *key_secret, uint32_t usage)
{
	struct enctype_keys *keys = keys_new(enctype);

	if (keys == NULL)
		return NULL;
	keys->cipher = EVP_CIPHER_fetch(NULL, enctype->cts, NULL);
	if (keys->cipher == NULL || derive(keys, key_secret, usage, TO_ENCRYPT, keys->cipher_key) != 0 ||
	    derive(keys, key_secret, usage, TO_PROVE, keys->mac_key) != 0)
		enctype_keys_free(&keys);
	return keys;
}

struct enctype_keys *enctype_sign_keys(
    const struct enctype *enctype, const uint8_t *key_secret, uint32_t usage)
{
	struct enctype_keys *keys = keys_new(enctype);

	if (keys != NULL && derive(keys, key_secret, usage, TO_SIGN, keys->mac_key) != 0)
		enctype_keys_free(&keys);
	return keys;
}

void enctype_keys_free(struct enctype_keys **keys)
{
	if (*keys == NULL)
		return;
	EVP_CIPHER_free((*keys)->cipher);
	EVP_MAC_free((*keys)->mac);
	OPENSSL_cleanse(*keys, sizeof(**keys));
	free(*keys);
	*keys = NULL;
	ERR_clear_error();
}

/*
 * CBC with the last two blocks exchanged (CS3), from a vector of zeros. The library takes the whole in one
 * call, and at least a block.
 */
static int cipher(const struct enctype_keys *keys, bool encrypt, uint8_t *octets, size_t len)
{
	static const uint8_t vector[BLOCK_OCTETS];
	OSSL_PARAM params[] = {
	    text_param(OSSL_CIPHER_PARAM_CTS_MODE, OSSL_CIPHER_CTS_MODE_CS3), OSSL_PARAM_END};
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int done = 0;
	bool good = ctx != NULL && len >= BLOCK_OCTETS && len <= INT_MAX &&
		    EVP_CipherInit_ex2(ctx, keys->cipher, keys->cipher_key, vector, encrypt, params) == 1 &&
		    EVP_CipherUpdate(ctx, octets, &done, octets, (int)len) == 1 && (size_t)done == len;

	EVP_CIPHER_CTX_free(ctx);
	if (!good)
		ERR_clear_error();
	return good ? 0 : -1;
}

static int prove(const struct enctype_keys *keys, const struct pieces *text, uint8_t *mac_r)
{
	return hmac(
	    keys->mac, keys->enctype->digest, keys->mac_key, keys->enctype->mac_key_octets, text, mac_r);
}

static int check(const struct enctype_keys *keys, const struct pieces *text, const uint8_t *mac)
{
	uint8_t made[DIGEST_OCTETS];

	if (prove(keys, text, made) != 0)
		return -1;
	return CRYPTO_memcmp(made, mac, keys->enctype->mac_octets) == 0 ? 0 : -1;
}

/* What the MAC of a sealed text is of: with SHA-1 the text, with SHA-2 vector and cipher text. */
static struct pieces proved(const struct enctype_keys *keys, const uint8_t *octets, size_t len)
{
	static const uint8_t vector[BLOCK_OCTETS];

	if (!keys->enctype->sha2)
		return (struct pieces){.first = octets, .first_len = len};
	return (struct pieces){
	    .first = vector, .first_len = sizeof(vector), .second = octets, .second_len = len};
}

int enctype_seal(const struct enctype_keys *keys, uint8_t *octets, size_t len, uint8_t *mac_r)
{
	struct pieces text = proved(keys, octets, len);
	uint8_t mac[DIGEST_OCTETS];

	if (len < ENCTYPE_CONFOUNDER_OCTETS || RAND_bytes(octets, ENCTYPE_CONFOUNDER_OCTETS) != 1)
		return -1;
	if (!keys->enctype->sha2 && prove(keys, &text, mac) != 0)
		return -1;
	if (cipher(keys, true, octets, len) != 0)
		return -1;
	if (keys->enctype->sha2 && prove(keys, &text, mac) != 0)
		return -1;
	memcpy(mac_r, mac, keys->enctype->mac_octets);
	return 0;
}

int enctype_unseal(const struct enctype_keys *keys, uint8_t *octets, size_t len, const uint8_t *mac)
{
	struct pieces text = proved(keys, octets, len);

	if (len < ENCTYPE_CONFOUNDER_OCTETS || (keys->enctype->sha2 && check(keys, &text, mac) != 0) ||
	    cipher(keys, false, octets, len) != 0)
		return -1;
	return keys->enctype->sha2 ? 0 : check(keys, &text, mac);
}

int enctype_sign(const struct enctype_keys *keys, const uint8_t *text, size_t len, const uint8_t *tail,
    size_t tail_len, uint8_t *mac_r)
{
	struct pieces pieces = {text, tail, len, tail_len};
	uint8_t mac[DIGEST_OCTETS];

	if (prove(keys, &pieces, mac) != 0)
		return -1;
	memcpy(mac_r, mac, keys->enctype->mac_octets);
	return 0;
}

int enctype_verify(const struct enctype_keys *keys, const uint8_t *text, size_t len, const uint8_t *tail,
    size_t tail_len, const uint8_t *mac)
{
	struct pieces pieces = {text, tail, len, tail_len};

	return check(keys, &pieces, mac);
}
