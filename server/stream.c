/* SPDX-License-Identifier: ISC */
#include "server/stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "server/buffer.h"
#include "server/records.h"
#include "server/tls.h"
#include "server/tls_binding.h"

/* An ordinary command fits; a client that sends nothing has no buffer at all. */
#define INPUT_BEGIN_OCTETS 1024u
/* A ClientHello, the largest thing a stranger may send in one piece, in whatever records it comes. */
#define HELLO_OCTETS 32768u
/* Record header, then type and length of the handshake message. */
#define HELLO_HEAD_OCTETS 9u

struct stream {
	int fd;
	SSL *ssl;
	struct records *records; /* NULL: no security layer */
	bool handshaking, tls;
	bool read_wants_write, write_wants_read; /* what TLS waits for, crosswise */
	enum stream_event ended;                 /* sticky: once not STREAM_OK, nothing is read any more */
	bool mute;                               /* sticky: nothing can be written any more */
	struct buffer in, out;
	size_t in_limit;
	uint8_t hello[HELLO_HEAD_OCTETS];
	size_t hello_len;
	char description[64];
	char why[160];
};

__attribute__((format(printf, 2, 3))) static void fail(struct stream *stream, const char *format, ...)
{
	va_list args;

	stream->ended = STREAM_ERROR;
	stream->mute = true;
	va_start(args, format);
	vsnprintf(stream->why, sizeof(stream->why), format, args);
	va_end(args);
}

struct stream *stream_new(int fd)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (stream == NULL)
		return NULL;
	stream->fd = fd;
	stream->in_limit = LIMIT_COMMAND_OCTETS;
	snprintf(stream->description, sizeof(stream->description), "clear");
	return stream;
}

void stream_free(struct stream **stream)
{
	struct stream *s = *stream;

	if (s == NULL)
		return;
	ERR_clear_error();
	/* After an error the TLS state is void, and during a handshake there is nothing to end. */
	if (s->tls && !s->mute)
		SSL_shutdown(s->ssl);
	SSL_free(s->ssl);
	ERR_clear_error();
	close(s->fd);
	records_free(&s->records);
	buffer_release(&s->in);
	buffer_release(&s->out);
	OPENSSL_cleanse(s, sizeof(*s));
	free(s);
	*stream = NULL;
}

int stream_fd(const struct stream *stream)
{
	return stream->fd;
}

/*
 * OpenSSL makes room for as much as a handshake message announces, up to 128 KiB, before anything is known
 * of the client. So the first octets are looked at as they pass: an announcement beyond HELLO_OCTETS fails
 * the read, and so does a first record too short to hold it, which no client sends.
 */
static bool hello_sound(const struct stream *stream)
{
	const uint8_t *head = stream->hello;

	if (stream->hello_len >= 5 && (head[3] << 8 | head[4]) < 4)
		return false;
	return stream->hello_len < HELLO_HEAD_OCTETS ||
	       (head[6] << 16 | head[7] << 8 | head[8]) <= (int)HELLO_OCTETS;
}

static long watch_hello(
    BIO *bio, int operation, const char *octets, size_t size, int argi, long argl, int result, size_t *done)
{
	struct stream *stream = (struct stream *)(void *)BIO_get_callback_arg(bio);

	(void)size;
	(void)argi;
	(void)argl;
	if (operation != (BIO_CB_READ | BIO_CB_RETURN) || result <= 0)
		return result;
	for (size_t i = 0; i < *done && stream->hello_len < HELLO_HEAD_OCTETS; i++)
		stream->hello[stream->hello_len++] = (uint8_t)octets[i];
	if (!hello_sound(stream)) {
		fail(stream, "TLS: not a ClientHello of a sound size");
		return -1;
	}
	return result;
}

int stream_start_tls(struct stream *stream, SSL_CTX *context)
{
	/* What came in clear must not be read as if it were protected, nor the other way round. */
	if (stream->ssl != NULL || stream->records != NULL || stream->in.len > 0 || stream->out.len > 0)
		return -1;
	buffer_release(&stream->in);
	ERR_clear_error();
	stream->ssl = SSL_new(context);
	if (stream->ssl == NULL || SSL_set_fd(stream->ssl, stream->fd) != 1) {
		SSL_free(stream->ssl);
		stream->ssl = NULL;
		ERR_clear_error();
		return -1;
	}
	BIO_set_callback_arg(SSL_get_rbio(stream->ssl), (char *)stream);
	BIO_set_callback_ex(SSL_get_rbio(stream->ssl), watch_hello);
	SSL_set_accept_state(stream->ssl);
	stream->handshaking = true;
	return 0;
}

