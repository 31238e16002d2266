/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/proxy.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Octets with their length, from a literal that may hold NULs. */
#define OCTETS(text) (text), sizeof(text) - 1

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\xc0\x00\x02\x01\x0a\x00\x00\x01\x30\x39\x00\x6e" /* 192.0.2.1 to 10.0.0.1, 12345 to 110 */
#define V6                                           \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02" \
	"\xff\xff\x03\xe3"
#define TEN "0123456789"
#define NINETY TEN TEN TEN TEN TEN TEN TEN TEN TEN

struct parse_row {
	const char *sentence;
	const char *octets;
	size_t len;
	enum proxy_result want;
	const char *source; /* NULL: the connection is the balancer's own */
	unsigned port;
};

static const struct parse_row rows[] = {
    /* version 1 */
    {"TCP4", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1 12345 110\r\n"), PROXY_DONE, "192.0.2.1", 12345},
    {"TCP6", OCTETS("PROXY TCP6 2001:db8::1 2001:db8::2 65535 995\r\n"), PROXY_DONE, "2001:db8::1", 65535},
    {"TCP4 at its longest", OCTETS("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), PROXY_DONE,
	"255.255.255.255", 65535},
    {"TCP6 at its longest",
	OCTETS("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	       "65535 65535\r\n"),
	PROXY_DONE, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535},
    {"port 0", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1 0 0\r\n"), PROXY_DONE, "192.0.2.1", 0},
    {"a mapped IPv4 address as TCP6", OCTETS("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), PROXY_DONE,
	"192.0.2.1", 1},
    {"UNKNOWN alone", OCTETS("PROXY UNKNOWN\r\n"), PROXY_DONE, NULL, 0},
    {"UNKNOWN with anything behind", OCTETS("PROXY UNKNOWN 192.0.2.1 what  ever\r\n"), PROXY_DONE, NULL, 0},
    {"107 octets", OCTETS("PROXY UNKNOWN " NINETY "1\r\n"), PROXY_DONE, NULL, 0},
    {"108 octets", OCTETS("PROXY UNKNOWN " NINETY "12\r\n"), PROXY_TOO_LONG, NULL, 0},
    {"107 octets and no end", OCTETS("PROXY UNKNOWN " NINETY "123"), PROXY_TOO_LONG, NULL, 0},
    {"107 octets that end in CR", OCTETS("PROXY UNKNOWN " NINETY "12\r"), PROXY_TOO_LONG, NULL, 0},
    {"no word", OCTETS("PROXY \r\n"), PROXY_MALFORMED, NULL, 0},
    {"an empty line", OCTETS("PROXY \n"), PROXY_MALFORMED, NULL, 0},
    {"small letters", OCTETS("proxy TCP4 192.0.2.1 10.0.0.1 1 2\r\n"), PROXY_ABSENT, NULL, 0},
    {"a family of small letters", OCTETS("PROXY tcp4 192.0.2.1 10.0.0.1 1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"a word that begins like UNKNOWN", OCTETS("PROXY UNKNOWNS\r\n"), PROXY_MALFORMED, NULL, 0},
    {"another protocol", OCTETS("PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"TCP4 with nothing", OCTETS("PROXY TCP4\r\n"), PROXY_MALFORMED, NULL, 0},
    {"TCP4 with one address", OCTETS("PROXY TCP4 192.0.2.1\r\n"), PROXY_MALFORMED, NULL, 0},
    {"TCP4 without ports", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1\r\n"), PROXY_MALFORMED, NULL, 0},
    {"TCP4 with one port", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n"), PROXY_MALFORMED, NULL, 0},
    {"TCP4 with three ports", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n"), PROXY_MALFORMED, NULL, 0},
    {"a space at the end", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1 1 2 \r\n"), PROXY_MALFORMED, NULL, 0},
    {"two spaces", OCTETS("PROXY TCP4 192.0.2.1  10.0.0.1 1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"two spaces at first", OCTETS("PROXY  TCP4 192.0.2.1 10.0.0.1 1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"a tab", OCTETS("PROXY TCP4\t192.0.2.1 10.0.0.1 1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"a NUL", OCTETS("PROXY TCP4 192.0.2.1\0 10.0.0.1 1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"a NUL behind UNKNOWN", OCTETS("PROXY UNKNOWN\0\r\n"), PROXY_MALFORMED, NULL, 0},
    {"an octet beyond ASCII", OCTETS("PROXY UNKNOWN \xff\r\n"), PROXY_MALFORMED, NULL, 0},
    {"LF alone", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n"), PROXY_MALFORMED, NULL, 0},
    {"LF alone behind UNKNOWN", OCTETS("PROXY UNKNOWN\n"), PROXY_MALFORMED, NULL, 0},
    {"CR alone", OCTETS("PROXY UNKNOWN\rQUIT\r\n"), PROXY_MALFORMED, NULL, 0},
    {"two CR", OCTETS("PROXY UNKNOWN\r\r\n"), PROXY_MALFORMED, NULL, 0},
    {"IPv6 as TCP4", OCTETS("PROXY TCP4 ::1 10.0.0.1 1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"IPv4 as TCP6", OCTETS("PROXY TCP6 192.0.2.1 ::1 1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"a destination of the other family", OCTETS("PROXY TCP6 ::1 192.0.2.1 1 2\r\n"), PROXY_MALFORMED, NULL,
	0},
    {"a name for an address", OCTETS("PROXY TCP4 localhost 10.0.0.1 1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"an octet of 256", OCTETS("PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"a leading zero in an address", OCTETS("PROXY TCP4 192.0.02.1 10.0.0.1 1 2\r\n"), PROXY_MALFORMED, NULL,
	0},
    {"a scope", OCTETS("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"port 65536", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"a destination's port 99999", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1 1 99999\r\n"), PROXY_MALFORMED, NULL,
	0},
    {"a port of six digits", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1 100000 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"a port with a leading zero", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n"), PROXY_MALFORMED, NULL,
	0},
    {"a port with a sign", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    {"a port in hexadecimal", OCTETS("PROXY TCP4 192.0.2.1 10.0.0.1 0x1 2\r\n"), PROXY_MALFORMED, NULL, 0},
    /* version 2 */
    {"INET", OCTETS(SIGNATURE "\x21\x11\0\x0c" V4), PROXY_DONE, "192.0.2.1", 12345},
    {"INET6", OCTETS(SIGNATURE "\x21\x21\0\x24" V6), PROXY_DONE, "2001:db8::1", 65535},
    {"INET with extensions", OCTETS(SIGNATURE "\x21\x11\0\x14" V4 "\x01\0\x02h2\x04\0\0"), PROXY_DONE,
	"192.0.2.1", 12345},
    {"INET6 with extensions", OCTETS(SIGNATURE "\x21\x21\0\x28" V6 "\xea\0\x01x"), PROXY_DONE, "2001:db8::1",
	65535},
    {"LOCAL", OCTETS(SIGNATURE "\x20\0\0\0"), PROXY_DONE, NULL, 0},
    {"LOCAL with addresses", OCTETS(SIGNATURE "\x20\x11\0\x0c" V4), PROXY_DONE, NULL, 0},
    {"LOCAL of a family that is none", OCTETS(SIGNATURE "\x20\xff\0\x01x"), PROXY_DONE, NULL, 0},
    {"UNSPEC", OCTETS(SIGNATURE "\x21\0\0\0"), PROXY_DONE, NULL, 0},
    {"UNSPEC with something", OCTETS(SIGNATURE "\x21\0\0\x03xyz"), PROXY_DONE, NULL, 0},
    {"a UNIX stream", OCTETS(SIGNATURE "\x21\x31\0\xd8"), PROXY_FOREIGN, NULL, 0},
    {"a UNIX datagram", OCTETS(SIGNATURE "\x21\x32\0\xd8"), PROXY_FOREIGN, NULL, 0},
    {"UDP", OCTETS(SIGNATURE "\x21\x12\0\x0c" V4), PROXY_FOREIGN, NULL, 0},
    {"UDP over IPv6", OCTETS(SIGNATURE "\x21\x22\0\x24" V6), PROXY_FOREIGN, NULL, 0},
    {"no such family", OCTETS(SIGNATURE "\x21\x41\0\0"), PROXY_MALFORMED, NULL, 0},
    {"no such transport", OCTETS(SIGNATURE "\x21\x13\0\x0c" V4), PROXY_MALFORMED, NULL, 0},
    {"a family without transport", OCTETS(SIGNATURE "\x21\x10\0\x0c" V4), PROXY_MALFORMED, NULL, 0},
    {"a transport without family", OCTETS(SIGNATURE "\x21\x01\0\0"), PROXY_MALFORMED, NULL, 0},
    {"no such command", OCTETS(SIGNATURE "\x22\x11\0\x0c" V4), PROXY_MALFORMED, NULL, 0},
    {"version 1 in binary", OCTETS(SIGNATURE "\x11\x11\0\x0c" V4), PROXY_MALFORMED, NULL, 0},
    {"version 3", OCTETS(SIGNATURE "\x31\x11\0\x0c" V4), PROXY_MALFORMED, NULL, 0},
    {"a signature with another octet", OCTETS("\r\n\r\n\0\r\nQUIT\r\x21\x11\0\x0c" V4), PROXY_ABSENT, NULL,
	0},
    {"INET without addresses", OCTETS(SIGNATURE "\x21\x11\0\0"), PROXY_MALFORMED, NULL, 0},
    {"INET an octet short", OCTETS(SIGNATURE "\x21\x11\0\x0b" V4), PROXY_MALFORMED, NULL, 0},
    {"INET6 with IPv4's addresses", OCTETS(SIGNATURE "\x21\x21\0\x0c" V4), PROXY_MALFORMED, NULL, 0},
    {"half an extension's head", OCTETS(SIGNATURE "\x21\x11\0\x0e" V4 "\x01\0"), PROXY_MALFORMED, NULL, 0},
    {"an extension beyond the header", OCTETS(SIGNATURE "\x21\x11\0\x10" V4 "\x01\0\x02x"), PROXY_MALFORMED,
	NULL, 0},
    {"an extension far beyond", OCTETS(SIGNATURE "\x21\x11\0\x10" V4 "\x01\xff\xffx"), PROXY_MALFORMED, NULL,
	0},
    {"longer than is taken", OCTETS(SIGNATURE "\x21\x11\x0f\xf1"), PROXY_TOO_LONG, NULL, 0},
    {"as long as a header can say", OCTETS(SIGNATURE "\x21\x11\xff\xff"), PROXY_TOO_LONG, NULL, 0},
    {"a long LOCAL", OCTETS(SIGNATURE "\x20\0\xff\xff"), PROXY_TOO_LONG, NULL, 0},
    {"a right checksum", OCTETS(SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04\x7a\x1c\x3a\x48"), PROXY_DONE,
	"192.0.2.1", 12345},
    {"a wrong checksum", OCTETS(SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04\x7a\x1c\x3a\x49"), PROXY_CHECKSUM,
	NULL, 0},
    {"a checksum of two octets", OCTETS(SIGNATURE "\x21\x11\0\x11" V4 "\x03\0\x02\xb5\x33"), PROXY_MALFORMED,
	NULL, 0},
    /* neither */
    {"a ClientHello", OCTETS("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"), PROXY_ABSENT, NULL, 0},
    {"sendauth", OCTETS("\0\0\0\x13KRB5_SENDAUTH_V1.0"), PROXY_ABSENT, NULL, 0},
    {"a command", OCTETS("CAPA\r\n"), PROXY_ABSENT, NULL, 0},
    {"a command that begins alike", OCTETS("PASS x\r\n"), PROXY_ABSENT, NULL, 0},
    {"an empty line", OCTETS("\r\n"), PROXY_MORE, NULL, 0},
};

static void check(const struct parse_row *row, const uint8_t *octets, size_t len, size_t header)
{
	struct proxy_header got = {.octets = 4711};
	enum proxy_result result = proxy_parse(octets, len, &got);
	char address[INET6_ADDRSTRLEN];
	struct peer want = {.address = {[10] = 0xff, [11] = 0xff}, .port = (uint16_t)row->port};

	if (result != row->want)
		fail_msg("%s, %zu octets: %s", row->sentence, len, proxy_text(result));
	if (result != PROXY_DONE) {
		assert_int_equal(got.octets, 4711);
		return;
	}
	if (got.octets != header || got.proxied != (row->source != NULL))
		fail_msg("%s: %zu octets of %zu", row->sentence, got.octets, header);
	if (row->source == NULL)
		return;
	if (inet_pton(AF_INET, row->source, want.address + 12) != 1)
		assert_int_equal(inet_pton(AF_INET6, row->source, want.address), 1);
	inet_ntop(AF_INET6, got.source.address, address, sizeof(address));
	if (memcmp(got.source.address, want.address, 16) != 0 || got.source.port != want.port)
		fail_msg("%s: from %s, %u", row->sentence, address, got.source.port);
}

/* In memory of just that length, so that a read past its end is seen. */
static uint8_t *exact(const void *octets, size_t len)
{
	uint8_t *copy = malloc(len + (len == 0));
	assert_non_null(copy);
	memcpy(copy, octets, len);
	return copy;
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint8_t *octets = exact(rows[i].octets, rows[i].len);
		check(&rows[i], octets, rows[i].len, rows[i].len);
		free(octets);
	}
}

/* Whatever comes behind: it is not the header's, and changes nothing. */
static void test_more_behind(void **state)
{
	(void)state;
	static const char *const tails[] = {"\x16\x03\x01", "CAPA\r\n", "PROXY UNKNOWN\r\n", "\n"};
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t j = 0; j < COUNT(tails) && rows[i].want == PROXY_DONE; j++) {
			uint8_t octets[512];
			memcpy(octets, rows[i].octets, rows[i].len);
			memcpy(octets + rows[i].len, tails[j], strlen(tails[j]));
			check(&rows[i], octets, rows[i].len + strlen(tails[j]), rows[i].len);
		}
}

/* A sound header cut anywhere wants more; an unsound one does until it is seen to be, and is so from then on.
 */
static void test_every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum proxy_result before = PROXY_MORE;
		for (size_t len = 0; len < rows[i].len; len++) {
			struct proxy_header header;
			uint8_t *octets = exact(rows[i].octets, len);
			enum proxy_result got = proxy_parse(octets, len, &header);
			free(octets);
			bool sound = rows[i].want == PROXY_DONE || rows[i].want == PROXY_MORE;
			if (got == PROXY_DONE || (sound && got != PROXY_MORE) ||
			    (before < 0 && got != before))
				fail_msg("%s, %zu octets: %s", rows[i].sentence, len, proxy_text(got));
			before = got;
		}
	}
}

/* The longest header that is taken, and each length below. */
static void test_lengths(void **state)
{
	(void)state;
	static uint8_t octets[LIMIT_PROXY_OCTETS + 1];
	struct proxy_header header;

	memcpy(octets, SIGNATURE "\x20\0", 14);
	for (size_t len = 16; len <= LIMIT_PROXY_OCTETS; len++) {
		octets[14] = (uint8_t)((len - 16) >> 8);
		octets[15] = (uint8_t)(len - 16);
		assert_int_equal(proxy_parse(octets, len, &header), PROXY_DONE);
		assert_int_equal(header.octets, len);
		assert_int_equal(proxy_parse(octets, len - 1, &header), PROXY_MORE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows),
	    cmocka_unit_test(test_more_behind),
	    cmocka_unit_test(test_every_cut),
	    cmocka_unit_test(test_lengths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
