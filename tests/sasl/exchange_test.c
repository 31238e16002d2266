/* SPDX-License-Identifier: ISC */
/* Password mechanisms: the server side here, the real client side of Cyrus SASL in another process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/sasl/world.h"

static struct world world;

static const char *const mechanisms[] = {"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN",
    "EXTERNAL", "ANONYMOUS", "SCRAM-SHA-512", "DIGEST-MD5", "NTLM", "GSSAPI", NULL};

static int setup(void **state)
{
	(void)state;
	return world_start(&world, mechanisms, NULL, NULL);
}

static int teardown(void **state)
{
	(void)state;
	world_stop(&world);
	return 0;
}

static void only_named_plugins_are_loaded(void **state)
{
	static const char *const wanted[] = {"libscram.so", "libplain.so", "liblogin.so", "libcrammd5.so"};
	unsigned found = 0;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");

	(void)state;
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		const char *name = strstr(line, "/sasl2/");
		bool known = name == NULL;

		for (size_t i = 0; name != NULL && i < sizeof(wanted) / sizeof(wanted[0]); i++)
			if (strncmp(name + 7, wanted[i], strlen(wanted[i])) == 0) {
				found |= 1u << i;
				known = true;
			}
		if (!known)
			fail_msg("loaded: %s", line);
	}
	fclose(maps);
	assert_int_equal(found, 15);
}

static void usable_is_what_can_work(void **state)
{
	static const struct {
		const char *mechanism;
		bool want;
	} rows[] = {
	    {"SCRAM-SHA-256", true},
	    {"scram-sha-1", true},
	    {"CRAM-MD5", true},
	    {"PLAIN", true},
	    {"LOGIN", true},
	    {"APOP", true},
	    {"EXTERNAL", false},
	    {"ANONYMOUS", false},
	    {"SCRAM-SHA-512", true},
	    {"SCRAM-SHA-384", false},
	    {"SCRAM-SHA-256-PLUS", false},
	    {"DIGEST-MD5", false},
	    {"GSSAPI", false},
	    {"", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (saslx_usable(rows[i].mechanism) != rows[i].want)
			fail_msg("%s: usable is %d", rows[i].mechanism, !rows[i].want);
	assert_non_null(strstr(world.noted, "GSSAPI is not offered"));
}

static void every_mechanism_logs_in_and_refuses(void **state)
{
	static const struct {
		const char *sentence, *mechanism, *authzid, *user, *password;
		bool initial;
		enum saslx_outcome want;
	} rows[] = {
	    {"PLAIN", "PLAIN", "", "alice", ALICE_PASSWORD, true, SASLX_DONE},
	    {"PLAIN, once more: remembered", "PLAIN", "", "alice", ALICE_PASSWORD, true, SASLX_DONE},
	    {"PLAIN without initial response", "PLAIN", "", "bob", BOB_PASSWORD, false, SASLX_DONE},
	    {"PLAIN as oneself", "PLAIN", "bob", "bob", BOB_PASSWORD, true, SASLX_DONE},
	    {"PLAIN to act as another", "PLAIN", "alice", "bob", BOB_PASSWORD, true, SASLX_DONE},
	    {"PLAIN, wrong password", "PLAIN", "", "alice", "Wonder land", true, SASLX_REFUSED},
	    {"PLAIN, unknown user", "PLAIN", "", "carol", ALICE_PASSWORD, true, SASLX_REFUSED},
	    {"LOGIN", "LOGIN", "", "alice", ALICE_PASSWORD, false, SASLX_DONE},
	    {"LOGIN, wrong password", "LOGIN", "", "alice", "x", false, SASLX_REFUSED},
	    {"LOGIN, unknown user", "LOGIN", "", "carol", "x", false, SASLX_REFUSED},
	    {"CRAM-MD5", "CRAM-MD5", "", "alice", ALICE_PASSWORD, false, SASLX_DONE},
	    {"CRAM-MD5, wrong password", "CRAM-MD5", "", "alice", "x", false, SASLX_REFUSED},
	    {"CRAM-MD5, only keys are kept", "CRAM-MD5", "", "bob", BOB_PASSWORD, false, SASLX_REFUSED},
	    {"CRAM-MD5, unknown user", "CRAM-MD5", "", "carol", "x", false, SASLX_REFUSED},
	    {"SCRAM-SHA-1", "SCRAM-SHA-1", "", "alice", ALICE_PASSWORD, true, SASLX_DONE},
	    {"SCRAM-SHA-1 without initial response", "SCRAM-SHA-1", "", "bob", BOB_PASSWORD, false,
		SASLX_DONE},
	    {"SCRAM-SHA-256", "SCRAM-SHA-256", "", "bob", BOB_PASSWORD, true, SASLX_DONE},
	    {"SCRAM-SHA-256 as oneself", "SCRAM-SHA-256", "bob", "bob", BOB_PASSWORD, true, SASLX_DONE},
	    {"SCRAM-SHA-256 to act as another", "SCRAM-SHA-256", "alice", "bob", BOB_PASSWORD, true,
		SASLX_DONE},
	    {"SCRAM-SHA-512", "SCRAM-SHA-512", "", "bob", BOB_PASSWORD, true, SASLX_DONE},
	    {"SCRAM-SHA-512, wrong password", "SCRAM-SHA-512", "", "alice", "x", true, SASLX_REFUSED},
	    {"SCRAM-SHA-512, unknown user", "SCRAM-SHA-512", "", "carol", "x", true, SASLX_REFUSED},
	    {"SCRAM-SHA-256, wrong password", "SCRAM-SHA-256", "", "alice", "x", true, SASLX_REFUSED},
	    {"SCRAM-SHA-256, unknown user", "SCRAM-SHA-256", "", "carol", "x", true, SASLX_REFUSED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct talk talk = world_talk(
		    rows[i].mechanism, rows[i].authzid, rows[i].user, rows[i].password, rows[i].initial);

		if (talk.outcome != rows[i].want)
			fail_msg("%s: %d, %s", rows[i].sentence, (int)talk.outcome, talk.why);
		assert_string_equal(talk.user, rows[i].want == SASLX_DONE ? rows[i].user : "");
		bool another = strcmp(rows[i].authzid, rows[i].user) != 0;
		assert_string_equal(
		    talk.authzid, rows[i].want == SASLX_DONE && another ? rows[i].authzid : "");
		if (rows[i].want == SASLX_REFUSED && strstr(talk.why, rows[i].password) != NULL &&
		    strlen(rows[i].password) > 1)
			fail_msg("%s: the reason shows the password: %s", rows[i].sentence, talk.why);
	}
}

static void known_and_unknown_users_take_as_many_steps(void **state)
{
	static const char *const names[] = {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct talk known = world_talk(names[i], "", "alice", "wrong", true);
		struct talk keys_only = world_talk(names[i], "", "bob", "wrong", true);
		struct talk unknown = world_talk(names[i], "", "carol", "wrong", true);

		assert_int_equal(known.outcome, SASLX_REFUSED);
		assert_int_equal(unknown.outcome, known.outcome);
		assert_int_equal(unknown.challenges, known.challenges);
		assert_int_equal(keys_only.challenges, known.challenges);
	}
}

/* The salt and count an unknown user gets are the same each time, and of the length others have. */
static void unknown_users_have_stable_scram_parameters(void **state)
{
	char seen[3][256] = {""};
	static const char *const first[] = {
	    "n,,n=carol,r=abcdefgh", "n,,n=carol,r=abcdefgh", "n,,n=alice,r=abcdefgh"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct saslx *server = saslx_new(&(struct saslx_connection){.tls = true});
		const char *challenge, *salt;
		size_t len;

		assert_int_equal(
		    saslx_start(server, "SCRAM-SHA-256", first[i], strlen(first[i])), SASLX_MORE);
		challenge = saslx_challenge(server, &len);
		salt = memmem(challenge, len, ",s=", 3);
		assert_non_null(salt);
		len -= (size_t)(salt - challenge);
		snprintf(seen[i], sizeof(seen[i]), "%.*s", (int)len, salt);
		saslx_free(&server);
	}
	assert_string_equal(seen[0], seen[1]);
	assert_int_equal(strlen(seen[0]), strlen(seen[2]));
	assert_string_not_equal(seen[0], seen[2]);
	assert_non_null(strstr(seen[0], ",i=4096"));
	assert_non_null(strstr(seen[2], ",i=4096"));
}

