/* SPDX-License-Identifier: ISC */
/*
 * maildir: one Maildir's directories and files, opened beneath the mail root and never by way of a
 * symbolic link.
 *
 * What lies in a Maildir is under its owner's control, so everything is checked after it is opened and
 * nothing is waited for: a message is a regular file of the Maildir's own owner.
 */
#ifndef KPOPD_STORE_MAILDIR_H
#define KPOPD_STORE_MAILDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "record.h"

#define MAILDIR_LOCK_NAME "kpopd.lock"

struct maildir {
	int fd;                      /* -1: there is no Maildir */
	int part_fds[MAILDIR_PARTS]; /* -1: not opened yet */
	int lock;                    /* -1: not locked */
	uid_t owner;
};

/* All maildir_ functions return 0 or an enum maildrop_err; MAILDROP_GONE: there is nothing of that name. */
int maildir_open(int root, const char *path, struct maildir *maildir_r);
void maildir_close(struct maildir *maildir);
/* Never waits: MAILDROP_IN_USE. Held until maildir_close or the end of the process. */
int maildir_lock(struct maildir *maildir);

const char *maildir_part_name(enum maildir_part part);
/* The directory's descriptor; the maildir's own. */
int maildir_part(struct maildir *maildir, enum maildir_part part, int *fd_r);
/* All zero when the directory is missing. */
int maildir_state(const struct maildir *maildir, struct dir_state states_r[MAILDIR_PARTS]);

/* Opens a message for reading; anything that is not one is MAILDROP_PERM. */
int maildir_message(struct maildir *maildir, const struct record *record, int *fd_r, struct stat *st_r);
/* Looks at what is there now under the record's name: MAILDROP_GONE also when it is another file than the
 * record's. */
int maildir_same(struct maildir *maildir, const struct record *record);
int maildir_unlink(struct maildir *maildir, const struct record *record);
/* Reads the whole file and fills in length, octets, flags, inode and time. _TEMP: it changed meanwhile, or
 * cannot be read. */
int maildir_measure(int fd, const struct stat *st, struct record *record);

int64_t maildir_nsecs(struct timespec time);
/* What an errno means to the caller. */
int maildir_error(int error);
/* open(2) beneath dir, following no link, waiting for nothing; -1 and errno. */
int maildir_open_beneath(int dir, const char *path, int flags, mode_t mode);

#endif
