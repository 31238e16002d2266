/* SPDX-License-Identifier: ISC */
/*
 * session: one POP3 client from greeting to goodbye, as a state machine without sockets or clock.
 *
 * For the front, which moves the octets, and for tests, which replay conversations with time as a
 * parameter. Every input (octets from the client, a message from auth or store, a deadline) is a
 * function that returns an outcome: what the caller does next. The session never waits and never
 * calls back. RFC 1939, 2449, 2595, 3206, 5034; KPOP as in doc/kpop.md.
 *
 * Output: the caller gives a buffer before each call (session_output); a session writes at most what
 * fits. Calls that answer one command need LIMIT_OUTPUT_ROOM_OCTETS of room.
 */
#ifndef KPOPD_SERVER_SESSION_H
#define KPOPD_SERVER_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sasl/layer.h"
#include "server/config.h"
#include "server/msg.h"
#include "server/offers.h"

enum outcome {
	OUTCOME_INPUT = 0,  /* ready: give it octets of the client (again, if some are left) */
	OUTCOME_MORE_INPUT, /* what is buffered is not a whole line yet: read more first */
	OUTCOME_AUTH,   /* send session_request to auth (START: on a new conversation), wait for its answer */
	OUTCOME_STORE,  /* send session_request to the store, wait for its answer */
	OUTCOME_STREAM, /* a long answer: call session_fill whenever there is room */
	OUTCOME_STARTTLS, /* send what is written, begin TLS, then call session_tls_started */
	OUTCOME_LAYER,    /* what is written goes out in clear; all behind it, both ways, goes through
			     session_take_layer's layer; then as after OUTCOME_INPUT */
	OUTCOME_CLOSE,    /* send what is written, then close (linger: session_lingers) */
	OUTCOME_DROP,     /* close now, without another octet */
};

struct session_params {
	const struct config *config; /* outlives the session */
	const struct offers *offers; /* outlives the session, and may change under it */
	enum protocol protocol;
	bool tls;      /* TLS is on already (POP3S) */
	bool loopback; /* for plaintext = loopback */
	struct peer peer;
	uint64_t id; /* for logs of all roles */
};

struct session;
struct session *session_new(const struct session_params *params, uint64_t now_msecs); /* NULL: no memory */
void session_free(struct session **session);

/* Where the next call writes its answer; *used counts up. */
struct session_output {
	uint8_t *buf;
	size_t size, used;
};

/*
 * What a client can bind to on this connection, of each type at most one; copied. To be said before
 * session_begin (POP3S) or session_tls_started, of a connection whose handshake is done.
 */
void session_bind(struct session *session, const struct saslx_binding *bindings, size_t count);

/* The first call: greeting, or a wait for the client (KPOP), or for auth (APOP's timestamp). */
enum outcome session_begin(struct session *session, struct session_output *out);
/* Octets of the client; takes at most one command, line or handshake piece. *used_r were taken. */
enum outcome session_input(struct session *session, const uint8_t *buf, size_t len, size_t *used_r,
    struct session_output *out, uint64_t now_msecs);
/* How many octets the caller must be ready to buffer for session_input to see a whole unit. */
size_t session_input_limit(const struct session *session);
/* Set for STLS: octets of the client behind the STLS line were there before our answer; always OUTCOME_DROP.
 */
enum outcome session_injected(struct session *session);

/* After OUTCOME_LAYER, once: the caller's from now on. */
struct layer *session_take_layer(struct session *session);

/* The message to send after OUTCOME_AUTH or OUTCOME_STORE; the body lives until the next call. */
struct session_request {
	enum msg_type type; /* MSG_NONE: send nothing, only wait (after AUTH_DONE, for STORE_OPENED) */
	const uint8_t *body;
	size_t len;
	bool may_block; /* START: this goes to a password process */
};
const struct session_request *session_request(const struct session *session);
/* The states in which the answer may arrive, for msg_recv (MSG_AT_ bits). */
unsigned session_expects(const struct session *session);
/* Whether the conversation with auth must stay open; asked after every call, false closes it. */
bool session_conversing(const struct session *session);

/* Whether the maildrop that came with AUTH_DONE must stay open; asked after every call, false closes it. */
bool session_maildrop(const struct session *session);

/*
 * Whether a QUIT would remove mail for no other reason than that it was fetched: then session_input is not to
 * be called before all that was written has left, and not at all once something could not leave.
 */
bool session_fetch_removes(const struct session *session);

/*
 * An answer. The descriptor of a STORE_MESSAGE is the session's from then on, whatever comes of it; the
 * maildrop of an AUTH_DONE stays the caller's.
 */
enum outcome session_auth(
    struct session *session, const struct msg *msg, struct session_output *out, uint64_t now_msecs);
enum outcome session_store(
    struct session *session, const struct msg *msg, struct session_output *out, uint64_t now_msecs);
/* The peer closed, broke the table, or could not be reached. */
enum outcome session_auth_lost(struct session *session, struct session_output *out, uint64_t now_msecs);
enum outcome session_store_lost(struct session *session, struct session_output *out, uint64_t now_msecs);

/* Writes more of a long answer; OUTCOME_STREAM until it is whole. */
enum outcome session_fill(struct session *session, struct session_output *out, uint64_t now_msecs);
/* The TLS handshake is done: forgets what was learnt before. description as in stream.h. */
enum outcome session_tls_started(
    struct session *session, const char *description, struct session_output *out, uint64_t now_msecs);

/* The next deadline, monotonic milliseconds; UINT64_MAX: none (a long answer is being sent). */
uint64_t session_deadline(const struct session *session);
enum outcome session_expired(struct session *session, struct session_output *out, uint64_t now_msecs);
bool session_lingers(const struct session *session); /* on OUTCOME_CLOSE: drain LIMIT_LINGER_MSECS first */

/* For the line in the log at the end: "user=alice retr=3/18231 top=0 dele=1 …"; lives until the next call. */
const char *session_summary(const struct session *session);

#endif
