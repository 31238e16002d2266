/* SPDX-License-Identifier: ISC */
/* Each role enters its sandbox in a child of its own and tries one thing: a matrix of roles and attempts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/capability.h>
#include <cmocka.h>

#include "server/ids.h"
#include "server/landlock.h"
#include "server/sandbox.h"
#include "server/sandbox_build.h"
#include "server/tls.h"
#include "tests/server/sandbox_attempts.h"
#include "tests/server/tls_fixture.h"

/* How a role comes to its sandbox. */
enum way {
	WAY_ROOT,      /* started as root, takes nobody's ids */
	WAY_ORDINARY,  /* started as an ordinary user */
	WAY_TIGHTENED, /* as root, in a parent's sandbox, then its own after the fork */
	WAY_BECOME /* as root, in the sandbox of those who become users, then one of these after the fork */
};

enum { EXIT_WORKED = 10, EXIT_DENIED = 11, EXIT_NO_SANDBOX = 12 };

static struct scene scene;
static const char *const role_names[] = {"front-parent", "front", "auth", "store-parent", "store",
    "checker-parent", "checker", "users-parent", "lmtp-parent", "lmtp", "deliverer-parent", "deliverer"};

/* In whose sandbox a role begins that is forked. */
static const enum sandbox_role parents[SANDBOX_ROLE_COUNT] = {
    [SANDBOX_FRONT] = SANDBOX_FRONT_PARENT,
    [SANDBOX_STORE] = SANDBOX_STORE_PARENT,
    [SANDBOX_CHECKER] = SANDBOX_CHECKER_PARENT,
    [SANDBOX_LMTP] = SANDBOX_LMTP_PARENT,
    [SANDBOX_DELIVERER] = SANDBOX_DELIVERER_PARENT,
};

static bool is_child(enum sandbox_role role)
{
	return role == SANDBOX_FRONT || role == SANDBOX_STORE || role == SANDBOX_CHECKER ||
	       role == SANDBOX_LMTP || role == SANDBOX_DELIVERER;
}

static bool is_front(enum sandbox_role role)
{
	return role == SANDBOX_FRONT || role == SANDBOX_FRONT_PARENT || role == SANDBOX_LMTP ||
	       role == SANDBOX_LMTP_PARENT;
}

static bool is_checker(enum sandbox_role role)
{
	return role == SANDBOX_CHECKER || role == SANDBOX_CHECKER_PARENT;
}

static void become_nobody(void)
{
	const struct passwd *nobody = getpwnam("nobody");
	gid_t gid;

	if (nobody == NULL)
		_exit(98);
	gid = nobody->pw_gid;
	if (setgroups(1, &gid) != 0 || setresgid(gid, gid, gid) != 0 ||
	    setresuid(nobody->pw_uid, nobody->pw_uid, nobody->pw_uid) != 0)
		_exit(98);
}

