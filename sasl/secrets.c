/* SPDX-License-Identifier: ISC */
#include "secrets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "credentials.h"
#include "remembered.h"
#include "secretfile.h"

struct secrets {
	struct secretfile *file;
	struct remembered *remembered; /* only a reader verifies */
};

bool secrets_exist(const struct secrets *secrets)
{
	return secrets != NULL && secretfile_exists(secrets->file);
}

int secrets_open(struct secrets **secrets_r, const char *path, bool writer)
{
	struct secrets *secrets = calloc(1, sizeof(*secrets));
	int rc;

	*secrets_r = NULL;
	if (secrets == NULL)
		return SECRETS_TEMP;
	rc = secretfile_open(&secrets->file, path, writer);
	if (rc < 0) {
		free(secrets);
		return rc;
	}
	secrets->remembered = writer ? NULL : remembered_new();
	*secrets_r = secrets;
	return SECRETS_OK;
}

void secrets_close(struct secrets **secrets)
{
	if (*secrets == NULL)
		return;
	secretfile_close(&(*secrets)->file);
	remembered_free(&(*secrets)->remembered);
	free(*secrets);
	*secrets = NULL;
}

static bool user_sound(const char *user)
{
	size_t len = strnlen(user, SECRETS_USER_OCTETS + 1);

	return len >= 1 && len <= SECRETS_USER_OCTETS;
}

static int store(
    struct secrets *secrets, const char *user, const char *password_secret, bool plain, bool must_exist)
{
	uint8_t bytes_secret[CREDENTIALS_OCTETS];
	size_t len = strnlen(password_secret, SECRETS_PASSWORD_OCTETS + 1);
	struct credentials record;
	int rc;

	if (!user_sound(user) || len == 0 || len > SECRETS_PASSWORD_OCTETS)
		return SECRETS_INVALID;
	if (credentials_make(&record, password_secret, plain) < 0) {
		errno = EIO;
		return SECRETS_TEMP;
	}
	rc = secretfile_put(
	    secrets->file, user, bytes_secret, credentials_encode(&record, bytes_secret), must_exist);
	credentials_clear(&record);
	OPENSSL_cleanse(bytes_secret, sizeof(bytes_secret));
	return rc;
}

int secrets_add(struct secrets *secrets, const char *user, const char *password_secret, bool plain)
{
	return store(secrets, user, password_secret, plain, false);
}

int secrets_set(struct secrets *secrets, const char *user, const char *password_secret, bool plain)
{
	return store(secrets, user, password_secret, plain, true);
}

int secrets_delete(struct secrets *secrets, const char *user)
{
	return user_sound(user) ? secretfile_delete(secrets->file, user) : SECRETS_NO_USER;
}

int secrets_list(struct secrets *secrets, secrets_user_fn *fn, void *arg)
{
	char user[SECRETS_USER_OCTETS + 1] = "";
	uint8_t bytes_secret[CREDENTIALS_OCTETS];
	struct credentials record;
	size_t len;
	int rc;

	while ((rc = secretfile_next(secrets->file, user, bytes_secret, &len)) == SECRETS_OK) {
		bool plain = credentials_decode(&record, bytes_secret, len) == 0 && record.plain;

		credentials_clear(&record);
		if (fn(arg, user, plain) != 0)
			break;
	}
	OPENSSL_cleanse(bytes_secret, sizeof(bytes_secret));
	return rc == SECRETS_NO_USER ? SECRETS_OK : rc;
}

/* What a lookup gives; bytes_secret is what lies in the file, for the tag of a remembered password. */
struct found {
	bool known;
	struct credentials record;
	uint8_t bytes_secret[CREDENTIALS_OCTETS];
	size_t len;
};

static void found_clear(struct found *found)
{
	OPENSSL_cleanse(found, sizeof(*found));
}

/*
 * The made-up record is computed for every user, so that it costs those who are there as much; a user
 * without a kept password has the made-up one.
 */
