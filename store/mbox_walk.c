/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mbox_private.h"

/* A "From " line's time zone is anybody's guess, but it is a multiple of this. */
#define ZONE_SECS 900
#define RECENT_SECS 3

struct reading {
	struct mbox_parser parser;
	struct mbox_digest digest;
	bool recent;
	mbox_piece_fn *piece;
	void *piece_arg;
};

/* The time of day that is written here as hh:mm:ss, as far as zones do not change it; -1: none. */
static int seconds_at(const char *text)
{
	static const char form[] = "dd:dd:dd";
	for (int i = 0; form[i] != 0; i++)
		if (form[i] == ':' ? text[i] != ':' : text[i] < '0' || text[i] > '9')
			return -1;
	int minutes = (text[3] - '0') * 10 + (text[4] - '0');
	int secs = (text[6] - '0') * 10 + (text[7] - '0');
	return (minutes * 60 + secs) % ZONE_SECS;
}

/* A line without a time is as good as recent. */
static bool is_recent(const char *line, size_t len)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	for (size_t i = 0; i + 8 <= len; i++) {
		int secs = seconds_at(line + i);
		if (secs < 0)
			continue;
		int since = (int)((now.tv_sec + 2 * ZONE_SECS - secs) % ZONE_SECS);
		return since <= RECENT_SECS || since >= ZONE_SECS - RECENT_SECS;
	}
	return true;
}

static void take_piece(void *arg, enum mbox_piece piece, const void *buf, size_t len)
{
	struct reading *reading = arg;
	if (piece == MBOX_FROM)
		reading->recent = is_recent(buf, len);
	mbox_digest_add(&reading->digest, piece, buf, len);
	if (reading->piece != NULL)
		reading->piece(reading->piece_arg, piece, buf, len);
}

static enum mbox_next read_next(struct reading *reading, struct mbox_entry *entry_r)
{
	mbox_digest_begin(&reading->digest);
	enum mbox_next next = mbox_next(&reading->parser, take_piece, reading, &entry_r->message);
	if (next != MBOX_MESSAGE)
		return next;
	entry_r->recent = reading->recent;
	if (!mbox_digest_end(&reading->digest, entry_r->id.digest, &entry_r->octets, &entry_r->flags)) {
		errno = ENOMEM;
		return MBOX_FAILED;
	}
	return MBOX_MESSAGE;
}

static struct reading *reading_new(mbox_read_fn *read, void *arg, uint64_t from)
{
	struct reading *reading = malloc(sizeof(*reading));
	if (reading == NULL || !mbox_digest_init(&reading->digest)) {
		free(reading);
		errno = ENOMEM;
		return NULL;
	}
	mbox_begin(&reading->parser, read, arg, from);
	reading->recent = false;
	reading->piece = NULL;
	reading->piece_arg = NULL;
	return reading;
}

static void reading_free(struct reading *reading)
{
	mbox_digest_clear(&reading->digest);
	free(reading);
}

static int walk_on(struct mbox_walk *walk, struct reading *reading)
{
	struct mbox_entry entry;
	enum mbox_next next;
	bool first = true;
	while ((next = read_next(reading, &entry)) == MBOX_MESSAGE) {
		if (first)
			walk->start = entry.message.start;
		first = false;
		walk->end = entry.message.end;
		if (entry.message.internal)
			continue;
		if (!mbox_copies_next(walk->copies, &entry.id)) {
			errno = ENOMEM;
			return MAILDROP_TEMP;
		}
		int rc = walk->fn(walk->arg, &entry);
		if (rc != 0)
			return rc;
	}
	if (first)
		walk->start = walk->end = reading->parser.window.offset;
	return next == MBOX_END ? MAILDROP_OK : MAILDROP_TEMP;
}

int mbox_walk(struct mbox_walk *walk)
{
	struct reading *reading = reading_new(walk->read, walk->read_arg, 0);
	if (reading == NULL)
		return MAILDROP_TEMP;
	int rc = walk_on(walk, reading);
	int error = errno;
	reading_free(reading);
	errno = error;
	return rc;
}

int mbox_read_message(struct mbox *mbox, const struct record *record, mbox_piece_fn *piece, void *piece_arg,
    struct mbox_entry *entry_r)
{
	struct mbox_id id;
	if (!mbox_id_parse(record->name, record->name_len, &id))
		return MAILDROP_GONE;
	struct reading *reading = reading_new(mbox_file_read, &mbox->file, record->offset);
	if (reading == NULL)
		return MAILDROP_TEMP;
	reading->piece = piece;
	reading->piece_arg = piece_arg;
	enum mbox_next next = read_next(reading, entry_r);
	int error = errno;
	reading_free(reading);
	errno = error;
	if (next == MBOX_FAILED)
		return MAILDROP_TEMP;
	bool same = next == MBOX_MESSAGE && entry_r->message.start == record->offset &&
		    memcmp(entry_r->id.digest, id.digest, sizeof(id.digest)) == 0;
	entry_r->id.ordinal = id.ordinal;
	return same ? MAILDROP_OK : MAILDROP_GONE;
}
