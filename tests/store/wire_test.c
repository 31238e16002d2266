/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/wire.h"

#define TEXT(s) (s), sizeof(s) - 1
enum { CRLF = WIRE_CRLF, NODOTS = WIRE_NODOTS, READY = WIRE_CRLF | WIRE_NODOTS };

static const struct message_row {
	const char *sentence;
	const char *in;
	size_t len;
	uint64_t octets;
	unsigned flags;
	const char *out; /* without the final ".CRLF" */
	size_t out_len;
} message_rows[] = {
    {"an empty message has no line", TEXT(""), 0, READY, TEXT("")},
    {"CRLF stays", TEXT("A: b\r\n\r\nc\r\n"), 11, READY, TEXT("A: b\r\n\r\nc\r\n")},
    {"LF becomes CRLF", TEXT("A: b\n\nc\n"), 11, NODOTS, TEXT("A: b\r\n\r\nc\r\n")},
    {"mixed line ends", TEXT("a\r\nb\nc\r\n"), 9, NODOTS, TEXT("a\r\nb\r\nc\r\n")},
    {"a last line without an end gets one", TEXT("a\nb"), 6, NODOTS, TEXT("a\r\nb\r\n")},
    {"a last line of CRLF mail gets one, too", TEXT("a\r\nb"), 6, NODOTS, TEXT("a\r\nb\r\n")},
    {"a bare CR is an octet", TEXT("a\rb\n"), 5, NODOTS, TEXT("a\rb\r\n")},
    {"a final bare CR is no line end", TEXT("a\r"), 4, NODOTS, TEXT("a\r\r\n")},
    {"of CR CR LF only the last two are a line end", TEXT("a\r\r\n"), 4, READY, TEXT("a\r\r\n")},
    {"LF CR", TEXT("\n\r"), 5, NODOTS, TEXT("\r\n\r\r\n")},
    {"a lone LF", TEXT("\n"), 2, NODOTS, TEXT("\r\n")},
    {"a lone CR", TEXT("\r"), 3, NODOTS, TEXT("\r\r\n")},
    {"NUL is an octet", TEXT("a\0b\n\0"), 8, NODOTS, TEXT("a\0b\r\n\0\r\n")},
    {"a dot at the very beginning", TEXT(".a\r\n"), 4, CRLF, TEXT("..a\r\n")},
    {"a line of one dot", TEXT("a\r\n.\r\nb\r\n"), 9, CRLF, TEXT("a\r\n..\r\nb\r\n")},
    {"a dot after a bare LF", TEXT("a\n.b\n"), 7, 0, TEXT("a\r\n..b\r\n")},
    {"a dot after a bare CR begins no line", TEXT("a\r.b\r\n"), 6, READY, TEXT("a\r.b\r\n")},
    {"two dots get a third", TEXT("..\r\n"), 4, CRLF, TEXT("...\r\n")},
    {"a last dot without a line end", TEXT("a\n."), 6, 0, TEXT("a\r\n..\r\n")},
    {"octets above 127", TEXT("\xff\xfe.\n"), 5, NODOTS, TEXT("\xff\xfe.\r\n")},
};

