/* SPDX-License-Identifier: ISC */
/*
 * stream_line: a stream and the client at the other end of its socket, for tests.
 */
#ifndef KPOPD_TESTS_SERVER_STREAM_LINE_H
#define KPOPD_TESTS_SERVER_STREAM_LINE_H

#include <sys/types.h>
#include <openssl/ssl.h>

#include "server/stream.h"

extern SSL_CTX *line_server; /* the server's context, from line_setup on */

/* A server's stream and the other end, which speaks TLS when ssl is set. */
struct line {
	struct stream *stream;
	int peer;
	SSL *ssl;
};

/* For the test group: a certificate and both contexts. */
int line_setup(void **state);
int line_teardown(void **state);

/* version: 0 clear, else that version of TLS, with the handshake done. */
void line_begin(struct line *line, int version);
void line_end(struct line *line);
/* Gives the peer a client's TLS, no handshake yet. version: the highest, 0 any. */
void line_peer_tls(struct line *line, int version);
/* Begins TLS at both ends and brings it to its end. */
void line_shake_hands(struct line *line, int version);
/* One turn of a loop: asks the socket what the stream waits for. */
enum stream_event line_pump(struct line *line);
/* The peer's octets; -1: not now. */
ssize_t line_write(struct line *line, const void *octets, size_t len);
ssize_t line_read(struct line *line, void *octets, size_t size);
/* The stream's side. */
void line_assert_input(struct line *line, const char *want, const char *sentence);
void line_produce(struct line *line, const char *text);

#endif
