/* SPDX-License-Identifier: ISC */
/* clang-format off */
/*
 * msg: messages between our own processes, over SOCK_SEQPACKET pairs.
 *
 * One datagram is one message: a fixed header, a binary body, perhaps one descriptor. One table (msg.c)
 * says for each type its direction, size bounds, whether it carries a descriptor, and on which kind of
 * channel, in which state, it may arrive. Whatever is outside the table is MSG_BAD: the receiver ends
 * that conversation, never the service. Integers are in host order: both ends are one program.
 *
 * Bodies, in order of their fields:
 *
 *   FRONT_START      u64 session, u8 protocol (enum protocol, but lmtp), u8 tls, u8 mechanism (index into
 *                    config->mechanisms, or MECHANISM_ of mechanism.h), u8 has_initial, 18 octets peer
 *                    (struct peer), u8 bindings offered (bits of enum saslx_binding_type), u8 count, as
 *                    many times u8 type, u8 length, octets; then the initial response.
 *                    fd: auth's end of the conversation, made by the front with msg_pair
 *   FRONT_STEP       the client's token; for USERPASS "user NUL password", for APOP "user NUL digest",
 *                    for KPOP the user
 *   AUTH_MORE        the challenge; for APOP the timestamp; for KPOP the octets that answer the AP-REQ
 *   AUTH_DONE        u8 layer (enum saslx_layers, 0: none), u16 length, the user's name, for the log and for what CAPA
 *                    shows him; then the layer as sasl/layer.h reads it.
 *                    fd: the maildrop
 *   AUTH_FAIL        u8 enum refusal, then for KPOP a KRB-ERROR frame
 *   AUTH_OPEN        u64 session, u8 reserved 0, the user's name.
 *                    fd: the store's end of the maildrop
 *   AUTH_CHECK       u64 session, u8 enum check_kind, u16 length and the user's name, then the password, or for
 *                    CHECK_K5LOGIN the principal.
 *                    fd: the checker's end of a pair for the one answer
 *   CHECK_ANSWER     u8 enum check_verdict, u16 length and the principal that was proved (of CHECK_KERBEROS, when
 *                    right), then a line of why, for the log only
 *   STORE_OPENED     u32 messages, u64 octets
 *   STORE_REFUSED    u8 enum refusal; of REFUSAL_EARLY, u32 seconds to wait
 *   FRONT_LIST       u8 enum list_kind, u32 idx, u32 count
 *   STORE_LISTED     u8 enum list_kind, u32 idx (first), u32 count, then the entries;
 *                    LIST_OCTETS: u64 octets each; LIST_UIDLS: u8 length and as many octets each
 *   FRONT_FETCH      u32 idx
 *   STORE_MESSAGE    u64 offset, u64 length, u64 octets, u32 WIRE_ flags, u64 the file's time in nanoseconds (0:
 *                    it may change).
 *                    fd: the message
 *   FRONT_COMMIT     the marks, one bit a message; ends the maildrop
 *   STORE_COMMITTED  u32 how many of the marked were not removed, or not surely
 *   LMTP_OPEN        u64 session, u64 octets that are to come (0: unknown), the user's name.
 *                    fd: the deliverer's end of the delivery
 *   LMTP_MESSAGE     u16 length and the sender, then the recipient, both as they were given.
 *                    fd: the message, a memfd sealed against every change
 *   DELIVERER_READY  empty: there is such a user, and room
 *   DELIVERER_STORED empty: the message is safe on disk; ends the delivery
 *   DELIVERER_REFUSED u8 enum delivery_refusal; ends the delivery
 *   CHILD_READY      u32 bits of the mechanisms that can work (auth), u8 flags: 1 KPOP can work, 2 passwords
 *                    can be checked (see offers.h)
 *   CHILD_TAKEN      empty: the child has a client and is no longer spare
 *   CHILD_ALIVE      empty: the answer to PARENT_PING
 *   PARENT_RETIRE    empty: take nothing new, finish what you have, exit
 *   PARENT_OFFERS    as CHILD_READY: what the server can do from now on
 *   PARENT_PING      empty: say CHILD_ALIVE
 *   CHILD_BECOMES    u32 uid: a store's child is about to become this user
 *   PARENT_GRANTS    empty: it may; what belongs to that user is not too much already
 *   CHILD_SETTLED    empty: it is that user, and has reached his mail
 */
