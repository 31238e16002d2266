/* SPDX-License-Identifier: ISC */
/*
 * play: replays a conversation from a text file against a real session, with time as a parameter.
 *
 * Each line of a script is one step:
 *   # …                 a comment
 *   set KEY [VALUE]     before the first step: protocol pop3|pop3s|kpop, plaintext tls|loopback|always,
 *                       mechanisms A,B,C (all offered) or none, without A (not offered), apop, no-user-pass,
 *                       binding off|allow|require, gssapi-binding off|allow|require, bindings BITS (what
 *                       TLS can be bound to: 1 exporter, 2 end point, 4 unique; at first 3), no-tls, no-kpop,
 * loopback, no-implementation, port PORT, delay SECONDS, expire DAYS, class PATTERN SECONDS [DAYS] mail TEXT
 * one more message for the built-in store; escapes as below C: LINE             the client sends LINE and
 * CRLF;  C| OCTETS  as they are;  C* N OCTETS  N times S: LINE             the server has sent LINE and CRLF;
 * "..." at its end stands for the rest of the line S| OCTETS           the server has sent these S* N OCTETS
 * … N times A? TEXT             the request to auth:  START MECHANISM [offered:BITS] [bound:BITS]
 * none|initial:OCTETS,  STEP OCTETS A: TEXT             auth's answer:  MORE OCTETS,  DONE USER,  FAIL
 * AUTH|TEMP|PERM [OCTETS],  LOST M? TEXT             the request to the store:  WAIT,  LIST octets|uidls IDX
 * COUNT,  FETCH IDX,  COMMIT HEX M: TEXT             its answer:  OPENED N OCTETS, REFUSED
 * TEMP|PERM|IN_USE|GONE|EARLY [SECONDS], LISTED octets|uidls IDX …, MESSAGE LENGTH OCTETS FLAGS TEXT,
 * COMMITTED LEFT, LOST; without such a line the built-in store answers wait Ns             time passes, and
 * deadlines with it tls the TLS handshake is done close | linger | drop   the session has ended so;  open: it
 * has not talking | silent    the conversation with auth must (not) stay open Escapes: \r \n \t \0 \\ \xHH.
 * At the end everything the server sent must have been expected.
 */
#ifndef KPOPD_TESTS_SERVER_PLAY_H
#define KPOPD_TESTS_SERVER_PLAY_H

#include <stddef.h>

/* How the same script is cut into calls. */
struct play_style {
	const char *name;
	size_t piece; /* octets of the client given at once; 0: all there are */
	size_t room;  /* room for session_fill; 0: LIMIT_OUTPUT_OCTETS */
};

/* NULL: it went as written; else what went wrong, with its line, until the next call. */
const char *play(const char *path, const struct play_style *style);

#endif
