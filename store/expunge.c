/* SPDX-License-Identifier: ISC */
/*
 * expunge: QUIT's removal of messages, by identity, never by position.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot.h"
#include "uidls.h"

#define BATCH_COUNT 64u
#define UNLINK_TRIES_COUNT 4
#define INDEX_COUNT 1000u /* removed from the index at a time: each may be in another page */

struct expunge {
	struct maildrop *maildrop;
	const uint8_t *marks;
	size_t len;
	uint32_t next; /* idx where the next batch begins */
	uint32_t batch_count;
	bool failed;
	uint32_t *gone; /* UIDs of what is no longer there */
	uint32_t gone_count;
	uint32_t removed_count;     /* of these, by us */
	struct uidls_writer *lines; /* NULL: nothing to write so far */
	struct found batch[BATCH_COUNT];
};

static bool marked(const struct expunge *expunge, uint32_t idx)
{
	return idx / 8 < expunge->len && (expunge->marks[idx / 8] >> (idx % 8) & 1) != 0;
}

/* The number of marks, or UINT32_MAX when one stands for no message. */
static uint32_t count_marks(const uint8_t *marks, size_t len, uint32_t count)
{
	uint32_t marked = 0;
	for (size_t i = 0; i < len; i++) {
		for (unsigned bit = 0; marks[i] >> bit != 0; bit++) {
			if ((marks[i] >> bit & 1) == 0)
				continue;
			if (i > UINT32_MAX / 8 || i * 8 + bit >= count)
				return UINT32_MAX;
			marked++;
		}
	}
	return marked;
}

static int collect(void *arg, uint32_t idx, const struct record *record)
{
	struct expunge *expunge = arg;
	expunge->next = idx + 1;
	if (marked(expunge, idx))
		found_set(&expunge->batch[expunge->batch_count++], record);
	return expunge->batch_count == BATCH_COUNT;
}

/* Removes one message if it is there as the index knows it. MAILDROP_GONE: it is not. */
static int remove_message(struct maildrop *maildrop, struct found *found)
{
	for (int tries = 0; tries < UNLINK_TRIES_COUNT; tries++) {
		int rc = maildrop->mailbox->ops->remove(maildrop->mailbox, &found->record);
		if (rc != MAILDROP_GONE)
			return rc;
		/* Another program may have renamed it. */
		rc = snapshot_relook(maildrop, found);
		if (rc != MAILDROP_OK)
			return rc;
	}
	return MAILDROP_TEMP;
}

/* Of messages that look alike the survivors keep their UIDLs, whatever becomes of the index. */
static void write_down(struct expunge *expunge, const struct record *record)
{
	char uidl[MAILDROP_UIDL_OCTETS + 1];
	struct uidls_line line = uidls_line_of(UIDLS_GONE, record, uidl);
	if (expunge->lines == NULL)
		expunge->lines = uidls_writer_new(expunge->maildrop->mailbox);
	if (expunge->lines != NULL)
		uidls_write(expunge->lines, &line);
}

static void remove_batch(struct expunge *expunge)
{
	for (uint32_t i = 0; i < expunge->batch_count; i++) {
		struct found *found = &expunge->batch[i];
		int rc = remove_message(expunge->maildrop, found);
		if (rc == MAILDROP_OK || rc == MAILDROP_GONE) {
			expunge->gone[expunge->gone_count++] = found->record.uid;
			expunge->removed_count += rc == MAILDROP_OK;
			if (found->record.shared)
				write_down(expunge, &found->record);
			continue;
		}
		if (!expunge->failed)
			store_note(expunge->maildrop->store, "%.*s: cannot be removed: %s",
			    found->record.name_len, found->record.name, strerror(errno));
		expunge->failed = true;
	}
	expunge->batch_count = 0;
}

/* Where others share the maildrop they may still list what is gone. */
static void update_index(struct expunge *expunge)
{
	struct maildrop *maildrop = expunge->maildrop;
	const struct lock *lock = &maildrop->lock;
	if (!maildrop->indexed || expunge->gone_count == 0)
		return;
	/* If others bring the index up to date just now, the next login finds the mailbox changed. */
	if (lock_index_begin(lock, INDEX_WAIT_MSECS) != MAILDROP_OK)
		return;
	for (uint32_t from = 0; from < expunge->gone_count; from += INDEX_COUNT) {
		uint32_t left = expunge->gone_count - from;
		if (index_remove(maildrop->env, maildrop->user, expunge->gone + from,
			left < INDEX_COUNT ? left : INDEX_COUNT, lock->shared) != INDEX_OK)
			break;
	}
	lock_index_end(lock);
}

/* Makes the removals last. Returns how many of them may not. */
static uint32_t finish(struct expunge *expunge)
{
	struct mailbox *mailbox = expunge->maildrop->mailbox;
	if (mailbox->ops->finish(mailbox) == MAILDROP_OK || expunge->removed_count == 0)
		return 0;
	uint32_t unsafe = mailbox->unsafe_count;
	if (unsafe == 0 || unsafe > expunge->removed_count)
		unsafe = expunge->removed_count;
	store_note(expunge->maildrop->store, "of %u messages removed %u may come back after a power cut",
	    expunge->removed_count, unsafe);
	return unsafe;
}

static int run(struct expunge *expunge, uint32_t wanted, uint32_t *left_r)
{
	uint32_t count = expunge->maildrop->drop.count;
	while (expunge->gone_count < wanted && expunge->next < count) {
		uint32_t from = expunge->next;
		while (from < count && !marked(expunge, from))
			from++;
		if (from == count)
			break;
		int rc = snapshot_walk(expunge->maildrop, from, collect, expunge);
		remove_batch(expunge);
		if (rc != MAILDROP_OK) {
			expunge->failed = true;
			break;
		}
	}
	uint32_t unsafe = finish(expunge);
	*left_r = wanted - expunge->gone_count + unsafe;
	if (expunge->lines != NULL)
		uidls_writer_end(&expunge->lines);
	/* What may still be there is for the next login to see. */
	if (unsafe == 0)
		update_index(expunge);
	return *left_r > 0 ? MAILDROP_TEMP : MAILDROP_OK;
}

int maildrop_expunge(struct maildrop *maildrop, const uint8_t *marks, size_t len, uint32_t *left_r)
{
	*left_r = 0;
	if (maildrop->ended)
		return MAILDROP_TEMP;
	uint32_t wanted = count_marks(marks, len, maildrop->drop.count);
	if (wanted == UINT32_MAX)
		return MAILDROP_RANGE;
	maildrop->ended = true;
	if (wanted == 0)
		return MAILDROP_OK;
	struct expunge *expunge = calloc(1, sizeof(*expunge));
	uint32_t *gone = calloc(wanted, sizeof(*gone));
	int rc = MAILDROP_TEMP;
	*left_r = wanted;
	if (expunge != NULL && gone != NULL) {
		expunge->maildrop = maildrop;
		expunge->marks = marks;
		expunge->len = len;
		expunge->gone = gone;
		rc = run(expunge, wanted, left_r);
	}
	free(gone);
	free(expunge);
	return rc;
}
