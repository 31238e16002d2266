/* SPDX-License-Identifier: ISC */
#include "server/network.h"

#include <arpa/inet.h>
#include <string.h>

#define MAPPED_BITS 96u

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

/* Decimal, without sign, leading zeros or anything behind it, at most most. */
static int parse_bits(const char *text, unsigned most, uint8_t *bits_r)
{
	unsigned bits = 0;
	size_t len = strlen(text);

	if (len == 0 || len > 3 || (text[0] == '0' && len > 1))
		return NETWORK_PREFIX;
	for (const char *p = text; *p != '\0'; p++) {
		if (*p < '0' || *p > '9')
			return NETWORK_PREFIX;
		bits = bits * 10 + (unsigned)(*p - '0');
	}
	*bits_r = (uint8_t)bits;
	return bits <= most ? 0 : NETWORK_PREFIX;
}

/* Whether the first bits bits of a and b are the same. */
static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	size_t whole = bits / 8;
	unsigned rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool host_bits_clear(const struct network *network)
{
	static const uint8_t zeros[16];
	size_t whole = network->prefix / 8u;
	unsigned rest = network->prefix % 8u;

	if (network->prefix == 128)
		return true;
	if ((network->address[whole] & (0xffu >> rest)) != 0)
		return false;
	return memcmp(network->address + whole + 1, zeros, 15 - whole) == 0;
}

int network_parse(const char *text, struct network *network_r)
{
	char address[INET6_ADDRSTRLEN] = "";
	size_t len = strcspn(text, "/");
	uint8_t bits;
	bool v4;

	*network_r = (struct network){.prefix = 128};
	if (len >= sizeof(address))
		return NETWORK_NOT_NUMERIC;
	memcpy(address, text, len);
	v4 = inet_pton(AF_INET, address, network_r->address + sizeof(mapped)) == 1;
	if (v4)
		memcpy(network_r->address, mapped, sizeof(mapped));
	else if (inet_pton(AF_INET6, address, network_r->address) != 1)
		return NETWORK_NOT_NUMERIC;
	if (text[len] == '\0')
		return 0;
	if (parse_bits(text + len + 1, v4 ? 32 : 128, &bits) != 0)
		return NETWORK_PREFIX;
	network_r->prefix = (uint8_t)(bits + (v4 ? MAPPED_BITS : 0));
	return host_bits_clear(network_r) ? 0 : NETWORK_HOST_BITS;
}

bool network_has(const struct network *network, const struct peer *peer)
{
	if (network->prefix < MAPPED_BITS && memcmp(peer->address, mapped, sizeof(mapped)) == 0)
		return false;
	return same_bits(network->address, peer->address, network->prefix);
}

bool networks_have(const struct networks *networks, const struct peer *peer)
{
	for (size_t i = 0; i < networks->count; i++)
		if (network_has(&networks->entries[i], peer))
			return true;
	return false;
}