/* As a store does for a user of the system; who is nobody here, for the files of the tests are his. */
static int become_user(enum sandbox_role role, char *why_r, size_t size)
{
	static struct ids ids = {65534, 65534, {65534, 4242}, 2};
	int dir = open(fixture_dir(), O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (ids_take(&ids, 0, why_r, size) != 0 || sandbox_confine(&dir, 1, why_r, size) != 0)
		return -1;
	close(dir);
	return sandbox_tighten(role, why_r, size);
}

static int enter_users_parent(char *why_r, size_t size)
{
	const struct sandbox_path all = {"/", SANDBOX_WRITE};
	const struct sandbox sandbox = {
	    .role = SANDBOX_USERS_PARENT,
	    .user = "daemon",
	    .capabilities = IDS_CAPABILITY(CAP_SETUID) | IDS_CAPABILITY(CAP_SETGID),
	    .first_uid = 1000,
	    .paths = &all,
	    .path_count = 1,
	};

	return sandbox_enter(&sandbox, why_r, size);
}

static int enter(enum sandbox_role role, bool as_root, char *why_r, size_t size)
{
	const struct sandbox_path path = {fixture_dir(), is_checker(role) ? SANDBOX_READ : SANDBOX_WRITE};
	const struct sandbox sandbox = {
	    .role = role,
	    .user = "nobody",
	    .chroot_dir = is_front(role) ? fixture_path("empty") : NULL,
	    .paths = &path,
	    .path_count = is_front(role) ? 0 : 1,
	    .file_octets = role == SANDBOX_LMTP || role == SANDBOX_LMTP_PARENT ? 1 << 20 : 0,
	};

	if (!as_root && geteuid() == 0)
		become_nobody();
	return sandbox_enter(&sandbox, why_r, size);
}

/* In a child: enters role by way, or ends the process. */
static void enter_by(enum way way, enum sandbox_role role)
{
	char why[256] = "";
	pid_t child;
	int status, result;

	if (way == WAY_BECOME)
		result = enter_users_parent(why, sizeof(why));
	else
		result =
		    enter(way == WAY_TIGHTENED ? parents[role] : role, way != WAY_ORDINARY, why, sizeof(why));
	if (result != 0) {
		fprintf(stderr, "# %s: %s\n", role_names[role], why);
		_exit(EXIT_NO_SANDBOX);
	}
	if (way != WAY_TIGHTENED && way != WAY_BECOME)
		return;
	child = fork();
	if (child > 0) {
		/* The grandchild's end, told with what a parent is allowed: an exit status. */
		while (waitpid(child, &status, 0) < 0)
			continue;
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	}
	if (child == 0)
		result = way == WAY_BECOME ? become_user(role, why, sizeof(why))
					   : sandbox_tighten(role, why, sizeof(why));
	if (child < 0 || result != 0) {
		fprintf(stderr, "# %s: %s\n", role_names[role], why);
		_exit(EXIT_NO_SANDBOX);
	}
}

/* Things that an attempt uses up. */
static void furnish(void)
{
	static const char *const names[] = {"new/mail", "new/moves", "own"};

	unlink(fixture_path("replay"));
	unlink(fixture_path("cur/moves"));
	for (size_t i = 0; i < 3; i++) {
		fixture_text(names[i], "mail\n", 0600);
		if (geteuid() == 0 && chown(fixture_path(names[i]), 65534, 65534) != 0)
			fail();
	}
	fixture_sockets(scene.pair);
}

static char try(enum way way, enum sandbox_role role, attempt_fn *attempt)
{
	pid_t child;
	int status;

	furnish();
	child = fork();
	if (child == 0) {
		struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		alarm(10);
		enter_by(way, role);
		_exit(attempt(&scene) == 0 ? EXIT_WORKED : EXIT_DENIED);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	close(scene.pair[0]);
	close(scene.pair[1]);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? 'k' : '!';
	switch (WEXITSTATUS(status)) {
	case EXIT_WORKED:
		return 'a';
	case EXIT_DENIED:
		return 'd';
	case SIGSYS: /* of a grandchild */
		return 'k';
	default:
		return '?';
	}
}

/* In a build with sanitizers some calls are refused that otherwise end the process. */
static bool as_wanted(char got, char want)
{
	return got == want || (SANDBOX_SANITIZED && strchr("dk", got) != NULL && want != 'a');
}

static void walk(enum way way)
{
	int abi = landlock_abi();
	unsigned wrong = 0;

	for (size_t i = 0; i < attempt_count; i++) {
		char got[SANDBOX_ROLE_COUNT + 1] = "";

		if (attempts[i].abi > abi || (SANDBOX_SANITIZED && !attempts[i].sanitizer))
			continue;
		for (enum sandbox_role role = 0; role < SANDBOX_ROLE_COUNT; role++) {
			got[role] = '-';
			if ((way == WAY_TIGHTENED && !is_child(role)) ||
			    (way == WAY_BECOME && role != SANDBOX_STORE && role != SANDBOX_DELIVERER))
				continue;
			got[role] = try(way, role, attempts[i].run);
			wrong += !as_wanted(got[role], attempts[i].want[role]);
		}
		print_message("# %s  %-45s want %s\n", got, attempts[i].sentence, attempts[i].want);
	}
	assert_int_equal(wrong, 0);
}

static void test_matrix_as_root(void **state)
{
	(void)state;
	walk(WAY_ROOT);
}

static void test_matrix_tightened(void **state)
{
	(void)state;
	walk(WAY_TIGHTENED);
}

static void test_matrix_as_a_user_of_the_system(void **state)
{
	(void)state;
	walk(WAY_BECOME);
}

struct bound_row {
	const char *sentence;
	long call;
	uint64_t arguments[3];
	bool want; /* it works */
};

/* What is no id by itself is put behind one more bit than the kernel looks at. */
#define BEHIND(id) ((UINT64_C(1) << 32) | (id))

static const struct bound_row bound_rows[] = {
    {"become a user", SYS_setresuid, {4242, 4242, 4242}, true},
    {"become the first", SYS_setresuid, {1000, 1000, 1000}, true},
    {"become root", SYS_setresuid, {0, 0, 0}, false},
    {"become root in effect", SYS_setresuid, {4242, 0, 4242}, false},
    {"keep root for later", SYS_setresuid, {4242, 4242, 0}, false},
    {"become root, behind a bit that is not looked at", SYS_setresuid, {BEHIND(0), BEHIND(0), BEHIND(0)},
	false},
    {"become a user of the system's own", SYS_setresuid, {999, 999, 999}, false},
    {"the same in part", SYS_setresuid, {(uint32_t)-1, 2, (uint32_t)-1}, false},
    {"take a group", SYS_setresgid, {4242, 4242, 4242}, true},
    {"take the group of root", SYS_setresgid, {0, 0, 0}, false},
    {"take it in part", SYS_setresgid, {(uint32_t)-1, 0, (uint32_t)-1}, false},
    {"take it behind a bit", SYS_setresgid, {4242, BEHIND(0), 4242}, false},
};

static void test_bounds_of_ids(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bound_rows) / sizeof(bound_rows[0]); i++) {
		const struct bound_row *row = &bound_rows[i];
		const uint64_t *a = row->arguments;
		pid_t child = fork();
		int status;

		if (child == 0) {
			char why[256];

			if (enter_users_parent(why, sizeof(why)) != 0)
				_exit(EXIT_NO_SANDBOX);
			_exit(syscall(row->call, a[0], a[1], a[2]) == 0 ? EXIT_WORKED : EXIT_DENIED);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		if (status != (row->want ? EXIT_WORKED : EXIT_DENIED) << 8)
			fail_msg("%s: status %x", row->sentence, (unsigned)status);
	}
}

/* The file system's ids tell themselves only by what was there before. */
static void test_bounds_of_file_ids(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	if (child == 0) {
		char why[256];

		if (enter_users_parent(why, sizeof(why)) != 0)
			_exit(EXIT_NO_SANDBOX);
		setfsuid(4242);
		setfsgid(4242);
		setfsuid(0);
		setfsuid(999);
		setfsgid(0);
		_exit(setfsuid((uid_t)-1) == 4242 && setfsgid((gid_t)-1) == 4242 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_matrix_as_ordinary_user(void **state)
{
	(void)state;
	walk(WAY_ORDINARY);
}

/* The value of "key:" in /proc/PID/file, or of the words of key in limits. */
static const char *proc_value(pid_t pid, const char *file, const char *key)
{
	static char line[256];
	char path[64];
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	in = fopen(path, "re");
	assert_non_null(in);
	while (fgets(line, sizeof(line), in) != NULL) {
		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		fclose(in);
		line[strcspn(line, "\n")] = '\0';
		return line + strlen(key) + strspn(line + strlen(key), " \t");
	}
	fclose(in);
	fail_msg("no %s in %s", key, path);
	return "";
}

struct proc_row {
	const char *file, *key, *want; /* want: how the value begins */
};

static const struct proc_row proc_rows[] = {
    {"status", "NoNewPrivs:", "1"},
    {"status", "Seccomp:", "2"},
    {"status", "CapEff:", "0000000000000000"},
    {"status", "CapPrm:", "0000000000000000"},
    {"status", "CapInh:", "0000000000000000"},
    {"status", "CapAmb:", "0000000000000000"},
    {"status", "Uid:", "65534\t65534\t65534\t65534"},
    {"status", "Gid:", "65534\t65534\t65534\t65534"},
    {"status", "Groups:", "65534 "},
    {"limits", "Max core file size", "0                    0"},
};

/* Seen from outside, while the role waits. */
static void check_from_outside(enum way way, enum sandbox_role role)
{
	char octet, path[64], root[PATH_MAX] = "";
	int to_us[2], to_child[2];
	struct stat st;
	pid_t child;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, to_us), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, to_child), 0);
	child = fork();
	if (child == 0) {
		close(to_child[0]);
		enter_by(way, role);
		_exit(write(to_us[1], "+", 1) != 1 || read(to_child[1], &octet, 1) != 0);
	}
	close(to_us[1]);
	close(to_child[1]);
	assert_int_equal(read(to_us[0], &octet, 1), 1);
	for (size_t i = 0; i < sizeof(proc_rows) / sizeof(proc_rows[0]); i++) {
		const struct proc_row *row = &proc_rows[i];
		const char *got = proc_value(child, row->file, row->key);

		if (strncmp(got, row->want, strlen(row->want)) != 0)
			fail_msg("%s: %s %s", role_names[role], row->key, got);
	}
	/* What may not be dumped belongs to root in /proc. */
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)child);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
	if (way == WAY_ROOT && is_front(role)) {
		snprintf(path, sizeof(path), "/proc/%d/root", (int)child);
		assert_true(readlink(path, root, sizeof(root) - 1) > 0);
		assert_string_equal(root, fixture_path("empty"));
	}
	close(to_child[0]);
	close(to_us[0]);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_seen_from_outside(void **state)
{
	(void)state;
	for (enum sandbox_role role = 0; role < SANDBOX_ROLE_COUNT; role++) {
		check_from_outside(WAY_ROOT, role);
		check_from_outside(WAY_ORDINARY, role);
	}
}

