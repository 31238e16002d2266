/* SPDX-License-Identifier: ISC */
#include "server/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The value of a character, or -1. By arithmetic, not by table: the text may be a password. */
static int value_of(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

static void take(struct base64_decoder *decoder, uint8_t c)
{
	int value = value_of(c);
	if (c == '=' && decoder->count >= 2)
		decoder->pads++;
	else if (value < 0 || decoder->pads > 0)
		decoder->bad = true;
	if (decoder->ended)
		decoder->bad = true;
	decoder->bits = decoder->bits << 6 | (value < 0 ? 0 : (uint32_t)value);
	decoder->count++;
}

static size_t end_group(struct base64_decoder *decoder, uint8_t *out)
{
	uint32_t bits = decoder->bits;
	size_t len = 3u - decoder->pads;
	if (decoder->pads > 0 && (bits & (decoder->pads == 1 ? 0xFFu : 0xFFFFu)) != 0) {
		decoder->bad = true;
		return 0;
	}
	out[0] = (uint8_t)(bits >> 16);
	if (len > 1)
		out[1] = (uint8_t)(bits >> 8);
	if (len > 2)
		out[2] = (uint8_t)bits;
	decoder->ended = decoder->pads > 0;
	decoder->bits = 0;
	decoder->count = 0;
	return len;
}

size_t base64_decode(struct base64_decoder *decoder, const uint8_t *in, size_t len, uint8_t *out_r)
{
	size_t written = 0;
	for (size_t i = 0; i < len; i++) {
		take(decoder, in[i]);
		if (decoder->bad)
			break;
		if (decoder->count == 4)
			written += end_group(decoder, out_r + written);
	}
	return written;
}

bool base64_decoded(const struct base64_decoder *decoder)
{
	return !decoder->bad && decoder->count == 0;
}

size_t base64_encode(const uint8_t *in, size_t len, uint8_t *out_r)
{
	size_t written = 0;
	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t bits = (uint32_t)in[i] << 16;
		bits |= left > 1 ? (uint32_t)in[i + 1] << 8 : 0;
		bits |= left > 2 ? (uint32_t)in[i + 2] : 0;
		out_r[written++] = (uint8_t)alphabet[bits >> 18];
		out_r[written++] = (uint8_t)alphabet[bits >> 12 & 63];
		out_r[written++] = left > 1 ? (uint8_t)alphabet[bits >> 6 & 63] : '=';
		out_r[written++] = left > 2 ? (uint8_t)alphabet[bits & 63] : '=';
	}
	return written;
}
