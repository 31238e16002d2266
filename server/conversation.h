/* SPDX-License-Identifier: ISC */
/*
 * conversation: one attempt to log in, on auth's side: messages in, answers out, no sockets.
 *
 * SASL mechanisms, USER/PASS, APOP and KPOP are all conversations: START, steps, and then a user or a
 * refusal. Whoever holds one knows no more than the octets the client sent and what the front says of the
 * connection, and believes the latter only where a lie would let nobody in; one about the client's address
 * can have others penalised, and use up their turns to have a password checked.
 */
#ifndef KPOPD_SERVER_CONVERSATION_H
#define KPOPD_SERVER_CONVERSATION_H

#include "kpop/apreq.h"
#include "kpop/explain.h"
#include "sasl/exchange.h"
#include "server/check.h"
#include "server/config.h"
#include "server/guard.h"
#include "server/mapping.h"
#include "server/msg.h"

/* What all conversations of an auth process share. */
struct auth {
	const struct config *config;
	struct kpop *kpop; /* NULL: no keytab */
	struct explain
	    *explain; /* NULL: refusals stay short, and no mechanism looks for a new replay cache */
	struct mapping *mapping; /* NULL: this process takes no principals */
	struct guard guard;
	bool password; /* this process takes the mechanisms that may block, and no others */
};

enum reply_kind {
	REPLY_REFUSED = 0, /* AUTH_FAIL: see refusal and octets */
	REPLY_MORE,        /* AUTH_MORE with octets; a STEP may follow */
	REPLY_WAIT,        /* conversation_again in GUARD_PAUSE_MSECS: it is not its turn */
	REPLY_ASK,         /* see conversation_question; conversation_verdict goes on */
	REPLY_DONE,        /* the user is known: open the maildrop */
	REPLY_BAD,         /* the front broke the table: close, say nothing */
};

struct reply {
	enum reply_kind kind;
	enum refusal refusal;
	const uint8_t *octets; /* lives until the conversation's next call */
	size_t len;
};

struct conversation;
/* Takes a FRONT_START apart. NULL: no memory or a bad message; then *reply_r says REPLY_REFUSED or _BAD. */
struct conversation *conversation_start(struct auth *auth, const struct msg *start, struct reply *reply_r);
void conversation_step(
    struct conversation *conversation, const uint8_t *octets, size_t len, struct reply *reply_r);
/* After REPLY_WAIT. */
void conversation_again(struct conversation *conversation, struct reply *reply_r);
void conversation_free(struct conversation **conversation);

/*
 * After REPLY_ASK: what a checker is to find out, whether a password is right or what a .k5login says. The
 * caller wipes *check_r.
 */
void conversation_question(const struct conversation *conversation, struct check *check_r);
void conversation_verdict(
    struct conversation *conversation, const struct check_result *result, struct reply *reply_r);

/* After REPLY_DONE: checked by identity_user_valid. */
const char *conversation_user(const struct conversation *conversation);
/* After REPLY_DONE: the security layer, or NULL. */
const struct saslx_layer *conversation_layer(const struct conversation *conversation);
/* After REPLY_DONE and REPLY_REFUSED: so long after its beginning, at least, is it answered. */
uint64_t conversation_delay_msecs(const struct conversation *conversation);
uint64_t conversation_session(const struct conversation *conversation);
/* For the log: "session=… mech=… proto=… peer=… tls=yes"; a static buffer. */
const char *conversation_text(const struct conversation *conversation);
/* After REPLY_REFUSED: one printable line of why, for the log only. */
const char *conversation_why(const struct conversation *conversation);

#endif
