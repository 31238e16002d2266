/* SPDX-License-Identifier: ISC */
/*
 * inspect_check: what the index has of a user against what there is.
 *
 * A message of the index is some octets here, whatever its name, so that a million of them fit. What is found
 * is told when it is certain: when nothing has changed while it was looked for, or the maildrop is ours.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect_private.h"
#include "lock.h"
#include "mailbox.h"
#include "sync.h"
#include "table.h"

#define TRIES_COUNT 3
#define LINES_COUNT 1000u /* told of one user */

/* A message of the index. */
struct item {
	uint64_t unique, inode; /* a hash of the unique part, and the file: which message */
	uint64_t place;         /* a hash of where it lies */
	uint64_t uidl;          /* a hash */
	uint32_t uid;
	bool seen, elsewhere;
};

struct check {
	const struct store *store;
	const struct maildrop_place *place;
	const struct inspect_teller *teller;
	struct inspect_user *user;
	struct index_env *env;
	struct mailbox *mailbox;
	struct drop drop;
	struct part_state states[MAILBOX_PARTS];
	bool settled; /* the mail ought to be just what the index has */
	struct item *items;
	uint32_t count, size;
	uint32_t kept; /* of them, not marked as gone */
	uint64_t octets;
	uint32_t marked, done;
	struct table fresh; /* what the index does not have */
	bool own_uidls;     /* not all UIDLs are names */
	bool failed;        /* no memory */
	char *text;         /* what there is to tell, line by line */
	size_t text_len;
	FILE *lines;
};

static __attribute__((format(printf, 2, 3))) void differs(struct check *check, const char *format, ...)
{
	va_list args;
	if (++check->user->differences > LINES_COUNT || check->lines == NULL)
		return;
	va_start(args, format);
	vfprintf(check->lines, format, args);
	va_end(args);
	fputc('\n', check->lines);
}

/* Something that is not as the index has it: its fault, if it ought to know. */
#define CHANGED(check, ...)                            \
	do {                                           \
		if ((check)->settled)                  \
			differs((check), __VA_ARGS__); \
		else                                   \
			(check)->user->changes++;      \
	} while (0)

static uint64_t hash(const void *buf, size_t len, uint64_t seed)
{
	const uint8_t *p = buf;
	uint64_t sum = seed ^ UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < len; i++)
		sum = (sum ^ p[i]) * UINT64_C(0x100000001b3);
	return sum ^ sum >> 29;
}

static uint64_t place_hash(const struct record *record)
{
	return hash(record->name, record->name_len, record->part);
}

/* ---- the index ---- */

static int by_message(const void *a_pointer, const void *b_pointer)
{
	const struct item *a = a_pointer, *b = b_pointer;
	if (a->unique != b->unique)
		return a->unique < b->unique ? -1 : 1;
	return (a->inode > b->inode) - (a->inode < b->inode);
}

static int by_uidl(const void *a_pointer, const void *b_pointer)
{
	const struct item *a = a_pointer, *b = b_pointer;
	if (a->uidl != b->uidl)
		return a->uidl < b->uidl ? -1 : 1;
	return (a->uid > b->uid) - (a->uid < b->uid);
}

static void add_item(struct check *check, const struct record *record)
{
	char uidl[MAILDROP_UIDL_OCTETS + 1];
	if (check->count == check->size) {
		uint32_t size = check->size * 2 + 256;
		struct item *items = reallocarray(check->items, size, sizeof(*items));
		check->failed = items == NULL;
		if (check->failed)
			return;
		check->items = items;
		check->size = size;
	}
	record_uidl(record, uidl);
	check->own_uidls |= record->uidl_len > 0 || record->shared;
	check->items[check->count++] = (struct item){
	    .unique = hash(record->name, record->unique_len, 0),
	    .inode = record->inode,
	    .place = place_hash(record),
	    .uidl = hash(uidl, strlen(uidl), 0),
	    .uid = record->uid,
	};
}

