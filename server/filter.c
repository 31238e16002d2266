/* SPDX-License-Identifier: ISC */
#include "server/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#include "server/sandbox_build.h"

enum {
	FRONT_PARENT = 1 << SANDBOX_FRONT_PARENT,
	FRONT = 1 << SANDBOX_FRONT,
	AUTH = 1 << SANDBOX_AUTH,
	STORE_PARENT = 1 << SANDBOX_STORE_PARENT,
	STORE = 1 << SANDBOX_STORE,
	CHECKER_PARENT = 1 << SANDBOX_CHECKER_PARENT,
	CHECKER = 1 << SANDBOX_CHECKER,
	USERS_PARENT = 1 << SANDBOX_USERS_PARENT,
	LMTP_PARENT = 1 << SANDBOX_LMTP_PARENT,
	LMTP = 1 << SANDBOX_LMTP,
	DELIVERER_PARENT = 1 << SANDBOX_DELIVERER_PARENT,
	DELIVERER = 1 << SANDBOX_DELIVERER,
	LMTPS = LMTP_PARENT | LMTP,
	DELIVERERS = DELIVERER_PARENT | DELIVERER,
	FRONTS = FRONT_PARENT | FRONT | LMTPS,
	STORES = STORE_PARENT | STORE | USERS_PARENT | DELIVERERS,
	CHECKERS = CHECKER_PARENT | CHECKER,
	/* Those who ask name services, which may be modules and speak to servers of their own. */
	ASKERS = CHECKERS | USERS_PARENT,
	PARENTS =
	    FRONT_PARENT | STORE_PARENT | CHECKER_PARENT | USERS_PARENT | LMTP_PARENT | DELIVERER_PARENT,
	FILES = AUTH | STORES,
	READERS = FILES | CHECKERS,
	ALL = FRONTS | AUTH | STORES | CHECKERS,
};

/*
 * A call that these roles may make, with any arguments; or, when error is set, one that fails with that error
 * instead of ending the process, because a library tries it and lives on without.
 */
struct call_row {
	const char *name;
	unsigned roles;
	uint16_t error;
};

