/* SPDX-License-Identifier: ISC */
#include "beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "maildrop.h"

#define OPEN_TRIES_COUNT 16

int beneath_open(int dir, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
	    /* What is only passed through is not opened, so there is nothing to wait for. */
	    .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW |
					  ((flags & O_PATH) != 0 ? 0 : O_NONBLOCK | O_NOCTTY)),
	    .mode = mode,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd;
	int tries = OPEN_TRIES_COUNT;
	/* The kernel says EAGAIN when a rename disturbed its walk; but also for as long as somebody holds a
	 * lease. */
	do
		fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	while (fd < 0 && (errno == EAGAIN || errno == EINTR) && --tries > 0);
	return (int)fd;
}

int beneath_error(int error)
{
	switch (error) {
	case 0:
		return MAILDROP_OK;
	case ENOENT:
		return MAILDROP_GONE;
	case ELOOP:
	case EXDEV:
	case ENOTDIR:
	case EISDIR:
	case ENXIO:
	case ENODEV:
	case EACCES:
	case EPERM:
	case EROFS:
	case ENOSYS:
	case ENAMETOOLONG:
		return MAILDROP_PERM;
	default:
		return MAILDROP_TEMP;
	}
}

int64_t beneath_nsecs(struct timespec time)
{
	int64_t nsecs;
	if (__builtin_mul_overflow((int64_t)time.tv_sec, INT64_C(1000000000), &nsecs) ||
	    __builtin_add_overflow(nsecs, (int64_t)time.tv_nsec, &nsecs))
		return INT64_MIN;
	return nsecs;
}
