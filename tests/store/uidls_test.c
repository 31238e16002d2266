/* SPDX-License-Identifier: ISC */
/*
 * UIDLs for ever: of messages that share a name, of messages from another server, over the loss of the index,
 * over a move to another host, and whatever lies in kpopd.uidl.
 */
#include "tests/store/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/uidls_line.h"
#include "tests/store/faults.h"

#define NEW(name) "alice/Maildir/new/" name
#define CUR(name) "alice/Maildir/cur/" name
#define LINES "alice/Maildir/kpopd.uidl"

static int setup(void **state)
{
	int rc = fixture_setup(state);
	fixture_maildir(*state, "alice");
	return rc;
}

static int setup_unindexed(void **state)
{
	int rc = fixture_setup_unindexed(state);
	fixture_maildir(*state, "alice");
	return rc;
}

/* ---- lines ---- */

static const struct line_row {
	const char *sentence;
	struct uidls_line line;
} line_rows[] = {
    {"an adopted message", {.kind = UIDLS_ADOPTED, .uidl = "1234", .name = "1.a"}},
    {"a name with flags",
	{.kind = UIDLS_SHARED, .uidl = "!~", .name = "1.a:2,S", .digest = {1}, .unique_len = 3}},
    {"a name of anything",
	{.kind = UIDLS_GONE, .uidl = "%20", .name = "a b%\n\x7f\xff:2,", .digest = {[15] = 9}}},
};

static struct uidls_line whole_line(const struct uidls_line *line)
{
	struct uidls_line whole = *line;
	whole.uidl_len = (uint8_t)strlen(line->uidl);
	whole.name_len = (uint8_t)strlen(line->name);
	if (whole.unique_len == 0)
		whole.unique_len = whole.name_len;
	return whole;
}

static void test_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(line_rows) / sizeof(*line_rows); i++) {
		char text[UIDLS_LINE_OCTETS], name[RECORD_NAME_OCTETS];
		struct uidls_line line = whole_line(&line_rows[i].line);
		struct uidls_line got;
		size_t len = uidls_line_format(&line, text);
		assert_int_equal(text[len - 1], '\n');
		if (!uidls_line_parse(text, len - 1, &got, name) || got.kind != line.kind ||
		    got.uidl_len != line.uidl_len || memcmp(got.uidl, line.uidl, got.uidl_len) != 0 ||
		    got.name_len != line.name_len || memcmp(got.name, line.name, got.name_len) != 0 ||
		    got.unique_len != line.unique_len ||
		    memcmp(got.digest, line.digest, CONTENT_DIGEST_OCTETS) != 0)
			fail_msg("%s: %.*s", line_rows[i].sentence, (int)len, text);
		/* No octet may be another, and none may be missing. */
		for (size_t at = 0; at < len - 1; at++) {
			char copy[UIDLS_LINE_OCTETS];
			memcpy(copy, text, len);
			copy[at] = (char)(copy[at] ^ 1);
			if (uidls_line_parse(copy, len - 1, &got, name) ||
			    uidls_line_parse(text, at, &got, name))
				fail_msg("%s: octet %zu", line_rows[i].sentence, at);
		}
	}
}

static void test_longest_line(void **state)
{
	(void)state;
	char uidl[MAILDROP_UIDL_OCTETS + 1], name[RECORD_NAME_OCTETS + 1], text[UIDLS_LINE_OCTETS];
	memset(uidl, 'u', sizeof(uidl) - 1);
	memset(name, 1, sizeof(name) - 1);
	uidl[sizeof(uidl) - 1] = name[sizeof(name) - 1] = 0;
	struct uidls_line line = whole_line(
	    &(struct uidls_line){.kind = UIDLS_SHARED, .uidl = uidl, .name = name, .digest = {255}});
	struct uidls_line got;
	size_t len = uidls_line_format(&line, text);
	assert_true(len <= sizeof(text));
	assert_true(uidls_line_parse(text, len - 1, &got, name));
	assert_int_equal(got.name_len, 255);
}

/* ---- what a client sees ---- */

static char uidls[64][MAILDROP_UIDL_OCTETS + 1];
static char names[64][MAILDROP_NAME_OCTETS + 1];
static uint32_t uids[64];

