/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "server/log.h"

/* Standard error is ours for the test; what the log wrote is read at the other end. */
static int saved_stderr = -1;
static int reader = -1;
static char got[8192];

static void redirect(int fds[2])
{
	saved_stderr = dup(STDERR_FILENO);
	reader = fds[0];
	assert_true(saved_stderr >= 0 && dup2(fds[1], STDERR_FILENO) == STDERR_FILENO);
	close(fds[1]);
	assert_int_equal(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
}

static void restore(void)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(reader);
	unsetenv("JOURNAL_STREAM");
}

static const char *read_all(void)
{
	ssize_t len = read(reader, got, sizeof(got) - 1);
	got[len > 0 ? len : 0] = '\0';
	return got;
}

static bool matches(const char *text, const char *pattern)
{
	regex_t regex;
	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	bool found = regexec(&regex, text, 0, NULL, 0) == 0;
	regfree(&regex);
	return found;
}

static void open_pipe(bool debug)
{
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	redirect(fds);
	log_open(LOG_TO_STDERR, debug);
	log_role("front");
}

static void test_line(void **state)
{
	(void)state;
	open_pipe(false);
	log_info("login user=%s octets=%d", "alice", 7);
	assert_true(matches(read_all(), "^front\\[[0-9]+\\]: login user=alice octets=7\n$"));
	log_debug("not shown");
	assert_string_equal(read_all(), "");
	restore();
	open_pipe(true);
	log_debug("shown");
	assert_true(matches(read_all(), "^front\\[[0-9]+\\]: shown\n$"));
	assert_true(log_fd() > STDERR_FILENO);
	assert_true((fcntl(log_fd(), F_GETFD) & FD_CLOEXEC) != 0);
	assert_true((fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK) == 0);
	restore();
}

static void test_escapes(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *text, *want;
	} rows[] = {
	    {"no second line", "a\r\nfront[1]: login user=root", "a\\x0d\\x0afront[1]: login user=root"},
	    {"no terminal codes", "\x1b[31m\a\x7f", "\\x1b[31m\\x07\\x7f"},
	    {"no UTF-8, good or bad", "\xc3\xa9\xff", "\\xc3\\xa9\\xff"},
	    {"no format inside", "%n%s%99999d", "%n%s%99999d"},
	    {"no false escape", "\\x41", "\\x5cx41"},
	    {"printable stays", "~ !\"'<>", "~ !\"'<>"},
	};
	open_pipe(false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		log_info("%s", rows[i].text);
		const char *colon = strstr(read_all(), ": ");
		if (colon == NULL || strncmp(colon + 2, rows[i].want, strlen(rows[i].want)) != 0 ||
		    strcmp(colon + 2 + strlen(rows[i].want), "\n") != 0)
			fail_msg("%s: %s", rows[i].sentence, got);
	}
	restore();
}

static void test_bounded(void **state)
{
	(void)state;
	static char text[100000];
	static const char fills[] = {'a', '\n'};

	open_pipe(false);
	for (size_t i = 0; i < sizeof(fills); i++)
		for (size_t len = 1400; len < sizeof(text); len = len < 2100 ? len + 1 : len * 3) {
			memset(text, fills[i], len);
			text[len] = '\0';
			log_info("%s", text);
			read_all();
			size_t line = strlen(got);
			assert_true(line > 1000 && line <= 2048);
			assert_int_equal(got[line - 1], '\n');
			assert_ptr_equal(strchr(got, '\n'), got + line - 1);
			if (len >= 2000)
				assert_memory_equal(got + line - 4, "...\n", 4);
		}
	restore();
}

