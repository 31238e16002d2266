/* SPDX-License-Identifier: ISC */
#include "server/conversation.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/authorize.h"
#include "server/child.h"
#include "server/guard.h"
#include "server/log.h"
#include "server/binding_policy.h"
#include "server/mechanism.h"

enum { WHY_OCTETS = 1024 };

struct conversation {
	struct auth *auth;
	uint64_t session;
	enum protocol protocol;
	bool tls;
	uint8_t mechanism;
	struct peer peer;
	struct saslx_connection connection;
	struct saslx *exchange;
	struct kpop_result *kpop; /* KPOP: the reply on its way, the principal */
	struct guarded guarded;
	uint8_t *held_secret; /* a message the guard makes wait */
	size_t held_len;
	bool started; /* the mechanism has had a message */
	bool spoken;  /* the client has sent a message of the mechanism */
	bool over;
	bool asked;                            /* somebody else about a password, who has not answered yet */
	struct turn reading;                   /* of the user's .k5login */
	struct decision decision;              /* whose maildrop it is, or who is to be asked */
	char tried[LIMIT_USER_OCTETS + 1];     /* the name somebody claimed, for the log */
	char principal[KPOP_PRINCIPAL_OCTETS]; /* whose password was given, by a KDC's word */
	char said[WHY_OCTETS];                 /* "; SOURCE: what it said of the password" */
	char why[2 * WHY_OCTETS];
};

const char *conversation_user(const struct conversation *c)
{
	return c->decision.user;
}

const struct saslx_layer *conversation_layer(const struct conversation *c)
{
	return c->exchange != NULL ? saslx_layer(c->exchange) : NULL;
}

uint64_t conversation_session(const struct conversation *c)
{
	return c->session;
}

uint64_t conversation_delay_msecs(const struct conversation *c)
{
	return c->guarded.delay_msecs;
}

const char *conversation_why(const struct conversation *c)
{
	return c->why;
}

static const char *mechanism_name(const struct conversation *c)
{
	switch (c->mechanism) {
	case MECHANISM_USERPASS:
		return "USER";
	case MECHANISM_APOP:
		return "APOP";
	case MECHANISM_KPOP:
		return "KPOP";
	default:
		return c->auth->config->mechanisms[c->mechanism];
	}
}

/* Whose ticket or password it was; NULL: there was none, or nothing is proved yet. */
static const char *proven_principal(const struct conversation *c)
{
	if (c->principal[0] != '\0')
		return c->principal;
	if (c->kpop != NULL)
		return c->kpop->principal[0] != '\0' ? c->kpop->principal : NULL;
	const struct saslx_identity *identity = c->exchange != NULL ? saslx_identity(c->exchange) : NULL;
	return identity != NULL && identity->kerberos ? identity->name : NULL;
}

const char *conversation_text(const struct conversation *c)
{
	static const char *const protocols[PROTOCOL_COUNT] = {"pop3", "pop3s", "kpop"};
	static char text[512 + KPOP_PRINCIPAL_OCTETS + 2 * LIMIT_USER_OCTETS];
	char peer[PEER_TEXT_OCTETS], tried[LIMIT_USER_OCTETS + 1], proven[KPOP_PRINCIPAL_OCTETS];
	const char *principal = proven_principal(c);
	int len =
	    snprintf(text, sizeof text, "session=%016" PRIx64 " mech=%s proto=%s peer=%s tls=%s%s%s%s%s",
		c->session, mechanism_name(c), protocols[c->protocol], peer_text(&c->peer, peer),
		c->tls ? "yes" : "no", principal != NULL ? " principal=" : "",
		principal != NULL ? log_name(principal, proven, sizeof proven) : "",
		c->tried[0] != '\0' ? " tried=" : "", log_name(c->tried, tried, sizeof tried));
	if (c->decision.map != NULL)
		len += snprintf(text + len, sizeof text - (size_t)len, " map=%s", c->decision.map->name);
	if (c->decision.proxy != NULL)
		len += snprintf(text + len, sizeof text - (size_t)len, " by=%s proxy=%s",
		    c->decision.administrator, c->decision.proxy->name);
	const char *binding = c->exchange != NULL ? saslx_identity(c->exchange)->binding : NULL;
	if (binding != NULL)
		snprintf(text + len, sizeof text - (size_t)len, " binding=%s", binding);
	return text;
}