static int keep(void *arg, uint32_t idx, const struct maildrop_entry *entry)
{
	(void)arg;
	assert_true(idx < 64);
	strcpy(uidls[idx], entry->uidl);
	strcpy(names[idx], entry->name);
	uids[idx] = entry->uid;
	return 0;
}

/* Fills uidls and names. */
static uint32_t look(struct fixture *f)
{
	struct maildrop *m = fixture_open(f, "alice");
	uint32_t count = maildrop_count(m);
	assert_int_equal(maildrop_list(m, 0, UINT32_MAX, keep, NULL), MAILDROP_OK);
	maildrop_close(&m);
	return count;
}

/* The UIDL of the message with this content; NULL: there is none. */
static const char *uidl_of(struct fixture *f, const char *content)
{
	static char uidl[MAILDROP_UIDL_OCTETS + 1];
	const char *found = NULL;
	struct maildrop *m = fixture_open(f, "alice");
	assert_int_equal(maildrop_list(m, 0, UINT32_MAX, keep, NULL), MAILDROP_OK);
	for (uint32_t i = 0; i < maildrop_count(m); i++) {
		int rc;
		const char *text = fixture_fetch(m, i, &rc);
		if (text != NULL && strcmp(text, content) == 0)
			found = strcpy(uidl, uidls[i]);
	}
	maildrop_close(&m);
	return found;
}

static void remove_content(struct fixture *f, const char *content)
{
	struct maildrop *m = fixture_open(f, "alice");
	for (uint32_t i = 0; i < maildrop_count(m); i++) {
		int rc;
		const char *text = fixture_fetch(m, i, &rc);
		if (text == NULL || strcmp(text, content) != 0)
			continue;
		uint8_t marks[8] = {0};
		uint32_t left;
		marks[i / 8] = (uint8_t)(1 << (i % 8));
		assert_int_equal(maildrop_expunge(m, marks, i / 8 + 1, &left), MAILDROP_OK);
		break;
	}
	maildrop_close(&m);
}

static void lose_index(struct fixture *f)
{
	char path[128];
	store_close(&f->store);
	snprintf(path, sizeof(path), "%s/index", f->dir);
	fixture_remove(path);
	assert_int_equal(mkdir(path, 0700), 0);
	fixture_reopen(f, 0);
}

/* As a copy to another host would: other inodes, other times, no index. */
static void move_host(struct fixture *f)
{
	char command[512];
	snprintf(command, sizeof(command),
	    "cd %s/root/alice && cp -r Maildir copy && find Maildir -type f -exec touch {} + && rm -r "
	    "Maildir && mv copy "
	    "Maildir",
	    f->dir);
	assert_int_equal(system(command), 0);
	lose_index(f);
}

static void test_copy(void **state)
{
	struct fixture *f = *state;
	char first[128], second[128];
	fixture_write(f, NEW("1.a"), "one\n");
	strcpy(first, uidl_of(f, "one\n"));
	assert_string_equal(first, "1.a");
	fixture_write(f, CUR("1.a:2,S"), "two\n");
	strcpy(second, uidl_of(f, "two\n"));
	assert_string_equal(uidl_of(f, "one\n"), "1.a");
	assert_string_not_equal(second, "1.a");
	move_host(f);
	assert_string_equal(uidl_of(f, "one\n"), "1.a");
	assert_string_equal(uidl_of(f, "two\n"), second);
	/* The survivor does not become the other one. */
	remove_content(f, "one\n");
	assert_string_equal(uidl_of(f, "two\n"), second);
	move_host(f);
	assert_string_equal(uidl_of(f, "two\n"), second);
	/* And who comes back from a backup is who he was. */
	fixture_write(f, CUR("1.a:2,RS"), "one\n");
	assert_string_equal(uidl_of(f, "one\n"), "1.a");
	assert_string_equal(uidl_of(f, "two\n"), second);
}

/* Nobody can tell them apart but by their names; still each has one UIDL, and the dead one's is not given
 * again. */
