/* SPDX-License-Identifier: ISC */
#include "mbox_parse.h"

#include <errno.h>
#include <string.h>

#include "mbox_fields.h"

/* Enough to know whether a message ends at the empty line that begins here. */
#define LOOK_OCTETS (2u + MBOX_FROM_LOOK_OCTETS)
_Static_assert(LOOK_OCTETS * 4 < MBOX_SCOUT_OCTETS, "a window holds what is looked at, and more");

static void flush(struct mbox_parser *parser)
{
	size_t len = parser->run_len;
	parser->run_len = 0;
	if (len > 0 && parser->piece != NULL)
		parser->piece(
		    parser->piece_arg, parser->run_piece, parser->window.buf + parser->window.at - len, len);
}

static const char *here(const struct mbox_window *window)
{
	return window->buf + window->at;
}

static size_t have(const struct mbox_window *window)
{
	return window->len - window->at;
}

/* Makes want octets available, or all up to the end of the file. Returns how many there are. */
static size_t fill(struct mbox_parser *parser, struct mbox_window *window, size_t want)
{
	if (have(window) >= want || window->eof)
		return have(window);
	if (window == &parser->window)
		flush(parser);
	memmove(window->buf, here(window), have(window));
	window->len -= window->at;
	window->at = 0;
	while (window->len < want && !window->eof && !window->failed) {
		ssize_t got = parser->read(parser->arg, window->buf + window->len, window->size - window->len,
		    window->offset + window->len);
		if (got < 0 && errno == EINTR)
			continue;
		window->failed = got < 0;
		window->eof = got == 0;
		if (got > 0)
			window->len += (size_t)got;
	}
	return window->len;
}

static void advance(struct mbox_window *window, size_t len)
{
	window->at += len;
	window->offset += len;
}

static void reset(struct mbox_window *window, uint64_t offset)
{
	window->offset = offset;
	window->at = window->len = 0;
	window->eof = false;
}

/* Takes the octets up to the end of the line, of which the first are there. */
static void take_line(struct mbox_parser *parser, enum mbox_piece piece)
{
	struct mbox_window *window = &parser->window;
	if (piece != parser->run_piece)
		flush(parser);
	parser->run_piece = piece;
	while (have(window) > 0) {
		const char *lf = memchr(here(window), '\n', have(window));
		size_t len = lf != NULL ? (size_t)(lf + 1 - here(window)) : have(window);
		advance(window, len);
		parser->run_len += len;
		if (lf != NULL)
			return;
		fill(parser, window, 1);
	}
}

/* The same for octets that nobody is told of. */
static void skip_line(struct mbox_parser *parser, struct mbox_window *window)
{
	while (have(window) > 0) {
		const char *lf = memchr(here(window), '\n', have(window));
		advance(window, lf != NULL ? (size_t)(lf + 1 - here(window)) : have(window));
		if (lf != NULL)
			return;
		fill(parser, window, 1);
	}
}

/* ---- Content-Length ---- */

/* Whether a sure message begins between at, where a line begins, and end. */
static bool message_between(struct mbox_parser *parser, uint64_t at, uint64_t end)
{
	struct mbox_window *scout = &parser->scout;
	if (at > scout->offset || !parser->scouting) {
		reset(scout, at);
		parser->scouting = true;
		parser->scout_found = parser->scout_empty = false;
	}
	while (!parser->scout_found && scout->offset < end) {
		size_t len = fill(parser, scout, MBOX_FROM_LOOK_OCTETS);
		if (len == 0)
			break;
		if (parser->scout_empty && mbox_from_look(here(scout), len) == MBOX_FROM_SURE) {
			parser->scout_found = true;
			break;
		}
		parser->scout_empty = mbox_from_empty(here(scout), len) > 0;
		skip_line(parser, scout);
	}
	return parser->scout_found && scout->offset < end;
}