static const struct call_row call_rows[] = {
    /* Octets, messages, readiness. */
    {"read", ALL, 0},
    {"readv", ALL, 0},
    {"pread64", ALL, 0},
    {"write", ALL, 0},
    {"writev", ALL, 0},
    {"recvmsg", ALL, 0},
    {"recvfrom", ALL, 0},
    {"sendmsg", ALL, 0},
    {"sendto", ALL, 0},
    {"accept4", FRONTS, 0},
    {"getpeername", ALL, 0},
    {"getsockname", ALL, 0},
    {"close", ALL, 0},
    {"lseek", ALL, 0},
    {"poll", ALL, 0},
    {"ppoll", ALL, 0},
    {"epoll_create1", ALL, 0},
    {"epoll_ctl", ALL, 0},
    {"epoll_wait", ALL, 0},
    {"epoll_pwait", ALL, 0},
    {"epoll_pwait2", ALL, 0},
    {"eventfd2", ALL, 0},
    {"pipe2", ALL, 0},
    {"signalfd4", PARENTS, 0},
    {"close_range", PARENTS | STORE | CHECKER | DELIVERER, 0},
    /* Memory, threads' locks, time, chance. */
    {"brk", ALL, 0},
    {"munmap", ALL, 0},
    {"mremap", ALL, 0},
    {"madvise", ALL, 0},
    {"futex", ALL, 0},
    {"set_robust_list", ALL, 0},
    {"rseq", ALL, 0},
    {"membarrier", ALL, 0},
    {"sched_yield", ALL, 0},
    {"sched_getaffinity", ALL, 0},
    {"sysinfo", ALL, 0},
    {"clock_gettime", ALL, 0},
    {"clock_getres", ALL, 0},
    {"clock_nanosleep", ALL, 0},
    {"nanosleep", ALL, 0},
    {"gettimeofday", ALL, 0},
    {"time", ALL, 0},
    {"getrandom", ALL, 0},
    /* Itself. */
    {"getpid", ALL, 0},
    {"getppid", ALL, 0},
    {"gettid", ALL, 0},
    {"getuid", ALL, 0},
    {"geteuid", ALL, 0},
    {"getgid", ALL, 0},
    {"getegid", ALL, 0},
    {"rt_sigaction", ALL, 0},
    {"rt_sigprocmask", ALL, 0},
    {"rt_sigreturn", ALL, 0},
    {"sigaltstack", ALL, 0},
    {"restart_syscall", ALL, 0},
    {"exit", ALL, 0},
    {"exit_group", ALL, 0},
    {"uname", ALL, 0},
    {"wait4", PARENTS, 0},
    {"waitid", PARENTS, 0},
    /* Files; Landlock says which. */
    {"openat", FILES, 0},
    {"open", FILES, 0},
    {"openat2", STORES, 0},
    {"newfstatat", READERS, 0},
    {"fstat", ALL, 0},
    {"stat", READERS, 0},
    {"lstat", READERS, 0},
    {"statx", READERS, 0},
    {"statfs", READERS, 0},
    {"fstatfs", READERS, 0},
    {"access", READERS, 0},
    {"faccessat", READERS, 0},
    {"faccessat2", READERS, 0},
    {"readlink", READERS, 0},
    {"readlinkat", READERS, 0},
    {"getdents64", READERS, 0},
    {"getcwd", READERS, 0},
    {"umask", FILES, 0},
    {"pwrite64", FILES, 0},
    {"pwritev", FILES, 0},
    {"preadv", FILES, 0},
    {"ftruncate", FILES, 0},
    {"fsync", FILES, 0},
    {"fdatasync", FILES, 0},
    {"msync", FILES, 0},
    {"flock", FILES, 0},
    {"fadvise64", READERS, 0},
    {"readahead", STORES, 0},
    {"unlink", STORES, 0},
    {"rename", STORES, 0},
    {"renameat", STORES, 0},
    {"renameat2", STORES, 0},
    {"memfd_create", STORES | LMTPS, 0},
    /* A maildrop that is missing is made; some file servers rename only by a link. */
    {"mkdirat", STORES, 0},
    {"linkat", DELIVERERS | USERS_PARENT, 0},
    /* Where flags lie in memory we cannot see them: the C library then falls back to clone. */
    {"clone3", PARENTS | STORE, ENOSYS},
    /* krb5 and OpenSSL look for files and live on without them. */
    {"openat", FRONTS, ENOENT},
    {"open", FRONTS, ENOENT},
    {"access", FRONTS, ENOENT},
    {"faccessat", FRONTS, ENOENT},
    {"faccessat2", FRONTS, ENOENT},
    {"stat", FRONTS, ENOENT},
    {"lstat", FRONTS, ENOENT},
    {"statx", FRONTS, ENOENT},
    {"readlink", FRONTS, ENOENT},
    {"readlinkat", FRONTS, ENOENT},
    /* Name services and loggers try a socket first, rcaches and profiles tidy up. */
    {"socket", AUTH, EACCES},
    {"connect", AUTH, EACCES},
    {"unlink", AUTH, EACCES},
    {"unlinkat", AUTH, EACCES},
    {"rename", AUTH, EACCES},
    {"mkdir", AUTH, EACCES},
    {"mkdirat", AUTH, EACCES},
    {"unlink", CHECKERS, EACCES},
    /* Whom it asks, and the libraries that ask: libkrb5, the resolver, modules of the name service. */
    {"socket", ASKERS, 0},
    {"connect", ASKERS, 0},
    {"bind", ASKERS, EACCES},
    {"setsockopt", ASKERS, 0},
    {"sendmmsg", ASKERS, 0},
    {"recvmmsg", ASKERS, 0},
    {"select", ASKERS, 0},
    {"pselect6", ASKERS, 0},
    {"getresuid", ASKERS, 0},
    {"getresgid", ASKERS, 0},
    {"getgroups", ASKERS, 0},
    {"getrusage", ASKERS, 0},
    {"dup", ASKERS, 0},
    {"dup2", ASKERS, 0},
    {"dup3", ASKERS, 0},
    {"times", ASKERS, 0},
    /* How a child makes what is missing for a user, and becomes him; which ids, bound_rows say. */
    {"setfsuid", USERS_PARENT, 0},
    {"setfsgid", USERS_PARENT, 0},
    {"setgroups", USERS_PARENT, 0},
    {"setresgid", USERS_PARENT, 0},
    {"setresuid", USERS_PARENT, 0},
    {"capset", USERS_PARENT, 0},
    {"capget", USERS_PARENT, 0},
    {"fchdir", USERS_PARENT, 0},
    {"landlock_create_ruleset", USERS_PARENT, 0},
    {"landlock_add_rule", USERS_PARENT, 0},
    {"landlock_restrict_self", USERS_PARENT, 0},
    /* stdio asks whether a file is a terminal. */
    {"ioctl", ALL & ~ASKERS, ENOTTY},
#if SANDBOX_SANITIZED
    {"pipe", ALL, 0},
    {"tgkill", ALL, 0},
    {"clone", FRONT | AUTH | CHECKER | LMTP | DELIVERER, EPERM},
    {"clone3", FRONT | AUTH | CHECKER | LMTP | DELIVERER, EPERM},
    {"fork", ALL, EPERM},
    {"vfork", ALL, EPERM},
#endif
};

