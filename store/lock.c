/* SPDX-License-Identifier: ISC */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "maildrop.h"

/* The lock file, once it is what it should be. */
static int lock_file(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat st;
	if (fstat(fd, &st) != 0)
		return MAILDROP_TEMP;
	if (!S_ISREG(st.st_mode))
		return MAILDROP_PERM;
	if (fcntl(fd, F_OFD_SETLK, &lock) != 0)
		return errno == EAGAIN || errno == EACCES ? MAILDROP_IN_USE : MAILDROP_TEMP;
	return MAILDROP_OK;
}

/* Errors that mean: there can be no lock file, which must not keep anybody from reading or deleting his mail.
 */
static bool no_lock_file(int error)
{
	return error == ENOSPC || error == EDQUOT || error == EROFS || error == EACCES || error == EPERM;
}

/*
 * Two locks. The file's is the one that counts. Where there can be none the directory's own lock must do,
 * so everybody takes that one, too.
 */
int lock_take(struct lock *lock, int home)
{
	bool directory = flock(home, LOCK_EX | LOCK_NB) == 0;
	lock->fd = -1;
	if (!directory && errno == EWOULDBLOCK)
		return MAILDROP_IN_USE;
	int fd = beneath_open(home, LOCK_NAME, O_RDWR | O_CREAT, 0600);
	if (fd < 0 && directory && no_lock_file(errno))
		return MAILDROP_OK;
	if (fd < 0)
		return errno == ENOENT ? MAILDROP_TEMP : beneath_error(errno);
	int rc = lock_file(fd);
	if (rc != MAILDROP_OK)
		close(fd);
	else
		lock->fd = fd;
	return rc;
}

void lock_drop(struct lock *lock)
{
	if (lock->fd >= 0)
		close(lock->fd);
	lock->fd = -1;
}
