/* SPDX-License-Identifier: ISC */
#include "sync.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "beneath.h"
#include "uidl.h"

/*
 * A change may carry the same time as one just before it: kernels stamp by the tick, some file systems
 * by the second or two, and a file server has a clock of its own. A directory changed this recently
 * when it was scanned is scanned again next time.
 */
#define GRAIN_NSECS INT64_C(2500000000)

/* One run of bringing up to date. */
struct run {
	const struct sync *sync;
	struct drop drop;  /* as it will be */
	bool known;        /* the index had this maildrop, and all its records were good */
	struct table old;  /* what the index had */
	struct table *now; /* what there is */
	uint32_t *gone;    /* UIDs */
	uint32_t gone_count;
	uint32_t kept_count;
};

static int64_t now_nsecs(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return beneath_nsecs(now);
}

static bool same_states(const struct part_state *a, const struct part_state *b)
{
	return memcmp(a, b, sizeof(*a) * MAILBOX_PARTS) == 0;
}

static bool settled(const struct part_state *states, int64_t scanned_at)
{
	for (int part = 0; part < MAILBOX_PARTS; part++)
		if (states[part].mtime_nsecs > scanned_at - GRAIN_NSECS ||
		    states[part].ctime_nsecs > scanned_at - GRAIN_NSECS)
			return false;
	return true;
}

static int collect(void *arg, const struct record *record)
{
	struct table *table = arg;
	if (record->gone != 0)
		return 0;
	if (table->count == TABLE_MESSAGES_COUNT || !table_add(table, record, MESSAGE_KEPT)) {
		table->partial = true;
		return 1;
	}
	return 0;
}

/* Reads what the index has; anything wrong with it and it has nothing. */
static void load(struct run *run, int found)
{
	const struct sync *sync = run->sync;
	if (found == INDEX_OK && index_walk(sync->env, sync->user, 1, collect, &run->old) == INDEX_OK &&
	    !run->old.partial) {
		run->known = run->old.count == run->drop.count;
		if (!run->known)
			index_distrust(sync->env);
	}
	if (run->known) {
		table_sort_unique(&run->old);
		return;
	}
	table_clear(&run->old);
	run->drop = (struct drop){.generation = (uint64_t)now_nsecs(), .next_uid = 1};
}

static int by_unique_and_inode(const struct record *a, const struct record *b)
{
	int order = table_compare_unique(a, b);
	return order != 0 ? order : (a->inode > b->inode) - (a->inode < b->inode);
}

static bool same_place(const struct record *a, const struct record *b)
{
	return a->part == b->part && a->offset == b->offset && a->name_len == b->name_len &&
	       memcmp(a->name, b->name, a->name_len) == 0;
}

/* What a scan says of a message's size, if it says anything. */
static bool resize(struct record *record, const struct record *seen)
{
	if (seen->octets == 0 || (seen->octets == record->octets && seen->length == record->length &&
				     seen->flags == record->flags))
		return false;
	record->octets = seen->octets;
	record->length = seen->length;
	record->flags = seen->flags;
	return true;
}

/* The message is one the index knows: it keeps everything but perhaps its name. */
static void inherit(struct message *message, const struct message *old)
{
	struct record record = old->record;
	record.name = message->record.name;
	record.name_len = message->record.name_len;
	record.unique_len = message->record.unique_len;
	record.part = message->record.part;
	record.offset = message->record.offset;
	bool resized = resize(&record, &message->record);
	message->state = !resized && same_place(&record, &old->record) ? MESSAGE_KEPT : MESSAGE_MOVED;
	message->record = record;
}

/* Walks both tables, sorted alike: what is in both is kept, what is only in the old one is gone. */
static bool match(struct run *run)
{
	uint32_t n = 0;
	run->gone = calloc((size_t)run->old.count + 1, sizeof(*run->gone));
	if (run->gone == NULL)
		return false;
	for (uint32_t i = 0; i < run->old.count; i++) {
		const struct record *old = &run->old.messages[i].record;
		int order = 1;
		while (n < run->now->count &&
		       (order = by_unique_and_inode(&run->now->messages[n].record, old)) < 0)
			n++;
		if (n < run->now->count && order == 0) {
			inherit(&run->now->messages[n++], &run->old.messages[i]);
			run->kept_count++;
		} else {
			run->gone[run->gone_count++] = old->uid;
		}
	}
	return true;
}

