/* SPDX-License-Identifier: ISC */
#include "secrets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>

#include "credentials.h"
#include "passhash.h"
#include "prep.h"
#include "remembered.h"
#include "secretfile.h"
#include "usual.h"

/* While there are no more users, each change is followed by a look at what is usual: that is quick. */
#define SETTLED_AT_ONCE_COUNT 10000

struct secrets {
	struct secretfile *file;
	struct remembered *remembered; /* only a reader verifies */
	uint32_t cost_usecs;
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

int secrets_enter_many(struct secrets *secrets, const struct secrets_entry *entries, size_t count,
    enum secrets_entering how, size_t *failed_r)
{
	struct secretfile_entry *encoded = calloc(count, sizeof(*encoded));
	int rc = SECRETS_OK;

	*failed_r = 0;
	if (encoded == NULL)
		return SECRETS_TEMP;
	for (size_t i = 0; i < count && rc == SECRETS_OK; i++) {
		*failed_r = i;
		if (!user_sound(entries[i].user))
			rc = SECRETS_INVALID;
		encoded[i].user = entries[i].user;
		encoded[i].len = credentials_encode(entries[i].record, encoded[i].record);
	}
	if (rc == SECRETS_OK)
		rc = secretfile_put(secrets->file, encoded, count, how, failed_r);
	OPENSSL_cleanse(encoded, count * sizeof(*encoded));
	free(encoded);
	return rc;
}

/* That what is usual cannot be noted undoes no change. */
static void settle_few(struct secrets *secrets)
{
	if (secretfile_count(secrets->file) <= SETTLED_AT_ONCE_COUNT)
		secrets_settle(secrets);
}

int secrets_enter(struct secrets *secrets, const char *user, const char *password_secret,
    const struct secrets_forms *forms, enum secrets_entering how)
{
	struct secrets_forms settled = *forms;
	struct credentials record;
	size_t failed;
	int rc;

	if (!user_sound(user))
		return SECRETS_INVALID;
	if (settled.iterations == 0 && (settled.iterations = secrets_iterations(secrets)) == 0)
		return SECRETS_TEMP;
	rc = credentials_make(&record, password_secret, &settled);
	if (rc == SECRETS_OK)
		rc = secrets_enter_many(secrets, &(struct secrets_entry){user, &record}, 1, how, &failed);
	credentials_clear(&record);
	/* A user without keys that others have had so far changes what may be offered. */
	if (rc == SECRETS_OK && !forms->chosen && (secrets_keys(secrets) & ~forms->keys) != 0)
		secrets_settle(secrets);
	else if (rc == SECRETS_OK)
		settle_few(secrets);
	return rc;
}

int secrets_add(struct secrets *secrets, const char *user, const char *password_secret, bool plain)
{
	const struct secrets_forms forms = {.keys = SECRETS_ALL_KEYS, .plain = plain};

	return secrets_enter(secrets, user, password_secret, &forms, SECRETS_ADD);
}

int secrets_set(struct secrets *secrets, const char *user, const char *password_secret, bool plain)
{
	const struct secrets_forms forms = {.keys = SECRETS_ALL_KEYS, .plain = plain};

	return secrets_enter(secrets, user, password_secret, &forms, SECRETS_REPLACE);
}

int secrets_delete(struct secrets *secrets, const char *user)
{
	int rc = user_sound(user) ? secretfile_delete(secrets->file, user) : SECRETS_NO_USER;

	if (rc == SECRETS_OK)
		settle_few(secrets);
	return rc;
}

int secrets_list(struct secrets *secrets, secrets_user_fn *fn, void *arg)
{
	char user[SECRETS_USER_OCTETS + 1] = "";
	uint8_t bytes_secret[CREDENTIALS_OCTETS];
	struct credentials record;
	size_t len;
	int rc, ended = 0;

	while (ended == 0 && (rc = secretfile_next(secrets->file, user, bytes_secret, &len)) == SECRETS_OK) {
		bool sound = credentials_decode(&record, bytes_secret, len) == 0;

		ended = fn(arg, user, sound ? &record : NULL);
		credentials_clear(&record);
	}
	OPENSSL_cleanse(bytes_secret, sizeof(bytes_secret));
	return ended != 0 || rc == SECRETS_NO_USER ? SECRETS_OK : rc;
}

/* What a lookup gives; bytes_secret is what lies in the file, for the tag of a remembered password. */
struct found {
	bool known;
	struct credentials real;  /* of a user who is there */
	struct credentials shown; /* what mechanisms get: made up, but for what is there; see find_shown */
	struct usual usual;
	uint8_t file_key_secret[CREDENTIALS_FILE_KEY_OCTETS];
	uint8_t bytes_secret[CREDENTIALS_OCTETS];
	size_t len;
};

static void found_clear(struct found *found)
{
	OPENSSL_cleanse(found, sizeof(*found));
}

static int spoilt(struct found *found, int error)
{
	found_clear(found);
	errno = error;
	return SECRETS_TEMP;
}

static int find(struct secrets *secrets, const char *user, struct found *found_r)
{
	int rc;

	memset(found_r, 0, sizeof(*found_r));
	if (!user_sound(user))
		user = ""; /* no record has this name */
	rc = secretfile_get(secrets->file, user, found_r->file_key_secret, &found_r->usual,
	    found_r->bytes_secret, &found_r->len);
	if (rc != SECRETS_OK && rc != SECRETS_NO_USER)
		return SECRETS_TEMP;
	found_r->known = rc == SECRETS_OK;
	if (found_r->known && credentials_decode(&found_r->real, found_r->bytes_secret, found_r->len) < 0)
		return spoilt(found_r, EBADMSG);
	return SECRETS_OK;
}

/* A user without keys of a hash, or without a kept password, has the made-up ones. */
static void show_what_is_there(struct found *found)
{
	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++)
		if (found->real.keys[hash].iterations != 0)
			found->shown.keys[hash] = found->real.keys[hash];
	found->shown.plain = found->real.plain;
	if (found->real.plain)
		memcpy(found->shown.password_secret, found->real.password_secret,
		    sizeof(found->real.password_secret));
}

