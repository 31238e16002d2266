/* SPDX-License-Identifier: ISC */
/*
 * Long answers, piece by piece as the client takes them. A piece of a list is asked for only when the one
 * before has been written, and a message is read only as far as there is room for it.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/session_private.h"
#include "store/beneath.h"

/* "1048576 " and the longest UIDL or size, CRLF, NUL. */
#define ENTRY_LINE_OCTETS (8u + MAILDROP_UIDL_OCTETS + 3u)
#define READ_OCTETS 16384u

void multiline_clear(struct session *session)
{
	struct octets_stream *octets = &session->octets_stream;
	if (octets->octets != NULL)
		OPENSSL_cleanse(octets->octets, octets->len);
	free(octets->octets);
	*octets = (struct octets_stream){.octets = NULL};
	free(session->listing.entries);
	session->listing = (struct listing_stream){.entries = NULL};
	if (session->message.fd >= 0)
		close(session->message.fd);
	session->message = (struct message_stream){.fd = -1};
	session->stream = STREAM_NONE;
}

/* The answer is whole: the idle time begins now, for the client could not say anything before. */
static enum outcome finish(struct session *session, enum outcome after)
{
	multiline_clear(session);
	session->since = session->now;
	return after;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

enum outcome multiline_octets(struct session *session, uint8_t *octets, size_t len, enum outcome after)
{
	session->octets_stream = (struct octets_stream){.octets = octets, .len = len, .after = after};
	session->stream = STREAM_OCTETS;
	return multiline_fill(session);
}

static enum outcome fill_octets(struct session *session)
{
	struct octets_stream *stream = &session->octets_stream;
	size_t len = smaller(stream->len - stream->at, pop3_reply_room(session->out));
	pop3_reply_raw(session->out, stream->octets + stream->at, len);
	stream->at += len;
	return stream->at < stream->len ? OUTCOME_STREAM : finish(session, stream->after);
}

/* Asks the store for the piece that begins at listing.idx. */
static enum outcome next_piece(struct session *session)
{
	struct listing_stream *listing = &session->listing;
	struct msg_writer w = {.buf = session->request_fixed, .size = sizeof session->request_fixed};
	if (!session->maildrop && listing->begun)
		return OUTCOME_DROP;
	session->errand = ERRAND_LISTING;
	session->phase = PHASE_STORE;
	if (!session->maildrop)
		return session_store_given_up(session);
	session->idx = listing->idx;
	session->wanted = session->count - listing->idx; /* the store gives as many as fit one answer */
	session->stream = STREAM_NONE;
	msg_put_u8(&w, (uint8_t)listing->kind);
	msg_put_u32(&w, session->idx);
	msg_put_u32(&w, session->wanted);
	return session_ask_store(session, MSG_FRONT_LIST, session->request_fixed, w.len);
}

enum outcome multiline_list(struct session *session, enum list_kind kind)
{
	session->listing = (struct listing_stream){.kind = kind};
	if (session->count > session->marked_count)
		return next_piece(session);
	session_ok(session, "0 messages");
	session_line(session, ".");
	return OUTCOME_INPUT;
}

static bool uidl_valid(const uint8_t *uidl, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (uidl[i] < 0x21 || uidl[i] > 0x7E)
			return false;
	}
	return len >= 1 && len <= MAILDROP_UIDL_OCTETS;
}

bool multiline_entries_valid(enum list_kind kind, const uint8_t *entries, size_t len, uint32_t count)
{
	struct msg_reader r = {.buf = entries, .len = len};
	if (entries == NULL || len == 0)
		return false;
	for (uint32_t i = 0; i < count && !r.bad; i++) {
		if (kind == LIST_OCTETS) {
			(void)msg_get_u64(&r);
			continue;
		}
		size_t uidl_len = msg_get_u8(&r);
		const uint8_t *uidl = msg_get_bytes(&r, uidl_len);
		if (uidl == NULL || !uidl_valid(uidl, uidl_len))
			return false;
	}
	return msg_end(&r);
}