static int by_arrival(const void *a_pointer, const void *b_pointer)
{
	const struct record *a = &(*(const struct message *const *)a_pointer)->record;
	const struct record *b = &(*(const struct message *const *)b_pointer)->record;
	if (a->offset != b->offset)
		return a->offset < b->offset ? -1 : 1;
	return uidl_order(a->name, a->name_len, b->name, b->name_len);
}

/* Counts one new message. What cannot be one is dropped; MAILDROP_TEMP only for trouble of our own. */
static int measure(struct run *run, struct message *message)
{
	struct mailbox *mailbox = run->sync->mailbox;
	int rc = mailbox->ops->measure(mailbox, &message->record);
	if (rc == MAILDROP_OK) {
		message->state = MESSAGE_MEASURED;
	} else if (rc == MAILDROP_GONE) {
		message->state = MESSAGE_DROPPED;
		/* What is wrong with it may be mended without a change of the directory. */
		run->now->partial = true;
		rc = MAILDROP_OK;
	}
	return rc;
}

/* Measures the new messages in order of arrival and numbers them. */
static int number_new(struct run *run)
{
	struct table *now = run->now;
	struct message **arrived = calloc((size_t)now->count + 1, sizeof(*arrived));
	if (arrived == NULL)
		return MAILDROP_TEMP;
	uint32_t count = 0;
	for (uint32_t i = 0; i < now->count; i++)
		if (now->messages[i].state == MESSAGE_NEW)
			arrived[count++] = &now->messages[i];
	qsort(arrived, count, sizeof(struct message *), by_arrival);
	uint32_t room =
	    run->kept_count < MAILDROP_MESSAGES_COUNT ? MAILDROP_MESSAGES_COUNT - run->kept_count : 0;
	int rc = MAILDROP_OK;
	for (uint32_t i = 0; rc == MAILDROP_OK && i < count; i++) {
		if (room > 0) {
			rc = measure(run, arrived[i]);
		} else {
			arrived[i]->state = MESSAGE_DROPPED;
			now->partial = true;
		}
		if (arrived[i]->state == MESSAGE_MEASURED) {
			arrived[i]->record.uid = run->drop.next_uid++;
			room--;
		}
	}
	free(arrived);
	return rc;
}

static int by_age(const void *a_pointer, const void *b_pointer)
{
	const struct record *a = &(*(const struct message *const *)a_pointer)->record;
	const struct record *b = &(*(const struct message *const *)b_pointer)->record;
	int order = (a->mtime_nsecs > b->mtime_nsecs) - (a->mtime_nsecs < b->mtime_nsecs);
	if (order == 0)
		order = (a->length > b->length) - (a->length < b->length);
	return order != 0 ? order : uidl_order(a->name, a->name_len, b->name, b->name_len);
}

static bool set_hash(struct table *table, struct record *record, bool shared)
{
	char *text = table_text(table, UIDL_HASH_OCTETS);
	if (text == NULL || !uidl_hash(record->name, record->unique_len, shared ? record : NULL, text))
		return false;
	record->uidl = text;
	record->uidl_len = UIDL_HASH_OCTETS;
	return true;
}

/* A message that has its unique part for itself. */
static bool name_alone(struct table *table, struct record *record)
{
	record->uidl_len = 0;
	if (uidl_valid(record->name, record->unique_len))
		return true;
	return set_hash(table, record, false);
}

/*
 * Several files of one unique part, as a copy or a bad tool leaves them. The oldest has the plain UIDL if
 * nobody has one yet; every other one's is made of things that stay the same when its flags change.
 */
static bool name_group(struct table *table, struct message *from, uint32_t count, bool taken)
{
	struct message **group = calloc((size_t)count + 1, sizeof(*group));
	if (group == NULL)
		return false;
	uint32_t members = 0;
	for (uint32_t i = 0; i < count; i++)
		if (from[i].state == MESSAGE_MEASURED)
			group[members++] = &from[i];
	qsort(group, members, sizeof(struct message *), by_age);
	bool done = true;
	for (uint32_t i = 0; done && i < members; i++)
		done = i == 0 && !taken ? name_alone(table, &group[i]->record)
					: set_hash(table, &group[i]->record, true);
	free(group);
	return done;
}

