/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/store/faults.h"
#include "tests/store/mbox_world.h"

static const char user[] = "john";
static const char dotlock[] = "john.lock";

/* A process that has come and gone: its number is nobody's. */
static pid_t dead_pid(void)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return pid;
}

static int open_error(struct fixture *fixture)
{
	struct maildrop_place place = mbox_place(user);
	struct maildrop *maildrop;
	int rc = maildrop_open(fixture->store, &place, &maildrop);
	maildrop_close(&maildrop);
	return rc;
}

/* ---- dotlocks of others ---- */

enum whose { NOBODYS, OURS, DEAD };

struct dotlock_row {
	const char *sentence;
	enum whose whose;
	const char *form; /* of the text, %ld the number of the process */
	int age_secs, mbox_age_secs;
	int want;
};

static const struct dotlock_row dotlock_rows[] = {
    {"one that is new", NOBODYS, "", 0, 0, MAILDROP_IN_USE},
    {"one that is four minutes old", NOBODYS, "", 240, 10000, MAILDROP_IN_USE},
    {"one that is six minutes old", NOBODYS, "", 360, 10000, MAILDROP_OK},
    {"an old one of an mbox that has just changed", NOBODYS, "", 360, 0, MAILDROP_IN_USE},
    {"procmail's, which is new", NOBODYS, "0", 0, 10000, MAILDROP_IN_USE},
    {"procmail's, which is old", NOBODYS, "0", 360, 10000, MAILDROP_OK},
    {"a living process's", OURS, "%ld\n", 0, 10000, MAILDROP_IN_USE},
    {"a living process's, though it is old", OURS, "%ld\n", 3600, 10000, MAILDROP_IN_USE},
    {"one of a process that is no more", DEAD, "%ld\n", 0, 0, MAILDROP_OK},
    {"the same without a line end", DEAD, "%ld", 0, 0, MAILDROP_OK},
    {"another host's", DEAD, "%ld:elsewhere.example\n", 0, 0, MAILDROP_IN_USE},
    {"another host's, which is old", DEAD, "%ld:elsewhere.example\n", 360, 10000, MAILDROP_OK},
    {"a number that cannot be", NOBODYS, "99999999999999999999", 0, 0, MAILDROP_IN_USE},
    {"a word", NOBODYS, "mine", 0, 0, MAILDROP_IN_USE},
};

static void age(struct fixture *fixture, const char *path, int secs)
{
	struct timespec times[2];
	clock_gettime(CLOCK_REALTIME, &times[0]);
	times[0].tv_sec -= secs + (secs > 0 ? 0 : faults.clock_secs);
	times[1] = times[0];
	assert_int_equal(utimensat(fixture->root, path, times, 0), 0);
}

static void knows_stale_dotlocks(void **state)
{
	struct fixture *fixture = *state;
	char text[128];
	for (size_t i = 0; i < sizeof(dotlock_rows) / sizeof(dotlock_rows[0]); i++) {
		const struct dotlock_row *row = &dotlock_rows[i];
		long pid = row->whose == DEAD ? dead_pid() : getppid();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), row->form, pid);
#pragma GCC diagnostic pop
		fixture_write(fixture, user, MESSAGE_A);
		fixture_write(fixture, dotlock, text);
		age(fixture, user, row->mbox_age_secs);
		age(fixture, dotlock, row->age_secs);
		int rc = open_error(fixture);
		if (rc != row->want)
			fail_msg("%s: %d, not %d", row->sentence, rc, row->want);
		/* What counts is left alone; ours is gone again. */
		assert_true(fixture_exists(fixture, dotlock) == (rc != MAILDROP_OK));
		unlinkat(fixture->root, dotlock, 0);
	}
}