struct condition {
	unsigned argument;
	uint64_t mask, value; /* (argument & mask) == value; mask 0: no condition */
};

/* A call that is allowed, or fails with error, when its conditions hold. Rows of one call are alternatives.
 */
struct argument_row {
	const char *name;
	unsigned roles;
	uint16_t error;
	struct condition conditions[2];
};

/* The kernel reads an int from the low half of its register, so that half is what is compared. */
#define INT 0xffffffffu
#define NAMESPACES                                                                               \
	((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | \
		    CLONE_NEWNET | CLONE_NEWUSER) &                                              \
	    INT)

static const struct argument_row argument_rows[] = {
    {"mmap", ALL, 0, {{2, PROT_EXEC, 0}}},
    /* Modules that are looked for when they are needed; nothing that it can write to can be mapped so. */
    {"mmap", ASKERS, 0, {{2, PROT_WRITE | PROT_EXEC, PROT_EXEC}}},
    {"mprotect", ALL, 0, {{2, PROT_EXEC, 0}}},
    {"socketpair", ALL, 0, {{0, INT, AF_UNIX}}},
    {"setsockopt", FRONTS, 0, {{1, INT, IPPROTO_TCP}, {2, INT, TCP_NODELAY}}},
    {"getsockopt", FRONTS, 0, {{1, INT, IPPROTO_TCP}, {2, INT, TCP_INFO}}},
    {"getsockopt", ALL, 0, {{1, INT, SOL_SOCKET}, {2, INT, SO_ERROR}}},
    {"getsockopt", AUTH | ASKERS, 0, {{1, INT, SOL_SOCKET}, {2, INT, SO_PEERCRED}}},
    {"getsockopt", AUTH, 0, {{1, INT, SOL_SOCKET}, {2, INT, SO_TYPE}}},
    {"fcntl", ALL, 0, {{1, INT, F_GETFL}}},
    /* Flags belong to the open file, which other roles share: none makes the log wait for all of us. */
    {"fcntl", ALL & ~ASKERS, EPERM, {{1, INT, F_SETFL}}},
    /* Libraries make their sockets so; a check has let go of the log before. */
    {"fcntl", ASKERS, 0, {{1, INT, F_SETFL}}},
    {"fcntl", ALL, 0, {{1, INT, F_GETFD}}},
    {"fcntl", ALL, 0, {{1, INT, F_SETFD}}},
    {"fcntl", ALL, 0, {{1, INT, F_DUPFD_CLOEXEC}}},
    {"fcntl", ALL, 0, {{1, INT, F_GET_SEALS}}},
    {"fcntl", READERS, 0, {{1, INT, F_GETLK}}},
    {"fcntl", READERS, 0, {{1, INT, F_SETLK}}},
    {"fcntl", READERS, 0, {{1, INT, F_SETLKW}}},
    {"fcntl", READERS, 0, {{1, INT, F_OFD_GETLK}}},
    {"fcntl", READERS, 0, {{1, INT, F_OFD_SETLK}}},
    {"fcntl", READERS, 0, {{1, INT, F_OFD_SETLKW}}},
    {"fcntl", STORES | LMTPS, 0, {{1, INT, F_ADD_SEALS}}},
    /* Files, not directories. */
    {"unlinkat", STORES, 0, {{2, INT, 0}}},
    {"prctl", ALL, 0, {{0, INT, PR_SET_NAME}}},
    {"prctl", ALL, 0, {{0, INT, PR_GET_NAME}}},
    /* For its children, before they have their own filter. */
    {"prctl", FRONT_PARENT | CHECKER_PARENT | LMTP_PARENT, 0, {{0, INT, PR_SET_PDEATHSIG}}},
    /* Everybody may ask for limits; a parent's child may lower its own. */
    {"prlimit64", ALL, 0, {{2, UINT64_MAX, 0}}},
    {"prlimit64", PARENTS, 0, {{0, INT, 0}}},
    {"seccomp", PARENTS, 0, {{0, INT, SECCOMP_SET_MODE_FILTER}}},
    {"clone", PARENTS, 0, {{0, NAMESPACES, 0}}},
    {"clone", STORE, 0, {{0, NAMESPACES | CLONE_THREAD, CLONE_THREAD}}},
    /* Its children, at their deadline. */
    {"kill", CHECKER_PARENT | USERS_PARENT, 0, {{1, INT, SIGKILL}}},
    /* Whether the holder of a lock file lives. */
    {"kill", STORES, 0, {{1, INT, 0}}},
    /* A change of user undoes it. */
    {"prctl", USERS_PARENT, 0, {{0, INT, PR_SET_DUMPABLE}, {1, UINT64_MAX, 0}}},
    {"prctl", USERS_PARENT, 0, {{0, INT, PR_CAP_AMBIENT}}},
    {"prctl", USERS_PARENT, 0, {{0, INT, PR_CAPBSET_READ}}}, /* of a library that modules need */
    /* Files to read, none to write. */
    {"openat", CHECKERS, 0, {{2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY}}},
    {"openat", CHECKERS, EACCES, {{2, O_ACCMODE, O_WRONLY}}},
    {"openat", CHECKERS, EACCES, {{2, O_ACCMODE, O_RDWR}}},
    {"openat", CHECKERS, EACCES, {{2, O_ACCMODE | O_CREAT, O_CREAT}}},
    {"openat", CHECKERS, EACCES, {{2, O_ACCMODE | O_CREAT | O_TRUNC, O_TRUNC}}},
    {"open", CHECKERS, 0, {{1, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY}}},
    {"open", CHECKERS, EACCES, {{1, O_ACCMODE, O_WRONLY}}},
    {"open", CHECKERS, EACCES, {{1, O_ACCMODE, O_RDWR}}},
    {"open", CHECKERS, EACCES, {{1, O_ACCMODE | O_CREAT, O_CREAT}}},
    {"open", CHECKERS, EACCES, {{1, O_ACCMODE | O_CREAT | O_TRUNC, O_TRUNC}}},
    {"ioctl", ASKERS, ENOTTY, {{1, INT, TCGETS}}},
    {"ioctl", ASKERS, 0, {{1, INT, FIONBIO}}},
    {"ioctl", ASKERS, 0, {{1, INT, FIONREAD}}},
    /* The C library's fstat is a newfstatat of an empty path, which cannot be seen; its flag can. */
    {"newfstatat", FRONTS, 0, {{3, AT_EMPTY_PATH, AT_EMPTY_PATH}}},
    {"newfstatat", FRONTS, ENOENT, {{3, AT_EMPTY_PATH, 0}}},
};

