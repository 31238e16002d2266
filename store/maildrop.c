/* SPDX-License-Identifier: ISC */
#include "maildrop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "login.h"
#include "snapshot.h"
#include "sync.h"

#define NOTE_OCTETS 512u
#define OPEN_TRIES_COUNT 4

void store_note(const struct store *store, const char *format, ...)
{
	if (store->note == NULL)
		return;
	int error = errno;
	char text[NOTE_OCTETS];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *p = text; *p != 0; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	store->note(store->note_arg, text);
	errno = error;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

int store_open(struct store **store_r, const struct store_config *config)
{
	*store_r = NULL;
	struct store *store = calloc(1, sizeof(*store));
	if (store == NULL)
		return MAILDROP_TEMP;
	store->note = config->note;
	store->note_arg = config->note_arg;
	store->root = fcntl(config->mail_root, F_DUPFD_CLOEXEC, 0);
	store->homes = config->homes < 0 ? -1 : fcntl(config->homes, F_DUPFD_CLOEXEC, 0);
	if (store->root < 0 || (config->homes >= 0 && store->homes < 0)) {
		int rc = errno == EBADF ? MAILDROP_PERM : MAILDROP_TEMP;
		store_close(&store);
		return rc;
	}
	if (config->index_dir == NULL || index_open(&store->index, store, config) != INDEX_OK)
		store_note(store, "no index: every session scans its maildrop");
	*store_r = store;
	return MAILDROP_OK;
}

void store_close(struct store **store)
{
	if (*store == NULL)
		return;
	index_close(&(*store)->index);
	close_fd((*store)->root);
	close_fd((*store)->homes);
	free(*store);
	*store = NULL;
}

static int bring_up_to_date(struct maildrop *maildrop, enum sync_right right)
{
	const struct sync sync = {
	    .right = right,
	    .mailbox = maildrop->mailbox,
	    .env = maildrop->env,
	    .user = maildrop->user,
	};
	return sync_maildrop(&sync, &maildrop->drop, &maildrop->indexed, &maildrop->table);
}

/* The maildrop is locked: brings the index up to date. */
static int begin(struct maildrop *maildrop)
{
	enum sync_right right = SYNC_READING;
	int rc = lock_index_begin(&maildrop->lock, 0);
	if (rc == MAILDROP_IN_USE)
		return rc;
	if (rc == MAILDROP_OK) {
		right = lock_alone(&maildrop->lock) ? SYNC_ALONE : SYNC_AMONG_OTHERS;
		maildrop->env = index_take(maildrop->store->index, maildrop->user);
	}
	rc = bring_up_to_date(maildrop, right);
	/* It was set aside just now: what took its place is as good as any. */
	if (rc == MAILDROP_OK && !maildrop->indexed && maildrop->env != NULL && index_dead(maildrop->env)) {
		index_release(&maildrop->env);
		maildrop->env = index_take(maildrop->store->index, maildrop->user);
		table_clear(&maildrop->table);
		rc = bring_up_to_date(maildrop, right);
	}
	lock_index_end(&maildrop->lock);
	/* A part that vanished between two looks: the next login sees more. */
	return rc == MAILDROP_GONE ? MAILDROP_TEMP : rc;
}

static int lock_and_begin(struct maildrop *maildrop, const struct maildrop_place *place)
{
	int rc = lock_take(&maildrop->lock, maildrop->mailbox->home, place->lock == MAILDROP_SHARED);
	if (rc == MAILDROP_OK)
		rc = login_check(maildrop->lock.fd, place);
	return rc == MAILDROP_OK ? begin(maildrop) : rc;
}

int maildrop_open(struct store *store, const struct maildrop_place *place, struct maildrop **maildrop_r)
{
	*maildrop_r = NULL;
	size_t len = strlen(place->user);
	if (len == 0 || len > RECORD_USER_OCTETS)
		return MAILDROP_PERM;
	struct maildrop *maildrop = calloc(1, sizeof(*maildrop));
	if (maildrop == NULL)
		return MAILDROP_TEMP;
	maildrop->store = store;
	maildrop->hint_uid = 1;
	maildrop->lock = LOCK_NONE;
	memcpy(maildrop->user, place->user, len + 1);
	int rc = mailbox_open(store, place, &maildrop->mailbox);
	if (rc == MAILDROP_OK)
		rc = lock_and_begin(maildrop, place);
	else if (rc == MAILDROP_GONE)
		rc = MAILDROP_OK;
	if (rc != MAILDROP_OK)
		maildrop_close(&maildrop);
	*maildrop_r = maildrop;
	return rc;
}

void maildrop_close(struct maildrop **maildrop)
{
	struct maildrop *gone = *maildrop;
	*maildrop = NULL;
	if (gone == NULL)
		return;
	index_release(&gone->env);
	table_clear(&gone->table);
	free(gone->uids);
	lock_drop(&gone->lock);
	mailbox_close(&gone->mailbox);
	free(gone);
}

void maildrop_logged_in(struct maildrop *maildrop)
{
	login_note(maildrop->lock.fd);
}

uint32_t maildrop_count(const struct maildrop *maildrop)
{
	return maildrop->drop.count;
}

uint64_t maildrop_octets(const struct maildrop *maildrop)
{
	return maildrop->drop.octets;
}

struct listing {
	maildrop_entry_fn *fn;
	void *arg;
	uint32_t end;
};

static int list_one(void *arg, uint32_t idx, const struct record *record)
{
	const struct listing *listing = arg;
	struct maildrop_entry entry;
	entry.octets = record->octets;
	entry.uid = record->uid;
	record_uidl(record, entry.uidl);
	memcpy(entry.name, record->name, record->unique_len);
	entry.name[record->unique_len] = 0;
	return listing->fn(listing->arg, idx, &entry) != 0 || idx + 1 == listing->end;
}

int maildrop_list(struct maildrop *maildrop, uint32_t idx, uint32_t count, maildrop_entry_fn *fn, void *arg)
{
	uint32_t all = maildrop->drop.count;
	if (idx > all)
		return MAILDROP_RANGE;
	if (maildrop->ended)
		return MAILDROP_TEMP;
	if (idx == all || count == 0)
		return MAILDROP_OK;
	struct listing listing = {.fn = fn, .arg = arg, .end = count < all - idx ? idx + count : all};
	return snapshot_walk(maildrop, idx, list_one, &listing);
}

int maildrop_fetch(struct maildrop *maildrop, uint32_t idx, struct maildrop_message *message_r)
{
	struct mailbox *mailbox = maildrop->mailbox;
	struct found found;
	if (maildrop->ended)
		return MAILDROP_TEMP;
	int rc = snapshot_get(maildrop, idx, &found);
	if (rc != MAILDROP_OK)
		return rc;
	for (int tries = 0; tries < OPEN_TRIES_COUNT; tries++) {
		rc = mailbox->ops->fetch(mailbox, &found.record, message_r);
		if (rc == MAILDROP_TEMP)
			snapshot_doubt(maildrop, found.record.uid);
		if (rc != MAILDROP_GONE)
			return rc;
		/* Another program may have renamed it. */
		rc = snapshot_relook(maildrop, &found);
		if (rc != MAILDROP_OK)
			return rc == MAILDROP_PERM ? MAILDROP_GONE : rc;
	}
	return MAILDROP_GONE;
}
