/* SPDX-License-Identifier: ISC */
#include "server/conversation.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/authorize.h"
#include "server/mechanism.h"

enum { WHY_OCTETS = 512 };

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
	bool over;
	struct decision decision;          /* whose maildrop it is, or who is to be asked */
	char tried[LIMIT_USER_OCTETS + 1]; /* the name somebody claimed, for the log */
	char why[WHY_OCTETS];
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

/* As it was given, but for what could pass for another field of the line: somebody chose it who failed. */
static const char *name_text(const char *name, char *text_r, size_t size)
{
	size_t len = strnlen(name, size - 1);
	for (size_t i = 0; i < len; i++) {
		bool plain = name[i] > 0x20 && name[i] < 0x7f && strchr("=\"'\\:", name[i]) == NULL;
		text_r[i] = plain ? name[i] : '?';
	}
	text_r[len] = '\0';
	return text_r;
}

const char *conversation_text(const struct conversation *c)
{
	static const char *const protocols[PROTOCOL_COUNT] = {"pop3", "pop3s", "kpop"};
	static char text[256 + KPOP_PRINCIPAL_OCTETS + LIMIT_USER_OCTETS];
	char peer[PEER_TEXT_OCTETS], tried[LIMIT_USER_OCTETS + 1], proven[KPOP_PRINCIPAL_OCTETS];
	const char *principal = c->kpop != NULL && c->kpop->principal[0] != '\0' ? c->kpop->principal : NULL;
	snprintf(text, sizeof text, "session=%016" PRIx64 " mech=%s proto=%s peer=%s tls=%s%s%s%s%s",
	    c->session, mechanism_name(c), protocols[c->protocol], peer_text(&c->peer, peer),
	    c->tls ? "yes" : "no", principal != NULL ? " principal=" : "",
	    principal != NULL ? name_text(principal, proven, sizeof proven) : "",
	    c->tried[0] != '\0' ? " tried=" : "", name_text(c->tried, tried, sizeof tried));
	return text;
}

void conversation_free(struct conversation **conversation)
{
	struct conversation *c = *conversation;
	if (c == NULL)
		return;
	saslx_free(&c->exchange);
	free(c->kpop);
	OPENSSL_cleanse(c, sizeof *c);
	free(c);
	*conversation = NULL;
}

static void refuse(struct conversation *c, enum refusal refusal, const char *why, struct reply *reply_r)
{
	c->over = true;
	snprintf(c->why, sizeof c->why, "%s", why);
	for (char *p = c->why; (p = strchr(p, '=')) != NULL; p++) /* names in it are the client's */
		*p = '?';
	*reply_r = (struct reply){.kind = REPLY_REFUSED, .refusal = refusal};
}

/* Somebody has proved who he is. */
static void decide(struct conversation *c, const struct claim *claim, struct reply *reply_r)
{
	authorize(c->auth->config, c->auth->identity, claim, &c->decision);
	switch (c->decision.verdict) {
	case VERDICT_USER:
		c->over = true;
		*reply_r = (struct reply){.kind = REPLY_DONE};
		return;
	case VERDICT_ASK:
		*reply_r = (struct reply){.kind = REPLY_ASK};
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
		static const char *const none[] = {NULL};
		claim.kerberos = true;
		claim.name = c->kpop->principal;
		claim.requested = c->tried;
		claim.indicators = none;
	} else {
		const struct saslx_identity *identity = saslx_identity(c->exchange);
		claim.kerberos = identity->kerberos;
		claim.name = identity->name;
		claim.requested = identity->authzid;
		claim.indicators = identity->indicators;
	}
	return claim;
}

/* ---- SASL, USER/PASS, APOP ---- */