static struct sock_fprog programs[SANDBOX_ROLE_COUNT];

/*
 * Arguments that are ids: the least that may be asked for. The kernel takes the low half of the register, so
 * nothing may be in the other one.
 */
static const struct bound_row {
	const char *name;
	unsigned arguments;
	bool user; /* first_uid is the least; else 1, for groups, and for whoever may be oneself */
} bound_rows[] = {
    {"setresuid", 3, true},
    {"setresgid", 3, false},
    {"setfsuid", 1, true},
    {"setfsgid", 1, false},
};
static struct sock_fprog bounds;

/*
 * What a call gets that has no row. Modules of name services are loaded after the filter here, and one may
 * try what we have not seen yet: it shall go without, not take a user's session with it.
 */
static uint32_t fallback(unsigned role_bit)
{
	return role_bit == USERS_PARENT ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS;
}

static uint32_t action(uint16_t error)
{
	return error == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(error);
}

static int add_calls(scmp_filter_ctx context, unsigned role_bit)
{
	for (size_t i = 0; i < sizeof(call_rows) / sizeof(call_rows[0]); i++) {
		const struct call_row *row = &call_rows[i];
		int number = seccomp_syscall_resolve_name(row->name);
		int result;

		/* A call that this libseccomp does not know is one that it cannot be needed for. */
		if ((row->roles & role_bit) == 0 || number == __NR_SCMP_ERROR ||
		    action(row->error) == fallback(role_bit))
			continue;
		result = seccomp_rule_add(context, action(row->error), number, 0);
		if (result != 0)
			return result;
	}
	return 0;
}

