/* SPDX-License-Identifier: ISC */
/*
 * hearsay: who a client says it is and which password it gives, read from its messages before anything is
 * checked.
 *
 * For guard. Pure. Nothing here proves anything, and what cannot be read is simply not known: the mechanism
 * itself looks at the same octets afterwards, and decides. PLAIN is RFC 4616, SCRAM RFC 5802, CRAM-MD5
 * RFC 2195; USER/PASS and APOP come as FRONT_START and FRONT_STEP have them (msg.h).
 */
#ifndef KPOPD_SERVER_HEARSAY_H
#define KPOPD_SERVER_HEARSAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/limits.h"

/* How a mechanism's messages are read. */
enum hearsay_kind {
	HEARSAY_TICKET = 0, /* no password is behind it, and nothing can be guessed */
	HEARSAY_PLAIN,
	HEARSAY_LOGIN,
	HEARSAY_USERPASS,
	HEARSAY_CRAM_MD5,
	HEARSAY_APOP,
	HEARSAY_SCRAM,
	HEARSAY_OTHER, /* a site's own: any message may be a guess, and nothing is known of it */
};
/* mechanism: a SASL name, in any case, or "USER", "APOP", "KPOP". */
enum hearsay_kind hearsay_kind(const char *mechanism);

/* What has been heard; zero-initialise. */
struct hearsay {
	enum hearsay_kind kind;
	unsigned messages;
	char user[LIMIT_USER_OCTETS + 1]; /* "": not heard, or none that could be a user's */
	const uint8_t *secret;            /* a view into the last message; NULL: it has none to be seen */
	size_t secret_len;
};
/* The client's next message. Whether the mechanism decides over it, so that it may be a guess. */
bool hearsay_take(struct hearsay *hearsay, const uint8_t *octets, size_t len);

#endif