static void test_same_content(void **state)
{
	struct fixture *f = *state;
	char survivor[128];
	fixture_write(f, NEW("1.a"), "same\n");
	fixture_write(f, CUR("1.a:2,S"), "same\n");
	fixture_write(f, CUR("1.a:2,RS"), "same\n");
	assert_int_equal(look(f), 3);
	assert_string_not_equal(uidls[0], uidls[1]);
	assert_string_not_equal(uidls[1], uidls[2]);
	assert_string_not_equal(uidls[0], uidls[2]);
	struct maildrop *m = fixture_open(f, "alice");
	uint32_t left;
	assert_int_equal(maildrop_expunge(m, (const uint8_t[]){3}, 1, &left), MAILDROP_OK);
	maildrop_close(&m);
	strcpy(survivor, uidls[2]);
	assert_int_equal(look(f), 1);
	assert_string_equal(uidls[0], survivor);
	move_host(f);
	assert_int_equal(look(f), 1);
	assert_string_equal(uidls[0], survivor);
}

static void test_removed_by_others(void **state)
{
	struct fixture *f = *state;
	char second[128];
	fixture_write(f, NEW("1.a"), "one\n");
	fixture_write(f, CUR("1.a:2,S"), "two\n");
	look(f);
	strcpy(second, uidl_of(f, "two\n"));
	assert_int_equal(unlinkat(f->root, NEW("1.a"), 0), 0);
	/* Not even seen. */
	move_host(f);
	assert_string_equal(uidl_of(f, "two\n"), second);
}

static void replace(struct fixture *f, const char *name, const char *content)
{
	fixture_write(f, "alice/fresh", content);
	assert_int_equal(renameat(f->root, "alice/fresh", f->root, name), 0);
}

static void test_replaced(void **state)
{
	struct fixture *f = *state;
	char second[128];
	fixture_write(f, NEW("1.a"), "one\n");
	fixture_write(f, NEW("2.b"), "other\n");
	look(f);
	uint32_t uid = uids[0];
	/* The same message in another file. */
	replace(f, NEW("1.a"), "one\n");
	assert_int_equal(look(f), 2);
	assert_string_equal(uidls[0], "1.a");
	assert_int_equal(uids[0], uid);
	assert_false(fixture_exists(f, LINES));
	/* Another one. */
	replace(f, NEW("1.a"), "two\n");
	strcpy(second, uidl_of(f, "two\n"));
	assert_string_not_equal(second, "1.a");
	assert_int_equal(uids[0], uid + 1);
	move_host(f);
	assert_string_equal(uidl_of(f, "two\n"), second);
}

/* ---- adoption ---- */

static int adopt(struct fixture *f, const struct maildrop_adoption *entries, uint32_t count, uint32_t *bad_r)
{
	struct maildrop *m = fixture_open(f, "alice");
	int rc = maildrop_adopt(m, entries, count, bad_r);
	maildrop_close(&m);
	return rc;
}

#define ADOPT(...)                                                                                      \
	adopt(f, (const struct maildrop_adoption[]){__VA_ARGS__},                                       \
	    sizeof((const struct maildrop_adoption[]){__VA_ARGS__}) / sizeof(struct maildrop_adoption), \
	    &bad)

static void three(struct fixture *f)
{
	fixture_write(f, NEW("1.a"), "a\n");
	fixture_write(f, NEW("2.b"), "b\n");
	fixture_write(f, NEW("3.c"), "c\n");
}

