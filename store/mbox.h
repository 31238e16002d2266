/* SPDX-License-Identifier: ISC */
/*
 * mbox: all of a user's mail in one file, a "From " line before each message, where others deliver by
 * appending and where mail readers may rewrite what they like.
 *
 * The file is locked only while it is read through, while a message is copied out of it, and while messages
 * are removed; never while a client is waited for. A message is what mbox_digest.h says; its record's name is
 * that digest and ordinal, its offset where it was seen last. What a client reads is a copy, made under the
 * lock and checked against the record.
 *
 * home (see mailbox.h) is USER/ in the directory of homes, where a removal is journalled (mbox_journal.h).
 */
#ifndef KPOPD_STORE_MBOX_H
#define KPOPD_STORE_MBOX_H

#include "mailbox.h"

/* Returns an enum maildrop_err; MAILDROP_GONE: there is no such file. */
int mbox_open(const struct store *store, const struct maildrop_place *place, struct mailbox **mailbox_r);

/* Delivery; as maildrop.h says of delivery_. */
struct mbox_delivery;
int mbox_delivery_begin(
    const struct store *store, const struct maildrop_place *place, struct mbox_delivery **delivery_r);
int mbox_delivery_write(struct mbox_delivery *delivery, const void *buf, size_t len);
int mbox_delivery_commit(struct mbox_delivery **delivery);
void mbox_delivery_abort(struct mbox_delivery **delivery);

#endif
