/* SPDX-License-Identifier: ISC */
#include "tests/store/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/store/faults.h"

#define NEW(name) "alice/Maildir/new/" name
#define CUR(name) "alice/Maildir/cur/" name

static struct fixture *current;
static uint32_t not_gone; /* of the last expunge() */

static int setup(void **state)
{
	int rc = fixture_setup(state);
	current = *state;
	fixture_maildir(current, "alice");
	fixture_write(current, NEW("1.a"), "1\n");
	fixture_write(current, NEW("2.b"), "2\n");
	fixture_write(current, CUR("3.c:2,S"), "3\n");
	fixture_write(current, CUR("4.d:2,S"), "4\n");
	return rc;
}

static int setup_unindexed(void **state)
{
	setup(state);
	current->indexed = false;
	fixture_reopen(current, 0);
	return 0;
}

static int expunge(struct fixture *f, uint8_t marks)
{
	struct maildrop *m = fixture_open(f, "alice");
	int rc = maildrop_expunge(m, &marks, 1, &not_gone);
	maildrop_close(&m);
	/* Whoever hears of success hears of nothing left. */
	assert_int_equal(rc == MAILDROP_OK, not_gone == 0);
	return rc;
}

static void test_exactly_the_marked(void **state)
{
	struct fixture *f = *state;
	faults.fsyncs = 0;
	assert_int_equal(expunge(f, 1 | 4), MAILDROP_OK);
	assert_int_equal(faults.fsyncs, 2);
	assert_string_equal(fixture_listing(f, "alice"), "3 2.b\n3 4.d\n");
	faults.fsyncs = 0;
	assert_int_equal(expunge(f, 1), MAILDROP_OK);
	assert_int_equal(faults.fsyncs, 1);
	assert_string_equal(fixture_listing(f, "alice"), "3 4.d\n");
	assert_int_equal(expunge(f, 0), MAILDROP_OK);
	assert_int_equal(faults.fsyncs, 1);
	assert_true(fixture_exists(f, CUR("4.d:2,S")));
}

static void test_range(void **state)
{
	struct fixture *f = *state;
	struct maildrop *m = fixture_open(f, "alice");
	assert_int_equal(maildrop_expunge(m, (const uint8_t[]){1 | 16}, 1, &(uint32_t){0}), MAILDROP_RANGE);
	assert_int_equal(maildrop_expunge(m, (const uint8_t[]){1, 1}, 2, &(uint32_t){0}), MAILDROP_RANGE);
	maildrop_close(&m);
	m = fixture_open(f, "alice");
	assert_int_equal(maildrop_count(m), 4);
	assert_int_equal(maildrop_expunge(m, (const uint8_t[]){1, 0, 0}, 3, &(uint32_t){0}), MAILDROP_OK);
	/* Nothing but close comes after. */
	struct maildrop_message message;
	assert_int_equal(maildrop_fetch(m, 0, &message), MAILDROP_TEMP);
	assert_int_equal(maildrop_expunge(m, (const uint8_t[]){2}, 1, &(uint32_t){0}), MAILDROP_TEMP);
	maildrop_close(&m);
	assert_string_equal(fixture_listing(f, "alice"), "3 2.b\n3 3.c\n3 4.d\n");
}

static void test_without_quit(void **state)
{
	struct fixture *f = *state;
	struct maildrop *m = fixture_open(f, "alice");
	maildrop_close(&m);
	assert_true(fixture_exists(f, NEW("1.a")));
	assert_string_equal(fixture_listing(f, "alice"), "3 1.a\n3 2.b\n3 3.c\n3 4.d\n");
}

static void rename_it(void)
{
	renameat(current->root, NEW("1.a"), current->root, CUR("1.a:2,S"));
}

static void rename_and_reuse(void)
{
	rename_it();
	fixture_write(current, NEW("1.a"), "another\n");
}

static void remove_it(void)
{
	unlinkat(current->root, NEW("1.a"), 0);
}

