/* SPDX-License-Identifier: ISC */
/*
 * Usually a message has its unique part for itself, and its UIDL follows from that. Where several files share
 * one, or one takes the place of another, the content says which is which, and kpopd.uidl remembers it.
 */
#include <stdlib.h>
#include <string.h>

#include "sync_run.h"
#include "uidl.h"

#define HASH_TRIES_COUNT (1u << 18)
#define VERIFY_COUNT 64u /* in larger groups known messages are not read again */

/* A UIDL that a message of this unique part has or had, as kpopd.uidl knows it. */
struct slot {
	const struct uidls_line *line; /* the last one */
	const uint8_t *digest;         /* NULL: adopted for whatever is in the file */
	uint32_t order;                /* when it was adopted, or 0 */
	bool gone, held;
};

struct group {
	struct run *run;
	struct table *now, *old;
	const struct record *first; /* for the unique part */
	const struct uidls_line *lines;
	size_t line_count;
	struct slot *slots;
	size_t slot_count;
	struct message **fresh; /* measured, without a UIDL yet */
	uint32_t fresh_count;
	struct message **gone; /* of old */
	uint32_t gone_count;
	const struct record **used; /* whose UIDLs are taken in this maildrop, sorted */
	size_t used_count;
};

static int compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static const char *uidl_of(const struct record *record, size_t *len_r)
{
	*len_r = record->uidl_len > 0 ? record->uidl_len : record->unique_len;
	return record->uidl_len > 0 ? record->uidl : record->name;
}

static int compare_uidls(const struct record *a, const struct record *b)
{
	size_t a_len, b_len;
	const char *a_uidl = uidl_of(a, &a_len);
	const char *b_uidl = uidl_of(b, &b_len);
	return compare_text(a_uidl, a_len, b_uidl, b_len);
}

static int by_uidl(const void *a, const void *b)
{
	return compare_uidls(*(const struct record *const *)a, *(const struct record *const *)b);
}

static int by_age(const struct record *a, const struct record *b)
{
	int order = (a->mtime_nsecs > b->mtime_nsecs) - (a->mtime_nsecs < b->mtime_nsecs);
	if (order == 0)
		order = (a->length > b->length) - (a->length < b->length);
	return order != 0 ? order : uidl_order(a->name, a->name_len, b->name, b->name_len);
}

static int by_content(const void *a_message, const void *b_message)
{
	const struct record *a = &(*(const struct message *const *)a_message)->record;
	const struct record *b = &(*(const struct message *const *)b_message)->record;
	int order = memcmp(a->digest, b->digest, CONTENT_DIGEST_OCTETS);
	return order != 0 ? order : by_age(a, b);
}

/* ---- one message, as it ought to be ---- */

/* Gives a record a UIDL of its own; the text lives as long as the table. */
static bool set_uidl(
    struct run *run, struct table *table, struct record *record, const char *uidl, size_t len)
{
	char *text = table_text(table, len);
	if (text == NULL) {
		run->error = MAILDROP_TEMP;
		return false;
	}
	record->uidl = memcpy(text, uidl, len);
	record->uidl_len = (uint8_t)len;
	return true;
}

static void name_alone(struct group *group, struct record *record)
{
	struct run *run = group->run;
	char hash[UIDL_HASH_OCTETS];
	const struct uidls_line *adopted =
	    group->line_count > 0 ? &group->lines[group->line_count - 1] : NULL;
	record->uidl_len = 0;
	if (adopted != NULL) {
		if (set_uidl(run, group->now, record, adopted->uidl, adopted->uidl_len))
			run_new(run, record, adopted->order);
		return;
	}
	if (uidl_valid(record->name, record->unique_len) &&
	    !uidls_takes(run->uidls, record->name, record->unique_len)) {
		run_new(run, record, 0);
		return;
	}
	for (unsigned i = 0; i < HASH_TRIES_COUNT; i++) {
		if (!uidl_hash(record->name, record->unique_len, NULL, i, hash)) {
			run->error = MAILDROP_TEMP;
			return;
		}
		if (uidls_takes_hash(run->uidls, hash))
			continue;
		if (set_uidl(run, group->now, record, hash, sizeof(hash)))
			run_new(run, record, 0);
		return;
	}
	run->partial = true;
}

