/* SPDX-License-Identifier: ISC */
#include "mbox_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "beneath.h"

#define DOTLOCK_OCTETS 256u /* a number, perhaps a host */
#define CREATE_TRIES_COUNT 3

static int64_t now_secs(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec;
}

int mbox_lock_init(
    struct mbox_lock *lock, int dir, const char *name, const enum spool_lock methods[SPOOL_LOCKS_COUNT])
{
	*lock = (struct mbox_lock){.dir = dir, .fd = -1, .dotlock_fd = -1};
	if (methods[0] == SPOOL_LOCK_NONE) {
		lock->methods[0] = SPOOL_LOCK_FCNTL;
		lock->methods[1] = SPOOL_LOCK_DOTLOCK;
	} else {
		memcpy(lock->methods, methods, sizeof(lock->methods));
	}
	int len = snprintf(lock->dotlock, sizeof(lock->dotlock), "%s" MBOX_DOTLOCK_SUFFIX, name);
	return len > NAME_MAX ? MAILDROP_PERM : MAILDROP_OK;
}

/* ---- dotlocks ---- */

/* The process that a dotlock's text names; 0: none of this host. */
static pid_t holder(const char *text)
{
	char host[HOST_NAME_MAX + 1];
	char *end;
	long pid = strtol(text, &end, 10);
	if (end == text || pid <= 0 || pid > INT_MAX)
		return 0;
	if (*end != ':' && *end != '@')
		return (pid_t)pid;
	size_t len = strcspn(end + 1, "\n\r :");
	bool ours = gethostname(host, sizeof(host)) == 0 && strnlen(host, sizeof(host)) == len &&
		    memcmp(host, end + 1, len) == 0;
	return ours ? (pid_t)pid : 0;
}

static bool lives(pid_t pid)
{
	return kill(pid, 0) == 0 || errno != ESRCH;
}

/* Whether neither has changed for long. */
static bool at_rest(const struct stat *dotlock, int mbox)
{
	struct stat st;
	int64_t before = now_secs(CLOCK_REALTIME) - MBOX_STALE_SECS;
	return dotlock->st_mtime < before && fstat(mbox, &st) == 0 && st.st_mtime < before;
}

static bool is_stale(int fd, const struct stat *st, int mbox)
{
	char text[DOTLOCK_OCTETS + 1];
	/* Whatever this is, it is no lock. */
	if (st->st_size > DOTLOCK_OCTETS)
		return false;
	ssize_t len = pread(fd, text, DOTLOCK_OCTETS, 0);
	text[len < 0 ? 0 : len] = 0;
	pid_t pid = len < 0 ? 0 : holder(text);
	if (pid == 0)
		return at_rest(st, mbox);
	int64_t boot_secs = now_secs(CLOCK_REALTIME) - now_secs(CLOCK_BOOTTIME);
	return !lives(pid) || (st->st_mtime < boot_secs - 1 && at_rest(st, mbox));
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Removes the dotlock of somebody who will not do so any more. Whether there may be room for ours now. */
static bool remove_stale(const struct mbox_lock *lock, int mbox)
{
	struct stat st;
	struct stat now;
	int fd = beneath_open(lock->dir, lock->dotlock, O_RDONLY, 0);
	if (fd < 0)
		return errno == ENOENT;
	bool stale = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && is_stale(fd, &st, mbox);
	close(fd);
	/* Somebody else may have removed it meanwhile, and made his own. */
	if (stale && fstatat(lock->dir, lock->dotlock, &now, AT_SYMLINK_NOFOLLOW) == 0)
		stale = same_file(&st, &now) && memcmp(&st.st_mtim, &now.st_mtim, sizeof(st.st_mtim)) == 0 &&
			unlinkat(lock->dir, lock->dotlock, 0) == 0;
	return stale;
}

static void touch(struct mbox_lock *lock)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	/* Where there is no room for it the lock is one without a number. */
	ssize_t put = pwrite(lock->dotlock_fd, text, (size_t)len, 0);
	(void)put;
	lock->touched_secs = now_secs(CLOCK_MONOTONIC);
}

/*
 * Makes the file with the number in it, in one step: one that a dead process has left without would lock
 * everybody out for long. Where that cannot be, in two. -1 and errno, EEXIST: somebody holds it.
 */
