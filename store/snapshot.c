/* SPDX-License-Identifier: ISC */
#include "snapshot.h"

#include <stdlib.h>
#include <string.h>

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

/* Takes the new name of a message from what was scanned; false: nothing new there. */
static bool rename_found(struct maildrop *maildrop, struct found *found)
{
	const struct message *message = table_find(&maildrop->names, &found->record);
	if (message == NULL)
		return false;
	struct record record = message->record;
	if (record.part == found->record.part && record.offset == found->record.offset &&
	    record.name_len == found->record.name_len &&
	    memcmp(record.name, found->record.name, record.name_len) == 0)
		return false;
	char uidl[MAILDROP_UIDL_OCTETS];
	memcpy(uidl, found->record.uidl, found->record.uidl_len);
	struct record renamed = found->record;
	renamed.name = record.name;
	renamed.name_len = record.name_len;
	renamed.unique_len = record.unique_len;
	renamed.part = record.part;
	renamed.offset = record.offset;
	renamed.uidl = uidl;
	found_set(found, &renamed);
	return true;
}

int snapshot_relook(struct maildrop *maildrop, struct found *found)
{
	/* When an IMAP client has renamed a thousand files, one scan serves them all. */
	if (rename_found(maildrop, found))
		return MAILDROP_OK;
	struct part_state states[MAILBOX_PARTS];
	struct mailbox *mailbox = maildrop->mailbox;
	int rc = mailbox->ops->state(mailbox, states);
	if (rc == MAILDROP_OK && memcmp(states, maildrop->names_states, sizeof(states)) == 0)
		return MAILDROP_GONE;
	if (rc == MAILDROP_OK)
		rc = table_scan(&maildrop->names, mailbox, maildrop->names_states);
	if (rc != MAILDROP_OK)
		return rc;
	return rename_found(maildrop, found) ? MAILDROP_OK : MAILDROP_GONE;
}

void snapshot_forget(struct maildrop *maildrop)
{
	struct index_update update = {.user = maildrop->user};
	if (maildrop->indexed)
		index_update(maildrop->env, &update);
}