/* ---- what is there and what is known, side by side ---- */

static struct message *find_old(const struct group *group, uint32_t uid)
{
	for (uint32_t i = 0; i < group->old->count; i++)
		if (group->old->messages[i].record.uid == uid)
			return &group->old->messages[i];
	return NULL;
}

/* Where files take each other's places an inode may have been used again: then it is not the one we knew. */
static void verify_known(struct group *group)
{
	for (uint32_t i = 0; i < group->now->count; i++) {
		struct message *message = &group->now->messages[i];
		struct record record = message->record;
		if (message->state != MESSAGE_KEPT && message->state != MESSAGE_MOVED)
			continue;
		memset(record.digest, 0, sizeof(record.digest));
		if (!run_measure(group->run, &record) ||
		    memcmp(record.digest, message->record.digest, sizeof(record.digest)) == 0)
			continue;
		struct message *old = find_old(group, record.uid);
		if (old != NULL)
			old->state = MESSAGE_DROPPED;
		record.uid = 0;
		record.uidl_len = 0;
		record.shared = false;
		message->record = record;
		message->state = MESSAGE_MEASURED;
		group->fresh[group->fresh_count++] = message;
	}
}

static void measure_new(struct group *group)
{
	struct run *run = group->run;
	if (group->now->count <= VERIFY_COUNT)
		verify_known(group);
	for (uint32_t i = 0; i < group->now->count && run->error == MAILDROP_OK; i++) {
		struct message *message = &group->now->messages[i];
		if (message->state != MESSAGE_NEW)
			continue;
		if (run_measure(run, &message->record))
			group->fresh[group->fresh_count++] = message;
		else
			message->state = MESSAGE_DROPPED;
	}
	for (uint32_t i = 0; i < group->old->count; i++)
		if (group->old->messages[i].state == MESSAGE_DROPPED)
			group->gone[group->gone_count++] = &group->old->messages[i];
	qsort(group->fresh, group->fresh_count, sizeof(struct message *), by_content);
	qsort(group->gone, group->gone_count, sizeof(struct message *), by_content);
}

/* The same content in another file: a copy from a backup, or of a tool that writes anew. */
static void find_again(struct group *group)
{
	uint32_t fresh = 0, gone = 0, fresh_left = 0, gone_left = 0;
	while (fresh < group->fresh_count || gone < group->gone_count) {
		struct message *found = fresh < group->fresh_count ? group->fresh[fresh] : NULL;
		struct message *lost = gone < group->gone_count ? group->gone[gone] : NULL;
		int order = found == NULL ? 1
			    : lost == NULL
				? -1
				: memcmp(found->record.digest, lost->record.digest, CONTENT_DIGEST_OCTETS);
		if (order < 0) {
			group->fresh[fresh_left++] = found;
			fresh++;
		} else if (order > 0) {
			group->gone[gone_left++] = lost;
			gone++;
		} else {
			found->record.uid = lost->record.uid;
			found->record.uidl = lost->record.uidl;
			found->record.uidl_len = lost->record.uidl_len;
			found->record.shared = lost->record.shared;
			/* The unique part, where that is the UIDL, is the same. */
			found->state = MESSAGE_MOVED;
			fresh++;
			gone++;
		}
	}
	group->fresh_count = fresh_left;
	group->gone_count = gone_left;
}

static int by_slot_uidl(const void *a_line, const void *b_line)
{
	const struct uidls_line *a = *(const struct uidls_line *const *)a_line;
	const struct uidls_line *b = *(const struct uidls_line *const *)b_line;
	int order = compare_text(a->uidl, a->uidl_len, b->uidl, b->uidl_len);
	return order != 0 ? order : (a->order > b->order) - (a->order < b->order);
}

