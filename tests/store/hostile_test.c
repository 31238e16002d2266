/* SPDX-License-Identifier: ISC */
/*
 * What a Maildir's owner, or whoever got at it, may put there. Nothing may be followed or waited for, so
 * an alarm ends a test that hangs.
 */
#include "tests/store/fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/store/faults.h"

#define PATIENCE_SECS 20

static int setup(void **state)
{
	alarm(PATIENCE_SECS);
	int rc = fixture_setup(state);
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	fixture_maildir(f, "bob");
	fixture_write(f, "bob/Maildir/new/9.secret", "secret\n");
	fixture_write(f, "alice/Maildir/new/1.good", "x\n");
	return rc;
}

static int teardown(void **state)
{
	alarm(0);
	return fixture_teardown(state);
}

static void make_symlink(struct fixture *f, const char *path)
{
	assert_int_equal(symlinkat("../../../bob/Maildir/new/9.secret", f->root, path), 0);
}

static void make_absolute_symlink(struct fixture *f, const char *path)
{
	assert_int_equal(symlinkat("/etc/passwd", f->root, path), 0);
}

static void make_fifo(struct fixture *f, const char *path)
{
	assert_int_equal(mkfifoat(f->root, path, 0600), 0);
}

static void make_dir(struct fixture *f, const char *path)
{
	assert_int_equal(mkdirat(f->root, path, 0700), 0);
}

static void make_socket(struct fixture *f, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/root/%s", f->dir, path);
	assert_true(len > 0 && (size_t)len < sizeof(address.sun_path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

static void make_device(struct fixture *f, const char *path)
{
	if (geteuid() == 0)
		mknodat(f->root, path, S_IFCHR | 0600, 0x103);
}

/* A hard link of a file that belongs to somebody else. */
static void make_foreign(struct fixture *f, const char *path)
{
	if (geteuid() != 0)
		return;
	fixture_write(f, "bob/foreign", "secret\n");
	assert_int_equal(fchownat(f->root, "bob/foreign", 12345, 12345, 0), 0);
	assert_int_equal(linkat(f->root, "bob/foreign", f->root, path, 0), 0);
}

static const struct row {
	const char *sentence;
	void (*make)(struct fixture *f, const char *path);
} rows[] = {
    {"a symbolic link to another's mail", make_symlink},
    {"a symbolic link out of the mail root", make_absolute_symlink},
    {"a FIFO", make_fifo},
    {"a directory", make_dir},
    {"a socket", make_socket},
    {"a device", make_device},
    {"a hard link of another owner's file", make_foreign},
};
#define ROWS_COUNT (sizeof(rows) / sizeof(*rows))

static void test_left_out(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ROWS_COUNT; i++) {
		fixture_maildir(f, "carol");
		fixture_write(f, "carol/Maildir/new/1.good", "x\n");
		rows[i].make(f, "carol/Maildir/new/2.bad");
		bool made = fixture_exists(f, "carol/Maildir/new/2.bad");
		f->notes[0] = 0;
		const char *got = fixture_listing(f, "carol");
		if (strcmp(got, "3 1.good\n") != 0)
			fail_msg("%s: %s", rows[i].sentence, got);
		if (made && strstr(f->notes, "2.bad: not a file") == NULL)
			fail_msg("%s: no note: %s", rows[i].sentence, f->notes);
		char path[128];
		snprintf(path, sizeof(path), "%s/root/carol", f->dir);
		fixture_remove(path);
	}
}

/* The same things, put in a message's place within the session. */
static void test_replaced(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ROWS_COUNT; i++) {
		fixture_maildir(f, "carol");
		fixture_write(f, "carol/Maildir/new/1.good", "x\n");
		fixture_write(f, "carol/Maildir/new/2.bad", "x\n");
		struct maildrop *m = fixture_open(f, "carol");
		assert_int_equal(unlinkat(f->root, "carol/Maildir/new/2.bad", 0), 0);
		rows[i].make(f, "carol/Maildir/new/2.bad");
		bool made = fixture_exists(f, "carol/Maildir/new/2.bad");
		int rc;
		const char *got = fixture_fetch(m, 1, &rc);
		if (got != NULL || rc != MAILDROP_GONE)
			fail_msg("%s: fetched, %d", rows[i].sentence, rc);
		rc = maildrop_expunge(m, (const uint8_t[]){2}, 1, &(uint32_t){0});
		if (rc != MAILDROP_OK || fixture_exists(f, "carol/Maildir/new/2.bad") != made)
			fail_msg("%s: removed, %d", rows[i].sentence, rc);
		maildrop_close(&m);
		char path[128];
		snprintf(path, sizeof(path), "%s/root/carol", f->dir);
		fixture_remove(path);
	}
}

/* Directories that are links: the maildrop is refused, another's mail is not shown. */
static const struct link_row {
	const char *sentence, *remove, *target, *path;
} link_rows[] = {
    {"the user's directory is a link", "alice", "bob", "alice"},
    {"the Maildir is a link", "alice/Maildir", "../bob/Maildir", "alice/Maildir"},
    {"new is a link", "alice/Maildir/new", "../../bob/Maildir/new", "alice/Maildir/new"},
    {"cur is a link", "alice/Maildir/cur", "../../bob/Maildir/new", "alice/Maildir/cur"},
    {"the Maildir is an absolute link", "alice/Maildir", "/tmp", "alice/Maildir"},
};

static void test_linked_directories(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(link_rows) / sizeof(*link_rows); i++) {
		const struct link_row *row = &link_rows[i];
		char path[128];
		snprintf(path, sizeof(path), "%s/root/alice", f->dir);
		fixture_remove(path);
		fixture_maildir(f, "alice");
		snprintf(path, sizeof(path), "%s/root/%s", f->dir, row->remove);
		fixture_remove(path);
		assert_int_equal(symlinkat(row->target, f->root, row->path), 0);
		struct maildrop *m;
		int rc = maildrop_open(
		    f->store, &(struct maildrop_place){.user = "alice", .path = "alice/Maildir"}, &m);
		if (rc != MAILDROP_PERM)
			fail_msg("%s: %d", row->sentence, rc);
	}
}