static void drop_held(struct conversation *c)
{
	if (c->held_secret != NULL)
		OPENSSL_cleanse(c->held_secret, c->held_len);
	free(c->held_secret);
	c->held_secret = NULL;
	c->held_len = 0;
}

void conversation_free(struct conversation **conversation)
{
	struct conversation *c = *conversation;
	if (c == NULL)
		return;
	/* The check goes on without us, and whoever goes away in time could have as many as he likes. */
	uint64_t now = now_msecs(), end = now + UINT64_C(1000) * c->auth->config->check_secs;
	if (c->asked)
		guard_abandon(&c->guarded, end, now);
	if (c->reading.lease != 0)
		penalty_turn_give(c->auth->guard.penalty, &c->reading, end, now);
	guard_leave(&c->guarded, now_msecs());
	drop_held(c);
	saslx_free(&c->exchange);
	free(c->kpop);
	OPENSSL_cleanse(c, sizeof *c);
	free(c);
	*conversation = NULL;
}

static void refuse(struct conversation *c, enum refusal refusal, const char *why, struct reply *reply_r)
{
	c->over = true;
	guard_leave(&c->guarded, now_msecs()); /* the answer may have to wait, others need not */
	snprintf(c->why, sizeof c->why, "%s%s", why, c->said);
	for (char *p = c->why; (p = strchr(p, '=')) != NULL; p++) /* names in it are the client's */
		*p = '?';
	*reply_r = (struct reply){.kind = REPLY_REFUSED, .refusal = refusal};
}

static void accept_user(struct conversation *c, struct reply *reply_r)
{
	c->over = true;
	/* Whoever opens another's maildrop makes himself known where he is, not the other. */
	bool himself = c->decision.administrator[0] == '\0';
	guard_right(&c->guarded, himself ? c->decision.user : c->decision.administrator, now_msecs());
	*reply_r = (struct reply){.kind = REPLY_DONE};
}

/* A ticket was refused: what an administrator can do about it. */
static void explain_refusal(struct conversation *c, const uint8_t *octets, size_t len)
{
	char text[EXPLAIN_TEXT_OCTETS] = "";
	size_t why_len = strlen(c->why);
	if (c->auth->explain != NULL)
		explain_ticket(c->auth->explain, octets, len, text);
	if (text[0] != '\0')
		snprintf(c->why + why_len, sizeof c->why - why_len, "; %s", text);
}

/*
 * A file that does not answer is its owner's, who may come with as many tickets as he likes: he keeps no more
 * than a part of the checker busy.
 */
static bool may_read(struct conversation *c)
{
	enum { PARTS_COUNT = 4 };
	const struct config *config = c->auth->config;
	unsigned most = (config->checks + PARTS_COUNT - 1) / PARTS_COUNT;
	return c->auth->guard.penalty == NULL ||
	       penalty_turn_take_user(c->auth->guard.penalty, c->decision.user, most,
		   config->check_secs * 1000, now_msecs(), &c->reading);
}

/* Somebody has proved who he is. */
static void decide(struct conversation *c, const struct claim *claim, struct reply *reply_r)
{
	authorize(c->auth->config, c->auth->mapping, claim, &c->decision);
	switch (c->decision.verdict) {
	case VERDICT_USER:
		accept_user(c, reply_r);
		return;
	case VERDICT_ASK:
		if (may_read(c))
			*reply_r = (struct reply){.kind = REPLY_ASK};
		else
			refuse(
			    c, REFUSAL_TEMP, "the user's .k5login is being read too often already", reply_r);
		return;
	case VERDICT_REFUSED:
		refuse(c, REFUSAL_AUTH, c->decision.why, reply_r);
		return;
	}
}

