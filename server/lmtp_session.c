/* SPDX-License-Identifier: ISC */
#include "server/lmtp_session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/child.h"
#include "server/lmtp_parse.h"
#include "server/log.h"
#include "server/message_memory.h"
#include "server/names.h"

struct recipient {
	char *address; /* as it was given */
	char *user;
};

struct session {
	const struct config *config;
	const struct handover *handover;
	struct lmtp_io *io;
	bool greeted, mail;
	char sender[LMTP_ADDRESS_OCTETS + 1];
	uint64_t declared; /* SIZE; 0: not */
	struct recipient recipients[LIMIT_LMTP_RECIPIENTS_COUNT];
	size_t count;
	unsigned errors;
	struct lmtp_command command;
};

enum outcome { GO_ON = 0, ERROR, END };

/* ---- transactions ---- */

static void forget(struct session *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->recipients[i].address);
		free(s->recipients[i].user);
	}
	s->count = 0;
	s->mail = false;
}

static bool remember(struct session *s, const char *address, const char *user)
{
	struct recipient recipient = {strdup(address), strdup(user)};
	if (recipient.address == NULL || recipient.user == NULL) {
		free(recipient.address);
		free(recipient.user);
		return false;
	}
	s->recipients[s->count++] = recipient;
	return true;
}

/* What a deliverer says of a recipient, before the message or after it. */
static void reply_refusal(struct session *s, enum delivery_refusal refusal, const char *address)
{
	bool permanent = s->config->quota_full == QUOTA_FULL_PERMANENT;
	switch (refusal) {
	case DELIVERY_UNKNOWN:
		lmtp_io_reply(s->io, "550 5.1.1 <%.100s> there is no such user here", address);
		return;
	case DELIVERY_FULL:
		lmtp_io_reply(s->io, "%s <%.100s> over quota: there is no room for this",
		    permanent ? "552 5.2.2" : "452 4.2.2", address);
		return;
	case DELIVERY_LARGE:
		lmtp_io_reply(s->io, "552 5.2.3 <%.100s> this is more than there may be in all", address);
		return;
	default:
		lmtp_io_reply(s->io, "451 4.3.0 <%.100s> cannot deliver just now", address);
	}
}

/* ---- commands ---- */

static enum outcome on_lhlo(struct session *s)
{
	forget(s);
	s->greeted = true;
	lmtp_io_reply(s->io, "250-%s", s->config->hostname);
	lmtp_io_reply(s->io, "250-PIPELINING");
	lmtp_io_reply(s->io, "250-ENHANCEDSTATUSCODES");
	lmtp_io_reply(s->io, "250-8BITMIME");
	lmtp_io_reply(s->io, "250 SIZE %" PRIu64, s->config->message_octets);
	return GO_ON;
}

static enum outcome wrong_order(struct session *s, const char *first)
{
	lmtp_io_reply(s->io, "503 5.5.1 first %s", first);
	return ERROR;
}

static enum outcome on_mail(struct session *s)
{
	if (!s->greeted)
		return wrong_order(s, "LHLO");
	if (s->mail)
		return wrong_order(s, "RSET, or the end of this transaction");
	if (s->command.size > s->config->message_octets) {
		lmtp_io_reply(
		    s->io, "552 5.3.4 larger than message_octets, %" PRIu64, s->config->message_octets);
		return GO_ON;
	}
	s->mail = true;
	s->declared = s->command.size;
	memcpy(s->sender, s->command.address, sizeof s->sender);
	lmtp_io_reply(s->io, "250 2.1.0 go on");
	return GO_ON;
}

/* Is there such a user, and room? */
static bool ask(struct session *s, const char *name, char *user, enum delivery_refusal *refusal_r)
{
	char shown[LMTP_ADDRESS_OCTETS + 64];
	const char *why;
	if (names_canonical(s->config, name, strlen(name), user, &why) == 0)
		return handover_ask(s->handover, user, s->declared != 0 ? s->declared : 1, refusal_r) == 0;
	log_info("refused session=%016" PRIx64 " recipient=%s: %s", s->handover->session,
	    log_name(name, shown, sizeof shown), why);
	*refusal_r = DELIVERY_UNKNOWN;
	return false;
}

/* "alice+lists@example.org" → "alice@example.org". false: it has no extension. */
static bool drop_extension(const struct config *config, char *mailbox)
{
	char *at = strrchr(mailbox, '@');
	char *end = at != NULL ? at : mailbox + strlen(mailbox);
	char *from =
	    config->recipient_delimiter == NULL ? end : strpbrk(mailbox, config->recipient_delimiter);
	if (from == NULL || from >= end || from == mailbox)
		return false;
	memmove(from, end, strlen(end) + 1);
	return true;
}