static const struct top_row {
	const char *sentence;
	uint32_t lines;
	const char *in;
	size_t len;
	const char *out;
	size_t out_len;
} top_rows[] = {
    {"TOP 0 is the header and the blank line", 0, TEXT("A: b\r\nC: d\r\n\r\nx\r\n"),
	TEXT("A: b\r\nC: d\r\n\r\n")},
    {"TOP 0 of LF mail", 0, TEXT("A: b\n\nx\n"), TEXT("A: b\r\n\r\n")},
    {"TOP 1", 1, TEXT("A: b\n\nx\ny\n"), TEXT("A: b\r\n\r\nx\r\n")},
    {"TOP 2 of two lines", 2, TEXT("A: b\n\nx\ny\n"), TEXT("A: b\r\n\r\nx\r\ny\r\n")},
    {"TOP 9 of two lines", 9, TEXT("A: b\n\nx\ny"), TEXT("A: b\r\n\r\nx\r\ny\r\n")},
    {"blank body lines count", 2, TEXT("A: b\n\n\n\nx\n"), TEXT("A: b\r\n\r\n\r\n\r\n")},
    {"no blank line: all is header", 0, TEXT("A: b\nC: d\n"), TEXT("A: b\r\nC: d\r\n")},
    {"no blank line, no line end", 0, TEXT("A: b"), TEXT("A: b\r\n")},
    {"no header", 1, TEXT("\nx\ny\n"), TEXT("\r\nx\r\n")},
    {"no header in CRLF", 0, TEXT("\r\nx\r\n"), TEXT("\r\n")},
    {"a line of a space is not blank", 0, TEXT("A: b\n \n\nx\n"), TEXT("A: b\r\n \r\n\r\n")},
    {"a line of CR CR LF is not blank", 0, TEXT("A: b\r\n\r\r\n\r\nx\r\n"), TEXT("A: b\r\n\r\r\n\r\n")},
    {"a bare CR ends no body line", 1, TEXT("\nx\ry\nz\n"), TEXT("\r\nx\ry\r\n")},
    {"dots are stuffed", 1, TEXT(".A: b\n\n.\n.\n"), TEXT("..A: b\r\n\r\n..\r\n")},
    {"an empty message", 3, TEXT(""), TEXT("")},
};

/* Encodes in pieces of random sizes up to the given ones. Returns the octets in out, end included. */
static size_t encode(
    struct wire_encoder *encoder, const char *in, size_t len, size_t in_max, size_t out_max, char *out)
{
	size_t taken = 0;
	size_t written = 0;
	while (taken < len && !encoder->done) {
		size_t some = 1 + (size_t)rand() % in_max;
		size_t size = 2 + (size_t)rand() % out_max;
		if (some > len - taken)
			some = len - taken;
		size_t used = 99;
		size_t got = wire_encode(encoder, in + taken, some, &used, out + written, size);
		assert_true(used <= some && got <= size);
		assert_true(got > 0 || encoder->done);
		taken += used;
		written += got;
	}
	return written + wire_encode_end(encoder, out + written);
}

static void check_encoded(
    const char *sentence, uint32_t lines, const char *in, size_t len, const char *want, size_t want_len)
{
	for (size_t step = 1; step < 12; step++) {
		char out[256];
		struct wire_encoder encoder = {.body_lines = lines};
		size_t got = encode(&encoder, in, len, step, step, out);
		if (got != want_len + 3 || memcmp(out, want, want_len) != 0 ||
		    memcmp(out + want_len, ".\r\n", 3) != 0)
			fail_msg("%s (pieces of %zu)", sentence, step);
	}
}

static void test_messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(message_rows) / sizeof(*message_rows); i++) {
		const struct message_row *row = &message_rows[i];
		struct wire_count count = {0};
		unsigned flags = 99;
		wire_count_add(&count, row->in, row->len);
		uint64_t octets = wire_count_done(&count, &flags);
		if (octets != row->octets || flags != row->flags)
			fail_msg(
			    "%s: %llu octets, flags %u", row->sentence, (unsigned long long)octets, flags);
		check_encoded(row->sentence, WIRE_WHOLE, row->in, row->len, row->out, row->out_len);
	}
}

static void test_top(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(top_rows) / sizeof(*top_rows); i++) {
		const struct top_row *row = &top_rows[i];
		check_encoded(row->sentence, row->lines, row->in, row->len, row->out, row->out_len);
	}
}

/* The rules once more, octet by octet and without any cleverness. Returns the octets in out, end included. */
static size_t reference(uint32_t lines, const char *in, size_t len, char *out, uint64_t *stuffed_r)
{
	size_t n = 0;
	size_t line = 0;
	bool body = false;
	*stuffed_r = 0;
	for (size_t i = 0; i < len; i++) {
		if (i == line && in[i] == '.') {
			out[n++] = '.';
			++*stuffed_r;
		}
		if (in[i] == '\n' && (i == 0 || in[i - 1] != '\r'))
			out[n++] = '\r';
		out[n++] = in[i];
		if (in[i] != '\n')
			continue;
		bool blank = i == line || (i == line + 1 && in[line] == '\r');
		line = i + 1;
		if (body && lines != WIRE_WHOLE)
			lines--;
		body |= blank;
		if (body && lines == 0)
			break;
	}
	if (n > 0 && out[n - 1] != '\n') {
		out[n++] = '\r';
		out[n++] = '\n';
	}
	memcpy(out + n, ".\r\n", 3);
	return n + 3;
}