static struct claim claim_of(const struct conversation *c)
{
	struct claim claim = {.peer = &c->peer, .mechanism = mechanism_name(c)};
	if (c->mechanism == MECHANISM_KPOP) {
		claim.kerberos = true;
		claim.name = c->kpop->principal;
		claim.requested = c->tried;
		claim.indicators = c->kpop->indicators.list;
	} else {
		const struct saslx_identity *identity = saslx_identity(c->exchange);
		claim.kerberos = identity->kerberos;
		claim.name = identity->name;
		claim.requested = identity->authzid;
		claim.indicators = identity->indicators;
		/* A KDC's word about a password is about a principal; whose maildrop that opens, rules say.
		 */
		if (c->principal[0] != '\0') {
			claim.kerberos = true;
			claim.name = c->principal;
			if (claim.requested[0] == '\0')
				claim.requested = identity->name;
		}
	}
	return claim;
}

/* ---- SASL, USER/PASS, APOP ---- */

static void sasl_outcome(struct conversation *c, enum saslx_outcome outcome, struct reply *reply_r)
{
	switch (outcome) {
	case SASLX_MORE:
		guard_pause(&c->guarded, now_msecs());
		*reply_r = (struct reply){.kind = REPLY_MORE};
		reply_r->octets = saslx_challenge(c->exchange, &reply_r->len);
		return;
	case SASLX_ASK:
		c->asked = true;
		*reply_r = (struct reply){.kind = REPLY_ASK};
		return;
	case SASLX_DONE: {
		struct claim claim = claim_of(c);
		decide(c, &claim, reply_r);
		return;
	}
	case SASLX_REFUSED:
		guard_wrong(&c->guarded, now_msecs());
		refuse(c, REFUSAL_AUTH, saslx_why(c->exchange), reply_r);
		return;
	case SASLX_UNKNOWN:
		refuse(c, REFUSAL_TEMP, "the mechanism cannot be used now", reply_r);
		return;
	case SASLX_ERROR:
		refuse(c, REFUSAL_TEMP, saslx_why(c->exchange), reply_r);
		return;
	}
}

/* "name NUL rest": both views into octets, the name made a string in name_r. */
static bool split_name(const uint8_t *octets, size_t len, char name_r[LIMIT_USER_OCTETS + 1],
    const uint8_t **rest_r, size_t *rest_len_r)
{
	const uint8_t *nul = len != 0 ? memchr(octets, '\0', len) : NULL;
	if (nul == NULL || (size_t)(nul - octets) > LIMIT_USER_OCTETS)
		return false;
	memcpy(name_r, octets, (size_t)(nul - octets) + 1);
	*rest_r = nul + 1;
	*rest_len_r = len - (size_t)(nul - octets) - 1;
	return true;
}

static void userpass(struct conversation *c, const uint8_t *octets, size_t len, struct reply *reply_r)
{
	const uint8_t *password_secret;
	size_t password_len;
	if (!split_name(octets, len, c->tried, &password_secret, &password_len)) {
		refuse(c, REFUSAL_AUTH, "the name is too long", reply_r);
		return;
	}
	sasl_outcome(c, saslx_password(c->exchange, c->tried, password_secret, password_len), reply_r);
}

static void apop_digest(struct conversation *c, const uint8_t *octets, size_t len, struct reply *reply_r)
{
	const uint8_t *digest;
	size_t digest_len;
	char text[64];
	if (!split_name(octets, len, c->tried, &digest, &digest_len) || digest_len >= sizeof text ||
	    memchr(digest, '\0', digest_len) != NULL) {
		refuse(c, REFUSAL_AUTH, "the name or the digest is too long", reply_r);
		return;
	}
	memcpy(text, digest, digest_len);
	text[digest_len] = '\0';
	sasl_outcome(c, saslx_apop(c->exchange, c->tried, text), reply_r);
}

/* GSSAPI or GS2-KRB5 has taken its first message. */
static void ticket_taken(struct conversation *c, const uint8_t *octets, size_t len, struct reply *reply_r)
{
	bool accepted = reply_r->kind != REPLY_REFUSED;
	if (accepted && c->auth->explain != NULL && !explain_fresh(c->auth->explain, octets, len))
		refuse(c, REFUSAL_AUTH, "the authenticator is older than the replay cache, which is new",
		    reply_r);
	if (reply_r->kind == REPLY_REFUSED && reply_r->refusal == REFUSAL_AUTH)
		explain_refusal(c, octets, len);
}