static int take_record(void *arg, const MDB_val *key, const MDB_val *value)
{
	struct check *check = arg;
	const uint8_t *octets = key->mv_data;
	size_t user_len = strlen(check->place->user) + 1;
	struct record record;
	if (key->mv_size == user_len)
		return 0; /* the maildrop's own */
	if (key->mv_size != user_len + 4 ||
	    !record_decode(&record, octets, key->mv_size, value->mv_data, value->mv_size)) {
		differs(check, "a record is damaged, or of another format");
	} else if (record.gone != 0) {
		check->marked++;
	} else {
		check->octets += record.octets;
		if (record.uid >= check->drop.next_uid)
			differs(check, "%.*s: its number %u is not below the next one, %u", record.name_len,
			    record.name, record.uid, check->drop.next_uid);
		add_item(check, &record);
	}
	return check->failed;
}

static void compare_sums(struct check *check)
{
	const struct drop *drop = &check->drop;
	if (drop->state != DROP_WHOLE)
		return;
	if (check->count != drop->count)
		differs(check, "it counts %u messages, and has %u", drop->count, check->count);
	if (check->octets != drop->octets)
		differs(check, "it counts %llu octets, and its messages have %llu",
		    (unsigned long long)drop->octets, (unsigned long long)check->octets);
	if (check->marked != drop->marked)
		differs(
		    check, "it counts %u messages that are gone, and has %u", drop->marked, check->marked);
}

/* A record again, by its number. false: it is not there any more. */
static bool get_record(struct check *check, uint32_t uid, uint8_t value_r[RECORD_VALUE_OCTETS],
    uint8_t key_r[RECORD_KEY_OCTETS], struct record *record_r)
{
	size_t len, key_len = record_key(check->place->user, uid, key_r);
	return inspect_get(check->env, key_r, key_len, value_r, RECORD_VALUE_OCTETS, &len) == 0 &&
	       record_decode(record_r, key_r, key_len, value_r, len);
}

static bool get_uidl(struct check *check, uint32_t uid, char uidl_r[MAILDROP_UIDL_OCTETS + 1])
{
	uint8_t value[RECORD_VALUE_OCTETS], key[RECORD_KEY_OCTETS];
	struct record record;
	bool there = get_record(check, uid, value, key, &record);
	if (there)
		record_uidl(&record, uidl_r);
	return there;
}

static void compare_uidls(struct check *check)
{
	qsort(check->items, check->count, sizeof(*check->items), by_uidl);
	for (uint32_t i = 1; i < check->count; i++) {
		char uidls[2][MAILDROP_UIDL_OCTETS + 1];
		const struct item *pair = &check->items[i - 1];
		if (pair[0].uidl == pair[1].uidl && get_uidl(check, pair[0].uid, uidls[0]) &&
		    get_uidl(check, pair[1].uid, uidls[1]) && strcmp(uidls[0], uidls[1]) == 0)
			differs(check, "messages %u and %u have the same UIDL, %s", pair[0].uid, pair[1].uid,
			    uidls[0]);
	}
	qsort(check->items, check->count, sizeof(*check->items), by_message);
}

/* ---- the mail ---- */

static struct item *find(const struct check *check, const struct record *record)
{
	const struct item wanted = {
	    .unique = hash(record->name, record->unique_len, 0), .inode = record->inode};
	return check->count == 0 ? NULL
				 : bsearch(&wanted, check->items, check->count, sizeof(wanted), by_message);
}

static void compare_sizes(struct check *check, const struct record *had, const struct record *now)
{
	if (had->octets != now->octets || had->length != now->length)
		differs(check, "%.*s: has %llu octets (%llu stored), the index says %llu (%llu)",
		    had->name_len, had->name, (unsigned long long)now->octets,
		    (unsigned long long)now->length, (unsigned long long)had->octets,
		    (unsigned long long)had->length);
	else if (had->flags != now->flags)
		differs(check, "%.*s: what the index says of its line ends and dots is wrong", had->name_len,
		    had->name);
	else if (digest_known(had->digest) && digest_known(now->digest) &&
		 memcmp(had->digest, now->digest, sizeof(now->digest)) != 0)
		differs(check, "%.*s: has another content than the index knows, of the same size",
		    had->name_len, had->name);
}

