/* SPDX-License-Identifier: ISC */
/*
 * What a store that was taken over can do once it is some user: it is the real one, up to where it would open
 * the maildrop; there it tries for what is another's instead. Two accounts of the test's own, in a view of
 * /etc/passwd that nobody else has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "server/account.h"
#include "server/landlock.h"
#include "server/log.h"
#include "server/msg.h"
#include "server/sandbox_build.h"
#include "server/store_users.h"
#include "tests/server/config_text.h"
#include "tests/server/tls_fixture.h"

#define ALICE 61001
#define BOB 61002
#define WHY_OCTETS 512

enum { EXIT_WORKED = 10, EXIT_DENIED = 11, EXIT_NOT_HIM = 12 };

/* How he got there: with the ids alone, as where a kernel has no Landlock; or all the way. */
enum way { WAY_IDS, WAY_STORE, WAY_COUNT };

static struct config *config;

/* ---- attempts; 0, or an errno ---- */

static int outcome(long result)
{
	return result < 0 ? errno : 0;
}

static int look_into(const char *path)
{
	char octet;
	int fd = open(fixture_path(path), O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return errno;
	return read(fd, &octet, 1) < 0 && errno != EISDIR ? errno : 0;
}

static int write_to(const char *path)
{
	return outcome(open(fixture_path(path), O_WRONLY | O_APPEND));
}

static int make(const char *path)
{
	return outcome(open(fixture_path(path), O_WRONLY | O_CREAT | O_EXCL, 0600));
}

static int take_away(const char *path)
{
	return outcome(unlink(fixture_path(path)));
}

static int move_here(const char *path)
{
	return outcome(rename(fixture_path(path), fixture_path("home/alice/Maildir/new/taken")));
}

/* Where a call ends the process, it does not work either. */
static int link_here(const char *path)
{
	return outcome(link(fixture_path(path), fixture_path("home/alice/Maildir/new/linked")));
}

static int become(const char *id)
{
	uid_t uid = (uid_t)strtoul(id, NULL, 10);
	return outcome(setresuid(uid, uid, uid));
}

static int join(const char *id)
{
	gid_t gid = (gid_t)strtoul(id, NULL, 10);
	return outcome(setresgid(gid, gid, gid));
}

static int look_at_process(const char *what)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)getppid(), what);
	return outcome(open(path, O_RDONLY));
}

static int end_process(const char *number)
{
	return outcome(kill((pid_t)strtol(number, NULL, 10), SIGKILL));
}

static int make_socket(const char *unused)
{
	(void)unused;
	return outcome(socket(AF_INET, SOCK_STREAM, 0));
}

struct attempt {
	const char *sentence;
	int (*run)(const char *);
	const char *what;
	const char *want; /* for each way: a(llowed), d(enied: an error or the end) */
};

static const struct attempt attempts[] = {
    {"his own mail is read", look_into, "home/alice/Maildir/new/1.own", "aa"},
    {"his own Maildir is written to", make, "home/alice/Maildir/new/2.own", "aa"},
    {"his own mail is removed", take_away, "home/alice/Maildir/new/1.own", "aa"},
    {"his own state is read", look_into, "state/users/alice", "aa"},
    {"his own index is written to", make, "state/users/alice/index/new", "aa"},
    {"his other files", look_into, "home/alice/diary", "ad"},
    {"a new file in his home", make, "home/alice/.profile", "ad"},
    {"another's message", look_into, "home/bob/Maildir/new/1.bob", "dd"},
    {"another's Maildir", look_into, "home/bob/Maildir", "dd"},
    {"another's home", look_into, "home/bob", "dd"},
    {"another's message, written to", write_to, "home/bob/Maildir/new/1.bob", "dd"},
    {"another's message, removed", take_away, "home/bob/Maildir/new/1.bob", "dd"},
    {"another's message, moved here", move_here, "home/bob/Maildir/new/1.bob", "dd"},
    {"another's spool", look_into, "spool/bob", "dd"},
    {"another's spool, written to", write_to, "spool/bob", "dd"},
    {"another's state directory", look_into, "state/users/bob", "dd"},
    {"another's index", look_into, "state/users/bob/index", "dd"},
    {"a state directory in another's name", make, "state/users/carol", "dd"},
    {"another's mail that is open to all", look_into, "home/open/Maildir/new/1.open", "ad"},
    {"another's mail that is open to all, written to", write_to, "home/open/Maildir/new/1.open", "ad"},
    {"another's mail that is open to all, linked here", link_here, "home/open/Maildir/new/1.open", "ad"},
    {"the secrets", look_into, "state/auth/secrets.mdb", "dd"},
    {"the keytab", look_into, "keytab", "dd"},
    {"a keytab that was left open to all", look_into, "keytab.open", "ad"},
    {"everybody's index", look_into, "state/index", "dd"},
    {"become another", become, "61002", "dd"},
    {"become root", become, "0", "dd"},
    {"join the group of root", join, "0", "dd"},
    {"join another's group", join, "61002", "dd"},
    {"its parent's descriptors", look_at_process, "fd", "dd"},
    {"its parent's memory", look_at_process, "mem", "dd"},
    {"end any process", end_process, "1", "dd"},
    {"the network", make_socket, "", "ad"},
};

