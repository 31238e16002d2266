/* SPDX-License-Identifier: ISC */
/*
 * authorize: the one place that says whose maildrop somebody opens who has proved who he is.
 *
 * For auth, for every mechanism and KPOP alike (RFC 4422 section 3.4.1): mapping makes a user of a
 * principal, names of what the client calls one, delegation says who may be another. Pure but for the
 * Kerberos library's look into its configuration; never waits: where somebody else has to be asked, it says
 * so.
 */
#ifndef KPOPD_SERVER_AUTHORIZE_H
#define KPOPD_SERVER_AUTHORIZE_H

#include <stdbool.h>

#include "server/config.h"
#include "server/delegation.h"
#include "server/mapping.h"
#include "server/msg.h"

struct claim {
	bool kerberos;                 /* name is a principal, as krb5_unparse_name quotes it; else a user */
	const char *name;              /* proved */
	const char *requested;         /* whom the client wants to be; "": it did not say */
	bool undecided;                /* it will say later: there may be nobody to ask about yet */
	const char *const *indicators; /* NULL-terminated; of Kerberos' KDC */
	const struct peer *peer;
	const char *mechanism;
};

enum verdict {
	VERDICT_REFUSED = 0, /* why says the reason, for the log */
	VERDICT_USER,        /* user may be opened */
	VERDICT_ASK,         /* if the .k5login of user has the principal */
};

enum { AUTHORIZE_WHY_OCTETS = 512 };

struct decision {
	enum verdict verdict;
	char user[LIMIT_USER_OCTETS + 1];
	char administrator[LIMIT_USER_OCTETS + 1]; /* who opens user's maildrop; "": user himself */
	const struct map_config *map;              /* the rules that decided; NULL: none */
	const struct proxy_config *proxy;
	char why[AUTHORIZE_WHY_OCTETS];
};

/* mapping NULL: no principals are taken. */
void authorize(const struct config *config, struct mapping *mapping, const struct claim *claim,
    struct decision *decision_r);

#endif
