/* SPDX-License-Identifier: ISC */
/*
 * The lines of a login that fetchmail and its like look into for "lock", "wait", "busy" and "unavailable"
 * are worded without them: they would take a refusal for a maildrop in use and never say so to the user.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kpop/sendauth.h"
#include "server/mechanism.h"
#include "server/pop3_commands.h"
#include "server/session_private.h"

#define START_HEAD_OCTETS (30u + SESSION_BINDINGS_OCTETS)

bool session_plaintext_allowed(const struct session *session)
{
	switch (session->config->plaintext) {
	case PLAINTEXT_ALWAYS:
		return true;
	case PLAINTEXT_LOOPBACK:
		return session->tls || session->params.loopback;
	case PLAINTEXT_TLS:
		break;
	}
	return session->tls;
}

bool session_user_works(const struct session *session)
{
	bool can = session->params.protocol == PROTOCOL_KPOP || session->params.offers->passwords;
	return can && session_user_allowed(session);
}

bool session_user_allowed(const struct session *session)
{
	/* On KPOP, USER chooses the mailbox of somebody who has proved who he is: no password is shown. */
	if (session->params.protocol == PROTOCOL_KPOP)
		return true;
	return session->config->user_pass && session_plaintext_allowed(session);
}

/* Whether it may be used on this connection, but for channel binding; whether it can, see mechanism_works. */
static bool mechanism_permitted(const struct session *session, const struct mechanism *mechanism)
{
	return session->params.protocol != PROTOCOL_KPOP &&
	       (!mechanism->plaintext || session_plaintext_allowed(session));
}

static bool mechanism_works(const struct session *session, size_t mechanism)
{
	return (session->params.offers->mechanisms & UINT32_C(1) << mechanism) != 0;
}

bool session_mechanism_allowed(const struct session *session, size_t mechanism)
{
	if (mechanism >= session->config->mechanism_count || mechanism >= LIMIT_MECHANISMS_COUNT)
		return false;
	const struct mechanism *about = mechanism_find(session->config->mechanisms[mechanism]);
	return mechanism_permitted(session, about) && session_binding_shown(session, about) &&
	       mechanism_works(session, mechanism);
}

static bool blocks(const struct session *session, uint8_t mechanism)
{
	if (mechanism == MECHANISM_APOP || mechanism == MECHANISM_KPOP)
		return false;
	return mechanism == MECHANISM_USERPASS ||
	       mechanism_find(session->config->mechanisms[mechanism])->may_block;
}

/* The first message of a mechanism of the configuration. false: it does not bind, and must. */
static bool first_message(struct session *session, const uint8_t *message, size_t len)
{
	session->first = false;
	return session->mechanism >= session->config->mechanism_count ||
	       session_binding_first(
		   session, mechanism_find(session->config->mechanisms[session->mechanism]), message, len);
}

static enum outcome not_bound(struct session *session)
{
	session->conversing = false;
	session->unbound++;
	return session_bad(session, "channel binding is required here");
}

/* initial NULL: there is none. */
enum outcome session_start(struct session *session, uint8_t mechanism, const void *initial, size_t len)
{
	uint8_t head[START_HEAD_OCTETS];
	struct msg_writer w = {.buf = head, .size = sizeof head};
	msg_put_u64(&w, session->params.id);
	msg_put_u8(&w, (uint8_t)session->params.protocol);
	msg_put_u8(&w, session->tls);
	msg_put_u8(&w, mechanism);
	msg_put_u8(&w, initial != NULL);
	msg_put_peer(&w, &session->params.peer);
	session_put_bindings(session, mechanism, &w);
	if (w.bad) {
		session->broken = true;
		return OUTCOME_DROP;
	}
	session->mechanism = mechanism;
	session->first = true;
	if (initial != NULL && !first_message(session, initial, len))
		return not_bound(session);
	session->conversing = true;
	session->apop_ready = false; /* a new conversation takes the place of APOP's */
	enum outcome outcome = session_ask_auth(session, MSG_FRONT_START, head, w.len, initial, len);
	session->request.may_block = blocks(session, mechanism);
	return outcome;
}

