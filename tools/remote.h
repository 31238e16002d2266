/* SPDX-License-Identifier: ISC */
/*
 * remote: one user's session with any POP3 server, by libcurl, which does TLS and the mechanisms of login.
 *
 * For kpopctl. Nothing is changed there: only UIDL, LIST, TOP, RETR and QUIT are said. Numbers and lines of
 * the other server are believed as little as a client's.
 */
#ifndef KPOPD_TOOLS_REMOTE_H
#define KPOPD_TOOLS_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/likeness.h"

struct remote_options {
	const char *url;       /* "pop3://HOST", "pop3s://HOST:PORT" */
	const char *login;     /* the name to log in by */
	const char *secret;    /* the password; "" where a mechanism needs none */
	const char *mechanism; /* "PLAIN", "GSSAPI", "+APOP"; NULL: the best there is */
	const char *ca_file;   /* NULL: the system's authorities */
	bool clear;            /* without TLS, password and all */
};

struct side;
struct remote;
/* Whether a source is meant to be a server. */
bool remote_is_address(const char *source);
/* NULL: sound; else what is wrong with an address. */
const char *remote_url_check(const char *url);
/* Logs in, and lists all messages into side. 0, or -1 with side->why. *remote_r is there in either case. */
int remote_open(const struct remote_options *options, struct remote **remote_r, struct side *side);
/* Feeds what is wanted of message number to reader: by TOP, or by RETR for LIKENESS_WHOLE and where there is
 * no TOP. 0, or -1 with a line in why_r. */
int remote_look(struct remote *remote, uint32_t number, uint32_t body_lines, struct likeness_reader *reader,
    char *why_r, size_t why_size);
void remote_close(struct remote **remote);

/* A line "NUMBER REST" of UIDL and LIST, NUL-terminated. *rest_r points into it. false: it is none. */
bool remote_split(char *line, uint32_t *number_r, char **rest_r);

#endif
