/* SPDX-License-Identifier: ISC */
#include "snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "sync.h"

/* So many records more than needed are rather read than all of them. */
#define SKIP_COUNT 64u

void found_set(struct found *found, const struct record *record)
{
	found->record = *record;
	memcpy(found->text, record->name, record->name_len);
	if (record->uidl_len > 0)
		memcpy(found->text + record->name_len, record->uidl, record->uidl_len);
	found->record.name = found->text;
	found->record.uidl = found->text + record->name_len;
}

struct walk {
	struct maildrop *maildrop;
	snapshot_fn *fn;
	void *arg;
	uint32_t idx;
	uint32_t skip;
	bool stopped;
};

static int step(void *arg, const struct record *record)
{
	struct walk *walk = arg;
	struct maildrop *maildrop = walk->maildrop;
	/* Gone before our snapshot. */
	if (record->gone != 0 && record->gone <= maildrop->drop.epoch)
		return 0;
	if (walk->skip > 0) {
		walk->skip--;
		return 0;
	}
	maildrop->hint_idx = walk->idx;
	maildrop->hint_uid = record->uid;
	walk->stopped = walk->fn(walk->arg, walk->idx, record) != 0 || ++walk->idx == maildrop->drop.count;
	return walk->stopped;
}

static int walk_index(struct walk *walk, uint32_t uid)
{
	struct maildrop *maildrop = walk->maildrop;
	int rc = index_walk(maildrop->env, maildrop->user, uid, step, walk);
	/* Fewer than the maildrop's record promised. */
	if (rc == INDEX_OK && !walk->stopped)
		index_distrust(maildrop->env);
	return rc == INDEX_OK && walk->stopped ? MAILDROP_OK : MAILDROP_TEMP;
}

static int add_uid(void *arg, uint32_t idx, const struct record *record)
{
	((uint32_t *)arg)[idx] = record->uid;
	return 0;
}

static int load_uids(struct maildrop *maildrop)
{
	uint32_t *uids = calloc(maildrop->drop.count, sizeof(*uids));
	if (uids == NULL)
		return MAILDROP_TEMP;
	struct walk walk = {.maildrop = maildrop, .fn = add_uid, .arg = uids};
	int rc = walk_index(&walk, 1);
	if (rc == MAILDROP_OK)
		maildrop->uids = uids;
	else
		free(uids);
	return rc;
}

/* Where in the index to begin for idx, and how many records to pass over. */
static int locate(struct maildrop *maildrop, uint32_t idx, uint32_t *uid_r, uint32_t *skip_r)
{
	*skip_r = 0;
	if (maildrop->uids == NULL && idx >= maildrop->hint_idx && idx - maildrop->hint_idx <= SKIP_COUNT) {
		*uid_r = maildrop->hint_uid;
		*skip_r = idx - maildrop->hint_idx;
		return MAILDROP_OK;
	}
	int rc = maildrop->uids == NULL ? load_uids(maildrop) : MAILDROP_OK;
	if (rc == MAILDROP_OK)
		*uid_r = maildrop->uids[idx];
	return rc;
}

int snapshot_walk(struct maildrop *maildrop, uint32_t idx, snapshot_fn *fn, void *arg)
{
	struct walk walk = {.maildrop = maildrop, .fn = fn, .arg = arg, .idx = idx};
	if (maildrop->indexed) {
		uint32_t uid;
		int rc = locate(maildrop, idx, &uid, &walk.skip);
		return rc == MAILDROP_OK ? walk_index(&walk, uid) : rc;
	}
	while (walk.idx < maildrop->table.count && !walk.stopped)
		step(&walk, &maildrop->table.messages[walk.idx].record);
	return MAILDROP_OK;
}

static int take_one(void *arg, uint32_t idx, const struct record *record)
{
	(void)idx;
	found_set(arg, record);
	return 1;
}

int snapshot_get(struct maildrop *maildrop, uint32_t idx, struct found *found_r)
{
	if (idx >= maildrop->drop.count)
		return MAILDROP_RANGE;
	return snapshot_walk(maildrop, idx, take_one, found_r);
}

/* ---- what others have done meanwhile ---- */

struct by_uid {
	uint32_t uid;
	bool found;
	struct found *found_r;
};

