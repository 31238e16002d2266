/* SPDX-License-Identifier: ISC */
/*
 * sandbox: how a role gives up what it does not need, in the order it must happen.
 *
 * For each role's start: open what you need, then sandbox_enter. As root: chroot, groups, ids, verified;
 * as an ordinary user: those steps are left out. Always: no_new_privs, not dumpable, no core, resource
 * limits, Landlock as far as the kernel has it, then a seccomp allow-list that kills the process.
 */
#ifndef KPOPD_SERVER_SANDBOX_H
#define KPOPD_SERVER_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum sandbox_role {
	SANDBOX_FRONT_PARENT, /* forks fronts, waits for them; accepts nothing */
	SANDBOX_FRONT,
	SANDBOX_AUTH,
	SANDBOX_STORE_PARENT,
	SANDBOX_STORE,
	SANDBOX_CHECKER_PARENT, /* forks one process a check, and ends those that take too long */
	SANDBOX_CHECKER,        /* asks others, over the network and by sockets of the file system */
	SANDBOX_USERS_PARENT,   /* forks stores that look an account up and become it, each for one session */
	SANDBOX_LMTP_PARENT,    /* as FRONT_PARENT, for LMTP */
	SANDBOX_LMTP,           /* as FRONT, and collects a message in memory */
	SANDBOX_DELIVERER_PARENT,
	SANDBOX_DELIVERER, /* its parent may be USERS_PARENT, too */
	SANDBOX_ROLE_COUNT
};

enum sandbox_access { SANDBOX_READ = 0, SANDBOX_WRITE /* read, write, create, rename, remove beneath */ };

struct sandbox_path {
	const char *path;
	enum sandbox_access access;
};

struct sandbox {
	enum sandbox_role role;
	const char *user;      /* whose ids to take when root; NULL: stay */
	uint64_t capabilities; /* IDS_CAPABILITY of those that stay, for SANDBOX_USERS_PARENT */
	uid_t first_uid;       /* likewise: it and its children cannot become one below, nor group root */
	bool groups; /* the user's other groups, too: sockets may be closed to all but one of them */
	const char
	    *chroot_dir;    /* where to chroot when root; without paths: writable by root alone; NULL: stay */
	size_t file_octets; /* lmtp: no file, also in memory, can be larger */
	const struct sandbox_path *paths; /* all that Landlock leaves, as seen before the chroot */
	size_t path_count;
};

/* Everything, for a role or a role's parent. 0, or -1 with one line in why_r: the caller must exit. */
int sandbox_enter(const struct sandbox *sandbox, char *why_r, size_t size);
/* The tighter filter a parent's child adds after its fork (ids, chroot and Landlock are inherited). */
int sandbox_tighten(enum sandbox_role role, char *why_r, size_t size);
/*
 * Of a child that has become a user: what lies at and beneath these descriptors stays within reach, to read
 * and write, and nothing else does; no network. Before sandbox_tighten, where the parent allows it
 * (SANDBOX_USERS_PARENT).
 */
int sandbox_confine(const int *fds, size_t count, char *why_r, size_t size);
/* For master: what this kernel gives, as text for the log: "landlock ABI 2, seccomp". */
const char *sandbox_description(void);

#endif
