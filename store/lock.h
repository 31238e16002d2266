/* SPDX-License-Identifier: ISC */
/*
 * lock: the lock of a maildrop, which a session holds (RFC 1939 section 4). It dies with its holder, so
 * there is no stale one.
 */
#ifndef KPOPD_STORE_LOCK_H
#define KPOPD_STORE_LOCK_H

#define LOCK_NAME "kpopd.lock"

struct lock {
	int fd; /* -1: not held by a file */
};

/* In the directory home, which stays open as long as the lock. Never waits. MAILDROP_IN_USE, _TEMP, _PERM. */
int lock_take(struct lock *lock, int home);
void lock_drop(struct lock *lock);

#endif
