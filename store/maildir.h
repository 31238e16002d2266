/* SPDX-License-Identifier: ISC */
/*
 * maildir: a Maildir as a mailbox, opened beneath the mail root and never by way of a symbolic link.
 *
 * A message is a regular file of the Maildir's own owner in new/ or cur/.
 */
#ifndef KPOPD_STORE_MAILDIR_H
#define KPOPD_STORE_MAILDIR_H

#include "mailbox.h"

/* As mailbox_open. */
int maildir_open(const struct store *store, const char *path, struct mailbox **mailbox_r);

#endif
