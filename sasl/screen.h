/* SPDX-License-Identifier: ISC */
/*
 * screen: what a client's message must look like before the library's plug-ins see it.
 *
 * Pure functions. The stock plug-ins are lax (CRAM-MD5 ignores octets after the digest and stops at a
 * NUL) or careless (SCRAM follows a channel binding nobody set); what they would do with such messages
 * is not found out here.
 */
#ifndef KPOPD_SASL_SCREEN_H
#define KPOPD_SASL_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

enum screen_kind {
	SCREEN_OTHER = 0,
	SCREEN_GSSAPI,
	SCREEN_GS2,
	SCREEN_SCRAM,
	SCREEN_CRAM_MD5,
	SCREEN_PLAIN,
	SCREEN_LOGIN
};

#define SCREEN_MESSAGE_OCTETS 4096u /* of a mechanism whose messages we know and that carries no ticket */
#define SCREEN_DIGEST_OCTETS 32u    /* MD5 as hexadecimal digits */

/* The kind of a mechanism by its name. */
enum screen_kind screen_kind(const char *mechanism);
/*
 * NULL when message, the step-th (0-based) of the client, may go to the plug-in, else what is wrong
 * with it. Whether it is right is for the plug-in to say.
 */
const char *screen_message(enum screen_kind kind, unsigned step, const char *message, size_t len);
/* Exactly 32 lower-case hexadecimal digits. */
bool screen_digest(const char *digest, size_t len);

#endif