/* ---- how to get there ---- */

static int become_by_ids(void)
{
	static struct account alice;
	char why[WHY_OCTETS];
	if (account_find(config, "alice", &alice, why, sizeof why) != ACCOUNT_OK ||
	    account_become(&alice, why, sizeof why) != 0) {
		fprintf(stderr, "# %s\n", why);
		return -1;
	}
	return 0;
}

static int become_as_store(int leash)
{
	static uint8_t body[64];
	struct store_config store_config;
	struct msg_writer w = {body, sizeof body, 0, false};
	int pair[2];
	if (msg_pair(pair) != 0)
		return -1;
	msg_put_u64(&w, 1);
	msg_put_u8(&w, 0);
	msg_put_bytes(&w, "alice", 5);
	const struct msg open_alice = {.type = MSG_AUTH_OPEN, .body = body, .len = w.len, .fd = pair[0]};
	store_users_enter(config);
	store_users_begin();
	struct drop *drop = drop_new(&open_alice);
	return drop == NULL ? -1 : store_users_become(config, drop, leash, &store_config);
}

/* The parent's part: it may. */
static void grant(int leash)
{
	uint8_t room[LIMIT_MSG_FIXED_OCTETS];
	struct pollfd fd = {.fd = leash, .events = POLLIN};
	struct msg msg;
	while (poll(&fd, 1, 10000) == 1 && msg_recv(leash, MSG_AT_PARENT, room, sizeof room, &msg) == MSG_OK)
		if (msg.type == MSG_CHILD_BECOMES)
			(void)msg_send(leash, MSG_PARENT_GRANTS, NULL, 0, -1);
}

static void own(const char *path, unsigned uid)
{
	if (lchown(fixture_path(path), uid, uid) != 0)
		fail_msg("chown %s", path);
}

static void text(const char *path, unsigned uid, unsigned mode)
{
	fixture_text(path, "x\n", mode);
	own(path, uid);
}

/* What attempts use up. */
static void furnish(void)
{
	static const char *const made[] = {"home/alice/Maildir/new/2.own", "home/alice/Maildir/new/taken",
	    "home/alice/Maildir/new/linked", "home/alice/.profile", "state/users/alice/index/new"};
	for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
		unlink(fixture_path(made[i]));
	text("home/alice/Maildir/new/1.own", ALICE, 0600);
	text("home/bob/Maildir/new/1.bob", BOB, 0600);
}

