/* SPDX-License-Identifier: ISC */
/* kpopctl as a person and a program use it, and what a reader then finds. */
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "sasl/secrets.h"

static char dir[] = "/tmp/kpopctl-test-XXXXXX";
static char output[8192]; /* of the last run, both streams */

/* A user this machine surely has; as root the files are made as that one. */
#define SERVER_USER "nobody"

static int setup(void **state)
{
	char text[512];
	FILE *file;

	(void)state;
	if (mkdtemp(dir) == NULL || chmod(dir, 0755) < 0)
		return -1;
	snprintf(text, sizeof(text), "%s/mail", dir);
	if (mkdir(text, 0755) < 0)
		return -1;
	snprintf(text, sizeof(text), "%s/kpopd.conf", dir);
	file = fopen(text, "w");
	if (file == NULL)
		return -1;
	fprintf(file, "mail_root = '%s/mail'\nstate_dir = '%s/state'\nrun_dir = '%s/run'\n", dir, dir, dir);
	fprintf(file, "front_user = '" SERVER_USER "'\nauth_user = '" SERVER_USER
		      "'\nstore_user = '" SERVER_USER "'\n");
	return fclose(file);
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) == 0 ? 0 : -1;
}

static void become(const char *arguments)
{
	const char *build = getenv("KPOPD_BUILDDIR");
	char command[1024];

	signal(SIGINT, SIG_DFL); /* who runs the tests in the background may have it ignored */
	snprintf(command, sizeof(command), "exec %s/kpopctl -c %s/kpopd.conf %s", build != NULL ? build : ".",
	    dir, arguments);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static void read_output(int fd)
{
	size_t len = 0;
	ssize_t got;

	while (len < sizeof(output) - 1 && (got = read(fd, output + len, sizeof(output) - 1 - len)) > 0)
		len += (size_t)got;
	output[len] = '\0';
}

static int exit_status(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs it with input on standard input, len octets. */
static int run(const char *arguments, const char *input, size_t len)
{
	int in[2], out[2];
	pid_t child;

	assert_int_equal(pipe(in) | pipe(out), 0);
	assert_true(write(in[1], input, len) == (ssize_t)len);
	child = fork();
	if (child == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(out[1], 2);
		close(in[1]);
		become(arguments);
	}
	close(in[0]);
	close(in[1]);
	close(out[1]);
	read_output(out[0]);
	close(out[0]);
	return exit_status(child);
}

static void wait_for(int fd, const char *text)
{
	size_t len = 0;
	ssize_t got;

	while (strstr(output, text) == NULL && len < sizeof(output) - 1 &&
	       (got = read(fd, output + len, sizeof(output) - 1 - len)) > 0) {
		len += (size_t)got;
		output[len] = '\0';
	}
	assert_non_null(strstr(output, text));
}

/* Until the terminal is as wanted: the prompt comes before the echo is off. */
static void wait_for_echo(int fd, bool want)
{
	struct termios termios;

	for (int i = 0; i < 500; i++) {
		assert_int_equal(tcgetattr(fd, &termios), 0);
		if (((termios.c_lflag & ECHO) != 0) == want)
			return;
		usleep(10000);
	}
	fail_msg("echo is not %s", want ? "on" : "off");
}

/* The same at a terminal: two answers. signal_number: sent instead of the second one, 0: none. */
static int run_at_terminal(const char *arguments, const char *first, const char *second, int signal_number)
{
	char rest[1024];
	int fd, status;
	pid_t child = forkpty(&fd, NULL, NULL, NULL);

	assert_true(child >= 0);
	if (child == 0)
		become(arguments);
	output[0] = '\0';
	wait_for(fd, "Password for ");
	wait_for_echo(fd, false);
	assert_true(write(fd, first, strlen(first)) > 0);
	wait_for(fd, "Again");
	wait_for_echo(fd, false);
	if (signal_number != 0)
		kill(child, signal_number);
	else
		assert_true(write(fd, second, strlen(second)) > 0);
	if (signal_number != 0)
		wait_for_echo(fd, true);
	/* A terminal without a process gives EIO, which ends this too. */
	for (size_t len = strlen(output); read(fd, rest, 1) == 1 && len < sizeof(output) - 1;) {
		output[len++] = rest[0];
		output[len] = '\0';
	}
	status = exit_status(child);
	close(fd);
	return status;
}

static int verify(const char *user, const char *password)
{
	struct secrets *secrets;
	char path[256];
	int rc;

	snprintf(path, sizeof(path), "%s/state/auth/secrets.mdb", dir);
	assert_int_equal(secrets_open(&secrets, path, false), SECRETS_OK);
	rc = secrets_verify(secrets, user, password, strlen(password));
	secrets_close(&secrets);
	return rc;
}

#define KEYS "SCRAM-SHA-1,SCRAM-SHA-256,SCRAM-SHA-512"

static void users_come_and_go(void **state)
{
	static char long_password[300], longest_password[256];
	static const struct {
		const char *sentence, *arguments, *input;
		int status;
		const char *says;
	} rows[] = {
	    {"nobody is there yet", "user list", "", 1, "user add\" makes it"},
	    {"the first user, with the folder", "user add alice", "wonder land\n", 0, ""},
	    {"a password without a line's end", "user add -p bob", "builder", 0, ""},
	    {"the option after the name", "user add carol --plain", "pass\n", 0, ""},
	    {"all are listed", "user list", "", 0,
		"alice\t" KEYS "\nbob\t" KEYS ",password\ncarol\t" KEYS ",password\n"},
	    {"a user is added once", "user add alice", "x\n", 1, "alice is there already"},
	    {"a new password, only keys", "user passwd bob", "other\n", 0, ""},
	    {"a password for nobody", "user passwd dave", "x\n", 1, "no user dave"},
	    {"a user is removed", "user del carol", "", 0, ""},
	    {"a user is removed once", "user del carol", "", 1, "no user carol"},
	    {"who is left", "user list", "", 0, "alice\t" KEYS "\nbob\t" KEYS "\n"},
	    {"an empty password", "user add eve", "\n", 1, "the password is empty"},
	    {"no password", "user add eve", "", 1, "the password is empty"},
	    {"255 octets", "user add long", longest_password, 0, ""},
	    {"more", "user add eve", long_password, 1, "longer than 255"},
	    {"a path for a name", "user add ../eve", "x\n", 1, "cannot be a user's name"},
	    {"an empty name", "user add ''", "x\n", 1, "cannot be a user's name"},
	    {"only some keys", "user add --keys sha-256,SCRAM-SHA-512 --iterations 5000 few", "x\n", 0, ""},
	    {"what is there of a user", "user show few", "", 0,
		"SCRAM-SHA-256\tkeys, 5000 iterations\nSCRAM-SHA-512\tkeys, 5000 iterations\n"
		"logs in by\tPLAIN LOGIN USER SCRAM-SHA-512 SCRAM-SHA-256\n"},
	    {"of a kept password", "user add -p --keys SHA-1 kept", "x\n", 0, ""},
	    {"and shown", "user show kept", "", 0,
		"SCRAM-SHA-1\tkeys, 4096 iterations\npassword\tkept\n"
		"logs in by\tPLAIN LOGIN USER SCRAM-SHA-1 CRAM-MD5 APOP\n"},
	    {"of nobody", "user show nobody-here", "", 1, "no user nobody-here"},
	    {"keys that are none", "user add --keys MD5 eve", "x\n", 64, "SHA-512"},
	    {"no keys", "user add --keys '' eve", "x\n", 64, "SHA-512"},
	    {"too few iterations", "user add --iterations 4095 eve", "x\n", 64, "4096 to 1000000"},
	    {"too many", "user add --iterations 1000001 eve", "x\n", 64, "4096 to 1000000"},
	    {"not a number", "user add --iterations 4096x eve", "x\n", 64, "4096 to 1000000"},
	    {"a password that is no UTF-8", "user add eve", "M\xfcll\n", 1, "not UTF-8"},
	    {"an option of another command", "user add --replace eve", "x\n", 64, "usage:"},
	    {"no name", "user add", "x\n", 64, "usage:"},
	    {"a password as argument", "user add eve secret", "x\n", 64, "usage:"},
	    {"an option where it means nothing", "user del -p alice", "", 64, "usage:"},
	    {"an unknown command", "user rename alice", "", 64, "usage:"},
	    {"another configuration", "-c /nonexistent user list", "", 1, "/nonexistent"},
	};

	(void)state;
	memset(long_password, 'p', 256);
	memset(longest_password, 'p', 255);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = run(rows[i].arguments, rows[i].input, strlen(rows[i].input));

		if (status != rows[i].status || strstr(output, rows[i].says) == NULL ||
		    (rows[i].says[0] == '\0' && output[0] != '\0'))
			fail_msg("%s: exit %d, %s", rows[i].sentence, status, output);
	}
	assert_int_equal(verify("alice", "wonder land"), SECRETS_OK);
	assert_int_equal(verify("bob", "other"), SECRETS_OK);
	assert_int_equal(verify("bob", "builder"), SECRETS_REFUSED);
	assert_int_equal(verify("carol", "pass"), SECRETS_REFUSED);
	assert_int_equal(verify("long", longest_password), SECRETS_OK);
	assert_int_equal(verify("eve", "x"), SECRETS_REFUSED);
}

static void a_nul_is_no_part_of_a_password(void **state)
{
	(void)state;
	assert_int_equal(run("user add eve", "ab\0cd\n", 6), 1);
	assert_non_null(strstr(output, "NUL"));
}

static void terminals_are_asked_twice_and_show_nothing(void **state)
{
	(void)state;
	assert_int_equal(run_at_terminal("user add tom", "unseen one\n", "unseen one\n", 0), 0);
	assert_null(strstr(output, "unseen"));
	assert_int_equal(verify("tom", "unseen one"), SECRETS_OK);
	assert_int_equal(run_at_terminal("user passwd tom", "unseen two\n", "unseen three\n", 0), 1);
	assert_null(strstr(output, "unseen"));
	assert_non_null(strstr(output, "differ"));
	assert_int_equal(verify("tom", "unseen one"), SECRETS_OK);
}

static void an_interrupted_question_leaves_the_terminal_as_it_was(void **state)
{
	(void)state;
	assert_int_equal(run_at_terminal("user passwd tom", "unseen two\n", "", SIGINT), 128 + SIGINT);
	assert_int_equal(verify("tom", "unseen one"), SECRETS_OK);
}

static void the_files_are_the_servers_alone(void **state)
{
	static const char *const names[] = {"secrets.mdb", "secrets.mdb-lock"};
	char path[256];
	struct stat folder, st;

	(void)state;
	snprintf(path, sizeof(path), "%s/state/auth", dir);
	assert_int_equal(stat(path, &folder), 0);
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/state/auth/%s", dir, names[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
		assert_int_equal(st.st_uid, folder.st_uid);
		assert_true(geteuid() != 0 || st.st_uid != 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(users_come_and_go),
	    cmocka_unit_test(a_nul_is_no_part_of_a_password),
	    cmocka_unit_test(terminals_are_asked_twice_and_show_nothing),
	    cmocka_unit_test(an_interrupted_question_leaves_the_terminal_as_it_was),
	    cmocka_unit_test(the_files_are_the_servers_alone),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