static int add_argument_row(scmp_filter_ctx context, const struct argument_row *row)
{
	struct scmp_arg_cmp matches[2];
	unsigned count = 0;

	for (size_t i = 0; i < 2; i++) {
		const struct condition *c = &row->conditions[i];

		if (c->mask != 0)
			matches[count++] =
			    (struct scmp_arg_cmp){c->argument, SCMP_CMP_MASKED_EQ, c->mask, c->value};
	}
	return seccomp_rule_add_array(
	    context, action(row->error), seccomp_syscall_resolve_name(row->name), count, matches);
}

static int add_arguments(scmp_filter_ctx context, unsigned role_bit)
{
	int result = 0;

	for (size_t i = 0; i < sizeof(argument_rows) / sizeof(argument_rows[0]) && result == 0; i++)
		if ((argument_rows[i].roles & role_bit) != 0 &&
		    action(argument_rows[i].error) != fallback(role_bit))
			result = add_argument_row(context, &argument_rows[i]);
	return result;
}

/* libseccomp gives its program to a descriptor only. */
static int read_program(scmp_filter_ctx context, struct sock_fprog *program_r)
{
	int fd = memfd_create("filter", MFD_CLOEXEC), result = -ENOMEM;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (seccomp_export_bpf(context, fd) == 0 && fstat(fd, &st) == 0) {
		size_t octets = (size_t)st.st_size;

		program_r->filter = malloc(octets);
		program_r->len = (unsigned short)(octets / sizeof(struct sock_filter));
		if (program_r->filter != NULL && pread(fd, program_r->filter, octets, 0) == (ssize_t)octets)
			result = 0;
	}
	close(fd);
	return result;
}

int filter_prepare(enum sandbox_role role, char *why_r, size_t size)
{
	scmp_filter_ctx context = NULL;
	int result = -ENOMEM;

	if (programs[role].filter != NULL)
		return 0;
	context = seccomp_init(fallback(1u << role));
	if (context != NULL) {
		/* Another architecture's call numbers would mean other calls. */
		result = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
		if (result == 0)
			result = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
		if (result == 0)
			result = add_calls(context, 1u << role);
		if (result == 0)
			result = add_arguments(context, 1u << role);
		if (result == 0)
			result = read_program(context, &programs[role]);
		seccomp_release(context);
	}
	if (result != 0)
		snprintf(why_r, size, "seccomp: cannot build the filter: %s", strerror(-result));
	return result == 0 ? 0 : -1;
}

static int add_bounds(scmp_filter_ctx context, uid_t first_uid)
{
	int result = 0;
	for (size_t i = 0; i < sizeof(bound_rows) / sizeof(bound_rows[0]); i++) {
		const struct bound_row *row = &bound_rows[i];
		int number = seccomp_syscall_resolve_name(row->name);
		uint64_t least = row->user && first_uid > 0 ? first_uid : 1;
		for (unsigned argument = 0; argument < row->arguments && result == 0; argument++) {
			const struct scmp_arg_cmp low = {argument, SCMP_CMP_LT, least, 0},
						  high = {argument, SCMP_CMP_GT, UINT32_MAX, 0};
			result = seccomp_rule_add_array(context, SCMP_ACT_ERRNO(EPERM), number, 1, &low);
			if (result == 0)
				result =
				    seccomp_rule_add_array(context, SCMP_ACT_ERRNO(EPERM), number, 1, &high);
		}
	}
	return result;
}

int filter_prepare_bounds(uid_t first_uid, char *why_r, size_t size)
{
	scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
	int result = -ENOMEM;

	if (context != NULL) {
		result = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
		if (result == 0)
			result = add_bounds(context, first_uid);
		if (result == 0)
			result = read_program(context, &bounds);
		seccomp_release(context);
	}
	if (result != 0)
		snprintf(why_r, size, "seccomp: cannot build the filter of ids: %s", strerror(-result));
	return result == 0 ? 0 : -1;
}

static int load(const struct sock_fprog *program)
{
	long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, program);

	if (result > 0) /* the thread that could not follow */
		errno = EBUSY;
	return result == 0 ? 0 : -1;
}

int filter_load_bounds(void)
{
	return load(&bounds);
}

int filter_load(enum sandbox_role role)
{
	return load(&programs[role]);
}
