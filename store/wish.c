/* SPDX-License-Identifier: ISC */
/*
 * wish: a login's wish for a maildrop that another session has.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "beneath.h"
#include "login.h"
#include "snapshot.h"

struct maildrop_wish {
	int fd; /* of the lock file; the wish is its lock */
};

/* Who may not log in yet shall not end somebody else's session. */
static int too_early(int home, const struct maildrop_place *place)
{
	int fd = place->login_delay_secs == 0 ? -1 : beneath_open(home, LOCK_NAME, O_RDONLY, 0);
	int rc = login_check(fd, place);
	if (fd >= 0)
		close(fd);
	return rc;
}

int maildrop_wish(struct store *store, const struct maildrop_place *place, struct maildrop_wish **wish_r)
{
	struct mailbox *mailbox;
	*wish_r = NULL;
	int rc = mailbox_open(store, place, &mailbox);
	if (rc != MAILDROP_OK)
		return rc;
	struct maildrop_wish *wish = calloc(1, sizeof(*wish));
	rc = wish == NULL ? MAILDROP_TEMP : too_early(mailbox->home, place);
	if (rc == MAILDROP_OK)
		rc = lock_wish(mailbox->home, &wish->fd);
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