/* The made-up record is computed for every user, so that it costs those who are there as much. */
static int find_shown(struct secrets *secrets, const char *user, struct found *found_r)
{
	int rc = find(secrets, user, found_r);

	if (rc < 0)
		return rc;
	if (credentials_fake(&found_r->shown, found_r->file_key_secret, found_r->usual.iterations,
		user_sound(user) ? user : "") < 0)
		return spoilt(found_r, EIO);
	show_what_is_there(found_r);
	return SECRETS_OK;
}

int secrets_get(struct secrets *secrets, const char *user, struct credentials *record_r)
{
	struct found found;
	int rc = find(secrets, user, &found);

	memset(record_r, 0, sizeof(*record_r));
	if (rc == SECRETS_OK && !found.known)
		rc = SECRETS_NO_USER;
	if (rc == SECRETS_OK)
		*record_r = found.real;
	found_clear(&found);
	return rc;
}

uint32_t secrets_iterations(struct secrets *secrets)
{
	struct found found;
	uint32_t iterations = 0;

	if (find(secrets, "", &found) == SECRETS_OK)
		iterations = found.usual.iterations;
	found_clear(&found);
	return iterations;
}

unsigned secrets_keys(struct secrets *secrets)
{
	struct found found;
	unsigned keys = SECRETS_ALL_KEYS;

	if (find(secrets, "", &found) == SECRETS_OK)
		keys = found.usual.keys;
	found_clear(&found);
	return keys;
}

static int count_user(void *arg, const char *user, const struct credentials *record)
{
	(void)user;
	if (record != NULL)
		usual_count_add(arg, record);
	return 0;
}

int secrets_settle(struct secrets *secrets)
{
	struct usual_count *count = calloc(1, sizeof(*count));
	struct found found;
	int rc = SECRETS_TEMP;

	if (count != NULL && (rc = find(secrets, "", &found)) == SECRETS_OK)
		rc = secrets_list(secrets, count_user, count);
	if (rc == SECRETS_OK && usual_settle(count, &found.usual))
		rc = secretfile_put_usual(secrets->file, &found.usual);
	free(count);
	return rc;
}

static int verify_keys(
    enum scram_hash hash, const struct scramkeys *want, const char *password_secret, size_t len)
{
	struct scramkeys got = *want;
	int rc = scramkeys_derive(hash, password_secret, len, &got), differs;