static void test_parts_of_wrong_type(void **state)
{
	struct fixture *f = *state;
	struct maildrop *m;
	fixture_write(f, "bob/file", "");
	assert_int_equal(
	    maildrop_open(f->store, &(struct maildrop_place){.user = "x", .path = "bob/file"}, &m),
	    MAILDROP_PERM);
	assert_int_equal(mkfifoat(f->root, "bob/fifo", 0600), 0);
	assert_int_equal(
	    maildrop_open(f->store, &(struct maildrop_place){.user = "x", .path = "bob/fifo"}, &m),
	    MAILDROP_PERM);
	/* A Maildir with parts missing has no mail there. */
	assert_int_equal(unlinkat(f->root, "alice/Maildir/cur", AT_REMOVEDIR), 0);
	assert_string_equal(fixture_listing(f, "alice"), "3 1.good\n");
}

static void test_lock_is_no_file(void **state)
{
	struct fixture *f = *state;
	struct maildrop *m;
	assert_int_equal(mkfifoat(f->root, "alice/Maildir/kpopd.lock", 0600), 0);
	assert_int_equal(
	    maildrop_open(f->store, &(struct maildrop_place){.user = "alice", .path = "alice/Maildir"}, &m),
	    MAILDROP_PERM);
	assert_int_equal(unlinkat(f->root, "alice/Maildir/kpopd.lock", 0), 0);
	assert_int_equal(symlinkat("../../bob/new", f->root, "alice/Maildir/kpopd.lock"), 0);
	assert_int_equal(
	    maildrop_open(f->store, &(struct maildrop_place){.user = "alice", .path = "alice/Maildir"}, &m),
	    MAILDROP_PERM);
	assert_false(fixture_exists(f, "bob/new"));
}

/* Names with anything in them are told printable, and only a few of them. */
static void test_notes(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(mkfifoat(f->root, "alice/Maildir/new/2.\x1b[2J\n%n%s\xff", 0600), 0);
	assert_string_equal(fixture_listing(f, "alice"), "3 1.good\n");
	assert_non_null(strstr(f->notes, "new/2.?[2J?%n%s?: not a file"));
	for (int i = 0; i < 100; i++) {
		char path[64];
		snprintf(path, sizeof(path), "alice/Maildir/cur/%d.fifo", i);
		assert_int_equal(mkfifoat(f->root, path, 0600), 0);
	}
	f->notes_count = 0;
	fixture_listing(f, "alice");
	assert_in_range(f->notes_count, 1, 10);
}

/* A file that cannot be read now is left out, and found once it can be, though no directory changed. */
static void test_unreadable(void **state)
{
	struct fixture *f = *state;
	if (geteuid() != 0)
		skip();
	fixture_write(f, "alice/Maildir/new/2.bad", "y\n");
	assert_int_equal(fchownat(f->root, "alice/Maildir/new/2.bad", 12345, 12345, 0), 0);
	assert_string_equal(fixture_listing(f, "alice"), "3 1.good\n");
	assert_int_equal(fchownat(f->root, "alice/Maildir/new/2.bad", 0, 0, 0), 0);
	assert_string_equal(fixture_listing(f, "alice"), "3 1.good\n3 2.bad\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_left_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_replaced, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_linked_directories, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_parts_of_wrong_type, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_lock_is_no_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_notes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
	};
	return cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
}
