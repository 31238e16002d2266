/* SPDX-License-Identifier: ISC */
/*
 * mbox_parse: where messages begin and end in an mbox, as pure code over what a reader gives.
 *
 * A message begins with a "From " line (mbox_from.h) at the beginning of the file or behind an empty line,
 * and ends before the empty line before the next one. What is sent of it, its content, is what lies between:
 * without the "From " line, and without that empty line. Lines that begin with ">From " stay as they are.
 *
 * Content-Length is a field that its sender may have written. It is believed only where it keeps a message
 * whole, namely when its body holds "From " lines that are doubtful anyway, no sure one, and ends just where
 * the next message begins or where the file ends. So it can hide no message.
 *
 * One pass, linear in the octets; only a doubtful line within a message that has a Content-Length is looked
 * at by a second reader, which never goes back either. No memory but the parser itself.
 */
#ifndef KPOPD_STORE_MBOX_PARSE_H
#define KPOPD_STORE_MBOX_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mbox_from.h"

#define MBOX_WINDOW_OCTETS 65536u
#define MBOX_SCOUT_OCTETS 8192u

/* As pread(2): 0 at the end of the file, -1 when it cannot be read. */
typedef ssize_t mbox_read_fn(void *arg, void *buf, size_t len, uint64_t offset);

/* What a piece of a message is. */
enum mbox_piece {
	MBOX_FROM = 0, /* the "From " line */
	MBOX_HEADER,
	MBOX_REWRITTEN, /* header fields that mail readers write and change (mbox_fields.h) */
	MBOX_BODY,      /* with the empty line before it */
};
/* Everything of a message in order, in pieces of any size. The content is all but MBOX_FROM. */
typedef void mbox_piece_fn(void *arg, enum mbox_piece piece, const void *buf, size_t len);

struct mbox_message {
	uint64_t start;  /* of the "From " line */
	uint64_t length; /* of the content */
	uint64_t end;    /* where the next one begins, or the file ends */
	bool internal;   /* a note of another mail reader to itself, as the first message: no mail */
};

struct mbox_window {
	uint64_t offset; /* of buf[at] in the file */
	size_t at, len, size;
	bool eof, failed;
	char *buf;
};

struct mbox_parser {
	mbox_read_fn *read;
	void *arg;
	mbox_piece_fn *piece;
	void *piece_arg;
	struct mbox_window window;
	/* The octets of the window just before at, all of one kind, that nobody was told of yet. */
	enum mbox_piece run_piece;
	size_t run_len;
	bool past_first;
	/* Of the message that is being read. */
	bool in_body, internal_subject, internal_field;
	bool claims;    /* it has a Content-Length */
	uint64_t claim; /* which says so; once the body is reached, where that ends it */
	enum { CLAIM_OPEN = 0, CLAIM_TRUE, CLAIM_FALSE } claim_state;
	/* The second reader: no sure message begins between where it began and where it is; or just there. */
	struct mbox_window scout;
	bool scouting, scout_found, scout_empty;
	char window_octets[MBOX_WINDOW_OCTETS];
	char scout_octets[MBOX_SCOUT_OCTETS];
};

/* Begins at from: 0, or where a message is thought to begin. parser is large, and must not be moved. */
void mbox_begin(struct mbox_parser *parser, mbox_read_fn *read, void *arg, uint64_t from);

enum mbox_next { MBOX_MESSAGE = 1, MBOX_END = 0, MBOX_FAILED = -1 };
/*
 * The next message; piece (may be NULL) is told its octets meanwhile. What comes before the first message is
 * passed over: message_r->start is then not where mbox_begin said.
 */
enum mbox_next mbox_next(
    struct mbox_parser *parser, mbox_piece_fn *piece, void *piece_arg, struct mbox_message *message_r);

#endif
