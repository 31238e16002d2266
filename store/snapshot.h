/* SPDX-License-Identifier: ISC */
/*
 * snapshot: an open maildrop, and its messages by the numbers that stand for them in the session.
 *
 * The snapshot lies in the index: while we hold the maildrop's lock, others who share it may add records
 * behind ours, mark records as gone since an epoch after ours, and note where messages lie now, but take
 * nothing away. Should the index be set aside, our environment stays open and as it was. Without an index the
 * snapshot is a table.
 */
#ifndef KPOPD_STORE_SNAPSHOT_H
#define KPOPD_STORE_SNAPSHOT_H

#include "index.h"
#include "lock.h"
#include "mailbox.h"
#include "table.h"

/* So long a session waits until others have brought the index up to date. */
#define INDEX_WAIT_MSECS 200u

struct maildrop {
	struct store *store;
	struct mailbox *mailbox; /* NULL: there is none, the maildrop is empty */
	struct lock lock;
	struct index_env *env; /* NULL: no index */
	struct drop drop;
	struct table table; /* the messages, when they are not in the index */
	bool indexed;
	bool ended;                              /* expunged: nothing more to do */
	uint32_t *uids;                          /* by idx, once somebody jumps about */
	uint32_t hint_idx, hint_uid;             /* no message from hint_idx on has a lower UID */
	struct part_state looked[MAILBOX_PARTS]; /* the mailbox when we last looked where messages are */
	char user[RECORD_USER_OCTETS + 1];
};

/* A record with its texts, to keep. */
struct found {
	struct record record;
	char text[RECORD_NAME_OCTETS + MAILDROP_UIDL_OCTETS];
};
void found_set(struct found *found, const struct record *record);

/* Walks the messages from idx until fn returns non-zero. MAILDROP_TEMP. */
typedef int snapshot_fn(void *arg, uint32_t idx, const struct record *record);
int snapshot_walk(struct maildrop *maildrop, uint32_t idx, snapshot_fn *fn, void *arg);
/* MAILDROP_RANGE, _TEMP. */
int snapshot_get(struct maildrop *maildrop, uint32_t idx, struct found *found_r);
/* The message is not where its record says: looks where it is now. MAILDROP_GONE, _TEMP, _PERM. */
int snapshot_relook(struct maildrop *maildrop, struct found *found);
/* What is known of this message may be wrong: the next login measures it anew. */
void snapshot_doubt(struct maildrop *maildrop, uint32_t uid);

#endif
