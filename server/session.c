/* SPDX-License-Identifier: ISC */
#include "server/session.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kpop/sendauth.h"
#include "server/mechanism.h"
#include "server/pop3_commands.h"
#include "server/session_private.h"

static void request_clear(struct session *session)
{
	if (session->request_octets != NULL)
		OPENSSL_cleanse(session->request_octets, session->request_size);
	free(session->request_octets);
	session->request_octets = NULL;
	session->request_size = 0;
	session->request = (struct session_request){.type = MSG_NONE};
}

void session_enter(struct session *session, struct session_output *out, uint64_t now)
{
	request_clear(session);
	session->out = out;
	session->now = now;
}

enum outcome session_leave(struct session *session, enum outcome outcome)
{
	if (session->broken)
		outcome = OUTCOME_DROP;
	/* A layer takes effect with a maildrop, or not at all (RFC 5034 section 4). */
	if (session->phase != PHASE_OPENING && outcome != OUTCOME_LAYER)
		layer_free(&session->layer);
	if (outcome == OUTCOME_CLOSE || outcome == OUTCOME_DROP) {
		session->phase = PHASE_CLOSED;
		session->conversing = false;
		session->maildrop = false;
		multiline_clear(session);
	}
	session->out = NULL;
	session->outcome = outcome;
	return outcome;
}

enum outcome session_unmoved(struct session *session)
{
	request_clear(session);
	return session->outcome;
}

struct session *session_new(const struct session_params *params, uint64_t now_msecs)
{
	struct session *session = calloc(1, sizeof *session);
	if (session == NULL)
		return NULL;
	session->params = *params;
	session->config = params->config;
	session->tls = params->tls;
	session->began = session->since = session->now = now_msecs;
	session->authorization_until = now_msecs + params->config->authorization_secs * UINT64_C(1000);
	session->message.fd = -1;
	session->known_idx = UINT32_MAX;
	return session;
}

void session_free(struct session **session)
{
	struct session *s = *session;
	if (s == NULL)
		return;
	request_clear(s);
	auth_token_clear(&s->token);
	sendauth_free(&s->sendauth);
	multiline_clear(s);
	layer_free(&s->layer);
	free(s->marks);
	free(s->fetched);
	OPENSSL_cleanse(s, sizeof *s);
	free(s);
	*session = NULL;
}

static void reply(struct session *session, enum pop3_status status, const char *code, const char *format,
    va_list ap) __attribute__((format(printf, 4, 0)));
static void reply(
    struct session *session, enum pop3_status status, const char *code, const char *format, va_list ap)
{
	if (!pop3_reply(session->out, status, code, format, ap))
		session->broken = true;
}

void session_ok(struct session *session, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	reply(session, POP3_STATUS_OK, NULL, format, ap);
	va_end(ap);
}

void session_err(struct session *session, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	reply(session, POP3_STATUS_ERR, NULL, format, ap);
	va_end(ap);
}

void session_refuse(struct session *session, enum refusal refusal, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	reply(session, POP3_STATUS_ERR, pop3_reply_code(refusal), format, ap);
	va_end(ap);
}

void session_line(struct session *session, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	reply(session, POP3_STATUS_LINE, NULL, format, ap);
	va_end(ap);
}

enum outcome session_bad(struct session *session, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	reply(session, POP3_STATUS_ERR, NULL, format, ap);
	va_end(ap);
	if (!session->logged_in && ++session->bad_commands >= LIMIT_BAD_COMMANDS_COUNT)
		return session_last_words(session);
	return OUTCOME_INPUT;
}

enum outcome session_last_words(struct session *session)
{
	session->lingers = true;
	return OUTCOME_CLOSE;
}

bool session_lingers(const struct session *session)
{
	return session->lingers;
}

void session_greet(struct session *session, const char *timestamp, size_t len)
{
	const char *service = session->params.protocol == PROTOCOL_KPOP ? "KPOP" : "POP3";
	/* The timestamp must be whole. A long host name, which stands in it as well, makes room for it. */
	size_t room = LIMIT_REPLY_OCTETS - sizeof "+OK  POP3 ready \r\n" - len;
	session->phase = PHASE_AUTHORIZATION;
	session_ok(session, "%.*s %s ready%s%.*s", (int)room, session->config->hostname, service,
	    len > 0 ? " " : "", (int)len, len > 0 ? timestamp : "");
}

enum outcome session_ask_auth(struct session *session, enum msg_type type, const void *head, size_t head_len,
    const void *body, size_t len)
{
	session->request_size = head_len + len;
	session->request_octets = malloc(session->request_size + 1);
	if (session->request_octets == NULL) {
		session->broken = true;
		return OUTCOME_DROP;
	}
	if (head_len > 0)
		memcpy(session->request_octets, head, head_len);
	if (len > 0)
		memcpy(session->request_octets + head_len, body, len);
	session->request.type = type;
	session->request.body = session->request_octets;
	session->request.len = session->request_size;
	session->phase = PHASE_AUTH;
	session->since = session->now;
	return OUTCOME_AUTH;
}

