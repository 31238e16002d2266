/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/child.h"
#include "server/msg.h"

static void wait_for_leash(int leash)
{
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS];
	struct msg msg;
	struct pollfd pfd = {.fd = leash, .events = POLLIN};
	int got;
	do
		poll(&pfd, 1, -1);
	while ((got = msg_recv(leash, MSG_AT_CHILD, buf, sizeof buf, &msg)) == MSG_AGAIN);
	_exit(got == MSG_OK ? 11 : 12);
}

static void obedient(void *arg, int leash)
{
	(void)arg;
	wait_for_leash(leash);
}

static int end_of(struct child *child)
{
	int wait_status;
	assert_int_equal(waitpid(child->pid, &wait_status, 0), child->pid);
	assert_true(WIFEXITED(wait_status));
	return WEXITSTATUS(wait_status);
}

static void test_leash(void **state)
{
	(void)state;
	struct child child;
	assert_int_equal(child_start(&child, obedient, NULL), 0);
	child_retire(&child);
	assert_int_equal(end_of(&child), 11);
	child_cut(&child);

	assert_int_equal(child_start(&child, obedient, NULL), 0);
	child_cut(&child);
	assert_int_equal(child.leash, -1);
	assert_int_equal(end_of(&child), 12);
}

/* A front's child: says what it heard of. */
static void listener(void *arg, int leash)
{
	struct offers offers = {.tls = true};
	struct pollfd pfd = {.fd = leash, .events = POLLIN};
	const bool *is_front = arg;
	enum leash_word word;
	do
		poll(&pfd, 1, -1);
	while ((word = child_hear(leash, *is_front ? &offers : NULL)) == LEASH_NOTHING);
	bool right = offers.mechanisms == 0x12345678 && offers.kpop && !offers.passwords && offers.tls;
	_exit(word == LEASH_OFFERS ? right ? 21 : 22 : word == LEASH_GONE ? 23 : 24);
}

static void test_offers(void **state)
{
	(void)state;
	static const struct {
		const char *sentence;
		bool is_front;
		int want;
	} rows[] = {
	    {"a front takes offers as they were sent, and keeps its certificate", true, 21},
	    {"another child ends when it is sent offers", false, 23},
	};
	const struct offers offers = {.mechanisms = 0x12345678, .kpop = true};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct child child;
		bool is_front = rows[i].is_front;
		assert_int_equal(child_start(&child, listener, &is_front), 0);
		assert_int_equal(offers_send(child.leash, MSG_PARENT_OFFERS, &offers), MSG_OK);
		int got = end_of(&child);
		if (got != rows[i].want)
			fail_msg("%s: %d", rows[i].sentence, got);
		child_cut(&child);
	}
}

static void test_ping(void **state)
{
	(void)state;
	struct child child;
	bool is_front = false;
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS];
	struct msg msg;
	assert_int_equal(child_start(&child, listener, &is_front), 0);
	struct pollfd pfd = {.fd = child.leash, .events = POLLIN};
	for (int i = 0; i < 3; i++) {
		assert_int_equal(msg_send(child.leash, MSG_PARENT_PING, NULL, 0, -1), MSG_OK);
		assert_int_equal(poll(&pfd, 1, 10000), 1);
		assert_int_equal(msg_recv(child.leash, MSG_AT_PARENT, buf, sizeof buf, &msg), MSG_OK);
		assert_int_equal(msg.type, MSG_CHILD_ALIVE);
	}
	child_retire(&child);
	assert_int_equal(end_of(&child), 24);
	child_cut(&child);
}

/* A middle process that dies takes its own child with it, though nobody signals it. */
static void middle(void *arg, int leash)
{
	struct child grandchild;
	int *report = arg;
	(void)leash;
	if (child_start(&grandchild, obedient, NULL) < 0 ||
	    write(*report, &grandchild.pid, sizeof grandchild.pid) != sizeof grandchild.pid)
		_exit(1);
	raise(SIGKILL);
}

static void test_orphans_end(void **state)
{
	(void)state;
	int report[2], wait_status;
	pid_t grandchild;
	struct child child;
	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	assert_int_equal(child_start(&child, middle, &report[1]), 0);
	close(report[1]);
	assert_int_equal(read(report[0], &grandchild, sizeof grandchild), sizeof grandchild);
	assert_int_equal(waitpid(child.pid, &wait_status, 0), child.pid);
	/* The grandchild holds the pipe's other end: its end of file is the grandchild's end. */
	struct pollfd pfd = {.fd = report[0], .events = POLLIN};
	assert_int_equal(poll(&pfd, 1, 5000), 1);
	char c;
	assert_int_equal(read(report[0], &c, 1), 0);
	close(report[0]);
	child_cut(&child);
}

static void keeper(void *arg, int leash)
{
	const int *fds = arg;
	bool sound;
	child_keep((int[]){fds[0], -1, leash, fds[2]}, 4);
	sound = fcntl(fds[0], F_GETFD) >= 0 && fcntl(fds[1], F_GETFD) < 0 && fcntl(fds[2], F_GETFD) >= 0 &&
		fcntl(leash, F_GETFD) >= 0 && fcntl(STDERR_FILENO, F_GETFD) >= 0;
	for (int fd = 3; fd < 1024; fd++)
		if (fd != fds[0] && fd != fds[2] && fd != leash && fcntl(fd, F_GETFD) >= 0)
			sound = false;
	_exit(sound ? 0 : 1);
}

static void test_keep(void **state)
{
	(void)state;
	struct child child;
	int fds[3] = {dup(0), dup(0), fcntl(0, F_DUPFD_CLOEXEC, 500)};
	assert_int_equal(child_start(&child, keeper, fds), 0);
	assert_int_equal(end_of(&child), 0);
	child_cut(&child);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void test_backoff(void **state)
{
	(void)state;
	static const struct {
		const char *sentence;
		bool served;
		unsigned most_msecs, want_msecs;
	} rows[] = {
	    {"the first death costs the least", false, 1000, 100},
	    {"a second without having served doubles it", false, 1000, 200},
	    {"and so on", false, 1000, 400},
	    {"and so on", false, 1000, 800},
	    {"up to the bound", false, 1000, 1000},
	    {"which stays", false, 1000, 1000},
	    {"until one has served", true, 1000, 100},
	    {"and one that serves never waits long", true, 1000, 100},
	    {"then it begins again", false, 1000, 200},
	};
	unsigned last_msecs = 0;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		unsigned got = backoff_next(&last_msecs, rows[i].served, rows[i].most_msecs);
		if (got != rows[i].want_msecs)
			fail_msg("%s: %u instead of %u", rows[i].sentence, got, rows[i].want_msecs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_leash),
	    cmocka_unit_test(test_offers),
	    cmocka_unit_test(test_ping),
	    cmocka_unit_test(test_orphans_end),
	    cmocka_unit_test(test_keep),
	    cmocka_unit_test(test_backoff),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
