/* SPDX-License-Identifier: ISC */
/*
 * adopt: messages get the UIDLs that they had on another server.
 */
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"
#include "uidl.h"
#include "uidls.h"

struct adopt {
	struct maildrop *maildrop;
	const struct maildrop_adoption *entries;
	uint32_t count;
	const struct maildrop_adoption **sorted; /* by UIDL */
	uint8_t *named;                          /* a bit for each message: it is among the entries */
	uint8_t *known;                          /* for each entry: kpopd.uidl has it already */
	struct uidls_writer *lines;
	const struct maildrop_adoption *bad;
	int error;
};

static bool refuse(struct adopt *adopt, const struct maildrop_adoption *entry, int error)
{
	adopt->bad = entry;
	adopt->error = error;
	return false;
}

static int by_uidl(const void *a, const void *b)
{
	const struct maildrop_adoption *const *a_entry = a;
	const struct maildrop_adoption *const *b_entry = b;
	return strcmp((*a_entry)->uidl, (*b_entry)->uidl);
}

/* The entry of this UIDL; NULL: none. */
static const struct maildrop_adoption *find(const struct adopt *adopt, const char *uidl)
{
	const struct maildrop_adoption key = {.uidl = uidl};
	const struct maildrop_adoption *key_pointer = &key;
	const struct maildrop_adoption **found =
	    bsearch(&key_pointer, adopt->sorted, adopt->count, sizeof(*adopt->sorted), by_uidl);
	return found == NULL ? NULL : *found;
}

/* What can be said of the entries alone. */
static bool check_entries(struct adopt *adopt)
{
	for (uint32_t i = 0; i < adopt->count; i++) {
		const struct maildrop_adoption *entry = &adopt->entries[i];
		uint32_t idx = entry->idx;
		if (idx >= adopt->maildrop->drop.count || (adopt->named[idx / 8] >> (idx % 8) & 1) != 0)
			return refuse(adopt, entry, MAILDROP_RANGE);
		if (!uidl_valid(entry->uidl, strnlen(entry->uidl, MAILDROP_UIDL_OCTETS + 1)))
			return refuse(adopt, entry, MAILDROP_UIDL);
		adopt->named[idx / 8] |= (uint8_t)(1u << (idx % 8));
		adopt->sorted[i] = entry;
	}
	qsort(adopt->sorted, adopt->count, sizeof(*adopt->sorted), by_uidl);
	for (uint32_t i = 1; i < adopt->count; i++)
		if (strcmp(adopt->sorted[i - 1]->uidl, adopt->sorted[i]->uidl) == 0)
			return refuse(adopt, adopt->sorted[i], MAILDROP_UIDL);
	return true;
}

/* A message that is not named keeps its UIDL, so nobody else can have it. */
static int check_message(void *arg, uint32_t idx, const struct record *record)
{
	struct adopt *adopt = arg;
	char uidl[MAILDROP_UIDL_OCTETS + 1];
	if ((adopt->named[idx / 8] >> (idx % 8) & 1) != 0)
		return 0;
	record_uidl(record, uidl);
	const struct maildrop_adoption *entry = find(adopt, uidl);
	return entry != NULL && !refuse(adopt, entry, MAILDROP_UIDL);
}

/* A UIDL that occurs in the file is that message's for ever. */
static int check_line(void *arg, const struct uidls_line *line)
{
	struct adopt *adopt = arg;
	char uidl[MAILDROP_UIDL_OCTETS + 1];
	struct found found;
	memcpy(uidl, line->uidl, line->uidl_len);
	uidl[line->uidl_len] = 0;
	const struct maildrop_adoption *entry = find(adopt, uidl);
	if (entry == NULL)
		return 0;
	adopt->error = snapshot_get(adopt->maildrop, entry->idx, &found);
	if (adopt->error != MAILDROP_OK)
		return 1;
	const struct record *record = &found.record;
	bool same =
	    record->unique_len == line->unique_len &&
	    memcmp(record->name, line->name, line->unique_len) == 0 &&
	    (!digest_known(line->digest) || memcmp(record->digest, line->digest, CONTENT_DIGEST_OCTETS) == 0);
	if (!same)
		return !refuse(adopt, entry, MAILDROP_UIDL);
	adopt->known[entry - adopt->entries] |= line->kind == UIDLS_ADOPTED;
	return 0;
}

