/* SPDX-License-Identifier: ISC */
/*
 * mbox_private: what the modules of an mbox share.
 */
#ifndef KPOPD_STORE_MBOX_PRIVATE_H
#define KPOPD_STORE_MBOX_PRIVATE_H

#include "mbox.h"
#include "mbox_copies.h"
#include "mbox_digest.h"
#include "mbox_file.h"
#include "mbox_parse.h"

/*
 * How long another program's lock is waited for. At a login the caller tries several times, so each is short;
 * the client hears [IN-USE] then, else [SYS/TEMP].
 */
#define MBOX_OPEN_WAIT_MSECS 1000u
#define MBOX_WAIT_MSECS 10000u

struct mbox {
	struct mailbox mailbox;
	struct mbox_file file;
	struct mbox_id *removals; /* what remove was told of */
	size_t removal_count, removal_size;
	bool scanned; /* the login is over */
	bool noted_preamble;
};

/* homes/USER, made when it is missing. -1 and errno. */
int mbox_home_open(const struct store *store, const char *user);
/* Enters the file (mbox_file.h), first mending what a crash has left of a removal. */
int mbox_enter(struct mbox *mbox, unsigned wait_msecs);

/* A message as the walk found it. */
struct mbox_entry {
	struct mbox_message message;
	struct mbox_id id;
	uint64_t octets; /* on the wire */
	unsigned flags;  /* WIRE_ */
	bool recent;     /* it may have come in this very second, by its "From " line */
};
/* Non-zero ends the walk, and is its result. */
typedef int mbox_walk_fn(void *arg, const struct mbox_entry *entry);
/*
 * All messages of the file, or of another that read reads, but internal ones, in order; copies, which the
 * caller has loaded, tells the same ones apart. MAILDROP_TEMP with errno.
 */
struct mbox_walk {
	mbox_read_fn *read;
	void *read_arg;
	struct mbox_copies *copies;
	mbox_walk_fn *fn;
	void *arg;
	uint64_t start, end; /* of the messages altogether, filled in by the walk */
};
int mbox_walk(struct mbox_walk *walk);

/* A file in home that has no name any more, open for reading and writing. -1 and errno. */
int mbox_unnamed_file(int home);

/* The operations of mailbox.h. */
int mbox_fetch(struct mailbox *mailbox, const struct record *record, struct maildrop_message *message_r);
int mbox_arrived(struct mailbox *mailbox, const struct record *record, int64_t *secs_r);
int mbox_finish(struct mailbox *mailbox);
/* Reads one message where the record says, as it is there now. MAILDROP_GONE, _TEMP. */
int mbox_read_message(struct mbox *mbox, const struct record *record, mbox_piece_fn *piece, void *piece_arg,
    struct mbox_entry *entry_r);

#endif
