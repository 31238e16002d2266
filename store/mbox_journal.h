/* SPDX-License-Identifier: ISC */
/*
 * mbox_journal: removing messages from the middle of an mbox, in place, so that no crash loses a message.
 *
 * The file is never replaced by another, because a deliverer may have opened it already. So what is kept
 * behind the first removed message is written to JOURNAL_NAME in home first; when that is safe, it is written
 * over the file from there on, the file is cut to its new length, and the journal is removed. Whoever locks
 * the file and finds a journal does that again before anything else: with what others have appended since, if
 * the file was not cut yet. If others have rewritten the file since, it is left as it is, and the messages of
 * the journal that it does not hold are appended.
 *
 * The file is locked during all of this, and what fails leaves the journal to the next one.
 */
#ifndef KPOPD_STORE_MBOX_JOURNAL_H
#define KPOPD_STORE_MBOX_JOURNAL_H

#include "mbox_private.h"

#define JOURNAL_NAME "kpopd.journal"
#define JOURNAL_NEW_NAME "kpopd.journal.new" /* not complete: counts for nothing */
#define JOURNAL_BAD_NAME "kpopd.journal.bad" /* damaged on disk; for whoever wants to know */

/* One that is being written, or read. */
struct mbox_journal {
	int home, fd;
	uint64_t from;        /* where in the file what changes begins */
	uint64_t old_length;  /* of the file */
	uint64_t tail_length; /* what is kept from there on */
	uint32_t id_count;    /* of copies to be remembered (mbox_copies.h) */
	uint8_t tail_digest[32], removed_digest[32];
};

/* All return 0 or an enum maildrop_err, with errno. */

/* Whether there is anything to recover. */
bool mbox_journal_exists(int home);
/* To be called with the file entered. */
int mbox_journal_recover(struct mbox *mbox);

/* Begins a new one; then what is kept, octets from to end of the file or another that read reads. */
int mbox_journal_begin(struct mbox_journal *journal, int home, uint64_t from);
int mbox_journal_add(
    struct mbox_journal *journal, mbox_read_fn *read, void *arg, uint64_t from, uint64_t end);
/* It is complete and safe, and counts from here on. old_length is the file's. */
int mbox_journal_commit(struct mbox_journal *journal, struct mbox *mbox, uint64_t old_length,
    const struct mbox_id *ids, uint32_t id_count);
/* Does what a committed one says. */
int mbox_journal_apply(struct mbox_journal *journal, struct mbox *mbox);
/* Frees it; one that was not committed is removed. */
void mbox_journal_end(struct mbox_journal *journal);

/* Appends the messages of a journal's tail that the file does not hold. */
int mbox_salvage(struct mbox *mbox, struct mbox_journal *journal);
/* An mbox_read_fn that reads the tail of a struct mbox_journal as if it were a file. */
ssize_t mbox_journal_read_tail(void *journal, void *buf, size_t len, uint64_t offset);

#endif