static bool write_line(
    struct adopt *adopt, enum uidls_kind kind, const struct record *record, const char *uidl)
{
	char text[MAILDROP_UIDL_OCTETS + 1];
	struct uidls_line line = uidls_line_of(kind, record, text);
	line.uidl = uidl;
	line.uidl_len = (uint8_t)strlen(uidl);
	/* Whose name says who he is may change what is in him; who shares it is known by that alone. */
	if (!record->shared)
		memset(line.digest, 0, sizeof(line.digest));
	if (uidls_write(adopt->lines, &line))
		return true;
	adopt->error = MAILDROP_PERM;
	return false;
}

static bool write_entry(struct adopt *adopt, const struct maildrop_adoption *entry)
{
	struct found found;
	char uidl[MAILDROP_UIDL_OCTETS + 1];
	adopt->error = snapshot_get(adopt->maildrop, entry->idx, &found);
	if (adopt->error != MAILDROP_OK)
		return false;
	record_uidl(&found.record, uidl);
	bool same = strcmp(uidl, entry->uidl) == 0;
	if (same && adopt->known[entry - adopt->entries])
		return true;
	/* Its old one must not go to another of the same content. */
	if (found.record.shared && !same && !write_line(adopt, UIDLS_GONE, &found.record, uidl))
		return false;
	return write_line(adopt, UIDLS_ADOPTED, &found.record, entry->uidl);
}

static bool write_entries(struct adopt *adopt)
{
	adopt->lines = uidls_writer_new(adopt->maildrop->mailbox);
	if (adopt->lines == NULL)
		adopt->error = MAILDROP_TEMP;
	for (uint32_t i = 0; i < adopt->count && adopt->error == MAILDROP_OK; i++)
		if (!write_entry(adopt, &adopt->entries[i]))
			break;
	if (adopt->error != MAILDROP_OK)
		uidls_writer_abort(&adopt->lines);
	else if (!uidls_writer_end(&adopt->lines))
		adopt->error = MAILDROP_PERM;
	return adopt->error == MAILDROP_OK;
}

/* What the index knows of UIDLs holds no longer. */
static void forget(struct adopt *adopt)
{
	struct maildrop *maildrop = adopt->maildrop;
	const struct index_update update = {.user = maildrop->user};
	maildrop->ended = true;
	if (maildrop->env != NULL && index_update(maildrop->env, &update) != INDEX_OK)
		adopt->error = MAILDROP_TEMP;
}

static void adopt_all(struct adopt *adopt)
{
	struct maildrop *maildrop = adopt->maildrop;
	if (!check_entries(adopt))
		return;
	if (maildrop->drop.count > 0)
		adopt->error = snapshot_walk(maildrop, 0, check_message, adopt);
	if (adopt->bad != NULL)
		adopt->error = MAILDROP_UIDL;
	if (adopt->error != MAILDROP_OK)
		return;
	int rc = uidls_read(maildrop->mailbox, check_line, adopt);
	if (adopt->error == MAILDROP_OK && rc != MAILDROP_GONE)
		adopt->error = rc;
	if (adopt->error == MAILDROP_OK && write_entries(adopt))
		forget(adopt);
}

int maildrop_adopt(
    struct maildrop *maildrop, const struct maildrop_adoption *entries, uint32_t count, uint32_t *bad_r)
{
	struct adopt adopt = {.maildrop = maildrop, .entries = entries, .count = count};
	if (maildrop->ended || maildrop->lock.shared)
		return MAILDROP_TEMP;
	if (maildrop->mailbox == NULL || maildrop->mailbox->home < 0)
		return MAILDROP_PERM;
	adopt.sorted = calloc((size_t)count + 1, sizeof(*adopt.sorted));
	adopt.named = calloc((size_t)maildrop->drop.count / 8 + 1, 1);
	adopt.known = calloc((size_t)count + 1, 1);
	adopt.error = MAILDROP_TEMP;
	if (adopt.sorted != NULL && adopt.named != NULL && adopt.known != NULL) {
		adopt.error = MAILDROP_OK;
		adopt_all(&adopt);
	}
	if (adopt.bad != NULL && bad_r != NULL)
		*bad_r = (uint32_t)(adopt.bad - entries);
	free(adopt.sorted);
	free(adopt.named);
	free(adopt.known);
	return adopt.error;
}