static char try(enum way way, const struct attempt *attempt)
{
	int leash[2], status;
	furnish();
	assert_int_equal(msg_pair(leash), 0);
	pid_t child = fork();
	if (child == 0) {
		const struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		alarm(20);
		close(leash[0]);
		if ((way == WAY_IDS ? become_by_ids() : become_as_store(leash[1])) != 0)
			_exit(EXIT_NOT_HIM);
		int error = attempt->run(attempt->what);
		_exit(error == 0 ? EXIT_WORKED : EXIT_DENIED);
	}
	assert_true(child > 0);
	close(leash[1]);
	grant(leash[0]);
	close(leash[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? 'd' : '!';
	return WEXITSTATUS(status) == EXIT_WORKED ? 'a' : WEXITSTATUS(status) == EXIT_DENIED ? 'd' : '?';
}

static void test_nobody_elses(void **state)
{
	(void)state;
	unsigned wrong = 0;
	for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
		char got[WAY_COUNT + 1] = "";
		const char *want = attempts[i].want;
		for (enum way way = 0; way < WAY_COUNT; way++)
			got[way] = try(way, &attempts[i]);
		/* What Landlock alone holds back is not held back without it. */
		if (landlock_abi() == 0 && want[WAY_IDS] == 'a' && attempts[i].run != make_socket)
			want = "aa";
		wrong += strcmp(got, want) != 0;
		print_message("# %s  %-50s want %s\n", got, attempts[i].sentence, want);
	}
	assert_int_equal(wrong, 0);
}

/* ---- who is found ---- */

struct find_row {
	const char *sentence, *user;
	int want;
	const char *why;
};

static const struct find_row find_rows[] = {
    {"an account", "alice", ACCOUNT_OK, ""},
    {"nobody of that name", "zelda", ACCOUNT_NONE, "there is no account zelda"},
    {"root", "root", ACCOUNT_REFUSED, "root's mail is never served"},
    {"another root", "toor", ACCOUNT_REFUSED, "root's mail is never served"},
    {"an account of the system", "daemon", ACCOUNT_REFUSED, "below first_uid (1000)"},
    {"the last that is too low", "low", ACCOUNT_REFUSED, "below first_uid (1000)"},
    {"the first that is not", "first", ACCOUNT_OK, ""},
    {"nobody", "nobody", ACCOUNT_REFUSED, "which is nobody's"},
    {"one of our own", "role", ACCOUNT_REFUSED, "kpopd's own users"},
    {"another name of it", "roletwin", ACCOUNT_REFUSED, "kpopd's own users"},
    {"one whose group is root's", "wheel", ACCOUNT_REFUSED, "the group of root"},
    {"one without a home", "homeless", ACCOUNT_REFUSED, "has no home"},
    {"a name with a domain", "alice@example.org", ACCOUNT_REFUSED, "has a domain"},
};

static void test_find(void **state)
{
	static struct account account;
	(void)state;
	for (size_t i = 0; i < sizeof find_rows / sizeof find_rows[0]; i++) {
		const struct find_row *row = &find_rows[i];
		char why[WHY_OCTETS] = "";
		int got = account_find(config, row->user, &account, why, sizeof why);
		if (got != row->want || strstr(why, row->why) == NULL)
			fail_msg("%s: %d, %s", row->sentence, got, why);
	}
}

static void test_groups(void **state)
{
	static struct account alice;
	char why[WHY_OCTETS];
	(void)state;
	assert_int_equal(account_find(config, "alice", &alice, why, sizeof why), ACCOUNT_OK);
	assert_int_equal(alice.ids.uid, ALICE);
	assert_int_equal(alice.ids.gid, ALICE);
	assert_string_equal(alice.home, fixture_path("home/alice"));
	/* Of root's group, too, by /etc/group. */
	assert_int_equal(alice.ids.group_count, 2);
	for (int i = 0; i < alice.ids.group_count; i++)
		assert_true(alice.ids.groups[i] == ALICE || alice.ids.groups[i] == 61009);
}

/* ---- what is made for an account ---- */

static int make_in(const char *dir, unsigned mode, gid_t group, bool file, bool privileged)
{
	static struct account alice;
	char why[WHY_OCTETS];
	const char *const path = fixture_path(dir);
	rmdir(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chown(path, 0, group), 0);
	assert_int_equal(chmod(path, mode), 0);
	assert_int_equal(account_find(config, "alice", &alice, why, sizeof why), ACCOUNT_OK);
	pid_t child = fork();
	if (child == 0) {
		struct ids store = {4242, 4242, {4242}, 1};
		const uint64_t keep = IDS_CAPABILITY(6) | IDS_CAPABILITY(7); /* CAP_SETGID, CAP_SETUID */
		int fd = open(path, O_PATH | O_DIRECTORY);
		if (!privileged && ids_take(&store, keep, why, sizeof why) != 0)
			_exit(99);
		int result =
		    file ? account_make_file(&alice, fd, "alice") : account_make_dir(&alice, fd, "alice");
		_exit(result == 0 ? 0 : errno);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_make(void **state)
{
	static const struct {
		const char *sentence;
		unsigned mode;
		gid_t group;
		bool file, root;
		int want;
	} rows[] = {
	    {"a directory, where the group may", 0771, 4242, false, false, 0},
	    {"a file, where the group may", 02775, 61009, true, false, 0},
	    {"a file, where all may", 01777, 0, true, false, 0},
	    {"a directory, where root alone may", 0755, 0, false, false, EACCES},
	    {"by root, where root alone may", 0755, 0, false, true, 0},
	    {"a file by root, where root alone may", 0755, 0, true, true, 0},
	    {"by root, where the group may", 0771, 4242, false, true, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct stat st;
		int got = make_in("made", rows[i].mode, rows[i].group, rows[i].file, rows[i].root);
		if (got != rows[i].want)
			fail_msg("%s: %s", rows[i].sentence, strerror(got));
		if (got == 0) {
			assert_int_equal(lstat(fixture_path("made/alice"), &st), 0);
			assert_int_equal(st.st_uid, ALICE);
			assert_int_equal(st.st_mode, rows[i].file ? (S_IFREG | 0600) : (S_IFDIR | 0700));
			remove(fixture_path("made/alice"));
		}
		rmdir(fixture_path("made"));
	}
}

/* ---- the world ---- */

static int see_other_file(const char *real, const char *mine, const char *more)
{
	char octets[65536];
	int fd = open(real, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, octets, sizeof octets - 1);
	FILE *out = fopen(fixture_path(mine), "w");
	if (len < 0 || out == NULL)
		return -1;
	close(fd);
	octets[len] = '\0';
	fprintf(out, "%s%s", octets, more);
	if (fclose(out) != 0 || chmod(fixture_path(mine), 0644) != 0)
		return -1;
	return mount(fixture_path(mine), real, NULL, MS_BIND, NULL);
}

static int make_accounts(void)
{
	char more[4096];
	snprintf(more, sizeof more,
	    "alice:x:%d:%d::%s:/usr/sbin/nologin\nbob:x:%d:%d::/nonexistent:/bin/false\n"
	    "toor:x:0:0::/root:/bin/sh\nlow:x:999:4000::/:\nfirst:x:1000:4000::/:\n"
	    "role:x:61003:61003::/:\nroletwin:x:61003:61003::/:\nwheel:x:61004:0::/:\n"
	    "homeless:x:61005:61005::relative:\n",
	    ALICE, ALICE, fixture_path("home/alice"), BOB, BOB);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return -1;
	if (see_other_file("/etc/passwd", "passwd", more) != 0)
		return -1;
	/* One line of a group's may follow another of the same number. */
	return see_other_file("/etc/group", "group", "kt-friends:x:61009:alice\nkt-root:x:0:alice\n");
}

static void make_dirs(void)
{
	static const struct {
		const char *path;
		unsigned uid, mode;
	} dirs[] = {{"home", 0, 0755}, {"home/alice", ALICE, 0700}, {"home/alice/Maildir", ALICE, 0700},
	    {"home/alice/Maildir/new", ALICE, 0700}, {"home/bob", BOB, 0700}, {"home/bob/Maildir", BOB, 0700},
	    {"home/bob/Maildir/new", BOB, 0700}, {"home/open", BOB, 0755}, {"home/open/Maildir", BOB, 0755},
	    {"home/open/Maildir/new", BOB, 0755}, {"spool", 0, 01777}, {"state", 0, 0755},
	    {"state/users", 0, 0771}, {"state/users/bob", BOB, 0700}, {"state/users/bob/index", BOB, 0700},
	    {"state/users/alice", ALICE, 0700}, {"state/users/alice/index", ALICE, 0700},
	    {"state/auth", 61003, 0700}, {"state/index", 61003, 0700}};
	for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
		assert_int_equal(mkdir(fixture_path(dirs[i].path), 0700), 0);
		own(dirs[i].path, dirs[i].uid);
		assert_int_equal(chmod(fixture_path(dirs[i].path), dirs[i].mode), 0);
	}
	assert_int_equal(chown(fixture_path("state/users"), 0, 61003), 0);
	text("home/alice/diary", ALICE, 0600);
	text("home/open/Maildir/new/1.open", BOB, 0666);
	text("spool/bob", BOB, 0600);
	text("state/auth/secrets.mdb", 61003, 0600);
	text("keytab", 0, 0600);
	text("keytab.open", 0, 0644);
}

static int setup(void **state)
{
	char lines[2048];
	(void)state;
	umask(022);
	log_open(LOG_TO_STDERR, false);
	if (make_accounts() != 0)
		return -1;
	make_dirs();
	snprintf(lines, sizeof lines,
	    "mail_users = system\nmaildir = '%%h/Maildir'\nmail_root = '%s'\nstate_dir = '%s'\n"
	    "front_user = role\nauth_user = role\nstore_user = role\nchecker_user = role\nhostname = "
	    "localhost\n",
	    fixture_path("spool"), fixture_path("state"));
	config = config_text(lines);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	umount("/etc/group");
	umount("/etc/passwd");
	config_free(&config);
	fixture_remove();
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_find),
	    cmocka_unit_test(test_groups),
	    cmocka_unit_test(test_make),
	    cmocka_unit_test(test_nobody_elses),
	};
	/* Only root becomes somebody, and shows himself another /etc/passwd. */
	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0) {
		puts("1..0 # SKIP only root can become other users, with an /etc/passwd of his own");
		return 0;
	}
	return cmocka_run_group_tests_name("users", tests, setup, teardown);
}
