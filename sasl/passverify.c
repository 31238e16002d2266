/* SPDX-License-Identifier: ISC */
#include "passverify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <argon2.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "passhash.h"

#define DECODED_OCTETS 66u /* of 88 characters of base64 */
#define PBKDF2_OCTETS 20u
#define PHRASE_OCTETS 512u /* CRYPT_MAX_PASSPHRASE_SIZE */

static int by_crypt(const struct passhash *hash, const char *password_secret, size_t len)
{
	struct crypt_data *data;
	char phrase_secret[PHRASE_OCTETS];
	const char *got;
	int rc = PASSHASH_TROUBLE;

	if (len >= sizeof(phrase_secret))
		return PASSHASH_DIFFERS; /* nobody's: the library would take no such password */
	if ((data = calloc(1, sizeof(*data))) == NULL)
		return PASSHASH_TROUBLE;
	memcpy(phrase_secret, password_secret, len);
	phrase_secret[len] = '\0';
	got = crypt_rn(phrase_secret, hash->text, data, (int)sizeof(*data));
	/* Both are of one length when the library understood the setting as we did. */
	if (got != NULL && strlen(got) == strlen(hash->text))
		rc = CRYPTO_memcmp(got, hash->text, strlen(got)) == 0 ? PASSHASH_OK : PASSHASH_DIFFERS;
	OPENSSL_cleanse(phrase_secret, sizeof(phrase_secret));
	OPENSSL_cleanse(data, sizeof(*data));
	free(data);
	return rc;
}

/* Base64 without its padding. The length, or 0. */
static size_t decode(const struct passhash_word *word, uint8_t *out)
{
	char padded[DECODED_OCTETS / 3 * 4 + 4];
	size_t len = (word->len + 3) / 4 * 4, pad = len - word->len;

	if (len > DECODED_OCTETS / 3 * 4 || pad > 2)
		return 0;
	memcpy(padded, word->at, word->len);
	memset(padded + word->len, '=', pad);
	return EVP_DecodeBlock(out, (const uint8_t *)padded, (int)len) == (int)(len / 4 * 3)
		   ? len / 4 * 3 - pad
		   : 0;
}

static int by_argon2(const struct passhash *hash, const char *password_secret, size_t len)
{
	uint8_t salt[DECODED_OCTETS], want[DECODED_OCTETS], got[DECODED_OCTETS];
	size_t salt_len = decode(&hash->salt, salt), want_len = decode(&hash->digest, want);
	argon2_context context = {
	    .out = got,
	    .outlen = (uint32_t)want_len,
	    .pwd = (uint8_t *)(uintptr_t)password_secret,
	    .pwdlen = (uint32_t)len,
	    .salt = salt,
	    .saltlen = (uint32_t)salt_len,
	    .t_cost = hash->rounds,
	    .m_cost = hash->memory,
	    .lanes = hash->lanes,
	    .threads = 1,
	    .version = hash->version,
	    .flags = ARGON2_DEFAULT_FLAGS,
	};
	int rc;

	if (salt_len == 0 || want_len == 0) {
		errno = EINVAL;
		return PASSHASH_TROUBLE;
	}
	rc = argon2_ctx(&context, hash->kind == PASSHASH_ARGON2ID ? Argon2_id : Argon2_i);
	if (rc != ARGON2_OK) {
		errno = rc == ARGON2_MEMORY_ALLOCATION_ERROR ? ENOMEM : EINVAL;
		return PASSHASH_TROUBLE;
	}
	rc = CRYPTO_memcmp(got, want, want_len) == 0 ? PASSHASH_OK : PASSHASH_DIFFERS;
	OPENSSL_cleanse(got, sizeof(got));
	return rc;
}

static int by_pbkdf2(const struct passhash *hash, const char *password_secret, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t octets[PBKDF2_OCTETS];
	char hex[2 * PBKDF2_OCTETS];

	if (hash->digest.len != sizeof(hex) ||
	    PKCS5_PBKDF2_HMAC(password_secret, (int)len, (const uint8_t *)hash->salt.at, (int)hash->salt.len,
		(int)hash->rounds, EVP_sha1(), (int)sizeof(octets), octets) != 1) {
		errno = ENOMEM;
		return PASSHASH_TROUBLE;
	}
	for (size_t i = 0; i < sizeof(octets); i++) {
		hex[2 * i] = digits[octets[i] >> 4];
		hex[2 * i + 1] = digits[octets[i] & 15];
	}
	return CRYPTO_memcmp(hex, hash->digest.at, sizeof(hex)) == 0 ? PASSHASH_OK : PASSHASH_DIFFERS;
}

int passverify(const struct passhash *hash, const char *password_secret, size_t len)
{
	switch (hash->kind) {
	case PASSHASH_ARGON2ID:
	case PASSHASH_ARGON2I:
		return by_argon2(hash, password_secret, len);
	case PASSHASH_PBKDF2:
		return by_pbkdf2(hash, password_secret, len);
	case PASSHASH_CRYPT:
		break;
	}
	return by_crypt(hash, password_secret, len);
}
