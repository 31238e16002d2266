/* SPDX-License-Identifier: ISC */
#include "sync.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "beneath.h"
#include "mark.h"
#include "sync_run.h"

/*
 * A change may carry the same time as one just before it: kernels stamp by the tick, some file systems
 * by the second or two, and a file server has a clock of its own. A directory changed this recently
 * when it was scanned is scanned again next time.
 */
#define GRAIN_NSECS INT64_C(2500000000)
#define SCAN_TRIES_COUNT 4
/* A directory may hold more than a session may see; beyond this it is not even read. */
#define SCAN_MESSAGES_COUNT (2u * MAILDROP_MESSAGES_COUNT)

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

/* ---- what becomes of a message ---- */

/* Counts it in; what goes to the table has to have room there. */
static bool count_in(struct run *run, const struct record *record)
{
	if (run->table != NULL && run->table->count == TABLE_MESSAGES_COUNT) {
		run->partial = true;
		return false;
	}
	if (run->table != NULL && !table_add(run->table, record, MESSAGE_KEPT)) {
		run->error = MAILDROP_TEMP;
		return false;
	}
	run->count++;
	run->octets += record->octets;
	return true;
}

void run_kept(struct run *run, const struct record *record)
{
	if (run->renumber)
		run_new(run, record, record->uid);
	else if (!run->follow)
		count_in(run, record);
}

void run_moved(struct run *run, const struct record *record)
{
	if (run->renumber)
		run_new(run, record, record->uid);
	else if ((run->follow || count_in(run, record)) && run->changes != NULL)
		run->index_failed |= !changes_put(run->changes, record);
}

void run_gone(struct run *run, uint32_t uid)
{
	run->gone_count++;
	if (run->changes != NULL && !run->renumber)
		run->index_failed |= !changes_gone(run->changes, uid);
}

void run_new(struct run *run, const struct record *record, uint32_t order)
{
	if (!item_add(run->fresh, record, order))
		run->error = MAILDROP_TEMP;
}

bool run_line(struct run *run, enum uidls_kind kind, const struct record *record)
{
	char uidl[MAILDROP_UIDL_OCTETS + 1];
	struct uidls_line line = uidls_line_of(kind, record, uidl);
	if (run->sync->right == SYNC_READING)
		return false;
	if (run->lines == NULL)
		run->lines = uidls_writer_new(run->sync->mailbox);
	return run->lines != NULL && uidls_write(run->lines, &line);
}

bool run_measure(struct run *run, struct record *record)
{
	struct mailbox *mailbox = run->sync->mailbox;
	int rc = mailbox->ops->measure(mailbox, record);
	if (rc == MAILDROP_OK) {
		/* A name that says all. */
		struct digest digest = {0};
		digest_add(&digest, record->name, record->unique_len);
		if (!digest_known(record->digest))
			digest_done(&digest, record->digest);
		return true;
	}
	/* What is wrong with it may be mended without a change of the directory. */
	if (rc == MAILDROP_GONE)
		run->partial = true;
	else
		run->error = rc;
	return false;
}

/* Measures the new messages in order of arrival and numbers them. */
static void number_new(struct run *run)
{
	struct record record;
	const void *item;
	uint32_t count = sorter_count(run->fresh);
	if (!sorter_sort(run->fresh))
		run->error = MAILDROP_TEMP;
	const struct mark mark = {run->drop.generation, run->drop.next_uid + count};
	if (count > 0 && run->changes != NULL && !run_over(run))
		mark_write(run->sync->mailbox->home, &mark);
	while (!run_over(run) && (item = sorter_next(run->fresh)) != NULL) {
		item_read(item, &record);
		if (run->count == MAILDROP_MESSAGES_COUNT) {
			run->partial = true;
			break;
		}
		if (!digest_known(record.digest) && !run_measure(run, &record))
			continue;
		record.uid = run->drop.next_uid;
		if (!count_in(run, &record))
			continue;
		run->drop.next_uid++;
		if (run->changes != NULL)
			run->index_failed |= !changes_put(run->changes, &record);
	}
	if (sorter_failed(run->fresh))
		run->error = MAILDROP_TEMP;
}

/* ---- what the index knew ---- */

struct collection {
	struct sorter *sorter;
	uint32_t count, marked, last_uid;
	bool follow, full;
};

static int collect(void *arg, const struct record *record)
{
	struct collection *all = arg;
	all->last_uid = record->uid;
	if (record->gone != 0) {
		all->marked++;
		return 0;
	}
	all->count++;
	all->full = !item_add(all->sorter, record, 0);
	return all->full;
}