static void test_adopt(void **state)
{
	struct fixture *f = *state;
	uint32_t bad;
	three(f);
	assert_string_equal(fixture_listing(f, "alice"), "3 1.a\n3 2.b\n3 3.c\n");
	assert_int_equal(ADOPT({2, "old-3"}, {1, "1.a-was"}), MAILDROP_OK);
	const char *want = "3 old-3\n3 1.a-was\n3 1.a\n";
	for (int i = 0; i < 3; i++) {
		assert_string_equal(fixture_listing(f, "alice"), want);
		if (i == 1)
			assert_int_equal(renameat(f->root, NEW("3.c"), f->root, CUR("3.c:2,S")), 0);
		if (i == 1)
			lose_index(f);
		else
			move_host(f);
	}
	/* Again, and one more: the old ones keep their places. */
	assert_int_equal(ADOPT({2, "third"}, {0, "old-3"}), MAILDROP_OK);
	assert_string_equal(fixture_listing(f, "alice"), "3 old-3\n3 1.a-was\n3 third\n");
	/* Another one for the same message. */
	assert_int_equal(ADOPT({0, "newer-3"}), MAILDROP_OK);
	assert_string_equal(fixture_listing(f, "alice"), "3 1.a-was\n3 third\n3 newer-3\n");
	move_host(f);
	assert_string_equal(fixture_listing(f, "alice"), "3 1.a-was\n3 third\n3 newer-3\n");
	/* New mail comes behind. */
	fixture_write(f, NEW("0.z"), "z\n");
	assert_string_equal(fixture_listing(f, "alice"), "3 1.a-was\n3 third\n3 newer-3\n3 0.z\n");
}

static void test_adopt_refused(void **state)
{
	struct fixture *f = *state;
	uint32_t bad;
	char longest[72];
	three(f);
	memset(longest, 'x', 71);
	longest[71] = 0;
	assert_int_equal(ADOPT({0, "x"}, {3, "y"}), MAILDROP_RANGE);
	assert_int_equal(bad, 1);
	assert_int_equal(ADOPT({0, "x"}, {0, "y"}), MAILDROP_RANGE);
	assert_int_equal(ADOPT({0, ""}), MAILDROP_UIDL);
	assert_int_equal(ADOPT({0, "a b"}), MAILDROP_UIDL);
	assert_int_equal(ADOPT({0, "\xe4"}), MAILDROP_UIDL);
	assert_int_equal(ADOPT({0, longest}), MAILDROP_UIDL);
	assert_int_equal(ADOPT({0, "ok"}, {1, "x"}, {2, "x"}), MAILDROP_UIDL);
	assert_in_range(bad, 1, 2);
	/* Another message has it. */
	assert_int_equal(ADOPT({0, "2.b"}), MAILDROP_UIDL);
	assert_int_equal(bad, 0);
	assert_false(fixture_exists(f, LINES));
	/* Unless it is given another. */
	assert_int_equal(ADOPT({0, "2.b"}, {1, longest + 1}), MAILDROP_OK);
	char want[128];
	snprintf(want, sizeof(want), "3 2.b\n3 %s\n3 3.c\n", longest + 1);
	assert_string_equal(fixture_listing(f, "alice"), want);
	/* Another message had it. */
	assert_int_equal(unlinkat(f->root, NEW("1.a"), 0), 0);
	assert_int_equal(ADOPT({1, "2.b"}), MAILDROP_UIDL);
	/* One without mail. */
	struct maildrop *m = fixture_open(f, "bob");
	assert_int_equal(maildrop_adopt(m, NULL, 0, &bad), MAILDROP_PERM);
	maildrop_close(&m);
}

/* A name that is the UIDL of another message, now or ever. */
static void test_adopted_is_taken(void **state)
{
	struct fixture *f = *state;
	uint32_t bad;
	char uidl[128];
	three(f);
	assert_int_equal(ADOPT({0, "4.d"}), MAILDROP_OK);
	fixture_write(f, NEW("4.d"), "d\n");
	strcpy(uidl, uidl_of(f, "d\n"));
	assert_string_not_equal(uidl, "4.d");
	assert_string_equal(uidl_of(f, "a\n"), "4.d");
	assert_int_equal(unlinkat(f->root, NEW("1.a"), 0), 0);
	move_host(f);
	assert_string_equal(uidl_of(f, "d\n"), uidl);
}

