/* SPDX-License-Identifier: ISC */
/*
 * sync: brings what the index knows of a maildrop up to date with what lies in its mailbox.
 */
#ifndef KPOPD_STORE_SYNC_H
#define KPOPD_STORE_SYNC_H

#include "index.h"
#include "mailbox.h"
#include "table.h"

/* What other sessions of this maildrop leave us to do. */
enum sync_right {
	SYNC_ALONE = 0,    /* nobody else has a snapshot of it */
	SYNC_AMONG_OTHERS, /* others list what the index has: nothing of that may go, it is marked instead */
	SYNC_READING,      /* others may be writing: nothing beside the mail is written at all; env is NULL */
};

struct sync {
	struct mailbox *mailbox;
	struct index_env *env; /* NULL: no index */
	const char *user;
	enum sync_right right;
};

/*
 * Fills drop_r. Where the index holds the maildrop's messages afterwards, *indexed_r is set and table_r is
 * empty; else table_r holds them, in order of UID. MAILDROP_TEMP, _PERM.
 */
int sync_maildrop(const struct sync *sync, struct drop *drop_r, bool *indexed_r, struct table *table_r);

/*
 * Within a session: messages of the maildrop that lie elsewhere by now are noted where they are, in the
 * index, or, where env is NULL, in the table; nothing else changes. The caller has the right to write, if
 * there is an index. states_r: the mailbox as it was then. MAILDROP_TEMP, _PERM.
 */
int sync_follow(const struct sync *sync, struct table *table, struct part_state states_r[MAILBOX_PARTS]);

#endif
