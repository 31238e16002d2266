/* SPDX-License-Identifier: ISC */
#include "mbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "mbox_journal.h"
#include "mbox_private.h"

static struct mbox *mbox_of(struct mailbox *mailbox)
{
	return (struct mbox *)mailbox;
}

int mbox_enter(struct mbox *mbox, unsigned wait_msecs)
{
	int rc = mbox_file_enter(&mbox->file, wait_msecs, false);
	if (rc != MAILDROP_OK)
		return rc;
	rc = mbox_journal_recover(mbox);
	if (rc != MAILDROP_OK) {
		int error = errno;
		mbox_file_leave(&mbox->file);
		errno = error;
	}
	return rc;
}

static void close_mbox(struct mailbox *mailbox)
{
	struct mbox *mbox = mbox_of(mailbox);
	mbox_file_close(&mbox->file);
	if (mailbox->home >= 0)
		close(mailbox->home);
	free(mbox->removals);
	free(mbox);
}

static int state(struct mailbox *mailbox, struct part_state states_r[MAILBOX_PARTS])
{
	memset(states_r, 0, sizeof(*states_r) * MAILBOX_PARTS);
	return mbox_file_state(&mbox_of(mailbox)->file, &states_r[0]);
}

struct scan {
	mailbox_scan_fn *fn;
	void *arg;
};

static int scan_entry(void *arg, const struct mbox_entry *entry)
{
	struct scan *scan = arg;
	char name[MBOX_NAME_SIZE];
	size_t len = mbox_id_name(&entry->id, name);
	const struct record record = {
	    .name = name,
	    .name_len = (uint8_t)len,
	    .unique_len = (uint8_t)len,
	    .offset = entry->message.start,
	    .octets = entry->octets,
	    .length = entry->message.length,
	    .flags = (uint8_t)entry->flags,
	};
	return scan->fn(scan->arg, &record);
}

/* What is no message of an mbox stays where it is; but somebody should know. */
static void note_preamble(struct mbox *mbox, const struct mbox_walk *walk)
{
	if (walk->start == 0 || mbox->noted_preamble)
		return;
	mbox->noted_preamble = true;
	store_note(mbox->mailbox.store, "%s: what stands before its first message is no message; left out",
	    mbox->file.name);
}

static int scan(struct mailbox *mailbox, mailbox_scan_fn *fn, void *arg)
{
	struct mbox *mbox = mbox_of(mailbox);
	struct scan scan = {fn, arg};
	struct mbox_copies copies;
	int rc = mbox_enter(mbox, mbox->scanned ? MBOX_WAIT_MSECS : MBOX_OPEN_WAIT_MSECS);
	if (rc == MAILDROP_IN_USE && mbox->scanned)
		rc = MAILDROP_TEMP;
	if (rc != MAILDROP_OK)
		return rc == MAILDROP_GONE ? MAILDROP_OK : rc;
	mbox->scanned = true;
	rc = mbox_copies_load(&copies, mailbox->home);
	if (rc == MAILDROP_OK) {
		struct mbox_walk walk = {mbox_file_read, &mbox->file, &copies, scan_entry, &scan, 0, 0};
		rc = mbox_walk(&walk);
		note_preamble(mbox, &walk);
	}
	mbox_copies_clear(&copies);
	mbox_file_leave(&mbox->file);
	return rc;
}

/* Only of what the scan has left out: a message without an octet. Perhaps in the middle of a scan. */
static int measure(struct mailbox *mailbox, struct record *record)
{
	struct mbox *mbox = mbox_of(mailbox);
	struct mbox_entry entry;
	bool visiting = mbox->file.fd >= 0;
	if (record->octets > 0)
		return MAILDROP_OK;
	int rc = visiting ? MAILDROP_OK : mbox_enter(mbox, MBOX_WAIT_MSECS);
	if (rc != MAILDROP_OK)
		return rc == MAILDROP_GONE ? rc : MAILDROP_TEMP;
	rc = mbox_read_message(mbox, record, NULL, NULL, &entry);
	if (!visiting)
		mbox_file_leave(&mbox->file);
	if (rc != MAILDROP_OK)
		return rc;
	record->octets = entry.octets;
	record->length = entry.message.length;
	record->flags = (uint8_t)entry.flags;
	return MAILDROP_OK;
}

