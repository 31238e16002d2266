/* SPDX-License-Identifier: ISC */
/* When messages came: never earlier than they did. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/mbox_date.h"
#include "tests/store/fixture.h"

#define HALF_DAY 43200

static void test_date(void **state)
{
	static const struct {
		const char *line;
		int64_t want; /* UTC; -1: none */
	} rows[] = {
	    {"From a@b Sat Nov 22 05:20:04 2025\n", 1763788804},
	    {"From a@b Sat Nov  1 05:20:04 2025\r\n", 1761974404},
	    {"From a@b  Thu Jan  1 00:00:00 1970\n", 0},
	    {"From a@b Sat Nov 22 05:20 2025\n", 1763788859},
	    {"From a@b Sat Nov 22 05:20:04 CET 2025\n", 1763788804},
	    {"From a@b Sat Nov 22 05:20:04 2025 +0100\n", 1763788804},
	    {"From a@b Sat, 22 Nov 2025 05:20:04 -0800\n", 1763788804},
	    {"From a@b 22 Nov 2025 05:20:04\n", 1763788804},
	    {"From jan 12:34 dec 1999 Sat Nov 22 05:20:04 2025\n", 1763788804},
	    {"From \"a b c d e f g h\" Sat Nov 22 05:20:04 2025\n", 1763788804},
	    {"From a@b Sat Nov 22 05:20:04 2025 remote from there", 1763788804},
	    {"From a@b Sat Nov 22 2025\n", -1},
	    {"From a@b Sat Nov 05:20:04 2025\n", -1},
	    {"From a@b Sat Nov 22 05:20:04 25\n", -1},
	    {"From a@b Sat Nov 22 05:20:04 1902\n", -1},
	    {"From a@b\n", -1},
	    {"", -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int64_t got = -1;
		bool there = mbox_date(rows[i].line, strlen(rows[i].line), &got);
		if (there != (rows[i].want >= 0) || (there && got != rows[i].want + HALF_DAY))
			fail_msg("%s: %lld", rows[i].line, (long long)got);
	}
}

static void set_time(struct fixture *fixture, const char *path, time_t secs)
{
	const struct timespec times[2] = {{.tv_sec = secs}, {.tv_sec = secs}};
	assert_int_equal(utimensat(fixture->root, path, times, 0), 0);
}

static void test_maildir(void **state)
{
	static const struct {
		const char *name;
		time_t file;
		int64_t want;
	} rows[] = {
	    {"1000.a", 2000, 2000},
	    {"3000.a", 2000, 3000},
	    {"4000", 2000, 4000},
	    {"5000,S=3", 2000, 5000},
	    {"a", 2000, 2000},
	    {"99999999999999999999.a", 2000, INT64_MAX},
	};
	struct fixture *fixture = *state;

	fixture_maildir(fixture, "alice");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char path[128];
		int64_t secs = 0;
		snprintf(path, sizeof(path), "alice/Maildir/new/%s", rows[i].name);
		fixture_write(fixture, path, "x\n");
		set_time(fixture, path, 7); /* the index's is not what counts */
		struct maildrop *maildrop = fixture_open(fixture, "alice");
		set_time(fixture, path, rows[i].file);
		if (maildrop_arrived(maildrop, 0, &secs) != MAILDROP_OK || secs != rows[i].want)
			fail_msg("%s: %lld", rows[i].name, (long long)secs);
		/* A mail reader gives it flags. */
		char moved[128];
		snprintf(moved, sizeof(moved), "alice/Maildir/cur/%s:2,S", rows[i].name);
		assert_int_equal(renameat(fixture->root, path, fixture->root, moved), 0);
		secs = 0;
		assert_int_equal(maildrop_arrived(maildrop, 0, &secs), MAILDROP_OK);
		assert_int_equal(secs, rows[i].want);
		assert_int_equal(maildrop_arrived(maildrop, 1, &secs), MAILDROP_RANGE);
		assert_int_equal(unlinkat(fixture->root, moved, 0), 0);
		assert_int_equal(maildrop_arrived(maildrop, 0, &secs), MAILDROP_GONE);
		maildrop_close(&maildrop);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_date),
	    cmocka_unit_test_setup_teardown(test_maildir, fixture_setup, fixture_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
