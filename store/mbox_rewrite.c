/* SPDX-License-Identifier: ISC */
/*
 * mbox_rewrite: the removal of messages at QUIT, all at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mbox_journal.h"

struct rewrite {
	struct mbox *mbox;
	struct mbox_copies copies;
	struct mbox_journal journal;
	bool journalled;
	struct mbox_id *removed; /* what was found, with its ordinal; later only what is to be remembered */
	bool *recent;
	size_t removed_count;
	uint64_t from; /* of the first one */
};

static int compare(const void *a, const void *b)
{
	return mbox_id_compare(a, b);
}

static bool is_removed(const struct mbox *mbox, const struct mbox_id *id)
{
	return bsearch(id, mbox->removals, mbox->removal_count, sizeof(*id), compare) != NULL;
}

/* What is kept behind the first removed message goes into the journal. */
static int keep(struct rewrite *rewrite, const struct mbox_message *message)
{
	struct mbox *mbox = rewrite->mbox;
	int rc = MAILDROP_OK;
	if (rewrite->removed_count == 0)
		return rc;
	if (!rewrite->journalled)
		rc = mbox_journal_begin(&rewrite->journal, mbox->mailbox.home, rewrite->from);
	rewrite->journalled = true;
	if (rc == MAILDROP_OK)
		rc = mbox_journal_add(
		    &rewrite->journal, mbox_file_read, &mbox->file, message->start, message->end);
	return rc;
}

static int sort_out(void *arg, const struct mbox_entry *entry)
{
	struct rewrite *rewrite = arg;
	if (!is_removed(rewrite->mbox, &entry->id))
		return keep(rewrite, &entry->message);
	if (rewrite->removed_count == 0)
		rewrite->from = entry->message.start;
	rewrite->recent[rewrite->removed_count] = entry->recent;
	rewrite->removed[rewrite->removed_count++] = entry->id;
	return 0;
}

/*
 * Leaves of the removed ones those whose ordinal must not be given again: one of several copies; or a message
 * so young that its like may come in with the same "From " line.
 */
static uint32_t pick_copies(struct rewrite *rewrite)
{
	uint32_t count = 0;
	for (size_t i = 0; i < rewrite->removed_count; i++) {
		const struct mbox_id *id = &rewrite->removed[i];
		if (rewrite->recent[i] || mbox_copies_highest(&rewrite->copies, id) > 1)
			rewrite->removed[count++] = *id;
	}
	return count;
}

/*
 * Nothing is kept behind them: one step, which needs no journal and no room on the disk. Copies that stay lie
 * before them, with lower ordinals; so what cannot be remembered changes none.
 */
static int cut(struct rewrite *rewrite, uint32_t ids)
{
	struct mbox *mbox = rewrite->mbox;
	if (ftruncate(mbox->file.fd, (off_t)rewrite->from) != 0 || fsync(mbox->file.fd) != 0)
		return MAILDROP_TEMP;
	if (!mbox_copies_remember(mbox->mailbox.home, &rewrite->copies, rewrite->removed, ids))
		store_note(mbox->mailbox.store, "%s: which copies were removed cannot be remembered: %s",
		    mbox->file.name, strerror(errno));
	return MAILDROP_OK;
}

static int carry_out(struct rewrite *rewrite, uint64_t end)
{
	struct mbox *mbox = rewrite->mbox;
	uint32_t ids = pick_copies(rewrite);
	int rc;
	/* Somebody appends without a lock, or took our lock for stale: not now. */
	errno = EBUSY;
	if (fstat(mbox->file.fd, &mbox->file.st) != 0 || (uint64_t)mbox->file.st.st_size != end ||
	    !mbox_lock_held(&mbox->file.lock))
		return MAILDROP_TEMP;
	if (!rewrite->journalled)
		return cut(rewrite, ids);
	rc = mbox_journal_commit(&rewrite->journal, mbox, end, rewrite->removed, ids);
	if (rc == MAILDROP_OK)
		rc = mbox_journal_apply(&rewrite->journal, mbox);
	return rc;
}

static int rewrite_file(struct rewrite *rewrite)
{
	struct mbox *mbox = rewrite->mbox;
	struct mbox_walk walk = {mbox_file_read, &mbox->file, &rewrite->copies, sort_out, rewrite, 0, 0};
	rewrite->removed = calloc(mbox->removal_count, sizeof(*rewrite->removed));
	rewrite->recent = calloc(mbox->removal_count, sizeof(*rewrite->recent));
	errno = ENOMEM;
	int rc = rewrite->removed == NULL || rewrite->recent == NULL ? MAILDROP_TEMP : MAILDROP_OK;
	if (rc == MAILDROP_OK)
		rc = mbox_copies_load(&rewrite->copies, mbox->mailbox.home);
	if (rc == MAILDROP_OK)
		rc = mbox_walk(&walk);
	if (rc == MAILDROP_OK && rewrite->removed_count > 0) {
		errno = EROFS;
		rc = mbox->file.read_only ? MAILDROP_TEMP : carry_out(rewrite, walk.end);
	}
	return rc;
}

static void clear(struct rewrite *rewrite)
{
	int error = errno;
	mbox_copies_clear(&rewrite->copies);
	if (rewrite->journalled)
		mbox_journal_end(&rewrite->journal);
	free(rewrite->removed);
	free(rewrite->recent);
	errno = error;
}

int mbox_finish(struct mailbox *mailbox)
{
	struct mbox *mbox = (struct mbox *)mailbox;
	struct rewrite rewrite = {.mbox = mbox, .journal.fd = -1};
	if (mbox->removal_count == 0)
		return MAILDROP_OK;
	qsort(mbox->removals, mbox->removal_count, sizeof(*mbox->removals), compare);
	int rc = mbox_enter(mbox, MBOX_WAIT_MSECS);
	/* Without a file there is nothing to remove. */
	if (rc == MAILDROP_GONE)
		return MAILDROP_OK;
	if (rc != MAILDROP_OK)
		return MAILDROP_TEMP;
	rc = rewrite_file(&rewrite);
	clear(&rewrite);
	if (rc != MAILDROP_OK)
		store_note(
		    mailbox->store, "%s: messages cannot be removed: %s", mbox->file.name, strerror(errno));
	mbox_file_leave(&mbox->file);
	return rc == MAILDROP_OK ? MAILDROP_OK : MAILDROP_TEMP;
}
