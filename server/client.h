/* SPDX-License-Identifier: ISC */
/*
 * client: one connection in a front: its stream, its session, and the two channels behind it.
 *
 * Moves octets between the socket and the session, messages between the session and auth and store, and
 * acts on outcomes; this is the one place that does. Everything it holds ends with client_free.
 */
#ifndef KPOPD_SERVER_CLIENT_H
#define KPOPD_SERVER_CLIENT_H

#include <event2/event.h>
#include <openssl/ssl.h>

#include "server/peer.h"
#include "server/role.h"

/* What all clients of a front share. */
struct front {
	const struct config *config;
	struct event_base *base;
	SSL_CTX *tls;         /* NULL: no certificate */
	struct offers offers; /* as they are now; sessions look at them here */
	int token_door, password_door;
	uint64_t next_id;
	/* A client has ended and is already freed. */
	void (*ended)(struct front *front);
	void *arg;
};

/* Takes fd over. -1: no memory; fd is closed. The client frees itself when it ends. */
int client_start(struct front *front, int fd, enum protocol protocol, const struct origin *origin);

#endif
