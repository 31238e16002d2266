/* SPDX-License-Identifier: ISC */
/*
 * apreq: from the octets of an AP-REQ to the principal that sent it, through krb5_rd_req.
 *
 * For the auth role, which alone holds the keytab. Knows no socket: it returns the octets that answer
 * the client (RFC 4120 sections 3.2 and 5.5) and leaves the framing's first answer octet to others.
 */
#ifndef KPOPD_KPOP_APREQ_H
#define KPOPD_KPOP_APREQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kpop_err {
	KPOP_OK = 0,
	KPOP_REFUSED = -1,   /* the client's fault: bad ticket, replay, wrong service, skew, no key for it */
	KPOP_TEMP = -2,      /* ours: no memory, replay cache not writable */
	KPOP_NO_KEYTAB = -3, /* no keytab, or no usable key of our services in it */
};

struct kpop_config {
	const char *keytab;          /* FILE:… or a path; read once, in kpop_open */
	const char *replay_cache;    /* path of a file2: replay cache, shared by all auth processes, kept over
					restarts */
	const char *const *services; /* first components we accept, NULL-terminated: "pop", "pop3" */
	const int
	    *enctypes; /* their numbers (RFC 3961 section 8), ended by 0; outlives the acceptor; NULL: AES */
};

/* A process's acceptor. Keys of our services with strong enctypes are copied into memory at open. */
struct kpop;
/*
 * On failure *why_r (at least size octets, NUL-terminated) says in one line what was wanted and what
 * the keytab has. KPOP_NO_KEYTAB, KPOP_TEMP. Sets KRB5RCACHENAME in the process's environment: the library
 * takes the name of a replay cache from nowhere else. krb5.conf is the environment's (KRB5_CONFIG).
 * A replay cache knows nothing of the time before its birth: authenticators older than it are refused. So it
 * is to be made before the first client comes (replay.h).
 */
int kpop_open(struct kpop **kpop_r, const struct kpop_config *config, char *why_r, size_t size);
void kpop_close(struct kpop **kpop);

#define KPOP_REPLY_OCTETS 2048u     /* room for an AP-REP or KRB-ERROR frame */
#define KPOP_PRINCIPAL_OCTETS 1024u /* room for an unparsed principal name */

#define KPOP_INDICATORS_COUNT 8u /* of a ticket, as many as we look at */
#define KPOP_INDICATOR_OCTETS 63u

/* How the client proved itself to its KDC (RFC 8129). */
struct kpop_indicators {
	char text[KPOP_INDICATORS_COUNT][KPOP_INDICATOR_OCTETS + 1];
	const char *list[KPOP_INDICATORS_COUNT + 1]; /* into text, NULL-terminated */
};

/* Must stay where it is: it points into itself. */
struct kpop_result {
	uint8_t reply[KPOP_REPLY_OCTETS];      /* the octets the client reads now: len32 0, then perhaps len32
						  AP-REP;      or len32 KRB-ERROR */
	size_t reply_len;                      /* 0: nothing to say in Kerberos' tongue */
	char principal[KPOP_PRINCIPAL_OCTETS]; /* on KPOP_OK: the client, as krb5_unparse_name quotes it, with
						  realm */
	struct kpop_indicators indicators;     /* on KPOP_OK: those the KDC sealed for us */
	char why[512];                         /* else: in a few words, for the log; explain.h says more */
};
/* Verifies one AP-REQ. KPOP_OK, KPOP_REFUSED, KPOP_TEMP. May lock the replay cache for a moment. */
int kpop_accept(struct kpop *kpop, const void *apreq, size_t len, struct kpop_result *result_r);

#endif