/* To the mechanism, past the guard. */
static void pass_on(struct conversation *c, const uint8_t *octets, size_t len, struct reply *reply_r)
{
	bool first = !c->started;
	c->started = true;
	if (c->mechanism == MECHANISM_USERPASS)
		userpass(c, octets, len, reply_r);
	else if (c->mechanism == MECHANISM_APOP)
		apop_digest(c, octets, len, reply_r);
	else if (first)
		sasl_outcome(c, saslx_start(c->exchange, mechanism_name(c), octets, len), reply_r);
	else
		sasl_outcome(c, saslx_step(c->exchange, octets, len), reply_r);
	if (octets != NULL && !c->spoken && c->mechanism < c->auth->config->mechanism_count &&
	    mechanism_find(mechanism_name(c))->kerberos)
		ticket_taken(c, octets, len, reply_r);
	c->spoken |= octets != NULL;
}

static void obey(
    struct conversation *c, enum guard_word word, const uint8_t *octets, size_t len, struct reply *reply_r)
{
	switch (word) {
	case GUARD_PASS:
		pass_on(c, octets, len, reply_r);
		return;
	case GUARD_REFUSE:
		refuse(c, REFUSAL_AUTH, c->guarded.why, reply_r);
		return;
	case GUARD_FULL:
		refuse(c, REFUSAL_TEMP, c->guarded.why, reply_r);
		return;
	case GUARD_WAIT:
		if (c->held_secret == NULL && (c->held_secret = malloc(len + 1)) != NULL) {
			memcpy(c->held_secret, octets, len);
			c->held_len = len;
		}
		if (c->held_secret == NULL)
			refuse(c, REFUSAL_TEMP, "no memory", reply_r);
		else
			*reply_r = (struct reply){.kind = REPLY_WAIT};
		return;
	}
}

/* A message of any mechanism but Kerberos' own; octets are not NULL, however few. */
static void take(struct conversation *c, const uint8_t *octets, size_t len, struct reply *reply_r)
{
	enum guard_word word = guard_hear(&c->guarded, octets, len, now_msecs());
	if (c->guarded.heard.user[0] != '\0')
		snprintf(c->tried, sizeof c->tried, "%s", c->guarded.heard.user);
	obey(c, word, octets, len, reply_r);
}

void conversation_again(struct conversation *c, struct reply *reply_r)
{
	obey(c, guard_again(&c->guarded, now_msecs()), c->held_secret, c->held_len, reply_r);
	if (reply_r->kind != REPLY_WAIT)
		drop_held(c);
}

static void sasl_start(
    struct conversation *c, bool has_initial, const uint8_t *initial, size_t len, struct reply *reply_r)
{
	c->exchange = saslx_new(&c->connection);
	if (c->exchange == NULL) {
		refuse(c, REFUSAL_TEMP, "no memory", reply_r);
	} else if (c->mechanism == MECHANISM_APOP) {
		const char *timestamp = saslx_apop_begin(c->exchange);
		if (timestamp == NULL) {
			refuse(c, REFUSAL_TEMP, saslx_why(c->exchange), reply_r);
			return;
		}
		*reply_r =
		    (struct reply){REPLY_MORE, REFUSAL_TEMP, (const uint8_t *)timestamp, strlen(timestamp)};
	} else if (c->mechanism == MECHANISM_USERPASS ||
		   (has_initial && (len != 0 || c->guarded.heard.kind != HEARSAY_LOGIN))) {
		/* An empty initial response is present but empty: not NULL. LOGIN takes it for none and asks
		 * for the name; so must who listens, or the name would go for a password. */
		take(c, len != 0 ? initial : (const uint8_t *)"", len, reply_r);
	} else {
		pass_on(c, NULL, 0, reply_r);
	}
}

/* ---- KPOP ---- */

