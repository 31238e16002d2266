/* SPDX-License-Identifier: ISC */
/*
 * base64: strict decoding in pieces, and encoding, for the lines of AUTH.
 *
 * For the session. RFC 5034 section 4: an octet outside the alphabet is an error, never skipped, and "="
 * stands at the end only. Unused bits must be zero, so that each value has one spelling.
 */
#ifndef KPOPD_SERVER_BASE64_H
#define KPOPD_SERVER_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialise one for each value. */
struct base64_decoder {
	uint32_t bits;
	uint8_t count; /* characters of the present group, "=" included */
	uint8_t pads;
	bool ended; /* a padded group is complete: nothing may follow */
	bool bad;
};

/* What decoding len characters can give at most, whatever was left over from the piece before. */
#define BASE64_DECODED_OCTETS(len) (((len) + 3) / 4 * 3)
#define BASE64_ENCODED_OCTETS(len) (((len) + 2) / 3 * 4)

/* Decodes a piece into out_r; returns the octets written. After an error it writes nothing more. */
size_t base64_decode(struct base64_decoder *decoder, const uint8_t *in, size_t len, uint8_t *out_r);
/* Whether the whole was base64. */
bool base64_decoded(const struct base64_decoder *decoder);
/* Encodes into out_r, which has BASE64_ENCODED_OCTETS(len); not NUL-terminated. Returns the octets written.
 */
size_t base64_encode(const uint8_t *in, size_t len, uint8_t *out_r);

#endif