int stream_start_layer(struct stream *stream, struct layer *layer)
{
	if (layer == NULL || stream->ssl != NULL || stream->records != NULL ||
	    (stream->records = records_new(layer, &stream->in, &stream->out)) == NULL) {
		layer_free(&layer);
		return -1;
	}
	return 0;
}

bool stream_handshaking(const struct stream *stream)
{
	return stream->handshaking;
}

bool stream_tls(const struct stream *stream)
{
	return stream->tls;
}

size_t stream_binding(
    const struct stream *stream, enum saslx_binding_type type, uint8_t value_r[SASLX_BINDING_OCTETS])
{
	return stream->tls ? tls_binding(stream->ssl, type, value_r) : 0;
}

const char *stream_description(const struct stream *stream)
{
	return stream->description;
}

bool stream_mute(const struct stream *stream)
{
	return stream->mute;
}

const char *stream_why(const struct stream *stream)
{
	return stream->why;
}

/* What a TLS call that made no progress means. saved: errno just after it. */
static void tls_stopped(struct stream *stream, int result, int saved, bool *crosswise, int crosswise_code)
{
	char reason[128];
	int code = SSL_get_error(stream->ssl, result);

	if (stream->ended == STREAM_ERROR) { /* watch_hello knows why */
		ERR_clear_error();
	} else if (code == crosswise_code) {
		*crosswise = true;
	} else if (code == SSL_ERROR_ZERO_RETURN) {
		stream->ended = STREAM_EOF;
		snprintf(stream->why, sizeof(stream->why), "closed by the client");
	} else if (code == SSL_ERROR_SSL) {
		fail(stream, "TLS: %s", tls_error_text(reason, sizeof(reason)));
	} else if (code == SSL_ERROR_SYSCALL) {
		fail(stream, "TLS: %s", saved == 0 ? "connection lost" : strerror(saved));
		ERR_clear_error();
	} else if (code != SSL_ERROR_WANT_READ && code != SSL_ERROR_WANT_WRITE) {
		fail(stream, "TLS: unexpected state %d", code);
	}
}

static void handshake(struct stream *stream)
{
	int result;

	stream->read_wants_write = false;
	ERR_clear_error();
	errno = 0;
	result = SSL_do_handshake(stream->ssl);
	if (result != 1) {
		tls_stopped(stream, result, errno, &stream->read_wants_write, SSL_ERROR_WANT_WRITE);
		/* Before the handshake is done there is no session that a close_notify could end. */
		if (stream->ended == STREAM_EOF)
			fail(stream, "TLS: closed during the handshake");
		return;
	}
	BIO_set_callback_ex(SSL_get_rbio(stream->ssl), NULL);
	stream->handshaking = false;
	stream->tls = true;
	snprintf(stream->description, sizeof(stream->description), "%s %s", SSL_get_version(stream->ssl),
	    SSL_get_cipher_name(stream->ssl));
}

/* Reads up to size octets; 0: nothing now, or the end (stream->ended). */
static size_t read_tls(struct stream *stream, uint8_t *octets, size_t size)
{
	size_t done = 0;
	int result;

	stream->read_wants_write = false;
	ERR_clear_error();
	errno = 0;
	result = SSL_read_ex(stream->ssl, octets, size, &done);
	if (result == 1)
		return done;
	tls_stopped(stream, result, errno, &stream->read_wants_write, SSL_ERROR_WANT_WRITE);
	return 0;
}

static size_t read_clear(struct stream *stream, uint8_t *octets, size_t size)
{
	ssize_t done;

	do
		done = recv(stream->fd, octets, size, 0);
	while (done < 0 && errno == EINTR);
	if (done > 0)
		return (size_t)done;
	if (done == 0) {
		stream->ended = STREAM_EOF;
		snprintf(stream->why, sizeof(stream->why), "closed by the client");
	} else if (errno != EAGAIN && errno != EWOULDBLOCK) {
		fail(stream, "%s", strerror(errno));
	}
	return 0;
}

/* Text of the records that are here; 0: none, or the end. */
static size_t take_records(struct stream *stream, uint8_t *octets, size_t size)
{
	const char *why;
	size_t done = records_take(stream->records, octets, size, &why);

	if (why != NULL)
		fail(stream, "security layer: %s", why);
	return done;
}

