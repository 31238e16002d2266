/* SPDX-License-Identifier: ISC */
/*
 * A removal that ends at any of its system calls, by a signal or because the call fails, and what comes
 * after: mail that others append, and the next login, which may end at any of its calls, too. Nothing that
 * was not marked may be lost, changed, renamed or there twice; and after a removal that succeeded nothing
 * that was marked may be there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/store/mbox_world.h"
#include "tests/store/tracer.h"

#define APPENDED "From d@example.org Thu Jan  1 00:00:40 1970\nSubject: d\n\nlate\n\n"
#define LARGE_OCTETS 150000u
#define MESSAGES_COUNT 6u

/* With a sanitizer each process takes long to make, and so each call is not tried every time. */
#if defined(__SANITIZE_ADDRESS__)
#define STEP 7u
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STEP 7u
#endif
#endif
#ifndef STEP
#define STEP 1u
#endif

static const char user[] = "john";
static char large[LARGE_OCTETS + 256];
static char uidls[MESSAGES_COUNT][MAILDROP_UIDL_OCTETS + 1];

struct crash_row {
	const char *sentence;
	const char *marked;
};

/* The messages: a, b, b again, large, c, b once more. */
static const struct crash_row crash_rows[] = {
    {"the first", "0"},
    {"one in the middle, and a copy", "14"},
    {"all but the last", "01234"},
    {"all but the first", "12345"},
    {"all", "012345"},
};

static void write_mbox(struct fixture *fixture)
{
	static char mbox[LARGE_OCTETS + 4096];
	if (large[0] == 0) {
		size_t len = (size_t)snprintf(large, sizeof(large), "%sSubject: large\n\n", FROM_A);
		for (unsigned i = 0; len < LARGE_OCTETS; i++)
			len += (size_t)snprintf(large + len, 64, "line %u of many\n", i);
		strcpy(large + len, "\n");
	}
	snprintf(
	    mbox, sizeof(mbox), "%s%s%s%s%s%s", MESSAGE_A, MESSAGE_B, MESSAGE_B, large, MESSAGE_C, MESSAGE_B);
	fixture_write(fixture, user, mbox);
	static const char *const kept[] = {
	    "../homes/john/kpopd.journal", "../homes/john/kpopd.journal.new", "../homes/john/kpopd.copies"};
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		unlinkat(fixture->root, kept[i], 0);
}

static void remember_uidls(struct fixture *fixture)
{
	write_mbox(fixture);
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	for (uint32_t idx = 0; idx < MESSAGES_COUNT; idx++)
		strcpy(uidls[idx], mbox_world_uidl(maildrop, idx));
	maildrop_close(&maildrop);
}

struct removal {
	struct fixture *fixture;
	const char *marked;
};

/* In a process of its own. */
static int remove_marked(void *arg)
{
	const struct removal *removal = arg;
	struct maildrop_place place = mbox_place(user);
	struct maildrop *maildrop;
	uint8_t marks = 0;
	uint32_t left;
	for (const char *p = removal->marked; *p != 0; p++)
		marks |= (uint8_t)(1u << (*p - '0'));
	if (maildrop_open(removal->fixture->store, &place, &maildrop) != MAILDROP_OK)
		return 99;
	tracer_begin();
	return maildrop_expunge(maildrop, &marks, 1, &left) == MAILDROP_OK ? 0 : 1;
}

static int only_open(void *arg)
{
	const struct removal *removal = arg;
	struct maildrop_place place = mbox_place(user);
	struct maildrop *maildrop;
	tracer_begin();
	return maildrop_open(removal->fixture->store, &place, &maildrop) == MAILDROP_OK ? 0 : 1;
}

static const char *content(unsigned message)
{
	static const char *const texts[MESSAGES_COUNT] = {
	    MESSAGE_A, MESSAGE_B, MESSAGE_B, large, MESSAGE_C, MESSAGE_B};
	return strchr(texts[message], '\n') + 1;
}

static char what[256]; /* is being tried, for who reads of a failure */