static void sasl_outcome(struct conversation *c, enum saslx_outcome outcome, struct reply *reply_r)
{
	switch (outcome) {
	case SASLX_MORE:
		*reply_r = (struct reply){.kind = REPLY_MORE};
		reply_r->octets = saslx_challenge(c->exchange, &reply_r->len);
		return;
	case SASLX_ASK:
		*reply_r = (struct reply){.kind = REPLY_ASK};
		return;
	case SASLX_DONE: {
		struct claim claim = claim_of(c);
		decide(c, &claim, reply_r);
		return;
	}
	case SASLX_REFUSED:
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

static void sasl_start(
    struct conversation *c, bool has_initial, const uint8_t *initial, size_t len, struct reply *reply_r)
{
	c->exchange = saslx_new(&c->connection);
	if (c->exchange == NULL) {
		refuse(c, REFUSAL_TEMP, "no memory", reply_r);
	} else if (c->mechanism == MECHANISM_USERPASS) {
		userpass(c, initial, len, reply_r);
	} else if (c->mechanism == MECHANISM_APOP) {
		const char *timestamp = saslx_apop_begin(c->exchange);
		if (timestamp == NULL) {
			refuse(c, REFUSAL_TEMP, saslx_why(c->exchange), reply_r);
			return;
		}
		*reply_r =
		    (struct reply){REPLY_MORE, REFUSAL_TEMP, (const uint8_t *)timestamp, strlen(timestamp)};
	} else {
		/* An empty initial response is present but empty: not NULL. */
		const void *response = !has_initial ? NULL
				       : len != 0   ? (const void *)initial
						    : (const void *)"";
		sasl_outcome(c, saslx_start(c->exchange, mechanism_name(c), response, len), reply_r);
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
	} else {
		struct claim claim = claim_of(c);
		authorize(c->auth->config, c->auth->identity, &claim, &c->decision);
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

struct question conversation_question(const struct conversation *c)
{
	if (c->decision.verdict == VERDICT_ASK)
		return (struct question){
		    .source = "k5login", .user = c->decision.user, .principal = claim_of(c).name};
	const struct saslx_question *asked = saslx_question(c->exchange);
	return (struct question){
	    .source = asked->source, .user = asked->user, .password_secret = asked->password_secret};
}

static void k5login_verdict(
    struct conversation *c, enum saslx_verdict verdict, const char *why, struct reply *reply_r)
{
	c->over = true;
	if (verdict == SASLX_RIGHT)
		*reply_r = (struct reply){.kind = REPLY_DONE};
	else
		refuse(c, verdict == SASLX_WRONG ? REFUSAL_AUTH : REFUSAL_TEMP, why, reply_r);
}

void conversation_verdict(
    struct conversation *c, enum saslx_verdict verdict, const char *why, struct reply *reply_r)
{
	if (c->decision.verdict == VERDICT_ASK)
		k5login_verdict(c, verdict, why, reply_r);
	else
		sasl_outcome(c, saslx_answer(c->exchange, verdict), reply_r);
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
	if (!msg_end(&r) || protocol >= PROTOCOL_COUNT || tls > 1 || has_initial > 1 ||
	    len > SASLX_TOKEN_OCTETS || !mechanism_sound(auth, c->mechanism)) {
		reply_r->kind = REPLY_BAD;
		conversation_free(&c);
		return NULL;
	}
	c->protocol = (enum protocol)protocol;
	c->tls = c->connection.tls = tls != 0;
	c->connection.layers = c->tls ? SASLX_LAYER_NONE : auth->config->gssapi_layers;
	if (c->mechanism == MECHANISM_KPOP)
		kpop_start(c, initial, len, reply_r);
	else
		sasl_start(c, has_initial != 0, initial, len, reply_r);
	return c;
}

void conversation_step(struct conversation *c, const uint8_t *octets, size_t len, struct reply *reply_r)
{
	if (c->over)
		*reply_r = (struct reply){.kind = REPLY_BAD};
	else if (c->mechanism == MECHANISM_KPOP)
		kpop_user(c, octets, len, reply_r);
	else if (c->mechanism == MECHANISM_APOP)
		apop_digest(c, octets, len, reply_r);
	else if (c->mechanism == MECHANISM_USERPASS)
		*reply_r = (struct reply){.kind = REPLY_BAD};
	else
		sasl_outcome(c, saslx_step(c->exchange, octets, len), reply_r);
}