/* clang-format on */
#ifndef KPOPD_SERVER_MSG_H
#define KPOPD_SERVER_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/limits.h"

enum msg_type {
	MSG_NONE = 0,
	MSG_FRONT_START,
	MSG_FRONT_STEP,
	MSG_AUTH_MORE,
	MSG_AUTH_DONE,
	MSG_AUTH_FAIL,
	MSG_AUTH_OPEN,
	MSG_AUTH_CHECK,
	MSG_CHECK_ANSWER,
	MSG_STORE_OPENED,
	MSG_STORE_REFUSED,
	MSG_FRONT_LIST,
	MSG_STORE_LISTED,
	MSG_FRONT_FETCH,
	MSG_STORE_MESSAGE,
	MSG_FRONT_COMMIT,
	MSG_STORE_COMMITTED,
	MSG_LMTP_OPEN,
	MSG_LMTP_MESSAGE,
	MSG_DELIVERER_READY,
	MSG_DELIVERER_STORED,
	MSG_DELIVERER_REFUSED,
	MSG_CHILD_READY,
	MSG_CHILD_TAKEN,
	MSG_CHILD_ALIVE,
	MSG_PARENT_RETIRE,
	MSG_PARENT_OFFERS,
	MSG_PARENT_PING,
	MSG_CHILD_BECOMES,
	MSG_PARENT_GRANTS,
	MSG_CHILD_SETTLED,
	MSG_TYPE_COUNT
};

/* What the receiver is waiting for; a row of the table names the states it is allowed in. */
enum msg_state {
	MSG_AT_AUTH_DOOR = 1 << 0,     /* auth, on the door: a new conversation */
	MSG_AT_AUTH_STEP = 1 << 1,     /* auth, in a conversation: the client's next token */
	MSG_AT_FRONT_AUTH = 1 << 2,    /* front, in a conversation */
	MSG_AT_STORE_DOOR = 1 << 3,    /* store, on the door: a maildrop to open */
	MSG_AT_STORE_OPEN = 1 << 4,    /* store, on an open maildrop */
	MSG_AT_FRONT_OPENING = 1 << 5, /* front, after AUTH_DONE */
	MSG_AT_FRONT_LIST = 1 << 6,
	MSG_AT_FRONT_FETCH = 1 << 7,
	MSG_AT_FRONT_COMMIT = 1 << 8,
	MSG_AT_PARENT = 1 << 9,          /* parent, on a child's leash */
	MSG_AT_CHILD = 1 << 10,          /* child, on its leash */
	MSG_AT_CHECKER_DOOR = 1 << 11,   /* checker, on the door: a password to check */
	MSG_AT_AUTH_CHECK = 1 << 12,     /* auth, after AUTH_CHECK */
	MSG_AT_FRONT_CHILD = 1 << 13,    /* as MSG_AT_CHILD, in a front or a front's child */
	MSG_AT_DELIVERER_DOOR = 1 << 14, /* deliverer, on the door: a user to deliver to */
	MSG_AT_DELIVERER_OPEN = 1 << 15, /* deliverer, after DELIVERER_READY */
	MSG_AT_LMTP_OPENING = 1 << 16,   /* lmtp, after LMTP_OPEN */
	MSG_AT_LMTP_STORING = 1 << 17,   /* lmtp, after LMTP_MESSAGE */
	MSG_AT_FRONT_IDLE = 1 << 18,     /* front, with an open maildrop of which it has asked nothing */
};

/* Why a login or an operation was refused; decides the response code on the wire (RFC 2449, 3206). */
enum refusal {
	REFUSAL_TEMP = 0, /* [SYS/TEMP] */
	REFUSAL_PERM,     /* [SYS/PERM] */
	REFUSAL_AUTH,     /* [AUTH] */
	REFUSAL_IN_USE,   /* [IN-USE] */
	REFUSAL_GONE,     /* a message is no longer there */
	REFUSAL_EARLY,    /* [LOGIN-DELAY] */
	REFUSAL_TAKEN,    /* another login takes the maildrop over; the store says so unasked, too */
	REFUSAL_COUNT
};

