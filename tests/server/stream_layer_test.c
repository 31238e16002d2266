/* SPDX-License-Identifier: ISC */
/* The client's connection under a security layer, over real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "server/sandbox_build.h"
#include "server/stream.h"
#include "tests/sasl/layer_peer.h"
#include "tests/server/stream_line.h"

static const enum layer_kind kinds[] = {LAYER_INTEGRITY, LAYER_CONFIDENTIALITY};
#define EACH_KIND(k) for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
#define AES256 18

/* A line with a layer, and the client's end of both. */
static void begin(struct line *line, struct layer_peer *peer, enum layer_kind kind, size_t client_max)
{
	line_begin(line, 0);
	assert_int_equal(
	    stream_start_layer(line->stream, layer_peer_begin(peer, kind, AES256, client_max)), 0);
}

static void write_all(struct line *line, const uint8_t *octets, size_t len)
{
	if (len > 0)
		assert_int_equal(line_write(line, octets, len), len);
}

static size_t record(struct layer_peer *peer, const char *text, uint8_t *octets_r)
{
	return layer_peer_record(peer, text, strlen(text), octets_r);
}

static void test_every_split(void **state)
{
	(void)state;
	EACH_KIND(k)
	for (size_t split = 0, len = 1; split <= len; split++) {
		struct layer_peer peer;
		struct line line;
		uint8_t octets[1000];

		begin(&line, &peer, kinds[k], 65536);
		len = record(&peer, "STAT\r\nLI", octets);
		len += record(&peer, "", octets + len);
		len += record(&peer, "ST\r\n", octets + len);
		write_all(&line, octets, split);
		assert_int_equal(line_pump(&line), STREAM_OK);
		assert_true(split == len || stream_wants_read(line.stream));
		write_all(&line, octets + split, len - split);
		for (int turn = 0; turn < 10; turn++)
			assert_int_equal(line_pump(&line), STREAM_OK);
		line_assert_input(&line, "STAT\r\nLIST\r\n", "three records in two pieces");
		stream_consume(line.stream, 6);
		line_assert_input(&line, "LIST\r\n", "after the first command");
		line_end(&line);
	}
}

/* More than the limit waits; all of it arrives, in order, though no socket shows what is held. */
static void test_input_is_bounded(void **state)
{
	static const size_t limits[] = {1, 255, 512, 1024, 5000};
	enum { TOTAL = 60000 };
	static uint8_t text[TOTAL], octets[2 * TOTAL];

	(void)state;
	for (size_t i = 0; i < TOTAL; i++)
		text[i] = (uint8_t)(i * 7 + i / 251);
	EACH_KIND(k)
	for (size_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
		size_t len = 0, sent = 0, seen = 0, idle = 0;
		struct layer_peer peer;
		struct line line;

		begin(&line, &peer, kinds[k], 65536);
		for (size_t at = 0, piece = 1; at < TOTAL; at += piece, piece = piece * 3 % 16000) {
			piece = piece < TOTAL - at ? piece : TOTAL - at;
			len += layer_peer_record(&peer, text + at, piece, octets + len);
		}
		assert_int_equal(stream_input_limit(line.stream, limits[l]), 0);
		while (seen < TOTAL && idle < 100) {
			size_t have, take;
			const uint8_t *input;
			ssize_t n = sent < len ? line_write(&line, octets + sent, len - sent) : -1;

			sent += n > 0 ? (size_t)n : 0;
			assert_int_equal(line_pump(&line), STREAM_OK);
			input = stream_input(line.stream, &have);
			assert_true(have <= limits[l]);
			take = (have + 1) / 2;
			idle = have == 0 ? idle + 1 : 0;
			if (have > 0)
				assert_memory_equal(input, text + seen, have);
			stream_consume(line.stream, take);
			seen += take;
		}
		assert_int_equal(seen, TOTAL);
		line_end(&line);
	}
}

/* RFC 5034 section 4: the +OK is the last thing in clear, and what came early is the layer's. */
static void test_what_waits_when_it_begins(void **state)
{
	(void)state;
	EACH_KIND(k)
	{
		uint8_t octets[500], text[500];
		struct layer_peer peer;
		struct line line;
		struct layer *layer = layer_peer_begin(&peer, kinds[k], AES256, 65536);
		size_t len;

		line_begin(&line, 0);
		len = record(&peer, "STAT\r\n", octets);
		len += record(&peer, "QUIT\r\n", octets + len);
		write_all(&line, octets, len);
		assert_int_equal(line_pump(&line), STREAM_OK);
		line_produce(&line, "+OK 1 5\r\n");
		assert_int_equal(stream_start_layer(line.stream, layer), 0);
		assert_int_equal(stream_output_pending(line.stream), 9);
		assert_int_equal(stream_input_limit(line.stream, 512), 0);
		line_assert_input(&line, "STAT\r\nQUIT\r\n", "what came before the layer");
		line_produce(&line, "+OK 1 5\r\n");
		assert_int_equal(line_pump(&line), STREAM_OK);
		assert_int_equal(stream_output_pending(line.stream), 0);
		len = (size_t)line_read(&line, octets, sizeof(octets));
		assert_memory_equal(octets, "+OK 1 5\r\n", 9);
		assert_memory_equal(octets + 9, "\0\0\0", 3);
		assert_int_equal(octets[12], len - 13);
		assert_int_equal(layer_peer_take(&peer, octets + 13, len - 13, text), 9);
		assert_memory_equal(text, "+OK 1 5\r\n", 9);
		line_end(&line);
	}
}

