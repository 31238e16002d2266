/* SPDX-License-Identifier: ISC */
/*
 * mailbox: where a maildrop's messages lie, in one of several formats.
 *
 * For the store's own modules. A format knows how messages are found, read and removed; that they have
 * numbers, UIDLs and an index is none of its concern. What lies in a mailbox is under its owner's control
 * and may be changed by other programs at any time, so everything is checked when it is opened, and nothing
 * is waited for but, for a bounded time, the locks that other programs of this format take.
 *
 * A record names a message by what does not change while it is the same message: name, of which the first
 * unique_len octets are its identity, and inode. Where it lies now (part, the rest of the name, offset) may
 * change; then remove and fetch say MAILDROP_GONE, and the caller looks it up anew by a scan.
 *
 * Threads: a mailbox belongs to one at a time.
 */
#ifndef KPOPD_STORE_MAILBOX_H
#define KPOPD_STORE_MAILBOX_H

#include "maildrop.h"
#include "record.h"
#include "store.h"

struct mailbox;

/* A record of what was found; its views end with the call. Non-zero ends the scan, and is its result. */
typedef int mailbox_scan_fn(void *arg, const struct record *record);

/* All return 0 or an enum maildrop_err. */
struct mailbox_ops {
	const char *part_names[MAILBOX_PARTS]; /* for notes */
	void (*close)(struct mailbox *mailbox);

	/* What changes when messages come, go or are renamed; all zero for a part that does not exist. */
	int (*state)(struct mailbox *mailbox, struct part_state states_r[MAILBOX_PARTS]);
	/*
	 * Everything that may be a message: its name, unique_len, part, inode and offset. One that is moved
	 * by another program during the scan may be seen twice, never not at all. MAILDROP_TEMP, _PERM.
	 *
	 * A format that must read the messages to find them fills in octets, length and flags, too (octets
	 * is 0 otherwise). They win over what is known: a message stays the same when another program has
	 * rewritten its Status, but its size does not. Such a format's offset is the order of arrival.
	 */
	int (*scan)(struct mailbox *mailbox, mailbox_scan_fn *fn, void *arg);
	/*
	 * Reads the whole message once, and fills in octets, length, flags, inode and mtime_nsecs, unless
	 * the scan has done so; and digest, unless its name says all about what is in it.
	 * MAILDROP_GONE: it is not there, or is none, and must be left out for now (that was noted).
	 * MAILDROP_TEMP: trouble of our own, such as no descriptors.
	 */
	int (*measure)(struct mailbox *mailbox, struct record *record);
	/*
	 * Fills in length alone, without reading the message; what the name says of it is believed. NULL: it
	 * has to be measured. MAILDROP_GONE, _TEMP as measure, without a note.
	 */
	int (*length)(struct mailbox *mailbox, struct record *record);
	/*
	 * Opens the message, of exactly the octets that were measured. MAILDROP_GONE: it is not where the
	 * record says. MAILDROP_TEMP: it has changed since (that was noted), or trouble of our own.
	 */
	int (*fetch)(
	    struct mailbox *mailbox, const struct record *record, struct maildrop_message *message_r);
	/* As maildrop_arrived; MAILDROP_GONE: it is not where the record says. NULL: nobody can tell. */
	int (*arrived)(struct mailbox *mailbox, const struct record *record, int64_t *secs_r);
	/*
	 * Removes the message if it is there exactly as the record says; or notes it, for finish to do.
	 * MAILDROP_GONE: it is not. MAILDROP_TEMP, _PERM with errno: it is still there.
	 */
	int (*remove)(struct mailbox *mailbox, const struct record *record);
	/*
	 * Once, after the last remove: what was removed stays so over a power cut. MAILDROP_TEMP: of
	 * unsafe_count it is not known.
	 */
	int (*finish)(struct mailbox *mailbox);
};

/* What all formats have; theirs begins with it. */
struct mailbox {
	const struct mailbox_ops *ops;
	const struct store *store;
	int home; /* a directory for what we keep beside the mail: LOCK_NAME and more; the mailbox's own */
	unsigned notes_count;
	uint32_t unsafe_count; /* of finish that failed: of so many removed ones; 0: of all */
};

/* MAILDROP_GONE: there is none. MAILDROP_TEMP, _PERM. */
int mailbox_open(const struct store *store, const struct maildrop_place *place, struct mailbox **mailbox_r);
void mailbox_close(struct mailbox **mailbox);
/* A note about a message; no more than a few for each mailbox. Keeps errno. */
void mailbox_note(struct mailbox *mailbox, const struct record *record, const char *what);

#endif