/* The ticket first; whose maildrop it opens is said, and compared, with USER and PASS. */
static void kpop_start(struct conversation *c, const uint8_t *apreq, size_t len, struct reply *reply_r)
{
	c->kpop = c->auth->kpop != NULL ? calloc(1, sizeof *c->kpop) : NULL;
	if (c->kpop == NULL) {
		refuse(c, c->auth->kpop == NULL ? REFUSAL_PERM : REFUSAL_TEMP,
		    c->auth->kpop == NULL ? "there is no usable keytab" : "no memory", reply_r);
		return;
	}
	int err = kpop_accept(c->auth->kpop, apreq, len, c->kpop);
	if (err != KPOP_OK) {
		refuse(c, err == KPOP_REFUSED ? REFUSAL_AUTH : REFUSAL_TEMP, c->kpop->why, reply_r);
		if (err == KPOP_REFUSED)
			explain_refusal(c, apreq, len);
	} else {
		struct claim claim = claim_of(c);
		claim.undecided = true;
		authorize(c->auth->config, c->auth->mapping, &claim, &c->decision);
		if (c->decision.verdict == VERDICT_REFUSED) /* whatever name comes with USER */
			refuse(c, REFUSAL_AUTH, c->decision.why, reply_r);
		else
			*reply_r = (struct reply){.kind = REPLY_MORE};
	}
	reply_r->octets = c->kpop->reply;
	reply_r->len = c->kpop->reply_len;
}

static void kpop_user(struct conversation *c, const uint8_t *name, size_t len, struct reply *reply_r)
{
	if (len > LIMIT_USER_OCTETS || memchr(name, '\0', len) != NULL) {
		refuse(c, REFUSAL_AUTH, "the name is too long", reply_r);
		return;
	}
	memcpy(c->tried, name, len);
	c->tried[len] = '\0';
	struct claim claim = claim_of(c);
	decide(c, &claim, reply_r);
}

/* ---- what somebody else was asked ---- */

void conversation_question(const struct conversation *c, struct check *check_r)
{
	*check_r = (struct check){.session = c->session, .kind = CHECK_K5LOGIN};
	const char *user = c->decision.user, *secret;
	if (c->decision.verdict == VERDICT_ASK) {
		secret = claim_of(c).name;
	} else {
		const struct saslx_question *asked = saslx_question(c->exchange);
		check_r->kind = check_kind_of(asked->source);
		user = asked->user;
		secret = asked->password_secret;
	}
	snprintf(check_r->user, sizeof check_r->user, "%s", user);
	snprintf(check_r->secret, sizeof check_r->secret, "%s", secret);
}

static void k5login_verdict(struct conversation *c, const struct check_result *result, struct reply *reply_r)
{
	if (result->verdict == CHECK_RIGHT)
		accept_user(c, reply_r);
	else
		refuse(c, result->verdict == CHECK_UNAVAILABLE ? REFUSAL_TEMP : REFUSAL_AUTH, result->why,
		    reply_r);
}

/* What each of those who were asked has said, for the line in the log. */
static void note_said(struct conversation *c, const char *why)
{
	size_t len = strlen(c->said);
	snprintf(c->said + len, sizeof c->said - len, "; %s: %s", saslx_question(c->exchange)->source, why);
}

void conversation_verdict(struct conversation *c, const struct check_result *result, struct reply *reply_r)
{
	static const enum saslx_verdict verdicts[CHECK_VERDICT_COUNT] = {
	    [CHECK_UNAVAILABLE] = SASLX_UNAVAILABLE,
	    [CHECK_RIGHT] = SASLX_RIGHT,
	    [CHECK_WRONG] = SASLX_WRONG,
	    [CHECK_EXPIRED] = SASLX_WRONG,
	    [CHECK_LOCKED] = SASLX_WRONG,
	};
	if (c->decision.verdict == VERDICT_ASK) {
		if (c->reading.lease != 0)
			penalty_turn_give(c->auth->guard.penalty, &c->reading, 0, now_msecs());
		k5login_verdict(c, result, reply_r);
		return;
	}
	enum check_verdict verdict = result->verdict;
	/* Whose password a KDC knows is for the rules to say: without a principal there is nobody. */
	bool kerberos = check_kind_of(saslx_question(c->exchange)->source) == CHECK_KERBEROS;
	if (verdict == CHECK_RIGHT && kerberos && result->principal[0] == '\0')
		verdict = CHECK_UNAVAILABLE;
	c->asked = false;
	note_said(c, result->why);
	if (verdict == CHECK_RIGHT)
		snprintf(c->principal, sizeof c->principal, "%s", result->principal);
	sasl_outcome(c, saslx_answer(c->exchange, verdicts[verdict]), reply_r);
}

