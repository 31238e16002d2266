/* SPDX-License-Identifier: ISC */
/*
 * APOP (RFC 1939 section 7). The library's own is not used: it takes upper-case digests, and a
 * timestamp for as many tries as one likes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "attempt.h"
#include "library.h"

#define MD5_OCTETS 16u

static enum saslx_outcome end(struct saslx *exchange, enum saslx_outcome outcome)
{
	exchange->state = ATTEMPT_ENDED;
	OPENSSL_cleanse(exchange->timestamp, sizeof(exchange->timestamp));
	return outcome;
}

const char *saslx_apop_begin(struct saslx *exchange)
{
	/* Unlike the random octets, the counter cannot repeat by chance. */
	static unsigned long long counter;
	uint8_t random[16];
	char hex[2 * sizeof(random) + 1];

	if (exchange->state != ATTEMPT_NEW || RAND_bytes(random, sizeof(random)) != 1)
		return NULL;
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(hex + 2 * i, 3, "%02x", random[i]);
	snprintf(exchange->timestamp, sizeof(exchange->timestamp), "<%s.%llu@%s>", hex, counter++,
	    library_get()->host);
	exchange->state = ATTEMPT_APOP;
	return exchange->timestamp;
}

static int expect(const char *timestamp, const char *password_secret, char *digest_r)
{
	uint8_t md5[MD5_OCTETS];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1 &&
		 EVP_DigestUpdate(ctx, timestamp, strlen(timestamp)) == 1 &&
		 EVP_DigestUpdate(ctx, password_secret, strlen(password_secret)) == 1 &&
		 EVP_DigestFinal_ex(ctx, md5, NULL) == 1;

	EVP_MD_CTX_free(ctx);
	for (size_t i = 0; ok && i < sizeof(md5); i++)
		snprintf(digest_r + 2 * i, 3, "%02x", md5[i]);
	return ok ? 0 : -1;
}

enum saslx_outcome saslx_apop(struct saslx *exchange, const char *user, const char *digest)
{
	struct secrets *secrets = library_get()->config.secrets;
	char name[SASLX_USER_OCTETS + 1], want[SCREEN_DIGEST_OCTETS + 1],
	    password_secret[SECRETS_VALUE_OCTETS];
	int rc, differs;

	if (exchange->state != ATTEMPT_APOP || secrets == NULL) {
		attempt_explain(exchange, true, "APOP without a timestamp, or without secrets");
		return end(exchange, SASLX_ERROR);
	}
	if (!screen_digest(digest, strnlen(digest, SCREEN_DIGEST_OCTETS + 1))) {
		attempt_explain(exchange, false, "no digest");
		return end(exchange, SASLX_REFUSED);
	}
	/* A name nobody can have takes as long as one that nobody has. */
	if (!attempt_user(user, strnlen(user, SASLX_USER_OCTETS + 1), name)) {
		attempt_explain(exchange, false, "a name that cannot be a user's");
		strcpy(name, ATTEMPT_NOBODY);
	}
	rc = secrets_plain(secrets, name, password_secret);
	if (rc == SECRETS_OK)
		rc = expect(exchange->timestamp, password_secret, want);
	OPENSSL_cleanse(password_secret, sizeof(password_secret));
	if (rc < 0) {
		attempt_explain(exchange, true, "APOP failed here: %s", strerror(errno));
		return end(exchange, SASLX_ERROR);
	}
	differs = CRYPTO_memcmp(want, digest, SCREEN_DIGEST_OCTETS);
	OPENSSL_cleanse(want, sizeof(want));
	/* The made-up password of a name nobody can have fits no digest, but let nothing rest on that. */
	if (differs != 0 || strcmp(name, ATTEMPT_NOBODY) == 0) {
		attempt_explain(exchange, false, "wrong digest, no such user, or no password kept for APOP");
		return end(exchange, SASLX_REFUSED);
	}
	memcpy(exchange->user, name, sizeof(name));
	exchange->identity = (struct saslx_identity){
	    .name = exchange->user, .authzid = exchange->authzid, .indicators = exchange->indicators};
	return end(exchange, SASLX_DONE);
}