/* A format that reads all to find it has told the sizes already. */
static int see(void *arg, const struct record *now)
{
	struct check *check = arg;
	struct item *item = find(check, now);
	uint8_t value[RECORD_VALUE_OCTETS], key[RECORD_KEY_OCTETS];
	struct record had;
	if (item == NULL) {
		check->failed = !table_add(&check->fresh, now, MESSAGE_NEW);
		return check->failed;
	}
	if (item->seen)
		return 0;
	item->seen = true;
	item->elsewhere = item->place != place_hash(now);
	if (item->elsewhere)
		CHANGED(check, "%.*s: lies in %s under this name, the index has another", now->name_len,
		    now->name, check->mailbox->ops->part_names[now->part]);
	if (now->octets > 0 && get_record(check, item->uid, value, key, &had) && !had.stale)
		compare_sizes(check, &had, now);
	return 0;
}

/* What nobody may see is no difference: a link, a directory, somebody else's. */
static void judge_fresh(struct check *check)
{
	for (uint32_t i = 0; i < check->fresh.count; i++) {
		struct record record = check->fresh.messages[i].record;
		if (check->mailbox->ops->measure(check->mailbox, &record) == MAILDROP_OK)
			CHANGED(check, "%.*s: is not in the index", record.name_len, record.name);
	}
}

static void judge_item(struct check *check, const struct item *item)
{
	uint8_t value[RECORD_VALUE_OCTETS], key[RECORD_KEY_OCTETS];
	struct record had, now;
	if (!get_record(check, item->uid, value, key, &had))
		return;
	if (!item->seen) {
		CHANGED(check, "%.*s: is not there, the index has it", had.name_len, had.name);
		return;
	}
	now = had;
	now.octets = 0;
	if (item->elsewhere || had.stale)
		return;
	int rc = check->mailbox->ops->measure(check->mailbox, &now);
	if (rc == MAILDROP_OK)
		compare_sizes(check, &had, &now);
	else
		CHANGED(check, "%.*s: cannot be read, the index has it", had.name_len, had.name);
}

static void judge_items(struct check *check, bool measured)
{
	for (uint32_t i = 0; i < check->count && !check->failed; i++) {
		if (!measured || !check->items[i].seen)
			judge_item(check, &check->items[i]);
		if (check->teller->progress != NULL)
			check->teller->progress(check->teller->arg, i + 1, check->count);
	}
}

/*
 * What UIDLs a login would give without the index, which are those that clients know. Where all are names
 * there is nothing to compare.
 */
static int compare_with_none(struct check *check)
{
	const struct sync sync = {
	    .mailbox = check->mailbox, .user = check->place->user, .right = SYNC_READING};
	struct table table = {0};
	struct drop drop;
	bool indexed;
	if (!check->own_uidls || check->count > TABLE_MESSAGES_COUNT)
		return MAILDROP_OK;
	int rc = sync_maildrop(&sync, &drop, &indexed, &table);
	for (uint32_t i = 0; rc == MAILDROP_OK && i < table.count; i++) {
		const struct record *record = &table.messages[i].record;
		const struct item *item = find(check, record);
		char uidl[MAILDROP_UIDL_OCTETS + 1], had[MAILDROP_UIDL_OCTETS + 1];
		record_uidl(record, uidl);
		if (item != NULL && get_uidl(check, item->uid, had) && strcmp(uidl, had) != 0)
			differs(check, "%.*s: its UIDL is %s, the index says %s", record->name_len,
			    record->name, uidl, had);
	}
	table_clear(&table);
	return rc;
}

static int compare_mail(struct check *check)
{
	check->settled = inspect_settled(&check->drop, check->states);
	if (!check->settled && check->user->state == INSPECT_CURRENT)
		check->user->state = INSPECT_BEHIND;
	int rc = check->mailbox->ops->scan(check->mailbox, see, check);
	if (rc != MAILDROP_OK)
		return check->failed ? MAILDROP_TEMP : rc;
	judge_fresh(check);
	judge_items(check, check->place->format == MAILDROP_MBOX);
	return check->failed ? MAILDROP_TEMP : compare_with_none(check);
}

/* ---- both ---- */

static void forget_lines(struct check *check)
{
	if (check->lines != NULL)
		fclose(check->lines);
	free(check->text);
	check->text = NULL;
	check->lines = NULL;
}

static void clear(struct check *check)
{
	forget_lines(check);
	table_clear(&check->fresh);
	free(check->items);
	check->items = NULL;
	check->count = check->size = check->marked = 0;
	check->octets = 0;
	check->own_uidls = false;
	check->user->changes = check->user->differences = 0;
}