/* What a checker asks, and what it found. Only CHECK_RIGHT opens anything. */
enum check_kind { CHECK_KERBEROS = 0, CHECK_SASLAUTHD, CHECK_K5LOGIN, CHECK_KIND_COUNT };
enum check_verdict {
	CHECK_UNAVAILABLE = 0, /* nobody could say: no KDC, no saslauthd, no key to be sure with */
	CHECK_RIGHT,
	CHECK_WRONG,   /* the password, or there is no such user */
	CHECK_EXPIRED, /* the password or the account */
	CHECK_LOCKED,
	CHECK_VERDICT_COUNT
};

/* Why a delivery was refused; decides the status of a recipient, or of kpop-deliver. */
enum delivery_refusal {
	DELIVERY_TEMP = 0, /* the world's trouble, or an administrator's */
	DELIVERY_UNKNOWN,  /* there is no such user */
	DELIVERY_FULL,     /* over quota */
	DELIVERY_LARGE,    /* by itself more than the quota */
	DELIVERY_REFUSAL_COUNT
};

enum list_kind { LIST_OCTETS = 0, LIST_UIDLS, LIST_KIND_COUNT };

enum msg_err {
	MSG_OK = 0,
	MSG_AGAIN = -1, /* nothing there, or no room: try later */
	MSG_EOF = -2,   /* the other side is gone */
	MSG_BAD = -3,   /* outside the table, truncated, or an error of the socket */
};

struct msg {
	enum msg_type type;
	const uint8_t *body; /* in the buffer given to msg_recv */
	size_t len;
	int fd; /* -1: none; else the receiver's to close */
};

/* A SOCK_SEQPACKET pair, close-on-exec, non-blocking. 0 or -1 with errno. */
int msg_pair(int pair_r[2]);

/* Never blocks. fd -1: none; fd stays the caller's. MSG_AGAIN, MSG_EOF, MSG_BAD (also: outside the table's
 * bounds). */
int msg_send(int sock, enum msg_type type, const void *body, size_t len, int fd);
/* state: one or more MSG_AT_ bits. buf is LIMIT_MSG_OCTETS or larger. Never blocks. */
int msg_recv(int sock, unsigned state, void *buf, size_t size, struct msg *msg_r);

/* Typed fields. Writers and readers carry a sticky error, asked once at the end. */
struct msg_writer {
	uint8_t *buf;
	size_t size, len;
	bool bad;
};
struct msg_reader {
	const uint8_t *buf;
	size_t len;
	bool bad;
};

void msg_put_u8(struct msg_writer *w, uint8_t v);
void msg_put_u16(struct msg_writer *w, uint16_t v);
void msg_put_u32(struct msg_writer *w, uint32_t v);
void msg_put_u64(struct msg_writer *w, uint64_t v);
void msg_put_bytes(struct msg_writer *w, const void *v, size_t len);
uint8_t msg_get_u8(struct msg_reader *r);
uint16_t msg_get_u16(struct msg_reader *r);
uint32_t msg_get_u32(struct msg_reader *r);
uint64_t msg_get_u64(struct msg_reader *r);
const uint8_t *msg_get_bytes(struct msg_reader *r, size_t len);   /* a view; NULL when bad */
const uint8_t *msg_get_rest(struct msg_reader *r, size_t *len_r); /* everything left */
bool msg_end(const struct msg_reader *r);                         /* all read, nothing bad */

/* Where a client comes from, as it travels in FRONT_START. */
struct peer {
	uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
	uint16_t port;
};
#define PEER_TEXT_OCTETS 46
void msg_put_peer(struct msg_writer *w, const struct peer *peer);
void msg_get_peer(struct msg_reader *r, struct peer *peer_r);
const char *peer_text(const struct peer *peer, char text_r[PEER_TEXT_OCTETS]); /* without the port */

#endif
