/* SPDX-License-Identifier: ISC */
#include "tests/store/fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/wire.h"
#include "tests/store/faults.h"

#define NEW(name) "alice/Maildir/new/" name
#define CUR(name) "alice/Maildir/cur/" name

static void move(struct fixture *f, const char *from, const char *to)
{
	assert_int_equal(renameat(f->root, from, f->root, to), 0);
}

static void test_missing(void **state)
{
	struct fixture *f = *state;
	assert_string_equal(fixture_listing(f, "nobody"), "");
	assert_false(fixture_exists(f, "nobody"));
	struct maildrop *m = fixture_open(f, "nobody");
	struct maildrop_message message;
	assert_int_equal(maildrop_fetch(m, 0, &message), MAILDROP_RANGE);
	assert_int_equal(maildrop_expunge(m, (const uint8_t[]){1}, 1, &(uint32_t){0}), MAILDROP_RANGE);
	maildrop_close(&m);
}

/* File names and the listing they give, whatever order the directory has them in. */
static const struct uidl_row {
	const char *sentence;
	const char *names[4];
	const char *want;
} uidl_rows[] = {
    {"by time, then name",
	{"1700000002.M1P1.h", "1700000001.M2P1.h", "1700000001.M1P1.h:2,S", "999999999.M9.h"},
	"3 999999999.M9.h\n3 1700000001.M1P1.h\n3 1700000001.M2P1.h\n3 1700000002.M1P1.h\n"},
    {"sizes and flags are no part of it", {"1.a,S=3,W=4:2,FS", "2.b,S=3", "3.c:2,"}, "3 1.a\n3 2.b\n3 3.c\n"},
    {"seventy octets are a UIDL, seventy-one are hashed",
	{"1234567890123456789012345678901234567890123456789012345678901234567890",
	    "12345678901234567890123456789012345678901234567890123456789012345678901"},
	"3 1234567890123456789012345678901234567890123456789012345678901234567890\n"
	"3 sha256:5231e1fa54b3f04e7bcdf6fd6cd4f49112d1d14bc5bcbc0a\n"},
    {"a space is no part of a UIDL", {"1.a b"},
	"3 sha256:f203e38d93c4b6f6414cec8889fbd6a6f7233503303c29af\n"},
    {"hidden files are no messages", {".1.a", "2.b"}, "3 2.b\n"},
    {"without a time first", {"zebra", "1.a"}, "3 zebra\n3 1.a\n"},
};

static void test_uidls(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(uidl_rows) / sizeof(*uidl_rows); i++) {
		char user[16];
		snprintf(user, sizeof(user), "user%zu", i);
		fixture_maildir(f, user);
		for (size_t n = 0; n < 4 && uidl_rows[i].names[n] != NULL; n++) {
			char path[512];
			snprintf(path, sizeof(path), "%s/Maildir/%s/%s", user, n % 2 ? "cur" : "new",
			    uidl_rows[i].names[n]);
			fixture_write(f, path, "x\n");
		}
		const char *got = fixture_listing(f, user);
		if (strcmp(got, uidl_rows[i].want) != 0)
			fail_msg("%s: %s", uidl_rows[i].sentence, got);
	}
}