/* Whether the file ends at offset, or a message there: before or behind the empty line that ends it. */
static bool ends_at(struct mbox_parser *parser, uint64_t offset)
{
	char buf[3 + LOOK_OCTETS];
	size_t before = offset < 3 ? (size_t)offset : 3;
	size_t len = 0;
	while (len < before + LOOK_OCTETS) {
		ssize_t got =
		    parser->read(parser->arg, buf + len, before + LOOK_OCTETS - len, offset - before + len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			parser->window.failed = true;
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	if (len <= before)
		return len == before;
	const char *text = buf + before;
	len -= before;
	if (before > 0 && text[-1] != '\n')
		return false;
	size_t empty = mbox_from_empty(text, len);
	bool emptied =
	    before >= 2 && (text[-2] == '\n' || (before == 3 && text[-2] == '\r' && text[-3] == '\n'));
	return len == empty ||
	       ((empty > 0 || emptied) && mbox_from_look(text + empty, len - empty) != MBOX_FROM_NOT);
}

/* Whether the doubtful line at offset is within the body that the message's Content-Length tells of. */
static bool claimed(struct mbox_parser *parser, uint64_t offset)
{
	if (!parser->claims || offset >= parser->claim)
		return false;
	if (parser->claim_state == CLAIM_OPEN)
		parser->claim_state =
		    ends_at(parser, parser->claim) && !message_between(parser, offset, parser->claim)
			? CLAIM_TRUE
			: CLAIM_FALSE;
	return parser->claim_state == CLAIM_TRUE;
}

/* ---- one message ---- */

/* A header field begins here. */
static enum mbox_piece field(struct mbox_parser *parser, const char *text, size_t len)
{
	size_t name_len;
	if (!mbox_from_field(text, len, &name_len))
		return MBOX_HEADER;
	const char *colon = memchr(text + name_len, ':', len - name_len);
	const char *value = colon + 1;
	size_t value_len = len - (size_t)(value - text);
	enum mbox_field field = mbox_field(text, name_len);
	switch (field) {
	case MBOX_FIELD_LENGTH:
		parser->claims = mbox_field_length(value, value_len, &parser->claim);
		break;
	case MBOX_FIELD_SUBJECT:
		parser->internal_subject = mbox_field_internal(value, value_len);
		break;
	case MBOX_FIELD_IMAP:
		parser->internal_field = true;
		break;
	case MBOX_FIELD_REWRITTEN:
	case MBOX_FIELD_OTHER:
		break;
	}
	return field == MBOX_FIELD_OTHER || field == MBOX_FIELD_SUBJECT ? MBOX_HEADER : MBOX_REWRITTEN;
}

/* The header has ended: what was a length is an offset from here on. */
static void begin_body(struct mbox_parser *parser, uint64_t offset)
{
	parser->in_body = true;
	if (__builtin_add_overflow(parser->claim, offset, &parser->claim))
		parser->claims = false;
}

/* Whether the message ends with the empty line of that many octets that is next. */
static bool ends_here(struct mbox_parser *parser, size_t empty)
{
	struct mbox_window *window = &parser->window;
	size_t rest = have(window) - empty;
	if (rest == 0)
		return true;
	switch (mbox_from_look(here(window) + empty, rest)) {
	case MBOX_FROM_NOT:
		return false;
	case MBOX_FROM_DOUBTFUL:
		return !claimed(parser, window->offset + empty);
	case MBOX_FROM_SURE:
		break;
	}
	return true;
}

/* The content, from behind the "From " line; returns the length of the empty line behind it, still to be
 * taken. */
static size_t take_content(struct mbox_parser *parser)
{
	struct mbox_window *window = &parser->window;
	enum mbox_piece piece = MBOX_HEADER;
	size_t len;
	while ((len = fill(parser, window, LOOK_OCTETS)) > 0) {
		const char *text = here(window);
		size_t empty = mbox_from_empty(text, len);
		if (empty > 0) {
			if (!parser->in_body)
				begin_body(parser, window->offset + empty);
			if (ends_here(parser, empty))
				return empty;
		}
		if (parser->in_body)
			piece = MBOX_BODY;
		else if (*text != ' ' && *text != '\t')
			piece = field(parser, text, len);
		take_line(parser, piece);
	}
	return 0;
}

/* Passes over what is no message. Whether there is one. */
static bool find_message(struct mbox_parser *parser)
{
	struct mbox_window *window = &parser->window;
	bool may_begin = true;
	size_t len;
	while ((len = fill(parser, window, MBOX_FROM_LOOK_OCTETS)) > 0) {
		if (may_begin && mbox_from_look(here(window), len) != MBOX_FROM_NOT)
			return true;
		may_begin = mbox_from_empty(here(window), len) > 0;
		skip_line(parser, window);
	}
	return false;
}

void mbox_begin(struct mbox_parser *parser, mbox_read_fn *read, void *arg, uint64_t from)
{
	parser->read = read;
	parser->arg = arg;
	parser->piece = NULL;
	parser->piece_arg = NULL;
	parser->run_len = 0;
	parser->run_piece = MBOX_FROM;
	/* Only the file's first message may be internal. */
	parser->past_first = from > 0;
	parser->scouting = false;
	parser->window =
	    (struct mbox_window){.size = sizeof(parser->window_octets), .buf = parser->window_octets};
	parser->scout =
	    (struct mbox_window){.size = sizeof(parser->scout_octets), .buf = parser->scout_octets};
	reset(&parser->window, from);
}

enum mbox_next mbox_next(
    struct mbox_parser *parser, mbox_piece_fn *piece, void *piece_arg, struct mbox_message *message_r)
{
	static const char daemon[] = "From MAILER-DAEMON ";
	struct mbox_window *window = &parser->window;
	parser->piece = piece;
	parser->piece_arg = piece_arg;
	if (!find_message(parser))
		return window->failed ? MBOX_FAILED : MBOX_END;
	bool first = !parser->past_first;
	bool by_daemon = memcmp(here(window), daemon, sizeof(daemon) - 1) == 0;
	parser->past_first = true;
	parser->in_body = parser->claims = parser->internal_subject = parser->internal_field = false;
	parser->claim = 0;
	parser->claim_state = CLAIM_OPEN;
	message_r->start = window->offset;
	take_line(parser, MBOX_FROM);
	uint64_t content = window->offset;
	size_t empty = take_content(parser);
	flush(parser);
	message_r->length = window->offset - content;
	advance(window, empty);
	message_r->end = window->offset;
	message_r->internal = first && by_daemon && parser->internal_subject && parser->internal_field;
	return window->failed || parser->scout.failed ? MBOX_FAILED : MBOX_MESSAGE;
}
