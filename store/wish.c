/* SPDX-License-Identifier: ISC */
/*
 * wish: a login's wish for a maildrop that another session has.
 */
#include <stdlib.h>
#include <unistd.h>

#include "snapshot.h"

struct maildrop_wish {
	int fd; /* of the lock file; the wish is its lock */
};

int maildrop_wish(struct store *store, const struct maildrop_place *place, struct maildrop_wish **wish_r)
{
	struct mailbox *mailbox;
	*wish_r = NULL;
	int rc = mailbox_open(store, place, &mailbox);
	if (rc != MAILDROP_OK)
		return rc;
	struct maildrop_wish *wish = calloc(1, sizeof(*wish));
	rc = wish == NULL ? MAILDROP_TEMP : lock_wish(mailbox->home, &wish->fd);
	if (rc != MAILDROP_OK) {
		free(wish);
		wish = NULL;
	}
	mailbox_close(&mailbox);
	*wish_r = wish;
	return rc;
}

void maildrop_wish_end(struct maildrop_wish **wish)
{
	struct maildrop_wish *gone = *wish;
	*wish = NULL;
	if (gone == NULL)
		return;
	close(gone->fd);
	free(gone);
}

bool maildrop_wanted(const struct maildrop *maildrop)
{
	return lock_wished(&maildrop->lock);
}