enum outcome session_ask_store(struct session *session, enum msg_type type, const void *body, size_t len)
{
	session->request = (struct session_request){.type = type, .body = body, .len = len};
	session->since = session->now;
	return OUTCOME_STORE;
}

const struct session_request *session_request(const struct session *session)
{
	return &session->request;
}

unsigned session_expects(const struct session *session)
{
	switch (session->phase) {
	case PHASE_GREETING:
	case PHASE_AUTH:
		return MSG_AT_FRONT_AUTH;
	case PHASE_OPENING:
		return MSG_AT_FRONT_OPENING;
	case PHASE_STORE:
		return session->errand == ERRAND_RETR || session->errand == ERRAND_TOP ? MSG_AT_FRONT_FETCH
										       : MSG_AT_FRONT_LIST;
	case PHASE_UPDATE:
		return MSG_AT_FRONT_COMMIT;
	case PHASE_TRANSACTION:
		return MSG_AT_FRONT_IDLE;
	default:
		return 0;
	}
}

bool session_conversing(const struct session *session)
{
	return session->conversing;
}

bool session_fetch_removes(const struct session *session)
{
	return session->fetched != NULL;
}

bool session_maildrop(const struct session *session)
{
	return session->maildrop;
}

size_t session_input_limit(const struct session *session)
{
	bool tokens = session->phase == PHASE_HANDSHAKE || session->phase == PHASE_TOKEN;
	return tokens ? LIMIT_TOKEN_PIECE_OCTETS : LIMIT_LOGIN_LINE_OCTETS;
}

enum outcome session_begin(struct session *session, struct session_output *out)
{
	session_enter(session, out, session->now);
	if (session->params.protocol == PROTOCOL_KPOP) {
		session->sendauth = sendauth_new();
		return session_leave(session, session->sendauth != NULL ? OUTCOME_MORE_INPUT : OUTCOME_DROP);
	}
	if (session->config->apop) {
		enum outcome outcome = session_start(session, MECHANISM_APOP, NULL, 0);
		session->phase = PHASE_GREETING;
		return session_leave(session, outcome);
	}
	session_greet(session, NULL, 0);
	return session_leave(session, OUTCOME_INPUT);
}

static enum outcome run(
    struct session *session, const struct pop3_line *line, const struct pop3_command *command)
{
	struct pop3_args args;
	unsigned state = session->logged_in ? POP3_IN_TRANSACTION : POP3_IN_AUTHORIZATION;
	if ((command->flags & POP3_FOREIGN) != 0)
		return session_bad(session, "unknown command");
	if ((command->states & state) == 0)
		return session_bad(session, "%s is not for this state", command->verb);
	if (pop3_parse_args(line, command->rule, &args) != POP3_SYNTAX_OK)
		return session_bad(session, "%s: bad arguments", command->verb);
	return command->handler(session, &args);
}

enum outcome session_take_command(struct session *session, const uint8_t *buf, size_t len)
{
	struct pop3_line line;
	enum pop3_syntax syntax = pop3_parse_line(buf, len, &line);
	const struct pop3_command *command = pop3_command_find(&line);
	if (command == NULL || (command->flags & POP3_KEEPS_USER) == 0)
		session->user_given = false;
	session->since = session->now;
	/* Of QUIT the answer tells what became of the marks. */
	if (session->taken && (command == NULL || (command->flags & POP3_LAST) == 0))
		return session_store_gone(session);
	if (syntax == POP3_SYNTAX_CONTROL)
		return session_bad(session, "control characters are not allowed");
	if (command == NULL)
		return session_bad(session, "unknown command");
	return run(session, &line, command);
}

/* Somebody speaks HTTP to us: no more of it is read, and nothing of it comes back. */
static bool foreign(const struct session *session, const struct pop3_command *command)
{
	return command != NULL && (command->flags & POP3_FOREIGN) != 0 && !session->logged_in;
}

static size_t line_limit(const struct session *session, const struct pop3_command *command)
{
	bool longer = command != NULL && (command->flags & POP3_LONG_LINE) != 0 && !session->logged_in;
	return longer ? LIMIT_LOGIN_LINE_OCTETS : LIMIT_COMMAND_OCTETS;
}

static enum outcome too_long(struct session *session)
{
	session->since = session->now;
	session->user_given = false;
	return session_bad(
	    session, "%s", session->discarding_why != NULL ? session->discarding_why : "line too long");
}

static enum outcome line_input(struct session *session, const uint8_t *buf, size_t len, size_t *used_r)
{
	const uint8_t *lf = memchr(buf, '\n', len);
	size_t line_len = lf != NULL ? (size_t)(lf - buf) + 1 : len;
	if (session->discarding) {
		*used_r = line_len;
		session->discarding = lf == NULL;
		return lf == NULL ? OUTCOME_MORE_INPUT : too_long(session);
	}
	struct pop3_line line;
	pop3_parse_line(buf, line_len, &line);
	const struct pop3_command *command = pop3_command_find(&line);
	if (foreign(session, command) && line.verb_len < line_len) {
		session_err(session, "this is a POP3 server");
		return session_last_words(session);
	}
	size_t limit = line_limit(session, command);
	if (line_len > limit || (lf == NULL && line_len == limit)) {
		if (command != NULL && command->handler == session_cmd_auth && !session->logged_in)
			return session_long_auth(session, buf, len, used_r);
		*used_r = line_len;
		session->discarding = lf == NULL;
		session->discarding_why = NULL;
		return lf == NULL ? OUTCOME_MORE_INPUT : too_long(session);
	}
	if (lf == NULL)
		return OUTCOME_MORE_INPUT;
	*used_r = line_len;
	enum outcome outcome = session_take_command(session, buf, line_len);
	/* What came behind STLS was sent in the clear by whoever sits on the wire (RFC 2595 section 4). */
	if (outcome == OUTCOME_STARTTLS && line_len < len)
		return OUTCOME_DROP;
	return outcome;
}