/* Noted, for finish to do: one rewriting of the file serves all. */
static int remove_message(struct mailbox *mailbox, const struct record *record)
{
	struct mbox *mbox = mbox_of(mailbox);
	struct mbox_id id;
	if (!mbox_id_parse(record->name, record->name_len, &id))
		return MAILDROP_GONE;
	if (mbox->removal_count == mbox->removal_size) {
		size_t size = mbox->removal_size == 0 ? 64 : mbox->removal_size * 2;
		struct mbox_id *removals = reallocarray(mbox->removals, size, sizeof(*removals));
		if (removals == NULL)
			return MAILDROP_TEMP;
		mbox->removals = removals;
		mbox->removal_size = size;
	}
	mbox->removals[mbox->removal_count++] = id;
	return MAILDROP_OK;
}

static const struct mailbox_ops ops = {
    .part_names = {"mbox", "mbox"},
    .close = close_mbox,
    .state = state,
    .scan = scan,
    .measure = measure,
    .fetch = mbox_fetch,
    .arrived = mbox_arrived,
    .remove = remove_message,
    .finish = mbox_finish,
};

int mbox_home_open(const struct store *store, const char *user)
{
	if (store->homes < 0 || strchr(user, '/') != NULL || user[0] == '.') {
		errno = EPERM;
		return -1;
	}
	int home = beneath_open(store->homes, user, O_RDONLY | O_DIRECTORY, 0);
	if (home >= 0 || errno != ENOENT)
		return home;
	if (mkdirat(store->homes, user, 0700) != 0 && errno != EEXIST)
		return -1;
	if (fsync(store->homes) != 0)
		return -1;
	return beneath_open(store->homes, user, O_RDONLY | O_DIRECTORY, 0);
}

/* What a crash has left is mended before anybody asks whether the file has changed. */
static int mend(struct mbox *mbox)
{
	if (!mbox_journal_exists(mbox->mailbox.home))
		return MAILDROP_OK;
	int rc = mbox_enter(mbox, MBOX_OPEN_WAIT_MSECS);
	if (rc == MAILDROP_OK) {
		unlinkat(mbox->mailbox.home, JOURNAL_NEW_NAME, 0);
		mbox_file_leave(&mbox->file);
	}
	return rc;
}

static int begin(struct mbox *mbox, const struct maildrop_place *place)
{
	struct part_state now;
	int rc = mbox_file_open(mbox->mailbox.store, place, &mbox->file);
	if (rc == MAILDROP_OK)
		rc = mbox_file_state(&mbox->file, &now);
	if (rc == MAILDROP_OK && now.inode == 0)
		rc = MAILDROP_GONE;
	if (rc != MAILDROP_OK)
		return rc;
	mbox->mailbox.home = mbox_home_open(mbox->mailbox.store, place->user);
	if (mbox->mailbox.home < 0) {
		store_note(mbox->mailbox.store, "%s: no directory for what belongs to this mbox: %s",
		    mbox->file.name, strerror(errno));
		return beneath_error(errno) == MAILDROP_PERM ? MAILDROP_PERM : MAILDROP_TEMP;
	}
	return mend(mbox);
}

int mbox_open(const struct store *store, const struct maildrop_place *place, struct mailbox **mailbox_r)
{
	struct mbox *mbox = calloc(1, sizeof(*mbox));
	*mailbox_r = NULL;
	if (mbox == NULL)
		return MAILDROP_TEMP;
	mbox->mailbox = (struct mailbox){.ops = &ops, .store = store, .home = -1};
	mbox->file.dir = mbox->file.fd = mbox->file.lock.fd = mbox->file.lock.dotlock_fd = -1;
	int rc = begin(mbox, place);
	if (rc != MAILDROP_OK) {
		int error = errno;
		close_mbox(&mbox->mailbox);
		errno = error;
		return rc;
	}
	*mailbox_r = &mbox->mailbox;
	return MAILDROP_OK;
}
