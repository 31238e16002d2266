/* SPDX-License-Identifier: ISC */
/* The secrets file, and the derivations against the examples of the RFCs. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <lmdb.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "sasl/credentials.h"
#include "sasl/scramkeys.h"
#include "sasl/secretfile.h"
#include "sasl/secrets.h"

static char dir[64], path[128];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/kpopd-secrets-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/secrets.mdb", dir);
	return 0;
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static int remove_dir(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct secrets *writer_open(void)
{
	struct secrets *secrets;

	assert_int_equal(secrets_open(&secrets, path, true), SECRETS_OK);
	return secrets;
}

static struct secrets *reader_open(void)
{
	struct secrets *secrets;

	assert_int_equal(secrets_open(&secrets, path, false), SECRETS_OK);
	return secrets;
}

/* The server signature of the RFCs' examples is an HMAC of what was said, under ServerKey. */
static void scram_examples_of_the_rfcs(void **state)
{
	static const struct {
		const char *sentence;
		enum scram_hash hash;
		const char *salt, *said, *proof, *signature;
	} rows[] = {
	    {"RFC 5802 section 5", SCRAM_SHA1, "QSXCR+Q6sek8bf92",
		"n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+"
		"Q6sek8bf92,i=4096,"
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
		"v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="},
	    {"RFC 7677 section 3", SCRAM_SHA256, "W22ZaJ0SNY7soEsUEjb6gQ==",
		"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s="
		"W22ZaJ0SNY7soEsUEjb6gQ==,"
		"i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		const EVP_MD *md = rows[i].hash == SCRAM_SHA1 ? EVP_sha1() : EVP_sha256();
		size_t octets = scramkeys_octets(rows[i].hash), pad = strcspn(rows[i].salt, "=");
		struct scramkeys keys = {.iterations = 4096};
		uint8_t mac[32], proof[64], client_key[32], stored[32];
		char text[64];
		int salt_len =
		    EVP_DecodeBlock(keys.salt, (const uint8_t *)rows[i].salt, (int)strlen(rows[i].salt));

		keys.salt_len = (uint8_t)((size_t)salt_len - (strlen(rows[i].salt) - pad));
		assert_int_equal(scramkeys_derive(rows[i].hash, "pencil", 6, &keys), 0);
		HMAC(md, keys.server, (int)octets, (const uint8_t *)rows[i].said, strlen(rows[i].said), mac,
		    NULL);
		EVP_EncodeBlock((uint8_t *)text, mac, (int)octets);
		assert_string_equal(text, rows[i].signature);
		/* ClientKey is the proof without the signature, and its hash is what we store (section 3). */
		HMAC(md, keys.stored, (int)octets, (const uint8_t *)rows[i].said, strlen(rows[i].said), mac,
		    NULL);
		EVP_DecodeBlock(proof, (const uint8_t *)rows[i].proof, (int)strlen(rows[i].proof));
		for (size_t at = 0; at < octets; at++)
			client_key[at] = proof[at] ^ mac[at];
		EVP_Digest(client_key, octets, stored, NULL, md, NULL);
		assert_memory_equal(stored, keys.stored, octets);
	}
}

static const struct secrets_forms all_forms = {
    .keys = SECRETS_ALL_KEYS, .iterations = SECRETS_ITERATIONS_COUNT, .plain = true};

/* Everything a record can have, each as long as it can be. */
static void make_full(struct credentials *made)
{
	static char longest[SECRETS_PASSWORD_OCTETS + 1];

	memset(longest, 'p', SECRETS_PASSWORD_OCTETS);
	assert_int_equal(credentials_make(made, longest, &all_forms), SECRETS_OK);
	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++)
		made->keys[hash].salt_len = SCRAM_SALT_MAX_OCTETS;
	strcpy(made->hash, "$6$rounds=100000$abcdefghijklmnop$");
	memset(made->hash + strlen(made->hash), '/', 86);
}