static int take_uid(void *arg, const struct record *record)
{
	struct by_uid *wanted = arg;
	wanted->found = record->uid == wanted->uid;
	if (wanted->found)
		found_set(wanted->found_r, record);
	return 1;
}

/* The message as it is known now. */
static bool get_uid(struct maildrop *maildrop, uint32_t uid, struct found *found_r)
{
	struct by_uid wanted = {.uid = uid, .found_r = found_r};
	if (maildrop->indexed)
		return index_walk(maildrop->env, maildrop->user, uid, take_uid, &wanted) == INDEX_OK &&
		       wanted.found;
	const struct message *message = table_find_uid(&maildrop->table, uid);
	return message != NULL && take_uid(&wanted, &message->record) == 1;
}

/* Takes the place that others have found for the message. */
static bool has_moved(struct maildrop *maildrop, struct found *found)
{
	struct found now;
	if (!get_uid(maildrop, found->record.uid, &now) || record_same_place(&found->record, &now.record))
		return false;
	found_set(found, &now.record);
	return true;
}

static int look_for(void *arg, const struct record *record)
{
	struct found *found = arg;
	const struct record *known = &found->record;
	if (record->inode != known->inode || record->unique_len != known->unique_len ||
	    memcmp(record->name, known->name, known->unique_len) != 0 || record_same_place(record, known))
		return 0;
	char uidl[MAILDROP_UIDL_OCTETS];
	struct record moved = *known;
	memcpy(uidl, known->uidl, known->uidl_len);
	moved.uidl = uidl;
	moved.name = record->name;
	moved.name_len = record->name_len;
	moved.part = record->part;
	moved.offset = record->offset;
	found_set(found, &moved);
	return 1;
}

/* The index cannot be written just now: looks for this message alone. */
static int look(struct maildrop *maildrop, struct found *found)
{
	int rc = maildrop->mailbox->ops->scan(maildrop->mailbox, look_for, found);
	return rc == 1 ? MAILDROP_OK : rc == MAILDROP_OK ? MAILDROP_GONE : rc;
}

static int follow(struct maildrop *maildrop, struct found *found)
{
	const struct lock *lock = &maildrop->lock;
	const struct sync sync = {
	    .right = lock->shared ? SYNC_AMONG_OTHERS : SYNC_ALONE,
	    .mailbox = maildrop->mailbox,
	    .env = maildrop->indexed ? maildrop->env : NULL,
	    .user = maildrop->user,
	};
	int rc = maildrop->indexed ? lock_index_begin(lock, INDEX_WAIT_MSECS) : MAILDROP_OK;
	if (rc != MAILDROP_OK)
		return look(maildrop, found);
	rc = sync_follow(&sync, &maildrop->table, maildrop->looked);
	if (maildrop->indexed)
		lock_index_end(lock);
	if (rc == MAILDROP_TEMP)
		return look(maildrop, found);
	if (rc != MAILDROP_OK)
		return rc;
	return has_moved(maildrop, found) ? MAILDROP_OK : MAILDROP_GONE;
}

int snapshot_relook(struct maildrop *maildrop, struct found *found)
{
	/* When an IMAP client has renamed a thousand files, one scan serves them all. */
	if (has_moved(maildrop, found))
		return MAILDROP_OK;
	struct part_state states[MAILBOX_PARTS];
	struct mailbox *mailbox = maildrop->mailbox;
	int rc = mailbox->ops->state(mailbox, states);
	if (rc == MAILDROP_OK && memcmp(states, maildrop->looked, sizeof(states)) == 0)
		return MAILDROP_GONE;
	return rc == MAILDROP_OK ? follow(maildrop, found) : rc;
}

void snapshot_doubt(struct maildrop *maildrop, uint32_t uid)
{
	struct found found;
	struct drop drop;
	if (!maildrop->indexed || lock_index_begin(&maildrop->lock, INDEX_WAIT_MSECS) != MAILDROP_OK)
		return;
	if (get_uid(maildrop, uid, &found) && found.record.gone == 0 &&
	    index_drop(maildrop->env, maildrop->user, &drop) == INDEX_OK) {
		const struct record *record = &found.record;
		const struct index_update update = {.user = maildrop->user,
		    .drop = &drop,
		    .puts = &record,
		    .put_count = 1,
		    .only_known = true};
		found.record.stale = true;
		drop.trusted = false;
		index_update(maildrop->env, &update);
	}
	lock_index_end(&maildrop->lock);
}