static void touches_no_dotlock_that_is_no_file(void **state)
{
	struct fixture *fixture = *state;
	fixture_write(fixture, user, MESSAGE_A);
	fixture_write(fixture, "precious", "1\n");
	assert_int_equal(symlinkat("precious", fixture->root, dotlock), 0);
	assert_int_equal(open_error(fixture), MAILDROP_IN_USE);
	assert_true(fixture_exists(fixture, "precious"));
	assert_int_equal(unlinkat(fixture->root, dotlock, 0), 0);
	/* Another user's mail, perhaps. */
	for (int i = 0; i < 10; i++)
		mbox_world_append(fixture, dotlock, MESSAGE_B);
	age(fixture, dotlock, 100000);
	age(fixture, user, 100000);
	assert_int_equal(open_error(fixture), MAILDROP_IN_USE);
	assert_true(fixture_exists(fixture, dotlock));
	assert_int_equal(unlinkat(fixture->root, dotlock, 0), 0);
	assert_int_equal(mkfifoat(fixture->root, dotlock, 0600), 0);
	assert_int_equal(open_error(fixture), MAILDROP_IN_USE);
}

/* ---- which locks ---- */

struct locks_row {
	const char *sentence;
	enum spool_lock methods[SPOOL_LOCKS_COUNT];
	enum spool_lock held; /* by another program */
	int want;
};

static const struct locks_row locks_rows[] = {
    {"fcntl, as usual", {SPOOL_LOCK_NONE}, SPOOL_LOCK_FCNTL, MAILDROP_IN_USE},
    {"a dotlock, as usual", {SPOOL_LOCK_NONE}, SPOOL_LOCK_DOTLOCK, MAILDROP_IN_USE},
    {"flock, which is not usual", {SPOOL_LOCK_NONE}, SPOOL_LOCK_FLOCK, MAILDROP_OK},
    {"flock where it counts", {SPOOL_LOCK_DOTLOCK, SPOOL_LOCK_FLOCK}, SPOOL_LOCK_FLOCK, MAILDROP_IN_USE},
    {"fcntl where only flock counts", {SPOOL_LOCK_FLOCK}, SPOOL_LOCK_FCNTL, MAILDROP_OK},
    {"a dotlock where only fcntl counts", {SPOOL_LOCK_FCNTL}, SPOOL_LOCK_DOTLOCK, MAILDROP_OK},
    {"all three, the last", {SPOOL_LOCK_FLOCK, SPOOL_LOCK_FCNTL, SPOOL_LOCK_DOTLOCK}, SPOOL_LOCK_DOTLOCK,
	MAILDROP_IN_USE},
};

/* Holds a lock until the pipe is closed. */
static pid_t hold(struct fixture *fixture, enum spool_lock method, int *leash_r)
{
	int ready[2];
	int leash[2];
	char octet;
	assert_true(pipe2(ready, O_CLOEXEC) == 0 && pipe2(leash, O_CLOEXEC) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		close(leash[1]);
		int fd = openat(fixture->root, user, O_RDWR | O_CLOEXEC);
		int rc = method == SPOOL_LOCK_FCNTL ? fcntl(fd, F_SETLK, &range)
			 : method == SPOOL_LOCK_FLOCK
			     ? flock(fd, LOCK_EX | LOCK_NB)
			     : openat(fixture->root, dotlock, O_CREAT | O_EXCL | O_RDWR, 0600);
		ssize_t done = write(ready[1], "x", rc < 0 ? 0 : 1);
		done += read(leash[0], &octet, 1);
		_exit(done == 1 ? 0 : 1);
	}
	close(leash[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &octet, 1), 1);
	close(ready[0]);
	*leash_r = leash[1];
	return pid;
}

static void takes_the_locks_it_is_told(void **state)
{
	struct fixture *fixture = *state;
	fixture_write(fixture, user, MESSAGE_A);
	for (size_t i = 0; i < sizeof(locks_rows) / sizeof(locks_rows[0]); i++) {
		const struct locks_row *row = &locks_rows[i];
		struct maildrop_place place = mbox_place(user);
		struct maildrop *maildrop;
		int leash;
		int status;
		memcpy(place.spool_locks, row->methods, sizeof(place.spool_locks));
		pid_t pid = hold(fixture, row->held, &leash);
		int rc = maildrop_open(fixture->store, &place, &maildrop);
		if (rc != row->want)
			fail_msg("%s: %d, not %d", row->sentence, rc, row->want);
		maildrop_close(&maildrop);
		close(leash);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		if (row->held == SPOOL_LOCK_DOTLOCK)
			assert_int_equal(unlinkat(fixture->root, dotlock, 0), 0);
		/* Nothing of ours is left behind. */
		assert_false(fixture_exists(fixture, dotlock));
	}
}

