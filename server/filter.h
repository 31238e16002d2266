/* SPDX-License-Identifier: ISC */
/*
 * filter: the system calls of each role, one table (filter.c); every other call ends the process.
 *
 * For sandbox.c only. Filters are built with libseccomp while it may still do what it likes, and loaded later
 * by one system call: a forked child pays for nothing else. Filters add up; a child's can only take away from
 * its parent's, so a parent's rows cover its children's.
 */
#ifndef KPOPD_SERVER_FILTER_H
#define KPOPD_SERVER_FILTER_H

#include <stddef.h>

#include "server/sandbox.h"

/* Builds the role's program and keeps it for the life of the process. 0 or -1 with why_r filled. */
int filter_prepare(enum sandbox_role role, char *why_r, size_t size);
/* For SANDBOX_USERS_PARENT: a second program, which bounds what setresuid and the like may be asked for. */
int filter_prepare_bounds(uid_t first_uid, char *why_r, size_t size);
int filter_load_bounds(void);
/* Loads a prepared program into all threads. no_new_privs is set already. 0 or -1 with errno. */
int filter_load(enum sandbox_role role);

#endif
