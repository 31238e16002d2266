/* SPDX-License-Identifier: ISC */
/* The checker as master starts it, with a real KDC behind it, and questions at its door. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "server/check.h"
#include "server/child.h"
#include "server/krb5_snapshot.h"
#include "server/role.h"

/* A slow machine may take long; what must not come at all is waited for elsewhere. */
enum { PATIENCE_MSECS = 60000 };

static char dir[] = "/tmp/checker_test.XXXXXX";

static __attribute__((format(printf, 1, 2))) int run(const char *format, ...)
{
	char command[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof command, format, args);
	va_end(args);
	return system(command);
}

static int realm(const char *arguments)
{
	return run("bash %s/tests/system/realm.sh %s >&2", getenv("KPOPD_SRCDIR"), arguments);
}

static int add_user(const char *name, const char *options)
{
	char text[256];

	snprintf(text, sizeof text, "user %s %s sesam %s", dir, name, options);
	return realm(text);
}

static int start_realm(void **state)
{
	char text[256];

	(void)state;
	if (mkdtemp(dir) == NULL || chmod(dir, 0755) != 0)
		return -1;
	snprintf(text, sizeof text, "start %s", dir);
	if (realm(text) != 0 || add_user("preauth", "+requires_preauth") != 0 ||
	    add_user("locked", "-allow_tix") != 0 || add_user("must-change", "+needchange") != 0 ||
	    add_user("old", "-expire 1/1/2001") != 0 || add_user("stale", "-pwexpire 1/1/2001") != 0)
		return -1;
	return run("mkdir %s/state %s/state/check %s/mail", dir, dir, dir) == 0 ? 0 : -1;
}

static int stop_realm(void **state)
{
	char text[256];

	(void)state;
	snprintf(text, sizeof text, "stop %s", dir);
	realm(text);
	return run("rm -rf %s", dir) == 0 ? 0 : -1;
}

/* ---- a checker ---- */

struct checker {
	struct config *config;
	struct listeners listeners;
	struct doors doors;
	struct role role;
	struct child child;
};

static void wait_readable(int fd)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};

	if (poll(&one, 1, PATIENCE_MSECS) != 1)
		fail_msg("nothing came");
}

/* keys: lines of kpopd.conf; %s in it: the folder. */
static void checker_start(struct checker *checker, const char *keys)
{
	char path[PATH_MAX], from[PATH_MAX], why[512] = "";
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS];
	struct msg msg;
	FILE *out;

	memset(checker, 0, sizeof *checker);
	snprintf(path, sizeof path, "%s/kpopd.conf", dir);
	out = fopen(path, "we");
	assert_non_null(out);
	fprintf(
	    out, "state_dir = '%s/state'\nmail_root = '%s/mail'\nkeytab = '%s/krb5.keytab'\n", dir, dir, dir);
	fprintf(out, "krb5_conf = '%s/krb5.conf'\nchecker_user = 'nobody'\n%s\n", dir, keys);
	fclose(out);
	checker->config = config_read(path, why, sizeof why);
	assert_string_equal(why, "");
	snprintf(from, sizeof from, "%s/krb5.conf", dir);
	assert_int_equal(krb5_snapshot(from, config_path(checker->config, CONFIG_CHECK_KRB5_SNAPSHOT, path),
			     why, sizeof why),
	    0);
	assert_int_equal(msg_pair(checker->doors.checker), 0);
	checker->role = (struct role){
	    .config = checker->config, .listeners = &checker->listeners, .doors = &checker->doors};
	assert_int_equal(child_start(&checker->child, checker_main, &checker->role), 0);
	wait_readable(checker->child.leash);
	assert_int_equal(msg_recv(checker->child.leash, MSG_AT_PARENT, buf, sizeof buf, &msg), MSG_OK);
	assert_int_equal(msg.type, MSG_CHILD_READY);
}

/* It ends at once, whatever its processes wait for. */
static void checker_stop(struct checker *checker)
{
	int status;

	child_cut(&checker->child);
	assert_int_equal(waitpid(checker->child.pid, &status, 0), checker->child.pid);
	assert_int_equal(status, 0);
	close(checker->doors.checker[0]);
	close(checker->doors.checker[1]);
	config_free(&checker->config);
}

