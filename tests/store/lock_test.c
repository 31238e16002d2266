/* SPDX-License-Identifier: ISC */
/*
 * The lock of a maildrop by itself: who excludes whom, who is alone, who waits; and what a lock file may turn
 * into under our hands.
 */
#include "tests/store/fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/lock.h"

enum { SESSIONS_COUNT = 3 };

static struct fixture *fixture;

/* A home of its own descriptor, as each mailbox has. */
static int home(void)
{
	int fd = openat(fixture->root, "alice", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int setup(void **state)
{
	int rc = fixture_setup(state);
	fixture = *state;
	fixture_mkdir(fixture, "alice");
	return rc;
}

static void give_back(struct lock *lock)
{
	int fd = lock->home;
	lock_drop(lock);
	if (fd >= 0)
		close(fd);
}

/* In turn: 'x' takes exclusively, 's' to share, 'X' and 'S' likewise in a process of its own. */
static const struct exclude_row {
	const char *sentence, *takers;
	int last;
} exclude_rows[] = {
    {"one", "x", MAILDROP_OK},
    {"a second one", "xx", MAILDROP_IN_USE},
    {"one who would share with it", "xs", MAILDROP_IN_USE},
    {"one who shares", "s", MAILDROP_OK},
    {"two who share", "ss", MAILDROP_OK},
    {"three who share", "sss", MAILDROP_OK},
    {"one for himself, after two who share", "ssx", MAILDROP_IN_USE},
    {"another process", "xX", MAILDROP_IN_USE},
    {"another process that would share", "xS", MAILDROP_IN_USE},
    {"another process that shares", "sS", MAILDROP_OK},
    {"another process for itself", "sX", MAILDROP_IN_USE},
};

static int take(struct lock *lock, bool shared)
{
	int fd = home();
	int rc = lock_take(lock, fd, shared);
	if (rc != MAILDROP_OK)
		close(fd);
	return rc;
}

static int take_elsewhere(bool shared)
{
	struct lock lock;
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(-take(&lock, shared));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

/* files: 0: a lock file; 1: there can be none, so that the directory's lock is all there is. */
static void exclude(const char *sentence, const char *takers, int last)
{
	struct lock locks[SESSIONS_COUNT] = {LOCK_NONE, LOCK_NONE, LOCK_NONE};
	for (size_t i = 0; takers[i] != 0; i++) {
		char who = takers[i];
		bool elsewhere = who == 'X' || who == 'S';
		bool shared = who == 's' || who == 'S';
		int rc = elsewhere ? take_elsewhere(shared) : take(&locks[i], shared);
		int want = takers[i + 1] == 0 ? last : MAILDROP_OK;
		if (rc != want)
			fail_msg("%s: %d instead of %d", sentence, rc, want);
	}
	for (int i = SESSIONS_COUNT - 1; i >= 0; i--)
		give_back(&locks[i]);
	/* Nothing is left. */
	assert_int_equal(take(&locks[0], false), MAILDROP_OK);
	give_back(&locks[0]);
}

static void test_exclude(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(exclude_rows) / sizeof(*exclude_rows); i++)
		exclude(exclude_rows[i].sentence, exclude_rows[i].takers, exclude_rows[i].last);
}

/* Where nobody may make a file; root may, so this needs an ordinary user to say anything. */
static void test_exclude_without_file(void **state)
{
	(void)state;
	assert_int_equal(fchmodat(fixture->root, "alice", 0500, 0), 0);
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 && (fchownat(fixture->root, "alice", 65534, 65534, 0) != 0 ||
					  chmod(fixture->dir, 0755) != 0 ||
					  fchmod(fixture->root, 0755) != 0 || setuid(65534) != 0))
			_exit(1);
		for (size_t i = 0; i < sizeof(exclude_rows) / sizeof(*exclude_rows); i++)
			exclude(exclude_rows[i].sentence, exclude_rows[i].takers, exclude_rows[i].last);
		struct lock lock;
		if (take(&lock, true) != MAILDROP_OK || lock_alone(&lock) || lock_wished(&lock) ||
		    lock_index_begin(&lock, 0) != MAILDROP_TEMP)
			_exit(2);
		_exit(lock.fd < 0 ? 0 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fchmodat(fixture->root, "alice", 0700, 0), 0);
}

static void test_alone(void **state)
{
	(void)state;
	struct lock first, second;
	assert_int_equal(take(&first, true), MAILDROP_OK);
	assert_true(lock_alone(&first));
	assert_int_equal(take(&second, true), MAILDROP_OK);
	assert_false(lock_alone(&first));
	assert_false(lock_alone(&second));
	/* Who was not alone when he came does not know of whom he found. */
	give_back(&first);
	assert_false(lock_alone(&second));
	give_back(&second);
	assert_int_equal(take(&first, false), MAILDROP_OK);
	assert_true(lock_alone(&first));
	give_back(&first);
}

static void test_index(void **state)
{
	(void)state;
	struct lock first, second, only;
	assert_int_equal(take(&first, true), MAILDROP_OK);
	assert_int_equal(take(&second, true), MAILDROP_OK);
	assert_int_equal(lock_index_begin(&first, 0), MAILDROP_OK);
	assert_int_equal(lock_index_begin(&second, 0), MAILDROP_IN_USE);
	assert_int_equal(lock_index_begin(&second, 10), MAILDROP_IN_USE);
	lock_index_end(&first);
	assert_int_equal(lock_index_begin(&second, 0), MAILDROP_OK);
	/* It goes with its holder. */
	give_back(&second);
	assert_int_equal(lock_index_begin(&first, 0), MAILDROP_OK);
	give_back(&first);
	assert_int_equal(take(&only, false), MAILDROP_OK);
	assert_int_equal(lock_index_begin(&only, 0), MAILDROP_OK);
	lock_index_end(&only);
	give_back(&only);
}

static void test_wish(void **state)
{
	(void)state;
	struct lock lock, other;
	int wish, second, fd = home();
	assert_int_equal(take(&lock, false), MAILDROP_OK);
	assert_false(lock_wished(&lock));
	assert_int_equal(lock_wish(fd, &wish), MAILDROP_OK);
	assert_true(lock_wished(&lock));
	assert_int_equal(lock_wish(fd, &second), MAILDROP_IN_USE);
	/* A wish is no lock. */
	assert_int_equal(take(&other, false), MAILDROP_IN_USE);
	give_back(&lock);
	assert_int_equal(take(&lock, false), MAILDROP_OK);
	assert_true(lock_wished(&lock));
	close(wish);
	assert_false(lock_wished(&lock));
	assert_int_equal(lock_wish(fd, &second), MAILDROP_OK);
	assert_true(lock_wished(&lock));
	give_back(&lock);
	close(second);
	close(fd);
}

/* Somebody tidies up and removes the file: that lets nobody in, and nobody believes to be alone. */
static void test_removed(void **state)
{
	(void)state;
	struct lock first, second;
	for (int shared = 0; shared < 2; shared++) {
		assert_int_equal(take(&first, shared), MAILDROP_OK);
		assert_int_equal(unlinkat(fixture->root, "alice/" LOCK_NAME, 0), 0);
		assert_int_equal(take(&second, false), MAILDROP_IN_USE);
		int rc = take(&second, true);
		assert_int_equal(rc, shared ? MAILDROP_OK : MAILDROP_IN_USE);
		if (rc == MAILDROP_OK) {
			assert_false(lock_alone(&second));
			give_back(&second);
		}
		give_back(&first);
	}
}

static void make_directory(void)
{
	fixture_mkdir(fixture, "alice/" LOCK_NAME);
}

static void make_fifo(void)
{
	assert_int_equal(mkfifoat(fixture->root, "alice/" LOCK_NAME, 0600), 0);
}

static void make_link(void)
{
	assert_int_equal(symlinkat("../outside", fixture->root, "alice/" LOCK_NAME), 0);
}

static void test_odd_files(void **state)
{
	static void (*const make[])(void) = {make_directory, make_fifo, make_link};
	(void)state;
	for (size_t i = 0; i < sizeof(make) / sizeof(*make); i++) {
		struct lock lock;
		int wish, fd = home();
		make[i]();
		assert_int_equal(take(&lock, false), MAILDROP_PERM);
		assert_int_equal(take(&lock, true), MAILDROP_PERM);
		assert_int_equal(lock_wish(fd, &wish), MAILDROP_PERM);
		close(fd);
		if (unlinkat(fixture->root, "alice/" LOCK_NAME, 0) != 0)
			assert_int_equal(unlinkat(fixture->root, "alice/" LOCK_NAME, AT_REMOVEDIR), 0);
		assert_false(fixture_exists(fixture, "outside"));
	}
}

/* An older kpopd locks the whole file, and the directory. */
static void test_older(void **state)
{
	(void)state;
	struct lock lock;
	struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = openat(fixture->root, "alice/" LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &all), 0);
	assert_int_equal(take(&lock, false), MAILDROP_IN_USE);
	assert_int_equal(take(&lock, true), MAILDROP_IN_USE);
	close(fd);
	for (int shared = 0; shared < 2; shared++) {
		assert_int_equal(take(&lock, shared), MAILDROP_OK);
		fd = openat(fixture->root, "alice/" LOCK_NAME, O_RDWR | O_CLOEXEC);
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &all), -1);
		close(fd);
		give_back(&lock);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_exclude, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_exclude_without_file, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_alone, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_index, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_wish, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_removed, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_odd_files, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_older, setup, fixture_teardown),
	};
	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