void session_forget_login(struct session *session)
{
	session->user_given = false;
	OPENSSL_cleanse(session->user, sizeof session->user);
}

/* "user NUL secret" of a conversation that takes both at once. */
static enum outcome ask_with_pair(struct session *session, enum msg_type type, const char *user,
    size_t user_len, const char *secret, size_t secret_len)
{
	uint8_t pair[2 * LIMIT_LOGIN_LINE_OCTETS];
	size_t len = user_len + 1 + secret_len;
	if (len > sizeof pair)
		return session_bad(session, "too long");
	memcpy(pair, user, user_len);
	pair[user_len] = 0;
	memcpy(pair + user_len + 1, secret, secret_len);
	enum outcome outcome = type == MSG_FRONT_START ? session_start(session, MECHANISM_USERPASS, pair, len)
						       : session_ask_auth(session, type, NULL, 0, pair, len);
	OPENSSL_cleanse(pair, sizeof pair);
	return outcome;
}

enum outcome session_cmd_user(struct session *session, const struct pop3_args *args)
{
	if (!session_user_allowed(session))
		return session_bad(session, session->config->user_pass ? "USER needs an encrypted connection"
								       : "USER is not offered here");
	if (args->text_len > LIMIT_USER_OCTETS)
		return session_bad(session, "USER: name too long");
	memcpy(session->user, args->text, args->text_len);
	session->user[args->text_len] = 0;
	session->user_given = true;
	session_ok(session, "now PASS");
	return OUTCOME_INPUT;
}

enum outcome session_cmd_pass(struct session *session, const struct pop3_args *args)
{
	size_t user_len = strlen(session->user);
	if (!session->user_given)
		return session_bad(session, "PASS comes right after USER");
	session->user_given = false;
	if (session->params.protocol == PROTOCOL_KPOP) {
		/* Whatever the password is, it was never asked for: it is not looked at. */
		if (!session->conversing)
			return session_login_refused(
			    session, session->auth_failures > 0 ? REFUSAL_AUTH : REFUSAL_TEMP);
		return session_ask_auth(session, MSG_FRONT_STEP, NULL, 0, session->user, user_len);
	}
	if (args->text_len == 0)
		return session_bad(session, "PASS: no password");
	return ask_with_pair(session, MSG_FRONT_START, session->user, user_len, args->text, args->text_len);
}

enum outcome session_cmd_apop(struct session *session, const struct pop3_args *args)
{
	const char *digest = memrchr(args->text, ' ', args->text_len);
	if (digest == NULL || digest == args->text || digest + 1 == args->text + args->text_len)
		return session_bad(session, "APOP: bad arguments");
	size_t user_len = (size_t)(digest - args->text);
	if (!session->apop_ready || !session->conversing)
		return session_bad(session, "APOP needs a greeting with a fresh timestamp");
	if (user_len > LIMIT_USER_OCTETS)
		return session_bad(session, "APOP: name too long");
	session->apop_ready = false; /* a timestamp serves once */
	return ask_with_pair(
	    session, MSG_FRONT_STEP, args->text, user_len, digest + 1, args->text_len - user_len - 1);
}

enum outcome session_cmd_stls(struct session *session, const struct pop3_args *args)
{
	(void)args;
	if (session->tls)
		return session_bad(session, "TLS is on already");
	if (!session->params.offers->tls)
		return session_bad(session, "STLS is not offered here");
	session->phase = PHASE_STARTTLS;
	session_ok(session, "begin TLS");
	return OUTCOME_STARTTLS;
}

