/* SPDX-License-Identifier: ISC */
/*
 * wire: how a stored message looks on the wire of POP3, as pure code over bytes.
 *
 * For the store, which must know a message's exact size before anybody fetches it, and for the
 * front, which sends it. Both count the same way because both are here. Nothing allocates, nothing
 * fails, nothing looks at what the octets mean beyond line ends, dots and the first blank line.
 *
 * Line ends: CRLF stays, a bare LF becomes CRLF, a bare CR is an octet like any other, and a last
 * line without an end gets one (RFC 1939 section 11: sizes count every line end as CRLF; stuffed
 * dots are not counted).
 */
#ifndef KPOPD_STORE_WIRE_H
#define KPOPD_STORE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is known of a message's octets; zero knows nothing. */
enum {
	WIRE_CRLF = 1 << 0,   /* every line ends in CRLF, the last one too: octets == length */
	WIRE_NODOTS = 1 << 1, /* no line begins with a dot: nothing needs stuffing */
};

/* Counts a message as it passes by in pieces of any size. Zero-initialise, add, then done. */
struct wire_count {
	uint64_t octets;
	uint8_t last; /* last octet seen */
	bool started; /* an octet was seen */
	bool bare_lf; /* some LF had no CR before it */
	bool dot;     /* some line began with a dot */
};

void wire_count_add(struct wire_count *, const void *buf, size_t len);
/* The size in octets that STAT and LIST announce; *flags_r gets WIRE_ flags. Call once, at the end. */
uint64_t wire_count_done(struct wire_count *, unsigned *flags_r);

#define WIRE_WHOLE UINT32_MAX /* all body lines: RETR */

/*
 * Encodes a message for sending: line ends, stuffed dots, and TOP's limit of body lines.
 * One value a message; zero-initialise, then set body_lines, and flags where they are known.
 */
struct wire_encoder {
	uint32_t body_lines; /* lines of the body still wanted; WIRE_WHOLE for all */
	unsigned flags;      /* WIRE_ flags already known; 0 is always right, both make RETR one copy */
	uint8_t last;        /* last octet taken */
	bool started;
	bool in_body;
	bool line_empty; /* header: nothing but one CR since the line began */
	bool done;       /* TOP has all it asked for: call wire_encode_end next */
};

/*
 * Takes octets from in and writes encoded ones to out until either is used up or the encoder is
 * done. *used_r octets were taken; returns the octets written, at most size. A call with room for
 * two octets or more and input left always makes progress unless done is set.
 */
size_t wire_encode(struct wire_encoder *, const void *in, size_t len, size_t *used_r, void *out, size_t size);
/* The end: a missing CRLF, then ".CRLF". out has room for 5 octets. Returns the octets written. */
size_t wire_encode_end(struct wire_encoder *, void *out);

#endif