struct refusal_row {
	const char *sentence, *user, *chroot_dir, *path, *want;
};

static const struct refusal_row refusal_rows[] = {
    {"a user that is not there", "no-such-user", NULL, NULL, "no-such-user"},
    {"root is no user to drop to", "root", NULL, NULL, "root"},
    {"a chroot that is not there", "nobody", "absent", NULL, "absent"},
    {"a chroot that the role could write", "nobody", "new", NULL, "new"},
    {"a path that is not there", "nobody", NULL, "absent", "absent"},
};

static void test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusal_rows) / sizeof(refusal_rows[0]); i++) {
		const struct refusal_row *row = &refusal_rows[i];
		pid_t child = fork();
		int status;

		if (child == 0) {
			struct sandbox_path path = {
			    row->path == NULL ? NULL : fixture_path(row->path), SANDBOX_READ};
			struct sandbox sandbox = {.role = SANDBOX_AUTH,
			    .user = row->user,
			    .chroot_dir = row->chroot_dir == NULL ? NULL : fixture_path(row->chroot_dir),
			    .paths = &path,
			    .path_count = row->path != NULL};
			char why[256] = "";
			bool refused = sandbox_enter(&sandbox, why, sizeof(why)) == -1;

			_exit(refused && strstr(why, row->want) != NULL ? 0 : 1);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		if (row->path != NULL && landlock_abi() == 0)
			continue;
		if (status != 0)
			fail_msg("%s", row->sentence);
	}
}

