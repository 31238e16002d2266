/* SPDX-License-Identifier: ISC */
#include "maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wire.h"

#define READ_OCTETS 65536u
#define OPEN_TRIES_COUNT 16
#define SPARSE_OCTETS (1u << 20) /* smaller files are read, holes and all */

static const char *const part_names[MAILDIR_PARTS] = {"new", "cur"};

const char *maildir_part_name(enum maildir_part part)
{
	return part_names[part];
}

int maildir_open_beneath(int dir, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
	    .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY),
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

int maildir_error(int error)
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

int64_t maildir_nsecs(struct timespec time)
{
	int64_t nsecs;
	if (__builtin_mul_overflow((int64_t)time.tv_sec, INT64_C(1000000000), &nsecs) ||
	    __builtin_add_overflow(nsecs, (int64_t)time.tv_nsec, &nsecs))
		return INT64_MIN;
	return nsecs;
}

int maildir_open(int root, const char *path, struct maildir *maildir_r)
{
	*maildir_r = (struct maildir){.fd = -1, .part_fds = {-1, -1}, .lock = -1};
	int fd = maildir_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return maildir_error(errno);
	struct stat st;
	if (fstat(fd, &st) != 0) {
		close(fd);
		return MAILDROP_TEMP;
	}
	maildir_r->fd = fd;
	maildir_r->owner = st.st_uid;
	return MAILDROP_OK;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void maildir_close(struct maildir *maildir)
{
	for (int part = 0; part < MAILDIR_PARTS; part++)
		close_fd(&maildir->part_fds[part]);
	close_fd(&maildir->lock);
	close_fd(&maildir->fd);
}

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
int maildir_lock(struct maildir *maildir)
{
	bool directory = flock(maildir->fd, LOCK_EX | LOCK_NB) == 0;
	if (!directory && errno == EWOULDBLOCK)
		return MAILDROP_IN_USE;
	int fd = maildir_open_beneath(maildir->fd, MAILDIR_LOCK_NAME, O_RDWR | O_CREAT, 0600);
	if (fd < 0 && directory && no_lock_file(errno))
		return MAILDROP_OK;
	if (fd < 0)
		return errno == ENOENT ? MAILDROP_TEMP : maildir_error(errno);
	int rc = lock_file(fd);
	if (rc != MAILDROP_OK)
		close(fd);
	else
		maildir->lock = fd;
	return rc;
}

int maildir_part(struct maildir *maildir, enum maildir_part part, int *fd_r)
{
	int *fd = &maildir->part_fds[part];
	if (maildir->fd < 0)
		return MAILDROP_GONE;
	if (*fd < 0)
		*fd = maildir_open_beneath(maildir->fd, part_names[part], O_RDONLY | O_DIRECTORY, 0);
	*fd_r = *fd;
	return *fd < 0 ? maildir_error(errno) : MAILDROP_OK;
}

int maildir_state(const struct maildir *maildir, struct dir_state states_r[MAILDIR_PARTS])
{
	for (int part = 0; part < MAILDIR_PARTS; part++) {
		struct stat st;
		states_r[part] = (struct dir_state){0};
		if (maildir->fd < 0)
			continue;
		if (fstatat(maildir->fd, part_names[part], &st, AT_SYMLINK_NOFOLLOW) != 0) {
			if (errno == ENOENT)
				continue;
			return maildir_error(errno);
		}
		if (!S_ISDIR(st.st_mode))
			return MAILDROP_PERM;
		states_r[part] = (struct dir_state){
		    .device = st.st_dev,
		    .inode = st.st_ino,
		    .mtime_nsecs = maildir_nsecs(st.st_mtim),
		    .ctime_nsecs = maildir_nsecs(st.st_ctim),
		};
	}
	return MAILDROP_OK;
}

/* The record's name with the NUL that the kernel wants; name_r has RECORD_NAME_OCTETS + 1. */
static void name_of(const struct record *record, char *name_r)
{
	memcpy(name_r, record->name, record->name_len);
	name_r[record->name_len] = 0;
}

int maildir_message(struct maildir *maildir, const struct record *record, int *fd_r, struct stat *st_r)
{
	char name[RECORD_NAME_OCTETS + 1];
	int dir;
	int rc = maildir_part(maildir, record->part, &dir);
	if (rc != MAILDROP_OK)
		return rc;
	name_of(record, name);
	int fd = maildir_open_beneath(dir, name, O_RDONLY, 0);
	if (fd < 0)
		return maildir_error(errno);
	if (fstat(fd, st_r) != 0)
		rc = MAILDROP_TEMP;
	else if (!S_ISREG(st_r->st_mode) || st_r->st_uid != maildir->owner)
		rc = MAILDROP_PERM;
	if (rc != MAILDROP_OK) {
		close(fd);
		return rc;
	}
	*fd_r = fd;
	return MAILDROP_OK;
}

int maildir_same(struct maildir *maildir, const struct record *record)
{
	char name[RECORD_NAME_OCTETS + 1];
	struct stat st;
	int dir;
	int rc = maildir_part(maildir, record->part, &dir);
	if (rc != MAILDROP_OK)
		return rc;
	name_of(record, name);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return maildir_error(errno);
	bool same =
	    S_ISREG(st.st_mode) && st.st_ino == record->inode && (uint64_t)st.st_size == record->length;
	return same ? MAILDROP_OK : MAILDROP_GONE;
}

int maildir_unlink(struct maildir *maildir, const struct record *record)
{
	char name[RECORD_NAME_OCTETS + 1];
	int dir;
	int rc = maildir_part(maildir, record->part, &dir);
	if (rc != MAILDROP_OK)
		return rc;
	name_of(record, name);
	return unlinkat(dir, name, 0) == 0 ? MAILDROP_OK : maildir_error(errno);
}

/* How many octets from at on are a hole: reading them would cost the time their absence saved in space. */
static uint64_t hole_at(int fd, const struct stat *st, uint64_t at)
{
	uint64_t length = (uint64_t)st->st_size;
	if (length < SPARSE_OCTETS || (uint64_t)st->st_blocks * 512 >= length)
		return 0;
	off_t data = lseek(fd, (off_t)at, SEEK_DATA);
	bool to_the_end = data < 0 && errno == ENXIO;
	lseek(fd, 0, SEEK_SET);
	if (to_the_end)
		return length - at;
	return data < 0 || (uint64_t)data > length ? 0 : (uint64_t)data - at;
}

/* After the first zero the others change nothing but the sum. */
static void count_zeros(struct wire_count *count, uint64_t len)
{
	if (len == 0)
		return;
	wire_count_add(count, "", 1);
	count->octets += len - 1;
}

int maildir_measure(int fd, const struct stat *st, struct record *record)
{
	uint8_t buf[READ_OCTETS];
	uint64_t length = (uint64_t)st->st_size;
	uint64_t seen = 0;
	struct wire_count count = {0};
	while (seen < length) {
		uint64_t hole = hole_at(fd, st, seen);
		count_zeros(&count, hole);
		seen += hole;
		size_t want = length - seen < sizeof(buf) ? (size_t)(length - seen) : sizeof(buf);
		if (want == 0)
			break;
		ssize_t got = pread(fd, buf, want, (off_t)seen);
		if (got < 0 && errno == EINTR)
			continue;
		/* Shorter than it said: it is being written to, or the disk is bad. */
		if (got <= 0)
			return MAILDROP_TEMP;
		wire_count_add(&count, buf, (size_t)got);
		seen += (uint64_t)got;
	}
	unsigned flags;
	record->octets = wire_count_done(&count, &flags);
	record->length = length;
	record->flags = (uint8_t)flags;
	record->inode = st->st_ino;
	record->mtime_nsecs = maildir_nsecs(st->st_mtim);
	return MAILDROP_OK;
}