/* All lines of one UIDL make a slot. Returns the latest adoption of a message without a digest. */
static uint32_t fill_slots(struct group *group, const struct uidls_line **sorted)
{
	uint32_t latest = 0;
	for (size_t i = 0; i < group->line_count; i++) {
		const struct uidls_line *line = sorted[i];
		struct slot *slot = &group->slots[group->slot_count];
		bool same = i > 0 && compare_text(sorted[i - 1]->uidl, sorted[i - 1]->uidl_len, line->uidl,
					 line->uidl_len) == 0;
		if (same)
			slot--;
		else
			group->slot_count++;
		slot->line = line;
		slot->gone = line->kind == UIDLS_GONE;
		if (digest_known(line->digest))
			slot->digest = line->digest;
		if (line->kind == UIDLS_ADOPTED)
			slot->order = line->order;
		if (slot->order > latest)
			latest = slot->order;
	}
	return latest;
}

static bool read_slots(struct group *group)
{
	const struct uidls_line **sorted = calloc(group->line_count + 1, sizeof(*sorted));
	group->slots = calloc(group->line_count + 1, sizeof(*group->slots));
	if (sorted == NULL || group->slots == NULL) {
		free(sorted);
		return false;
	}
	for (size_t i = 0; i < group->line_count; i++)
		sorted[i] = &group->lines[i];
	qsort(sorted, group->line_count, sizeof(*sorted), by_slot_uidl);
	uint32_t latest = fill_slots(group, sorted);
	free(sorted);
	/* A message that was adopted anew has only its last UIDL; the others are nobody's any more. */
	for (size_t i = 0; i < group->slot_count; i++)
		if (group->slots[i].digest == NULL && group->slots[i].order < latest)
			group->slots[i].held = true;
	return true;
}

/* Whoever is there already has his UIDL, and holds its slot; and who has just gone takes his along. */
static bool read_used(struct group *group)
{
	group->used = calloc((size_t)group->now->count + group->gone_count + 1, sizeof(*group->used));
	if (group->used == NULL)
		return false;
	for (uint32_t i = 0; i < group->now->count; i++) {
		const struct message *message = &group->now->messages[i];
		if (message->state == MESSAGE_KEPT || message->state == MESSAGE_MOVED)
			group->used[group->used_count++] = &message->record;
	}
	for (uint32_t i = 0; i < group->gone_count; i++)
		group->used[group->used_count++] = &group->gone[i]->record;
	qsort(group->used, group->used_count, sizeof(*group->used), by_uidl);
	return true;
}

static bool in_use(const struct group *group, const char *uidl, size_t len)
{
	const struct record record = {.uidl = uidl, .uidl_len = (uint8_t)len};
	const struct record *key = &record;
	return bsearch(&key, group->used, group->used_count, sizeof(*group->used), by_uidl) != NULL;
}

static int compare_slot(const struct slot *slot, const char *uidl, size_t len)
{
	return compare_text(slot->line->uidl, slot->line->uidl_len, uidl, len);
}