static void test_description(void **state)
{
	(void)state;
	assert_non_null(strstr(sandbox_description(), "seccomp"));
	assert_non_null(strstr(sandbox_description(), landlock_abi() > 0 ? "landlock ABI " : "no landlock"));
	print_message("# %s\n", sandbox_description());
}

static int make_sockets(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);

	scene.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	scene.connected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	scene.fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(scene.listener, (struct sockaddr *)&at, len) != 0 || listen(scene.listener, 512) != 0 ||
	    getsockname(scene.listener, (struct sockaddr *)&at, &len) != 0 ||
	    connect(scene.connected, (struct sockaddr *)&at, len) != 0)
		return -1;
	/* Each child that may accept takes one of these. */
	for (int i = 0; i < 32; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&at, len) != 0)
			return -1;
	}
	return 0;
}

static int setup(void **state)
{
	static const char *const dirs[] = {"new", "cur", "empty"};
	char why[256];

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < 3; i++) {
		if (mkdir(fixture_path(dirs[i]), 0755) != 0)
			return -1;
		if (geteuid() == 0 && i < 2 && chown(fixture_path(dirs[i]), 65534, 65534) != 0)
			return -1;
	}
	if (geteuid() == 0 && chown(fixture_dir(), 65534, 65534) != 0)
		return -1;
	fixture_pair("server", FIXTURE_ECDSA, 86400, NULL);
	fixture_text(
	    "krb5.conf", "[libdefaults]\n default_realm = EXAMPLE.ORG\n dns_lookup_kdc = false\n", 0644);
	scene.server =
	    tls_context_new(fixture_path("server.crt"), fixture_path("server.key"), why, sizeof(why));
	scene.client = fixture_client(0, 0);
	scene.code = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	return scene.server != NULL && scene.code >= 0 ? make_sockets() : -1;
}

static int teardown(void **state)
{
	(void)state;
	SSL_CTX_free(scene.server);
	SSL_CTX_free(scene.client);
	fixture_remove();
	return 0;
}

int main(void)
{
	static const struct CMUnitTest as_root[] = {
	    cmocka_unit_test(test_matrix_as_root),
	    cmocka_unit_test(test_matrix_tightened),
	    cmocka_unit_test(test_matrix_as_a_user_of_the_system),
	    cmocka_unit_test(test_bounds_of_ids),
	    cmocka_unit_test(test_bounds_of_file_ids),
	    cmocka_unit_test(test_matrix_as_ordinary_user),
	    cmocka_unit_test(test_seen_from_outside),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_description),
	};
	static const struct CMUnitTest as_ordinary_user[] = {
	    cmocka_unit_test(test_matrix_as_ordinary_user),
	    cmocka_unit_test(test_description),
	};

	if (geteuid() == 0)
		return cmocka_run_group_tests(as_root, setup, teardown);
	return cmocka_run_group_tests(as_ordinary_user, setup, teardown);
}
