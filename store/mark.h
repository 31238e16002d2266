/* SPDX-License-Identifier: ISC */
/*
 * mark: the highest UID that was ever given in a maildrop, kept in its lock file, where a backup of the index
 * does not bring it back.
 *
 * An index that was restored from a backup would otherwise number new messages as others were numbered
 * before. The file belongs to the mailbox's owner, and is believed only in what makes numbers rise.
 */
#ifndef KPOPD_STORE_MARK_H
#define KPOPD_STORE_MARK_H

#include <stdbool.h>
#include <stdint.h>

struct mark {
	uint64_t generation;
	uint32_t next_uid;
};

/* home: of the mailbox. false: there is none. */
bool mark_read(int home, struct mark *mark_r);
/* Failing to write it is no harm but to those who restore backups. */
void mark_write(int home, const struct mark *mark);

#endif