enum outcome multiline_listed(struct session *session, struct msg_reader *body, uint32_t idx, uint32_t count)
{
	struct listing_stream *listing = &session->listing;
	size_t len;
	const uint8_t *entries = msg_get_rest(body, &len);
	if (!multiline_entries_valid(listing->kind, entries, len, count))
		return session_store_given_up(session);
	free(listing->entries);
	listing->entries = malloc(len);
	if (listing->entries == NULL)
		return session_store_given_up(session);
	memcpy(listing->entries, entries, len);
	listing->len = len;
	listing->at = 0;
	listing->end = idx + count;
	session->phase = PHASE_TRANSACTION;
	session->stream = STREAM_LISTING;
	if (!listing->begun)
		session_ok(session, "%u messages (%llu octets)", session->count - session->marked_count,
		    (unsigned long long)(session->octets - session->marked_octets));
	listing->begun = true;
	return multiline_fill(session);
}

/* One line of the list into line; returns its length, and in *used_r what the entry took. */
static size_t entry_line(const struct listing_stream *listing, char line[ENTRY_LINE_OCTETS], size_t *used_r)
{
	struct msg_reader r = {.buf = listing->entries + listing->at, .len = listing->len - listing->at};
	int len;
	if (listing->kind == LIST_OCTETS) {
		len = snprintf(line, ENTRY_LINE_OCTETS, "%u %llu\r\n", listing->idx + 1,
		    (unsigned long long)msg_get_u64(&r));
	} else {
		uint8_t uidl_len = msg_get_u8(&r);
		const uint8_t *uidl = msg_get_bytes(&r, uidl_len);
		len = snprintf(line, ENTRY_LINE_OCTETS, "%u %.*s\r\n", listing->idx + 1, (int)uidl_len,
		    (const char *)uidl);
	}
	size_t left;
	(void)msg_get_rest(&r, &left);
	*used_r = listing->len - listing->at - left;
	return (size_t)len;
}

static enum outcome fill_listing(struct session *session)
{
	struct listing_stream *listing = &session->listing;
	char line[ENTRY_LINE_OCTETS];
	while (listing->idx < listing->end) {
		size_t used, len = entry_line(listing, line, &used);
		if (!session_marked(session, listing->idx) && !pop3_reply_raw(session->out, line, len))
			return OUTCOME_STREAM;
		listing->at += used;
		listing->idx++;
	}
	if (listing->idx < session->count)
		return next_piece(session);
	if (!pop3_reply_raw(session->out, ".\r\n", 3))
		return OUTCOME_STREAM;
	return finish(session, OUTCOME_INPUT);
}

/* Takes the descriptor over and writes the first line. */
enum outcome multiline_message(struct session *session, const struct msg *msg)
{
	struct msg_reader r = {.buf = msg->body, .len = msg->len};
	struct message_stream *stream = &session->message;
	bool whole = session->errand == ERRAND_RETR;
	multiline_clear(session);
	stream->fd = msg->fd;
	stream->at = msg_get_u64(&r);
	uint64_t length = msg_get_u64(&r);
	stream->announced = msg_get_u64(&r);
	unsigned flags = msg_get_u32(&r);
	stream->mtime_nsecs = (int64_t)msg_get_u64(&r);
	if (!msg_end(&r) || stream->at > INT64_MAX || length > INT64_MAX - stream->at)
		return session_store_given_up(session);
	stream->end = stream->at + length;
	stream->whole = whole;
	stream->direct = whole && (flags & WIRE_CRLF) != 0 && (flags & WIRE_NODOTS) != 0;
	stream->counted = whole && (flags & WIRE_NODOTS) == 0;
	stream->encoder = (struct wire_encoder){.body_lines = whole ? WIRE_WHOLE : session->wanted};
	session->known_idx = session->idx;
	session->known_octets = stream->announced;
	session->phase = PHASE_TRANSACTION;
	session->stream = STREAM_MESSAGE;
	if (whole)
		session_ok(session, "%llu octets", (unsigned long long)stream->announced);
	else
		session_ok(session, "top of message %u", session->idx + 1);
	return multiline_fill(session);
}

