/* SPDX-License-Identifier: ISC */
/*
 * pop3_reply: status lines, bounded and clean, in one place.
 *
 * For the session. Every line is "+OK text" or "-ERR text" in upper case with a space and a text, at most
 * LIMIT_REPLY_OCTETS with its CRLF (RFC 1939 section 3), printable ASCII only. A response code comes from
 * enum refusal alone, never from a text (RFC 2449 section 8, RFC 3206).
 */
#ifndef KPOPD_SERVER_POP3_REPLY_H
#define KPOPD_SERVER_POP3_REPLY_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/session.h"

enum pop3_status {
	POP3_STATUS_OK = 0,
	POP3_STATUS_ERR,
	POP3_STATUS_LINE, /* no status: a line of a long answer */
};

/* "[SYS/TEMP]", …: what a client is told about a refusal. */
const char *pop3_reply_code(enum refusal refusal);

/*
 * Writes one line. code may be NULL. A text that begins with "[" gets a space before it, so that it is no
 * response code. false: no room, nothing was written.
 */
bool pop3_reply(struct session_output *out, enum pop3_status status, const char *code, const char *format,
    va_list ap) __attribute__((format(printf, 4, 0)));
/* Octets as they are. false: no room, nothing was written. */
bool pop3_reply_raw(struct session_output *out, const void *octets, size_t len);
size_t pop3_reply_room(const struct session_output *out);

#endif