/* Adopted ones that share a name. */
static void test_adopt_shared(void **state)
{
	struct fixture *f = *state;
	uint32_t bad;
	fixture_write(f, NEW("1.a"), "one\n");
	fixture_write(f, CUR("1.a:2,S"), "two\n");
	look(f);
	assert_int_equal(ADOPT({0, "x"}, {1, "y"}), MAILDROP_OK);
	char x[8], y[8];
	strcpy(x, uidl_of(f, "one\n"));
	strcpy(y, uidl_of(f, "two\n"));
	assert_true(
	    (strcmp(x, "x") == 0 && strcmp(y, "y") == 0) || (strcmp(x, "y") == 0 && strcmp(y, "x") == 0));
	remove_content(f, "one\n");
	move_host(f);
	assert_string_equal(uidl_of(f, "two\n"), y);
	/* A copy of an adopted one, later. */
	fixture_write(f, NEW("5.e"), "five\n");
	look(f);
	assert_int_equal(ADOPT({1, "five"}), MAILDROP_OK);
	look(f);
	fixture_write(f, CUR("5.e:2,"), "copy\n");
	assert_string_equal(uidl_of(f, "five\n"), "five");
	char copy[128];
	strcpy(copy, uidl_of(f, "copy\n"));
	move_host(f);
	assert_string_equal(uidl_of(f, "five\n"), "five");
	assert_string_equal(uidl_of(f, "copy\n"), copy);
}

/* ---- the file ---- */

static void cut(struct fixture *f, off_t by)
{
	struct stat st;
	char path[128];
	snprintf(path, sizeof(path), "%s/root/" LINES, f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - by), 0);
}

/* The last line is cut, and another one comes behind it. */
static void test_cut(void **state)
{
	struct fixture *f = *state;
	uint32_t bad;
	three(f);
	assert_int_equal(ADOPT({0, "x"}, {1, "y"}), MAILDROP_OK);
	cut(f, 3);
	f->notes[0] = 0;
	assert_string_equal(fixture_listing(f, "alice"), "3 x\n3 2.b\n3 3.c\n");
	assert_non_null(strstr(f->notes, "kpopd.uidl: some of it is damaged, and passed over"));
	assert_int_equal(ADOPT({1, "y"}), MAILDROP_OK);
	assert_string_equal(fixture_listing(f, "alice"), "3 x\n3 y\n3 3.c\n");
}

static void append(struct fixture *f, const void *octets, size_t len)
{
	int fd = openat(f->root, LINES, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, octets, len), (ssize_t)len);
	close(fd);
}

static void test_garbage(void **state)
{
	struct fixture *f = *state;
	uint32_t bad;
	three(f);
	char *garbage = malloc(200000);
	srand(4711);
	for (int i = 0; i < 200000; i++)
		garbage[i] = (char)(i < 100000 ? rand() % 256 : 'x');
	append(f, garbage, 200000);
	assert_string_equal(fixture_listing(f, "alice"), "3 1.a\n3 2.b\n3 3.c\n");
	assert_int_equal(ADOPT({0, "x"}), MAILDROP_OK);
	append(f, garbage, 200000);
	lose_index(f);
	assert_string_equal(fixture_listing(f, "alice"), "3 x\n3 2.b\n3 3.c\n");
	free(garbage);
}

/* Somebody gives two messages one UIDL: the first one has it. */
static void test_forged(void **state)
{
	struct fixture *f = *state;
	char text[UIDLS_LINE_OCTETS];
	three(f);
	for (int i = 0; i < 3; i++) {
		char name[4] = {(char)('1' + i), '.', (char)('a' + i), 0};
		struct uidls_line line =
		    whole_line(&(struct uidls_line){.kind = UIDLS_ADOPTED, .uidl = "3.c", .name = name});
		append(f, text, uidls_line_format(&line, text));
		append(f, text, uidls_line_format(&line, text));
	}
	look(f);
	assert_string_equal(uidls[0], "3.c");
	assert_string_equal(uidls[1], "2.b");
	assert_ptr_equal(strstr(uidls[2], "sha256:"), uidls[2]);
}

static void make_link(struct fixture *f)
{
	fixture_write(f, "alice/target", "kpopd.uidl 1\n");
	assert_int_equal(symlinkat("../target", f->root, LINES), 0);
}

static void make_fifo(struct fixture *f)
{
	assert_int_equal(mkfifoat(f->root, LINES, 0600), 0);
}

static void make_dir(struct fixture *f)
{
	assert_int_equal(mkdirat(f->root, LINES, 0700), 0);
}

static void (*const odd_files[])(struct fixture *f) = {make_link, make_fifo, make_dir};

