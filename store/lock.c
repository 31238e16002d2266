/* SPDX-License-Identifier: ISC */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "beneath.h"
#include "maildrop.h"

/* Octets of the file. An older kpopd locks all of it, which excludes everybody, as it should. */
enum { OCTET_SESSION = 0, OCTET_WISH, OCTET_INDEX };

#define INDEX_RETRY_MSECS 2u
#define OPEN_TRIES_COUNT 4

static struct flock octet_lock(short type, off_t octet)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = octet, .l_len = 1};
}

static int set_octet(int fd, short type, off_t octet)
{
	struct flock lock = octet_lock(type, octet);
	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return MAILDROP_OK;
	return errno == EAGAIN || errno == EACCES ? MAILDROP_IN_USE : MAILDROP_TEMP;
}

/* Whether anybody but us has a lock on this octet. unsure: what to say when nobody knows. */
static bool others_have(int fd, off_t octet, bool unsure)
{
	struct flock lock = octet_lock(F_WRLCK, octet);
	return fcntl(fd, F_OFD_GETLK, &lock) != 0 ? unsure : lock.l_type != F_UNLCK;
}

/* Errors that mean: there can be no lock file, which must not keep anybody from reading or deleting his mail.
 */
static bool no_lock_file(int error)
{
	return error == ENOSPC || error == EDQUOT || error == EROFS || error == EACCES || error == EPERM;
}

/* Locks an octet of the file that has the name now: one that was removed meanwhile locks nobody out. */
static int lock_file(int home, short type, off_t octet, int *fd_r, int *error_r)
{
	for (int tries = 0; tries < OPEN_TRIES_COUNT; tries++) {
		struct stat st;
		int fd = beneath_open(home, LOCK_NAME, O_RDWR | O_CREAT, 0600);
		*error_r = fd < 0 ? errno : 0;
		if (fd < 0)
			return errno == ENOENT ? MAILDROP_TEMP : beneath_error(errno);
		int rc = fstat(fd, &st) != 0 ? MAILDROP_TEMP : MAILDROP_OK;
		if (rc == MAILDROP_OK && !S_ISREG(st.st_mode))
			rc = MAILDROP_PERM;
		if (rc == MAILDROP_OK)
			rc = set_octet(fd, type, octet);
		if (rc == MAILDROP_OK && fstat(fd, &st) == 0 && st.st_nlink > 0) {
			*fd_r = fd;
			return MAILDROP_OK;
		}
		close(fd);
		if (rc != MAILDROP_OK)
			return rc;
	}
	return MAILDROP_TEMP;
}

/* Who comes to share first tries whether he is alone: that also tells of holders of a file since removed. */
static bool lock_directory(struct lock *lock, int home, bool *busy_r)
{
	bool locked = flock(home, LOCK_EX | LOCK_NB) == 0;
	bool busy = !locked && errno == EWOULDBLOCK;
	lock->first = !busy;
	if (lock->shared && (locked || busy)) {
		locked = flock(home, LOCK_SH | LOCK_NB) == 0;
		busy = !locked && errno == EWOULDBLOCK;
	}
	*busy_r = busy;
	return locked;
}

/*
 * Two locks. The file's is the one that counts. Where there can be none the directory's own lock must do,
 * so everybody takes that one, too.
 */
int lock_take(struct lock *lock, int home, bool shared)
{
	bool busy;
	int error = 0;
	*lock = (struct lock){.fd = -1, .home = home, .shared = shared};
	bool directory = lock_directory(lock, home, &busy);
	int rc = busy ? MAILDROP_IN_USE
		      : lock_file(home, shared ? F_RDLCK : F_WRLCK, OCTET_SESSION, &lock->fd, &error);
	if (rc != MAILDROP_OK && directory && no_lock_file(error))
		rc = MAILDROP_OK;
	if (rc != MAILDROP_OK)
		lock_drop(lock);
	return rc;
}

void lock_drop(struct lock *lock)
{
	if (lock->fd >= 0)
		close(lock->fd);
	if (lock->home >= 0)
		flock(lock->home, LOCK_UN);
	*lock = LOCK_NONE;
}

int lock_index_begin(const struct lock *lock, unsigned wait_msecs)
{
	const struct timespec pause = {.tv_nsec = INDEX_RETRY_MSECS * 1000000L};
	if (!lock->shared)
		return MAILDROP_OK;
	if (lock->fd < 0)
		return MAILDROP_TEMP;
	for (unsigned waited = 0;; waited += INDEX_RETRY_MSECS) {
		int rc = set_octet(lock->fd, F_WRLCK, OCTET_INDEX);
		if (rc != MAILDROP_IN_USE || waited >= wait_msecs)
			return rc;
		nanosleep(&pause, NULL);
	}
}

void lock_index_end(const struct lock *lock)
{
	if (lock->shared && lock->fd >= 0)
		set_octet(lock->fd, F_UNLCK, OCTET_INDEX);
}

bool lock_alone(const struct lock *lock)
{
	if (!lock->shared)
		return true;
	return lock->fd >= 0 && lock->first && !others_have(lock->fd, OCTET_SESSION, true);
}

bool lock_wished(const struct lock *lock)
{
	return lock->fd >= 0 && others_have(lock->fd, OCTET_WISH, false);
}

int lock_wish(int home, int *fd_r)
{
	int error;
	*fd_r = -1;
	return lock_file(home, F_WRLCK, OCTET_WISH, fd_r, &error);
}
