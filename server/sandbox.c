/* SPDX-License-Identifier: ISC */
#include "server/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/filter.h"
#include "server/ids.h"
#include "server/landlock.h"
#include "server/sandbox_build.h"

/* A process that serves one client, or many; far above what either needs, far below what hurts the machine.
 */
#define ONE_CLIENT_ADDRESS_OCTETS (512ull << 20)
#define ADDRESS_OCTETS (8ull << 30)
/* Descriptors that master may have handed down are below this. */
#define INHERITED_COUNT 1024

static bool entered;

#if SANDBOX_SANITIZED
/* LeakSanitizer stops its own process with ptrace and reads /proc; where neither exists it must not try. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return entered;
}
#endif

/* Always -1. */
static int refuse(char *why_r, size_t size, const char *what, const char *which)
{
	snprintf(why_r, size, "%s%s%s: %s", what, which[0] != '\0' ? " " : "", which, strerror(errno));
	return -1;
}

/* valgrind runs the program on a processor of its own, which knows no seccomp and maps more than we may. */
static bool under_valgrind(void)
{
	const char *preload = getenv("LD_PRELOAD");

	return preload != NULL && strstr(preload, "/vgpreload_core") != NULL;
}

static int find_groups(const char *user, struct ids *ids, char *why_r, size_t size)
{
	ids->group_count = IDS_GROUPS_COUNT;
	if (getgrouplist(user, ids->gid, ids->groups, &ids->group_count) < 0) {
		snprintf(why_r, size, "user %s: is in more than %d groups", user, IDS_GROUPS_COUNT);
		return -1;
	}
	for (int i = 0; i < ids->group_count; i++)
		if (ids->groups[i] == 0) {
			snprintf(why_r, size, "user %s: is in the group of root", user);
			return -1;
		}
	return 0;
}

static int find_user(const char *user, bool groups, struct ids *ids_r, char *why_r, size_t size)
{
	const struct passwd *entry;

	errno = 0;
	entry = getpwnam(user);
	if (entry == NULL) {
		snprintf(why_r, size, "user %s: %s: create it or name another", user,
		    errno == 0 ? "there is no such user" : strerror(errno));
		return -1;
	}
	if (entry->pw_uid == 0 || entry->pw_gid == 0) {
		snprintf(why_r, size, "user %s: has the rights of root: name an ordinary user", user);
		return -1;
	}
	*ids_r = (struct ids){entry->pw_uid, entry->pw_gid, {entry->pw_gid}, 1};
	return groups ? find_groups(user, ids_r, why_r, size) : 0;
}

/*
 * A role that has no files at all gets a root directory that nobody can furnish for it. One that has files
 * may be rooted among them: without exec and with no_new_privs there is nothing to gain by what lies there.
 */
static int enter_root(const char *dir, bool must_be_roots, char *why_r, size_t size)
{
	struct stat st;

	if (stat(dir, &st) != 0)
		return refuse(why_r, size, "directory", dir);
	if (must_be_roots && (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)) {
		snprintf(why_r, size,
		    "directory %s: only root may be able to write there: chown root, chmod 0755", dir);
		return -1;
	}
	if (chroot(dir) != 0 || chdir("/") != 0)
		return refuse(why_r, size, "chroot to", dir);
	return 0;
}

/* Lowers, never raises. */
static int limit(__rlimit_resource_t resource, rlim_t most)
{
	struct rlimit now;

	if (getrlimit(resource, &now) != 0)
		return -1;
	if (now.rlim_max > most)
		now.rlim_max = most;
	if (now.rlim_cur > now.rlim_max)
		now.rlim_cur = now.rlim_max;
	return setrlimit(resource, &now);
}

/* A log that goes to a file is a file that grows. */
static bool writes_a_file(void)
{
	struct stat st;

	for (int fd = 0; fd < INHERITED_COUNT; fd++) {
		int flags = fcntl(fd, F_GETFL);

		if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && fstat(fd, &st) == 0 &&
		    S_ISREG(st.st_mode))
			return true;
	}
	return false;
}

/* The role of a parent's children; its own when it is none. */
static enum sandbox_role child_of(enum sandbox_role role)
{
	switch (role) {
	case SANDBOX_FRONT_PARENT:
		return SANDBOX_FRONT;
	case SANDBOX_STORE_PARENT:
	case SANDBOX_USERS_PARENT: /* or SANDBOX_DELIVERER */
		return SANDBOX_STORE;
	case SANDBOX_CHECKER_PARENT:
		return SANDBOX_CHECKER;
	case SANDBOX_LMTP_PARENT:
		return SANDBOX_LMTP;
	case SANDBOX_DELIVERER_PARENT:
		return SANDBOX_DELIVERER;
	default:
		return role;
	}
}

static bool forks(enum sandbox_role role)
{
	return child_of(role) != role;
}

static bool is_front(enum sandbox_role role)
{
	return child_of(role) == SANDBOX_FRONT || child_of(role) == SANDBOX_LMTP;
}

static bool is_checker(enum sandbox_role role)
{
	return role == SANDBOX_CHECKER_PARENT || role == SANDBOX_CHECKER;
}

/* Those that have the mail. */
static bool is_store(enum sandbox_role role)
{
	return child_of(role) == SANDBOX_STORE || child_of(role) == SANDBOX_DELIVERER;
}