/* What came of the stream's output so far, record by record: from held up to held_len, as far as *at_r. */
static size_t read_records(struct line *line, struct layer_peer *peer, size_t client_max, uint8_t *held,
    size_t *held_len, size_t *at_r, uint8_t *text_r)
{
	size_t text_len = 0, len;
	ssize_t n = line_read(line, held + *held_len, 100000);

	*held_len += n > 0 ? (size_t)n : 0;
	while (*held_len - *at_r >= 4) {
		const uint8_t *at = held + *at_r;

		len = (size_t)at[2] << 8 | at[3];
		assert_int_equal(at[0] | at[1], 0);
		assert_true(len <= client_max && len <= LIMIT_RECORD_OCTETS);
		if (*held_len - *at_r < 4 + len)
			break;
		text_len += layer_peer_take(peer, at + 4, len, text_r + text_len);
		*at_r += 4 + len;
	}
	return text_len;
}

static void test_output_fits_the_client(void **state)
{
	static const size_t sizes[] = {
	    LAYER_CLIENT_OCTETS, 1000, 16383, 16384, 65536, LAYER_CLIENT_MAX_OCTETS};
	enum { TOTAL = 300000 };
	static uint8_t text[TOTAL], got[TOTAL], held[2 * TOTAL];

	(void)state;
	for (size_t i = 0; i < TOTAL; i++)
		text[i] = (uint8_t)(i * 11 + i / 253);
	EACH_KIND(k)
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		size_t made = 0, seen = 0, held_len = 0, at_len = 0, room;
		struct layer_peer peer;
		struct line line;

		begin(&line, &peer, kinds[k], sizes[s]);
		while (seen < TOTAL) {
			uint8_t *at = stream_output(line.stream, &room);

			room = room < TOTAL - made ? room : TOTAL - made;
			memcpy(at, text + made, room);
			made += room;
			stream_produced(line.stream, room);
			/* What is made, and the record on its way. */
			assert_true(stream_output_pending(line.stream) <=
				    LIMIT_OUTPUT_OCTETS + LIMIT_RECORD_OCTETS + 4);
			assert_int_equal(line_pump(&line), STREAM_OK);
			seen += read_records(&line, &peer, sizes[s], held, &held_len, &at_len, got + seen);
		}
		assert_memory_equal(got, text, TOTAL);
		assert_int_equal(stream_output_pending(line.stream), 0);
		line_end(&line);
	}
}

static void test_unsound_records(void **state)
{
	static const struct {
		const char *sentence, *octets;
		size_t len;
		const char *why;
	} rows[] = {
	    {"no octets", "\0\0\0\0", 4, "security layer: a record of an impossible length"},
	    {"one octet too many", "\0\0\100\1", 4, "security layer: a record of an impossible length"},
	    {"4 GB", "\377\377\377\377", 4, "security layer: a record of an impossible length"},
	    {"clear text", "QUIT\r\n", 6, "security layer: a record of an impossible length"},
	    {"no token", "\0\0\0\2\5\4", 6, "security layer: a record that the client did not make so"},
	};

	(void)state;
	EACH_KIND(k)
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct layer_peer peer;
		struct line line;
		uint8_t octets[500];
		size_t len;

		begin(&line, &peer, kinds[k], 65536);
		write_all(&line, octets, record(&peer, "STAT\r\nQUI", octets));
		assert_int_equal(line_pump(&line), STREAM_OK);
		line_produce(&line, "+OK\r\n");
		write_all(&line, (const uint8_t *)rows[i].octets, rows[i].len);
		if (stream_pump(line.stream, true, false) != STREAM_ERROR ||
		    strcmp(stream_why(line.stream), rows[i].why) != 0)
			fail_msg("%s: %s", rows[i].sentence, stream_why(line.stream));
		assert_int_equal(stream_state(line.stream), STREAM_ERROR);
		line_assert_input(&line, "STAT\r\nQUI", "what was sound before");
		len = record(&peer, "T\r\n", octets);
		write_all(&line, octets, len);
		assert_int_equal(line_pump(&line), STREAM_ERROR);
		line_assert_input(&line, "STAT\r\nQUI", "nothing more");
		assert_true(stream_mute(line.stream));
		assert_int_equal(stream_output_pending(line.stream), 0);
		assert_int_equal(line_read(&line, octets, sizeof(octets)), -1);
		line_end(&line);
	}
}