enum outcome session_input(struct session *session, const uint8_t *buf, size_t len, size_t *used_r,
    struct session_output *out, uint64_t now_msecs)
{
	*used_r = 0;
	bool takes = session->phase == PHASE_HANDSHAKE || session->phase == PHASE_AUTHORIZATION ||
		     session->phase == PHASE_TOKEN || session->phase == PHASE_TRANSACTION;
	if (!takes || session->outcome == OUTCOME_LAYER || session->stream != STREAM_NONE)
		return session_unmoved(session);
	session_enter(session, out, now_msecs);
	if (len == 0)
		return session_leave(session, OUTCOME_MORE_INPUT);
	if (session->phase == PHASE_HANDSHAKE)
		return session_leave(session, session_kpop_input(session, buf, len, used_r));
	if (session->phase == PHASE_TOKEN)
		return session_leave(session, session_token_input(session, buf, len, used_r));
	return session_leave(session, line_input(session, buf, len, used_r));
}

struct layer *session_take_layer(struct session *session)
{
	struct layer *layer = session->layer;
	session->layer = NULL;
	session->outcome = OUTCOME_INPUT;
	return layer;
}

enum outcome session_injected(struct session *session)
{
	request_clear(session);
	return session_leave(session, OUTCOME_DROP);
}

enum outcome session_tls_started(
    struct session *session, const char *description, struct session_output *out, uint64_t now_msecs)
{
	if (session->phase != PHASE_STARTTLS)
		return session_unmoved(session);
	(void)description;
	session_enter(session, out, now_msecs);
	session->tls = true;
	session->phase = PHASE_AUTHORIZATION;
	session_forget_login(session);
	return session_leave(session, OUTCOME_INPUT);
}

enum outcome session_auth(
    struct session *session, const struct msg *msg, struct session_output *out, uint64_t now_msecs)
{
	if (session->phase != PHASE_GREETING && session->phase != PHASE_AUTH)
		return session_unmoved(session);
	session_enter(session, out, now_msecs);
	return session_leave(session, session_auth_answer(session, msg));
}

enum outcome session_auth_lost(struct session *session, struct session_output *out, uint64_t now_msecs)
{
	session->conversing = false;
	session->apop_ready = false;
	if (session->phase != PHASE_GREETING && session->phase != PHASE_AUTH)
		return session_unmoved(session);
	session_enter(session, out, now_msecs);
	return session_leave(session, session_auth_given_up(session));
}

/* Whether an answer of the store can come now. */
static bool store_awaited(const struct session *session)
{
	return session->phase == PHASE_OPENING || session->phase == PHASE_STORE ||
	       session->phase == PHASE_UPDATE;
}

/* The store has ended the maildrop by itself; the client hears of it when it asks for something. */
static void unasked(struct session *session, const struct msg *msg)
{
	if (session->phase != PHASE_TRANSACTION || msg->type != MSG_STORE_REFUSED)
		return;
	session->maildrop = false;
	session->taken = msg->len == 1 && msg->body[0] == REFUSAL_TAKEN;
}

enum outcome session_store(
    struct session *session, const struct msg *msg, struct session_output *out, uint64_t now_msecs)
{
	bool message = msg->type == MSG_STORE_MESSAGE && (session_expects(session) & MSG_AT_FRONT_FETCH) != 0;
	if (!message && msg->fd >= 0)
		close(msg->fd);
	if (!store_awaited(session)) {
		unasked(session, msg);
		return session_unmoved(session);
	}
	session_enter(session, out, now_msecs);
	if (session->phase == PHASE_OPENING)
		return session_leave(session, session_open_answer(session, msg));
	if (session->phase == PHASE_UPDATE)
		return session_leave(session, session_commit_answer(session, msg));
	return session_leave(session, session_drop_answer(session, msg));
}

enum outcome session_store_lost(struct session *session, struct session_output *out, uint64_t now_msecs)
{
	session->maildrop = false;
	if (!store_awaited(session))
		return session_unmoved(session);
	session_enter(session, out, now_msecs);
	return session_leave(session, session_store_given_up(session));
}

enum outcome session_fill(struct session *session, struct session_output *out, uint64_t now_msecs)
{
	if (session->stream == STREAM_NONE)
		return session_unmoved(session);
	session_enter(session, out, now_msecs);
	return session_leave(session, multiline_fill(session));
}
