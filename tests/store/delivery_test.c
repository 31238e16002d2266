/* SPDX-License-Identifier: ISC */
#include "tests/store/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/store/faults.h"

static unsigned files_in(struct fixture *f, const char *path)
{
	int fd = openat(f->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	unsigned count = 0;
	for (const struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
		count += entry->d_name[0] != '.';
	if (dir != NULL)
		closedir(dir);
	return count;
}

static int deliver(struct fixture *f, const char *path, const char *text, size_t len)
{
	struct delivery *delivery;
	int rc = delivery_begin(f->store, &(struct maildrop_place){.user = "x", .path = path}, &delivery);
	if (rc != MAILDROP_OK)
		return rc;
	assert_int_equal(delivery_write(delivery, text, len), MAILDROP_OK);
	rc = delivery_commit(&delivery);
	assert_null(delivery);
	return rc;
}

static void test_into_nothing(void **state)
{
	struct fixture *f = *state;
	umask(0);
	faults.fsyncs = 0;
	assert_int_equal(deliver(f, "example.org/alice/Maildir", "A: b\n\nx\n", 8), MAILDROP_OK);
	/* The six directories' parents, the file, and new/. */
	assert_int_equal(faults.fsyncs, 8);
	static const char *const made[] = {"example.org", "example.org/alice", "example.org/alice/Maildir",
	    "example.org/alice/Maildir/tmp", "example.org/alice/Maildir/new",
	    "example.org/alice/Maildir/cur"};
	for (size_t i = 0; i < sizeof(made) / sizeof(*made); i++) {
		struct stat st;
		assert_int_equal(fstatat(f->root, made[i], &st, 0), 0);
		assert_int_equal(st.st_mode, S_IFDIR | 0700);
	}
	assert_int_equal(files_in(f, "example.org/alice/Maildir/tmp"), 0);
	struct maildrop *m;
	assert_int_equal(
	    maildrop_open(
		f->store, &(struct maildrop_place){.user = "alice", .path = "example.org/alice/Maildir"}, &m),
	    MAILDROP_OK);
	int rc;
	assert_string_equal(fixture_fetch(m, 0, &rc), "A: b\n\nx\n");
	assert_null(strstr(fixture_list(m), "sha256:"));
	maildrop_close(&m);
}

static void test_in_pieces(void **state)
{
	struct fixture *f = *state;
	struct delivery *delivery;
	static char piece[100000];
	uint64_t length = 0;
	fixture_maildir(f, "alice");
	assert_int_equal(delivery_begin(f->store,
			     &(struct maildrop_place){.user = "x", .path = "alice/Maildir"}, &delivery),
	    MAILDROP_OK);
	srand(7);
	for (int i = 0; i < 200; i++) {
		size_t len = (size_t)rand() % (i % 10 == 0 ? sizeof(piece) : 100);
		memset(piece, 'a' + i % 26, sizeof(piece));
		assert_int_equal(delivery_write(delivery, piece, len), MAILDROP_OK);
		length += len;
	}
	assert_string_equal(fixture_listing(f, "alice"), "");
	assert_int_equal(delivery_commit(&delivery), MAILDROP_OK);
	struct maildrop *m = fixture_open(f, "alice");
	assert_int_equal(maildrop_octets(m), length + 2);
	maildrop_close(&m);
}

static void test_order(void **state)
{
	struct fixture *f = *state;
	char want[4096] = "";
	for (int i = 0; i < 30; i++) {
		char text[32];
		int len = snprintf(text, sizeof(text), "%d\n", i);
		assert_int_equal(deliver(f, "alice/Maildir", text, (size_t)len), MAILDROP_OK);
		fixture_listing(f, "alice");
		strcat(want, text);
	}
	struct maildrop *m = fixture_open(f, "alice");
	char got[4096] = "";
	for (uint32_t i = 0; i < maildrop_count(m); i++) {
		int rc;
		strcat(got, fixture_fetch(m, i, &rc));
	}
	maildrop_close(&m);
	assert_string_equal(got, want);
}

static void test_abort(void **state)
{
	struct fixture *f = *state;
	struct delivery *delivery;
	assert_int_equal(delivery_begin(f->store,
			     &(struct maildrop_place){.user = "x", .path = "alice/Maildir"}, &delivery),
	    MAILDROP_OK);
	assert_int_equal(delivery_write(delivery, "x\n", 2), MAILDROP_OK);
	assert_int_equal(files_in(f, "alice/Maildir/tmp"), 1);
	delivery_abort(&delivery);
	assert_null(delivery);
	assert_int_equal(files_in(f, "alice/Maildir/tmp"), 0);
	assert_int_equal(files_in(f, "alice/Maildir/new"), 0);
}

/* Whoever gave us the message tries again: there must not be two of it then. */
static void test_fsync_fails(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	static const int errors[] = {EIO, ENOSPC, EDQUOT};
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		faults.fsync_errno = errors[i];
		faults.fsync_after = (int)(i % 2);
		assert_int_equal(deliver(f, "alice/Maildir", "x\n", 2), MAILDROP_TEMP);
		faults.fsync_errno = 0;
		assert_int_equal(files_in(f, "alice/Maildir/tmp"), 0);
		assert_int_equal(files_in(f, "alice/Maildir/new"), 0);
	}
}

static void test_full_disk(void **state)
{
	struct fixture *f = *state;
	struct delivery *delivery;
	static const char text[200000];
	fixture_maildir(f, "alice");
	faults.write_errno = ENOSPC;
	assert_int_equal(delivery_begin(f->store,
			     &(struct maildrop_place){.user = "x", .path = "alice/Maildir"}, &delivery),
	    MAILDROP_OK);
	assert_int_equal(delivery_write(delivery, text, sizeof(text)), MAILDROP_TEMP);
	faults.write_errno = 0;
	/* The hole stays a failure, whatever the disk says later. */
	assert_int_equal(delivery_write(delivery, text, 1), MAILDROP_TEMP);
	assert_int_equal(delivery_commit(&delivery), MAILDROP_TEMP);
	assert_int_equal(files_in(f, "alice/Maildir/tmp"), 0);
	assert_int_equal(files_in(f, "alice/Maildir/new"), 0);
}

static const struct refused_row {
	const char *sentence, *link, *target, *path;
} refused_rows[] = {
    {"the user's directory is a link", "alice", "bob", "alice/Maildir"},
    {"the Maildir is a link", "carol/Maildir", "../bob/Maildir", "carol/Maildir"},
    {"new is a link", "dave/Maildir/new", "../../bob/Maildir/new", "dave/Maildir"},
    {"tmp is a link", "erin/Maildir/tmp", "/tmp", "erin/Maildir"},
    {"out of the mail root", NULL, NULL, "../elsewhere/Maildir"},
};

static void test_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const dirs[] = {"carol", "dave", "dave/Maildir", "erin", "erin/Maildir"};
	fixture_maildir(f, "bob");
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		fixture_mkdir(f, dirs[i]);
	for (size_t i = 0; i < sizeof(refused_rows) / sizeof(*refused_rows); i++) {
		const struct refused_row *row = &refused_rows[i];
		if (row->link != NULL)
			assert_int_equal(symlinkat(row->target, f->root, row->link), 0);
		int rc = deliver(f, row->path, "x\n", 2);
		if (rc != MAILDROP_PERM)
			fail_msg("%s: %d", row->sentence, rc);
	}
	assert_int_equal(files_in(f, "bob/Maildir/new"), 0);
}

/* As root: a message belongs to whom the Maildir belongs to, or it would not be shown. */
static void test_as_root(void **state)
{
	struct fixture *f = *state;
	if (geteuid() != 0)
		skip();
	fixture_mkdir(f, "alice");
	assert_int_equal(fchownat(f->root, "alice", 12345, 12346, 0), 0);
	assert_int_equal(deliver(f, "alice/Maildir", "x\n", 2), MAILDROP_OK);
	struct stat st;
	assert_int_equal(fstatat(f->root, "alice/Maildir/new", &st, 0), 0);
	assert_int_equal(st.st_uid, 12345);
	assert_int_equal(st.st_gid, 12346);
	struct maildrop *m = fixture_open(f, "alice");
	assert_int_equal(maildrop_count(m), 1);
	maildrop_close(&m);
}

#define ROW(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    ROW(test_into_nothing),
	    ROW(test_in_pieces),
	    ROW(test_order),
	    ROW(test_abort),
	    ROW(test_fsync_fails),
	    ROW(test_full_disk),
	    ROW(test_refused),
	    ROW(test_as_root),
	};
	return cmocka_run_group_tests_name("delivery", tests, NULL, NULL);
}
