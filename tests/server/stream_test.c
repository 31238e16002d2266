/* SPDX-License-Identifier: ISC */
/* The client's connection, plain and TLS, over real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include <openssl/err.h>

#include "server/sandbox_build.h"
#include "server/stream.h"
#include "tests/server/stream_line.h"
#include "tests/server/tls_fixture.h"

static const int versions[] = {0, TLS1_2_VERSION, TLS1_3_VERSION};
#define EACH_VERSION(v) for (size_t v = 0; v < sizeof(versions) / sizeof(versions[0]); v++)

static void test_every_split(void **state)
{
	static const char text[] = "USER alice\r\nPASS sesame\r\nSTAT\r\n";

	(void)state;
	EACH_VERSION(v)
	for (size_t split = 0; split <= sizeof(text) - 1; split++) {
		struct line line;
		char got[64];
		ssize_t n;

		line_begin(&line, versions[v]);
		if (split > 0)
			assert_int_equal(line_write(&line, text, split), split);
		assert_int_equal(line_pump(&line), STREAM_OK);
		if (split < sizeof(text) - 1)
			assert_int_equal(line_write(&line, text + split, sizeof(text) - 1 - split),
			    sizeof(text) - 1 - split);
		assert_int_equal(line_pump(&line), STREAM_OK);
		line_assert_input(&line, text, "a text in two pieces");
		stream_consume(line.stream, split);
		line_assert_input(&line, text + split, "after the first piece was consumed");
		stream_consume(line.stream, sizeof(text) - 1 - split);
		line_assert_input(&line, "", "all consumed");
		line_produce(&line, "+OK 1 2\r\n");
		assert_int_equal(stream_output_pending(line.stream), 9);
		assert_int_equal(line_pump(&line), STREAM_OK);
		assert_int_equal(stream_output_pending(line.stream), 0);
		n = line_read(&line, got, sizeof(got));
		assert_int_equal(n, 9);
		assert_memory_equal(got, "+OK 1 2\r\n", 9);
		line_end(&line);
	}
}

static void test_description(void **state)
{
	static const char *const want[] = {
	    "clear", "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.3 TLS_AES_256_GCM_SHA384"};

	(void)state;
	EACH_VERSION(v)
	{
		struct line line;

		line_begin(&line, versions[v]);
		assert_string_equal(stream_description(line.stream), want[v]);
		assert_int_equal(stream_tls(line.stream), versions[v] != 0);
		line_end(&line);
	}
}

/* More than the limit waits; all of it arrives, in order, though TLS holds octets that no socket shows. */
static void test_input_is_bounded(void **state)
{
	static const size_t limits[] = {1, 255, 512, 1023, 1024, 1025, 5000, 20000};

	(void)state;
	EACH_VERSION(v)
	for (size_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
		enum { TOTAL = 40000 };
		struct line line;
		uint8_t octets[TOTAL];
		size_t sent = 0, seen = 0, idle = 0;

		for (size_t i = 0; i < TOTAL; i++)
			octets[i] = (uint8_t)(i * 7 + i / 251);
		line_begin(&line, versions[v]);
		assert_int_equal(stream_input_limit(line.stream, limits[l]), 0);
		while (seen < TOTAL && idle < 10) {
			size_t len, take;
			const uint8_t *input;
			ssize_t n = sent < TOTAL ? line_write(&line, octets + sent, TOTAL - sent) : -1;

			sent += n > 0 ? (size_t)n : 0;
			assert_int_equal(line_pump(&line), STREAM_OK);
			input = stream_input(line.stream, &len);
			assert_true(len <= limits[l]);
			if (len == limits[l])
				assert_false(stream_wants_read(line.stream));
			take = (len + 1) / 2;
			idle = len == 0 ? idle + 1 : 0;
			if (len > 0)
				assert_memory_equal(input, octets + seen, len);
			stream_consume(line.stream, take);
			seen += take;
		}
		assert_int_equal(seen, TOTAL);
		line_end(&line);
	}
}

