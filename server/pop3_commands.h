/* SPDX-License-Identifier: ISC */
/*
 * pop3_commands: the table that is the specification: verb, states, arguments, flags, CAPA tag.
 *
 * For the session, and for the test that walks it through all states. doc/protocol.md shows it.
 */
#ifndef KPOPD_SERVER_POP3_COMMANDS_H
#define KPOPD_SERVER_POP3_COMMANDS_H

#include <stddef.h>

#include "server/pop3_parse.h"
#include "server/session.h"

enum { POP3_IN_AUTHORIZATION = 1 << 0, POP3_IN_TRANSACTION = 1 << 1 };

enum {
	POP3_KEEPS_USER = 1 << 0, /* USER is not forgotten by this command */
	POP3_LONG_LINE = 1 << 1,  /* LIMIT_LOGIN_LINE_OCTETS instead of LIMIT_COMMAND_OCTETS */
	POP3_FOREIGN = 1 << 2,    /* another protocol's verb: before login it ends the session at once */
	POP3_LAST = 1 << 3,       /* is answered though another login has taken the maildrop over */
};

typedef enum outcome pop3_handler_fn(struct session *session, const struct pop3_args *args);

struct pop3_command {
	const char *verb;
	unsigned states;
	enum pop3_rule rule;
	unsigned flags;
	const char *tag; /* in CAPA; NULL: none of its own */
	pop3_handler_fn *handler;
};

const struct pop3_command *pop3_commands(size_t *count_r);
/* NULL: unknown. */
const struct pop3_command *pop3_command_find(const struct pop3_line *line);

/* Handlers of other modules. */
pop3_handler_fn session_cmd_user, session_cmd_pass, session_cmd_apop, session_cmd_auth, session_cmd_stls;
pop3_handler_fn session_cmd_stat, session_cmd_list, session_cmd_uidl, session_cmd_retr, session_cmd_top;
pop3_handler_fn session_cmd_dele, session_cmd_rset;

#endif
