/* SPDX-License-Identifier: ISC */
#include "server/records.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "server/limits.h"

#define LENGTH_OCTETS 4u
/* Ordinary commands fit, also some in one record. */
#define RAW_BEGIN_OCTETS 1024u
#define RAW_OCTETS (LENGTH_OCTETS + LAYER_RECEIVE_OCTETS)

struct records {
	struct layer *layer;
	struct buffer raw; /* as it came; its first record is a text once it was taken apart */
	size_t text_at;    /* from the start of raw */
	size_t text_len;
	size_t record_len; /* of the record that text lies in; 0: none was taken apart */
	struct buffer out; /* as it goes */
	const char *why;   /* not NULL: the end */
};

struct records *records_new(struct layer *layer, struct buffer *in, struct buffer *out)
{
	struct records *records = calloc(1, sizeof(*records));

	if (records == NULL)
		return NULL;
	records->layer = layer;
	records->raw = *in;
	records->out = *out;
	*in = *out = (struct buffer){0};
	return records;
}

void records_free(struct records **records)
{
	if (*records == NULL)
		return;
	layer_free(&(*records)->layer);
	buffer_release(&(*records)->raw);
	buffer_release(&(*records)->out);
	free(*records);
	*records = NULL;
}

uint8_t *records_room(struct records *records, size_t *room_r)
{
	struct buffer *raw = &records->raw;
	size_t size = raw->size == 0 ? RAW_BEGIN_OCTETS : raw->size * 2;

	*room_r = 0;
	if (buffer_room(raw) == 0)
		buffer_compact(raw);
	/* It is full of the beginning of one record, whose length was looked at. */
	if (buffer_room(raw) == 0 && buffer_resize(raw, size < RAW_OCTETS ? size : RAW_OCTETS) != 0)
		return NULL;
	*room_r = buffer_room(raw);
	return buffer_end(raw);
}

void records_received(struct records *records, size_t len)
{
	buffer_added(&records->raw, len);
}

/* The length that the first record claims. false: not all of it is here. */
static bool claimed(const struct buffer *raw, size_t *len_r)
{
	const uint8_t *at;

	if (raw->len < LENGTH_OCTETS)
		return false;
	at = raw->octets + raw->start;
	*len_r = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
	return true;
}

bool records_pending(const struct records *records)
{
	size_t len;

	if (records->why != NULL || records->record_len > 0)
		return true;
	if (!claimed(&records->raw, &len))
		return false;
	return len == 0 || len > LAYER_RECEIVE_OCTETS || records->raw.len >= LENGTH_OCTETS + len;
}

bool records_partial(const struct records *records)
{
	return records->raw.len > 0;
}

/* The first record becomes a text. false: it is not whole yet, or unsound. */
static bool unwrap(struct records *records)
{
	struct buffer *raw = &records->raw;
	enum layer_err err;
	size_t len;

	if (!claimed(raw, &len))
		return false;
	if (len == 0 || len > LAYER_RECEIVE_OCTETS) {
		records->why = "a record of an impossible length";
		return false;
	}
	if (raw->len < LENGTH_OCTETS + len)
		return false;
	err = layer_unwrap(records->layer, raw->octets + raw->start + LENGTH_OCTETS, len, &records->text_at,
	    &records->text_len);
	if (err == LAYER_OK) {
		records->text_at += LENGTH_OCTETS;
		records->record_len = LENGTH_OCTETS + len;
		return true;
	}
	records->why = err == LAYER_ORDER ? "a record that was replayed, or that others are missing before"
		       : err == LAYER_BAD ? "a record that the client did not make so"
					  : "no memory";
	return false;
}

static void drop_record(struct records *records)
{
	struct buffer *raw = &records->raw;

	OPENSSL_cleanse(raw->octets + raw->start, records->record_len);
	buffer_drop(raw, records->record_len);
	records->record_len = 0;
	if (raw->len == 0)
		buffer_release(raw);
}

size_t records_take(struct records *records, uint8_t *octets, size_t size, const char **why_r)
{
	size_t done = 0;

	while (records->why == NULL && done < size && (records->record_len > 0 || unwrap(records))) {
		const uint8_t *text = records->raw.octets + records->raw.start + records->text_at;
		size_t len = size - done < records->text_len ? size - done : records->text_len;

		if (len > 0)
			memcpy(octets + done, text, len);
		done += len;
		records->text_at += len;
		records->text_len -= len;
		if (records->text_len == 0)
			drop_record(records);
	}
	*why_r = done == 0 ? records->why : NULL;
	return done;
}

/* A record of as much of plain as the client takes at once, and we care to keep. */
static int seal(struct records *records, struct buffer *plain)
{
	struct buffer *out = &records->out;
	size_t limit = layer_wrap_limit(records->layer, LIMIT_RECORD_OCTETS);
	size_t text = plain->len < limit ? plain->len : limit, len;
	uint8_t *at;

	if (limit == 0 || (out->size < LENGTH_OCTETS + LIMIT_RECORD_OCTETS &&
			      buffer_resize(out, LENGTH_OCTETS + LIMIT_RECORD_OCTETS) != 0))
		return -1;
	at = buffer_end(out);
	if (layer_wrap(records->layer, plain->octets + plain->start, text, at + LENGTH_OCTETS,
		LIMIT_RECORD_OCTETS, &len) != LAYER_OK)
		return -1;
	for (size_t i = 0; i < LENGTH_OCTETS; i++)
		at[i] = (uint8_t)(len >> 8 * (LENGTH_OCTETS - 1 - i));
	buffer_added(out, LENGTH_OCTETS + len);
	buffer_drop(plain, text);
	return 0;
}

const uint8_t *records_to_send(
    struct records *records, struct buffer *plain, size_t *len_r, const char **why_r)
{
	struct buffer *out = &records->out;

	*len_r = 0;
	*why_r = NULL;
	if (out->len == 0 && plain->len == 0) {
		buffer_release(out);
		return NULL;
	}
	if (out->len == 0 && seal(records, plain) != 0) {
		*why_r = "no memory";
		return NULL;
	}
	*len_r = out->len;
	return out->octets + out->start;
}

void records_sent(struct records *records, size_t len)
{
	buffer_drop(&records->out, len);
}

size_t records_unsent(const struct records *records)
{
	return records->out.len;
}
