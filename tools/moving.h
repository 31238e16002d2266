/* SPDX-License-Identifier: ISC */
/*
 * moving: the commands of the noun "uidl", once it is known what was typed.
 *
 * Each returns an exit status, and looks at mail and at other servers in a process without root's rights.
 */
#ifndef KPOPD_TOOLS_MOVING_H
#define KPOPD_TOOLS_MOVING_H

#include <stdbool.h>
#include <stdint.h>

#include "server/config.h"
#include "tools/remote.h"
#include "tools/source.h"

#define MOVING_SECRET_OCTETS 1024u
#define MOVING_TOP_LINES 10u

struct moving_options {
	enum source_format format;
	const char *template; /* of UIDLs; NULL: the format's usual one */
	bool dry_run, keep_going, digest;
	/* The other server; the login may hold %u, %n and %d. */
	struct remote_options there;
	const char *new_url; /* this server by POP3; NULL: its store */
	const char *new_login, *new_secret;
	uint32_t body_lines; /* that verify compares */
	bool list_only;      /* verify looks at no message */
};

/* user is canonical; source is a file, "-", or an address. */
int moving_import(
    const struct config *config, const struct moving_options *options, const char *user, const char *source);
/* list: a file of lines "USER SOURCE", or "USER" where template says the SOURCE. */
int moving_import_all(const struct config *config, const struct moving_options *options, const char *list,
    const char *source_template);
int moving_export(const struct config *config, const struct moving_options *options, const char *user);
int moving_verify(const struct config *config, const struct moving_options *options, const char *user);

/* What of a mailbox, a file or a server must not speak to the terminal; text is changed. */
char *moving_printable(char *text);
/* %u, %n and %d in text for user; text_r has size. -1: too long, or another %. */
int moving_expand(const char *text, const char *user, char *text_r, size_t size);
/* What to log in with, for user, as options say; login_r[LIMIT_USER_OCTETS * 2] keeps the name. */
int moving_login(const struct remote_options *options, const char *user, char *login_r, size_t size,
    struct remote_options *options_r);

struct side;
/* Tells why the last call with side failed. EX_TEMPFAIL when a session has the maildrop, else EXIT_FAILURE.
 */
int moving_fail(struct side *side);
/* The status, or EXIT_FAILURE when standard output could not be written, which is told. */
int moving_flushed(int status);
/* What mailuser_run returned, as an exit status. */
int moving_status(int got);

#endif