/* Found only when what came before it was taken. */
static void test_an_unsound_record_behind_held_ones(void **state)
{
	(void)state;
	EACH_KIND(k)
	{
		struct layer_peer peer;
		struct line line;
		uint8_t octets[500];
		size_t len;

		begin(&line, &peer, kinds[k], 65536);
		assert_int_equal(stream_input_limit(line.stream, 6), 0);
		len = record(&peer, "NOOP\r\n", octets);
		len += record(&peer, "STAT\r\n", octets + len);
		memset(octets + len, 0, 4);
		write_all(&line, octets, len + 4);
		assert_int_equal(line_pump(&line), STREAM_OK);
		line_assert_input(&line, "NOOP\r\n", "the first");
		stream_consume(line.stream, 6);
		line_assert_input(&line, "STAT\r\n", "the second");
		assert_int_equal(stream_state(line.stream), STREAM_OK);
		stream_consume(line.stream, 6);
		line_assert_input(&line, "", "and no more");
		assert_int_equal(stream_state(line.stream), STREAM_ERROR);
		line_end(&line);
	}
}

static void test_ends(void **state)
{
	(void)state;
	EACH_KIND(k)
	for (size_t cut = 0, len = 1; cut <= len; cut++) {
		struct layer_peer peer;
		struct line line;
		uint8_t octets[500];
		enum stream_event event = STREAM_OK;

		begin(&line, &peer, kinds[k], 65536);
		len = record(&peer, "QUIT\r\n", octets);
		write_all(&line, octets, cut);
		shutdown(line.peer, SHUT_WR);
		for (int turn = 0; turn < 10 && event == STREAM_OK; turn++)
			event = line_pump(&line);
		assert_int_equal(event, cut == 0 || cut == len ? STREAM_EOF : STREAM_ERROR);
		line_assert_input(&line, cut == len ? "QUIT\r\n" : "", "the record, if it is whole");
		line_end(&line);
	}
}

static void test_neither_twice_nor_with_tls(void **state)
{
	struct layer_peer peer;
	struct line line;

	(void)state;
	begin(&line, &peer, LAYER_INTEGRITY, 65536);
	assert_int_equal(
	    stream_start_layer(line.stream, layer_peer_begin(&peer, LAYER_INTEGRITY, AES256, 65536)), -1);
	assert_int_equal(stream_start_tls(line.stream, line_server), -1);
	assert_int_equal(stream_start_layer(line.stream, NULL), -1);
	line_end(&line);
	line_begin(&line, TLS1_3_VERSION);
	assert_int_equal(
	    stream_start_layer(line.stream, layer_peer_begin(&peer, LAYER_INTEGRITY, AES256, 65536)), -1);
	line_end(&line);
}

/* A client that waits costs its layer, with what the library derives of the key, and no buffer. */
static void test_idle_clients_hold_no_buffers(void **state)
{
	enum { KEYS_OCTETS = 8192 };
	static uint8_t octets[LAYER_RECEIVE_OCTETS + 4], text[16000];
	size_t before, have = 0, room;
	struct layer_peer peer;
	struct line line;

	(void)state;
	begin(&line, &peer, LAYER_CONFIDENTIALITY, 65536);
	before = mallinfo2().uordblks;
	write_all(&line, octets, layer_peer_record(&peer, text, sizeof(text), octets));
	assert_int_equal(stream_input_limit(line.stream, sizeof(text)), 0);
	for (; have < sizeof(text); stream_input(line.stream, &have))
		assert_int_equal(line_pump(&line), STREAM_OK);
	stream_consume(line.stream, sizeof(text));
	memset(stream_output(line.stream, &room), 'x', 10000);
	stream_produced(line.stream, 10000);
	while (stream_output_pending(line.stream) > 0)
		assert_int_equal(line_pump(&line), STREAM_OK);
	if (!SANDBOX_SANITIZED)
		assert_true(mallinfo2().uordblks < before + KEYS_OCTETS);
	line_end(&line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_split),
	    cmocka_unit_test(test_input_is_bounded),
	    cmocka_unit_test(test_what_waits_when_it_begins),
	    cmocka_unit_test(test_output_fits_the_client),
	    cmocka_unit_test(test_unsound_records),
	    cmocka_unit_test(test_an_unsound_record_behind_held_ones),
	    cmocka_unit_test(test_ends),
	    cmocka_unit_test(test_neither_twice_nor_with_tls),
	    cmocka_unit_test(test_idle_clients_hold_no_buffers),
	};

	return cmocka_run_group_tests(tests, line_setup, line_teardown);
}
