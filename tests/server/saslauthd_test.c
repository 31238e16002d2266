/* SPDX-License-Identifier: ISC */
/* What a server at saslauthd's place may say, and what it is sent. The real one is in the system tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "server/saslauthd.h"

/* Long enough for anything that is to come at once, on any machine. */
enum { PATIENCE_MSECS = 30000, SOON_MSECS = 300 };

static char dir[] = "/tmp/saslauthd_test.XXXXXX";
static char path[64];

/* alice, her password, the service, no realm. */
static const char request[] = "\0\5alice\0\5sesam\0\3pop\0\0";
#define REQUEST_OCTETS (sizeof(request) - 1)

struct row {
	const char *sentence;
	const char *answer;
	size_t len;
	enum check_verdict want;
	const char *why;
	bool stays; /* after its answer, which is not whole */
};

#define ANSWER(text) (text), sizeof(text) - 1

static const struct row rows[] = {
    {"yes", ANSWER("\0\2OK"), CHECK_RIGHT, "OK", false},
    {"yes, with a word", ANSWER("\0\12OK success"), CHECK_RIGHT, "OK success", false},
    {"no", ANSWER("\0\2NO"), CHECK_WRONG, "NO", false},
    {"no, with a reason", ANSWER("\0\12NO expired"), CHECK_WRONG, "NO expired", false},
    {"more behind the answer is not looked at", ANSWER("\0\2NOOK"), CHECK_WRONG, "NO", false},
    {"yes in small letters", ANSWER("\0\2ok"), CHECK_UNAVAILABLE, "neither OK nor NO", false},
    {"one letter", ANSWER("\0\1O"), CHECK_UNAVAILABLE, "is none", false},
    {"nothing counted", ANSWER("\0\0"), CHECK_UNAVAILABLE, "is none", false},
    {"more than anybody would say", ANSWER("\377\377OK"), CHECK_UNAVAILABLE, "is none", false},
    {"the end instead of an answer", ANSWER(""), CHECK_UNAVAILABLE, "reset by peer", false},
    {"the end within the count", ANSWER("\0"), CHECK_UNAVAILABLE, "reset by peer", false},
    {"the end within the answer", ANSWER("\0\2O"), CHECK_UNAVAILABLE, "is none", false},
    {"silence", ANSWER(""), CHECK_UNAVAILABLE, "timed out", true},
    {"silence within the answer", ANSWER("\0\2O"), CHECK_UNAVAILABLE, "is none", true},
};

static int listen_at(int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

/* In a child: takes the request to its last octet, says its part. Exit status 0: the request was right. */
static void serve(int listener, const struct row *row)
{
	char got[REQUEST_OCTETS];
	size_t len = 0;
	ssize_t n;
	int fd = accept(listener, NULL, NULL);

	while (len < sizeof got && (n = read(fd, got + len, sizeof got - len)) > 0)
		len += (size_t)n;
	if (len != sizeof got || memcmp(got, request, len) != 0)
		_exit(1);
	/* Octet by octet, as a socket may give them. */
	for (size_t i = 0; i < row->len; i++)
		if (send(fd, row->answer + i, 1, MSG_NOSIGNAL) != 1)
			break;
	if (row->stays)
		while (read(fd, got, sizeof got) > 0)
			continue;
	_exit(0);
}

static void test_answers(void **state)
{
	(void)state;
	int listener = listen_at(8);

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char why[256] = "";
		int status;
		pid_t child = fork();

		if (child == 0)
			serve(listener, &rows[i]);
		enum check_verdict got = saslauthd_check(
		    path, "alice", "sesam", rows[i].stays ? SOON_MSECS : PATIENCE_MSECS, why, sizeof why);
		if (got != rows[i].want || strstr(why, rows[i].why) == NULL)
			fail_msg("%s: verdict %d, '%s'", rows[i].sentence, (int)got, why);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
	close(listener);
}

/* Its queue is full: connections are not taken, and not refused either. */
static void test_full_queue(void **state)
{
	(void)state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = listen_at(0), fds[8], count = 0;
	char why[256];

	strcpy(address.sun_path, path);
	for (; count < 8; count++) {
		fds[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (connect(fds[count], (struct sockaddr *)&address, sizeof address) != 0)
			break;
	}
	assert_true(count < 8);
	assert_int_equal(
	    saslauthd_check(path, "alice", "sesam", SOON_MSECS, why, sizeof why), CHECK_UNAVAILABLE);
	assert_non_null(strstr(why, "timed out"));
	for (int i = 0; i <= count; i++)
		close(fds[i]);
	close(listener);
}

static void test_not_there(void **state)
{
	(void)state;
	char why[256], text[300];

	unlink(path);
	assert_int_equal(
	    saslauthd_check(path, "alice", "sesam", PATIENCE_MSECS, why, sizeof why), CHECK_UNAVAILABLE);
	assert_non_null(strstr(why, path));
	memset(text, 'x', sizeof text);
	text[0] = '/';
	text[sizeof text - 1] = '\0';
	assert_int_equal(
	    saslauthd_check(text, "alice", "sesam", PATIENCE_MSECS, why, sizeof why), CHECK_UNAVAILABLE);
	/* What it would cut short is asked of nobody. */
	assert_int_equal(saslauthd_check(path, "alice", text, PATIENCE_MSECS, why, sizeof why), CHECK_WRONG);
	assert_int_equal(saslauthd_check(path, text, "sesam", PATIENCE_MSECS, why, sizeof why), CHECK_WRONG);
}

static int setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/mux", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_answers),
	    cmocka_unit_test(test_full_queue),
	    cmocka_unit_test(test_not_there),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
