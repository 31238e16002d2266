/* SPDX-License-Identifier: ISC */
/* The login delay: what is counted, what is believed, and where it lies. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/login.h"
#include "tests/store/faults.h"
#include "tests/store/fixture.h"

static void test_parse(void **state)
{
	static const struct {
		const char *sentence, *text;
		int64_t want;
	} rows[] = {
	    {"a time", "login 00000000001700000000\n", 1700000000},
	    {"and something behind it", "login 00000000001700000000\nmore", 1700000000},
	    {"the beginning of time", "login 00000000000000000000\n", 0},
	    {"the end of it", "login 09223372036854775807\n", INT64_MAX},
	    {"beyond its end", "login 09223372036854775808\n", INT64_MIN},
	    {"far beyond", "login 99999999999999999999\n", INT64_MIN},
	    {"nothing", "", INT64_MIN},
	    {"cut off", "login 00000000001700000000", INT64_MIN},
	    {"cut off earlier", "login 0000", INT64_MIN},
	    {"another word", "logim 00000000001700000000\n", INT64_MIN},
	    {"no digit", "login 0000000000170000000x\n", INT64_MIN},
	    {"a sign", "login -0000000001700000000\n", INT64_MIN},
	    {"longer", "login 000000000017000000000\n", INT64_MIN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (login_parse(rows[i].text, strlen(rows[i].text)) != rows[i].want)
			fail_msg("%s: %lld", rows[i].sentence,
			    (long long)login_parse(rows[i].text, strlen(rows[i].text)));
}

static int open_with(struct fixture *fixture, uint32_t delay, uint32_t *wait_r, bool login)
{
	const struct maildrop_place place = {
	    .user = "alice", .path = "alice/Maildir", .login_delay_secs = delay, .wait_secs_r = wait_r};
	struct maildrop *maildrop;
	*wait_r = 0;
	int rc = maildrop_open(fixture->store, &place, &maildrop);
	if (rc == MAILDROP_OK && login)
		maildrop_logged_in(maildrop);
	maildrop_close(&maildrop);
	return rc;
}

/* Each step opens the maildrop at a time; login: as a client's login, which is noted. */
static void test_delay(void **state)
{
	static const struct {
		const char *sentence;
		int64_t secs; /* since the step before */
		uint32_t delay;
		bool login;
		int want;
		uint32_t wait;
	} rows[] = {
	    {"the first login", 0, 60, true, MAILDROP_OK, 0},
	    {"at once again", 0, 60, true, MAILDROP_EARLY, 60},
	    {"a while later; the refusal did not count", 40, 60, true, MAILDROP_EARLY, 20},
	    {"a tool, which knows no delay", 1, 0, false, MAILDROP_OK, 0},
	    {"the tool did not count", 18, 60, true, MAILDROP_EARLY, 1},
	    {"to the second", 1, 60, true, MAILDROP_OK, 0},
	    {"from the second login on", 59, 60, true, MAILDROP_EARLY, 1},
	    {"the site has shortened it", 0, 30, true, MAILDROP_OK, 0},
	    {"and made it longer", 100, 3600, true, MAILDROP_EARLY, 3500},
	    {"the clock was set back before the last login", -200, 60, true, MAILDROP_OK, 0},
	    {"and is counted from there", 10, 60, true, MAILDROP_EARLY, 50},
	    {"the clock was set far ahead", 1000000, 60, true, MAILDROP_OK, 0},
	};
	struct fixture *fixture = *state;
	uint32_t wait;

	fixture_maildir(fixture, "alice");
	fixture_write(fixture, "alice/Maildir/new/1.a", "x\n");
	faults.clock_still = time(NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		faults.clock_still += rows[i].secs;
		int rc = open_with(fixture, rows[i].delay, &wait, rows[i].login);
		if (rc != rows[i].want || wait != rows[i].wait)
			fail_msg("%s: %d, %u", rows[i].sentence, rc, wait);
		fixture_reopen(fixture, 0); /* another process, and a lost index, change nothing */
	}
}

static void write_lock(struct fixture *fixture, const char *text)
{
	int fd = openat(fixture->root, "alice/Maildir/kpopd.lock", O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void test_damaged(void **state)
{
	struct fixture *fixture = *state;
	uint32_t wait;

	fixture_maildir(fixture, "alice");
	assert_int_equal(open_with(fixture, 60, &wait, true), MAILDROP_OK);
	assert_int_equal(open_with(fixture, 60, &wait, true), MAILDROP_EARLY);
	static const char *const texts[] = {"", "login", "login 9999999999999999999\n", "\n\n\n"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		write_lock(fixture, texts[i]);
		assert_int_equal(open_with(fixture, 60, &wait, true), MAILDROP_OK);
		assert_int_equal(open_with(fixture, 60, &wait, true), MAILDROP_EARLY);
	}
	unlinkat(fixture->root, "alice/Maildir/kpopd.lock", 0);
	assert_int_equal(open_with(fixture, 60, &wait, true), MAILDROP_OK);
	assert_int_equal(open_with(fixture, 60, &wait, true), MAILDROP_EARLY);
}

static void test_lies_in_lock_file(void **state)
{
	struct fixture *fixture = *state;
	uint32_t wait;
	struct stat st;

	fixture_maildir(fixture, "alice");
	assert_int_equal(open_with(fixture, 0, &wait, false), MAILDROP_OK);
	assert_int_equal(fstatat(fixture->root, "alice/Maildir/kpopd.lock", &st, 0), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(open_with(fixture, 60, &wait, true), MAILDROP_OK);
	assert_int_equal(fstatat(fixture->root, "alice/Maildir/kpopd.lock", &st, 0), 0);
	assert_int_equal(st.st_size, LOGIN_LINE_OCTETS);
	/* Whoever has no maildrop has no place for it, and no delay. */
	const struct maildrop_place nowhere = {.user = "bob", .path = "bob/Maildir", .login_delay_secs = 60};
	for (int i = 0; i < 2; i++) {
		struct maildrop *maildrop;
		assert_int_equal(maildrop_open(fixture->store, &nowhere, &maildrop), MAILDROP_OK);
		maildrop_logged_in(maildrop);
		maildrop_close(&maildrop);
	}
	assert_false(fixture_exists(fixture, "bob"));
}

/* Who would be refused anyway does not end another's session by wishing for it. */
static void test_wish(void **state)
{
	struct fixture *fixture = *state;
	uint32_t wait = 0;
	struct maildrop_place place = {.user = "alice",
	    .path = "alice/Maildir",
	    .lock = MAILDROP_TAKEOVER,
	    .login_delay_secs = 3600,
	    .wait_secs_r = &wait};
	struct maildrop *first, *second;
	struct maildrop_wish *wish;

	fixture_maildir(fixture, "alice");
	assert_int_equal(maildrop_open(fixture->store, &place, &first), MAILDROP_OK);
	maildrop_logged_in(first);
	assert_int_equal(maildrop_open(fixture->store, &place, &second), MAILDROP_IN_USE);
	assert_int_equal(maildrop_wish(fixture->store, &place, &wish), MAILDROP_EARLY);
	assert_null(wish);
	assert_in_range(wait, 1800, 3600);
	assert_false(maildrop_wanted(first));
	place.login_delay_secs = 0;
	assert_int_equal(maildrop_wish(fixture->store, &place, &wish), MAILDROP_OK);
	assert_true(maildrop_wanted(first));
	maildrop_wish_end(&wish);
	maildrop_close(&first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_parse),
	    cmocka_unit_test_setup_teardown(test_delay, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_damaged, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_wish, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_lies_in_lock_file, fixture_setup, fixture_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