static void replace_it(void)
{
	/* The old inode stays in use, so that the new file's is another. */
	assert_int_equal(linkat(current->root, NEW("1.a"), current->root, "alice/keep", 0), 0);
	unlinkat(current->root, NEW("1.a"), 0);
	fixture_write(current, NEW("1.a"), "1\n");
}

static void grow_it(void)
{
	fixture_write(current, NEW("1.a"), "another\n");
}

static void deliver(void)
{
	fixture_write(current, NEW("0.new"), "new\n");
}

/* What others do between DELE and QUIT, and what is left after message 1 was removed. */
static const struct meanwhile_row {
	const char *sentence;
	void (*meanwhile)(void);
	const char *path; /* of what is at stake */
	bool left;
} meanwhile_rows[] = {
    {"it was renamed", rename_it, CUR("1.a:2,S"), false},
    {"it was removed", remove_it, NEW("1.a"), false},
    {"another file took its name", replace_it, NEW("1.a"), true},
    {"it was renamed, and another took its name", rename_and_reuse, NEW("1.a"), true},
    {"it was renamed, and another took its name: the marked one", rename_and_reuse, CUR("1.a:2,S"), false},
    {"it was written to", grow_it, NEW("1.a"), true},
    {"something was delivered", deliver, NEW("0.new"), true},
};

static void test_meanwhile(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(meanwhile_rows) / sizeof(*meanwhile_rows); i++) {
		const struct meanwhile_row *row = &meanwhile_rows[i];
		char path[128];
		snprintf(path, sizeof(path), "%s/root/alice", f->dir);
		fixture_remove(path);
		fixture_maildir(f, "alice");
		fixture_write(f, NEW("1.a"), "1\n");
		fixture_write(f, NEW("2.b"), "2\n");
		struct maildrop *m = fixture_open(f, "alice");
		/* Where inodes come back, one of them may look like an old acquaintance, and stand first. */
		uint8_t mark = strncmp(fixture_list(m), "3 1.a", 5) == 0 ? 1 : 2;
		row->meanwhile();
		int rc = maildrop_expunge(m, &mark, 1, &(uint32_t){0});
		maildrop_close(&m);
		if (rc != MAILDROP_OK || fixture_exists(f, row->path) != row->left ||
		    !fixture_exists(f, NEW("2.b")))
			fail_msg("%s: %d", row->sentence, rc);
	}
}

/* Renamed between our look and our unlink: found again. */
static void test_rename_race(void **state)
{
	struct fixture *f = *state;
	faults.before_unlink = rename_it;
	assert_int_equal(expunge(f, 1), MAILDROP_OK);
	assert_false(fixture_exists(f, CUR("1.a:2,S")));
	assert_string_equal(fixture_listing(f, "alice"), "3 2.b\n3 3.c\n3 4.d\n");
}

static const int unlink_errors[] = {EACCES, EROFS, EIO, EPERM, EBUSY};

static void test_unlink_fails(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(unlink_errors) / sizeof(*unlink_errors); i++) {
		faults.unlink_errno = unlink_errors[i];
		assert_int_equal(expunge(f, 3), MAILDROP_TEMP);
		assert_int_equal(not_gone, 2);
		faults.unlink_errno = 0;
		assert_string_equal(fixture_listing(f, "alice"), "3 1.a\n3 2.b\n3 3.c\n3 4.d\n");
	}
}

static void test_fsync_fails(void **state)
{
	struct fixture *f = *state;
	faults.fsync_errno = EIO;
	faults.fsyncs = 0;
	assert_int_equal(expunge(f, 1), MAILDROP_TEMP);
	assert_int_equal(not_gone, 1);
	/* Not a second time: the kernel would say yes then. */
	assert_int_equal(faults.fsyncs, 1);
	faults.fsync_errno = 0;
	assert_string_equal(fixture_listing(f, "alice"), "3 2.b\n3 3.c\n3 4.d\n");
}