/* RFC 5034 section 4: nothing comes with the +OK, so SCRAM's last words are a challenge. */
static void scram_ends_with_an_empty_response(void **state)
{
	struct talk talk = world_talk("SCRAM-SHA-256", "", "alice", ALICE_PASSWORD, true);

	(void)state;
	assert_int_equal(talk.outcome, SASLX_DONE);
	assert_int_equal(talk.client, 0);
	assert_int_equal(talk.challenges, 2); /* server-first, and server-final */
}

static void passwords_in_one_step(void **state)
{
	static char long_user[300], long_password[300];
	static const struct {
		const char *sentence, *user, *password;
		size_t len; /* 0: the string's */
		enum saslx_outcome want;
	} rows[] = {
	    {"right", "alice", ALICE_PASSWORD, 0, SASLX_DONE},
	    {"right, keys only", "bob", BOB_PASSWORD, 0, SASLX_DONE},
	    {"wrong", "alice", BOB_PASSWORD, 0, SASLX_REFUSED},
	    {"another's name in capitals", "ALICE", ALICE_PASSWORD, 0, SASLX_REFUSED},
	    {"shorter", "bob", BOB_PASSWORD, 6, SASLX_REFUSED},
	    {"right, then a NUL and more", "bob", BOB_PASSWORD "\0x", 9, SASLX_REFUSED},
	    {"right, then a NUL", "bob", BOB_PASSWORD, 8, SASLX_REFUSED},
	    {"unknown", "carol", ALICE_PASSWORD, 0, SASLX_REFUSED},
	    {"empty name", "", ALICE_PASSWORD, 0, SASLX_REFUSED},
	    {"long name", long_user, ALICE_PASSWORD, 0, SASLX_REFUSED},
	    {"long password", "alice", long_password, 0, SASLX_REFUSED},
	    {"space before the name", " alice", ALICE_PASSWORD, 0, SASLX_REFUSED},
	    {"newline in the name", "alice\n", ALICE_PASSWORD, 0, SASLX_REFUSED},
	    {"a path", "../alice", ALICE_PASSWORD, 0, SASLX_REFUSED},
	    {"a format", "%n%s%99999d", "%n%s%99999d", 0, SASLX_REFUSED},
	};

	(void)state;
	memset(long_user, 'u', sizeof(long_user) - 1);
	memset(long_password, 'p', sizeof(long_password) - 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct saslx *server = saslx_new(&(struct saslx_connection){.tls = false});
		size_t len = rows[i].len != 0 ? rows[i].len : strlen(rows[i].password);

		if (saslx_password(server, rows[i].user, rows[i].password, len) != rows[i].want)
			fail_msg("%s: %s", rows[i].sentence, saslx_why(server));
		/* One object, one attempt. */
		assert_int_equal(
		    saslx_password(server, "alice", ALICE_PASSWORD, strlen(ALICE_PASSWORD)), SASLX_ERROR);
		saslx_free(&server);
	}
}

