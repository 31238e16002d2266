/* SPDX-License-Identifier: ISC */
/*
 * table: messages in memory: some of a maildrop's while the index is brought up to date, and all of them as
 * the snapshot where there is no index.
 */
#ifndef KPOPD_STORE_TABLE_H
#define KPOPD_STORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailbox.h"

/* Without an index a session sees no more than this, in some 50 MB of memory. */
#define TABLE_MESSAGES_COUNT (1u << 18)

enum message_state {
	MESSAGE_KEPT = 0, /* as the index has it */
	MESSAGE_MOVED,    /* another name or directory than the index has */
	MESSAGE_NEW,      /* not measured yet, no UID */
	MESSAGE_MEASURED, /* new, with size and UID */
	MESSAGE_DROPPED,  /* not part of the maildrop */
};

struct message {
	struct record record;
	enum message_state state;
};

struct table {
	struct message *messages;
	uint32_t count, size;
	struct text_block *text; /* where names and UIDLs lie */
};

void table_clear(struct table *table);
/* Empties it, and keeps some of its memory for what comes next. */
void table_reset(struct table *table);
/* Copies the record and its texts. false: no memory. */
bool table_add(struct table *table, const struct record *record, enum message_state state);
/* Room for len octets that live as long as the table. NULL: no memory. */
char *table_text(struct table *table, size_t len);

/* By UID. */
void table_sort_uid(struct table *table);
/* In a table sorted so. NULL: none. */
const struct message *table_find_uid(const struct table *table, uint32_t uid);
#endif