/* UIDs begin again, with a number that no generation had before. */
static void begin_generation(struct run *run, const struct mark *mark)
{
	uint64_t generation = (uint64_t)now_nsecs();
	if (generation <= run->drop.generation)
		generation = run->drop.generation + 1;
	if (generation <= mark->generation)
		generation = mark->generation + 1;
	run->renumber = run->known;
	run->drop = (struct drop){.generation = generation, .next_uid = 1};
}

/*
 * An index from a backup goes on behind the highest UID that was ever given in its generation; if that was
 * not the last one, nobody knows how far it came, and a new one begins. UIDs never wrap: a user who has had
 * four thousand million messages begins again.
 */
static void number_on(struct run *run)
{
	struct mark mark = {0};
	bool marked = mark_read(run->sync->mailbox->home, &mark);
	/* No message had a number yet. */
	if (run->known && !marked && run->drop.next_uid == 1)
		return;
	if (!run->known || !marked || mark.generation != run->drop.generation) {
		begin_generation(run, &mark);
		return;
	}
	if (mark.next_uid > run->drop.next_uid)
		run->drop.next_uid = mark.next_uid;
	if (run->drop.next_uid > UINT32_MAX - SCAN_MESSAGES_COUNT)
		begin_generation(run, &mark);
}

/* Reads what the index has; anything wrong with it and it has nothing. */
void run_load(struct run *run)
{
	const struct sync *sync = run->sync;
	struct collection all = {.sorter = run->old};
	run->drop = run->before;
	if (run->known && run->before.state != DROP_FORGOTTEN) {
		int rc = index_walk(sync->env, sync->user, 1, collect, &all);
		run->known = rc == INDEX_OK && !all.full;
		if (all.full)
			run->error = MAILDROP_TEMP;
	} else {
		run->known = false;
	}
	if (run->known && run->before.state == DROP_WHOLE && all.count != run->before.count) {
		index_distrust(sync->env);
		run->distrusted = true;
		run->known = false;
	}
	run->drop.marked = all.marked;
	if (run->drop.next_uid <= all.last_uid)
		run->drop.next_uid = all.last_uid + 1;
	if (!run->follow)
		number_on(run);
	if (!run->known)
		sorter_free(&run->old);
	if (run->old == NULL && (run->old = sorter_new(sync->mailbox->store->index, item_by_unique)) == NULL)
		run->error = MAILDROP_TEMP;
}

/* ---- what there is ---- */

static int found(void *arg, const struct record *record)
{
	struct run *run = arg;
	if (sorter_count(run->now) >= SCAN_MESSAGES_COUNT) {
		run->partial = true;
		return MAILDROP_OK;
	}
	return item_add(run->now, record, 0) ? MAILDROP_OK : MAILDROP_TEMP;
}

/* Everything in the mailbox; states_r as of before. Reads again when it changes meanwhile. */
int run_scan(struct run *run, struct part_state *states_r)
{
	struct mailbox *mailbox = run->sync->mailbox;
	struct part_state after[MAILBOX_PARTS];
	for (int tries = 0; tries < SCAN_TRIES_COUNT; tries++) {
		sorter_free(&run->now);
		run->now = sorter_new(mailbox->store->index, item_by_unique);
		if (run->now == NULL)
			return MAILDROP_TEMP;
		int rc = mailbox->ops->state(mailbox, states_r);
		if (rc == MAILDROP_OK)
			rc = mailbox->ops->scan(mailbox, found, run);
		if (rc == MAILDROP_OK)
			rc = mailbox->ops->state(mailbox, after);
		if (rc != MAILDROP_OK)
			return rc;
		if (same_states(states_r, after))
			break;
	}
	return MAILDROP_OK;
}

/* ---- all together ---- */

void run_begin_changes(struct run *run)
{
	const struct sync *sync = run->sync;
	struct changes_config config = {.env = sync->env,
	    .user = sync->user,
	    .unfinished = run->drop,
	    .fresh = !run->known || run->renumber,
	    .follow = run->follow};
	/* To begin anew would take from others what they list. */
	if (sync->env == NULL || run->table != NULL || (config.fresh && sync->right != SYNC_ALONE)) {
		run->index_failed = run->table == NULL;
		return;
	}
	if (sync->right == SYNC_AMONG_OTHERS && !run->follow)
		config.epoch = config.unfinished.epoch = run->drop.epoch + 1;
	run->changes = changes_begin(&config);
	if (run->changes == NULL)
		run->error = MAILDROP_TEMP;
}