/* Exactly len octets at the stream's place; false: the file has become shorter, or the disk fails. */
static bool read_exactly(const struct message_stream *stream, uint8_t *buf, size_t len)
{
	size_t got = 0;
	while (got < len) {
		ssize_t n = pread(stream->fd, buf + got, len - got, (off_t)(stream->at + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

static size_t want(const struct message_stream *stream, size_t most)
{
	uint64_t left = stream->end - stream->at;
	return left < most ? (size_t)left : most;
}

/* Stored as it is sent: no copy, no look at it. */
static bool copy_piece(struct message_stream *stream, struct session_output *out)
{
	size_t len = want(stream, pop3_reply_room(out));
	if (!read_exactly(stream, out->buf + out->used, len))
		return false;
	if (len > 0) {
		stream->encoder.started = true;
		stream->encoder.last = out->buf[out->used + len - 1];
	}
	out->used += len;
	stream->at += len;
	stream->sent += len;
	return true;
}

static bool encode_piece(struct message_stream *stream, struct session_output *out)
{
	uint8_t buf[READ_OCTETS];
	size_t used, len = want(stream, smaller(sizeof buf, pop3_reply_room(out)));
	if (!read_exactly(stream, buf, len))
		return false;
	size_t written =
	    wire_encode(&stream->encoder, buf, len, &used, out->buf + out->used, pop3_reply_room(out));
	if (stream->counted)
		wire_count_add(&stream->count, buf, used);
	out->used += written;
	stream->at += used;
	stream->sent += written;
	return true;
}

/*
 * Whether what was sent is what was announced. Where dots were stuffed, what was sent is longer; there the
 * octets read were counted as the store counts them.
 */
static bool as_announced(struct message_stream *stream, size_t line_end)
{
	unsigned flags;
	if (!stream->whole)
		return true;
	if (stream->counted)
		return wire_count_done(&stream->count, &flags) == stream->announced;
	return stream->sent + line_end == stream->announced;
}

/* A file that was written to meanwhile may have given octets of two messages, however many they are. */
static bool unchanged(const struct message_stream *stream)
{
	struct stat st;
	if (stream->mtime_nsecs == 0)
		return true;
	return fstat(stream->fd, &st) == 0 && beneath_nsecs(st.st_mtim) == stream->mtime_nsecs;
}

static void count_message(struct session *session)
{
	if (session->message.whole) {
		session->retr_count++;
		session->retr_octets += session->message.announced;
		session_fetched(session, session->idx);
	} else {
		session->top_count++;
	}
}

static enum outcome fill_message(struct session *session)
{
	struct message_stream *stream = &session->message;
	struct session_output *out = session->out;
	uint8_t end[5];
	while (stream->at < stream->end && !stream->encoder.done && pop3_reply_room(out) >= sizeof end) {
		if (!(stream->direct ? copy_piece(stream, out) : encode_piece(stream, out)))
			return OUTCOME_DROP;
	}
	if ((stream->at < stream->end && !stream->encoder.done) || pop3_reply_room(out) < sizeof end)
		return OUTCOME_STREAM;
	size_t len = wire_encode_end(&stream->encoder, end);
	/* Not what was announced: without its end the client knows that the message is not whole. */
	if (!as_announced(stream, len - 3) || !unchanged(stream))
		return OUTCOME_DROP;
	pop3_reply_raw(out, end, len);
	count_message(session);
	return finish(session, OUTCOME_INPUT);
}

enum outcome multiline_fill(struct session *session)
{
	switch (session->stream) {
	case STREAM_OCTETS:
		return fill_octets(session);
	case STREAM_LISTING:
		return fill_listing(session);
	case STREAM_MESSAGE:
		return fill_message(session);
	case STREAM_NONE:
		break;
	}
	return OUTCOME_INPUT;
}
