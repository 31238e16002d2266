/* SPDX-License-Identifier: ISC */
#include "server/pop3_commands.h"

#include <stdio.h>
#include <string.h>

#include "server/session_private.h"

static pop3_handler_fn cmd_capa, cmd_noop, cmd_quit;

#define BOTH (POP3_IN_AUTHORIZATION | POP3_IN_TRANSACTION)
#define LOGIN POP3_IN_AUTHORIZATION
#define MAIL POP3_IN_TRANSACTION

static const struct pop3_command commands[] = {
    {"CAPA", BOTH, POP3_RULE_NONE, 0, NULL, cmd_capa},
    {"QUIT", BOTH, POP3_RULE_NONE, POP3_LAST, NULL, cmd_quit},
    {"USER", LOGIN, POP3_RULE_TEXT, POP3_LONG_LINE, "USER", session_cmd_user},
    {"PASS", LOGIN, POP3_RULE_ANY, POP3_LONG_LINE | POP3_KEEPS_USER, NULL, session_cmd_pass},
    {"APOP", LOGIN, POP3_RULE_TEXT, POP3_LONG_LINE, NULL, session_cmd_apop},
    {"AUTH", LOGIN, POP3_RULE_ANY, 0, "SASL", session_cmd_auth},
    {"STLS", LOGIN, POP3_RULE_NONE, 0, "STLS", session_cmd_stls},
    {"STAT", MAIL, POP3_RULE_NONE, 0, NULL, session_cmd_stat},
    {"LIST", MAIL, POP3_RULE_MSGNO_OPTIONAL, 0, NULL, session_cmd_list},
    {"UIDL", MAIL, POP3_RULE_MSGNO_OPTIONAL, 0, "UIDL", session_cmd_uidl},
    {"RETR", MAIL, POP3_RULE_MSGNO, 0, NULL, session_cmd_retr},
    {"TOP", MAIL, POP3_RULE_MSGNO_LINES, 0, "TOP", session_cmd_top},
    {"DELE", MAIL, POP3_RULE_MSGNO, 0, NULL, session_cmd_dele},
    {"NOOP", MAIL, POP3_RULE_NONE, 0, NULL, cmd_noop},
    {"RSET", MAIL, POP3_RULE_NONE, 0, NULL, session_cmd_rset},
    /* A browser can be made to send these to us, with POP3 commands behind them. */
    {"GET", 0, POP3_RULE_ANY, POP3_FOREIGN, NULL, NULL},
    {"HEAD", 0, POP3_RULE_ANY, POP3_FOREIGN, NULL, NULL},
    {"POST", 0, POP3_RULE_ANY, POP3_FOREIGN, NULL, NULL},
    {"PUT", 0, POP3_RULE_ANY, POP3_FOREIGN, NULL, NULL},
    {"DELETE", 0, POP3_RULE_ANY, POP3_FOREIGN, NULL, NULL},
    {"PATCH", 0, POP3_RULE_ANY, POP3_FOREIGN, NULL, NULL},
    {"OPTIONS", 0, POP3_RULE_ANY, POP3_FOREIGN, NULL, NULL},
    {"CONNECT", 0, POP3_RULE_ANY, POP3_FOREIGN, NULL, NULL},
    {"TRACE", 0, POP3_RULE_ANY, POP3_FOREIGN, NULL, NULL},
    {"PRI", 0, POP3_RULE_ANY, POP3_FOREIGN, NULL, NULL},
};

/* What CAPA shows beyond commands. */
static const char *const always[] = {"RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"};

const struct pop3_command *pop3_commands(size_t *count_r)
{
	*count_r = sizeof commands / sizeof commands[0];
	return commands;
}

const struct pop3_command *pop3_command_find(const struct pop3_line *line)
{
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (pop3_verb_is(line, commands[i].verb))
			return &commands[i];
	}
	return NULL;
}

/* "SASL A B C": as many as fit a line, in the configuration's order. */
static void show_mechanisms(struct session *session)
{
	char text[LIMIT_REPLY_OCTETS - 2];
	size_t len = 0;
	for (size_t i = 0; i < session->config->mechanism_count; i++) {
		const char *name = session->config->mechanisms[i];
		if (!session_mechanism_allowed(session, i) || len + 5 + strlen(name) >= sizeof text)
			continue;
		len += (size_t)snprintf(text + len, sizeof text - len, "%s %s", len == 0 ? "SASL" : "", name);
	}
	if (len > 0)
		session_line(session, "%s", text);
}

/* Whether a command can be used, now or (RFC 2449 section 5) in AUTHORIZATION on this connection. */
static void show_command(struct session *session, const struct pop3_command *command)
{
	bool stls = !session->logged_in && session->params.offers->tls && !session->tls;
	if (command->handler == session_cmd_auth)
		show_mechanisms(session);
	else if (command->handler == session_cmd_user   ? session_user_works(session)
		 : command->handler == session_cmd_stls ? stls
							: true)
		session_line(session, "%s", command->tag);
}

/*
 * Before login it is not known whose mail is meant: then the longest delay and the shortest time are shown,
 * and that they are not everybody's (RFC 2449 sections 6.5, 6.7). A delay shown then is shown after it, too,
 * even if it is none (section 5).
 */
static void show_policy(struct session *session)
{
	struct policy_extremes of;
	policy_extremes(session->config, &of);
	bool delays = of.login_delay_secs > 0;
	if (session->logged_in)
		of = (struct policy_extremes){.login_delay_secs = session->policy.login_delay_secs,
		    .expire_days = session->policy.expire_days};
	if (delays)
		session_line(
		    session, "LOGIN-DELAY %u%s", of.login_delay_secs, of.login_delay_differs ? " USER" : "");
	if (of.expire_days == POLICY_NEVER)
		session_line(session, "EXPIRE NEVER");
	else
		session_line(session, "EXPIRE %u%s", of.expire_days, of.expire_differs ? " USER" : "");
}

static enum outcome cmd_capa(struct session *session, const struct pop3_args *args)
{
	(void)args;
	session_ok(session, "capability list follows");
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (commands[i].tag != NULL)
			show_command(session, &commands[i]);
	}
	for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
		session_line(session, "%s", always[i]);
	show_policy(session);
	if (session->config->implementation)
		session_line(session, "IMPLEMENTATION kpopd-" KPOPD_VERSION);
	session_line(session, ".");
	return OUTCOME_INPUT;
}

static enum outcome cmd_noop(struct session *session, const struct pop3_args *args)
{
	(void)args;
	session_ok(session, "still here");
	return OUTCOME_INPUT;
}

static enum outcome cmd_quit(struct session *session, const struct pop3_args *args)
{
	(void)args;
	if (session->logged_in)
		return session_commit(session);
	session_ok(session, "goodbye");
	return OUTCOME_CLOSE;
}
