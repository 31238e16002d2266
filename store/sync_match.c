/* SPDX-License-Identifier: ISC */
#include "sync_run.h"

#include <string.h>

#define GROUP_COUNT (1u << 17) /* files of one unique part that are looked at */

/* A stream, and the record where it is. */
struct stream {
	struct sorter *sorter;
	bool more;
	struct record record;
};

static void step(struct stream *stream)
{
	const void *item = sorter_next(stream->sorter);
	stream->more = item != NULL;
	if (stream->more)
		item_read(item, &stream->record);
}

/* Takes all records of the unique part of which the group's first is, if there is one yet. */
static void take(struct run *run, struct stream *stream, const struct record *unique, struct table *group,
    enum message_state state)
{
	while (stream->more && item_compare_unique(&stream->record, unique) == 0) {
		/* A file that was renamed during the scan may have been seen twice: once in each place. */
		if (state == MESSAGE_NEW && group->count > 0 &&
		    group->messages[group->count - 1].record.inode == stream->record.inode)
			group->count--;
		if (group->count == GROUP_COUNT)
			run->partial = true;
		else if (!table_add(group, &stream->record, state))
			run->error = MAILDROP_TEMP;
		step(stream);
	}
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

/* The message is one the index knows: it keeps everything but where it lies; and its size, within a session.
 */
static void inherit(struct message *message, const struct record *old, bool follow)
{
	struct record record = *old;
	record.name = message->record.name;
	record.name_len = message->record.name_len;
	record.unique_len = message->record.unique_len;
	record.part = message->record.part;
	record.offset = message->record.offset;
	bool resized = !follow && resize(&record, &message->record);
	message->state = !resized && record_same_place(&record, old) ? MESSAGE_KEPT : MESSAGE_MOVED;
	message->record = record;
}

/* Both are sorted by inode. Returns how many messages are new. */
static uint32_t match_inodes(struct table *now, struct table *old, bool follow)
{
	uint32_t n = 0;
	uint32_t matched = 0;
	for (uint32_t i = 0; i < old->count; i++) {
		struct message *known = &old->messages[i];
		while (n < now->count && now->messages[n].record.inode < known->record.inode)
			n++;
		if (n < now->count && now->messages[n].record.inode == known->record.inode &&
		    !known->record.stale) {
			inherit(&now->messages[n++], &known->record, follow);
			matched++;
		} else {
			known->state = MESSAGE_DROPPED;
		}
	}
	return now->count - matched;
}

/* None of the messages is new. */
static void pass_on(struct run *run, const struct table *now, const struct table *old)
{
	for (uint32_t i = 0; i < now->count; i++) {
		if (now->messages[i].state == MESSAGE_KEPT)
			run_kept(run, &now->messages[i].record);
		else if (now->messages[i].state == MESSAGE_MOVED)
			run_moved(run, &now->messages[i].record);
	}
	for (uint32_t i = 0; i < old->count && !run->follow; i++) {
		const struct message *gone = &old->messages[i];
		if (gone->state != MESSAGE_DROPPED)
			continue;
		if (gone->record.shared)
			run_line(run, UIDLS_GONE, &gone->record);
		run_gone(run, gone->record.uid);
	}
}

void match(struct run *run)
{
	struct stream now = {.sorter = run->now};
	struct stream old = {.sorter = run->old};
	struct table now_group = {0};
	struct table old_group = {0};
	char unique_text[RECORD_NAME_OCTETS];
	if (!sorter_sort(run->now) || !sorter_sort(run->old))
		run->error = MAILDROP_TEMP;
	step(&now);
	step(&old);
	while (!run_over(run) && (now.more || old.more)) {
		bool old_first = !now.more || (old.more && item_compare_unique(&old.record, &now.record) < 0);
		struct record unique = old_first ? old.record : now.record;
		memcpy(unique_text, unique.name, unique.unique_len);
		unique.name = unique_text;
		table_reset(&now_group);
		table_reset(&old_group);
		take(run, &now, &unique, &now_group, MESSAGE_NEW);
		take(run, &old, &unique, &old_group, MESSAGE_KEPT);
		if (match_inodes(&now_group, &old_group, run->follow) == 0 || run->follow)
			pass_on(run, &now_group, &old_group);
		else if (run->error == MAILDROP_OK)
			name_group(run, &now_group, &old_group);
	}
	if (sorter_failed(run->now) || sorter_failed(run->old))
		run->error = MAILDROP_TEMP;
	table_clear(&now_group);
	table_clear(&old_group);
}