static int ask(struct checker *checker, enum check_kind kind, const char *user, const char *secret)
{
	struct check check = {.session = 7, .kind = kind};
	int answer = -1;

	snprintf(check.user, sizeof check.user, "%s", user);
	snprintf(check.secret, sizeof check.secret, "%s", secret);
	assert_int_equal(check_ask(checker->doors.checker[DOOR_CALLER], &check, &answer), MSG_OK);
	return answer;
}

/* The verdict, or -1 when the process ended without one. */
static int hear(int answer, struct check_result *result_r)
{
	int got;

	wait_readable(answer);
	got = check_hear(answer, result_r);
	close(answer);
	assert_true(got == MSG_OK || got == MSG_EOF);
	return got == MSG_OK ? (int)result_r->verdict : -1;
}

struct row {
	const char *sentence, *user, *secret;
	enum check_verdict want;
	const char *why; /* stands in the line for the log */
};

static void walk(struct checker *checker, enum check_kind kind, const struct row *rows, size_t count)
{
	struct check_result result;

	for (size_t i = 0; i < count; i++) {
		int got = hear(ask(checker, kind, rows[i].user, rows[i].secret), &result);

		if (got != (int)rows[i].want || strstr(result.why, rows[i].why) == NULL)
			fail_msg("%s: verdict %d, '%s'", rows[i].sentence, got, result.why);
	}
}

#define WALK(checker, kind, rows) walk(checker, kind, rows, sizeof(rows) / sizeof((rows)[0]))

/* ---- Kerberos ---- */

static void test_kerberos(void **state)
{
	static const struct row rows[] = {
	    {"the right password", "alice", "alice-krb", CHECK_RIGHT, ""},
	    {"the right one, proven before the ticket", "preauth", "sesam", CHECK_RIGHT, ""},
	    {"a wrong one", "alice", "bob-krb", CHECK_WRONG, "the KDC"},
	    {"a wrong one, proven before the ticket", "preauth", "wrong", CHECK_WRONG,
		"Preauthentication failed"},
	    {"nobody", "nobody", "sesam", CHECK_WRONG, "not found"},
	    {"a principal without tickets", "locked", "sesam", CHECK_LOCKED, "revoked"},
	    {"a password that must be changed", "must-change", "sesam", CHECK_EXPIRED, "expired"},
	    {"a password that is too old", "stale", "sesam", CHECK_EXPIRED, "expired"},
	    {"a principal that is too old", "old", "sesam", CHECK_EXPIRED, "expired"},
	    {"a name with a realm that is listed", "alice@kpopd.test", "alice-krb", CHECK_RIGHT, ""},
	    {"a name with another realm", "alice@other.test", "alice-krb", CHECK_WRONG, "kerberos_realms"},
	    {"a realm alone", "@KPOPD.TEST", "alice-krb", CHECK_WRONG, "kerberos_realms"},
	    {"a slash makes no instance", "pop/localhost", "sesam", CHECK_WRONG, "not found"},
	    {"a backslash quotes nothing", "al\\ice", "alice-krb", CHECK_WRONG, "not found"},
	};
	struct checker checker;

	(void)state;
	checker_start(&checker, "passwords = { 'kerberos' }\nkerberos_realms = { 'KPOPD.TEST' }");
	WALK(&checker, CHECK_KERBEROS, rows);
	checker_stop(&checker);
}

