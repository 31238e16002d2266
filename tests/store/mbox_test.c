/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/usage.h"
#include "tests/store/faults.h"
#include "tests/store/mbox_world.h"

static const char user[] = "john";

/* ---- what is there ---- */

struct content_row {
	const char *sentence, *mbox;
	const char *want[3]; /* the messages */
};

static const struct content_row content_rows[] = {
    {"three", MESSAGE_A MESSAGE_B MESSAGE_C,
	{"Subject: a\n\none\n.two\n", "Subject: b\n\n>From me\nto you\n", "Subject: c\n\nend\n"}},
    {"none", "", {NULL}},
    {"no line end", FROM_A "Subject: a\n\nend", {"Subject: a\n\nend"}},
    {"two of nothing", FROM_A "\n" FROM_B "\n", {"", ""}},
    {"NUL, lone CR and dots", FROM_A "Subject: a\n\n.\r.\r\r\n..\n\n", {"Subject: a\n\n.\r.\r\r\n..\n"}},
    {"a note of a mail reader to itself",
	"From MAILER-DAEMON Thu Jan  1 00:00:01 1970\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL "
	"DATA\n"
	"X-IMAP: 1 2\n\nnote\n\n" MESSAGE_A,
	{"Subject: a\n\none\n.two\n"}},
    {"no mbox at all", "hello\n\nworld\n", {NULL}},
};

static void shows_messages(void **state)
{
	struct fixture *fixture = *state;
	for (size_t i = 0; i < sizeof(content_rows) / sizeof(content_rows[0]); i++) {
		const struct content_row *row = &content_rows[i];
		char name[16];
		snprintf(name, sizeof(name), "user%zu", i);
		fixture_write(fixture, name, row->mbox);
		struct maildrop *maildrop = mbox_world_open(fixture, name);
		uint32_t count = 0;
		while (count < 3 && row->want[count] != NULL)
			count++;
		if (maildrop_count(maildrop) != count)
			fail_msg("%s: %u messages", row->sentence, maildrop_count(maildrop));
		for (uint32_t idx = 0; idx < count; idx++) {
			int rc;
			const char *got = fixture_fetch(maildrop, idx, &rc);
			if (rc != MAILDROP_OK || strcmp(got, row->want[idx]) != 0)
				fail_msg("%s: %d, %s", row->sentence, rc, got == NULL ? "nothing" : got);
		}
		maildrop_close(&maildrop);
		assert_string_equal(mbox_world_file(fixture, name), row->mbox);
	}
}

static void counts_what_is_sent(void **state)
{
	struct fixture *fixture = *state;
	fixture_write(
	    fixture, user, FROM_A "S: a\n\none\n\n" FROM_B "S: b\r\n\r\ntwo\r\n\r\n" FROM_C "S: c\n\nthree");
	const char *list = mbox_world_listing(fixture, user);
	unsigned octets[3];
	assert_int_equal(sscanf(list, "%u %*s %u %*s %u", &octets[0], &octets[1], &octets[2]), 3);
	assert_int_equal(octets[0], 13);
	assert_int_equal(octets[1], 13);
	assert_int_equal(octets[2], 15);
}

#define RANDOM_COUNT 200u
#define RANDOM_OCTETS 4000u

static uint32_t random_next(void)
{
	static uint64_t seed = 42;
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33);
}