/* Slots are in order of UIDL. */
static struct slot *find_slot(const struct group *group, const char *uidl, size_t len)
{
	size_t low = 0;
	size_t high = group->slot_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_slot(&group->slots[middle], uidl, len);
		if (order == 0)
			return &group->slots[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static bool taken(const struct group *group, const char *uidl, size_t len)
{
	return in_use(group, uidl, len) || find_slot(group, uidl, len) != NULL;
}

/* From now on the name alone does not tell who is who: what is not written down yet is. */
static void write_down(struct group *group)
{
	struct run *run = group->run;
	for (uint32_t i = 0; i < group->now->count; i++) {
		struct message *message = &group->now->messages[i];
		if ((message->state != MESSAGE_KEPT && message->state != MESSAGE_MOVED) ||
		    message->record.shared)
			continue;
		message->record.shared = run_line(run, UIDLS_SHARED, &message->record);
		message->state = MESSAGE_MOVED;
	}
	for (uint32_t i = 0; i < group->gone_count; i++) {
		const struct record *record = &group->gone[i]->record;
		run_line(run, UIDLS_GONE, record);
		run_gone(run, record->uid);
	}
	for (size_t i = 0; i < group->slot_count; i++) {
		struct slot *slot = &group->slots[i];
		slot->held |= in_use(group, slot->line->uidl, slot->line->uidl_len);
	}
}

/* ---- who gets what ---- */

static void give(struct group *group, struct message *message, const char *uidl, size_t len, uint32_t order)
{
	struct run *run = group->run;
	message->record.uidl_len = 0;
	if (compare_text(uidl, len, message->record.name, message->record.unique_len) != 0 &&
	    !set_uidl(run, group->now, &message->record, uidl, len))
		return;
	message->record.shared = run_line(run, UIDLS_SHARED, &message->record);
	message->state = MESSAGE_MEASURED;
	run_new(run, &message->record, order);
}

static int by_name(const struct record *a, const char *name, size_t len)
{
	return compare_text(a->name, a->name_len, name, len);
}

/*
 * Those whose content kpopd.uidl knows. Of several of one content each has the slot of its own name, if there
 * is one, and those that are not gone come first. (What is gone may have come back from a backup.)
 */
enum { ROUND_NAME = 0, ROUND_NAME_GONE, ROUND_THERE, ROUND_GONE, ROUNDS };

static bool in_round(const struct slot *slot, int round)
{
	return !slot->held && (!slot->gone || round == ROUND_NAME_GONE || round == ROUND_GONE);
}

static int round_slot(const void *a_slot, const void *b_slot)
{
	const struct slot *a = *(struct slot *const *)a_slot;
	const struct slot *b = *(struct slot *const *)b_slot;
	int order = memcmp(a->digest, b->digest, CONTENT_DIGEST_OCTETS);
	if (order == 0)
		order = compare_text(a->line->name, a->line->name_len, b->line->name, b->line->name_len);
	return order != 0 ? order : (a->line->order > b->line->order) - (a->line->order < b->line->order);
}

static int round_message(const void *a_message, const void *b_message)
{
	const struct record *a = &(*(struct message *const *)a_message)->record;
	const struct record *b = &(*(struct message *const *)b_message)->record;
	int order = memcmp(a->digest, b->digest, CONTENT_DIGEST_OCTETS);
	return order != 0 ? order : by_name(a, b->name, b->name_len);
}

static int fits(const struct message *message, const struct slot *slot, int round)
{
	int order = memcmp(message->record.digest, slot->digest, CONTENT_DIGEST_OCTETS);
	if (order == 0 && round <= ROUND_NAME_GONE)
		order = by_name(&message->record, slot->line->name, slot->line->name_len);
	return order;
}

/* Both lists are sorted alike, and run through side by side. */
static void give_slots(struct group *group, struct slot **slots, size_t count, int round)
{
	uint32_t left = 0;
	size_t at = 0;
	for (uint32_t i = 0; i < group->fresh_count; i++) {
		struct message *message = group->fresh[i];
		while (at < count && (!in_round(slots[at], round) || fits(message, slots[at], round) > 0))
			at++;
		if (at == count || fits(message, slots[at], round) != 0) {
			group->fresh[left++] = message;
			continue;
		}
		slots[at]->held = true;
		give(group, message, slots[at]->line->uidl, slots[at]->line->uidl_len, slots[at]->order);
	}
	group->fresh_count = left;
}

static bool name_known(struct group *group)
{
	struct slot **slots = calloc(group->slot_count + 1, sizeof(*slots));
	size_t count = 0;
	if (slots == NULL)
		return false;
	for (size_t i = 0; i < group->slot_count; i++)
		if (group->slots[i].digest != NULL)
			slots[count++] = &group->slots[i];
	qsort(slots, count, sizeof(*slots), round_slot);
	qsort(group->fresh, group->fresh_count, sizeof(struct message *), round_message);
	for (int round = 0; round < ROUNDS; round++)
		give_slots(group, slots, count, round);
	free(slots);
	return true;
}

/* The oldest one has what a message that is alone would have, if nobody has or had it. */
static bool name_oldest(struct group *group)
{
	char hash[UIDL_HASH_OCTETS];
	struct run *run = group->run;
	uint32_t oldest = 0;
	for (uint32_t i = 1; i < group->fresh_count; i++)
		if (by_age(&group->fresh[i]->record, &group->fresh[oldest]->record) < 0)
			oldest = i;
	struct message *message = group->fresh[oldest];
	const struct record *record = &message->record;
	const struct slot *adopted = NULL;
	for (size_t i = 0; i < group->slot_count; i++)
		if (!group->slots[i].held && group->slots[i].digest == NULL)
			adopted = &group->slots[i];
	if (adopted != NULL) {
		give(group, message, adopted->line->uidl, adopted->line->uidl_len, adopted->order);
	} else if (uidl_valid(record->name, record->unique_len)) {
		if (taken(group, record->name, record->unique_len) ||
		    uidls_takes(run->uidls, record->name, record->unique_len))
			return false;
		give(group, message, record->name, record->unique_len, 0);
	} else {
		if (!uidl_hash(record->name, record->unique_len, NULL, 0, hash) ||
		    taken(group, hash, sizeof(hash)) || uidls_takes_hash(run->uidls, hash))
			return false;
		give(group, message, hash, sizeof(hash), 0);
	}
	group->fresh[oldest] = group->fresh[--group->fresh_count];
	return true;
}

/* All others: a hash, of a number that rises among those of one content. */
static void name_rest(struct group *group)
{
	struct run *run = group->run;
	char hash[UIDL_HASH_OCTETS];
	unsigned number = 0;
	qsort(group->fresh, group->fresh_count, sizeof(struct message *), by_content);
	for (uint32_t i = 0; i < group->fresh_count && !run_over(run); i++) {
		const struct record *record = &group->fresh[i]->record;
		bool same = i > 0 && memcmp(record->digest, group->fresh[i - 1]->record.digest,
					 CONTENT_DIGEST_OCTETS) == 0;
		number = same ? number + 1 : 0;
		bool done = uidl_hash(record->name, record->unique_len, record->digest, number, hash);
		while (done && (taken(group, hash, sizeof(hash)) || uidls_takes_hash(run->uidls, hash)))
			done = ++number < HASH_TRIES_COUNT &&
			       uidl_hash(record->name, record->unique_len, record->digest, number, hash);
		if (done)
			give(group, group->fresh[i], hash, sizeof(hash), 0);
		else
			run->partial = true;
	}
}

static void pass_on(const struct group *group)
{
	for (uint32_t i = 0; i < group->now->count; i++) {
		const struct message *message = &group->now->messages[i];
		if (message->state == MESSAGE_KEPT)
			run_kept(group->run, &message->record);
		else if (message->state == MESSAGE_MOVED)
			run_moved(group->run, &message->record);
	}
}

static void nothing_new(const struct group *group)
{
	for (uint32_t i = 0; i < group->gone_count; i++) {
		const struct record *record = &group->gone[i]->record;
		if (record->shared)
			run_line(group->run, UIDLS_GONE, record);
		run_gone(group->run, record->uid);
	}
	pass_on(group);
}

static void name_by_content(struct group *group)
{
	struct run *run = group->run;
	measure_new(group);
	if (run->error != MAILDROP_OK)
		return;
	find_again(group);
	if (group->fresh_count == 0) {
		nothing_new(group);
		return;
	}
	if (!read_used(group) || !read_slots(group)) {
		run->error = MAILDROP_TEMP;
		return;
	}
	write_down(group);
	if (!name_known(group))
		run->error = MAILDROP_TEMP;
	if (group->fresh_count > 0 && run->error == MAILDROP_OK)
		name_oldest(group);
	name_rest(group);
	pass_on(group);
}

static bool any_digest(const struct group *group)
{
	for (size_t i = 0; i < group->line_count; i++)
		if (digest_known(group->lines[i].digest))
			return true;
	return false;
}

void name_group(struct run *run, struct table *now, struct table *old)
{
	struct group group = {.run = run, .now = now, .old = old, .first = &now->messages[0].record};
	int rc =
	    uidls_of(run->uidls, group.first->name, group.first->unique_len, &group.lines, &group.line_count);
	if (rc != MAILDROP_OK) {
		run->error = rc;
		return;
	}
	if (now->count == 1 && old->count == 0 && !any_digest(&group)) {
		name_alone(&group, &now->messages[0].record);
		return;
	}
	group.fresh = calloc((size_t)now->count + 1, sizeof(*group.fresh));
	group.gone = calloc((size_t)old->count + 1, sizeof(*group.gone));
	if (group.fresh != NULL && group.gone != NULL)
		name_by_content(&group);
	else
		run->error = MAILDROP_TEMP;
	free(group.fresh);
	free(group.gone);
	free(group.slots);
	free(group.used);
}