#define BODY_OCTETS 3000u

static size_t random_body(char *in)
{
	static const char common[] = "\n\n\r\r..ab\0";
	size_t len = (size_t)rand() % (rand() % 8 == 0 ? BODY_OCTETS : 40u);
	int plain = rand() % 80;
	for (size_t i = 0; i < len; i++)
		in[i] = rand() % 80 < plain ? 'x' : common[(size_t)rand() % sizeof(common)];
	return len;
}

static void check_count(const char *in, size_t len, uint64_t octets, bool stuffed)
{
	struct wire_count count = {0};
	for (size_t at = 0; at < len;) {
		size_t some = 1 + (size_t)rand() % 600;
		some = some < len - at ? some : len - at;
		wire_count_add(&count, in + at, some);
		wire_count_add(&count, in, 0);
		at += some;
	}
	unsigned flags;
	assert_int_equal(wire_count_done(&count, &flags), octets);
	assert_int_equal((flags & WIRE_NODOTS) == 0, stuffed);
	assert_int_equal((flags & WIRE_CRLF) != 0, octets == len);
}

static void test_against_reference(void **state)
{
	(void)state;
	static char in[BODY_OCTETS], want[3 * BODY_OCTETS], got[3 * BODY_OCTETS];
	srand(20061);
	for (int round = 0; round < 60000; round++) {
		size_t len = random_body(in);
		uint64_t stuffed;
		size_t want_len = reference(WIRE_WHOLE, in, len, want, &stuffed);
		check_count(in, len, want_len - 3 - stuffed, stuffed > 0);
		uint32_t lines = rand() % 2 ? WIRE_WHOLE : (uint32_t)rand() % 5;
		want_len = reference(lines, in, len, want, &stuffed);
		struct wire_encoder encoder = {.body_lines = lines};
		size_t steps[] = {1, 3, 70, BODY_OCTETS};
		size_t got_len = encode(&encoder, in, len, steps[rand() % 4], steps[rand() % 4], got);
		assert_int_equal(got_len, want_len);
		assert_memory_equal(got, want, want_len);
	}
}

/* With both flags known the text is copied as it is. */
static void test_ready(void **state)
{
	(void)state;
	static const char in[] = "A: b\r\n\r\nline\r\nline\r\n";
	char out[64];
	for (size_t step = 1; step < 12; step++) {
		struct wire_encoder encoder = {.body_lines = WIRE_WHOLE, .flags = READY};
		size_t len = encode(&encoder, in, sizeof(in) - 1, step, step, out);
		assert_int_equal(len, sizeof(in) - 1 + 3);
		assert_memory_equal(out, in, sizeof(in) - 1);
		encoder = (struct wire_encoder){.body_lines = 1, .flags = READY};
		len = encode(&encoder, in, sizeof(in) - 1, step, step, out);
		assert_int_equal(len, sizeof("A: b\r\n\r\nline\r\n.\r\n") - 1);
	}
}

/* Sizes are 64 bits wide: five gigabytes of bare LF are ten on the wire. */
static void test_large(void **state)
{
	(void)state;
	static char lfs[1 << 20];
	memset(lfs, '\n', sizeof(lfs));
	struct wire_count count = {0};
	for (int i = 0; i < 5 << 10; i++)
		wire_count_add(&count, lfs, sizeof(lfs));
	unsigned flags;
	assert_int_equal(wire_count_done(&count, &flags), (uint64_t)10 << 30);
	assert_int_equal(flags, NODOTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_messages),
	    cmocka_unit_test(test_top),
	    cmocka_unit_test(test_against_reference),
	    cmocka_unit_test(test_ready),
	    cmocka_unit_test(test_large),
	};
	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
