/* SPDX-License-Identifier: ISC */
/*
 * mbox_file: one mbox, found by its name and locked each time anew.
 *
 * Nothing stays open or locked between two visits: another program may have put another file in its place.
 */
#ifndef KPOPD_STORE_MBOX_FILE_H
#define KPOPD_STORE_MBOX_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "mbox_lock.h"
#include "record.h"
#include "store.h"

struct mbox_file {
	const struct store *store;
	int dir;
	char name[NAME_MAX + 1];
	struct mbox_lock lock;
	/* Within a visit. */
	int fd;         /* -1: none */
	bool read_only; /* the file system is */
	struct stat st;
};

/* All return 0 or an enum maildrop_err. */

/* The mbox at place. MAILDROP_GONE: not even its directory is there. */
int mbox_file_open(const struct store *store, const struct maildrop_place *place, struct mbox_file *file_r);
void mbox_file_close(struct mbox_file *file);
/* All zero: there is none. What is no file of ours: MAILDROP_PERM. */
int mbox_file_state(const struct mbox_file *file, struct part_state *state_r);
/*
 * Opens and locks it; create: makes an empty one (mode 0600) if there is none. MAILDROP_IN_USE: somebody else
 * had a lock all the time. MAILDROP_GONE: there is none. MAILDROP_TEMP, _PERM with errno, and a note.
 */
int mbox_file_enter(struct mbox_file *file, unsigned wait_msecs, bool create);
void mbox_file_leave(struct mbox_file *file);

/* An mbox_read_fn (mbox_parse.h) that reads a struct mbox_file, and keeps its lock fresh. */
ssize_t mbox_file_read(void *file, void *buf, size_t len, uint64_t offset);
/* All of it, or false and errno. */
bool mbox_file_write(struct mbox_file *file, const void *buf, size_t len, uint64_t offset);

#endif
