/* SPDX-License-Identifier: ISC */
/*
 * proxy: the header of the PROXY protocol, versions 1 and 2, by which a load balancer says whose connection
 * it passes on.
 *
 * Pure; for fronts. The caller gives what has come so far, always from the first octet; a header is read to
 * its last octet and not beyond. Specification: HAProxy's proxy-protocol.txt.
 */
#ifndef KPOPD_SERVER_PROXY_H
#define KPOPD_SERVER_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/msg.h"

enum proxy_result {
	PROXY_DONE = 0,
	PROXY_MORE = 1,       /* all that has come belongs to the header, and it goes on */
	PROXY_ABSENT = -1,    /* what has come begins no header */
	PROXY_MALFORMED = -2, /* a field is not what the specification allows */
	PROXY_FOREIGN = -3,   /* a connection that is not TCP over IPv4 or IPv6: a UNIX socket, UDP */
	PROXY_TOO_LONG = -4,  /* beyond LIMIT_PROXY_LINE_OCTETS or LIMIT_PROXY_OCTETS */
	PROXY_CHECKSUM = -5,  /* it has a CRC-32C, which is another */
};

struct proxy_header {
	size_t octets;      /* the header's length */
	bool proxied;       /* false: LOCAL, UNKNOWN, UNSPEC: the connection is the balancer's own */
	struct peer source; /* the client, when proxied */
};

/* header_r is filled with PROXY_DONE only. */
enum proxy_result proxy_parse(const uint8_t *octets, size_t len, struct proxy_header *header_r);
/* What a result means, for the log. */
const char *proxy_text(enum proxy_result result);

#endif
