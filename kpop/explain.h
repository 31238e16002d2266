/* SPDX-License-Identifier: ISC */
/*
 * explain: why a ticket was refused, in words an administrator can act on; and how old its authenticator is.
 *
 * For the auth role, for KPOP, GSSAPI and GS2-KRB5 alike. The libraries say "no key" or "cannot decrypt";
 * this compares what the ticket says in clear (whom it is for, under which key number and enctype) with what
 * the keytab has, and, when the key is there, looks inside: times, clocks, the session key. It never decides
 * that anybody is let in, keeps no replay cache, and asks nobody.
 */
#ifndef KPOPD_KPOP_EXPLAIN_H
#define KPOPD_KPOP_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

#define EXPLAIN_TEXT_OCTETS 640u

struct explain_config {
	const char *keytab;          /* a path; read once, in explain_open */
	const char *replay_cache;    /* path */
	const char *const *services; /* first components we accept, NULL-terminated; outlives the explainer */
	const int *enctypes;         /* likewise; as in struct kpop_config */
};

struct explain;
/* NULL: no memory, no Kerberos. A keytab that is not there, or has no key of ours, is a fine subject. */
struct explain *explain_open(const struct explain_config *config);
void explain_close(struct explain **explain);

/*
 * One line about a token that was refused: an AP-REQ, or a first token of GSSAPI or GS2-KRB5. text_r is
 * EXPLAIN_TEXT_OCTETS; printable ASCII, without '='. Of many in one second only the first are looked into.
 */
void explain_ticket(struct explain *explain, const void *octets, size_t len, char *text_r);

/*
 * For such a token when it was accepted by somebody who does not look at this: whether its authenticator
 * is younger than the replay cache. Costs next to nothing but in the first minutes of a new cache.
 */
bool explain_fresh(struct explain *explain, const void *octets, size_t len);

#endif