static void empty_password_is_refused(void **state)
{
	struct saslx *server = saslx_new(&(struct saslx_connection){.tls = false});

	(void)state;
	assert_int_equal(saslx_password(server, "alice", "", 0), SASLX_REFUSED);
	saslx_free(&server);
}

/* Raw messages, hexadecimal escapes by the compiler; the last one decides. */
static void malformed_messages_are_refused(void **state)
{
#define MESSAGE(text) text, sizeof(text) - 1
	static const struct {
		const char *sentence, *mechanism, *message;
		size_t len;
	} rows[] = {
	    {"PLAIN, empty", "PLAIN", MESSAGE("")},
	    {"PLAIN, one NUL", "PLAIN", MESSAGE("\0alice")},
	    {"PLAIN, three NULs", "PLAIN", MESSAGE("\0alice\0wonder land\0")},
	    {"PLAIN, only NULs", "PLAIN", MESSAGE("\0\0")},
	    {"PLAIN, no password", "PLAIN", MESSAGE("\0alice\0")},
	    {"PLAIN, no user", "PLAIN", MESSAGE("\0\0wonder land")},
	    {"PLAIN, user with 8 bits", "PLAIN", MESSAGE("\0\xff\xfe\0x")},
	    {"PLAIN, user with a slash", "PLAIN", MESSAGE("\0a/b\0x")},
	    {"PLAIN, spaces round the user", "PLAIN", MESSAGE("\0 alice \0wonder land")},
	    {"SCRAM, empty", "SCRAM-SHA-256", MESSAGE("")},
	    {"SCRAM, a binding nobody set", "SCRAM-SHA-256", MESSAGE("p=tls-unique,,n=alice,r=abcdefgh")},
	    {"SCRAM, mandatory extension", "SCRAM-SHA-256", MESSAGE("n,,m=x,n=alice,r=abcdefgh")},
	    {"SCRAM, name with a bad escape", "SCRAM-SHA-256", MESSAGE("n,,n=al=20ice,r=abcdefgh")},
	    {"SCRAM, no nonce", "SCRAM-SHA-256", MESSAGE("n,,n=alice")},
	    {"SCRAM, a NUL", "SCRAM-SHA-256", MESSAGE("n,,n=alice,r=abc\0defgh")},
	    {"LOGIN, a NUL", "LOGIN", MESSAGE("alice\0")},
	    {"CRAM-MD5 takes no initial response", "CRAM-MD5",
		MESSAGE("alice 0123456789abcdef0123456789abcdef")},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct saslx *server = saslx_new(&(struct saslx_connection){.tls = true});

		if (saslx_start(server, rows[i].mechanism, rows[i].message, rows[i].len) != SASLX_REFUSED)
			fail_msg("%s: not refused: %s", rows[i].sentence, saslx_why(server));
		assert_true(saslx_why(server)[0] != '\0');
		saslx_free(&server);
	}
}