/* Any octets, of which most mean something to somebody. What is fetched is what was put there. */
static void gives_back_any_octets(void **state)
{
	struct fixture *fixture = *state;
	static const char letters[] = "\n\n\n\r\r..> From:\0x\377";
	static char contents[RANDOM_COUNT][RANDOM_OCTETS + 16];
	size_t lens[RANDOM_COUNT];
	int fd = openat(fixture->root, user, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (uint32_t i = 0; i < RANDOM_COUNT; i++) {
		size_t len = (size_t)snprintf(contents[i], 16, "N: %u\n", i);
		for (size_t more = random_next() % RANDOM_OCTETS; more > 0; more--)
			contents[i][len++] = letters[random_next() % (sizeof(letters) - 1)];
		contents[i][len++] = '\n';
		lens[i] = len;
		assert_int_equal(write(fd, FROM_A, strlen(FROM_A)), (ssize_t)strlen(FROM_A));
		assert_int_equal(write(fd, contents[i], len), (ssize_t)len);
		assert_int_equal(write(fd, "\n", 1), 1);
	}
	close(fd);
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	assert_int_equal(maildrop_count(maildrop), RANDOM_COUNT);
	for (uint32_t i = 0; i < RANDOM_COUNT; i++) {
		int rc;
		const char *got = fixture_fetch(maildrop, i, &rc);
		assert_int_equal(rc, MAILDROP_OK);
		assert_memory_equal(got, contents[i], lens[i]);
	}
	maildrop_close(&maildrop);
}

static void counts_for_quotas(void **state)
{
	struct fixture *fixture = *state;
	fixture_write(fixture, user, FROM_A "S: a\n\none\n\n" FROM_B "\n" FROM_C "S: c\n\nthree");
	struct maildrop_place place = mbox_place(user);
	struct maildrop_usage usage;
	for (int known = 0; known < 2; known++) {
		assert_int_equal(maildrop_usage(fixture->store, &place, &usage), MAILDROP_OK);
		assert_int_equal(usage.messages, 3);
		assert_int_equal(usage.octets, 10 + 11);
		mbox_world_listing(fixture, user);
	}
}

static void has_none_where_there_is_no_file(void **state)
{
	struct fixture *fixture = *state;
	struct maildrop *maildrop = mbox_world_open(fixture, "nobody");
	assert_int_equal(maildrop_count(maildrop), 0);
	maildrop_close(&maildrop);
	assert_false(fixture_exists(fixture, "nobody"));
}

static void copies_large_messages_into_a_file(void **state)
{
	struct fixture *fixture = *state;
	const size_t len = 17u << 20;
	char *text = malloc(len);
	assert_non_null(text);
	memset(text, 'x', len);
	mbox_world_append(fixture, user, FROM_A "Subject: large\n\n");
	int fd = openat(fixture->root, user, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	close(fd);
	mbox_world_append(fixture, user, "\n\n" MESSAGE_B);
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	struct maildrop_message message;
	assert_int_equal(maildrop_fetch(maildrop, 0, &message), MAILDROP_OK);
	assert_int_equal(message.length, len + 17);
	assert_int_equal(fcntl(message.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	memset(text, 0, len);
	assert_int_equal(pread(message.fd, text, len, 16), (ssize_t)len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(text[i], 'x');
	close(message.fd);
	maildrop_close(&maildrop);
	free(text);
}

/* ---- identity ---- */

static void keeps_uidls(void **state)
{
	struct fixture *fixture = *state;
	fixture_write(fixture, user, MESSAGE_A MESSAGE_B);
	char *before = strdup(mbox_world_listing(fixture, user));
	mbox_world_lose_index(fixture);
	assert_string_equal(mbox_world_listing(fixture, user), before);
	free(before);
}

struct rewrite_row {
	const char *sentence, *after;
	bool same;
};

static const struct rewrite_row rewrite_rows[] = {
    {"Status", FROM_A "Status: RO\nSubject: a\n\none\n.two\n\n", true},
    {"all that mutt writes",
	FROM_A
	"Subject: a\nStatus: RO\nX-Status: A\nContent-Length: 9\nLines: 2\nX-Label: x\n\none\n.two\n\n",
	true},
    {"all that IMAP servers write",
	FROM_A "Subject: a\nX-IMAPbase: 1 2 a b\n   \nX-UID: 3\nX-Keywords:          \n\none\n.two\n\n",
	true},
    {"an empty line more at the end", FROM_A "Subject: a\n\none\n.two\n\n\n", true},
    {"no line end", FROM_A "Subject: a\n\none\n.two", true},
    {"another subject", FROM_A "Subject: b\n\none\n.two\n\n", false},
    {"another sender", FROM_B "Subject: a\n\none\n.two\n\n", false},
    {"another text", FROM_A "Subject: a\n\none\n\n.two\n\n", false},
};

static void knows_rewritten_messages(void **state)
{
	struct fixture *fixture = *state;
	for (size_t i = 0; i < sizeof(rewrite_rows) / sizeof(rewrite_rows[0]); i++) {
		fixture_write(fixture, user, MESSAGE_A);
		struct maildrop *maildrop = mbox_world_open(fixture, user);
		const char *before = mbox_world_uidl(maildrop, 0);
		maildrop_close(&maildrop);
		fixture_write(fixture, user, rewrite_rows[i].after);
		maildrop = mbox_world_open(fixture, user);
		if ((strcmp(before, mbox_world_uidl(maildrop, 0)) == 0) != rewrite_rows[i].same)
			fail_msg("%s: %s", rewrite_rows[i].sentence,
			    rewrite_rows[i].same ? "another UIDL" : "the same UIDL");
		/* What is announced is what is sent, also of a message that was known. */
		int rc;
		const char *got = fixture_fetch(maildrop, 0, &rc);
		assert_int_equal(rc, MAILDROP_OK);
		assert_memory_equal(got, strchr(rewrite_rows[i].after, '\n') + 1, strlen(got));
		maildrop_close(&maildrop);
	}
}

/* Three that are the same: whichever is removed, the others keep their UIDLs, with the index or without. */
static void tells_copies_apart(void **state)
{
	struct fixture *fixture = *state;
	for (unsigned gone = 0; gone < 3; gone++) {
		for (int lose = 0; lose < 2; lose++) {
			char name[32];
			snprintf(name, sizeof(name), "user%u%d", gone, lose);
			fixture_write(fixture, name, MESSAGE_A MESSAGE_A MESSAGE_B MESSAGE_A);
			struct maildrop *maildrop = mbox_world_open(fixture, name);
			static const uint32_t copies[] = {0, 1, 3};
			const char *uidls[3];
			for (int i = 0; i < 3; i++)
				uidls[i] = mbox_world_uidl(maildrop, copies[i]);
			assert_string_not_equal(uidls[0], uidls[1]);
			assert_string_not_equal(uidls[0], uidls[2]);
			assert_string_not_equal(uidls[1], uidls[2]);
			char which[2] = {(char)('0' + copies[gone]), 0};
			assert_int_equal(mbox_world_expunge(maildrop, which), MAILDROP_OK);
			maildrop_close(&maildrop);
			if (lose)
				mbox_world_lose_index(fixture);
			/* And one more, which is a fourth, whatever was removed. */
			mbox_world_append(fixture, name, MESSAGE_A);
			const char *list = mbox_world_listing(fixture, name);
			for (unsigned i = 0; i < 3; i++) {
				char line[80];
				snprintf(line, sizeof(line), " %s\n", uidls[i]);
				if ((strstr(list, line) != NULL) != (i != gone))
					fail_msg("%u removed: %s is %s\n%s", gone, uidls[i],
					    i == gone ? "there" : "not there", list);
			}
			assert_non_null(strstr(list, ".4\n"));
		}
	}
}

/* As when somebody moves in from another server that had the same file. */
static void adopts_uidls(void **state)
{
	struct fixture *fixture = *state;
	fixture_write(fixture, user, MESSAGE_A MESSAGE_B MESSAGE_B MESSAGE_C);
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	const char *first = mbox_world_uidl(maildrop, 0);
	const struct maildrop_adoption adoptions[] = {{.idx = 3, .uidl = "three"}, {.idx = 2, .uidl = "two"}};
	assert_int_equal(maildrop_adopt(maildrop, adoptions, 2, NULL), MAILDROP_OK);
	maildrop_close(&maildrop);
	fixture_write(fixture, user,
	    MESSAGE_A MESSAGE_B FROM_B "Status: RO\nSubject: b\n\n>From me\nto you\n\n" MESSAGE_C);
	mbox_world_lose_index(fixture);
	maildrop = mbox_world_open(fixture, user);
	assert_string_equal(mbox_world_uidl(maildrop, 0), "three");
	assert_string_equal(mbox_world_uidl(maildrop, 1), "two");
	assert_string_equal(mbox_world_uidl(maildrop, 2), first);
	assert_int_equal(mbox_world_expunge(maildrop, "1"), MAILDROP_OK);
	maildrop_close(&maildrop);
	assert_string_equal(mbox_world_file(fixture, user), MESSAGE_A MESSAGE_B MESSAGE_C);
}

static void gives_no_uidl_again_within_a_second(void **state)
{
	struct fixture *fixture = *state;
	char mbox[256];
	char from[80];
	/* As a deliverer in any time zone would write it. */
	for (int zone = 0; zone < 3; zone++) {
		char name[16];
		struct tm tm;
		time_t now = time(NULL) + faults.clock_secs + zone * 19800;
		snprintf(name, sizeof(name), "user%d", zone);
		strftime(from, sizeof(from), "From a@x %a %b %e %H:%M:%S %Y", gmtime_r(&now, &tm));
		snprintf(mbox, sizeof(mbox), "%s\nSubject: a\n\nsame\n\n", from);
		fixture_write(fixture, name, mbox);
		struct maildrop *maildrop = mbox_world_open(fixture, name);
		const char *first = mbox_world_uidl(maildrop, 0);
		assert_int_equal(mbox_world_expunge(maildrop, "0"), MAILDROP_OK);
		maildrop_close(&maildrop);
		mbox_world_append(fixture, name, mbox);
		mbox_world_lose_index(fixture);
		maildrop = mbox_world_open(fixture, name);
		assert_string_not_equal(first, mbox_world_uidl(maildrop, 0));
		maildrop_close(&maildrop);
	}
}

/* ---- sessions ---- */

static void stays_as_it_was_when_mail_comes_in(void **state)
{
	struct fixture *fixture = *state;
	int rc;
	fixture_write(fixture, user, MESSAGE_A MESSAGE_B);
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	mbox_world_append(fixture, user, MESSAGE_C);
	assert_int_equal(maildrop_count(maildrop), 2);
	assert_string_equal(fixture_fetch(maildrop, 1, &rc), "Subject: b\n\n>From me\nto you\n");
	assert_int_equal(mbox_world_expunge(maildrop, "0"), MAILDROP_OK);
	maildrop_close(&maildrop);
	assert_string_equal(mbox_world_file(fixture, user), MESSAGE_B MESSAGE_C);
}

static void finds_messages_that_have_moved(void **state)
{
	struct fixture *fixture = *state;
	int rc;
	fixture_write(fixture, user, MESSAGE_A MESSAGE_B MESSAGE_C);
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	fixture_write(fixture, user, MESSAGE_C FROM_A "Status: RO\nSubject: a\n\none\n.two\n\n");
	assert_string_equal(fixture_fetch(maildrop, 2, &rc), "Subject: c\n\nend\n");
	/* Never another length than was announced. */
	assert_null(fixture_fetch(maildrop, 0, &rc));
	assert_int_equal(rc, MAILDROP_TEMP);
	assert_null(fixture_fetch(maildrop, 1, &rc));
	assert_int_equal(rc, MAILDROP_GONE);
	assert_int_equal(mbox_world_expunge(maildrop, "01"), MAILDROP_OK);
	maildrop_close(&maildrop);
	assert_string_equal(mbox_world_file(fixture, user), MESSAGE_C);
}

static void outlives_a_file_that_vanishes(void **state)
{
	struct fixture *fixture = *state;
	int rc;
	fixture_write(fixture, user, MESSAGE_A);
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	assert_int_equal(unlinkat(fixture->root, user, 0), 0);
	assert_null(fixture_fetch(maildrop, 0, &rc));
	assert_int_equal(rc, MAILDROP_GONE);
	assert_int_equal(mbox_world_expunge(maildrop, "0"), MAILDROP_OK);
	maildrop_close(&maildrop);
}

static void keeps_a_second_session_out(void **state)
{
	struct fixture *fixture = *state;
	fixture_write(fixture, user, MESSAGE_A);
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	struct maildrop_place place = mbox_place(user);
	struct maildrop *second;
	assert_int_equal(maildrop_open(fixture->store, &place, &second), MAILDROP_IN_USE);
	maildrop_close(&maildrop);
}

/* ---- removal ---- */

struct expunge_row {
	const char *which, *after;
};

static const struct expunge_row expunge_rows[] = {
    {"", MESSAGE_A MESSAGE_B MESSAGE_C},
    {"0", MESSAGE_B MESSAGE_C},
    {"1", MESSAGE_A MESSAGE_C},
    {"2", MESSAGE_A MESSAGE_B},
    {"01", MESSAGE_C},
    {"02", MESSAGE_B},
    {"12", MESSAGE_A},
    {"012", ""},
};

static void removes_what_is_marked(void **state)
{
	struct fixture *fixture = *state;
	for (size_t i = 0; i < sizeof(expunge_rows) / sizeof(expunge_rows[0]); i++) {
		char name[16];
		snprintf(name, sizeof(name), "user%zu", i);
		fixture_write(fixture, name, MESSAGE_A MESSAGE_B MESSAGE_C);
		assert_int_equal(fchmodat(fixture->root, name, 0660, 0), 0);
		struct maildrop *maildrop = mbox_world_open(fixture, name);
		char *before = strdup(fixture_list(maildrop));
		assert_int_equal(mbox_world_expunge(maildrop, expunge_rows[i].which), MAILDROP_OK);
		maildrop_close(&maildrop);
		assert_string_equal(mbox_world_file(fixture, name), expunge_rows[i].after);
		struct stat st;
		assert_int_equal(fstatat(fixture->root, name, &st, 0), 0);
		assert_int_equal(st.st_mode & 07777, 0660);
		/* What is left has the names it had. */
		const char *after = mbox_world_listing(fixture, name);
		for (const char *line = after; *line != 0; line = strchr(line, '\n') + 1) {
			char copy[128];
			snprintf(copy, sizeof(copy), "%.*s", (int)(strchr(line, '\n') + 1 - line), line);
			assert_non_null(strstr(before, copy));
		}
		free(before);
	}
	assert_false(fixture_exists(fixture, "../homes/user1/kpopd.journal"));
	assert_false(fixture_exists(fixture, "../homes/user1/kpopd.journal.new"));
}

static void leaves_notes_of_mail_readers(void **state)
{
	struct fixture *fixture = *state;
#define NOTE                                                                                         \
	"From MAILER-DAEMON Thu Jan  1 00:00:01 1970\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER " \
	"INTERNAL DATA\n"                                                                            \
	"X-IMAP: 1 2\n\nnote\n\n"
	fixture_write(fixture, user, NOTE MESSAGE_A MESSAGE_B);
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	assert_int_equal(mbox_world_expunge(maildrop, "01"), MAILDROP_OK);
	maildrop_close(&maildrop);
	assert_string_equal(mbox_world_file(fixture, user), NOTE);
}

/* ---- what is no mbox of the user's ---- */

static int open_error(struct fixture *fixture, const char *name)
{
	struct maildrop_place place = mbox_place(name);
	struct maildrop *maildrop;
	int rc = maildrop_open(fixture->store, &place, &maildrop);
	maildrop_close(&maildrop);
	return rc;
}

static void refuses_what_is_no_file_of_ours(void **state)
{
	struct fixture *fixture = *state;
	fixture_write(fixture, "other", MESSAGE_A);
	assert_int_equal(symlinkat("other", fixture->root, "link"), 0);
	assert_int_equal(symlinkat("/etc/passwd", fixture->root, "passwd"), 0);
	assert_int_equal(linkat(fixture->root, "other", fixture->root, "second", 0), 0);
	assert_int_equal(mkfifoat(fixture->root, "fifo", 0600), 0);
	fixture_mkdir(fixture, "dir");
	static const char *const names[] = {"link", "passwd", "second", "fifo", "dir"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (open_error(fixture, names[i]) != MAILDROP_PERM)
			fail_msg("%s was opened", names[i]);
		struct delivery *delivery;
		struct maildrop_place place = mbox_place(names[i]);
		assert_int_equal(delivery_begin(fixture->store, &place, &delivery), MAILDROP_PERM);
	}
	fixture_write(fixture, "john.lock", MESSAGE_A);
	assert_int_equal(open_error(fixture, "john.lock"), MAILDROP_PERM);
	if (geteuid() == 0) {
		fixture_write(fixture, "foreign", MESSAGE_A);
		assert_int_equal(fchownat(fixture->root, "foreign", 12345, 0, 0), 0);
		assert_int_equal(open_error(fixture, "foreign"), MAILDROP_PERM);
	}
}

/* ---- delivery ---- */

static int deliver(struct fixture *fixture, const char *text, size_t step)
{
	struct delivery *delivery;
	struct maildrop_place place = mbox_place(user);
	int rc = delivery_begin(fixture->store, &place, &delivery);
	if (rc != MAILDROP_OK)
		return rc;
	for (size_t len = strlen(text); len > 0 && rc == MAILDROP_OK;) {
		size_t some = len < step ? len : step;
		rc = delivery_write(delivery, text, some);
		text += some;
		len -= some;
	}
	if (rc == MAILDROP_OK)
		return delivery_commit(&delivery);
	delivery_abort(&delivery);
	return rc;
}

struct delivery_row {
	const char *sentence, *before, *message;
	const char *after; /* with %s for the date and the line end behind the sender */
};

static const struct delivery_row delivery_rows[] = {
    {"into nothing", NULL, "Return-Path: <me@example.org>\nSubject: a\n\nbody\n",
	"From me@example.org %sReturn-Path: <me@example.org>\nSubject: a\n\nbody\n\n"},
    {"behind another", MESSAGE_A, "Subject: a\n\nbody\n",
	MESSAGE_A "From MAILER-DAEMON %sSubject: a\n\nbody\n\n"},
    {"the null sender", NULL, "Return-Path: <>\nSubject: a\n\n",
	"From MAILER-DAEMON %sReturn-Path: <>\nSubject: a\n\n\n"},
    {"behind one that lacks its empty line", FROM_A "S: a\n\nb\n", "S: b\n\n",
	FROM_A "S: a\n\nb\n\nFrom MAILER-DAEMON %sS: b\n\n\n"},
    {"behind one that lacks its line end", FROM_A "S: a\n\nb", "S: b\n\n",
	FROM_A "S: a\n\nb\n\nFrom MAILER-DAEMON %sS: b\n\n\n"},
    {"without a line end", NULL, "S: b\n\nend", "From MAILER-DAEMON %sS: b\n\nend\n\n"},
    {"lines that would begin messages", NULL,
	"S: b\n\nFrom a\n>From b\n>>From c\nFrom\n>\n Fromage\n>Fromage\nFromFrom a\n>>",
	"From MAILER-DAEMON %sS: b\n\n>From a\n>>From b\n>>>From c\nFrom\n>\n Fromage\n>Fromage\nFromFrom "
	"a\n>>\n\n"},
};

static void delivers(void **state)
{
	struct fixture *fixture = *state;
	for (size_t i = 0; i < sizeof(delivery_rows) / sizeof(delivery_rows[0]); i++) {
		for (size_t step = 1; step < 1000; step = step * 3 + 1) {
			const struct delivery_row *row = &delivery_rows[i];
			char want[1024];
			char date[64];
			struct tm tm;
			if (row->before != NULL)
				fixture_write(fixture, user, row->before);
			else
				unlinkat(fixture->root, user, 0);
			faults.clock_still = 1000000000 - faults.clock_secs;
			assert_int_equal(deliver(fixture, row->message, step), MAILDROP_OK);
			faults.clock_still = 0;
			strftime(date, sizeof(date), "%a %b %e %H:%M:%S %Y\n",
			    gmtime_r(&(time_t){1000000000}, &tm));
			char *place = strstr(strcpy(want, row->after), "%s");
			snprintf(place, sizeof(want) - (size_t)(place - want), "%s%s", date,
			    strstr(row->after, "%s") + 2);
			if (strcmp(mbox_world_file(fixture, user), want) != 0)
				fail_msg(
				    "%s:\n%s\nnot\n%s", row->sentence, mbox_world_file(fixture, user), want);
		}
	}
}

static void takes_back_what_is_not_safe(void **state)
{
	struct fixture *fixture = *state;
	struct stat st;
	fixture_write(fixture, user, MESSAGE_A);
	faults.fsync_errno = EIO;
	faults.fsync_after = 0;
	assert_int_equal(deliver(fixture, "S: b\n\nbody\n", 100), MAILDROP_TEMP);
	faults.fsync_errno = 0;
	assert_string_equal(mbox_world_file(fixture, user), MESSAGE_A);
	assert_int_equal(unlinkat(fixture->root, user, 0), 0);
	assert_int_equal(deliver(fixture, "S: b\n\nbody\n", 100), MAILDROP_OK);
	assert_int_equal(fstatat(fixture->root, user, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void delivers_while_a_session_is_open(void **state)
{
	struct fixture *fixture = *state;
	fixture_write(fixture, user, MESSAGE_A);
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	assert_int_equal(deliver(fixture, "S: b\n\nbody\n", 100), MAILDROP_OK);
	assert_int_equal(mbox_world_expunge(maildrop, "0"), MAILDROP_OK);
	maildrop_close(&maildrop);
	maildrop = mbox_world_open(fixture, user);
	int rc;
	assert_int_equal(maildrop_count(maildrop), 1);
	assert_string_equal(fixture_fetch(maildrop, 0, &rc), "S: b\n\nbody\n");
	maildrop_close(&maildrop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define UNINDEXED(name)                                                                          \
	{                                                                                        \
#name " without an index", name, fixture_setup_unindexed, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(shows_messages),
	    UNINDEXED(shows_messages),
	    TEST(counts_what_is_sent),
	    TEST(gives_back_any_octets),
	    TEST(counts_for_quotas),
	    TEST(has_none_where_there_is_no_file),
	    TEST(copies_large_messages_into_a_file),
	    TEST(keeps_uidls),
	    TEST(knows_rewritten_messages),
	    UNINDEXED(knows_rewritten_messages),
	    TEST(tells_copies_apart),
	    TEST(adopts_uidls),
	    TEST(gives_no_uidl_again_within_a_second),
	    TEST(stays_as_it_was_when_mail_comes_in),
	    TEST(finds_messages_that_have_moved),
	    UNINDEXED(finds_messages_that_have_moved),
	    TEST(outlives_a_file_that_vanishes),
	    TEST(keeps_a_second_session_out),
	    TEST(removes_what_is_marked),
	    UNINDEXED(removes_what_is_marked),
	    TEST(leaves_notes_of_mail_readers),
	    TEST(refuses_what_is_no_file_of_ours),
	    TEST(delivers),
	    TEST(takes_back_what_is_not_safe),
	    TEST(delivers_while_a_session_is_open),
	};
	return cmocka_run_group_tests_name("mbox", tests, NULL, NULL);
}
