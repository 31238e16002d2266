/* SPDX-License-Identifier: ISC */
#include "tests/store/fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/usage.h"
#include "tests/store/faults.h"

static const struct maildrop_place place = {.user = "alice", .path = "alice/Maildir"};

static struct maildrop_usage usage_of(struct fixture *f)
{
	struct maildrop_usage usage;
	assert_int_equal(maildrop_usage(f->store, &place, &usage), MAILDROP_OK);
	return usage;
}

/* Each row is one file, of three octets, in a maildrop of its own. */
static void test_names(void **state)
{
	static const struct {
		const char *sentence, *name;
		uint64_t messages, octets;
	} rows[] = {
	    {"a name that says nothing: the file's length", "new/1.a", 1, 3},
	    {"Maildir++'s length is believed", "new/1.a,S=77", 1, 77},
	    {"before flags", "cur/1.a,S=77:2,S", 1, 77},
	    {"behind another field, as Dovecot may have it", "cur/1.a,W=80,S=77:2,S", 1, 77},
	    {"before another field", "cur/1.a,S=77,W=80:2,S", 1, 77},
	    {"a flag is no field", "cur/1.a:2,S=77", 1, 3},
	    {"no digits", "new/1.a,S=", 1, 3},
	    {"not only digits", "new/1.a,S=7x", 1, 3},
	    {"more than any file has", "new/1.a,S=9223372036854775808", 1, 3},
	    {"more than a number has", "new/1.a,S=99999999999999999999999", 1, 3},
	    {"half a field", "new/1.a,S", 1, 3},
	    {"what is being delivered does not count", "tmp/1.a", 0, 0},
	    {"nor what is hidden", "new/.1.a", 0, 0},
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char path[128];
		fixture_maildir(f, "alice");
		snprintf(path, sizeof path, "alice/Maildir/%s", rows[i].name);
		fixture_write(f, path, "abc");
		struct maildrop_usage usage = usage_of(f);
		if (usage.messages != rows[i].messages || usage.octets != rows[i].octets)
			fail_msg("%s: %ju messages, %ju octets", rows[i].sentence, (uintmax_t)usage.messages,
			    (uintmax_t)usage.octets);
		unlinkat(f->root, path, 0);
	}
}

static void test_there(void **state)
{
	struct fixture *f = *state;
	struct maildrop_usage usage;
	assert_int_equal(maildrop_there(f->store, &place), MAILDROP_GONE);
	assert_int_equal(maildrop_usage(f->store, &place, &usage), MAILDROP_GONE);
	fixture_mkdir(f, "alice");
	fixture_write(f, "alice/Maildir", "no directory");
	assert_int_equal(maildrop_there(f->store, &place), MAILDROP_PERM);
	assert_int_equal(maildrop_usage(f->store, &place, &usage), MAILDROP_PERM);
	unlinkat(f->root, "alice/Maildir", 0);
	fixture_maildir(f, "alice");
	assert_int_equal(maildrop_there(f->store, &place), MAILDROP_OK);
	assert_int_equal(usage_of(f).messages, 0);
}

/* What is no message is none of the user's mail. */
static void test_others(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	fixture_write(f, "alice/Maildir/new/1.a", "abc");
	assert_int_equal(mkdirat(f->root, "alice/Maildir/new/2.b", 0700), 0);
	assert_int_equal(symlinkat("1.a", f->root, "alice/Maildir/new/3.c"), 0);
	assert_int_equal(mkfifoat(f->root, "alice/Maildir/cur/4.d", 0600), 0);
	assert_int_equal(usage_of(f).messages, 1);
	assert_int_equal(usage_of(f).octets, 3);
}

/* After a login nothing is looked at, until something has changed; and sessions are neither waited for nor
 * kept out. */
static void test_by_the_index(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	fixture_write(f, "alice/Maildir/new/1.a", "abc\n");
	fixture_write(f, "alice/Maildir/cur/2.b:2,S", "abcde\n");
	struct maildrop *open = fixture_open(f, "alice");
	unsigned scans = faults.scans;
	struct maildrop_usage usage = usage_of(f);
	assert_int_equal(usage.messages, 2);
	assert_int_equal(usage.octets, 4 + 6); /* as they lie there, not with the CRs of the wire */
	assert_true(faults.scans == (f->indexed ? scans : scans + 2));
	struct delivery *delivery;
	assert_int_equal(delivery_begin(f->store, &place, &delivery), MAILDROP_OK);
	assert_int_equal(delivery_write(delivery, "1234567", 7), MAILDROP_OK);
	assert_int_equal(usage_of(f).messages, 2);
	assert_int_equal(delivery_commit(&delivery), MAILDROP_OK);
	usage = usage_of(f);
	assert_int_equal(usage.messages, 3);
	assert_int_equal(usage.octets, 4 + 6 + 7);
	assert_true(faults.scans > scans);
	maildrop_close(&open);
	fixture_listing(f, "alice");
	scans = faults.scans;
	usage = usage_of(f);
	assert_int_equal(usage.messages, 3);
	assert_int_equal(usage.octets, 4 + 6 + 7);
	assert_true(faults.scans == (f->indexed ? scans : scans + 2));
}

#define BOTH(test)                                                                        \
	cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown),           \
	{                                                                                 \
#test "_unindexed", test, fixture_setup_unindexed, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(test_names),
	    BOTH(test_there),
	    BOTH(test_others),
	    BOTH(test_by_the_index),
	};
	return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
