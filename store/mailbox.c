/* SPDX-License-Identifier: ISC */
#include "mailbox.h"

#include "maildir.h"
#include "mbox.h"

#define NOTES_COUNT 8u

int mailbox_open(const struct store *store, const struct maildrop_place *place, struct mailbox **mailbox_r)
{
	*mailbox_r = NULL;
	switch (place->format) {
	case MAILDROP_MAILDIR:
		return maildir_open(store, place->path, mailbox_r);
	case MAILDROP_MBOX:
		return mbox_open(store, place, mailbox_r);
	}
	return MAILDROP_PERM;
}

void mailbox_close(struct mailbox **mailbox)
{
	if (*mailbox != NULL)
		(*mailbox)->ops->close(*mailbox);
	*mailbox = NULL;
}

void mailbox_note(struct mailbox *mailbox, const struct record *record, const char *what)
{
	if (++mailbox->notes_count > NOTES_COUNT)
		return;
	store_note(mailbox->store, "%s/%.*s: %s%s", mailbox->ops->part_names[record->part], record->name_len,
	    record->name, what, mailbox->notes_count == NOTES_COUNT ? " (and perhaps more)" : "");
}
