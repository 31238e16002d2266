/* SPDX-License-Identifier: ISC */
/*
 * world: what the tests of sasl/ have in common: a folder, a secrets file with users, the server side
 * started in this process, and the real client side of Cyrus SASL to talk to it.
 */
#ifndef KPOPD_TESTS_SASL_WORLD_H
#define KPOPD_TESTS_SASL_WORLD_H

#include <stdbool.h>
#include <stddef.h>

#include "sasl/exchange.h"

#define ALICE_PASSWORD "wonder land" /* her password itself is kept, for CRAM-MD5 and APOP */
#define BOB_PASSWORD "builder"       /* only keys are kept */

struct world {
	char dir[64];
	char path[128]; /* of the secrets */
	struct secrets *secrets;
	char noted[4096]; /* what the leaf had to say, a line each */
};

/* Where passwords are checked, for world_start; NULL, as it is at first: in the secrets. */
extern const char *const *world_passwords;
/* Makes the folder and the users; starts the server side. keytab and plugins may be NULL. 0 or -1. */
int world_start(
    struct world *world, const char *const *mechanisms, const char *keytab, const char *const *plugins);
void world_stop(struct world *world);

/* Whom a server's exchange has authenticated; "": nobody. */
const char *world_user(const struct saslx *server);

/* How a conversation with the real client side ended. */
struct talk {
	enum saslx_outcome outcome;            /* the server's */
	int client;                            /* the client's last code of libsasl */
	unsigned challenges;                   /* of the server */
	char user[SASLX_PRINCIPAL_OCTETS + 1]; /* proved: a principal from Kerberos */
	char authzid[SASLX_USER_OCTETS + 1];
	char why[512];
};
/*
 * authzid "" for none. initial: send the first response with the start when the mechanism allows it.
 * The challenge after which a client has all it needs is answered with an empty response.
 */
struct talk world_talk(
    const char *mechanism, const char *authzid, const char *user, const char *password, bool initial);

#endif