/* Where an unknown user gets a challenge before the refusal, a name that nobody can have gets it too. */
static void impossible_names_go_all_the_steps(void **state)
{
	static const struct {
		const char *mechanism, *message;
	} rows[] = {
	    {"SCRAM-SHA-256", "n,,n=al\nice,r=abcdefgh"},
	    {"SCRAM-SHA-1", "n,,n=../alice,r=abcdefgh"},
	    {"LOGIN", "al/ice"},
	    {"LOGIN", "\xc3\xa4"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct saslx *server = saslx_new(&(struct saslx_connection){.tls = true});

		if (saslx_start(server, rows[i].mechanism, rows[i].message, strlen(rows[i].message)) !=
		    SASLX_MORE)
			fail_msg(
			    "%s %s: no challenge: %s", rows[i].mechanism, rows[i].message, saslx_why(server));
		assert_int_equal(saslx_step(server, ALICE_PASSWORD, strlen(ALICE_PASSWORD)), SASLX_REFUSED);
		saslx_free(&server);
	}
}

static void lengths_round_every_bound(void **state)
{
	static const size_t lengths[] = {1, 39, 40, 41, 253, 254, 255, 256, 257, 511, 512, 513, 1023, 1024,
	    1025, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20};
	static const char *const names[] = {"PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256"};

	(void)state;
	for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
		char *message = malloc(lengths[l] + 64);

		for (size_t m = 0; m < sizeof(names) / sizeof(names[0]); m++) {
			struct saslx *server = saslx_new(&(struct saslx_connection){.tls = true});
			enum saslx_outcome outcome;

			memset(message, 'u', lengths[l]);
			if (strcmp(names[m], "PLAIN") == 0 && lengths[l] > 2)
				message[0] = message[lengths[l] / 2] = '\0';
			if (strncmp(names[m], "SCRAM", 5) == 0 && lengths[l] > 20) {
				memcpy(message, "n,,n=", 5);
				memcpy(message + lengths[l] - 12, ",r=123456789", 12);
			}
			outcome = saslx_start(server, names[m], message, lengths[l]);
			/* A first message that long cannot log anyone in. */
			assert_true(outcome == SASLX_REFUSED || outcome == SASLX_MORE);
			if (outcome == SASLX_MORE)
				assert_int_equal(saslx_step(server, message, lengths[l]), SASLX_REFUSED);
			saslx_free(&server);
		}
		free(message);
	}
}

