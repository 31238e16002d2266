/* SPDX-License-Identifier: ISC */
/*
 * lock: who works on a maildrop: one session (RFC 1939 section 4), or several that share it; and who waits.
 *
 * For the store's own modules. Three octets of the file LOCK_NAME in the maildrop's home are locked (OFD
 * locks, which die with their holder, so that none is ever stale):
 *
 *   session  exclusively by the one session; or shared, by each of several
 *   wish     exclusively by a login that waits to take over; its holder need not be a session
 *   index    exclusively, for moments, by the one of several sessions that brings the index up to date
 *
 * Where there can be no such file the lock is the directory's alone: then nobody can take over, and who
 * shares does without the index.
 */
#ifndef KPOPD_STORE_LOCK_H
#define KPOPD_STORE_LOCK_H

#include <stdbool.h>

#define LOCK_NAME "kpopd.lock"

struct lock {
	int fd;   /* -1: not held by a file */
	int home; /* -1: not held; else the directory, the caller's */
	bool shared;
	bool first; /* nobody else had the maildrop when we came */
};
#define LOCK_NONE ((struct lock){.fd = -1, .home = -1})

/* In the directory home, which stays open as long as the lock. Never waits. MAILDROP_IN_USE, _TEMP, _PERM. */
int lock_take(struct lock *lock, int home, bool shared);
void lock_drop(struct lock *lock);

/*
 * The right to change what the index has of this maildrop; the one session has it anyway. Waits for
 * wait_msecs at most. MAILDROP_IN_USE: others still have it. MAILDROP_TEMP: nobody can tell.
 */
int lock_index_begin(const struct lock *lock, unsigned wait_msecs);
void lock_index_end(const struct lock *lock);
/*
 * Whether no other session has a snapshot: asked between _begin and _end, for snapshots are taken there. May
 * be false where it could be true.
 */
bool lock_alone(const struct lock *lock);

/* Whether a login waits to take over. */
bool lock_wished(const struct lock *lock);
/* Waits to take over, until *fd_r is closed. Never waits itself. MAILDROP_IN_USE: another one does already.
 */
int lock_wish(int home, int *fd_r);

#endif
