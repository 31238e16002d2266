/* SPDX-License-Identifier: ISC */
/*
 * stream: one client connection, plain or TLS, behind one opaque type.
 *
 * For the front. Non-blocking; knows no loop: it says which readiness it waits for. Input is a buffer the
 * owner looks into (a view, no copy) and consumes from; it grows only as far as the owner allows.
 * Output goes into a bounded buffer and leaves when the socket takes it.
 */
#ifndef KPOPD_SERVER_STREAM_H
#define KPOPD_SERVER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>

#include "server/limits.h"

enum stream_event {
	STREAM_OK = 0,       /* made what progress it could */
	STREAM_EOF = -1,     /* the client closed (TLS: with close_notify) */
	STREAM_ERROR = -2,   /* reset, TLS alert, TLS truncation: see stream_why */
};

struct stream;
/* Takes fd over; it is non-blocking. NULL: no memory (fd stays the caller's). */
struct stream *stream_new(int fd);
/* Sends close_notify if TLS is on and the socket takes it at once, closes fd, wipes the buffers. */
void stream_free(struct stream **stream);
int stream_fd(const struct stream *stream);

/* Begins the TLS handshake as server. Whatever input is buffered must have been consumed. -1: no memory. */
int stream_start_tls(struct stream *stream, SSL_CTX *context);
bool stream_handshaking(const struct stream *stream);
bool stream_tls(const struct stream *stream); /* the handshake is done */
/* "TLSv1.3 TLS_AES_256_GCM_SHA384", or "clear". */
const char *stream_description(const struct stream *stream);

/* Moves octets both ways as far as possible, a handshake included. readable, writable: what the loop saw. */
enum stream_event stream_pump(struct stream *stream, bool readable, bool writable);
bool stream_wants_read(const struct stream *stream);  /* room for input, or TLS wants it */
bool stream_wants_write(const struct stream *stream); /* output is waiting, or TLS wants it */
const char *stream_why(const struct stream *stream);

const uint8_t *stream_input(const struct stream *stream, size_t *len_r);
void stream_consume(struct stream *stream, size_t len);      /* wipes what it drops: it may be a password */
int stream_input_limit(struct stream *stream, size_t octets); /* buffer at most this much; -1: no memory */
/* Whether anything of the client's waits unread, in our buffer or in the kernel's (STLS injection). */
bool stream_input_pending(const struct stream *stream);

uint8_t *stream_output(struct stream *stream, size_t *room_r); /* where to write, and how much fits */
void stream_produced(struct stream *stream, size_t len);       /* that much was written there */
size_t stream_output_pending(const struct stream *stream);

#endif