static void test_limit_raised_under_tls_shows_what_waits(void **state)
{
	struct line line;

	(void)state;
	line_begin(&line, TLS1_3_VERSION);
	assert_int_equal(stream_input_limit(line.stream, 4), 0);
	line_write(&line, "AUTH PLAIN\r\n", 12);
	assert_int_equal(line_pump(&line), STREAM_OK);
	line_assert_input(&line, "AUTH", "at the limit");
	assert_int_equal(stream_input_limit(line.stream, 100), 0);
	line_assert_input(&line, "AUTH PLAIN\r\n", "beyond it");
	assert_int_equal(stream_input_limit(line.stream, 2), 0);
	line_assert_input(&line, "AUTH PLAIN\r\n", "what is there stays");
	assert_false(stream_wants_read(line.stream));
	line_end(&line);
}

static void test_slow_reader(void **state)
{
	(void)state;
	EACH_VERSION(v)
	{
		enum { TOTAL = 3000000 };
		size_t made = 0, got = 0, room, turns = 0, stalled = 0;
		static uint8_t buf[70000];
		struct line line;

		line_begin(&line, versions[v]);
		while (got < TOTAL && turns++ < 2000000) {
			uint8_t *at = stream_output(line.stream, &room);
			ssize_t n;

			assert_true(stream_output_pending(line.stream) + room <= LIMIT_OUTPUT_OCTETS);
			if (room > TOTAL - made)
				room = TOTAL - made;
			for (size_t i = 0; i < room; i++)
				at[i] = (uint8_t)((made + i) * 13 + (made + i) / 4099);
			stream_produced(line.stream, room);
			made += room;
			assert_int_equal(line_pump(&line), STREAM_OK);
			stalled += stream_output_pending(line.stream) == LIMIT_OUTPUT_OCTETS;
			/* Reads seldom, and then an odd number of octets. */
			n = turns % 3 == 0 ? line_read(&line, buf, 1 + turns * 37 % sizeof(buf)) : 0;
			for (ssize_t i = 0; i < n; i++, got++)
				if (buf[i] != (uint8_t)(got * 13 + got / 4099))
					fail_msg(
					    "octet %zu is wrong (version %x)", got, (unsigned)versions[v]);
		}
		assert_int_equal(got, TOTAL);
		assert_true(stalled > 0);
		assert_false(stream_wants_write(line.stream));
		line_end(&line);
	}
}

enum ending { FIN, HALF, NOTIFY, RESET, GARBAGE };

struct ending_row {
	const char *sentence;
	int version;
	enum ending how;
	enum stream_event want;
	const char *why;
	bool answers; /* an answer still reaches the client */
};

static const struct ending_row ending_rows[] = {
    {"a closed TCP connection is EOF", 0, FIN, STREAM_EOF, "closed by the client", false},
    {"a half closed TCP connection is EOF, and is answered", 0, HALF, STREAM_EOF, "closed by the client",
	true},
    {"a reset is an error", 0, RESET, STREAM_ERROR, "reset", false},
    {"close_notify is EOF, and is answered", TLS1_3_VERSION, NOTIFY, STREAM_EOF, "closed by the client",
	true},
    {"close_notify of TLS 1.2 is EOF, and is answered", TLS1_2_VERSION, NOTIFY, STREAM_EOF,
	"closed by the client", true},
    {"TLS 1.3 cut off is an error", TLS1_3_VERSION, FIN, STREAM_ERROR, "unexpected eof", false},
    {"TLS 1.2 cut off is an error", TLS1_2_VERSION, HALF, STREAM_ERROR, "unexpected eof", false},
    {"a reset under TLS is an error", TLS1_3_VERSION, RESET, STREAM_ERROR, "reset", false},
    {"a record that is none is an error", TLS1_3_VERSION, GARBAGE, STREAM_ERROR, "TLS: ", false},
};

