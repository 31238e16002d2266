/* SPDX-License-Identifier: ISC */
/*
 * sendauth: the framing of a Kerberized POP connection before its greeting, as an incremental parser.
 *
 * For the front, which feeds it what the client sent. Pure: no socket, no clock, no allocation beyond
 * the AP-REQ it was told to expect (and never more than SENDAUTH_APREQ_OCTETS). It never takes an octet
 * past the AP-REQ: some clients send their first POP3 commands right behind it.
 *
 * The wire: len32 "KRB5_SENDAUTH_V1.0" NUL, len32 "KPOPV1.0" NUL; the server answers one octet;
 * len32 AP-REQ; the server answers len32 0, or len32 KRB-ERROR; then len32 AP-REP if asked for.
 * Lengths are 4 octets, most significant first. Documented in doc/kpop.md.
 */
#ifndef KPOPD_KPOP_SENDAUTH_H
#define KPOPD_KPOP_SENDAUTH_H

#include <stddef.h>
#include <stdint.h>

#define SENDAUTH_APREQ_OCTETS 65536u /* an Active Directory PAC makes tickets of tens of kilobytes */

enum sendauth_event {
	SENDAUTH_MORE = 0,    /* everything was taken; more is needed */
	SENDAUTH_VERSIONS_OK, /* both version strings are right: answer SENDAUTH_ANSWER_OK, then go on feeding
			       */
	SENDAUTH_BAD_VERSION, /* not our sendauth: answer SENDAUTH_ANSWER_BAD_SENDAUTH; the end */
	SENDAUTH_BAD_SERVICE, /* not our application: answer SENDAUTH_ANSWER_BAD_APPLICATION; the end */
	SENDAUTH_APREQ,       /* the AP-REQ is whole: see sendauth_apreq; feed no more */
	SENDAUTH_KRB4,        /* a Kerberos 4 client: a line of text is what it reads next; the end */
	SENDAUTH_TLS,         /* a TLS ClientHello: the end */
	SENDAUTH_TEXT,        /* somebody types POP3 or HTTP: the end */
	SENDAUTH_GARBAGE,     /* none of these, or a length out of bounds: the end */
};

enum { SENDAUTH_ANSWER_OK = 0, SENDAUTH_ANSWER_BAD_SENDAUTH = 1, SENDAUTH_ANSWER_BAD_APPLICATION = 2 };

struct sendauth;
struct sendauth *sendauth_new(void); /* NULL: no memory */
void sendauth_free(struct sendauth **sendauth);

/*
 * Takes octets from buf up to the next event; *used_r says how many. After an event that is an end,
 * further calls return the same event and take nothing. On the first octets that cannot be sendauth
 * nothing of them is taken.
 */
enum sendauth_event sendauth_feed(struct sendauth *sendauth, const void *buf, size_t len, size_t *used_r);

/* The AP-REQ after SENDAUTH_APREQ; lives as long as sendauth. */
const uint8_t *sendauth_apreq(const struct sendauth *sendauth, size_t *len_r);

#endif