static void records_are_read_to_the_last_octet_or_not_at_all(void **state)
{
	struct credentials made, read;
	uint8_t bytes[CREDENTIALS_OCTETS + 1], changed[CREDENTIALS_OCTETS + 1];
	size_t len, ends = 0;

	(void)state;
	make_full(&made);
	len = credentials_encode(&made, bytes);
	assert_true(len <= CREDENTIALS_OCTETS);
	assert_int_equal(credentials_decode(&read, bytes, len), 0);
	assert_memory_equal(read.keys, made.keys, sizeof(made.keys));
	assert_string_equal(read.hash, made.hash);
	assert_string_equal(read.password_secret, made.password_secret);
	assert_true(read.plain);
	/* Where a part ends, so may the record. */
	for (size_t cut = 0; cut < len; cut++)
		ends += credentials_decode(&read, bytes, cut) == 0;
	assert_int_equal(ends, 4);
	bytes[len] = 0;
	assert_int_equal(credentials_decode(&read, bytes, len + 1), -1);
	for (size_t at = 0; at < 3; at++) { /* version, flags, type */
		memcpy(changed, bytes, len);
		changed[at] ^= 0x40;
		assert_int_equal(credentials_decode(&read, changed, len), -1);
	}
	/* Iterations: too many, none; a salt longer than there is room for. */
	memcpy(changed, bytes, len);
	memset(changed + 5, 0xff, 4);
	assert_int_equal(credentials_decode(&read, changed, len), -1);
	memset(changed + 5, 0, 4);
	assert_int_equal(credentials_decode(&read, changed, len), -1);
	memcpy(changed, bytes, len);
	changed[9] = SCRAM_SALT_MAX_OCTETS + 1;
	assert_int_equal(credentials_decode(&read, changed, len), -1);
	/* A password alone is no record, and parts come once and in order. */
	assert_int_equal(credentials_decode(&read, "\x02\x00\x11\x00\x01p", 6), -1);
	memset(made.keys, 0, sizeof(made.keys));
	len = credentials_encode(&made, bytes);
	assert_int_equal(credentials_decode(&read, bytes, len), 0);
	memcpy(changed, bytes, len);
	memcpy(changed + len, bytes + 2, len - 2);
	assert_int_equal(credentials_decode(&read, changed, 2 * len - 2), -1);
	made.hash[1] = '1';
	assert_int_equal(credentials_decode(&read, bytes, credentials_encode(&made, bytes)), -1);
}

/* As the first release wrote them: version 1, of "pencil", 4096 iterations. */
static size_t make_version_1(uint8_t *bytes, bool plain, const char *password)
{
	static const size_t octets[] = {20, 32};
	size_t len = 0;

	bytes[len++] = 1;
	bytes[len++] = plain;
	memcpy(bytes + len, "\x00\x00\x10\x00", 4);
	len += 4;
	for (int hash = 0; hash < 2; hash++) {
		struct scramkeys keys = {.iterations = 4096, .salt_len = 16, .salt = "0123456789abcdef"};

		assert_int_equal(
		    scramkeys_derive((enum scram_hash)hash, password, strlen(password), &keys), 0);
		memcpy(bytes + len, keys.salt, 16);
		memcpy(bytes + len + 16, keys.stored, octets[hash]);
		memcpy(bytes + len + 16 + octets[hash], keys.server, octets[hash]);
		len += 16 + 2 * octets[hash];
	}
	if (plain) {
		bytes[len++] = (uint8_t)strlen(password);
		memcpy(bytes + len, password, strlen(password));
		len += strlen(password);
	}
	return len;
}

static void records_of_the_first_release_are_read(void **state)
{
	static const char *const passwords[] = {"pencil", "p\xe4ss"};
	struct secretfile_entry entries[] = {{.user = "old"}, {.user = "latin"}};
	struct secretfile *file;
	struct secrets *reader;
	struct credentials read;
	uint8_t bytes[CREDENTIALS_OCTETS];
	char plain[SECRETS_VALUE_OCTETS];
	size_t len = make_version_1(bytes, true, "pencil");

	(void)state;
	assert_int_equal(credentials_decode(&read, bytes, len), 0);
	assert_string_equal(read.password_secret, "pencil");
	assert_int_equal(read.keys[SCRAM_SHA512].iterations, 0);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(credentials_decode(&read, bytes, cut), -1);
	assert_int_equal(credentials_decode(&read, bytes, len + 1), -1);
	assert_int_equal(secretfile_open(&file, path, true), SECRETS_OK);
	for (size_t i = 0; i < 2; i++)
		entries[i].len = make_version_1(entries[i].record, i == 0, passwords[i]);
	assert_int_equal(secretfile_put(file, entries, 2, SECRETS_ADD, NULL), SECRETS_OK);
	secretfile_close(&file);
	reader = reader_open();
	assert_int_equal(secrets_verify(reader, "old", "pencil", 6), SECRETS_OK);
	assert_int_equal(secrets_verify(reader, "old", "pencik", 6), SECRETS_REFUSED);
	/* Such passwords were taken as they came. */
	assert_int_equal(secrets_verify(reader, "latin", passwords[1], 4), SECRETS_OK);
	assert_int_equal(secrets_plain(reader, "old", plain), SECRETS_OK);
	assert_string_equal(plain, "pencil");
	secrets_close(&reader);
}

