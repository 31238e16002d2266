/* SPDX-License-Identifier: ISC */
/*
 * mbox_copies: telling messages of an mbox apart that are the same, octet by octet, and always by the same
 * ordinals: the first in the file is 1, the next 2, and so on, leaving out those of copies that were removed.
 *
 * Those that were removed while there were others are remembered in COPIES_NAME in the mailbox's home, a line
 * each, appended and synced. The file is small: only copies come into it.
 */
#ifndef KPOPD_STORE_MBOX_COPIES_H
#define KPOPD_STORE_MBOX_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mbox_digest.h"

#define COPIES_NAME "kpopd.copies"
#define COPIES_COUNT (1u << 20) /* most that are remembered */

struct mbox_copies {
	struct mbox_id *gone; /* sorted */
	size_t gone_count;
	struct copies_seen *seen; /* a hash table */
	size_t seen_count, seen_size;
};

/* What home remembers; nothing: nothing. An enum maildrop_err. */
int mbox_copies_load(struct mbox_copies *copies, int home);
void mbox_copies_clear(struct mbox_copies *copies);
/* The next message in the file, by its digest: fills in its ordinal. false: no memory. */
bool mbox_copies_next(struct mbox_copies *copies, struct mbox_id *id);
/* The highest ordinal that mbox_copies_next gave for the digest; 0: none. */
uint32_t mbox_copies_highest(const struct mbox_copies *copies, const struct mbox_id *id);
/* Remembers and syncs what is not remembered yet. false and errno. */
bool mbox_copies_remember(
    int home, const struct mbox_copies *copies, const struct mbox_id *ids, size_t count);

#endif
