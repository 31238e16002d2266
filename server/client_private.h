/* SPDX-License-Identifier: ISC */
/*
 * client_private: what the two halves of a client share; nobody else includes it.
 *
 * client.c owns the client, its socket and its time, and acts on the session's outcomes;
 * client_channels.c carries the session's questions to auth and the store, and their answers back.
 */
#ifndef KPOPD_SERVER_CLIENT_PRIVATE_H
#define KPOPD_SERVER_CLIENT_PRIVATE_H

#include "server/client.h"
#include "server/msg.h"
#include "server/session.h"
#include "server/stream.h"

enum phase {
	PHASE_SESSION = 0, /* the session says what is next */
	PHASE_HANDSHAKE,   /* TLS */
	PHASE_CLOSING,     /* the last octets go out */
	PHASE_LINGERING,   /* and what still comes in is thrown away */
};

struct client {
	struct front *front;
	struct stream *stream;
	struct session *session;
	enum protocol protocol;
	enum phase phase;
	enum outcome outcome;
	bool sent;                  /* the request of this outcome is on its way */
	bool eof;                   /* no more input will come */
	bool asked_for_room;        /* it had not answered that when we last looked */
	bool mail_waits;            /* among the output there is mail */
	int conversation, maildrop; /* -1: none */
	struct event *socket_event, *conversation_event, *maildrop_event, *timer;
	short socket_events;     /* what socket_event waits for */
	uint64_t phase_deadline; /* handshake, linger */
	uint64_t stall_deadline; /* output waits for the client */
	uint64_t watch_at;       /* when to look whether it still answers; 0: it has all we sent */
	uint64_t door_at;        /* when to try a door again that was full; 0: it was not */
	uint64_t timer_at;
	struct origin origin;
	uint64_t id;
};

/* Where the session's next call writes; say stream_produced afterwards. */
struct session_output client_output(struct client *client);
/* Runs the session as far as it goes. The client may be gone afterwards. */
void client_run(struct client *client);
void client_forget(struct event **event);

/* Send the session's request, once; what went wrong is the client's outcome then. */
void client_ask_auth(struct client *client);
void client_ask_store(struct client *client);
void client_close_conversation(struct client *client);
void client_close_maildrop(struct client *client);

#endif