/* The line is whole: an initial response, or the answer to a challenge. */
static enum outcome token_end(struct session *session)
{
	struct auth_token *token = &session->token;
	static const uint8_t nothing[1];
	bool initial = session->initial;
	enum outcome outcome;
	session->phase = PHASE_AUTHORIZATION;
	bool empty = initial && auth_token_is(token, '=');
	if (!initial && auth_token_is(token, '*')) {
		outcome = session_bad(session, "authentication cancelled");
		session->conversing = false;
	} else if (!empty && !auth_token_valid(token)) {
		outcome = session_bad(session, "not a line of base64, or too long");
		session->conversing = false;
	} else if (initial) {
		const void *octets = empty || token->len == 0 ? nothing : token->octets;
		outcome = session_start(session, session->mechanism, octets, empty ? 0 : token->len);
	} else if (!session->conversing) {
		outcome = session_login_refused(session, REFUSAL_TEMP);
	} else if (session->first && !first_message(session, token->octets, token->len)) {
		outcome = not_bound(session);
	} else {
		outcome = session_ask_auth(session, MSG_FRONT_STEP, NULL, 0, token->octets, token->len);
	}
	auth_token_clear(token);
	return outcome;
}

enum outcome session_token_input(struct session *session, const uint8_t *buf, size_t len, size_t *used_r)
{
	const uint8_t *lf = memchr(buf, '\n', len);
	size_t take = lf != NULL ? (size_t)(lf - buf) : len;
	*used_r = take + (lf != NULL);
	auth_token_feed(&session->token, buf, take);
	return lf != NULL ? token_end(session) : OUTCOME_MORE_INPUT;
}

static void token_begin(struct session *session, bool initial)
{
	auth_token_clear(&session->token);
	session->initial = initial;
	session->phase = PHASE_TOKEN;
}

/* RFC 1939 has no list of mechanisms and RFC 5034 neither, but clients ask for one so. */
static enum outcome list_mechanisms(struct session *session)
{
	session_ok(session, "mechanisms follow");
	for (size_t i = 0; i < session->config->mechanism_count; i++) {
		if (session_mechanism_allowed(session, i))
			session_line(session, "%s", session->config->mechanisms[i]);
	}
	session_line(session, ".");
	return OUTCOME_INPUT;
}

/* NULL when it is offered, else why not. */
static const char *find_mechanism(
    const struct session *session, const char *name, size_t len, uint8_t *mechanism_r)
{
	for (size_t i = 0; i < session->config->mechanism_count && i < LIMIT_MECHANISMS_COUNT; i++) {
		const char *have = session->config->mechanisms[i];
		if (strlen(have) == len && strncasecmp(have, name, len) == 0) {
			const struct mechanism *about = mechanism_find(have);
			*mechanism_r = (uint8_t)i;
			if (mechanism_permitted(session, about) && session_binding_taken(session, about))
				return NULL;
			if (session_binding_spent(session, about))
				return "channel binding has served its one attempt on this connection; "
				       "connect again";
		}
	}
	return "mechanism not offered here";
}

/* Configured, but a key or the secrets are missing: no client shall take that for a wrong password. */
static enum outcome cannot_be_used(struct session *session, uint8_t mechanism)
{
	session_refuse(session, REFUSAL_PERM, "%s cannot be used now; tell the administrator",
	    session->config->mechanisms[mechanism]);
	return ++session->bad_commands >= LIMIT_BAD_COMMANDS_COUNT ? session_last_words(session)
								   : OUTCOME_INPUT;
}