/* One look at the socket at most: records may carry nothing, and others wait for their turn. */
static size_t read_records(struct stream *stream, uint8_t *octets, size_t size)
{
	size_t room, done;
	uint8_t *at;

	if (records_pending(stream->records))
		return take_records(stream, octets, size);
	at = records_room(stream->records, &room);
	if (at == NULL) {
		fail(stream, "no memory");
		return 0;
	}
	done = read_clear(stream, at, room);
	records_received(stream->records, done);
	if (done == 0 && stream->ended == STREAM_EOF && records_partial(stream->records))
		fail(stream, "security layer: closed in the middle of a record");
	return done == 0 ? 0 : take_records(stream, octets, size);
}

/* Whether there is input that no socket will tell of. */
static bool held(const struct stream *stream)
{
	if (stream->records != NULL)
		return records_pending(stream->records);
	return stream->tls && SSL_pending(stream->ssl) > 0;
}

static size_t read_some(struct stream *stream, uint8_t *octets, size_t size)
{
	if (stream->records != NULL)
		return read_records(stream, octets, size);
	return stream->tls ? read_tls(stream, octets, size) : read_clear(stream, octets, size);
}

/* Room at the end of the input buffer, within the limit; grows by doubling. 0: full, or no memory. */
static size_t input_room(struct stream *stream)
{
	struct buffer *in = &stream->in;
	size_t allowed = stream->in_limit > in->len ? stream->in_limit - in->len : 0;
	size_t size = in->size == 0 ? INPUT_BEGIN_OCTETS : in->size * 2;

	if (allowed == 0)
		return 0;
	if (buffer_room(in) == 0)
		buffer_compact(in);
	if (size > stream->in_limit && stream->in_limit > INPUT_BEGIN_OCTETS)
		size = stream->in_limit;
	if (buffer_room(in) == 0 && buffer_resize(in, size) != 0) {
		fail(stream, "no memory");
		return 0;
	}
	return buffer_room(in) < allowed ? buffer_room(in) : allowed;
}

static void pump_input(struct stream *stream)
{
	size_t room, done;

	while (stream->ended == STREAM_OK && (room = input_room(stream)) > 0) {
		uint8_t *at = buffer_end(&stream->in);

		done = read_some(stream, at, room);
		buffer_added(&stream->in, done);
		/* A short read has most likely emptied the socket; if not, the loop says so at once. */
		if (done < room && !held(stream))
			break;
	}
	if (stream->in.len == 0)
		buffer_release(&stream->in);
}

/*
 * What TLS has decrypted already, and whole records of a layer, are in no socket, so no loop would wake us
 * for them: they are moved whenever there is room again. Such a read touches neither socket nor clock.
 */
static void refill(struct stream *stream)
{
	while (stream->ended == STREAM_OK && held(stream)) {
		size_t room = input_room(stream), done;

		if (room == 0)
			break;
		done = read_some(stream, buffer_end(&stream->in), room);
		if (done == 0)
			break;
		buffer_added(&stream->in, done);
	}
}

/*
 * The client takes nothing any more, but what it sent before it left may still wait in the socket, and is
 * read to its end.
 */
static void fall_mute(struct stream *stream, int error)
{
	stream->mute = true;
	snprintf(stream->why, sizeof(stream->why), "%s", error == 0 ? "connection lost" : strerror(error));
}

static size_t write_tls(struct stream *stream, const uint8_t *octets, size_t len)
{
	size_t done = 0;
	int result;

	stream->write_wants_read = false;
	ERR_clear_error();
	errno = 0;
	result = SSL_write_ex(stream->ssl, octets, len, &done);
	if (result == 1)
		return done;
	int saved = errno;
	/* The records that came stay sound when the socket refuses ours. */
	if (SSL_get_error(stream->ssl, result) == SSL_ERROR_SYSCALL) {
		fall_mute(stream, saved);
		ERR_clear_error();
		return 0;
	}
	tls_stopped(stream, result, saved, &stream->write_wants_read, SSL_ERROR_WANT_READ);
	return 0;
}

static size_t write_clear(struct stream *stream, const uint8_t *octets, size_t len)
{
	ssize_t done;

	do
		done = send(stream->fd, octets, len, MSG_NOSIGNAL);
	while (done < 0 && errno == EINTR);
	if (done >= 0)
		return (size_t)done;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		fall_mute(stream, errno);
	return 0;
}