static void sum_up(struct run *run, const struct part_state *states, int64_t scanned_at)
{
	run->drop.state = DROP_WHOLE;
	run->drop.count = run->count;
	run->drop.octets = run->octets;
	if (run->sync->right == SYNC_AMONG_OTHERS && run->gone_count > 0) {
		run->drop.epoch++;
		run->drop.marked += run->gone_count;
	}
	memcpy(run->drop.parts, states, sizeof(run->drop.parts));
	run->drop.trusted = !run->partial && settled(states, scanned_at);
}

static void finish(struct run *run)
{
	bool needed = changes_any(run->changes) || !run->known || run->renumber ||
		      run->before.state != DROP_WHOLE || run->drop.trusted || run->before.trusted;
	if (needed)
		run->index_failed |= !changes_end(run->changes, &run->drop);
}

void run_clear(struct run *run)
{
	if (run->lines != NULL)
		uidls_writer_end(&run->lines);
	sorter_free(&run->now);
	sorter_free(&run->old);
	sorter_free(&run->fresh);
	uidls_free(&run->uidls);
	changes_free(&run->changes);
}

/* table: where the messages are to go; NULL: into the index. */
static void bring_up_to_date(struct run *run, struct table *table)
{
	const struct sync *sync = run->sync;
	const struct index *index = sync->mailbox->store->index;
	struct part_state states[MAILBOX_PARTS];
	run->table = table;
	run->old = sorter_new(index, item_by_unique);
	run->fresh = sorter_new(index, item_by_arrival);
	if (run->old == NULL || run->fresh == NULL) {
		run->error = MAILDROP_TEMP;
		return;
	}
	run_load(run);
	int64_t scanned_at = now_nsecs();
	if (run->error == MAILDROP_OK)
		run->error = run_scan(run, states);
	if (run->error == MAILDROP_OK)
		run->error = uidls_load(sync->mailbox, &run->uidls);
	if (run->error == MAILDROP_OK)
		run_begin_changes(run);
	if (!run_over(run))
		match(run);
	/* What is new has its UIDL for ever before anybody is told. If not, a note has said so. */
	if (run->lines != NULL)
		uidls_writer_end(&run->lines);
	sorter_free(&run->now);
	sorter_free(&run->old);
	uidls_free(&run->uidls);
	if (!run_over(run))
		number_new(run);
	if (run_over(run))
		return;
	sum_up(run, states, scanned_at);
	if (run->changes != NULL)
		finish(run);
}

int sync_maildrop(const struct sync *sync, struct drop *drop_r, bool *indexed_r, struct table *table_r)
{
	struct part_state states[MAILBOX_PARTS];
	struct run run = {.sync = sync};
	*indexed_r = false;
	int rc = sync->mailbox->ops->state(sync->mailbox, states);
	if (rc != MAILDROP_OK)
		return rc;
	int found = sync->env == NULL ? INDEX_NONE : index_drop(sync->env, sync->user, &run.before);
	if (found == INDEX_OK && run.before.marked > 0 && sync->right == SYNC_ALONE)
		index_purge(sync->env, sync->user, &run.before);
	if (found == INDEX_OK && run.before.state == DROP_WHOLE && run.before.trusted &&
	    same_states(run.before.parts, states)) {
		*drop_r = run.before;
		*indexed_r = true;
		return MAILDROP_OK;
	}
	run.known = found == INDEX_OK;
	struct run again = run;
	bring_up_to_date(&run, sync->env == NULL ? table_r : NULL);
	*indexed_r = sync->env != NULL && !run_over(&run);
	run_clear(&run);
	if (run.index_failed && run.error == MAILDROP_OK) {
		/* What was written before it failed is good, and known the second time. */
		again.known = !run.distrusted && index_drop(sync->env, sync->user, &again.before) == INDEX_OK;
		bring_up_to_date(&again, table_r);
		run_clear(&again);
		run = again;
	}
	if (run.error != MAILDROP_OK) {
		table_clear(table_r);
		return run.error;
	}
	if (!*indexed_r && run.partial && table_r->count == TABLE_MESSAGES_COUNT)
		store_note(sync->mailbox->store, "without an index the first %u messages are shown",
		    TABLE_MESSAGES_COUNT);
	table_sort_uid(table_r);
	*drop_r = run.drop;
	return MAILDROP_OK;
}
