/* SPDX-License-Identifier: ISC */
/*
 * gs2header: what stands before the first message of GS2 and SCRAM mechanisms: whether the client binds to
 * its connection, and whom it wants to act as (RFC 5801 section 4, RFC 5802 section 7).
 *
 * Pure; for exchange.c, which must know before the mechanism starts, and gs2.c.
 */
#ifndef KPOPD_SASL_GS2HEADER_H
#define KPOPD_SASL_GS2HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "exchange.h"

#define GS2_TYPE_OCTETS 32 /* of a binding's name; the longest that is registered has 20 */

enum gs2_flag {
	GS2_UNABLE = 0, /* n: the client cannot bind */
	GS2_UNASKED,    /* y: it could, but thinks that the server cannot */
	GS2_BOUND,      /* p=: it has bound */
};

struct gs2header {
	bool nonstandard; /* F: the token behind it does not begin as RFC 2743 section 3.1 says */
	enum gs2_flag flag;
	char type[GS2_TYPE_OCTETS + 1]; /* of p=, else "" */
	char authzid[SASLX_USER_OCTETS + 1];
	size_t start; /* of the part that is bound, behind F and its comma */
	size_t end;   /* of the header: here the mechanism's own message begins */
};

/* NULL when message begins with a header, else what is wrong with it. */
const char *gs2header_parse(const char *message, size_t len, struct gs2header *header_r);

#endif
