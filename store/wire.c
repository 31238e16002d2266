/* SPDX-License-Identifier: ISC */
#include "wire.h"

#include <string.h>

/*
 * Counting looks at each octet and the one before it, so it has no branches and the compiler turns a
 * block of fixed size into vector code. The sum of a block fits an octet: BLOCK_OCTETS < 256.
 */
#define BLOCK_OCTETS 128u

struct tally {
	uint64_t bare_lfs;
	unsigned dots;
};

static void tally_block(struct tally *tally, const uint8_t *p)
{
	uint8_t bare = 0;
	uint8_t dots = 0;
	for (size_t i = 0; i < BLOCK_OCTETS; i++) {
		uint8_t before = p[(ptrdiff_t)i - 1];
		bare = (uint8_t)(bare + ((p[i] == '\n') & (before != '\r')));
		dots = (uint8_t)(dots | ((p[i] == '.') & (before == '\n')));
	}
	tally->bare_lfs += bare;
	tally->dots |= dots;
}

static void tally_octet(struct tally *tally, uint8_t octet, uint8_t before)
{
	tally->bare_lfs += (octet == '\n') & (before != '\r');
	tally->dots |= (octet == '.') & (before == '\n');
}

void wire_count_add(struct wire_count *count, const void *buf, size_t len)
{
	if (len == 0)
		return;
	const uint8_t *p = buf;
	struct tally tally = {0};
	/* A message begins as if a line had just ended, but its first LF has no CR before it. */
	uint8_t before = count->started ? count->last : '\n';
	tally_octet(&tally, p[0], before);
	size_t i = 1;
	for (; len - i >= BLOCK_OCTETS; i += BLOCK_OCTETS)
		tally_block(&tally, p + i);
	for (; i < len; i++)
		tally_octet(&tally, p[i], p[i - 1]);
	count->octets += len + tally.bare_lfs;
	count->bare_lf |= tally.bare_lfs != 0;
	count->dot |= tally.dots != 0;
	count->last = p[len - 1];
	count->started = true;
}

uint64_t wire_count_done(struct wire_count *count, unsigned *flags_r)
{
	bool open_line = count->started && count->last != '\n';
	*flags_r = (count->bare_lf || open_line ? 0u : WIRE_CRLF) | (count->dot ? 0u : WIRE_NODOTS);
	return count->octets + (open_line ? 2 : 0);
}

/* The octets of one call to wire_encode. */
struct pass {
	const uint8_t *in;
	size_t len, used;
	uint8_t *out;
	size_t size, written;
};

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t room(const struct pass *pass)
{
	return pass->size - pass->written;
}

static bool at_line_start(const struct wire_encoder *encoder)
{
	return !encoder->started || encoder->last == '\n';
}

static void copy(struct wire_encoder *encoder, struct pass *pass, size_t len)
{
	if (len == 0)
		return;
	memcpy(pass->out + pass->written, pass->in + pass->used, len);
	pass->used += len;
	pass->written += len;
	encoder->last = pass->in[pass->used - 1];
	encoder->started = true;
}

/* A line has ended: was it the header's end, or the last one TOP wants? */
static void line_ended(struct wire_encoder *encoder, bool blank)
{
	if (!encoder->in_body) {
		encoder->in_body = blank;
		encoder->done = blank && encoder->body_lines == 0;
	} else if (encoder->body_lines != WIRE_WHOLE) {
		encoder->done = --encoder->body_lines == 0;
	}
}

/* Takes the octets up to the next LF, or what there is and fits. */
static void encode_text(struct wire_encoder *encoder, struct pass *pass, size_t len)
{
	if (len == 0)
		return;
	bool first = at_line_start(encoder);
	uint8_t octet = pass->in[pass->used];
	if (first && octet == '.')
		pass->out[pass->written++] = '.';
	encoder->line_empty = first && len == 1 && octet == '\r';
	copy(encoder, pass, len);
}

/* Takes the LF that is next. Returns false when there is no room for it. */
static bool encode_line_end(struct wire_encoder *encoder, struct pass *pass)
{
	bool bare = !encoder->started || encoder->last != '\r';
	if (room(pass) < (bare ? 2u : 1u))
		return false;
	bool blank = at_line_start(encoder) || encoder->line_empty;
	if (bare)
		pass->out[pass->written++] = '\r';
	copy(encoder, pass, 1);
	line_ended(encoder, blank);
	return true;
}

/* Up to one whole line. Returns false when more room is needed. */
static bool encode_line(struct wire_encoder *encoder, struct pass *pass)
{
	const uint8_t *from = pass->in + pass->used;
	size_t space = room(pass);
	if (*from == '.' && at_line_start(encoder)) {
		if (space < 2)
			return false;
		space--;
	}
	size_t len = smaller(pass->len - pass->used, space);
	const uint8_t *lf = memchr(from, '\n', len);
	encode_text(encoder, pass, lf != NULL ? (size_t)(lf - from) : len);
	return lf == NULL || encode_line_end(encoder, pass);
}

size_t wire_encode(
    struct wire_encoder *encoder, const void *in, size_t len, size_t *used_r, void *out, size_t size)
{
	struct pass pass = {.in = in, .len = len, .out = out, .size = size};
	const unsigned ready = WIRE_CRLF | WIRE_NODOTS;
	if (encoder->body_lines == WIRE_WHOLE && (encoder->flags & ready) == ready)
		copy(encoder, &pass, smaller(len, size));
	while (!encoder->done && pass.used < len && room(&pass) > 0)
		if (!encode_line(encoder, &pass))
			break;
	*used_r = pass.used;
	return pass.written;
}

size_t wire_encode_end(struct wire_encoder *encoder, void *out)
{
	static const char end[] = "\r\n.\r\n";
	size_t skip = at_line_start(encoder) ? 2 : 0;
	memcpy(out, end + skip, 5 - skip);
	return 5 - skip;
}