/* The store maps indexes and runs threads, so neither bound fits it. */
static int set_limits(enum sandbox_role role, rlim_t address_octets, rlim_t file_octets)
{
	bool store = is_store(role);

	if (!store && !forks(role) && limit(RLIMIT_NPROC, 0) != 0)
		return -1;
	if (!store && !SANDBOX_SANITIZED && !under_valgrind() && limit(RLIMIT_AS, address_octets) != 0)
		return -1;
	if ((is_front(role) || is_checker(role)) && !writes_a_file() && limit(RLIMIT_FSIZE, file_octets) != 0)
		return -1;
	return limit(RLIMIT_CORE, 0);
}

/*
 * Whoever speaks for strangers ends with its parent, also if it was taken over and minds no leash. A store
 * may be in the middle of removing mail: it hears of the end on its leash, and finishes.
 */
static int end_with_parent(enum sandbox_role role)
{
	return is_store(role) ? 0 : prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* For everybody, root or not; also after setresuid, which undoes the last two. */
static int seal_process(const struct sandbox *sandbox, char *why_r, size_t size)
{
	if (geteuid() != 0 && ids_drop_capabilities(sandbox->capabilities, why_r, size) != 0)
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return refuse(why_r, size, "no_new_privs", "");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return refuse(why_r, size, "dumpable", "");
	if (end_with_parent(sandbox->role) != 0)
		return refuse(why_r, size, "parent death signal", "");
	if (set_limits(sandbox->role, ADDRESS_OCTETS, sandbox->file_octets) != 0)
		return refuse(why_r, size, "resource limits", "");
	return 0;
}

static int load(enum sandbox_role role, char *why_r, size_t size)
{
	if (under_valgrind() || filter_load(role) == 0)
		return 0;
	return refuse(why_r, size, "seccomp: the kernel refuses the filter", "");
}

/* While everything can still be done: the filters that this role and its children will load. */
static int prepare_filters(enum sandbox_role role, char *why_r, size_t size)
{
	if (under_valgrind())
		return 0;
	if (forks(role) && filter_prepare(child_of(role), why_r, size) != 0)
		return -1;
	if (role == SANDBOX_USERS_PARENT && filter_prepare(SANDBOX_DELIVERER, why_r, size) != 0)
		return -1;
	return filter_prepare(role, why_r, size);
}

static int leave_root(const struct sandbox *sandbox, const struct ids *ids, char *why_r, size_t size)
{
	if (sandbox->chroot_dir != NULL &&
	    enter_root(sandbox->chroot_dir, sandbox->path_count == 0, why_r, size) != 0)
		return -1;
	return ids == NULL ? 0 : ids_take(ids, sandbox->capabilities, why_r, size);
}

int sandbox_enter(const struct sandbox *sandbox, char *why_r, size_t size)
{
	bool root = geteuid() == 0, changes = root && sandbox->user != NULL;
	bool users = sandbox->role == SANDBOX_USERS_PARENT;
	static struct ids ids;
	int ruleset;

	if (changes && find_user(sandbox->user, sandbox->groups, &ids, why_r, size) != 0)
		return -1;
	if (prepare_filters(sandbox->role, why_r, size) != 0)
		return -1;
	if (users && filter_prepare_bounds(sandbox->first_uid, why_r, size) != 0)
		return -1;
	/* The first version refuses to move a message from tmp/ to new/, and nothing can grant it. */
	if (child_of(sandbox->role) == SANDBOX_DELIVERER && landlock_abi() == 1)
		ruleset = -1;
	else
		ruleset = landlock_prepare(
		    sandbox->paths, sandbox->path_count, users || is_checker(sandbox->role), why_r, size);
	if (ruleset == -2)
		return -1;
	entered = true;
	if ((root && leave_root(sandbox, changes ? &ids : NULL, why_r, size) != 0) ||
	    seal_process(sandbox, why_r, size) != 0) {
		if (ruleset >= 0)
			close(ruleset);
		return -1;
	}
	if (landlock_enforce(ruleset, why_r, size) != 0)
		return -1;
	if (users && !under_valgrind() && filter_load_bounds() != 0)
		return refuse(why_r, size, "seccomp: the kernel refuses the filter of ids", "");
	return load(sandbox->role, why_r, size);
}

int sandbox_confine(const int *fds, size_t count, char *why_r, size_t size)
{
	int ruleset = landlock_confine(fds, count, why_r, size);

	return ruleset == -2 ? -1 : landlock_enforce(ruleset, why_r, size);
}

int sandbox_tighten(enum sandbox_role role, char *why_r, size_t size)
{
	bool one_client = role == SANDBOX_FRONT || role == SANDBOX_CHECKER || role == SANDBOX_LMTP;

	if (prepare_filters(role, why_r, size) != 0)
		return -1;
	if (end_with_parent(role) != 0)
		return refuse(why_r, size, "parent death signal", "");
	if ((one_client || role == SANDBOX_DELIVERER) && limit(RLIMIT_NPROC, 0) != 0)
		return refuse(why_r, size, "resource limits", "");
	if (one_client && !SANDBOX_SANITIZED && !under_valgrind() &&
	    limit(RLIMIT_AS, ONE_CLIENT_ADDRESS_OCTETS) != 0)
		return refuse(why_r, size, "resource limits", "");
	return load(role, why_r, size);
}

const char *sandbox_description(void)
{
	static char text[64];
	int abi = landlock_abi();

	if (abi > 0)
		snprintf(text, sizeof(text), "landlock ABI %d, seccomp", abi);
	else
		snprintf(text, sizeof(text), "no landlock, seccomp");
	return text;
}
