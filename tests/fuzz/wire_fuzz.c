/* SPDX-License-Identifier: ISC */
/*
 * The first octets choose the number of body lines and the sizes of the pieces, the rest is a message.
 * Encoded whole, it must be as long as announced, its only lone dot its last line, and in pieces it
 * must come out the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
	if (!holds)
		abort();
}

/* The whole message in pieces of at most in_step and out_step octets; returns what came out. */
static size_t encode(
    uint32_t lines, const uint8_t *in, size_t len, size_t in_step, size_t out_step, uint8_t *out)
{
	struct wire_encoder encoder = {.body_lines = lines};
	size_t taken = 0;
	size_t written = 0;
	while (taken < len && !encoder.done) {
		size_t some = len - taken < in_step ? len - taken : in_step;
		size_t used;
		size_t got = wire_encode(&encoder, in + taken, some, &used, out + written, out_step);
		check(got <= out_step && used <= some && (got > 0 || encoder.done));
		taken += used;
		written += got;
	}
	return written + wire_encode_end(&encoder, out + written);
}

/* What a client keeps of an answer: line by line, dots taken off; its length without the final ".CRLF". */
static size_t received(const uint8_t *out, size_t len)
{
	size_t octets = 0;
	size_t line = 0;
	for (size_t i = 1; i < len; i++) {
		if (out[i] != '\n' || out[i - 1] != '\r')
			continue;
		size_t line_len = i + 1 - line;
		if (out[line] == '.' && line_len == 3) {
			check(i + 1 == len);
			return octets;
		}
		octets += line_len - (out[line] == '.');
		line = i + 1;
	}
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;
	uint32_t lines = data[0] == 255 ? WIRE_WHOLE : data[0];
	size_t in_step = 1u + data[1];
	size_t out_step = 2u + data[2];
	data += 3;
	size -= 3;

	struct wire_count count = {0};
	for (size_t at = 0; at < size; at += in_step)
		wire_count_add(&count, data + at, size - at < in_step ? size - at : in_step);
	unsigned flags;
	uint64_t octets = wire_count_done(&count, &flags);

	size_t room = 2 * size + 300;
	uint8_t *whole = malloc(room);
	uint8_t *pieces = malloc(room);
	if (whole == NULL || pieces == NULL)
		abort();
	size_t whole_len = encode(WIRE_WHOLE, data, size, size + 1, room, whole);
	check(received(whole, whole_len) == octets);
	check(!(flags & WIRE_CRLF) || octets == size);
	check(!(flags & WIRE_NODOTS) || whole_len == octets + 3);
	size_t top_len = encode(lines, data, size, in_step, out_step, pieces);
	check(received(pieces, top_len) <= octets);
	check(top_len <= whole_len && memcmp(whole, pieces, top_len - 3) == 0);
	free(whole);
	free(pieces);
	return 0;
}