static enum outcome on_rcpt(struct session *s)
{
	char user[LIMIT_USER_OCTETS + 1];
	const char *address = s->command.address;
	char *mailbox = s->command.mailbox;
	enum delivery_refusal refusal;
	if (!s->mail)
		return wrong_order(s, "MAIL");
	if (s->count == LIMIT_LMTP_RECIPIENTS_COUNT) {
		lmtp_io_reply(
		    s->io, "452 4.5.3 not more than %u recipients at a time", LIMIT_LMTP_RECIPIENTS_COUNT);
		return GO_ON;
	}
	/* A user who is called so comes before one with an extension; unless everybody is a user. */
	if (s->config->lmtp_unknown == LMTP_UNKNOWN_CREATE && s->config->mail_users == MAIL_USERS_VIRTUAL)
		(void)drop_extension(s->config, mailbox);
	bool good = ask(s, mailbox, user, &refusal);
	if (!good && refusal == DELIVERY_UNKNOWN && drop_extension(s->config, mailbox))
		good = ask(s, mailbox, user, &refusal);
	if (!good) {
		reply_refusal(s, refusal, address); /* why, the log has been told */
	} else if (!remember(s, address, user)) {
		reply_refusal(s, DELIVERY_TEMP, address);
	} else {
		lmtp_io_reply(s->io, "250 2.1.5 <%.100s> go on", address);
	}
	return GO_ON;
}

/* ---- DATA ---- */

enum collected { COLLECTED = 0, COLLECTED_LARGE, COLLECTED_NO_MEMORY, COLLECTED_NOT };

/* Reads to the end of the data, whatever becomes of it. Not: there was none, and the client is gone or slow.
 */
static enum collected collect(struct session *s, struct message_memory *message)
{
	static uint8_t out[LMTP_IN_OCTETS + 1];
	struct lmtp_data data = {.at = LMTP_AT_LINE};
	uint64_t deadline = now_msecs() + LIMIT_LMTP_DATA_MSECS;
	bool kept = message_begin(message);
	while (!data.ended) {
		const uint8_t *in;
		size_t len, out_len;
		enum lmtp_input input = lmtp_io_data(s->io, deadline, &in, &len);
		if (input != LMTP_INPUT_OK) {
			if (input == LMTP_INPUT_TIMEOUT)
				lmtp_io_reply(s->io, "421 4.4.2 this takes too long");
			return COLLECTED_NOT;
		}
		lmtp_io_used(s->io, lmtp_data_decode(&data, in, len, out, &out_len));
		if (data.octets > s->config->message_octets)
			message_clear(message);
		else if (kept)
			kept = message_write(message, out, out_len);
	}
	if (data.octets > s->config->message_octets)
		return COLLECTED_LARGE;
	return kept && message_seal(message) ? COLLECTED : COLLECTED_NO_MEMORY;
}

static void deliver(struct session *s, const struct message_memory *memory)
{
	const struct handover_message message = {memory->fd, memory->octets, s->sender};
	for (size_t i = 0; i < s->count; i++) {
		const struct recipient *to = &s->recipients[i];
		enum delivery_refusal refusal;
		if (handover_message(s->handover, to->user, to->address, &message, &refusal) == 0)
			lmtp_io_reply(s->io, "250 2.1.5 <%.100s> delivered", to->address);
		else
			reply_refusal(s, refusal, to->address);
		/* What is safe on disk is told at once; a client that hears nothing sends it again. */
		lmtp_io_flush(s->io);
	}
}

static enum outcome on_data(struct session *s)
{
	struct message_memory message = {.fd = -1};
	if (!s->mail)
		return wrong_order(s, "MAIL");
	if (s->count == 0)
		return wrong_order(s, "RCPT, for somebody who is here");
	lmtp_io_reply(s->io, "354 go on, and end with a dot on a line by itself");
	enum collected collected = collect(s, &message);
	if (collected == COLLECTED)
		deliver(s, &message);
	for (size_t i = 0; i < s->count && collected == COLLECTED_LARGE; i++)
		lmtp_io_reply(
		    s->io, "552 5.3.4 larger than message_octets, %" PRIu64, s->config->message_octets);
	for (size_t i = 0; i < s->count && collected == COLLECTED_NO_MEMORY; i++)
		lmtp_io_reply(s->io, "452 4.3.1 no memory for this just now");
	if (collected == COLLECTED_NO_MEMORY)
		log_warning("lmtp session=%016" PRIx64 " no memory for a message", s->handover->session);
	message_clear(&message);
	forget(s);
	return collected == COLLECTED_NOT ? END : GO_ON;
}

static enum outcome on_rset(struct session *s)
{
	forget(s);
	lmtp_io_reply(s->io, "250 2.0.0 forgotten");
	return GO_ON;
}