/* Octets for the socket as they are. NULL: none. */
static const uint8_t *next_output(struct stream *stream, size_t *len_r)
{
	struct buffer *out = &stream->out;
	const char *why = NULL;
	const uint8_t *at = NULL;

	*len_r = out->len;
	if (stream->records != NULL)
		at = records_to_send(stream->records, out, len_r, &why);
	else if (out->len > 0)
		at = out->octets + out->start;
	if (why != NULL)
		fail(stream, "security layer: %s", why);
	return at;
}

/* Also after the client's EOF: it may have closed only its sending half, and waits for our answers. */
static void pump_output(struct stream *stream)
{
	const uint8_t *at;
	size_t len, done;

	while (!stream->mute && (at = next_output(stream, &len)) != NULL) {
		done = stream->tls ? write_tls(stream, at, len) : write_clear(stream, at, len);
		if (done == 0)
			break;
		if (stream->records != NULL)
			records_sent(stream->records, done);
		else
			buffer_drop(&stream->out, done);
	}
	if (stream->out.len == 0 || stream->mute)
		buffer_release(&stream->out);
}

enum stream_event stream_pump(struct stream *stream, bool readable, bool writable)
{
	if (stream->handshaking && stream->ended == STREAM_OK)
		handshake(stream);
	if (stream->handshaking)
		return stream->ended;
	if (readable || (writable && stream->read_wants_write))
		pump_input(stream);
	if (writable || (readable && stream->write_wants_read) || stream->mute)
		pump_output(stream);
	return stream->ended;
}

enum stream_event stream_state(const struct stream *stream)
{
	return stream->ended;
}

bool stream_wants_read(const struct stream *stream)
{
	if (stream->ended != STREAM_OK)
		return stream->ended == STREAM_EOF && stream->write_wants_read;
	if (stream->handshaking)
		return !stream->read_wants_write;
	return stream->in.len < stream->in_limit || stream->write_wants_read;
}

bool stream_wants_write(const struct stream *stream)
{
	if (stream->ended == STREAM_ERROR)
		return false;
	return stream->read_wants_write ||
	       (stream_output_pending(stream) > 0 && !stream->handshaking && !stream->write_wants_read);
}

const uint8_t *stream_input(const struct stream *stream, size_t *len_r)
{
	*len_r = stream->in.len;
	return stream->in.len > 0 ? stream->in.octets + stream->in.start : NULL;
}

void stream_consume(struct stream *stream, size_t len)
{
	struct buffer *in = &stream->in;

	if (len > in->len)
		len = in->len;
	if (len > 0)
		OPENSSL_cleanse(in->octets + in->start, len);
	buffer_drop(in, len);
	if (in->len == 0)
		buffer_release(in);
	refill(stream);
}

int stream_input_limit(struct stream *stream, size_t octets)
{
	bool sound = stream->ended != STREAM_ERROR;

	stream->in_limit = octets;
	refill(stream);
	return sound && stream->ended == STREAM_ERROR ? -1 : 0;
}

bool stream_input_pending(const struct stream *stream)
{
	uint8_t octet;

	if (stream->in.len > 0)
		return true;
	return stream->ssl == NULL && recv(stream->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

uint8_t *stream_output(struct stream *stream, size_t *room_r)
{
	struct buffer *out = &stream->out;

	*room_r = 0;
	if (out->octets == NULL && buffer_resize(out, LIMIT_OUTPUT_OCTETS) != 0)
		return NULL;
	/* Moved only when it is worth it, or a slow reader would have us copy for every octet it takes. */
	if (buffer_room(out) < LIMIT_OUTPUT_ROOM_OCTETS && out->start >= LIMIT_OUTPUT_ROOM_OCTETS)
		buffer_compact(out);
	*room_r = buffer_room(out);
	return buffer_end(out);
}

void stream_produced(struct stream *stream, size_t len)
{
	size_t room = buffer_room(&stream->out);

	buffer_added(&stream->out, len < room ? len : room);
	if (stream->out.len == 0 || stream->mute)
		buffer_release(&stream->out);
}

size_t stream_output_pending(const struct stream *stream)
{
	size_t unsent = stream->records != NULL && !stream->mute ? records_unsent(stream->records) : 0;

	return stream->out.len + unsent;
}