static void test_never_blocks(void **state)
{
	(void)state;
	char line[2048];
	unsigned long lost = 0, lines = 0;

	open_pipe(false);
	memset(line, 'x', 1000);
	line[1000] = '\0';
	for (int i = 0; i < 1000; i++) /* a pipe holds 64 KiB */
		log_info("%s", line);
	/* A pipe's reader that comes back finds whole lines, and the next one says what was lost. */
	for (;;) {
		ssize_t len = read(reader, got, sizeof(got) - 1);
		if (len <= 0)
			break;
		for (ssize_t i = 0; i < len; i++)
			lines += got[i] == '\n';
	}
	log_info("again");
	read_all();
	assert_true(
	    matches(got, "^front\\[[0-9]+\\]: log was full: lines lost=[0-9]+\nfront\\[[0-9]+\\]: again\n$"));
	assert_int_equal(sscanf(strstr(got, "lost="), "lost=%lu", &lost), 1);
	assert_true(lines > 20);
	assert_int_equal(lines + lost, 1000);
	log_info("once");
	assert_true(matches(read_all(), "^front\\[[0-9]+\\]: once\n$"));
	restore();
}

static void set_journal_stream(int fd, int add)
{
	struct stat st;
	char text[64];
	assert_int_equal(fstat(fd, &st), 0);
	snprintf(text, sizeof(text), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + (uintmax_t)add);
	setenv("JOURNAL_STREAM", text, 1);
}

static void test_journal(void **state)
{
	(void)state;
	for (int add = 0; add < 2; add++) {
		int fds[2];
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		redirect(fds);
		set_journal_stream(STDERR_FILENO, add);
		log_open(LOG_TO_STDERR, true);
		log_role("auth");
		log_error("a");
		log_warning("b");
		log_info("c");
		log_debug("d");
		read_all();
		if (add == 0)
			assert_true(matches(got, "^<3>auth\\[[0-9]+\\]: a\n<4>auth\\[[0-9]+\\]: b\n"
						 "<6>auth\\[[0-9]+\\]: c\n<7>auth\\[[0-9]+\\]: d\n$"));
		else /* the variable speaks of another descriptor: somebody redirected us */
			assert_true(matches(got, "^auth\\[[0-9]+\\]: a\n"));
		restore();
	}
}

static void test_reader_gone(void **state)
{
	(void)state;
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	redirect(fds);
	log_open(LOG_TO_STDERR, false);
	close(reader);
	log_info("to nobody"); /* and no SIGPIPE */
	restore();
}

static void test_pid_after_fork(void **state)
{
	(void)state;
	open_pipe(false);
	pid_t child = fork();
	if (child == 0) {
		log_info("child");
		_exit(0);
	}
	assert_true(child > 0 && waitpid(child, NULL, 0) == child);
	char want[64];
	snprintf(want, sizeof(want), "front[%d]: child\n", (int)child);
	assert_string_equal(read_all(), want);
	restore();
}

static void test_syslog(void **state)
{
	(void)state;
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = LOG_SOCKET};
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	redirect(fds);
	unlink(LOG_SOCKET);
	log_open(LOG_TO_SYSLOG, false);
	assert_true(matches(read_all(), "syslog: cannot reach .*; logging to standard error\n$"));
	close(reader);

	reader = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(reader, (struct sockaddr *)&address, sizeof(address)), 0);
	log_open(LOG_TO_SYSLOG, false);
	log_role("store");
	log_warning("full\n%s", "disk");
	assert_true(matches(read_all(), "^<20>[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} "
					"kpopd\\[[0-9]+\\]: store: full\\\\x0adisk$"));
	/* The socket outlives a chroot and the loss of its name. */
	unlink(LOG_SOCKET);
	log_info("still there");
	assert_true(matches(read_all(), "^<22>.*: store: still there$"));
	for (int i = 0; i < 10000; i++)
		log_info("flood");
	unsigned long seen = 0;
	while (*read_all() != '\0')
		seen++;
	log_info("after");
	assert_true(matches(read_all(), "lines lost=[0-9]+$"));
	unsigned long lost = 0;
	sscanf(strstr(got, "lost="), "lost=%lu", &lost);
	assert_int_equal(seen + lost, 10000);
	assert_true(matches(read_all(), ": after$"));
	restore();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_line),
	    cmocka_unit_test(test_escapes),
	    cmocka_unit_test(test_bounded),
	    cmocka_unit_test(test_never_blocks),
	    cmocka_unit_test(test_journal),
	    cmocka_unit_test(test_reader_gone),
	    cmocka_unit_test(test_pid_after_fork),
	    cmocka_unit_test(test_syslog),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