enum outcome session_cmd_auth(struct session *session, const struct pop3_args *args)
{
	const char *text = args->text, *name;
	size_t len = args->text_len, name_len;
	uint8_t mechanism;
	bool ended;
	if (session->params.protocol == PROTOCOL_KPOP)
		return session_bad(session, "AUTH is not offered here");
	if (!pop3_parse_word(&text, &len, &name, &name_len, &ended))
		return list_mechanisms(session);
	const char *why = find_mechanism(session, name, name_len, &mechanism);
	if (why != NULL)
		return session_bad(session, "%s", why);
	if (!mechanism_works(session, mechanism))
		return cannot_be_used(session, mechanism);
	if (len == 0)
		return session_start(session, mechanism, NULL, 0);
	if (mechanism_find(session->config->mechanisms[mechanism])->server_first)
		return session_bad(session, "this mechanism has no initial response");
	session->mechanism = mechanism;
	session->conversing = false; /* APOP's, if it was open */
	session->apop_ready = false;
	token_begin(session, true);
	auth_token_feed(&session->token, (const uint8_t *)text, len);
	return token_end(session);
}

/*
 * An AUTH line longer than a command (RFC 5034 section 4 would have none, clients do send them): what
 * comes behind the mechanism's name is taken as it comes in.
 */
enum outcome session_long_auth(struct session *session, const uint8_t *buf, size_t len, size_t *used_r)
{
	struct pop3_line line;
	const uint8_t *lf = memchr(buf, '\n', len);
	size_t line_len = lf != NULL ? (size_t)(lf - buf) + 1 : len;
	uint8_t mechanism;
	bool ended;
	const char *text, *name;
	size_t text_len, name_len;

	session->user_given = false;
	session->since = session->now;
	pop3_parse_line(buf, line_len, &line);
	text = line.text;
	text_len = line.text_len;
	static const char too_long[] = "line too long";
	const char *why = too_long;
	if (pop3_parse_word(&text, &text_len, &name, &name_len, &ended) && ended)
		why = find_mechanism(session, name, name_len, &mechanism);
	if (why == NULL && (!mechanism_works(session, mechanism) ||
			       mechanism_find(session->config->mechanisms[mechanism])->server_first))
		why = too_long;
	if (why != NULL) {
		*used_r = line_len;
		session->discarding = lf == NULL;
		session->discarding_why = why;
		return lf == NULL ? OUTCOME_MORE_INPUT : session_bad(session, "%s", why);
	}
	session->mechanism = mechanism;
	session->conversing = false;
	session->apop_ready = false;
	token_begin(session, true);
	size_t head = (size_t)(text - (const char *)buf);
	enum outcome outcome = session_token_input(session, buf + head, len - head, used_r);
	*used_r += head;
	return outcome;
}

static enum outcome challenge(struct session *session, const uint8_t *octets, size_t len)
{
	size_t size = 2 + BASE64_ENCODED_OCTETS(len) + 2;
	uint8_t *line = malloc(size);
	if (len > SASLX_TOKEN_OCTETS || line == NULL) {
		free(line);
		session->broken = true;
		return OUTCOME_DROP;
	}
	memcpy(line, "+ ", 2);
	size_t at = 2 + base64_encode(octets, len, line + 2);
	memcpy(line + at, "\r\n", 2);
	token_begin(session, false);
	return multiline_octets(session, line, at + 2, OUTCOME_INPUT);
}

enum outcome session_login_refused(struct session *session, enum refusal refusal)
{
	session->phase = PHASE_AUTHORIZATION;
	session->conversing = false;
	if (refusal == REFUSAL_AUTH)
		session_refuse(session, refusal, "authentication failed");
	else if (refusal == REFUSAL_PERM)
		session_refuse(session, refusal, "authentication is not possible; tell the administrator");
	else
		session_refuse(session, REFUSAL_TEMP, "authentication cannot be done now; try again later");
	if (refusal == REFUSAL_AUTH && ++session->auth_failures >= LIMIT_AUTH_FAILURES_COUNT)
		return session_last_words(session);
	return OUTCOME_INPUT;
}

enum outcome session_auth_given_up(struct session *session)
{
	session->conversing = false;
	if (session->phase == PHASE_GREETING) {
		session_greet(session, NULL, 0);
		return OUTCOME_INPUT;
	}
	if (session->sendauth != NULL)
		return session_kpop_refused(session, REFUSAL_TEMP, NULL, 0);
	return session_login_refused(session, REFUSAL_TEMP);
}

