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
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "sasl/credentials.h"
#include "sasl/scramkeys.h"
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
		uint8_t salt[32], mac[32], proof[64], client_key[32], stored[32];
		char text[64];
		int salt_len =
		    EVP_DecodeBlock(salt, (const uint8_t *)rows[i].salt, (int)strlen(rows[i].salt));

		salt_len -= (int)(strlen(rows[i].salt) - pad);
		assert_int_equal(
		    scramkeys_derive(rows[i].hash, "pencil", 6, salt, (size_t)salt_len, &keys), 0);
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

static void records_are_read_to_the_last_octet_or_not_at_all(void **state)
{
	struct credentials made, read;
	uint8_t bytes[CREDENTIALS_OCTETS + 1], changed[CREDENTIALS_OCTETS + 1];
	static char longest[SECRETS_PASSWORD_OCTETS + 1];

	(void)state;
	memset(longest, 'p', SECRETS_PASSWORD_OCTETS);
	for (int plain = 0; plain < 2; plain++) {
		size_t len;

		assert_int_equal(credentials_make(&made, longest, plain != 0), 0);
		len = credentials_encode(&made, bytes);
		assert_true(len <= CREDENTIALS_OCTETS);
		assert_int_equal(credentials_decode(&read, bytes, len), 0);
		assert_memory_equal(read.keys, made.keys, sizeof(made.keys));
		assert_string_equal(read.password_secret, plain ? longest : "");
		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(credentials_decode(&read, bytes, cut), -1);
		bytes[len] = 0;
		assert_int_equal(credentials_decode(&read, bytes, len + 1), -1);
		for (size_t at = 0; at < 2; at++) { /* version and flags */
			memcpy(changed, bytes, len);
			changed[at] ^= 0x40;
			assert_int_equal(credentials_decode(&read, changed, len), -1);
		}
		memcpy(changed, bytes, len);
		memset(changed + 2, 0xff, 4);
		assert_int_equal(credentials_decode(&read, changed, len), -1);
		memset(changed + 2, 0, 4);
		assert_int_equal(credentials_decode(&read, changed, len), -1);
	}
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
	assert_int_equal(secrets_scram(reader, "carol", "SHA-256", salt[0]), SECRETS_OK);
	unlink(path);
	assert_int_equal(secrets_verify(reader, "alice", "first", 5), SECRETS_TEMP);
	assert_int_equal(in_another_process(add_alice), 0);
	assert_int_equal(secrets_verify(reader, "alice", "first", 5), SECRETS_OK);
	assert_int_equal(secrets_scram(reader, "carol", "SHA-256", salt[1]), SECRETS_OK);
	assert_string_not_equal(salt[0], salt[1]);
	secrets_close(&reader);
}

static void unknown_users_look_like_others(void **state)
{
	static const char *const hashes[] = {"SHA-1", "SHA-256"};
	struct secrets *writer = writer_open(), *reader = reader_open();
	char known[SECRETS_VALUE_OCTETS], unknown[2][SECRETS_VALUE_OCTETS], other[SECRETS_VALUE_OCTETS];

	(void)state;
	assert_int_equal(secrets_add(writer, "alice", "x", false), SECRETS_OK);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(secrets_scram(reader, "alice", hashes[i], known), SECRETS_OK);
		assert_int_equal(secrets_scram(reader, "carol", hashes[i], unknown[0]), SECRETS_OK);
		assert_int_equal(secrets_scram(reader, "carol", hashes[i], unknown[1]), SECRETS_OK);
		assert_int_equal(secrets_scram(reader, "dave", hashes[i], other), SECRETS_OK);
		assert_string_equal(unknown[0], unknown[1]);
		assert_string_not_equal(unknown[0], other);
		assert_int_equal(strlen(known), strlen(unknown[0]));
		assert_int_equal(strncmp(known, unknown[0], strcspn(known, ":")), 0);
	}
	assert_int_equal(secrets_plain(reader, "alice", known), SECRETS_OK);
	assert_int_equal(secrets_plain(reader, "carol", unknown[0]), SECRETS_OK);
	assert_int_equal(secrets_plain(reader, "carol", unknown[1]), SECRETS_OK);
	assert_string_equal(unknown[0], unknown[1]);
	assert_int_equal(strlen(known), strlen(unknown[0]));
	assert_int_equal(secrets_verify(reader, "carol", unknown[0], strlen(unknown[0])), SECRETS_REFUSED);
	assert_int_equal(secrets_scram(reader, "alice", "SHA-512", known), SECRETS_TEMP);
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

static int collect(void *arg, const char *user, bool plain)
{
	char *text = arg;

	strcat(text, user);
	strcat(text, plain ? "+ " : " ");
	return 0;
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
	    FILE_TEST(passwords_are_verified),
	    FILE_TEST(a_reader_sees_changes),
	    FILE_TEST(unknown_users_look_like_others),
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