/* Every mechanism failing at every step, then another that works, all pairs. */
static void one_fails_another_works(void **state)
{
	static const char *const names[] = {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"};
	enum { COUNT = sizeof(names) / sizeof(names[0]) };

	(void)state;
	for (size_t a = 0; a < COUNT; a++) {
		for (size_t b = 0; b < COUNT; b++) {
			struct saslx *dropped = saslx_new(&(struct saslx_connection){.tls = true}),
				     *failed = saslx_new(&(struct saslx_connection){.tls = true});
			enum saslx_outcome outcome;
			struct talk talk;

			/* Left alone after its first challenge, as by a client that sends "*" or goes away.
			 */
			assert_int_equal(saslx_start(dropped, names[a], NULL, 0), SASLX_MORE);
			saslx_free(&dropped);
			outcome = saslx_start(failed, names[a], NULL, 0);
			for (unsigned step = 0; outcome == SASLX_MORE; step++) {
				outcome = saslx_step(failed, "junk", 4);
				assert_true(step < SASLX_STEPS_COUNT);
			}
			assert_int_equal(outcome, SASLX_REFUSED);
			assert_int_equal(saslx_step(failed, "junk", 4), SASLX_ERROR);
			saslx_free(&failed);
			talk = world_talk(names[b], "", "alice", ALICE_PASSWORD, true);
			assert_int_equal(talk.outcome, SASLX_DONE);
		}
	}
}

static void unknown_mechanisms(void **state)
{
	static const char *const names[] = {"EXTERNAL", "ANONYMOUS", "GSSAPI", "DIGEST-MD5", "SCRAM-SHA-384",
	    "NTLM", "SCRAM-SHA-256-PLUS", "APOP", "", "%n%n%n%n", "PLAIN LOGIN"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct saslx *server = saslx_new(&(struct saslx_connection){.tls = true});

		assert_int_equal(saslx_start(server, names[i], "", 0), SASLX_UNKNOWN);
		saslx_free(&server);
	}
}

/* What kpopctl changes is seen at the next attempt; a password remembered before does not outlive it. */
static void changes_are_seen_at_once(void **state)
{
	struct secrets *writer;

	(void)state;
	assert_int_equal(world_talk("PLAIN", "", "alice", ALICE_PASSWORD, true).outcome, SASLX_DONE);
	/* A process of its own in life; here the same, which LMDB allows for a file opened twice read and
	 * write. */
	assert_int_equal(secrets_open(&writer, world.path, true), SECRETS_OK);
	assert_int_equal(secrets_set(writer, "alice", "new one", true), SECRETS_OK);
	assert_int_equal(world_talk("PLAIN", "", "alice", ALICE_PASSWORD, true).outcome, SASLX_REFUSED);
	assert_int_equal(world_talk("SCRAM-SHA-256", "", "alice", "new one", true).outcome, SASLX_DONE);
	assert_int_equal(world_talk("PLAIN", "", "alice", "new one", true).outcome, SASLX_DONE);
	assert_int_equal(secrets_delete(writer, "alice"), SECRETS_OK);
	assert_int_equal(world_talk("PLAIN", "", "alice", "new one", true).outcome, SASLX_REFUSED);
	assert_int_equal(secrets_add(writer, "alice", ALICE_PASSWORD, true), SECRETS_OK);
	secrets_close(&writer);
	assert_int_equal(world_talk("CRAM-MD5", "", "alice", ALICE_PASSWORD, false).outcome, SASLX_DONE);
}

/* The fault is ours and said to be: a client must not forget its password over it. */
static void unreadable_secrets_are_an_error(void **state)
{
	static const char *const names[] = {"PLAIN", "SCRAM-SHA-256"};
	char away[160];

	(void)state;
	snprintf(away, sizeof(away), "%s.away", world.path);
	assert_int_equal(rename(world.path, away), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct talk talk = world_talk(names[i], "", "alice", ALICE_PASSWORD, true);

		assert_int_equal(talk.outcome, SASLX_ERROR);
		assert_non_null(strstr(talk.why, "No such file"));
	}
	assert_int_equal(rename(away, world.path), 0);
	assert_int_equal(world_talk("PLAIN", "", "alice", ALICE_PASSWORD, true).outcome, SASLX_DONE);
}

/* A site's own plug-in is opened when it is named, by its whole path, and no neighbour of it. */
static void a_sites_plugin_is_loaded_by_name(void **state)
{
	static const char *const plugins[] = {KPOPD_SASL_PLUGIN_DIR "/libntlm.so", NULL};
	static const char *const relative[] = {"libntlm.so", NULL};
	struct saslx_config config = {
	    .plugin_dir = KPOPD_SASL_PLUGIN_DIR, .plugins = relative, .mechanisms = mechanisms};
	char why[256];

	(void)state;
	assert_false(saslx_usable("NTLM"));
	world_stop(&world);
	assert_int_equal(saslx_init(&config, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "not absolute"));
	assert_int_equal(world_start(&world, mechanisms, NULL, plugins), 0);
	assert_true(saslx_usable("NTLM"));
	assert_false(saslx_usable("DIGEST-MD5"));
	assert_false(saslx_usable("ANONYMOUS"));
	assert_int_equal(world_talk("PLAIN", "", "alice", ALICE_PASSWORD, true).outcome, SASLX_DONE);
}

static void no_plugins_no_mechanisms(void **state)
{
	char why[256];
	struct saslx_config config = {
	    .plugin_dir = "/nonexistent", .mechanisms = mechanisms, .service = "pop"};

	(void)state;
	world_stop(&world);
	assert_int_equal(saslx_init(&config, why, sizeof(why)), 0);
	assert_false(saslx_usable("PLAIN"));
	saslx_done();
	assert_false(saslx_usable("PLAIN"));
	assert_null(saslx_new(&(struct saslx_connection){.tls = true}));
	assert_int_equal(world_start(&world, mechanisms, NULL, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_named_plugins_are_loaded),
	    cmocka_unit_test(usable_is_what_can_work),
	    cmocka_unit_test(every_mechanism_logs_in_and_refuses),
	    cmocka_unit_test(known_and_unknown_users_take_as_many_steps),
	    cmocka_unit_test(unknown_users_have_stable_scram_parameters),
	    cmocka_unit_test(scram_ends_with_an_empty_response),
	    cmocka_unit_test(passwords_in_one_step),
	    cmocka_unit_test(empty_password_is_refused),
	    cmocka_unit_test(malformed_messages_are_refused),
	    cmocka_unit_test(impossible_names_go_all_the_steps),
	    cmocka_unit_test(lengths_round_every_bound),
	    cmocka_unit_test(one_fails_another_works),
	    cmocka_unit_test(unknown_mechanisms),
	    cmocka_unit_test(changes_are_seen_at_once),
	    cmocka_unit_test(unreadable_secrets_are_an_error),
	    cmocka_unit_test(a_sites_plugin_is_loaded_by_name),
	    cmocka_unit_test(no_plugins_no_mechanisms),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