/* ---- two who take them in another order ---- */

#define ROUNDS_COUNT 150

/* The other one: takes each lock when it is free, and waits for the second with the first in hand. */
static void lock_patiently(struct fixture *fixture, bool dotlock_first)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	for (int round = 0; round < ROUNDS_COUNT; round++) {
		struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		int fd = openat(fixture->root, user, O_RDWR | O_CLOEXEC);
		int lock = -1;
		for (int step = 0; step < 2; step++) {
			if ((step == 0) == dotlock_first)
				while ((lock = openat(
					    fixture->root, dotlock, O_CREAT | O_EXCL | O_RDWR, 0600)) < 0)
					nanosleep(&pause, NULL);
			else
				fcntl(fd, F_SETLKW, &range);
			nanosleep(&pause, NULL);
		}
		if (lseek(fd, 0, SEEK_END) < 0 || write(fd, MESSAGE_B, strlen(MESSAGE_B)) < 0)
			_exit(1);
		unlinkat(fixture->root, dotlock, 0);
		close(lock);
		close(fd);
		nanosleep(&pause, NULL);
	}
	_exit(0);
}

/* Both come to an end, whatever the orders, and what both have written is there. */
static void ends_with_opposite_orders(void **state)
{
	struct fixture *fixture = *state;
	for (int order = 0; order < 2; order++) {
		fixture_write(fixture, user, MESSAGE_A);
		pid_t pid = fork();
		if (pid == 0)
			lock_patiently(fixture, order == 0);
		struct maildrop_place place = mbox_place(user);
		unsigned delivered = 0;
		unsigned tries = 0;
		int status;
		while (waitpid(pid, &status, WNOHANG) == 0) {
			struct delivery *delivery;
			assert_int_equal(delivery_begin(fixture->store, &place, &delivery), MAILDROP_OK);
			assert_int_equal(delivery_write(delivery, "S: x\n\nx\n", 8), MAILDROP_OK);
			delivered += delivery_commit(&delivery) == MAILDROP_OK;
			tries++;
		}
		assert_int_equal(status, 0);
		assert_int_equal(delivered, tries);
		struct maildrop *maildrop = mbox_world_open(fixture, user);
		assert_int_equal(maildrop_count(maildrop), 1 + ROUNDS_COUNT + delivered);
		maildrop_close(&maildrop);
		assert_false(fixture_exists(fixture, dotlock));
	}
}

/* A lock that comes free while it is waited for. */
static void waits_for_a_lock(void **state)
{
	struct fixture *fixture = *state;
	int leash;
	int rc;
	fixture_write(fixture, user, MESSAGE_A);
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	pid_t pid = hold(fixture, SPOOL_LOCK_FCNTL, &leash);
	pid_t releaser = fork();
	if (releaser == 0) {
		usleep(1500000);
		close(leash);
		_exit(0);
	}
	close(leash);
	assert_string_equal(fixture_fetch(maildrop, 0, &rc), "Subject: a\n\none\n.two\n");
	maildrop_close(&maildrop);
	waitpid(pid, NULL, 0);
	waitpid(releaser, NULL, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_unindexed, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(knows_stale_dotlocks),
	    TEST(touches_no_dotlock_that_is_no_file),
	    TEST(takes_the_locks_it_is_told),
	    TEST(ends_with_opposite_orders),
	    TEST(waits_for_a_lock),
	};
	return cmocka_run_group_tests_name("mbox_lock", tests, NULL, NULL);
}
