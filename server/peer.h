/* SPDX-License-Identifier: ISC */
/*
 * peer: who is at the other end of a connection. For fronts; how it travels and is written is msg.h's.
 */
#ifndef KPOPD_SERVER_PEER_H
#define KPOPD_SERVER_PEER_H

#include <stdbool.h>

#include "server/msg.h"

/* Where a connection comes from. */
struct origin {
	struct peer peer; /* the client */
	struct peer via;  /* when proxied: the load balancer whose socket this is */
	bool proxied;
};

/* false: the connection is gone already. */
bool peer_read(int fd, struct peer *peer_r);
/* ::1, or anything in 127.0.0.0/8. */
bool peer_is_loopback(const struct peer *peer);
/* Whether nothing between us and the client leaves this machine: a balancer elsewhere may have clients at
 * home. */
bool origin_is_loopback(const struct origin *origin);
#define ORIGIN_TEXT_OCTETS (2 * PEER_TEXT_OCTETS + 16)
/* "peer=192.0.2.1", and " via=10.0.0.1" when proxied. */
const char *origin_text(const struct origin *origin, char text_r[ORIGIN_TEXT_OCTETS]);

#endif
