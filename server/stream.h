/* SPDX-License-Identifier: ISC */
/*
 * stream: one client connection, plain, TLS or under a security layer, behind one opaque type.
 *
 * For the front. Non-blocking; knows no loop: it says which readiness it waits for. Input is a buffer the
 * owner looks into (a view, no copy) and consumes from; it grows only as far as the owner allows.
 * Output goes into a bounded buffer and leaves when the socket takes it. Readiness is level-triggered: a
 * pump may leave octets in the socket. The process ignores SIGPIPE (OpenSSL writes without MSG_NOSIGNAL).
 * Both buffers exist only while they hold something.
 */
#ifndef KPOPD_SERVER_STREAM_H
#define KPOPD_SERVER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>

#include "sasl/layer.h"
#include "server/limits.h"

enum stream_event {
	STREAM_OK = 0,     /* made what progress it could */
	STREAM_EOF = -1,   /* the client closed (TLS: with close_notify) */
	STREAM_ERROR = -2, /* reset, TLS alert, TLS truncation, unsound record: see stream_why */
};

struct stream;
/* Takes fd over; it is non-blocking. NULL: no memory (fd stays the caller's). */
struct stream *stream_new(int fd);
/* Sends close_notify if TLS is on and the socket takes it at once, closes fd, wipes the buffers. */
void stream_free(struct stream **stream);
int stream_fd(const struct stream *stream);

/*
 * Begins the TLS handshake as server. All input must have been consumed and all output sent before.
 * -1: no memory, or octets are still buffered, or TLS is on already.
 */
int stream_start_tls(struct stream *stream, SSL_CTX *context);
bool stream_handshaking(const struct stream *stream);
bool stream_tls(const struct stream *stream); /* the handshake is done */
/*
 * Takes layer over and begins it, in the place of TLS (RFC 5034 section 4): output that waits still goes out
 * in clear, input that waits was sent under the layer. -1: no memory, or TLS or a layer is on already; layer
 * is freed.
 */
int stream_start_layer(struct stream *stream, struct layer *layer);
/* Once the handshake is done: octets of this binding in value_r, or 0: the connection has none;
 * tls_binding.h. */
size_t stream_binding(
    const struct stream *stream, enum saslx_binding_type type, uint8_t value_r[SASLX_BINDING_OCTETS]);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384", or "clear". */
const char *stream_description(const struct stream *stream);

/*
 * Moves octets both ways as far as possible, a handshake included. readable, writable: what the loop saw.
 * STREAM_EOF and STREAM_ERROR repeat; input that came before them stays, and after STREAM_EOF output
 * still leaves (the client may have closed its sending half only).
 */
enum stream_event stream_pump(struct stream *stream, bool readable, bool writable);
/*
 * Whether output has no way out any more, after STREAM_ERROR or a write that failed: what waits and what
 * comes is thrown away. When a write failed, input goes on until its own end: a QUIT that came is not lost.
 */
bool stream_mute(const struct stream *stream);
enum stream_event stream_state(
    const struct stream *stream);                     /* what the last pump said, or has happened since */
bool stream_wants_read(const struct stream *stream);  /* room for input, or TLS wants it */
bool stream_wants_write(const struct stream *stream); /* output is waiting, or TLS wants it */
const char *stream_why(const struct stream *stream);

const uint8_t *stream_input(const struct stream *stream, size_t *len_r);
void stream_consume(
    struct stream *stream, size_t len); /* wipes what it drops: it may be a password; ends views */
/* Buffer at most this much (at first LIMIT_COMMAND_OCTETS); what is there already stays. Ends views. -1: no
 * memory. */
int stream_input_limit(struct stream *stream, size_t octets);
/* Whether anything of the client's waits unread, in our buffer or in the kernel's (STLS injection). */
bool stream_input_pending(const struct stream *stream);

uint8_t *stream_output(
    struct stream *stream, size_t *room_r); /* where to write, and how much fits; NULL: no memory */
void stream_produced(
    struct stream *stream, size_t len); /* that much was written there; ends the view, also when 0 */
size_t stream_output_pending(const struct stream *stream);

#endif