static int make_file(struct mbox_lock *lock)
{
	static atomic_uint counter;
	char name[NAME_MAX + 1];
	size_t stem = strlen(lock->dotlock) - (sizeof(MBOX_DOTLOCK_SUFFIX) - 1);
	int len = snprintf(name, sizeof(name), "%.*s.%ld.%u" MBOX_DOTLOCK_SUFFIX, (int)stem, lock->dotlock,
	    (long)getpid(), atomic_fetch_add(&counter, 1));
	int fd = len > NAME_MAX ? -1 : beneath_open(lock->dir, name, O_RDWR | O_CREAT | O_EXCL, 0644);
	if (fd >= 0) {
		lock->dotlock_fd = fd;
		touch(lock);
		if (renameat2(lock->dir, name, lock->dir, lock->dotlock, RENAME_NOREPLACE) == 0)
			return 0;
		int error = errno;
		unlinkat(lock->dir, name, 0);
		close(fd);
		lock->dotlock_fd = -1;
		errno = error;
	}
	if (errno == EEXIST)
		return -1;
	lock->dotlock_fd = beneath_open(lock->dir, lock->dotlock, O_RDWR | O_CREAT | O_EXCL, 0644);
	if (lock->dotlock_fd < 0)
		return -1;
	touch(lock);
	return 0;
}

/* Without making and removing files while there is one already. */
static bool is_there(const struct mbox_lock *lock)
{
	struct stat st;
	return fstatat(lock->dir, lock->dotlock, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int make_dotlock(struct mbox_lock *lock, int mbox)
{
	for (int tries = 0; tries < CREATE_TRIES_COUNT; tries++) {
		errno = EEXIST;
		if (!is_there(lock) && make_file(lock) == 0)
			return MAILDROP_OK;
		if (errno != EEXIST && errno != ENOENT)
			return beneath_error(errno) == MAILDROP_PERM ? MAILDROP_PERM : MAILDROP_TEMP;
		if (!remove_stale(lock, mbox))
			break;
	}
	return MAILDROP_IN_USE;
}

bool mbox_lock_held(const struct mbox_lock *lock)
{
	struct stat ours;
	struct stat now;
	if (lock->dotlock_fd < 0)
		return true;
	return fstat(lock->dotlock_fd, &ours) == 0 &&
	       fstatat(lock->dir, lock->dotlock, &now, AT_SYMLINK_NOFOLLOW) == 0 && same_file(&ours, &now);
}

void mbox_lock_keep(struct mbox_lock *lock)
{
	if (lock->dotlock_fd >= 0 && now_secs(CLOCK_MONOTONIC) - lock->touched_secs >= MBOX_REFRESH_SECS)
		touch(lock);
}

/* ---- all together ---- */

static int lock_error(int error)
{
	return error == EAGAIN || error == EACCES || error == EWOULDBLOCK ? MAILDROP_IN_USE : MAILDROP_TEMP;
}

/* Other programs' fcntl locks and these exclude each other; but these are not lost with another descriptor.
 */
static int take_fcntl(int fd, bool read_only)
{
	struct flock range = {.l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
	return fcntl(fd, F_OFD_SETLK, &range) == 0 ? MAILDROP_OK : lock_error(errno);
}

static int take_flock(int fd, bool read_only)
{
	return flock(fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0 ? MAILDROP_OK : lock_error(errno);
}

int mbox_lock_try(struct mbox_lock *lock, int fd, bool read_only, const char **why_r)
{
	int rc = MAILDROP_OK;
	lock->fd = fd;
	for (int i = 0; rc == MAILDROP_OK && i < SPOOL_LOCKS_COUNT; i++) {
		switch (lock->methods[i]) {
		case SPOOL_LOCK_FCNTL:
			*why_r = "fcntl lock";
			rc = take_fcntl(fd, read_only);
			break;
		case SPOOL_LOCK_DOTLOCK:
			*why_r = "dotlock";
			rc = read_only ? MAILDROP_OK : make_dotlock(lock, fd);
			break;
		case SPOOL_LOCK_FLOCK:
			*why_r = "flock lock";
			rc = take_flock(fd, read_only);
			break;
		case SPOOL_LOCK_NONE:
			break;
		}
	}
	int error = errno;
	if (rc != MAILDROP_OK)
		mbox_lock_drop(lock);
	errno = error;
	return rc;
}

void mbox_lock_drop(struct mbox_lock *lock)
{
	struct flock range = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
	if (lock->dotlock_fd >= 0) {
		if (mbox_lock_held(lock))
			unlinkat(lock->dir, lock->dotlock, 0);
		close(lock->dotlock_fd);
		lock->dotlock_fd = -1;
	}
	if (lock->fd >= 0) {
		fcntl(lock->fd, F_OFD_SETLK, &range);
		flock(lock->fd, LOCK_UN);
		lock->fd = -1;
	}
}
