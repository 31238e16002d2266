/* SPDX-License-Identifier: ISC */
#include "usage.h"

#include <stdbool.h>
#include <string.h>

#include "index.h"
#include "mailbox.h"
#include "store.h"

struct count {
	struct mailbox *mailbox;
	struct maildrop_usage usage;
};

static int add(void *arg, const struct record *record)
{
	struct maildrop_usage *usage = arg;
	if (record->gone != 0)
		return 0;
	usage->messages++;
	usage->octets += record->length;
	return 0;
}

/* Whether the index has seen all that is there now, and what it says. */
static bool ask_index(
    struct index_env *env, struct mailbox *mailbox, const char *user, struct maildrop_usage *usage)
{
	struct drop drop;
	struct part_state states[MAILBOX_PARTS];
	if (mailbox->ops->state(mailbox, states) != MAILDROP_OK || index_drop(env, user, &drop) != INDEX_OK)
		return false;
	return drop.trusted && memcmp(drop.parts, states, sizeof states) == 0 &&
	       index_walk(env, user, 0, add, usage) == INDEX_OK && usage->messages == drop.count;
}

static bool by_index(
    const struct store *store, struct mailbox *mailbox, const char *user, struct maildrop_usage *usage)
{
	struct index_env *env = store->index == NULL ? NULL : index_take(store->index, user);
	if (env == NULL)
		return false;
	bool known = ask_index(env, mailbox, user, usage);
	index_release(&env);
	return known;
}

static int scanned(void *arg, const struct record *found)
{
	struct count *count = arg;
	const struct mailbox_ops *ops = count->mailbox->ops;
	struct record record = *found;
	if (found->octets != 0) /* it had to be read to be found */
		return add(&count->usage, found);
	int rc = ops->length != NULL ? ops->length(count->mailbox, &record)
				     : ops->measure(count->mailbox, &record);
	if (rc == MAILDROP_GONE)
		return MAILDROP_OK;
	return rc == MAILDROP_OK ? add(&count->usage, &record) : rc;
}

int maildrop_usage(struct store *store, const struct maildrop_place *place, struct maildrop_usage *usage_r)
{
	struct count count = {.mailbox = NULL};
	*usage_r = (struct maildrop_usage){0};
	int rc = mailbox_open(store, place, &count.mailbox);
	if (rc != MAILDROP_OK)
		return rc;
	if (!by_index(store, count.mailbox, place->user, &count.usage)) {
		count.usage = (struct maildrop_usage){0};
		rc = count.mailbox->ops->scan(count.mailbox, scanned, &count);
	}
	*usage_r = count.usage;
	mailbox_close(&count.mailbox);
	return rc;
}

int maildrop_there(struct store *store, const struct maildrop_place *place)
{
	struct mailbox *mailbox;
	int rc = mailbox_open(store, place, &mailbox);
	mailbox_close(&mailbox);
	return rc;
}