/* The message at idx is this one, octet by octet. */
static void check_content(struct maildrop *maildrop, uint32_t idx, const char *want)
{
	static char text[LARGE_OCTETS + 256];
	struct maildrop_message message;
	int rc = maildrop_fetch(maildrop, idx, &message);
	if (rc != MAILDROP_OK)
		fail_msg("%s: message %u cannot be fetched: %d", what, idx, rc);
	ssize_t len = pread(message.fd, text, sizeof(text), (off_t)message.offset);
	close(message.fd);
	if (len != (ssize_t)strlen(want) - 1 || memcmp(text, want, (size_t)len) != 0)
		fail_msg("%s: message %u is another:\n%.*s\nnot\n%s", what, idx, (int)len, text, want);
}

/* Removed: every marked one must be gone. Returns how many marked ones are there. */
static unsigned check_maildrop(struct fixture *fixture, const char *marked, bool removed, bool appended)
{
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	uint32_t count = maildrop_count(maildrop);
	unsigned found = 0;
	unsigned still = 0;
	for (unsigned message = 0; message < MESSAGES_COUNT; message++) {
		bool there = false;
		for (uint32_t idx = 0; idx < count; idx++) {
			if (strcmp(mbox_world_uidl(maildrop, idx), uidls[message]) != 0)
				continue;
			if (there)
				fail_msg("%s: message %u is there twice", what, message);
			there = true;
			check_content(maildrop, idx, content(message));
		}
		bool is_marked = strchr(marked, (char)('0' + message)) != NULL;
		if (is_marked ? there && removed : !there)
			fail_msg("%s: message %u is %s\n%s", what, message, there ? "there" : "lost",
			    fixture->notes);
		found += there;
		still += is_marked && there;
	}
	if (appended)
		check_content(maildrop, count - 1, strchr(APPENDED, '\n') + 1);
	if (count != found + appended)
		fail_msg("%s: %u messages, but only %u known ones\n%s", what, count, found + appended,
		    fixture->notes);
	maildrop_close(&maildrop);
	if (fixture_exists(fixture, "../homes/john/kpopd.journal"))
		fail_msg("%s: the journal is still there", what);
	return still;
}

/* As a deliverer would who knows nothing of us. */
static void append(struct fixture *fixture)
{
	mbox_world_append(fixture, user, APPENDED);
}

static void survives_kills(void **state)
{
	struct fixture *fixture = *state;
	if (!tracer_works())
		skip();
	remember_uidls(fixture);
	for (size_t i = 0; i < sizeof(crash_rows) / sizeof(crash_rows[0]); i++) {
		struct removal removal = {fixture, crash_rows[i].marked};
		bool reached = true;
		unsigned before = 0;
		unsigned after = 0;
		for (unsigned n = 1 + (unsigned)(i % STEP); reached; n += STEP) {
			for (int appended = 0; appended < 2; appended++) {
				write_mbox(fixture);
				struct tracer_result result = tracer_run(remove_marked, &removal, n, 0);
				snprintf(what, sizeof(what), "%s, killed at call %u (%ld)%s",
				    crash_rows[i].sentence, n, result.call,
				    appended ? ", then mail comes in" : "");
				reached = result.reached;
				if (!reached)
					assert_int_equal(result.status, 0);
				if (appended)
					append(fixture);
				unsigned still =
				    check_maildrop(fixture, crash_rows[i].marked, !reached, appended);
				/* All of them or none. */
				if (still != 0 && still != strlen(crash_rows[i].marked))
					fail_msg("%s: %u of them are there", what, still);
				before += still != 0;
				after += still == 0;
			}
		}
		print_message(
		    "# %s: as before %u times, as after %u times\n", crash_rows[i].sentence, before, after);
		assert_true(before > 0 && after > 0);
	}
}

/* The next login, too, is killed at each of its calls, and the one after that must mend it all. */
static void survives_kills_while_mending(void **state)
{
	struct fixture *fixture = *state;
	if (!tracer_works())
		skip();
	remember_uidls(fixture);
	struct removal removal = {fixture, crash_rows[1].marked};
	unsigned mended = 0;
	bool reached = true;
	for (unsigned n = 1; reached; n += STEP) {
		bool reached_again = true;
		/* A quarter of them each time, another one the next time. */
		for (unsigned m = 1 + n % 4; reached_again; m += 4 * STEP) {
			write_mbox(fixture);
			reached = tracer_run(remove_marked, &removal, n, 0).reached;
			if (!fixture_exists(fixture, "../homes/john/kpopd.journal"))
				break;
			if (m / (4 * STEP) % 2 == 0)
				append(fixture);
			struct tracer_result result = tracer_run(only_open, &removal, m, 0);
			snprintf(what, sizeof(what), "killed at call %u, then at call %u (%ld)", n, m,
			    result.call);
			reached_again = result.reached;
			if (m / (4 * STEP) % 2 == 1)
				append(fixture);
			check_maildrop(fixture, removal.marked, true, true);
			mended++;
		}
	}
	print_message("# mended %u times\n", mended);
	assert_true(mended > 50 / STEP);
}