static const char bcrypt[] = "$2y$05$ut3IHtWSAS0jkgp5Uwona.SSAkBa.qCwNlHDSlhqzC.dcMyGr4rJe"; /* of sesam */

/* As an import does it. */
static void enter_hash(struct secrets *writer, const char *user, const char *hash)
{
	struct credentials record = {.plain = false};
	size_t failed;

	strcpy(record.hash, hash);
	assert_int_equal(
	    secrets_enter_many(writer, &(struct secrets_entry){user, &record}, 1, SECRETS_EITHER, &failed),
	    SECRETS_OK);
	assert_int_equal(secrets_settle(writer), SECRETS_OK);
}

/* Files of the first release had no such entry. */
static void remove_usual(void)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val key = {.mv_data = (char[]){'d'}, .mv_size = 1};

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	assert_int_equal(mdb_del(txn, dbi, &key, NULL), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

/* Else a client would take a mechanism for which its user has no keys. */
static void keys_that_all_users_have_are_known(void **state)
{
	const struct secrets_forms sha1 = {.keys = 1u << SCRAM_SHA1, .chosen = true};
	const struct secrets_forms sha256 = {.keys = 1u << SCRAM_SHA256};
	struct secretfile_entry entries[] = {{.user = "old"}, {.user = "older"}};
	const unsigned old_keys = 1u << SCRAM_SHA1 | 1u << SCRAM_SHA256;
	struct secretfile *file;
	struct secrets *writer = writer_open();

	(void)state;
	assert_int_equal(secrets_keys(writer), SECRETS_ALL_KEYS);
	enter_hash(writer, "hashed", bcrypt);
	assert_int_equal(secrets_keys(writer), 0);
	assert_int_equal(secrets_add(writer, "alice", "x", false), SECRETS_OK);
	assert_int_equal(secrets_keys(writer), SECRETS_ALL_KEYS);
	assert_int_equal(secrets_enter(writer, "bob", "x", &sha1, SECRETS_ADD), SECRETS_OK);
	assert_int_equal(secrets_keys(writer), SECRETS_ALL_KEYS);
	assert_int_equal(secrets_enter(writer, "carol", "x", &sha256, SECRETS_ADD), SECRETS_OK);
	assert_int_equal(secrets_keys(writer), 1u << SCRAM_SHA256);
	assert_int_equal(secrets_delete(writer, "carol"), SECRETS_OK);
	assert_int_equal(secrets_keys(writer), SECRETS_ALL_KEYS);
	secrets_close(&writer);
	/* A file of the first release: until all users have new passwords. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(secretfile_open(&file, path, true), SECRETS_OK);
	for (size_t i = 0; i < 2; i++)
		entries[i].len = make_version_1(entries[i].record, false, "x");
	assert_int_equal(secretfile_put(file, entries, 2, SECRETS_ADD, NULL), SECRETS_OK);
	secretfile_close(&file);
	remove_usual();
	writer = writer_open();
	assert_int_equal(secrets_keys(writer), old_keys);
	assert_int_equal(secrets_add(writer, "new", "x", false), SECRETS_OK);
	assert_int_equal(secrets_set(writer, "old", "x", false), SECRETS_OK);
	assert_int_equal(secrets_keys(writer), old_keys);
	assert_int_equal(secrets_set(writer, "older", "x", false), SECRETS_OK);
	assert_int_equal(secrets_keys(writer), SECRETS_ALL_KEYS);
	secrets_close(&writer);
}

static void passwords_are_verified(void **state)
{
	static const struct {
		const char *sentence, *user, *password;
		size_t len;
		int want;
	} rows[] = {
	    {"right", "alice", "wonder land", 11, SECRETS_OK},
	    {"right again, remembered", "alice", "wonder land", 11, SECRETS_OK},
	    {"wrong", "alice", "wonder lane", 11, SECRETS_REFUSED},
	    {"shorter", "alice", "wonder land", 10, SECRETS_REFUSED},
	    {"a NUL and more", "alice", "wonder land\0x", 13, SECRETS_REFUSED},
	    {"a NUL", "alice", "wonder land", 12, SECRETS_REFUSED},
	    {"empty", "alice", "", 0, SECRETS_REFUSED},
	    {"another's", "bob", "wonder land", 11, SECRETS_REFUSED},
	    {"unknown", "carol", "wonder land", 11, SECRETS_REFUSED},
	    {"no name", "", "wonder land", 11, SECRETS_REFUSED},
	};
	struct secrets *writer = writer_open(), *reader = reader_open();
	static char long_user[300], long_password[300];

	(void)state;
	memset(long_user, 'u', sizeof(long_user) - 1);
	memset(long_password, 'p', sizeof(long_password) - 1);
	assert_int_equal(secrets_add(writer, "alice", "wonder land", false), SECRETS_OK);
	assert_int_equal(secrets_add(writer, "bob", "builder", true), SECRETS_OK);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (secrets_verify(reader, rows[i].user, rows[i].password, rows[i].len) != rows[i].want)
			fail_msg("%s", rows[i].sentence);
	assert_int_equal(secrets_verify(reader, long_user, "x", 1), SECRETS_REFUSED);
	assert_int_equal(secrets_verify(reader, "alice", long_password, 299), SECRETS_REFUSED);
	assert_int_equal(secrets_add(writer, "x", long_password, false), SECRETS_INVALID);
	assert_int_equal(secrets_add(writer, "x", "", false), SECRETS_INVALID);
	assert_int_equal(secrets_add(writer, "", "x", false), SECRETS_INVALID);
	assert_int_equal(secrets_add(writer, long_user, "x", false), SECRETS_INVALID);
	long_user[255] = '\0';
	long_password[255] = '\0';
	assert_int_equal(secrets_add(writer, long_user, long_password, true), SECRETS_OK);
	assert_int_equal(secrets_verify(reader, long_user, long_password, 255), SECRETS_OK);
	assert_int_equal(secrets_add(writer, "alice", "x", false), SECRETS_EXISTS);
	assert_int_equal(secrets_set(writer, "carol", "x", false), SECRETS_NO_USER);
	assert_int_equal(secrets_delete(writer, "carol"), SECRETS_NO_USER);
	secrets_close(&reader);
	secrets_close(&writer);
	assert_null(writer);
}

/* What a client of that mechanism is told: hash, iterations and salt. */
static const char *told(struct secrets *reader, const char *user, enum scram_hash hash)
{
	static char values[SCRAM_HASH_COUNT][SECRETS_VALUE_OCTETS];

	assert_int_equal(secrets_scram(reader, user, values), SECRETS_OK);
	assert_non_null(strrchr(values[hash], '$'));
	*strrchr(values[hash], '$') = '\0';
	return values[hash];
}

/* As another process in life: what it does is seen by a reader that was there before. */
static int in_another_process(int (*work)(void))
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(work());
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int change_alice(void)
{
	struct secrets *writer;

	return secrets_open(&writer, path, true) != SECRETS_OK ||
	       secrets_set(writer, "alice", "second", false) != SECRETS_OK;
}

static int delete_alice(void)
{
	struct secrets *writer;

	return secrets_open(&writer, path, true) != SECRETS_OK ||
	       secrets_delete(writer, "alice") != SECRETS_OK;
}

static int add_alice(void)
{
	struct secrets *writer;

	return secrets_open(&writer, path, true) != SECRETS_OK ||
	       secrets_add(writer, "alice", "first", true) != SECRETS_OK;
}

static void a_reader_sees_changes(void **state)
{
	struct secrets *reader = reader_open();
	char salt[2][SECRETS_VALUE_OCTETS], plain[SECRETS_VALUE_OCTETS];

	(void)state;
	/* The file is made after the reader was opened. */
	assert_int_equal(secrets_verify(reader, "alice", "first", 5), SECRETS_TEMP);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(in_another_process(add_alice), 0);
	assert_int_equal(secrets_verify(reader, "alice", "first", 5), SECRETS_OK);
	assert_int_equal(secrets_plain(reader, "alice", plain), SECRETS_OK);
	assert_string_equal(plain, "first");
	assert_int_equal(in_another_process(change_alice), 0);
	assert_int_equal(secrets_verify(reader, "alice", "first", 5), SECRETS_REFUSED);
	assert_int_equal(secrets_verify(reader, "alice", "second", 6), SECRETS_OK);
	assert_int_equal(secrets_plain(reader, "alice", plain), SECRETS_OK);
	assert_string_not_equal(plain, "second");
	assert_int_equal(in_another_process(delete_alice), 0);
	assert_int_equal(secrets_verify(reader, "alice", "second", 6), SECRETS_REFUSED);
	/* The file is replaced by another, which has another key, so other made-up answers. */
	strcpy(salt[0], told(reader, "carol", SCRAM_SHA256));
	unlink(path);
	assert_int_equal(secrets_verify(reader, "alice", "first", 5), SECRETS_TEMP);
	assert_int_equal(in_another_process(add_alice), 0);
	assert_int_equal(secrets_verify(reader, "alice", "first", 5), SECRETS_OK);
	strcpy(salt[1], told(reader, "carol", SCRAM_SHA256));
	assert_string_not_equal(salt[0], salt[1]);
	secrets_close(&reader);
}

/* The same but for the salt itself. */
static void assert_alike(struct secrets *reader, const char *one, const char *two, enum scram_hash hash)
{
	char first[SECRETS_VALUE_OCTETS], second[SECRETS_VALUE_OCTETS];

	strcpy(first, told(reader, one, hash));
	strcpy(second, told(reader, two, hash));
	assert_int_equal(strlen(first), strlen(second));
	assert_string_not_equal(first, second);
	*strchr(first, ':') = *strchr(second, ':') = '\0';
	assert_string_equal(first, second);
}

static void unknown_users_look_like_others(void **state)
{
	const struct secrets_forms few = {.keys = 1u << SCRAM_SHA256};
	struct secrets *writer = writer_open(), *reader = reader_open();
	char known[SECRETS_VALUE_OCTETS], unknown[2][SECRETS_VALUE_OCTETS];

	(void)state;
	assert_int_equal(secrets_add(writer, "alice", "x", false), SECRETS_OK);
	assert_int_equal(secrets_enter(writer, "few", "x", &few, SECRETS_ADD), SECRETS_OK);
	enter_hash(writer, "hashed", bcrypt);
	for (int i = 0; i < SCRAM_HASH_COUNT; i++) {
		enum scram_hash hash = (enum scram_hash)i;

		strcpy(unknown[0], told(reader, "carol", hash));
		assert_string_equal(unknown[0], told(reader, "carol", hash));
		assert_alike(reader, "alice", "carol", hash);
		assert_alike(reader, "carol", "dave", hash);
		assert_alike(reader, "few", "carol", hash);
		assert_alike(reader, "hashed", "carol", hash);
		/* And again the same by another process. */
		secrets_close(&reader);
		reader = reader_open();
		assert_string_equal(unknown[0], told(reader, "carol", hash));
	}
	assert_int_equal(secrets_plain(reader, "alice", known), SECRETS_OK);
	assert_int_equal(secrets_plain(reader, "carol", unknown[0]), SECRETS_OK);
	assert_int_equal(secrets_plain(reader, "carol", unknown[1]), SECRETS_OK);
	assert_string_equal(unknown[0], unknown[1]);
	assert_int_equal(strlen(known), strlen(unknown[0]));
	assert_int_equal(secrets_verify(reader, "carol", unknown[0], strlen(unknown[0])), SECRETS_REFUSED);
	secrets_close(&reader);
	secrets_close(&writer);
}

static bool told_iterations(struct secrets *reader, const char *user, const char *count)
{
	char want[32];

	snprintf(want, sizeof(want), "SCRAM-SHA-512$%s:", count);
	return strncmp(told(reader, user, SCRAM_SHA512), want, strlen(want)) == 0;
}

/* Of a password of nobody's; the least of several, since a busy machine adds to each. */
static uint32_t least_cost(struct secrets *reader)
{
	uint32_t least = UINT32_MAX;

	for (int i = 0; i < 5; i++) {
		assert_int_equal(secrets_verify(reader, "carol", "x", 1), SECRETS_REFUSED);
		if (secrets_cost_usecs(reader) < least)
			least = secrets_cost_usecs(reader);
	}
	return least;
}

static void unknown_users_have_what_most_users_have(void **state)
{
	struct secrets_forms more = {.keys = SECRETS_ALL_KEYS, .iterations = 5000};
	struct secrets *writer = writer_open(), *reader = reader_open();
	uint32_t cheap;

	(void)state;
	assert_int_equal(secrets_iterations(writer), SECRETS_ITERATIONS_COUNT);
	assert_int_equal(secrets_add(writer, "a", "x", false), SECRETS_OK);
	assert_int_equal(secrets_enter(writer, "b", "x", &more, SECRETS_ADD), SECRETS_OK);
	/* As many of each: nothing changes. */
	assert_true(told_iterations(reader, "carol", "4096"));
	assert_true(told_iterations(reader, "b", "5000"));
	assert_int_equal(secrets_enter(writer, "c", "x", &more, SECRETS_ADD), SECRETS_OK);
	assert_true(told_iterations(reader, "carol", "5000"));
	assert_int_equal(secrets_iterations(writer), 5000);
	assert_int_equal(secrets_delete(writer, "c"), SECRETS_OK);
	assert_true(told_iterations(reader, "carol", "5000"));
	/* Who gets a new password gets what is usual by now. */
	assert_int_equal(secrets_set(writer, "a", "y", false), SECRETS_OK);
	assert_true(told_iterations(reader, "a", "5000"));
	/* And when most passwords are verified with a dear hash, so are those of nobody. */
	cheap = least_cost(reader);
	enter_hash(writer, "d", "$2b$09$ut3IHtWSAS0jkgp5Uwona.SSAkBa.qCwNlHDSlhqzC.dcMyGr4rJe");
	enter_hash(writer, "e", "$2y$09$ut3IHtWSAS0jkgp5Uwona.SSAkBa.qCwNlHDSlhqzC.dcMyGr4rJe");
	enter_hash(writer, "f", "$2a$09$ut3IHtWSAS0jkgp5Uwona.SSAkBa.qCwNlHDSlhqzC.dcMyGr4rJe");
	assert_true(least_cost(reader) > 2 * cheap);
	for (more.iterations = 1; more.iterations < 2000000; more.iterations += 1000000 - 2)
		assert_int_equal(secrets_enter(writer, "g", "x", &more, SECRETS_ADD),
		    more.iterations == 999999 ? SECRETS_OK : SECRETS_INVALID);
	secrets_close(&reader);
	secrets_close(&writer);
}

static void hashes_of_other_programs_are_verified_and_remembered(void **state)
{
	struct secrets *writer = writer_open(), *reader = reader_open();
	char values[SCRAM_HASH_COUNT][SECRETS_VALUE_OCTETS], plain[SECRETS_VALUE_OCTETS];

	(void)state;
	enter_hash(writer, "alice", bcrypt);
	assert_int_equal(secrets_verify(reader, "alice", "sesan", 5), SECRETS_REFUSED);
	assert_int_not_equal(secrets_cost_usecs(reader), 0);
	assert_int_equal(secrets_verify(reader, "alice", "sesam", 5), SECRETS_OK);
	assert_int_not_equal(secrets_cost_usecs(reader), 0);
	assert_int_equal(secrets_verify(reader, "alice", "sesam", 5), SECRETS_OK);
	assert_int_equal(secrets_cost_usecs(reader), 0);
	/* The same hash and password, but not the same length of what crypt(3) sees. */
	assert_int_equal(secrets_verify(reader, "alice", "sesam\0x", 7), SECRETS_REFUSED);
	assert_int_equal(secrets_verify(reader, "alice", "sesam", 6), SECRETS_REFUSED);
	assert_int_equal(secrets_scram(reader, "alice", values), SECRETS_OK);
	assert_int_equal(secrets_plain(reader, "alice", plain), SECRETS_OK);
	assert_string_not_equal(plain, "sesam");
	/* A change makes it forgotten, for this user alone. */
	enter_hash(writer, "bob", bcrypt);
	assert_int_equal(secrets_verify(reader, "bob", "sesam", 5), SECRETS_OK);
	assert_int_equal(secrets_set(writer, "alice", "other", false), SECRETS_OK);
	assert_int_equal(secrets_verify(reader, "alice", "sesam", 5), SECRETS_REFUSED);
	assert_int_equal(secrets_verify(reader, "alice", "other", 5), SECRETS_OK);
	assert_int_equal(secrets_verify(reader, "bob", "sesam", 5), SECRETS_OK);
	assert_int_equal(secrets_cost_usecs(reader), 0);
	assert_int_equal(secrets_delete(writer, "bob"), SECRETS_OK);
	assert_int_equal(secrets_verify(reader, "bob", "sesam", 5), SECRETS_REFUSED);
	secrets_close(&reader);
	secrets_close(&writer);
}

static void passwords_are_prepared(void **state)
{
	static const struct {
		const char *sentence, *stored, *given;
		int entered, verified;
	} rows[] = {
	    {"composed and given decomposed", "M\xc3\xbcll", "Mu\xcc\x88ll", SECRETS_OK, SECRETS_OK},
	    {"decomposed and given composed", "Mu\xcc\x88ll", "M\xc3\xbcll", SECRETS_OK, SECRETS_OK},
	    {"given as it was", "Mu\xcc\x88ll", "Mu\xcc\x88ll", SECRETS_OK, SECRETS_OK},
	    {"another letter", "M\xc3\xbcll", "Mull", SECRETS_OK, SECRETS_REFUSED},
	    {"given in ISO 8859-1", "M\xc3\xbcll", "M\xfcll", SECRETS_OK, SECRETS_REFUSED},
	    {"newer than Unicode 3.2", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", SECRETS_OK, SECRETS_OK},
	    {"ISO 8859-1", "M\xfcll", "M\xfcll", SECRETS_UNPREPARED, SECRETS_REFUSED},
	    {"a control character", "a\x07", "a\x07", SECRETS_UNPREPARED, SECRETS_REFUSED},
	};
	struct secrets *writer = writer_open(), *reader = reader_open();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int entered = secrets_add(writer, "alice", rows[i].stored, false);

		if (entered != rows[i].entered ||
		    secrets_verify(reader, "alice", rows[i].given, strlen(rows[i].given)) != rows[i].verified)
			fail_msg("%s", rows[i].sentence);
		if (entered == SECRETS_OK)
			assert_int_equal(secrets_delete(writer, "alice"), SECRETS_OK);
	}
	/* Made by "openssl passwd -5" of the Latin-1 octets, and of the composed UTF-8 ones. */
	enter_hash(writer, "latin", "$5$saltsalt$Hap1BrBznMFpHne4uvqi.8YmDaPkBODM21PZG3gLLaD");
	enter_hash(writer, "utf8", "$5$saltsalt$NpFOhmhi.IlMKONhCbyjzaTt3.NB89Qy4C2.lI8hyl5");
	assert_int_equal(secrets_verify(reader, "latin", "M\xfcll", 4), SECRETS_OK);
	assert_int_equal(secrets_verify(reader, "utf8", "M\xc3\xbcll", 5), SECRETS_OK);
	assert_int_equal(secrets_verify(reader, "utf8", "Mu\xcc\x88ll", 6), SECRETS_OK);
	secrets_close(&reader);
	secrets_close(&writer);
}

static double seconds_of(struct secrets *reader, const char *user, const char *password)
{
	struct timespec begin, end;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
	for (int i = 0; i < 40; i++)
		secrets_verify(reader, user, password, strlen(password));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	return (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
}

static void unknown_users_cost_as_much(void **state)
{
	struct secrets *writer = writer_open(), *reader = reader_open();
	double known = 1e9, unknown = 1e9, right;

	(void)state;
	assert_int_equal(secrets_add(writer, "alice", "right", false), SECRETS_OK);
	for (int i = 0; i < 5; i++) {
		double one = seconds_of(reader, "alice", "wrong"), two = seconds_of(reader, "carol", "wrong");

		known = one < known ? one : known;
		unknown = two < unknown ? two : unknown;
	}
	if (known > unknown * 1.6 || unknown > known * 1.6)
		fail_msg("40 refusals: known %.4f s, unknown %.4f s", known, unknown);
	/* And remembering is worth its while: the first of these is hashed. */
	right = seconds_of(reader, "alice", "right");
	if (right > known / 4)
		fail_msg("40 logins: %.4f s, refusals %.4f s", right, known);
	secrets_close(&reader);
	secrets_close(&writer);
}

static int collect(void *arg, const char *user, const struct credentials *record)
{
	char *text = arg;

	strcat(text, user);
	strcat(text, record != NULL && record->plain ? "+ " : " ");
	return strlen(text) > 200;
}

static void users_are_listed_in_order(void **state)
{
	struct secrets *writer = writer_open(), *reader = reader_open();
	char text[256] = "";

	(void)state;
	assert_int_equal(secrets_list(reader, collect, text), SECRETS_OK);
	assert_string_equal(text, "");
	assert_int_equal(secrets_add(writer, "b", "x", false), SECRETS_OK);
	assert_int_equal(secrets_add(writer, "a", "x", true), SECRETS_OK);
	assert_int_equal(secrets_add(writer, "ab", "x", false), SECRETS_OK);
	assert_int_equal(secrets_add(writer, "a-", "x", false), SECRETS_OK);
	assert_int_equal(secrets_list(reader, collect, text), SECRETS_OK);
	assert_string_equal(text, "a+ a- ab b ");
	secrets_close(&reader);
	secrets_close(&writer);
}

/* As the server does: into the directory first, then no longer root. */
static int read_as_nobody(void)
{
	struct secrets *reader;

	if (chdir(dir) < 0 || chdir("auth") < 0 || setgid(65534) < 0 || setuid(65534) < 0)
		return 10;
	if (secrets_open(&reader, "secrets.mdb", false) != SECRETS_OK)
		return 11;
	return secrets_verify(reader, "alice", "first", 5) == SECRETS_OK ? 0 : 12;
}

static int read_as_root(void)
{
	struct secrets *reader;
	int rc;

	if (secrets_open(&reader, path, false) != SECRETS_OK)
		return 11;
	rc = secrets_verify(reader, "alice", "first", 5);
	secrets_close(&reader);
	return rc;
}

/* The owner has no way into the directory from above: nobody but root can pass the one around it. */
static void what_root_makes_is_the_directorys_owners(void **state)
{
	static const char *const endings[] = {"", "-lock"};
	char name[160], before[160], after[160];
	struct stat st;

	(void)state;
	if (geteuid() != 0)
		skip();
	snprintf(name, sizeof(name), "%s/auth", dir);
	assert_int_equal(mkdir(name, 0700), 0);
	assert_int_equal(chown(name, 65534, 65534), 0);
	snprintf(path, sizeof(path), "%s/auth/secrets.mdb", dir);
	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(in_another_process(add_alice), 0);
	assert_int_equal(in_another_process(read_as_nobody), 0);
	snprintf(name, sizeof(name), "%s-lock", path);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(read_as_root(), 0);
	assert_int_equal(geteuid(), 0);
	assert_int_equal(getegid(), 0);
	assert_non_null(getcwd(after, sizeof(after)));
	assert_string_equal(after, before);
	for (size_t i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s%s", path, endings[i]);
		assert_int_equal(stat(name, &st), 0);
		assert_int_equal(st.st_uid, 65534);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	assert_int_equal(in_another_process(read_as_nobody), 0);
	assert_int_equal(in_another_process(change_alice), 0);
}

/* A link in the directory, to a place where only root may write. */
static void links_are_not_followed_with_roots_rights(void **state)
{
	char target[160];
	struct stat st;

	(void)state;
	if (geteuid() != 0)
		skip();
	snprintf(target, sizeof(target), "%s.target", dir);
	assert_int_equal(mkdir(target, 0700), 0);
	assert_int_equal(chown(dir, 65534, 65534), 0);
	strcat(target, "/victim");
	assert_int_equal(symlink(target, path), 0);
	assert_int_not_equal(in_another_process(add_alice), 0);
	assert_int_equal(stat(target, &st), -1);
	*strrchr(target, '/') = '\0';
	rmdir(target);
}

static void damaged_files_are_an_error(void **state)
{
	struct secrets *reader;
	int fd;

	(void)state;
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	for (int i = 0; i < 4096; i++)
		assert_int_equal(write(fd, "garbage!", 8), 8);
	close(fd);
	reader = reader_open();
	assert_int_equal(secrets_verify(reader, "alice", "first", 5), SECRETS_TEMP);
	secrets_close(&reader);
	assert_int_not_equal(in_another_process(add_alice), 0);
}

static void a_folder_that_is_not_there(void **state)
{
	struct secrets *writer;

	(void)state;
	assert_int_equal(secrets_open(&writer, "/nonexistent/secrets.mdb", true), SECRETS_TEMP);
	assert_int_equal(errno, ENOENT);
	assert_null(writer);
}

static void hundreds_of_users(void **state)
{
	struct secrets *writer = writer_open(), *reader = reader_open();
	char user[32];

	(void)state;
	for (int i = 0; i < 300; i++) {
		snprintf(user, sizeof(user), "user%d", i);
		assert_int_equal(secrets_add(writer, user, user, i % 2 == 0), SECRETS_OK);
	}
	for (int i = 0; i < 300; i += 37) {
		snprintf(user, sizeof(user), "user%d", i);
		assert_int_equal(secrets_verify(reader, user, user, strlen(user)), SECRETS_OK);
	}
	secrets_close(&reader);
	secrets_close(&writer);
}

#define FILE_TEST(fn) cmocka_unit_test_setup_teardown(fn, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(scram_examples_of_the_rfcs),
	    cmocka_unit_test(records_are_read_to_the_last_octet_or_not_at_all),
	    FILE_TEST(records_of_the_first_release_are_read),
	    FILE_TEST(keys_that_all_users_have_are_known),
	    FILE_TEST(passwords_are_verified),
	    FILE_TEST(passwords_are_prepared),
	    FILE_TEST(hashes_of_other_programs_are_verified_and_remembered),
	    FILE_TEST(a_reader_sees_changes),
	    FILE_TEST(unknown_users_look_like_others),
	    FILE_TEST(unknown_users_have_what_most_users_have),
	    FILE_TEST(unknown_users_cost_as_much),
	    FILE_TEST(users_are_listed_in_order),
	    FILE_TEST(what_root_makes_is_the_directorys_owners),
	    FILE_TEST(links_are_not_followed_with_roots_rights),
	    FILE_TEST(damaged_files_are_an_error),
	    FILE_TEST(a_folder_that_is_not_there),
	    FILE_TEST(hundreds_of_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
