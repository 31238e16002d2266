/* SPDX-License-Identifier: ISC */
#include "maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "maildir_private.h"
#include "uidl.h"

static struct maildir *maildir_of(struct mailbox *mailbox)
{
	return (struct maildir *)mailbox;
}

static const struct mailbox_ops ops;

static const char *part_name(enum maildir_part part)
{
	return ops.part_names[part];
}

int maildir_part(struct maildir *maildir, enum maildir_part part, int *fd_r)
{
	int *fd = &maildir->part_fds[part];
	if (*fd < 0)
		*fd = beneath_open(maildir->mailbox.home, part_name(part), O_RDONLY | O_DIRECTORY, 0);
	*fd_r = *fd;
	return *fd < 0 ? beneath_error(errno) : MAILDROP_OK;
}

static int state(struct mailbox *mailbox, struct part_state states_r[MAILBOX_PARTS])
{
	for (int part = 0; part < MAILBOX_PARTS; part++) {
		struct stat st;
		states_r[part] = (struct part_state){0};
		if (fstatat(mailbox->home, part_name((enum maildir_part)part), &st, AT_SYMLINK_NOFOLLOW) !=
		    0) {
			if (errno == ENOENT)
				continue;
			return beneath_error(errno);
		}
		if (!S_ISDIR(st.st_mode))
			return MAILDROP_PERM;
		states_r[part] = (struct part_state){
		    .device = st.st_dev,
		    .inode = st.st_ino,
		    .mtime_nsecs = beneath_nsecs(st.st_mtim),
		    .ctime_nsecs = beneath_nsecs(st.st_ctim),
		};
	}
	return MAILDROP_OK;
}

static int scan_entry(struct mailbox *mailbox, const struct dirent *entry, enum maildir_part part,
    mailbox_scan_fn *fn, void *arg)
{
	size_t len = strlen(entry->d_name);
	if (entry->d_name[0] == '.' || len > RECORD_NAME_OCTETS)
		return MAILDROP_OK;
	struct record record = {
	    .name = entry->d_name,
	    .name_len = (uint8_t)len,
	    .unique_len = (uint8_t)uidl_unique_len(entry->d_name, len),
	    .part = (uint8_t)part,
	    .inode = entry->d_ino,
	};
	if (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN) {
		mailbox_note(mailbox, &record, "not a file; left out");
		return MAILDROP_OK;
	}
	return fn(arg, &record);
}

static int scan_part(struct mailbox *mailbox, enum maildir_part part, mailbox_scan_fn *fn, void *arg)
{
	int dir;
	int rc = maildir_part(maildir_of(mailbox), part, &dir);
	if (rc != MAILDROP_OK)
		return rc == MAILDROP_GONE ? MAILDROP_OK : rc;
	/* A description of its own: the scan's position must not be the maildrop's. */
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	if (stream == NULL) {
		rc = beneath_error(errno);
		if (fd >= 0)
			close(fd);
		return rc == MAILDROP_GONE ? MAILDROP_OK : rc;
	}
	const struct dirent *entry;
	while (rc == MAILDROP_OK && (errno = 0, entry = readdir(stream)) != NULL)
		rc = scan_entry(mailbox, entry, part, fn, arg);
	if (rc == MAILDROP_OK && errno != 0)
		rc = MAILDROP_TEMP;
	closedir(stream);
	return rc;
}

/* new/ first: what moves to cur/ meanwhile is then seen there. */
static int scan(struct mailbox *mailbox, mailbox_scan_fn *fn, void *arg)
{
	int rc = MAILDROP_OK;
	for (int part = 0; rc == MAILDROP_OK && part < MAILBOX_PARTS; part++)
		rc = scan_part(mailbox, (enum maildir_part)part, fn, arg);
	return rc;
}

/* Once for each directory: a second fsync after a failed one would say yes to what is lost. */
static int finish(struct mailbox *mailbox)
{
	struct maildir *maildir = maildir_of(mailbox);
	int rc = MAILDROP_OK;
	for (int part = 0; part < MAILBOX_PARTS; part++) {
		uint32_t unlinked = maildir->unlinked[part];
		maildir->unlinked[part] = 0;
		if (unlinked == 0)
			continue;
		if (fsync(maildir->part_fds[part]) != 0) {
			store_note(mailbox->store, "%s: removal is not safe on disk: %s",
			    part_name((enum maildir_part)part), strerror(errno));
			mailbox->unsafe_count += unlinked;
			rc = MAILDROP_TEMP;
		}
	}
	return rc;
}

static void close_maildir(struct mailbox *mailbox)
{
	struct maildir *maildir = maildir_of(mailbox);
	for (int part = 0; part < MAILBOX_PARTS; part++)
		if (maildir->part_fds[part] >= 0)
			close(maildir->part_fds[part]);
	close(mailbox->home);
	free(maildir);
}

static const struct mailbox_ops ops = {
    .part_names = {"new", "cur"},
    .close = close_maildir,
    .state = state,
    .scan = scan,
    .length = maildir_length,
    .measure = maildir_measure,
    .fetch = maildir_fetch,
    .arrived = maildir_arrived,
    .remove = maildir_remove,
    .finish = finish,
};

int maildir_open(const struct store *store, const char *path, struct mailbox **mailbox_r)
{
	int fd = beneath_open(store->root, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return beneath_error(errno);
	struct stat st;
	struct maildir *maildir = calloc(1, sizeof(*maildir));
	if (maildir == NULL || fstat(fd, &st) != 0) {
		free(maildir);
		close(fd);
		return MAILDROP_TEMP;
	}
	*maildir = (struct maildir){
	    .mailbox = {.ops = &ops, .store = store, .home = fd}, .part_fds = {-1, -1}, .owner = st.st_uid};
	*mailbox_r = &maildir->mailbox;
	return MAILDROP_OK;
}