static void survives_failing_calls(void **state)
{
	struct fixture *fixture = *state;
	static const int errors[] = {EIO, ENOSPC, EINTR};
	if (!tracer_works() || !tracer_fails())
		skip();
	remember_uidls(fixture);
	for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
		for (size_t i = 0; i < sizeof(crash_rows) / sizeof(crash_rows[0]); i++) {
			struct removal removal = {fixture, crash_rows[i].marked};
			/* What is tried again is so everywhere. */
			if (errors[e] == EINTR && i != 1)
				continue;
			unsigned refused = 0;
			unsigned accepted = 0;
			bool reached = true;
			for (unsigned n = 1 + (unsigned)((i + e) % STEP); reached; n += STEP) {
				write_mbox(fixture);
				struct tracer_result result =
				    tracer_run(remove_marked, &removal, n, errors[e]);
				reached = result.reached;
				snprintf(what, sizeof(what), "%s, call %u (%ld) fails: %s",
				    crash_rows[i].sentence, n, result.call, strerror(errors[e]));
				unlinkat(fixture->root, "john.lock", 0);
				if (result.status > 1)
					fail_msg("%s: status %d", what, result.status);
				bool appended = n / STEP % 2 == 0;
				if (appended)
					append(fixture);
				check_maildrop(fixture, removal.marked, result.status == 0, appended);
				refused += result.status == 1;
				accepted += result.status == 0;
			}
			print_message("# %s, %s: refused %u times, accepted %u times\n",
			    crash_rows[i].sentence, strerror(errors[e]), refused, accepted);
			assert_true(accepted > 0 && (refused > 0 || errors[e] == EINTR));
		}
	}
}

/* Another program rewrites what a crash has left: nothing that it cannot know of is lost. */
static void looks_for_what_is_missing(void **state)
{
	struct fixture *fixture = *state;
	if (!tracer_works())
		skip();
	remember_uidls(fixture);
	struct removal removal = {fixture, "0"};
	unsigned tried = 0;
	bool reached = true;
	for (unsigned n = 1; reached; n += STEP) {
		write_mbox(fixture);
		reached = tracer_run(remove_marked, &removal, n, 0).reached;
		if (!fixture_exists(fixture, "../homes/john/kpopd.journal"))
			continue;
		snprintf(what, sizeof(what), "killed at call %u, then rewritten", n);
		/* It adds a Status to the first, and loses half of the last. */
		const char *file = mbox_world_file(fixture, user);
		char *copy = malloc(strlen(file) + 64);
		assert_non_null(copy);
		const char *second = strchr(file, '\n') + 1;
		snprintf(copy, strlen(file) + 64, "%.*sStatus: RO\n%.*s\n", (int)(second - file), file,
		    (int)strlen(second) - 20, second);
		fixture_write(fixture, user, copy);
		free(copy);
		struct maildrop *maildrop = mbox_world_open(fixture, user);
		uint32_t count = maildrop_count(maildrop);
		for (unsigned message = 1; message < MESSAGES_COUNT; message++) {
			unsigned there = 0;
			for (uint32_t idx = 0; idx < count; idx++)
				there += strcmp(mbox_world_uidl(maildrop, idx), uidls[message]) == 0;
			if (there != 1)
				fail_msg("%s: message %u is there %u times\n%s", what, message, there,
				    fixture->notes);
		}
		maildrop_close(&maildrop);
		tried++;
	}
	assert_true(tried > 5 / STEP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_unindexed, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(survives_kills),
	    TEST(survives_kills_while_mending),
	    TEST(survives_failing_calls),
	    TEST(looks_for_what_is_missing),
	};
	return cmocka_run_group_tests_name("mbox_crash", tests, NULL, NULL);
}
