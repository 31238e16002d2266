/* SPDX-License-Identifier: ISC */
/*
 * mechanism: what the server must know of an authentication mechanism before it starts.
 *
 * For config, the session (what CAPA shows), auth (which kind of process takes it). Cyrus SASL does the
 * rest. A name the table does not have is a site's own plug-in: it is treated with the most caution, as
 * one that shows the password and may block.
 */
#ifndef KPOPD_SERVER_MECHANISM_H
#define KPOPD_SERVER_MECHANISM_H

#include <stdbool.h>
#include <stddef.h>

/* Beyond config->mechanisms: these share START with the SASL mechanisms but are not in CAPA's SASL line. */
enum { MECHANISM_USERPASS = 0xF0, MECHANISM_APOP = 0xF1, MECHANISM_KPOP = 0xF2 };

struct mechanism {
	const char *name;
	bool plaintext; /* the server sees the password: needs TLS unless the site says otherwise */
	bool may_block; /* may cost a slow hash or wait for a network: goes to a password process */
	bool binds;     /* its first message says whether the client has bound to TLS (RFC 5801, 5802) */
	bool plus;      /* and under this name it must have */
	bool end_point; /* may be bound to the certificate on a site's request, as Active Directory has it */
	bool kerberos;  /* its first message holds a ticket */
	bool server_first; /* an initial response is an error (RFC 5034 section 4) */
};

/* Never NULL; an unknown name gets the cautious row (whose name is NULL). Case does not matter. */
const struct mechanism *mechanism_find(const char *name);

#endif