static void test_odd_file(void **state)
{
	struct fixture *f = *state;
	uint32_t bad;
	alarm(20);
	three(f);
	fixture_write(f, CUR("1.a:2,S"), "copy\n");
	for (size_t i = 0; i < sizeof(odd_files) / sizeof(*odd_files); i++) {
		odd_files[i](f);
		lose_index(f);
		f->notes[0] = 0;
		assert_int_equal(look(f), 4);
		assert_non_null(strstr(f->notes, "kpopd.uidl: cannot be read"));
		assert_int_equal(ADOPT({0, "x"}), MAILDROP_PERM);
		assert_int_equal(unlinkat(f->root, LINES, i == 2 ? AT_REMOVEDIR : 0), 0);
	}
	if (fixture_exists(f, "alice/target"))
		assert_int_equal(unlinkat(f->root, "alice/target", 0), 0);
	alarm(0);
}

/* Nothing can be written there: everybody has a UIDL all the same, and the same one every time. */
static void test_full_disk(void **state)
{
	struct fixture *f = *state;
	uint32_t bad;
	char copy[128];
	fixture_write(f, NEW("1.a"), "one\n");
	fixture_write(f, CUR("1.a:2,S"), "two\n");
	faults.write_errno = ENOSPC;
	strcpy(copy, uidl_of(f, "two\n"));
	assert_non_null(strstr(f->notes, "kpopd.uidl: cannot be written: No space left"));
	lose_index(f);
	assert_string_equal(uidl_of(f, "two\n"), copy);
	assert_int_equal(ADOPT({0, "x"}), MAILDROP_PERM);
	faults.write_errno = 0;
	assert_string_equal(uidl_of(f, "two\n"), copy);
}

/* ---- numbers ---- */

static void copy_index(struct fixture *f, const char *from, const char *to)
{
	char command[512];
	store_close(&f->store);
	snprintf(command, sizeof(command), "rm -rf %s/%s && cp -a %s/%s %s/%s", f->dir, to, f->dir, from,
	    f->dir, to);
	assert_int_equal(system(command), 0);
	fixture_reopen(f, 0);
}

/* An index of yesterday would number today's mail as it was numbered before. */
static void test_index_from_backup(void **state)
{
	struct fixture *f = *state;
	three(f);
	assert_int_equal(look(f), 3);
	copy_index(f, "index", "backup");
	fixture_write(f, NEW("4.d"), "d\n");
	look(f);
	uint32_t last = uids[3];
	assert_string_equal(names[3], "4.d");
	assert_int_equal(unlinkat(f->root, NEW("4.d"), 0), 0);
	copy_index(f, "backup", "index");
	fixture_write(f, NEW("5.e"), "e\n");
	assert_int_equal(look(f), 4);
	assert_true(uids[3] > last);
	assert_string_equal(uidls[3], "5.e");
	/* From before the index was lost, where nobody knows how far it had come. */
	copy_index(f, "index", "backup");
	lose_index(f);
	fixture_write(f, NEW("6.f"), "f\n");
	assert_int_equal(look(f), 5);
	copy_index(f, "backup", "index");
	fixture_write(f, NEW("7.g"), "g\n");
	assert_int_equal(look(f), 6);
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(uids[i], i + 1);
	assert_string_equal(uidls[5], "7.g");
}

#define INDEXED(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)
#define UNINDEXED(test)                                                                  \
	{                                                                                \
#test " without an index", test, setup_unindexed, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_longest_line),
	    INDEXED(test_copy),
	    INDEXED(test_same_content),
	    INDEXED(test_removed_by_others),
	    INDEXED(test_replaced),
	    INDEXED(test_adopt),
	    INDEXED(test_adopt_refused),
	    UNINDEXED(test_adopt_refused),
	    INDEXED(test_adopted_is_taken),
	    UNINDEXED(test_adopted_is_taken),
	    INDEXED(test_adopt_shared),
	    INDEXED(test_cut),
	    INDEXED(test_garbage),
	    INDEXED(test_forged),
	    UNINDEXED(test_forged),
	    INDEXED(test_odd_file),
	    INDEXED(test_full_disk),
	    INDEXED(test_index_from_backup),
	};
	return cmocka_run_group_tests_name("uidls", tests, NULL, NULL);
}
