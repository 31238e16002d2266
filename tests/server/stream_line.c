/* SPDX-License-Identifier: ISC */
#include "tests/server/stream_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include <openssl/err.h>

#include "server/tls.h"
#include "tests/server/tls_fixture.h"

SSL_CTX *line_server;
static SSL_CTX *client_context;

enum stream_event line_pump(struct line *line)
{
	struct pollfd at = {.fd = stream_fd(line->stream)};

	at.events = (short)((stream_wants_read(line->stream) ? POLLIN : 0) |
			    (stream_wants_write(line->stream) ? POLLOUT : 0));
	poll(&at, 1, 0);
	return stream_pump(
	    line->stream, (at.revents & (POLLIN | POLLHUP | POLLERR)) != 0, (at.revents & POLLOUT) != 0);
}

void line_peer_tls(struct line *line, int version)
{
	line->ssl = SSL_new(client_context);
	if (version != 0)
		SSL_set_max_proto_version(line->ssl, version);
	SSL_set_fd(line->ssl, line->peer);
	SSL_set_connect_state(line->ssl);
}

void line_shake_hands(struct line *line, int version)
{
	assert_int_equal(stream_start_tls(line->stream, line_server), 0);
	line_peer_tls(line, version);
	for (int turn = 0; turn < 20 && !(stream_tls(line->stream) && SSL_is_init_finished(line->ssl));
	     turn++) {
		ERR_clear_error();
		SSL_do_handshake(line->ssl);
		assert_int_equal(line_pump(line), STREAM_OK);
	}
	assert_true(stream_tls(line->stream));
	assert_false(stream_handshaking(line->stream));
}

void line_begin(struct line *line, int version)
{
	int pair[2];

	fixture_sockets(pair);
	*line = (struct line){.stream = stream_new(pair[0]), .peer = pair[1]};
	assert_non_null(line->stream);
	if (version != 0)
		line_shake_hands(line, version);
}

void line_end(struct line *line)
{
	stream_free(&line->stream);
	assert_null(line->stream);
	SSL_free(line->ssl);
	if (line->peer >= 0)
		close(line->peer);
	ERR_clear_error();
}

ssize_t line_write(struct line *line, const void *octets, size_t len)
{
	size_t done = 0;

	if (line->ssl == NULL)
		return send(line->peer, octets, len, MSG_NOSIGNAL);
	ERR_clear_error();
	return SSL_write_ex(line->ssl, octets, len, &done) == 1 ? (ssize_t)done : -1;
}

ssize_t line_read(struct line *line, void *octets, size_t size)
{
	size_t done = 0;

	if (line->ssl == NULL)
		return recv(line->peer, octets, size, 0);
	ERR_clear_error();
	return SSL_read_ex(line->ssl, octets, size, &done) == 1 ? (ssize_t)done : -1;
}

void line_assert_input(struct line *line, const char *want, const char *sentence)
{
	size_t len;
	const uint8_t *input = stream_input(line->stream, &len);

	if (len != strlen(want) || (len > 0 && memcmp(input, want, len) != 0))
		fail_msg("%s: input is \"%.*s\"", sentence, (int)len, (const char *)input);
}

void line_produce(struct line *line, const char *text)
{
	size_t room;
	uint8_t *at = stream_output(line->stream, &room);

	assert_true(room >= strlen(text));
	memcpy(at, text, strlen(text));
	stream_produced(line->stream, strlen(text));
}

int line_setup(void **state)
{
	char why[256];

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	fixture_pair("server", FIXTURE_ECDSA, 86400, NULL);
	line_server =
	    tls_context_new(fixture_path("server.crt"), fixture_path("server.key"), why, sizeof(why));
	client_context = fixture_client(0, 0);
	SSL_CTX_set_mode(client_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return line_server != NULL ? 0 : -1;
}

int line_teardown(void **state)
{
	(void)state;
	SSL_CTX_free(line_server);
	SSL_CTX_free(client_context);
	fixture_remove();
	return 0;
}