static enum outcome on_noop(struct session *s)
{
	lmtp_io_reply(s->io, "250 2.0.0 still here");
	return GO_ON;
}

static enum outcome on_quit(struct session *s)
{
	lmtp_io_reply(s->io, "221 2.0.0 goodbye");
	return END;
}

/* RFC 5321 section 3.5.3: whether there is such a user is told at RCPT. */
static enum outcome on_vrfy(struct session *s)
{
	lmtp_io_reply(s->io, "252 2.5.2 ask by RCPT");
	return GO_ON;
}

static enum outcome on_help(struct session *s)
{
	lmtp_io_reply(s->io, "214 2.0.0 LHLO MAIL RCPT DATA RSET NOOP QUIT VRFY HELP, by RFC 2033");
	return GO_ON;
}

static enum outcome on_unknown(struct session *s)
{
	lmtp_io_reply(s->io, "500 5.5.1 no such command; this is LMTP, and begins with LHLO");
	return ERROR;
}

static enum outcome on_expn(struct session *s)
{
	lmtp_io_reply(s->io, "502 5.5.1 there are no lists here");
	return ERROR;
}

typedef enum outcome handler_fn(struct session *s);
static handler_fn *const handlers[LMTP_VERB_COUNT] = {
    [LMTP_UNKNOWN] = on_unknown,
    [LMTP_LHLO] = on_lhlo,
    [LMTP_MAIL] = on_mail,
    [LMTP_RCPT] = on_rcpt,
    [LMTP_DATA] = on_data,
    [LMTP_RSET] = on_rset,
    [LMTP_NOOP] = on_noop,
    [LMTP_QUIT] = on_quit,
    [LMTP_VRFY] = on_vrfy,
    [LMTP_EXPN] = on_expn,
    [LMTP_HELP] = on_help,
};

static enum outcome refuse_syntax(struct session *s, enum lmtp_syntax syntax)
{
	static const char *const replies[] = {
	    [LMTP_SYNTAX_LINE] = "500 5.5.2 a command is printable ASCII, and ends with CR LF",
	    [LMTP_SYNTAX_ARGUMENT] = "501 5.5.4 that is not how its arguments are",
	    [LMTP_SYNTAX_PATH] = "501 5.1.3 that is no path",
	    [LMTP_SYNTAX_PARAMETER] = "501 5.5.4 that is no value of this parameter",
	    [LMTP_SYNTAX_STRANGE_PARAMETER] = "555 5.5.4 this parameter was not offered",
	};
	const char *reply = replies[syntax];
	if (syntax == LMTP_SYNTAX_PATH && s->command.verb == LMTP_MAIL)
		reply = "501 5.1.7 that is no sender's path";
	lmtp_io_reply(s->io, "%s", reply);
	return ERROR;
}

static enum outcome serve_line(struct session *s, const char *line, size_t len)
{
	enum lmtp_syntax syntax = lmtp_parse(line, len, &s->command);
	return syntax != LMTP_SYNTAX_OK ? refuse_syntax(s, syntax) : handlers[s->command.verb](s);
}

static enum outcome serve_one(struct session *s)
{
	const char *line;
	size_t len;
	switch (lmtp_io_line(s->io, !s->mail, &line, &len)) {
	case LMTP_INPUT_OK:
		return serve_line(s, line, len);
	case LMTP_INPUT_BARE:
		return refuse_syntax(s, LMTP_SYNTAX_LINE);
	case LMTP_INPUT_LONG:
		lmtp_io_reply(s->io, "500 5.5.2 not more than %u octets a line", LIMIT_LMTP_LINE_OCTETS);
		return ERROR;
	case LMTP_INPUT_TIMEOUT:
		lmtp_io_reply(s->io, "421 4.4.2 this takes too long");
		return END;
	case LMTP_INPUT_RETIRED:
		lmtp_io_reply(s->io, "421 4.3.2 going away; connect again");
		return END;
	case LMTP_INPUT_GONE:
		break;
	}
	return END;
}

void lmtp_session_run(const struct config *config, const struct handover *handover)
{
	static struct session session;
	struct session *s = &session;
	enum outcome outcome = GO_ON;
	*s = (struct session){.config = config, .handover = handover, .io = handover->io};
	lmtp_io_reply(s->io, "220 %s LMTP kpopd", config->hostname);
	while (outcome != END) {
		outcome = serve_one(s);
		if (outcome == ERROR && ++s->errors >= LIMIT_LMTP_ERRORS_COUNT) {
			lmtp_io_reply(s->io, "421 4.7.0 too many errors");
			outcome = END;
		}
	}
	forget(s);
	lmtp_io_flush(s->io);
}