static int find(struct secrets *secrets, const char *user, struct found *found_r)
{
	uint8_t file_key_secret[CREDENTIALS_FILE_KEY_OCTETS];
	struct credentials real;
	int rc;

	memset(found_r, 0, sizeof(*found_r));
	if (!user_sound(user))
		user = ""; /* no record has this name */
	rc = secretfile_get(secrets->file, user, file_key_secret, found_r->bytes_secret, &found_r->len);
	if (rc != SECRETS_OK && rc != SECRETS_NO_USER)
		return SECRETS_TEMP;
	found_r->known = rc == SECRETS_OK;
	rc = credentials_fake(&found_r->record, file_key_secret, user);
	OPENSSL_cleanse(file_key_secret, sizeof(file_key_secret));
	if (rc == 0 && found_r->known) {
		rc = credentials_decode(&real, found_r->bytes_secret, found_r->len);
		memcpy(found_r->record.keys, real.keys, sizeof(real.keys));
		found_r->record.plain = real.plain;
		if (real.plain)
			memcpy(found_r->record.password_secret, real.password_secret,
			    sizeof(real.password_secret));
		credentials_clear(&real);
	}
	if (rc < 0) {
		found_clear(found_r);
		errno = EIO;
		return SECRETS_TEMP;
	}
	return SECRETS_OK;
}

static int verify_slowly(const struct found *found, const char *password_secret, size_t len)
{
	const struct scramkeys *want = &found->record.keys[SCRAM_SHA256];
	struct scramkeys got = {.iterations = want->iterations};
	int rc, differs;

	rc = scramkeys_derive(SCRAM_SHA256, password_secret, len, want->salt, sizeof(want->salt), &got);
	differs = CRYPTO_memcmp(got.stored, want->stored, scramkeys_octets(SCRAM_SHA256));
	OPENSSL_cleanse(&got, sizeof(got));
	if (rc < 0) {
		errno = EIO;
		return SECRETS_TEMP;
	}
	return differs == 0 && found->known ? SECRETS_OK : SECRETS_REFUSED;
}

int secrets_verify(struct secrets *secrets, const char *user, const char *password_secret, size_t len)
{
	/* A password that cannot be anyone's is hashed like any other, but fits nobody. */
	bool sound = len >= 1 && len <= SECRETS_PASSWORD_OCTETS && memchr(password_secret, '\0', len) == NULL;
	uint8_t tag[REMEMBERED_TAG_OCTETS];
	struct found found;
	int rc, tagged;

	if (len > SECRETS_PASSWORD_OCTETS)
		len = SECRETS_PASSWORD_OCTETS;
	rc = find(secrets, user, &found);
	if (rc < 0)
		return rc;
	tagged =
	    remembered_tag(secrets->remembered, found.bytes_secret, found.len, password_secret, len, tag);
	if (tagged == 0 && found.known && sound && remembered_has(secrets->remembered, tag)) {
		found_clear(&found);
		return SECRETS_OK;
	}
	rc = verify_slowly(&found, password_secret, len);
	if (rc == SECRETS_OK && !sound)
		rc = SECRETS_REFUSED;
	if (rc == SECRETS_OK && tagged == 0)
		remembered_add(secrets->remembered, tag);
	found_clear(&found);
	return rc;
}

int secrets_scram(struct secrets *secrets, const char *user, const char *hash, char *value_r)
{
	struct found found;
	int rc, which = 0;

	while (which < SCRAM_HASH_COUNT && strcmp(hash, scramkeys_name((enum scram_hash)which)) != 0)
		which++;
	if (which == SCRAM_HASH_COUNT) {
		errno = ENOTSUP;
		return SECRETS_TEMP;
	}
	rc = find(secrets, user, &found);
	if (rc < 0)
		return rc;
	rc = scramkeys_format(
	    (enum scram_hash)which, &found.record.keys[which], value_r, SECRETS_VALUE_OCTETS);
	found_clear(&found);
	return rc < 0 ? SECRETS_TEMP : SECRETS_OK;
}

int secrets_plain(struct secrets *secrets, const char *user, char *value_r)
{
	struct found found;
	int rc = find(secrets, user, &found);

	if (rc < 0)
		return rc;
	memcpy(value_r, found.record.password_secret, sizeof(found.record.password_secret));
	found_clear(&found);
	return SECRETS_OK;
}
