/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <string.h>
#include <cmocka.h>

#include "server/network.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The address a text of inet_pton(3) means, as struct peer holds it. */
static struct peer peer_of(const char *text)
{
	struct peer peer = {.address = {[10] = 0xff, [11] = 0xff}};
	if (inet_pton(AF_INET, text, peer.address + 12) != 1)
		assert_int_equal(inet_pton(AF_INET6, text, peer.address), 1);
	return peer;
}

struct parse_row {
	const char *sentence, *text;
	int want;
	const char *address; /* what it begins with */
	unsigned prefix;
};

static const struct parse_row parse_rows[] = {
    {"an IPv4 network", "10.0.0.0/8", 0, "10.0.0.0", 104},
    {"an IPv4 network that ends inside an octet", "192.0.2.64/27", 0, "192.0.2.64", 123},
    {"all of IPv4", "0.0.0.0/0", 0, "0.0.0.0", 96},
    {"an IPv4 host", "192.0.2.1", 0, "192.0.2.1", 128},
    {"an IPv4 host with its prefix", "192.0.2.1/32", 0, "192.0.2.1", 128},
    {"an IPv6 network", "2001:db8::/32", 0, "2001:db8::", 32},
    {"an IPv6 network that ends inside an octet", "2001:db8:8000::/33", 0, "2001:db8:8000::", 33},
    {"all of IPv6", "::/0", 0, "::", 0},
    {"an IPv6 host", "::1", 0, "::1", 128},
    {"an IPv6 host with its prefix", "::1/128", 0, "::1", 128},
    {"a mapped IPv4 network is the IPv4 network", "::ffff:10.0.0.0/104", 0, "10.0.0.0", 104},
    {"a host bit of IPv4", "10.0.0.1/8", NETWORK_HOST_BITS, NULL, 0},
    {"the first host bit inside an octet", "192.0.2.32/26", NETWORK_HOST_BITS, NULL, 0},
    {"the last host bit", "192.0.2.1/31", NETWORK_HOST_BITS, NULL, 0},
    {"a host bit of IPv6", "2001:db8::1/32", NETWORK_HOST_BITS, NULL, 0},
    {"a host bit of all of IPv6", "8000::/0", NETWORK_HOST_BITS, NULL, 0},
    {"more bits than IPv4 has", "10.0.0.0/33", NETWORK_PREFIX, NULL, 0},
    {"more bits than IPv6 has", "::/129", NETWORK_PREFIX, NULL, 0},
    {"bits beyond an octet", "::/256", NETWORK_PREFIX, NULL, 0},
    {"a very large number", "::/99999999999999999999", NETWORK_PREFIX, NULL, 0},
    {"no number", "10.0.0.0/", NETWORK_PREFIX, NULL, 0},
    {"a mask for a number", "10.0.0.0/255.0.0.0", NETWORK_PREFIX, NULL, 0},
    {"a sign", "10.0.0.0/+8", NETWORK_PREFIX, NULL, 0},
    {"a blank behind", "10.0.0.0/8 ", NETWORK_PREFIX, NULL, 0},
    {"a leading zero", "10.0.0.0/08", NETWORK_PREFIX, NULL, 0},
    {"two prefixes", "10.0.0.0/8/8", NETWORK_PREFIX, NULL, 0},
    {"nothing", "", NETWORK_NOT_NUMERIC, NULL, 0},
    {"a prefix alone", "/8", NETWORK_NOT_NUMERIC, NULL, 0},
    {"a name", "localhost", NETWORK_NOT_NUMERIC, NULL, 0},
    {"a short IPv4 address", "10/8", NETWORK_NOT_NUMERIC, NULL, 0},
    {"a scope", "fe80::1%eth0", NETWORK_NOT_NUMERIC, NULL, 0},
    {"brackets", "[::1]", NETWORK_NOT_NUMERIC, NULL, 0},
    {"a text longer than any address", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
	NETWORK_NOT_NUMERIC, NULL, 0},
};

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(parse_rows); i++) {
		const struct parse_row *row = &parse_rows[i];
		struct network network;
		int got = network_parse(row->text, &network);
		if (got != row->want)
			fail_msg("%s: %d, not %d", row->sentence, got, row->want);
		if (got != 0)
			continue;
		struct peer first = peer_of(row->address);
		if (network.prefix != row->prefix || memcmp(network.address, first.address, 16) != 0)
			fail_msg("%s: another network", row->sentence);
	}
}

struct has_row {
	const char *sentence, *network, *peer;
	bool want;
};

static const struct has_row has_rows[] = {
    {"the first address", "10.0.0.0/8", "10.0.0.0", true},
    {"the last address", "10.0.0.0/8", "10.255.255.255", true},
    {"one below", "10.0.0.0/8", "9.255.255.255", false},
    {"one above", "10.0.0.0/8", "11.0.0.0", false},
    {"the last inside an octet", "192.0.2.64/27", "192.0.2.95", true},
    {"one above inside an octet", "192.0.2.64/27", "192.0.2.96", false},
    {"one below inside an octet", "192.0.2.64/27", "192.0.2.63", false},
    {"the host itself", "192.0.2.1", "192.0.2.1", true},
    {"its neighbour", "192.0.2.1", "192.0.2.0", false},
    {"an IPv6 host", "::1/128", "::1", true},
    {"an IPv6 host's neighbour", "::1/128", "::2", false},
    {"inside an IPv6 network", "2001:db8::/32", "2001:db8:ffff::1", true},
    {"outside an IPv6 network", "2001:db8::/32", "2001:db9::", false},
    {"the first beyond 33 bits", "2001:db8::/33", "2001:db8:8000::", false},
    {"all of IPv4 has every IPv4 address", "0.0.0.0/0", "255.255.255.255", true},
    {"all of IPv4 has no IPv6 address", "0.0.0.0/0", "2001:db8::1", false},
    {"all of IPv6 has every IPv6 address", "::/0", "2001:db8::1", true},
    {"all of IPv6 has no IPv4 address", "::/0", "10.0.0.1", false},
    {"IPv6 addresses with many zeros are no IPv4 address", "::/80", "10.0.0.1", false},
    {"a mapped network has IPv4 addresses", "::ffff:10.0.0.0/104", "10.1.2.3", true},
    {"the IPv4 loopback is not the IPv6 one", "127.0.0.0/8", "::1", false},
};

static void test_has(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(has_rows); i++) {
		const struct has_row *row = &has_rows[i];
		struct network network;
		struct peer peer = peer_of(row->peer);
		assert_int_equal(network_parse(row->network, &network), 0);
		if (network_has(&network, &peer) != row->want)
			fail_msg("%s", row->sentence);
	}
}

static void test_any(void **state)
{
	(void)state;
	struct network entries[2];
	struct networks networks = {entries, 2}, none = {NULL, 0};
	struct peer v4 = peer_of("10.1.2.3"), v6 = peer_of("::1"), other = peer_of("192.0.2.1");
	assert_int_equal(network_parse("10.0.0.0/8", &entries[0]), 0);
	assert_int_equal(network_parse("::1", &entries[1]), 0);
	assert_true(networks_have(&networks, &v4));
	assert_true(networks_have(&networks, &v6));
	assert_false(networks_have(&networks, &other));
	assert_false(networks_have(&none, &v4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_parse),
	    cmocka_unit_test(test_has),
	    cmocka_unit_test(test_any),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
