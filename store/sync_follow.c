/* SPDX-License-Identifier: ISC */
/*
 * When another program has renamed messages within a session, one scan finds them all.
 */
#include <stdlib.h>
#include <string.h>

#include "sync_run.h"

/* In the index: the new places of what it knows, and nothing else. */
static int follow_index(struct run *run, struct part_state *states_r)
{
	const struct sync *sync = run->sync;
	if (index_drop(sync->env, sync->user, &run->before) != INDEX_OK || run->before.state != DROP_WHOLE)
		return MAILDROP_TEMP;
	run->known = run->follow = true;
	run->old = sorter_new(sync->mailbox->store->index, item_by_unique);
	if (run->old == NULL)
		return MAILDROP_TEMP;
	run_load(run);
	if (!run->known)
		return MAILDROP_TEMP;
	if (run->error == MAILDROP_OK)
		run->error = run_scan(run, states_r);
	if (run->error == MAILDROP_OK)
		run_begin_changes(run);
	if (!run_over(run))
		match(run);
	/* What else has changed is for the next login to find. */
	run->drop.trusted = false;
	if (!run_over(run) && changes_any(run->changes))
		run->index_failed |= !changes_end(run->changes, &run->drop);
	return run->index_failed ? MAILDROP_TEMP : run->error;
}

/* ---- in the table ---- */

struct follower {
	struct table *table;
	struct message **sorted;
};

static int by_identity(const struct record *a, const struct record *b)
{
	int order = item_compare_unique(a, b);
	return order != 0 ? order : (a->inode > b->inode) - (a->inode < b->inode);
}

static int by_message(const void *a, const void *b)
{
	return by_identity(&(*(struct message *const *)a)->record, &(*(struct message *const *)b)->record);
}

static int note_place(void *arg, const struct record *record)
{
	struct follower *follower = arg;
	struct message key = {.record = *record};
	struct message *key_pointer = &key;
	struct message **found = bsearch(
	    &key_pointer, follower->sorted, follower->table->count, sizeof(struct message *), by_message);
	if (found == NULL || record_same_place(&(*found)->record, record))
		return MAILDROP_OK;
	char *name = table_text(follower->table, record->name_len);
	if (name == NULL)
		return MAILDROP_TEMP;
	struct record *known = &(*found)->record;
	known->name = memcpy(name, record->name, record->name_len);
	known->name_len = record->name_len;
	known->part = record->part;
	known->offset = record->offset;
	return MAILDROP_OK;
}

static int follow_table(struct mailbox *mailbox, struct table *table)
{
	struct follower follower = {.table = table};
	follower.sorted = calloc((size_t)table->count + 1, sizeof(struct message *));
	if (follower.sorted == NULL)
		return MAILDROP_TEMP;
	for (uint32_t i = 0; i < table->count; i++)
		follower.sorted[i] = &table->messages[i];
	qsort(follower.sorted, table->count, sizeof(struct message *), by_message);
	int rc = mailbox->ops->scan(mailbox, note_place, &follower);
	free(follower.sorted);
	return rc;
}

int sync_follow(const struct sync *sync, struct table *table, struct part_state states_r[MAILBOX_PARTS])
{
	struct run run = {.sync = sync};
	if (sync->env == NULL) {
		int rc = sync->mailbox->ops->state(sync->mailbox, states_r);
		return rc == MAILDROP_OK ? follow_table(sync->mailbox, table) : rc;
	}
	int rc = follow_index(&run, states_r);
	run_clear(&run);
	return rc;
}