static int compare(struct check *check)
{
	uint8_t key[RECORD_KEY_OCTETS];
	clear(check);
	check->lines = open_memstream(&check->text, &check->text_len);
	int rc = check->mailbox->ops->state(check->mailbox, check->states);
	if (rc == MAILDROP_OK)
		rc = inspect_drop(check->env, check->place->user, &check->drop, &check->user->state);
	if (rc != MAILDROP_OK || check->user->state == INSPECT_UNKNOWN)
		return rc;
	if (check->user->state == INSPECT_DAMAGED) {
		differs(check, "the record of the maildrop is damaged, or of another format");
		return MAILDROP_OK;
	}
	size_t len = record_drop_key(check->place->user, key);
	if (inspect_walk(check->env, key, len, take_record, check) != 0 || check->failed)
		return MAILDROP_TEMP;
	check->user->messages = check->count;
	check->user->octets = check->octets;
	compare_sums(check);
	compare_uidls(check);
	return compare_mail(check);
}

/* Whether what was found may be somebody's work in between. */
static bool moved(struct check *check)
{
	struct part_state states[MAILBOX_PARTS];
	enum inspect_state state;
	struct drop drop = check->drop;
	if (check->user->differences == 0)
		return false;
	return inspect_drop(check->env, check->place->user, &drop, &state) != MAILDROP_OK ||
	       memcmp(&drop.parts, &check->drop.parts, sizeof(drop.parts)) != 0 ||
	       drop.count != check->drop.count || drop.octets != check->drop.octets ||
	       drop.generation != check->drop.generation || drop.epoch != check->drop.epoch ||
	       drop.state != check->drop.state || drop.trusted != check->drop.trusted ||
	       (check->mailbox->ops->state(check->mailbox, states) == MAILDROP_OK &&
		   memcmp(states, check->states, sizeof(states)) != 0);
}

static int compare_in_peace(struct check *check)
{
	struct lock lock = LOCK_NONE;
	int rc = MAILDROP_OK;
	for (int tries = 0; tries < TRIES_COUNT; tries++) {
		rc = compare(check);
		if (rc != MAILDROP_OK || !moved(check))
			return rc;
	}
	rc = lock_take(&lock, check->mailbox->home, false);
	bool restless = rc == MAILDROP_OK;
	for (int tries = 0; restless && rc == MAILDROP_OK && tries < TRIES_COUNT; tries++) {
		rc = compare(check); /* mail may still come in */
		restless = moved(check);
	}
	lock_drop(&lock);
	return rc == MAILDROP_OK && restless ? MAILDROP_IN_USE : rc;
}

static void tell(struct check *check)
{
	char *save = NULL;
	if (check->lines == NULL || fflush(check->lines) != 0)
		return;
	for (char *line = strtok_r(check->text, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		for (char *p = line; *p != '\0'; p++)
			if (*p < 0x20 || *p > 0x7e)
				*p = '?';
		check->teller->tell(check->teller->arg, line);
	}
	if (check->user->differences > LINES_COUNT)
		check->teller->tell(check->teller->arg, "and more");
}

/* There is no mailbox at all. */
static int gone(struct check *check)
{
	int rc = inspect_drop(check->env, check->place->user, &check->drop, &check->user->state);
	if (rc == MAILDROP_OK && check->user->state == INSPECT_CURRENT && check->drop.count > 0) {
		check->user->state = INSPECT_BEHIND;
		check->user->messages = check->user->changes = check->drop.count;
		check->user->octets = check->drop.octets;
	}
	return rc;
}

int inspect_check(const struct store *store, const struct maildrop_place *place,
    const struct inspect_teller *teller, struct inspect_user *user_r)
{
	struct check check = {.store = store, .place = place, .teller = teller, .user = user_r};
	int rc = inspect_open(store, place, &check.env, user_r);
	if (check.env == NULL)
		return rc;
	rc = mailbox_open(store, place, &check.mailbox);
	if (rc == MAILDROP_OK)
		rc = compare_in_peace(&check);
	else if (rc == MAILDROP_GONE)
		rc = gone(&check);
	if (rc == MAILDROP_OK)
		tell(&check);
	uint32_t changes = user_r->changes, differences = user_r->differences;
	clear(&check);
	user_r->changes = changes;
	user_r->differences = differences;
	mailbox_close(&check.mailbox);
	env_free(check.env);
	return rc;
}
