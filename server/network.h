/* SPDX-License-Identifier: ISC */
/*
 * network: a range of addresses, as the configuration names it ("10.0.0.0/8", "2001:db8::/32", "::1").
 *
 * Pure; for any role. IPv4 is held as mapped addresses, as in struct peer, so one comparison serves both.
 */
#ifndef KPOPD_SERVER_NETWORK_H
#define KPOPD_SERVER_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/msg.h"

struct network {
	uint8_t address[16]; /* all bits behind the prefix are 0 */
	uint8_t prefix;      /* bits, 0..128; of an IPv4 network 96 more than its text says */
};

/* A list of the configuration; {NULL, 0} has nobody. */
struct networks {
	struct network *entries;
	size_t count;
};

enum network_err {
	NETWORK_NOT_NUMERIC = -1, /* no numeric address before the '/', or none at all */
	NETWORK_PREFIX = -2,      /* no number of bits behind it, or more than the address has */
	NETWORK_HOST_BITS = -3,   /* bits are set that the prefix does not cover: one of the two is wrong */
};

/* An address, or an address, '/' and a number of bits; an address alone is that one host. 0 or network_err.
 */
int network_parse(const char *text, struct network *network_r);
/* Whether peer is in it. An IPv6 network has no IPv4 peers, however short its prefix: "::/0" is all of IPv6.
 */
bool network_has(const struct network *network, const struct peer *peer);
/* Whether peer is in any of them. */
bool networks_have(const struct networks *networks, const struct peer *peer);

#endif
