/* SPDX-License-Identifier: ISC */
/*
 * table: a maildrop's messages in memory: what a directory scan saw, or what the index knew.
 *
 * Used while the index is brought up to date, and as the snapshot where there is no index.
 */
#ifndef KPOPD_STORE_TABLE_H
#define KPOPD_STORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailbox.h"

/* A directory may hold more than a session may see; beyond this it is not even read. */
#define TABLE_MESSAGES_COUNT (2u * MAILDROP_MESSAGES_COUNT)

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
	bool partial;            /* something was left out that may be seen next time */
};

void table_clear(struct table *table);
/* Copies the record and its texts. false: no memory. */
bool table_add(struct table *table, const struct record *record, enum message_state state);
/* Room for len octets that live as long as the table. NULL: no memory. */
char *table_text(struct table *table, size_t len);

/* By unique part, then inode, then directory, then name. */
void table_sort_unique(struct table *table);
/* By UID; dropped messages are taken out. */
void table_sort_uid(struct table *table);
int table_compare_unique(const struct record *a, const struct record *b);
/* A message of the same unique part in a table sorted by it, if possible the same file. NULL: none. */
const struct message *table_find(const struct table *table, const struct record *record);

/*
 * Everything in the mailbox that may be a message, each once, sorted by unique part; states_r as of before
 * the scan. Reads again when the mailbox changes under it. MAILDROP_TEMP, _PERM.
 */
int table_scan(struct table *table, struct mailbox *mailbox, struct part_state states_r[MAILBOX_PARTS]);

#endif