/* Gives every measured message its UIDL; the table is sorted by unique part. */
static bool name_new(struct table *table)
{
	for (uint32_t from = 0, to = 0; from < table->count; from = to) {
		uint32_t measured = 0;
		uint32_t others = 0;
		const struct record *first = &table->messages[from].record;
		for (; to < table->count && table_compare_unique(first, &table->messages[to].record) == 0;
		     to++) {
			measured += table->messages[to].state == MESSAGE_MEASURED;
			others += table->messages[to].state == MESSAGE_KEPT ||
				  table->messages[to].state == MESSAGE_MOVED;
		}
		if (measured > 0 && !name_group(table, &table->messages[from], to - from, others > 0))
			return false;
	}
	return true;
}

static void sum_up(struct run *run, const struct part_state *states, int64_t scanned_at)
{
	run->drop.count = run->now->count;
	run->drop.octets = 0;
	for (uint32_t i = 0; i < run->now->count; i++)
		run->drop.octets += run->now->messages[i].record.octets;
	if (run->sync->right == SYNC_AMONG_OTHERS && run->gone_count > 0) {
		run->drop.epoch++;
		run->drop.marked += run->gone_count;
	}
	memcpy(run->drop.parts, states, sizeof(run->drop.parts));
	run->drop.trusted = !run->now->partial && settled(states, scanned_at);
}

/* Writes what differs. Returns whether the index now has all of it. */
static bool store_index(struct run *run, const struct drop *before)
{
	const struct sync *sync = run->sync;
	/* To begin anew would take from others what they list. */
	if (!run->known && sync->right != SYNC_ALONE)
		return false;
	const struct record **puts = calloc((size_t)run->now->count + 1, sizeof(*puts));
	if (puts == NULL)
		return false;
	struct index_update update = {.user = sync->user,
	    .reset = !run->known,
	    .drop = &run->drop,
	    .puts = puts,
	    .gone = run->gone,
	    .gone_count = run->gone_count,
	    .epoch = sync->right == SYNC_ALONE ? 0 : run->drop.epoch};
	for (uint32_t i = 0; i < run->now->count; i++)
		if (run->now->messages[i].state != MESSAGE_KEPT)
			puts[update.put_count++] = &run->now->messages[i].record;
	bool needed = update.reset || update.put_count > 0 || update.gone_count > 0 || run->drop.trusted ||
		      before->trusted;
	bool done = !needed || index_update(sync->env, &update) == INDEX_OK;
	free(puts);
	return done;
}

/* From the scan to the maildrop; the table ends up in order of UID. */
static int build(struct run *run)
{
	/* UIDs never wrap: a user who has had four thousand million messages begins again. */
	if (run->drop.next_uid > UINT32_MAX - TABLE_MESSAGES_COUNT) {
		run->known = false;
		table_clear(&run->old);
		run->drop = (struct drop){.generation = run->drop.generation + 1, .next_uid = 1};
	}
	if (!match(run))
		return MAILDROP_TEMP;
	int rc = number_new(run);
	if (rc == MAILDROP_OK && !name_new(run->now))
		rc = MAILDROP_TEMP;
	if (rc == MAILDROP_OK)
		table_sort_uid(run->now);
	return rc;
}

int sync_maildrop(const struct sync *sync, struct drop *drop_r, bool *indexed_r, struct table *table_r)
{
	struct part_state states[MAILBOX_PARTS];
	struct run run = {.sync = sync, .now = table_r};
	*indexed_r = false;
	int rc = sync->mailbox->ops->state(sync->mailbox, states);
	if (rc != MAILDROP_OK)
		return rc;
	int found = sync->env == NULL ? INDEX_NONE : index_drop(sync->env, sync->user, &run.drop);
	if (found == INDEX_OK && run.drop.marked > 0 && sync->right == SYNC_ALONE)
		index_purge(sync->env, sync->user, &run.drop);
	if (found == INDEX_OK && run.drop.trusted && same_states(run.drop.parts, states)) {
		*drop_r = run.drop;
		*indexed_r = true;
		return MAILDROP_OK;
	}
	struct drop before = run.drop;
	load(&run, found);
	int64_t scanned_at = now_nsecs();
	rc = table_scan(table_r, sync->mailbox, states);
	if (rc == MAILDROP_OK)
		rc = build(&run);
	if (rc == MAILDROP_OK) {
		sum_up(&run, states, scanned_at);
		*drop_r = run.drop;
		*indexed_r = sync->env != NULL && store_index(&run, &before);
	}
	if (rc != MAILDROP_OK || *indexed_r)
		table_clear(table_r);
	table_clear(&run.old);
	free(run.gone);
	return rc;
}