/* ---- both ---- */

/* One that this process serves and the site offers: a front that was taken over gets no others. */
static bool mechanism_sound(const struct auth *auth, uint8_t mechanism)
{
	bool blocks;
	if (mechanism == MECHANISM_USERPASS && auth->config->user_pass)
		blocks = true;
	else if ((mechanism == MECHANISM_APOP && auth->config->apop) || mechanism == MECHANISM_KPOP)
		blocks = false;
	else if (mechanism < auth->config->mechanism_count)
		blocks = mechanism_find(auth->config->mechanisms[mechanism])->may_block;
	else
		return false;
	return blocks == auth->password;
}

/* What the front says its client could bind to, and what it binds to now. */
static void get_bindings(struct msg_reader *r, struct saslx_connection *connection)
{
	connection->bindings_offered = msg_get_u8(r);
	uint8_t count = msg_get_u8(r);
	if (count > SASLX_BINDINGS_COUNT)
		r->bad = true;
	for (uint8_t i = 0; i < count && !r->bad; i++) {
		struct saslx_binding *binding = &connection->bindings[connection->binding_count++];
		uint8_t type = msg_get_u8(r), len = msg_get_u8(r);
		const uint8_t *octets = msg_get_bytes(r, len);
		if (type >= SASLX_BINDINGS_COUNT || len > SASLX_BINDING_OCTETS)
			r->bad = true;
		if (r->bad)
			return;
		binding->type = (enum saslx_binding_type)type;
		binding->len = len;
		memcpy(binding->octets, octets, len);
	}
}

struct conversation *conversation_start(struct auth *auth, const struct msg *start, struct reply *reply_r)
{
	struct msg_reader r = {start->body, start->len, false};
	struct conversation *c = calloc(1, sizeof *c);
	*reply_r = (struct reply){.kind = REPLY_REFUSED, .refusal = REFUSAL_TEMP};
	if (c == NULL)
		return NULL;
	size_t len;
	c->auth = auth;
	c->session = msg_get_u64(&r);
	uint8_t protocol = msg_get_u8(&r), tls = msg_get_u8(&r);
	c->mechanism = msg_get_u8(&r);
	uint8_t has_initial = msg_get_u8(&r);
	msg_get_peer(&r, &c->peer);
	get_bindings(&r, &c->connection);
	const uint8_t *initial = msg_get_rest(&r, &len);
	/* No client of a front speaks LMTP. */
	if (!msg_end(&r) || protocol > PROTOCOL_KPOP || tls > 1 || has_initial > 1 ||
	    len > SASLX_TOKEN_OCTETS || !mechanism_sound(auth, c->mechanism)) {
		reply_r->kind = REPLY_BAD;
		conversation_free(&c);
		return NULL;
	}
	c->protocol = (enum protocol)protocol;
	c->tls = c->connection.tls = tls != 0;
	c->connection.layers = c->tls ? SASLX_LAYER_NONE : auth->config->gssapi_layers;
	guard_begin(&c->guarded, &auth->guard, &c->peer, mechanism_name(c), auth->password);
	c->connection.binding_policy = binding_policy(auth->config, mechanism_name(c), &c->peer);
	if (c->mechanism == MECHANISM_KPOP)
		kpop_start(c, initial, len, reply_r);
	else
		sasl_start(c, has_initial != 0, initial, len, reply_r);
	return c;
}

void conversation_step(struct conversation *c, const uint8_t *octets, size_t len, struct reply *reply_r)
{
	if (c->over || c->mechanism == MECHANISM_USERPASS || c->held_secret != NULL)
		*reply_r = (struct reply){.kind = REPLY_BAD};
	else if (c->mechanism == MECHANISM_KPOP)
		kpop_user(c, octets, len, reply_r);
	else
		take(c, len != 0 ? octets : (const uint8_t *)"", len, reply_r);
}