/* What lies in the index, and what a rebuilt one says, must be the same. */
static void test_duplicates(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	fixture_write(f, NEW("1.a"), "x\n");
	char first[4096], both[4096];
	strcpy(first, fixture_listing(f, "alice"));
	assert_string_equal(first, "3 1.a\n");
	fixture_write(f, CUR("1.a:2,S"), "yy\n");
	strcpy(both, fixture_listing(f, "alice"));
	assert_memory_equal(both, "3 1.a\n4 sha256:", 15);
	move(f, CUR("1.a:2,S"), CUR("1.a:2,RS"));
	assert_string_equal(fixture_listing(f, "alice"), both);
	store_close(&f->store);
	char dir[128];
	snprintf(dir, sizeof(dir), "%s/index", f->dir);
	fixture_remove(dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	fixture_reopen(f, 0);
	char rebuilt[4096];
	strcpy(rebuilt, fixture_listing(f, "alice"));
	assert_non_null(strstr(rebuilt, "3 1.a\n"));
	assert_non_null(strstr(rebuilt, strchr(both, '\n') + 1));
}

/* One file under two names, as a scan sees it that runs into a rename. */
static void test_hard_link(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	fixture_write(f, NEW("1.a"), "x\n");
	assert_int_equal(linkat(f->root, NEW("1.a"), f->root, CUR("1.a:2,S"), 0), 0);
	assert_string_equal(fixture_listing(f, "alice"), "3 1.a\n");
}

static void test_uidl_stability(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	fixture_write(f, NEW("1.a"), "X-UIDL: 2.b\n\nx\n");
	fixture_write(f, NEW("2.b"), "y\n");
	assert_string_equal(fixture_listing(f, "alice"), "18 1.a\n3 2.b\n");
	move(f, NEW("1.a"), CUR("1.a:2,S"));
	assert_string_equal(fixture_listing(f, "alice"), "18 1.a\n3 2.b\n");
	fixture_write(f, NEW("0.c"), "z\n");
	/* Older by its name, but it came later: the numbers of those known do not change. */
	assert_string_equal(
	    fixture_listing(f, "alice"), f->indexed ? "18 1.a\n3 2.b\n3 0.c\n" : "3 0.c\n18 1.a\n3 2.b\n");
	assert_int_equal(unlinkat(f->root, NEW("2.b"), 0), 0);
	fixture_reopen(f, 0);
	assert_string_equal(fixture_listing(f, "alice"), f->indexed ? "18 1.a\n3 0.c\n" : "3 0.c\n18 1.a\n");
}

static void test_nothing_new(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	fixture_write(f, NEW("1.a"), "x\n");
	fixture_write(f, CUR("2.b"), "yy\n");
	fixture_listing(f, "alice");
	faults.scans = faults.writes = 0;
	struct maildrop *m = fixture_open(f, "alice");
	assert_int_equal(maildrop_count(m), 2);
	assert_int_equal(maildrop_octets(m), 7);
	maildrop_close(&m);
	assert_int_equal(faults.scans, 0);
	assert_int_equal(faults.writes, 0);
	/* Something new is one scan of each directory, and one transaction. */
	fixture_write(f, NEW("3.c"), "z\n");
	assert_string_equal(fixture_listing(f, "alice"), "3 1.a\n4 2.b\n3 3.c\n");
	assert_int_equal(faults.scans, 2);
	assert_int_equal(faults.writes, 1);
}

/* Two changes within one tick of the clock: the second must be seen, too. */
static void test_clock_grain(void **state)
{
	struct fixture *f = *state;
	faults.clock_secs = 0;
	fixture_maildir(f, "alice");
	for (int i = 0; i < 200; i++) {
		char name[64], wanted[64];
		snprintf(name, sizeof(name), NEW("%d.a"), i);
		fixture_write(f, name, "x\n");
		struct maildrop *m = fixture_open(f, "alice");
		snprintf(wanted, sizeof(wanted), "3 %d.a\n", i);
		assert_int_equal(maildrop_count(m), i + 1);
		assert_non_null(strstr(fixture_list(m), wanted));
		maildrop_close(&m);
	}
}

static void test_snapshot(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	fixture_write(f, NEW("1.a"), "one\n");
	fixture_write(f, NEW("2.b"), "two\n");
	fixture_write(f, NEW("3.c"), "three\n");
	struct maildrop *m = fixture_open(f, "alice");
	fixture_write(f, NEW("0.new"), "zero\n");
	move(f, NEW("1.a"), CUR("1.a:2,S"));
	assert_int_equal(unlinkat(f->root, NEW("2.b"), 0), 0);
	assert_string_equal(fixture_list(m), "5 1.a\n5 2.b\n7 3.c\n");
	int rc;
	assert_string_equal(fixture_fetch(m, 2, &rc), "three\n");
	assert_string_equal(fixture_fetch(m, 0, &rc), "one\n");
	assert_null(fixture_fetch(m, 1, &rc));
	assert_int_equal(rc, MAILDROP_GONE);
	assert_null(fixture_fetch(m, 3, &rc));
	assert_int_equal(rc, MAILDROP_RANGE);
	/* Renamed once more, after we had looked. */
	move(f, CUR("1.a:2,S"), CUR("1.a:2,RS"));
	assert_string_equal(fixture_fetch(m, 0, &rc), "one\n");
	maildrop_close(&m);
	m = fixture_open(f, "alice");
	assert_int_equal(maildrop_count(m), 3);
	maildrop_close(&m);
}

static void test_fetch(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	fixture_write(f, NEW("1.a"), "A: b\r\n\r\nx\r\n");
	fixture_write(f, NEW("2.b"), ".\n");
	fixture_write(f, NEW("3.c"), "");
	struct maildrop *m = fixture_open(f, "alice");
	static const struct {
		uint64_t length, octets;
		unsigned flags;
	} want[] = {{11, 11, WIRE_CRLF | WIRE_NODOTS}, {2, 3, 0}, {0, 0, WIRE_CRLF | WIRE_NODOTS}};
	for (uint32_t i = 0; i < 3; i++) {
		struct maildrop_message message;
		assert_int_equal(maildrop_fetch(m, i, &message), MAILDROP_OK);
		assert_int_equal(message.offset, 0);
		assert_int_equal(message.length, want[i].length);
		assert_int_equal(message.octets, want[i].octets);
		assert_int_equal(message.flags, want[i].flags);
		assert_int_equal(fcntl(message.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
		assert_int_equal(fcntl(message.fd, F_GETFD), FD_CLOEXEC);
		close(message.fd);
	}
	maildrop_close(&m);
}

/* A file that is written to in its place must not be sent under the size that was announced. */
static void test_changed(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	fixture_write(f, NEW("1.a"), "x\n");
	fixture_write(f, NEW("2.b"), "xx\n");
	struct maildrop *m = fixture_open(f, "alice");
	fixture_write(f, NEW("1.a"), "longer\n");
	fixture_write(f, NEW("2.b"), "\n\n\n");
	int rc;
	assert_null(fixture_fetch(m, 0, &rc));
	assert_int_equal(rc, MAILDROP_TEMP);
	assert_null(fixture_fetch(m, 1, &rc));
	assert_int_equal(rc, MAILDROP_TEMP);
	/* As long on the wire, and yet another. */
	fixture_write(f, NEW("2.b"), "yy\n");
	assert_null(fixture_fetch(m, 1, &rc));
	assert_int_equal(rc, MAILDROP_TEMP);
	fixture_write(f, NEW("2.b"), "xx\n");
	assert_string_equal(fixture_fetch(m, 1, &rc), "xx\n");
	maildrop_close(&m);
	/* What a client has seen as 1.a is not there any more. */
	const char *listing = fixture_listing(f, "alice");
	if (f->indexed)
		assert_ptr_equal(strstr(listing, "4 2.b\n8 sha256:"), listing);
	else
		assert_string_equal(listing, "8 1.a\n4 2.b\n");
}

static void test_in_use(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	struct maildrop *m = fixture_open(f, "alice");
	struct maildrop *other;
	assert_int_equal(maildrop_open(f->store,
			     &(struct maildrop_place){.user = "alice", .path = "alice/Maildir"}, &other),
	    MAILDROP_IN_USE);
	assert_null(other);
	/* Even by somebody who took the file away. */
	assert_int_equal(unlinkat(f->root, "alice/Maildir/kpopd.lock", 0), 0);
	assert_int_equal(maildrop_open(f->store,
			     &(struct maildrop_place){.user = "alice", .path = "alice/Maildir"}, &other),
	    MAILDROP_IN_USE);
	maildrop_close(&m);
	m = fixture_open(f, "alice");
	maildrop_close(&m);
}

static int stop_at_three(void *arg, uint32_t idx, const struct maildrop_entry *entry)
{
	assert_int_equal(strtoul(entry->uidl, NULL, 10), idx);
	return ++*(uint32_t *)arg == 3;
}

static void test_list_parts(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	for (int i = 0; i < 300; i++) {
		char name[64];
		snprintf(name, sizeof(name), NEW("%d.a"), i);
		fixture_write(f, name, "x\n");
	}
	struct maildrop *m = fixture_open(f, "alice");
	uint32_t idx[] = {0, 1, 3, 6, 200, 2, 297, 298, 299, 100, 103, 106, 5};
	for (size_t i = 0; i < sizeof(idx) / sizeof(*idx); i++) {
		uint32_t seen = 0;
		assert_int_equal(maildrop_list(m, idx[i], 2, stop_at_three, &seen), MAILDROP_OK);
		assert_int_equal(seen, idx[i] == 299 ? 1 : 2);
		seen = 0;
		assert_int_equal(maildrop_list(m, idx[i], UINT32_MAX, stop_at_three, &seen), MAILDROP_OK);
		assert_int_equal(seen, idx[i] > 297 ? 300 - idx[i] : 3);
	}
	uint32_t seen = 0;
	assert_int_equal(maildrop_list(m, 300, 1, stop_at_three, &seen), MAILDROP_OK);
	assert_int_equal(maildrop_list(m, 301, 1, stop_at_three, &seen), MAILDROP_RANGE);
	assert_int_equal(seen, 0);
	maildrop_close(&m);
}

/* More than 32 bits can count, almost all of it a hole. */
static void test_large(void **state)
{
	struct fixture *f = *state;
	uint64_t length = (UINT64_C(1) << 32) + 1;
	fixture_maildir(f, "alice");
	fixture_write(f, NEW("1.a"), "x\n");
	int fd = openat(f->root, NEW("2.b"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(pwrite(fd, "\n", 1, (off_t)length - 1), 1);
	assert_int_equal(pwrite(fd, "\n.\n", 3, (off_t)length / 2), 3);
	close(fd);
	struct maildrop *m = fixture_open(f, "alice");
	assert_int_equal(maildrop_octets(m), length + 3 + 3);
	struct maildrop_message message;
	assert_int_equal(maildrop_fetch(m, 1, &message), MAILDROP_OK);
	assert_int_equal(message.length, length);
	assert_int_equal(message.octets, length + 3);
	assert_int_equal(message.flags, 0);
	assert_int_equal(lseek(message.fd, 0, SEEK_CUR), 0);
	close(message.fd);
	maildrop_close(&m);
}

static void test_other_user(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "a");
	fixture_maildir(f, "ab");
	fixture_write(f, "a/Maildir/new/1.a", "x\n");
	fixture_write(f, "ab/Maildir/new/2.b", "yy\n");
	assert_string_equal(fixture_listing(f, "ab"), "4 2.b\n");
	assert_string_equal(fixture_listing(f, "a"), "3 1.a\n");
	assert_string_equal(fixture_listing(f, "ab"), "4 2.b\n");
	struct maildrop *m;
	assert_int_equal(
	    maildrop_open(f->store, &(struct maildrop_place){.user = "a", .path = "../root/ab/Maildir"}, &m),
	    MAILDROP_PERM);
	assert_int_equal(maildrop_open(f->store, &(struct maildrop_place){.user = "a", .path = "/etc"}, &m),
	    MAILDROP_PERM);
	assert_int_equal(
	    maildrop_open(f->store, &(struct maildrop_place){.user = "", .path = "a/Maildir"}, &m),
	    MAILDROP_PERM);
}

#define BOTH(fn)                                                                             \
	{#fn, fn, fixture_setup, fixture_teardown, NULL},                                    \
	{                                                                                    \
#fn " without an index", fn, fixture_setup_unindexed, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(test_missing),
	    BOTH(test_uidls),
	    cmocka_unit_test_setup_teardown(test_duplicates, fixture_setup, fixture_teardown),
	    BOTH(test_hard_link),
	    BOTH(test_uidl_stability),
	    cmocka_unit_test_setup_teardown(test_nothing_new, fixture_setup, fixture_teardown),
	    BOTH(test_clock_grain),
	    BOTH(test_snapshot),
	    BOTH(test_fetch),
	    BOTH(test_changed),
	    BOTH(test_in_use),
	    BOTH(test_list_parts),
	    cmocka_unit_test_setup_teardown(test_large, fixture_setup, fixture_teardown),
	    BOTH(test_other_user),
	};
	return cmocka_run_group_tests_name("maildrop", tests, NULL, NULL);
}
