/* SPDX-License-Identifier: ISC */
/*
 * The records of a client under a layer: sound ones, and whatever else. What comes out must be what the
 * client put into sound records, in their order, and nothing behind the first that is not sound.
 *
 * The first octet chooses the layer. Then steps of an octet each: its low two bits say what happens (octets
 * as they are, a sound record, one with a bit changed, a look), the others how much of the input is for it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/records.h"
#include "tests/sasl/layer_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STREAM_OCTETS 65536u

struct run {
	const uint8_t *data;
	size_t left;
	struct layer_peer peer;
	struct records *records;
	uint8_t sent[STREAM_OCTETS], text[STREAM_OCTETS]; /* what the client sent; what of it is sound */
	size_t sent_len, received, text_len, taken;
	bool sound; /* so far */
};

static void must(bool good)
{
	if (!good)
		abort();
}

static size_t take_input(struct run *r, size_t want, const uint8_t **octets_r)
{
	size_t len = want < r->left ? want : r->left;

	*octets_r = r->data;
	r->data += len;
	r->left -= len;
	return len;
}

static void client(struct run *r, unsigned what, size_t much)
{
	const uint8_t *octets;
	size_t len = take_input(r, much, &octets), room = STREAM_OCTETS - r->sent_len, made;

	if (room < len + 4 + LAYER_OVERHEAD_OCTETS)
		return;
	if (what == 0) {
		memcpy(r->sent + r->sent_len, octets, len);
		r->sent_len += len;
		r->sound = r->sound && len == 0;
		return;
	}
	made = layer_peer_record(&r->peer, octets, len, r->sent + r->sent_len);
	if (what == 2) {
		r->sent[r->sent_len + much * 7 % made] ^= (uint8_t)(1u << much % 8);
		r->sound = false;
	}
	if (r->sound) {
		memcpy(r->text + r->text_len, octets, len);
		r->text_len += len;
	}
	r->sent_len += made;
}

/* As stream.c does it: octets are asked for when nothing is pending. */
static bool look(struct run *r, size_t size)
{
	uint8_t octets[64], *at;
	const char *why = NULL;
	size_t room, len;

	if (!records_pending(r->records)) {
		len = r->sent_len - r->received;
		at = records_room(r->records, &room);
		must(at != NULL && room > 0);
		len = len < room ? len : room;
		len = len < size * 16 ? len : size * 16;
		memcpy(at, r->sent + r->received, len);
		records_received(r->records, len);
		r->received += len;
	}
	len = records_take(r->records, octets, size, &why);
	must(len <= size && len <= r->text_len - r->taken);
	must(len == 0 || memcmp(octets, r->text + r->taken, len) == 0);
	must(why == NULL || (!r->sound && len == 0));
	r->taken += len;
	return why == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer nothing = {0}, neither = {0};
	struct layer *layer;
	struct run *r;
	bool open = true;

	if (size == 0 || (r = calloc(1, sizeof(*r))) == NULL)
		return 0;
	*r = (struct run){.data = data + 1, .left = size - 1, .sound = true};
	layer = layer_peer_begin(&r->peer, (data[0] & 1) != 0 ? LAYER_CONFIDENTIALITY : LAYER_INTEGRITY,
	    17 + (data[0] >> 1 & 3), 65536);
	r->records = records_new(layer, &nothing, &neither);
	must(r->records != NULL);
	while (open && r->left > 0) {
		uint8_t step = *r->data++;

		r->left--;
		if ((step & 3) == 3)
			open = look(r, (size_t)(step >> 2) + 1);
		else
			client(r, step & 3, step >> 2);
	}
	for (size_t i = 0; open && i < 2 * STREAM_OCTETS && r->sound && r->taken < r->text_len; i++)
		open = look(r, 64);
	must(!r->sound || r->taken == r->text_len);
	records_free(&r->records);
	free(r);
	return 0;
}
