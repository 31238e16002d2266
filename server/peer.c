/* SPDX-License-Identifier: ISC */
#include "server/peer.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

bool peer_read(int fd, struct peer *peer_r)
{
	struct sockaddr_storage any = {0};
	socklen_t len = sizeof any;
	if (getpeername(fd, (struct sockaddr *)&any, &len) < 0)
		return false;
	*peer_r = (struct peer){.address = {[10] = 0xff, [11] = 0xff}};
	if (any.ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&any;
		memcpy(peer_r->address + 12, &v4->sin_addr, 4);
		peer_r->port = ntohs(v4->sin_port);
	} else {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&any;
		memcpy(peer_r->address, &v6->sin6_addr, 16);
		peer_r->port = ntohs(v6->sin6_port);
	}
	return true;
}

bool peer_is_loopback(const struct peer *peer)
{
	struct in6_addr address;
	memcpy(&address, peer->address, sizeof address);
	return IN6_IS_ADDR_LOOPBACK(&address) ||
	       (IN6_IS_ADDR_V4MAPPED(&address) && peer->address[12] == IN_LOOPBACKNET);
}

bool origin_is_loopback(const struct origin *origin)
{
	return peer_is_loopback(&origin->peer) && (!origin->proxied || peer_is_loopback(&origin->via));
}

const char *origin_text(const struct origin *origin, char text_r[ORIGIN_TEXT_OCTETS])
{
	char peer[PEER_TEXT_OCTETS], via[PEER_TEXT_OCTETS];
	snprintf(text_r, ORIGIN_TEXT_OCTETS, "peer=%s%s%s", peer_text(&origin->peer, peer),
	    origin->proxied ? " via=" : "", origin->proxied ? peer_text(&origin->via, via) : "");
	return text_r;
}