/* The marks of the messages whose names begin so. */
static uint8_t marks_of(const char *listing, const char *names)
{
	uint8_t marks = 0;
	for (unsigned idx = 0; *listing != 0; idx++, listing = strchr(listing, '\n') + 1)
		if (strchr(names, listing[2]) != NULL)
			marks = (uint8_t)(marks | 1u << idx);
	return marks;
}

/* Of two directories one cannot be synced: what was unlinked there may come back, what was in the other not.
 */
static void test_one_fsync_fails(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *names;
		int good_fsyncs;
		uint32_t want;
	} rows[] = {{"123", 0, 3}, {"123", 1, 1}, {"13", 2, 0}, {"3", 0, 1}, {"12", 0, 2}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		fixture_write(f, NEW("1.a"), "1\n");
		fixture_write(f, NEW("2.b"), "2\n");
		fixture_write(f, CUR("3.c:2,S"), "3\n");
		uint8_t marks = marks_of(fixture_listing(f, "alice"), rows[i].names);
		f->notes[0] = 0;
		faults.fsync_after = rows[i].good_fsyncs;
		faults.fsync_errno = EIO;
		expunge(f, marks);
		faults.fsync_errno = 0;
		assert_int_equal(not_gone, rows[i].want);
		assert_int_equal(strstr(f->notes, "may come back") != NULL, not_gone > 0);
	}
}

/* A full disk for the index: deletion works, and the next login is right. */
static void test_index_fails(void **state)
{
	struct fixture *f = *state;
	fixture_listing(f, "alice");
	faults.commit_errno = ENOSPC;
	assert_int_equal(expunge(f, 2), MAILDROP_OK);
	assert_non_null(strstr(f->notes, "index"));
	assert_string_equal(fixture_listing(f, "alice"), "3 1.a\n3 3.c\n3 4.d\n");
	faults.commit_errno = 0;
	assert_string_equal(fixture_listing(f, "alice"), "3 1.a\n3 3.c\n3 4.d\n");
}

/* More than one batch, with gaps, and every mark counted. */
static void test_many(void **state)
{
	struct fixture *f = *state;
	uint8_t marks[125] = {0};
	fixture_maildir(f, "bob");
	for (unsigned i = 0; i < 1000; i++) {
		char path[64];
		snprintf(path, sizeof(path), "bob/Maildir/new/%u.x", i);
		fixture_write(f, path, "x\n");
		if (i % 3 == 0 || i > 800)
			marks[i / 8] |= (uint8_t)(1 << i % 8);
	}
	struct maildrop *m = fixture_open(f, "bob");
	assert_int_equal(maildrop_expunge(m, marks, sizeof(marks), &(uint32_t){0}), MAILDROP_OK);
	maildrop_close(&m);
	unsigned left = 0;
	for (unsigned i = 0; i < 1000; i++) {
		char path[64];
		snprintf(path, sizeof(path), "bob/Maildir/new/%u.x", i);
		bool marked = i % 3 == 0 || i > 800;
		assert_int_equal(fixture_exists(f, path), !marked);
		left += !marked;
	}
	m = fixture_open(f, "bob");
	assert_int_equal(maildrop_count(m), left);
	assert_int_equal(maildrop_octets(m), 3 * left);
	maildrop_close(&m);
}

#define BOTH(fn)                                                                     \
	{#fn, fn, setup, fixture_teardown, NULL},                                    \
	{                                                                            \
#fn " without an index", fn, setup_unindexed, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(test_exactly_the_marked),
	    BOTH(test_range),
	    BOTH(test_without_quit),
	    BOTH(test_meanwhile),
	    BOTH(test_rename_race),
	    BOTH(test_unlink_fails),
	    BOTH(test_fsync_fails),
	    BOTH(test_one_fsync_fails),
	    cmocka_unit_test_setup_teardown(test_index_fails, setup, fixture_teardown),
	    BOTH(test_many),
	};
	return cmocka_run_group_tests_name("expunge", tests, NULL, NULL);
}
