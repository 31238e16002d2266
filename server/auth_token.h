/* SPDX-License-Identifier: ISC */
/*
 * auth_token: one line of base64 of AUTH, decoded as it comes in, in pieces of any size.
 *
 * For the session. The line is never held, only what it stands for: at most SASLX_TOKEN_OCTETS, in a
 * buffer that grows with what has come and is wiped whenever it moves or goes (RFC 5034 section 4).
 */
#ifndef KPOPD_SERVER_AUTH_TOKEN_H
#define KPOPD_SERVER_AUTH_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base64.h"
#include "server/limits.h"

/* Zero-initialise; auth_token_clear before the next line. */
struct auth_token {
	uint8_t *octets; /* owned */
	size_t len, size;
	struct base64_decoder decoder;
	size_t line_octets; /* without the line's end */
	uint8_t first;      /* of the line */
	bool cr;            /* the last octet was CR: LF must follow */
	bool bad;
};

/* A piece of the line, LF excluded. */
void auth_token_feed(struct auth_token *token, const uint8_t *buf, size_t len);
/* After LF: whether the line was this one character. */
bool auth_token_is(const struct auth_token *token, uint8_t only);
/* After LF: whether the line was base64 and not too long; an empty line is. */
bool auth_token_valid(const struct auth_token *token);
void auth_token_clear(struct auth_token *token);

#endif
