/* SPDX-License-Identifier: ISC */
/*
 * landlock: what a role may reach of the file system, by the kernel's Landlock, as far as this kernel has it.
 *
 * For sandbox.c only. A ruleset is prepared while paths can still be opened (before a chroot) and enforced
 * afterwards. A kernel without Landlock is no error: the layer is left out, and landlock_abi says so.
 */
#ifndef KPOPD_SERVER_LANDLOCK_H
#define KPOPD_SERVER_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>

#include "server/sandbox.h"

/* The kernel's version of the interface; 0: there is none. */
int landlock_abi(void);
/* network: TCP connections stay possible. A descriptor of a ruleset (close-on-exec), -1: none on this kernel,
 * -2: failed, with why_r filled. */
int landlock_prepare(const struct sandbox_path *paths, size_t count, bool network, char *why_r, size_t size);
/* The same of what is open already: read and write beneath each, and no network. */
int landlock_confine(const int *fds, size_t count, char *why_r, size_t size);
/* Enforces and closes ruleset (-1 is fine). no_new_privs is set already. 0 or -1 with why_r filled. */
int landlock_enforce(int ruleset, char *why_r, size_t size);

#endif
