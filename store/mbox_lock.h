/* SPDX-License-Identifier: ISC */
/*
 * mbox_lock: the locks that all programs take before they read or change an mbox.
 *
 * Each program takes several, in an order of its own, so whoever waits for the second while he holds the
 * first can wait for ever. Here nobody waits with a lock in hand: either all are got, or none is, and all is
 * tried again until the time is up.
 *
 * A dotlock is a file beside the mbox, NAME.lock, which exists while the lock is held, and which outlives a
 * holder that dies. Ours holds our process's number. One that holds the number of a process of this host is
 * believed while that process lives, if it began after the host did; one without, or with another host's,
 * until both it and the mbox have not changed for MBOX_STALE_SECS.
 */
#ifndef KPOPD_STORE_MBOX_LOCK_H
#define KPOPD_STORE_MBOX_LOCK_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "maildrop.h"

#define MBOX_DOTLOCK_SUFFIX ".lock" /* no mbox has a name that ends so: it would be another one's lock */
#define MBOX_STALE_SECS 300
#define MBOX_REFRESH_SECS 30 /* how often a dotlock that is held for long is touched */

/* What is locked. */
struct mbox_lock {
	int dir;
	char dotlock[NAME_MAX + 1];
	enum spool_lock methods[SPOOL_LOCKS_COUNT];
	int fd;         /* the mbox, whoever's it is; -1: not locked */
	int dotlock_fd; /* -1: none held */
	int64_t touched_secs;
};

/* name in dir, which stays open; methods as in struct maildrop_place. MAILDROP_PERM: the name is too long for
 * a dotlock. */
int mbox_lock_init(
    struct mbox_lock *lock, int dir, const char *name, const enum spool_lock methods[SPOOL_LOCKS_COUNT]);
/*
 * Tries once. fd is the mbox, open for reading and writing, or read-only: then others may read, and there is
 * no dotlock, because nobody can change the file. The locks end with mbox_lock_drop and when fd is closed.
 * *why_r says which lock it was. MAILDROP_IN_USE, _TEMP, _PERM with errno.
 */
int mbox_lock_try(struct mbox_lock *lock, int fd, bool read_only, const char **why_r);
/* Before fd is closed. */
void mbox_lock_drop(struct mbox_lock *lock);
/* To be called now and then while the lock is held, so that nobody takes it for stale. */
void mbox_lock_keep(struct mbox_lock *lock);
/* Whether nobody has taken our dotlock away. */
bool mbox_lock_held(const struct mbox_lock *lock);

#endif