static void name_login(struct session *session)
{
	const char *name = session->mechanism == MECHANISM_USERPASS ? "USER"
			   : session->mechanism == MECHANISM_APOP   ? "APOP"
			   : session->mechanism == MECHANISM_KPOP
			       ? "KPOP"
			       : session->config->mechanisms[session->mechanism];
	snprintf(session->login, sizeof session->login, "%s", name);
}

/* kind 0: none is wanted. false: it is not one we can have here. */
static bool take_layer(struct session *session, uint8_t kind, const uint8_t *octets_secret, size_t len)
{
	session->layer_name[0] = 0;
	if (kind == 0)
		return len == 0;
	layer_free(&session->layer);
	session->layer = session->tls ? NULL : layer_import(octets_secret, len);
	if (session->layer == NULL)
		return false;
	snprintf(session->layer_name, sizeof session->layer_name, "%s", layer_description(session->layer));
	return true;
}

static enum outcome done(struct session *session, const struct msg *msg)
{
	struct msg_reader r = {.buf = msg->body, .len = msg->len};
	size_t layer_len;
	uint8_t kind = msg_get_u8(&r);
	uint16_t len = msg_get_u16(&r);
	const uint8_t *user = msg_get_bytes(&r, len);
	const uint8_t *layer = msg_get_rest(&r, &layer_len);
	if (!msg_end(&r) || len == 0 || len > LIMIT_USER_OCTETS ||
	    !take_layer(session, kind, layer, layer_len))
		return session_auth_given_up(session);
	memcpy(session->user, user, len);
	session->user[len] = 0;
	name_login(session);
	session->conversing = false;
	session->maildrop = true;
	session->phase = PHASE_OPENING;
	session->since = session->now;
	return OUTCOME_STORE;
}

/* APOP's timestamp goes into the greeting, if it looks like one. */
static enum outcome greeting_answer(struct session *session, const struct msg *msg)
{
	const uint8_t *text = msg->body;
	bool good = msg->type == MSG_AUTH_MORE && msg->len >= 3 && msg->len <= LIMIT_TIMESTAMP_OCTETS &&
		    text[0] == '<' && text[msg->len - 1] == '>';
	for (size_t i = 0; good && i < msg->len; i++)
		good = text[i] > 0x20 && text[i] < 0x7F;
	session->conversing = session->apop_ready = good;
	session_greet(session, (const char *)text, good ? msg->len : 0);
	return OUTCOME_INPUT;
}

static enum outcome more(struct session *session, const struct msg *msg)
{
	if (session->sendauth != NULL)
		return session_kpop_accepted(session, msg->body, msg->len);
	if (session->mechanism >= session->config->mechanism_count)
		return session_auth_given_up(session); /* these take one step */
	return challenge(session, msg->body, msg->len);
}

static enum outcome failed(struct session *session, const struct msg *msg)
{
	struct msg_reader r = {.buf = msg->body, .len = msg->len};
	size_t len;
	uint8_t refusal = msg_get_u8(&r);
	const uint8_t *rest = msg_get_rest(&r, &len);
	session->conversing = false;
	if (!msg_end(&r) || refusal >= REFUSAL_COUNT)
		return session_auth_given_up(session);
	if (session->sendauth != NULL)
		return session_kpop_refused(session, (enum refusal)refusal, rest, len);
	return session_login_refused(session, (enum refusal)refusal);
}

enum outcome session_auth_answer(struct session *session, const struct msg *msg)
{
	if (session->phase == PHASE_GREETING)
		return greeting_answer(session, msg);
	if (msg->type == MSG_AUTH_MORE)
		return more(session, msg);
	if (msg->type == MSG_AUTH_FAIL)
		return failed(session, msg);
	if (msg->type == MSG_AUTH_DONE && session->sendauth == NULL)
		return done(session, msg);
	return session_auth_given_up(session);
}