	differs = CRYPTO_memcmp(got.stored, want->stored, scramkeys_octets(hash));
	OPENSSL_cleanse(&got, sizeof(got));
	if (rc == 0)
		return differs == 0 ? SECRETS_OK : SECRETS_REFUSED;
	errno = EIO;
	return SECRETS_TEMP;
}

static int verify_hash(const char *hash, const char *password_secret, size_t len)
{
	int rc = passhash_verify(hash, password_secret, len);

	if (rc == PASSHASH_TROUBLE)
		return SECRETS_TEMP;
	return rc == PASSHASH_OK ? SECRETS_OK : SECRETS_REFUSED;
}

/* Nobody's password is checked with what most users have, against keys or a hash that nothing fits. */
static int verify_octets(const struct found *found, const char *password_secret, size_t len)
{
	const struct scramkeys nobodys = {
	    .iterations = found->usual.iterations, .salt_len = SCRAM_SALT_OCTETS};
	int hash = credentials_main_hash(&found->real);

	if (hash >= 0)
		return verify_keys((enum scram_hash)hash, &found->real.keys[hash], password_secret, len);
	if (found->known)
		return verify_hash(found->real.hash, password_secret, len);
	if (found->usual.hash[0] != '\0')
		return verify_hash(found->usual.hash, password_secret, len);
	return verify_keys(SCRAM_SHA256, &nobodys, password_secret, len);
}

/*
 * The octets as they came first: hashes of other programs, and records made before passwords were prepared,
 * are of such. Whether the prepared form is tried depends on nothing but the password.
 */
static int verify_slowly(const struct found *found, const char *password_secret, size_t len)
{
	char prepared_secret[SECRETS_PREPARED_OCTETS];
	int rc = verify_octets(found, password_secret, len);

	if (rc == SECRETS_REFUSED &&
	    prep_query(password_secret, len, prepared_secret, sizeof(prepared_secret)) == PREP_OK) {
		size_t prepared_len = strlen(prepared_secret);

		if (prepared_len != len || memcmp(prepared_secret, password_secret, len) != 0)
			rc = verify_octets(found, prepared_secret, prepared_len);
		OPENSSL_cleanse(prepared_secret, sizeof(prepared_secret));
	}
	return rc == SECRETS_OK && !found->known ? SECRETS_REFUSED : rc;
}

static uint64_t processor_usecs(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int secrets_verify(struct secrets *secrets, const char *user, const char *password_secret, size_t len)
{
	/* A password that cannot be anyone's is hashed like any other, but fits nobody. */
	bool sound = len >= 1 && len <= SECRETS_PASSWORD_OCTETS && memchr(password_secret, '\0', len) == NULL;
	uint8_t tag[REMEMBERED_TAG_OCTETS];
	struct found found;
	uint64_t begin;
	int rc, tagged;

	secrets->cost_usecs = 0;
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
	begin = processor_usecs();
	rc = verify_slowly(&found, password_secret, len);
	secrets->cost_usecs = (uint32_t)(processor_usecs() - begin) | 1;
	if (rc == SECRETS_OK && !sound)
		rc = SECRETS_REFUSED;
	if (rc == SECRETS_OK && tagged == 0)
		remembered_add(secrets->remembered, tag);
	found_clear(&found);
	return rc;
}

uint32_t secrets_cost_usecs(const struct secrets *secrets)
{
	return secrets->cost_usecs;
}

int secrets_scram(
    struct secrets *secrets, const char *user, char values_r[SCRAM_HASH_COUNT][SECRETS_VALUE_OCTETS])
{
	struct found found;
	int rc = find_shown(secrets, user, &found);

	if (rc < 0)
		return rc;
	for (int hash = 0; rc == 0 && hash < SCRAM_HASH_COUNT; hash++)
		rc = scramkeys_format(
		    (enum scram_hash)hash, &found.shown.keys[hash], values_r[hash], SECRETS_VALUE_OCTETS);
	found_clear(&found);
	return rc < 0 ? SECRETS_TEMP : SECRETS_OK;
}

int secrets_plain(struct secrets *secrets, const char *user, char *value_r)
{
	struct found found;
	int rc = find_shown(secrets, user, &found);

	if (rc < 0)
		return rc;
	memcpy(value_r, found.shown.password_secret, sizeof(found.shown.password_secret));
	found_clear(&found);
	return SECRETS_OK;
}