/* Whoever answers in the KDC's place knows no key of ours. */
static void test_kdc_unproven(void **state)
{
	static const struct row false_key[] = {
	    {"a key that the KDC does not have", "alice", "alice-krb", CHECK_UNAVAILABLE,
		"could not be proven"},
	    {"a wrong password all the same", "preauth", "wrong", CHECK_WRONG, "Preauthentication failed"},
	};
	static const struct row no_key[] = {
	    {"no key to prove it with", "alice", "alice-krb", CHECK_UNAVAILABLE, "keytab"},
	};
	struct checker checker;
	char keys[512];

	(void)state;
	/* The same principals, with keys of another realm's making. */
	assert_int_equal(run("cp %s/krb5.keytab %s/true.keytab", dir, dir), 0);
	assert_int_equal(
	    run("KRB5_CONFIG=%s/krb5.conf KRB5_KDC_PROFILE=%s/kdc.conf PATH=$PATH:/usr/sbin sh -c '"
		"rm %s/krb5.keytab; for s in pop pop3; do kadmin.local -q \"ktadd -k %s/krb5.keytab "
		"$s/localhost\" && kadmin.local -q \"cpw -randkey -keepold $s/localhost\" && "
		"kadmin.local -q \"cpw -randkey $s/localhost\"; done' >&2",
		dir, dir, dir, dir),
	    0);
	checker_start(&checker, "passwords = { 'kerberos' }");
	WALK(&checker, CHECK_KERBEROS, false_key);
	checker_stop(&checker);
	snprintf(keys, sizeof keys, "passwords = { 'kerberos' }\nservices = { 'imap4' }");
	checker_start(&checker, keys);
	WALK(&checker, CHECK_KERBEROS, no_key);
	checker_stop(&checker);
	/* And a key that is the KDC's again. */
	assert_int_equal(
	    run("KRB5_CONFIG=%s/krb5.conf KRB5_KDC_PROFILE=%s/kdc.conf PATH=$PATH:/usr/sbin sh -c '"
		"rm %s/krb5.keytab; kadmin.local -q \"ktadd -k %s/krb5.keytab pop/localhost\"' >&2",
		dir, dir, dir, dir),
	    0);
}

/* ---- when nobody answers ---- */

static void signal_kdc(int number)
{
	assert_int_equal(run("kill -%d $(cat %s/kdc.pid)", number, dir), 0);
}

static unsigned children_of(pid_t parent)
{
	char path[64], line[4096] = "";
	unsigned count = 0;
	FILE *in;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
	in = fopen(path, "re");
	assert_non_null(in);
	if (fgets(line, sizeof line, in) != NULL)
		for (const char *at = line; *at != '\0'; at++)
			count += *at == ' ';
	fclose(in);
	return count;
}

static void test_hung_kdc(void **state)
{
	static const struct row after[] = {
	    {"the KDC answers again", "alice", "alice-krb", CHECK_RIGHT, ""},
	};
	enum { CHECKS = 3, ASKED = 5 };
	struct check_result result;
	struct checker checker;
	int answers[ASKED];

	(void)state;
	checker_start(&checker, "passwords = { 'kerberos' }\nchecks = 3\ncheck_secs = 5");
	signal_kdc(SIGSTOP);
	for (int i = 0; i < ASKED; i++)
		answers[i] = ask(&checker, CHECK_KERBEROS, "alice", "alice-krb");
	for (int i = 0; i < ASKED; i++) {
		assert_true(children_of(checker.child.pid) <= CHECKS);
		assert_int_equal(hear(answers[i], &result), -1);
	}
	/* Who has given up is not asked for. */
	for (int i = 0; i < ASKED; i++)
		close(ask(&checker, CHECK_KERBEROS, "alice", "alice-krb"));
	signal_kdc(SIGCONT);
	WALK(&checker, CHECK_KERBEROS, after);
	checker_stop(&checker);
}

static void test_ends_at_once(void **state)
{
	struct checker checker;
	int answer;

	(void)state;
	checker_start(&checker, "passwords = { 'kerberos' }\ncheck_secs = 25");
	signal_kdc(SIGSTOP);
	answer = ask(&checker, CHECK_KERBEROS, "alice", "alice-krb");
	while (children_of(checker.child.pid) < 3) /* the one that was taken has been replaced */
		usleep(10000);
	uint64_t began = now_msecs();
	checker_stop(&checker);
	assert_true(now_msecs() - began < 20000);
	signal_kdc(SIGCONT);
	close(answer);
}

static void test_no_kdc(void **state)
{
	static const struct row rows[] = {
	    {"no KDC listens", "alice", "alice-krb", CHECK_UNAVAILABLE, "Cannot contact any KDC"},
	};
	struct checker checker;
	char text[256];

	(void)state;
	snprintf(text, sizeof text, "stop %s", dir);
	assert_int_equal(realm(text), 0);
	checker_start(&checker, "passwords = { 'kerberos' }");
	WALK(&checker, CHECK_KERBEROS, rows);
	checker_stop(&checker);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kerberos),
	    cmocka_unit_test(test_hung_kdc),
	    cmocka_unit_test(test_ends_at_once),
	    cmocka_unit_test(test_kdc_unproven),
	    cmocka_unit_test(test_no_kdc),
	};

	return cmocka_run_group_tests(tests, start_realm, stop_realm);
}
