/* SPDX-License-Identifier: ISC */
/*
 * maildir_private: what the modules of a Maildir share. maildir.c has its directories, maildir_message.c
 * its messages.
 */
#ifndef KPOPD_STORE_MAILDIR_PRIVATE_H
#define KPOPD_STORE_MAILDIR_PRIVATE_H

#include <stdbool.h>

#include "mailbox.h"

struct maildir {
	struct mailbox mailbox;           /* its home is the Maildir itself */
	int part_fds[MAILBOX_PARTS];      /* -1: not opened yet */
	uint32_t unlinked[MAILBOX_PARTS]; /* so many, and not synced yet */
	uid_t owner;
};

/* The directory's descriptor; the maildir's own. MAILDROP_GONE: it is missing. */
int maildir_part(struct maildir *maildir, enum maildir_part part, int *fd_r);

/* As in mailbox_ops. */
int maildir_length(struct mailbox *mailbox, struct record *record);
int maildir_measure(struct mailbox *mailbox, struct record *record);
int maildir_fetch(struct mailbox *mailbox, const struct record *record, struct maildrop_message *message_r);
int maildir_arrived(struct mailbox *mailbox, const struct record *record, int64_t *secs_r);
int maildir_remove(struct mailbox *mailbox, const struct record *record);

#endif
