/* SPDX-License-Identifier: ISC */
/*
 * inspect_user: what the index says of one user, and making it say so anew.
 */
#include <errno.h>
#include <string.h>

#include "inspect_private.h"
#include "lock.h"
#include "mailbox.h"

#define FORGET_COUNT 4096u

static const char *place_name(const struct store *store, const struct maildrop_place *place)
{
	static char name[4];
	unsigned number = store->index == NULL ? 0 : index_place(store->index, place->user);
	name[0] = (char)('0' + number / 10 % 10);
	name[1] = (char)('0' + number % 10);
	return name;
}

/* INSPECT_CURRENT, whatever the mail says. */
int inspect_drop(struct index_env *env, const char *user, struct drop *drop_r, enum inspect_state *state_r)
{
	uint8_t key[RECORD_KEY_OCTETS], value[RECORD_VALUE_OCTETS];
	size_t key_len = record_drop_key(user, key), len;
	int rc = inspect_get(env, key, key_len, value, sizeof(value), &len);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return MAILDROP_TEMP;
	if (rc == MDB_NOTFOUND)
		*state_r = INSPECT_UNKNOWN;
	else if (!record_decode_drop(drop_r, key, key_len, value, len))
		*state_r = INSPECT_DAMAGED;
	else
		*state_r = drop_r->state == DROP_WHOLE ? INSPECT_CURRENT : INSPECT_UNFINISHED;
	return MAILDROP_OK;
}

bool inspect_settled(const struct drop *drop, const struct part_state *states)
{
	return drop->state == DROP_WHOLE && drop->trusted &&
	       memcmp(drop->parts, states, sizeof(drop->parts)) == 0;
}

static int look(struct index_env *env, const struct store *store, const struct maildrop_place *place,
    struct inspect_user *user_r)
{
	struct part_state states[MAILBOX_PARTS];
	struct mailbox *mailbox;
	struct drop drop;
	int rc = inspect_drop(env, place->user, &drop, &user_r->state);
	if (rc != MAILDROP_OK || user_r->state != INSPECT_CURRENT)
		return rc;
	user_r->messages = drop.count;
	user_r->octets = drop.octets;
	rc = mailbox_open(store, place, &mailbox);
	if (rc == MAILDROP_OK) {
		rc = mailbox->ops->state(mailbox, states);
		mailbox_close(&mailbox);
	}
	if (rc == MAILDROP_OK && !inspect_settled(&drop, states))
		user_r->state = INSPECT_BEHIND;
	if (rc == MAILDROP_GONE) {
		user_r->state = INSPECT_BEHIND;
		rc = MAILDROP_OK;
	}
	return rc;
}

/* NULL and MAILDROP_OK: there is none, so nothing is known; _TEMP: nobody can look into it now. */
int inspect_open(const struct store *store, const struct maildrop_place *place, struct index_env **env_r,
    struct inspect_user *user_r)
{
	int error = ENOENT;
	*user_r = (struct inspect_user){.env = place_name(store, place)};
	*env_r = store->index == NULL
		     ? NULL
		     : index_look(store->index, index_place(store->index, place->user), &error);
	if (*env_r != NULL || error == ENOENT)
		return MAILDROP_OK;
	store_note(store, "environment %s: %s", user_r->env, inspect_trouble(error));
	return MAILDROP_TEMP;
}

int inspect_user(const struct store *store, const struct maildrop_place *place, struct inspect_user *user_r)
{
	struct index_env *env;
	int rc = inspect_open(store, place, &env, user_r);
	if (env == NULL)
		return rc;
	rc = look(env, store, place, user_r);
	env_free(env);
	return rc;
}

/* ---- anew ---- */

/* Bit by bit, so that others of the environment have their turn. Without the maildrop's record first, no
 * login believes what is left of the others. */
static int forget(struct index_env *env, const char *user)
{
	bool left = true;
	while (left) {
		const struct index_update update = {.user = user, .forget = FORGET_COUNT, .left_r = &left};
		if (index_update(env, &update) != INDEX_OK)
			return MAILDROP_TEMP;
	}
	return MAILDROP_OK;
}

int inspect_forget(struct store *store, const struct maildrop_place *place)
{
	struct lock lock = LOCK_NONE;
	struct mailbox *mailbox;
	int rc = mailbox_open(store, place, &mailbox);
	if (rc != MAILDROP_OK)
		return rc;
	rc = lock_take(&lock, mailbox->home, false);
	if (rc == MAILDROP_OK) {
		struct index_env *env = index_take(store->index, place->user);
		rc = env != NULL ? forget(env, place->user) : MAILDROP_TEMP;
		index_release(&env);
		lock_drop(&lock);
	}
	mailbox_close(&mailbox);
	return rc;
}