static void tcp_pair(int pair_r[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	pair_r[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(pair_r[1], (struct sockaddr *)&at, len), 0);
	pair_r[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(pair_r[0] >= 0);
	setsockopt(pair_r[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	close(listener);
}

static void finish(struct line *line, enum ending how)
{
	struct linger hard = {.l_onoff = 1};

	switch (how) {
	case NOTIFY:
		SSL_shutdown(line->ssl);
		return;
	case HALF:
		shutdown(line->peer, SHUT_WR);
		return;
	case GARBAGE:
		send(line->peer, "QUIT\r\nQUIT\r\n", 12, 0);
		return;
	case RESET:
		setsockopt(line->peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		break;
	case FIN:
		break;
	}
	close(line->peer);
	line->peer = -1;
}

static bool answered(struct line *line)
{
	char got[8] = "";

	line_produce(line, "+OK\r\n");
	line_pump(line);
	return line->peer >= 0 && line_read(line, got, sizeof(got)) == 5 && memcmp(got, "+OK\r\n", 5) == 0;
}

/* As line_begin, over TCP. */
static void tcp_line(struct line *line, int version)
{
	int pair[2];

	tcp_pair(pair);
	*line = (struct line){.stream = stream_new(pair[0]), .peer = pair[1]};
	if (version == 0)
		return;
	assert_int_equal(stream_start_tls(line->stream, line_server), 0);
	line_peer_tls(line, version);
	SSL_set_mode(line->ssl, SSL_MODE_AUTO_RETRY);
	/* The client's end blocks: first its hello goes out, then each side in turn. */
	for (int turn = 0; turn < 4; turn++) {
		struct timeval wait = {.tv_usec = 20000};

		setsockopt(line->peer, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
		SSL_do_handshake(line->ssl);
		usleep(2000);
		assert_int_equal(line_pump(line), STREAM_OK);
	}
	assert_true(stream_tls(line->stream));
}

static void test_endings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(ending_rows) / sizeof(ending_rows[0]); i++) {
		const struct ending_row *row = &ending_rows[i];
		struct line line;
		enum stream_event event = STREAM_OK;

		tcp_line(&line, row->version);
		assert_int_equal(line_write(&line, "QUIT\r\n", 6), 6);
		usleep(2000);
		assert_int_equal(line_pump(&line), STREAM_OK);
		finish(&line, row->how);
		for (int turn = 0; turn < 10 && event == STREAM_OK; turn++) {
			usleep(2000);
			event = line_pump(&line);
		}
		if (event != row->want || strcasestr(stream_why(line.stream), row->why) == NULL)
			fail_msg("%s: %d, %s", row->sentence, event, stream_why(line.stream));
		line_assert_input(&line, "QUIT\r\n", row->sentence);
		assert_false(stream_wants_read(line.stream));
		if (answered(&line) != row->answers)
			fail_msg("%s: answered %d", row->sentence, !row->answers);
		if (line_pump(&line) != row->want && row->how != FIN)
			fail_msg("%s: the end does not stay", row->sentence);
		line_end(&line);
	}
}

/* The client sent QUIT, left without reading an answer, and the reset comes to light as we write another. */
static void test_input_outlives_output(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		struct line line;
		struct pollfd reset = {0};
		enum stream_event event = STREAM_OK;

		tcp_line(&line, versions[i]);
		line_produce(&line, "+OK\r\n");
		assert_int_equal(stream_pump(line.stream, false, true), STREAM_OK);
		assert_int_equal(stream_output_pending(line.stream), 0);
		assert_int_equal(line_write(&line, "QUIT\r\n", 6), 6);
		finish(&line, RESET);
		reset.fd = stream_fd(line.stream);
		assert_int_equal(poll(&reset, 1, 10000), 1);
		for (int turn = 0; turn < 1000 && (reset.revents & (POLLERR | POLLHUP)) == 0; turn++)
			poll(&reset, 1, 10);
		assert_false(stream_mute(line.stream));
		line_produce(&line, "+OK\r\n");
		assert_int_equal(stream_pump(line.stream, false, true), STREAM_OK);
		assert_true(stream_mute(line.stream));
		assert_int_equal(stream_output_pending(line.stream), 0);
		assert_false(stream_wants_write(line.stream));
		assert_true(stream_wants_read(line.stream));
		assert_non_null(strcasestr(stream_why(line.stream), "reset"));
		for (int turn = 0; turn < 4 && event == STREAM_OK; turn++)
			event = stream_pump(line.stream, true, false);
		assert_int_not_equal(event, STREAM_OK);
		line_assert_input(&line, "QUIT\r\n", "input behind a failed write");
		line_produce(&line, "+OK\r\n");
		assert_int_equal(stream_output_pending(line.stream), 0);
		line_end(&line);
	}
}

static void test_close_notify_is_sent(void **state)
{
	struct line line;
	char octet;

	(void)state;
	line_begin(&line, TLS1_3_VERSION);
	stream_free(&line.stream);
	ERR_clear_error();
	assert_int_equal(SSL_get_error(line.ssl, SSL_read(line.ssl, &octet, 1)), SSL_ERROR_ZERO_RETURN);
	line_end(&line);
}

/* What a client may have glued to STLS, at each place a segment can end. */
static void test_injection_is_seen(void **state)
{
	static const char text[] = "STLS\r\nNOOP\r\n";

	(void)state;
	for (size_t split = 6; split <= sizeof(text) - 1; split++) {
		struct line line;

		line_begin(&line, 0);
		line_write(&line, text, split);
		assert_int_equal(line_pump(&line), STREAM_OK);
		line_write(&line, text + split, sizeof(text) - 1 - split);
		stream_consume(line.stream, 6);
		assert_true(stream_input_pending(line.stream));
		if (split > 6) /* and if nobody asked, TLS does not begin on top of it */
			assert_int_equal(stream_start_tls(line.stream, line_server), -1);
		line_end(&line);
	}
}

static void test_stls(void **state)
{
	struct line line;
	char got[8];

	(void)state;
	line_begin(&line, 0);
	assert_false(stream_input_pending(line.stream));
	line_write(&line, "STLS\r\n", 6);
	assert_true(stream_input_pending(line.stream));
	line_pump(&line);
	stream_consume(line.stream, 6);
	assert_false(stream_input_pending(line.stream));
	line_produce(&line, "+OK\r\n");
	assert_int_equal(stream_start_tls(line.stream, line_server), -1); /* the answer goes first */
	line_pump(&line);
	assert_int_equal(line_read(&line, got, sizeof(got)), 5);
	line_shake_hands(&line, 0);
	assert_int_equal(stream_start_tls(line.stream, line_server), -1);
	line_write(&line, "CAPA\r\n", 6);
	line_pump(&line);
	line_assert_input(&line, "CAPA\r\n", "under TLS");
	line_end(&line);
}

/* Octets that the kernel holds when TLS begins are taken for TLS, and fail as such: never a command. */
static void test_late_injection_is_no_command(void **state)
{
	struct line line;

	(void)state;
	line_begin(&line, 0);
	line_write(&line, "NOOP\r\nNOOP\r\n", 12);
	assert_int_equal(stream_start_tls(line.stream, line_server), 0);
	assert_int_equal(line_pump(&line), STREAM_ERROR);
	line_assert_input(&line, "", "after the failure");
	assert_false(stream_tls(line.stream));
	line_end(&line);
}

struct hello_row {
	const char *sentence;
	uint8_t octets[12];
	size_t len;
	bool want_error;
};

static const struct hello_row hello_rows[] = {
    {"a ClientHello of 32 KiB may go on", {22, 3, 1, 0x3f, 0xff, 1, 0, 0x80, 0x00}, 9, false},
    {"a ClientHello larger than that ends it", {22, 3, 1, 0x3f, 0xff, 1, 0, 0x80, 0x01}, 9, true},
    {"a ClientHello of 128 KiB ends it", {22, 3, 1, 0x3f, 0xff, 1, 2, 0, 0}, 9, true},
    {"a record too short to tell ends it", {22, 3, 1, 0, 3, 1, 0, 1}, 8, true},
    {"a request of HTTP ends it", {'G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P'}, 10, true},
    {"a command ends it", {'U', 'S', 'E', 'R', ' ', 'a', '\r', '\n'}, 8, true},
};

static void test_hellos(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(hello_rows) / sizeof(hello_rows[0]); i++) {
		for (size_t split = 0; split < hello_rows[i].len; split++) {
			struct line line;
			enum stream_event event;

			line_begin(&line, 0);
			assert_int_equal(stream_start_tls(line.stream, line_server), 0);
			send(line.peer, hello_rows[i].octets, split, 0);
			line_pump(&line);
			send(line.peer, hello_rows[i].octets + split, hello_rows[i].len - split, 0);
			event = line_pump(&line);
			if ((event == STREAM_ERROR) != hello_rows[i].want_error)
				fail_msg("%s, split at %zu: %s", hello_rows[i].sentence, split,
				    stream_why(line.stream));
			line_end(&line);
		}
	}
}

/* Each octet of the client's handshake by itself. */
static void test_handshake_octet_by_octet(void **state)
{
	(void)state;
	EACH_VERSION(v)
	{
		struct line line, wire;
		int pair[2];

		if (versions[v] == 0)
			continue;
		line_begin(&line, 0);
		fixture_sockets(pair);
		wire = (struct line){.peer = pair[0]};
		line_peer_tls(&wire, versions[v]);
		assert_int_equal(stream_start_tls(line.stream, line_server), 0);
		for (int turn = 0; turn < 8 && !(stream_tls(line.stream) && SSL_is_init_finished(wire.ssl));
		     turn++) {
			uint8_t octets[8192];
			ssize_t n;

			ERR_clear_error();
			SSL_do_handshake(wire.ssl);
			n = recv(pair[1], octets, sizeof(octets), 0);
			for (ssize_t i = 0; i < n; i++) {
				assert_int_equal(send(line.peer, octets + i, 1, 0), 1);
				assert_int_equal(line_pump(&line), STREAM_OK);
			}
			n = recv(line.peer, octets, sizeof(octets), 0);
			if (n > 0)
				send(pair[1], octets, (size_t)n, 0);
		}
		assert_true(stream_tls(line.stream));
		SSL_free(wire.ssl);
		close(pair[0]);
		close(pair[1]);
		line_end(&line);
	}
}

#if !SANDBOX_SANITIZED /* whose allocator keeps no such count */
static void test_idle_session_is_small(void **state)
{
	enum { LINES = 20, CLEAR_OCTETS = 1024, TLS_OCTETS = 30720 };

	(void)state;
	EACH_VERSION(v)
	{
		struct line lines[LINES];
		size_t before, with_peer, without, each;

		before = mallinfo2().uordblks;
		for (size_t i = 0; i < LINES; i++) {
			line_begin(&lines[i], versions[v]);
			line_write(&lines[i], "NOOP\r\n", 6);
			line_pump(&lines[i]);
			stream_consume(lines[i].stream, 6);
			line_produce(&lines[i], "+OK\r\n");
			line_pump(&lines[i]);
			line_produce(&lines[i], ""); /* asked, and nothing to say */
		}
		with_peer = mallinfo2().uordblks;
		for (size_t i = 0; i < LINES; i++)
			stream_free(&lines[i].stream);
		without = mallinfo2().uordblks;
		each = (with_peer - without) / LINES;
		if (each > (versions[v] == 0 ? CLEAR_OCTETS : TLS_OCTETS) || with_peer < before)
			fail_msg("%zu octets an idle session of version %x", each, (unsigned)versions[v]);
		print_message("# %s: %zu octets an idle session\n", versions[v] == 0 ? "clear" : "TLS", each);
		for (size_t i = 0; i < LINES; i++)
			line_end(&lines[i]);
	}
}

#endif

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_description),
		cmocka_unit_test(test_input_is_bounded),
		cmocka_unit_test(test_limit_raised_under_tls_shows_what_waits),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_endings),
		cmocka_unit_test(test_input_outlives_output),
		cmocka_unit_test(test_close_notify_is_sent),
		cmocka_unit_test(test_injection_is_seen),
		cmocka_unit_test(test_stls),
		cmocka_unit_test(test_late_injection_is_no_command),
		cmocka_unit_test(test_hellos),
		cmocka_unit_test(test_handshake_octet_by_octet),
#if !SANDBOX_SANITIZED
		cmocka_unit_test(test_idle_session_is_small),
#endif
	};

	return cmocka_run_group_tests(tests, line_setup, line_teardown);
}
