/* SPDX-License-Identifier: ISC */
/*
 * changes: a maildrop's changes on their way into the index, in transactions of bounded size.
 *
 * A few changes are one transaction. Of many, each transaction but the last leaves the maildrop unfinished
 * (record.h), so that whoever finds it so after a crash finishes it; and between two of them other users of
 * the environment have their turn.
 */
#ifndef KPOPD_STORE_CHANGES_H
#define KPOPD_STORE_CHANGES_H

#include "index.h"

struct changes;

/*
 * unfinished: the maildrop as it is while not all is written: generation and next_uid, from which nothing is
 * numbered twice. fresh: all that is there of the user is forgotten first. follow: only records that are
 * there are replaced, none is added. NULL: no memory.
 */
struct changes_config {
	struct index_env *env;
	const char *user;
	struct drop unfinished;
	bool fresh, follow;
	uint32_t epoch; /* 0: what is gone is deleted; else marked as gone since then */
};
struct changes *changes_begin(const struct changes_config *config);
void changes_free(struct changes **changes);

/* What follows fails for good once the index has: false. */
bool changes_put(struct changes *changes, const struct record *record); /* a copy is taken */
bool changes_gone(struct changes *changes, uint32_t uid);
/* Writes the rest, and the maildrop as it is now. */
bool changes_end(struct changes *changes, const struct drop *drop);
/* Whether there is anything to write. */
bool changes_any(const struct changes *changes);

#endif
