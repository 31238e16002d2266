/* SPDX-License-Identifier: ISC */
#include "mbox_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "beneath.h"

#define PAUSE_MSECS 20

static int64_t now_msecs(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Two who try again at the same pace may hinder each other for long. */
static void pause_a_little(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	const struct timespec pause = {
	    .tv_nsec = (PAUSE_MSECS + now.tv_nsec / 1000 % PAUSE_MSECS) * 1000000L};
	nanosleep(&pause, NULL);
}

int mbox_file_open(const struct store *store, const struct maildrop_place *place, struct mbox_file *file_r)
{
	const char *path = place->path;
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	const char *name = slash == NULL ? path : slash + 1;
	size_t dir_len = slash == NULL ? 0 : (size_t)(slash - path);
	*file_r = (struct mbox_file){
	    .store = store, .dir = -1, .fd = -1, .lock = {.dir = -1, .fd = -1, .dotlock_fd = -1}};
	if (*name == 0 || strlen(name) > NAME_MAX || dir_len >= sizeof(dir))
		return MAILDROP_PERM;
	size_t len = strlen(name);
	size_t suffix = sizeof(MBOX_DOTLOCK_SUFFIX) - 1;
	if (len > suffix && strcmp(name + len - suffix, MBOX_DOTLOCK_SUFFIX) == 0) {
		store_note(store, "%s: the name of a lock file, so no mbox", name);
		errno = EPERM;
		return MAILDROP_PERM;
	}
	strcpy(file_r->name, name);
	memcpy(dir, path, dir_len);
	dir[dir_len] = 0;
	file_r->dir = beneath_open(store->root, dir_len == 0 ? "." : dir, O_RDONLY | O_DIRECTORY, 0);
	if (file_r->dir < 0)
		return beneath_error(errno);
	return mbox_lock_init(&file_r->lock, file_r->dir, name, place->spool_locks);
}

void mbox_file_close(struct mbox_file *file)
{
	mbox_file_leave(file);
	if (file->dir >= 0)
		close(file->dir);
	file->dir = -1;
}

/* Root, who serves all, goes by the directory's owner. */
static bool is_owner(const struct mbox_file *file, uid_t owner)
{
	struct stat st;
	if (owner == geteuid())
		return true;
	return geteuid() == 0 && fstat(file->dir, &st) == 0 && st.st_uid == owner;
}

/* A second name of the file might be another user's mbox. */
static bool is_ours(const struct mbox_file *file, const struct stat *st, const char **why_r)
{
	*why_r = !S_ISREG(st->st_mode)         ? "is a link or no regular file"
		 : !is_owner(file, st->st_uid) ? "belongs to another user than the one that serves it"
		 : st->st_nlink > 1            ? "has a second name"
					       : NULL;
	return *why_r == NULL;
}

int mbox_file_state(const struct mbox_file *file, struct part_state *state_r)
{
	struct stat st;
	const char *why;
	*state_r = (struct part_state){0};
	if (fstatat(file->dir, file->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? MAILDROP_OK : beneath_error(errno);
	if (!is_ours(file, &st, &why)) {
		store_note(file->store, "%s: %s; refused", file->name, why);
		errno = EPERM;
		return MAILDROP_PERM;
	}
	*state_r = (struct part_state){
	    .device = st.st_dev,
	    .inode = st.st_ino,
	    .mtime_nsecs = beneath_nsecs(st.st_mtim),
	    .ctime_nsecs = beneath_nsecs(st.st_ctim),
	    .length = (uint64_t)st.st_size,
	};
	return MAILDROP_OK;
}

/* As root: the file that was just made belongs to the directory's owner. */
static int give_away(const struct mbox_file *file)
{
	struct stat st;
	if (geteuid() != 0)
		return 0;
	return fstat(file->dir, &st) != 0 ? -1 : fchown(file->fd, st.st_uid, (gid_t)-1);
}

static int open_file(struct mbox_file *file, bool create)
{
	file->read_only = false;
	file->fd = beneath_open(file->dir, file->name, O_RDWR, 0);
	if (file->fd < 0 && errno == EROFS) {
		file->read_only = true;
		file->fd = beneath_open(file->dir, file->name, O_RDONLY, 0);
	}
	if (file->fd < 0 && errno == ENOENT && create) {
		file->fd = beneath_open(file->dir, file->name, O_RDWR | O_CREAT | O_EXCL, 0600);
		/* Somebody else may have been quicker: that is to be tried again. */
		if (file->fd < 0 && errno == EEXIST)
			return MAILDROP_IN_USE;
		if (file->fd >= 0 && (give_away(file) != 0 || fsync(file->dir) != 0))
			return MAILDROP_TEMP;
	}
	return file->fd < 0 ? beneath_error(errno) : MAILDROP_OK;
}

/* Locked is the file that has the name now, and it is one that we may use. MAILDROP_IN_USE: look again. */
static int check_file(struct mbox_file *file, const char **why_r)
{
	struct stat named;
	if (fstat(file->fd, &file->st) != 0)
		return MAILDROP_TEMP;
	if (fstatat(file->dir, file->name, &named, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? MAILDROP_IN_USE : MAILDROP_TEMP;
	if (named.st_ino != file->st.st_ino || named.st_dev != file->st.st_dev)
		return MAILDROP_IN_USE;
	errno = EPERM;
	return is_ours(file, &file->st, why_r) ? MAILDROP_OK : MAILDROP_PERM;
}

static int try_to_enter(struct mbox_file *file, bool create, const char **why_r)
{
	*why_r = "cannot be opened";
	int rc = open_file(file, create);
	/* Before the locks, which leave traces; and again when it cannot change any more. */
	if (rc == MAILDROP_OK)
		rc = check_file(file, why_r);
	if (rc == MAILDROP_OK)
		rc = mbox_lock_try(&file->lock, file->fd, file->read_only, why_r);
	if (rc == MAILDROP_OK)
		rc = check_file(file, why_r);
	if (rc != MAILDROP_OK) {
		int error = errno;
		mbox_file_leave(file);
		errno = error;
	}
	return rc;
}

int mbox_file_enter(struct mbox_file *file, unsigned wait_msecs, bool create)
{
	const char *why = NULL;
	int64_t deadline = now_msecs() + wait_msecs;
	int rc;
	while ((rc = try_to_enter(file, create, &why)) == MAILDROP_IN_USE && now_msecs() < deadline)
		pause_a_little();
	if (rc == MAILDROP_IN_USE)
		store_note(file->store, "%s: locked by another program (%s)", file->name, why);
	else if (rc == MAILDROP_TEMP || rc == MAILDROP_PERM)
		store_note(file->store, "%s: %s: %s", file->name, why, strerror(errno));
	return rc;
}

void mbox_file_leave(struct mbox_file *file)
{
	mbox_lock_drop(&file->lock);
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

ssize_t mbox_file_read(void *arg, void *buf, size_t len, uint64_t offset)
{
	struct mbox_file *file = arg;
	mbox_lock_keep(&file->lock);
	return pread(file->fd, buf, len, (off_t)offset);
}

bool mbox_file_write(struct mbox_file *file, const void *buf, size_t len, uint64_t offset)
{
	const char *p = buf;
	mbox_lock_keep(&file->lock);
	while (len > 0) {
		ssize_t put = pwrite(file->fd, p, len, (off_t)offset);
		if (put < 0 && errno == EINTR)
			continue;
		if (put == 0)
			errno = EIO;
		if (put <= 0)
			return false;
		p += put;
		offset += (uint64_t)put;
		len -= (size_t)put;
	}
	return true;
}
