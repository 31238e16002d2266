/* SPDX-License-Identifier: ISC */
/*
 * sync_run: one run of bringing a maildrop up to date, which sync.c, sync_match.c and sync_names.c share.
 *
 * What there is and what the index knew are two streams, sorted by unique part and inode (item.h), and run
 * through side by side, a unique part at a time: usually one message here and one there. What is new goes
 * into a third stream, sorted by arrival, in which it is measured, numbered and written.
 */
#ifndef KPOPD_STORE_SYNC_RUN_H
#define KPOPD_STORE_SYNC_RUN_H

#include "changes.h"
#include "item.h"
#include "sync.h"
#include "uidls.h"

struct run {
	const struct sync *sync;
	struct drop before, drop; /* as the index had it, and as it will be */
	bool known;               /* the index had this maildrop */
	bool renumber;            /* all that is known gets new UIDs */
	bool distrusted;          /* what the index had contradicted itself */
	bool follow;              /* only notes where known messages lie now */
	bool index_failed;        /* it cannot be written: all is to be done again with a table */
	int error;                /* enum maildrop_err: nothing can be done */
	struct sorter *now, *old, *fresh;
	struct uidls *uidls;        /* NULL: none */
	struct uidls_writer *lines; /* NULL: nothing to write yet */
	struct changes *changes;    /* NULL: all goes to the table */
	struct table *table;
	uint32_t count; /* of messages that stay */
	uint64_t octets;
	uint32_t gone_count;
	bool partial; /* something was left out that may be seen next time */
};

/* A known message that is as it was, or lies elsewhere, or is no longer there. */
void run_kept(struct run *run, const struct record *record);
void run_moved(struct run *run, const struct record *record);
void run_gone(struct run *run, uint32_t uid);
/* A new message, which has its UIDL. order: item.h. It is measured later, unless its digest is known. */
void run_new(struct run *run, const struct record *record, uint32_t order);
/* A line for kpopd.uidl. Returns whether it is written, as far as that is known by now. */
bool run_line(struct run *run, enum uidls_kind kind, const struct record *record);
/* Measures. false: it is left out. */
bool run_measure(struct run *run, struct record *record);
static inline bool run_over(const struct run *run)
{
	return run->error != MAILDROP_OK || run->index_failed;
}

/* Fills old with what the index had; and now with what there is, states_r as of before that. */
void run_load(struct run *run);
int run_scan(struct run *run, struct part_state *states_r);
/* What changes from here on goes into the index, if it may. */
void run_begin_changes(struct run *run);
void run_clear(struct run *run);

/* sync_match.c: runs both streams through. */
void match(struct run *run);

/*
 * sync_names.c: gives UIDLs to the new messages of one unique part. now: all that there are, MESSAGE_NEW or
 * known; old: of what the index knew, MESSAGE_DROPPED are those not found again.
 */
void name_group(struct run *run, struct table *now, struct table *old);

#endif
