/* SPDX-License-Identifier: ISC */
/*
 * acceptor: who we are to Kerberos clients of GSS-API: a credential made of the keys of our services.
 *
 * For gssapi.c. The keys are copied from the keytab into memory: those of our services only, so that
 * a ticket for another service fails by itself, and strong ones only. A changed keytab is seen by the
 * next process. Owns its Kerberos context, the keys in memory and the credential.
 */
#ifndef KPOPD_SASL_ACCEPTOR_H
#define KPOPD_SASL_ACCEPTOR_H

#include <stdbool.h>
#include <stddef.h>

#include <gssapi/gssapi.h>

#include "exchange.h"

struct acceptor;
/* 0, or -1 with one line in why_r: what was wanted and what the keytab has. */
int acceptor_open(struct acceptor **acceptor_r, const struct saslx_config *config, char *why_r, size_t size);
void acceptor_close(struct acceptor **acceptor);

gss_cred_id_t acceptor_credential(const struct acceptor *acceptor);
/* Whether name, as GSS-API displays a principal, begins with one of our services and a host. */
bool acceptor_is_service(const struct acceptor *acceptor, const char *name, size_t len);

/* Whether an enctype is one we take: unless the site named some, AES with SHA-1 or SHA-2 (RFC 3962, RFC
 * 8009). NULL: as if it had not. */
bool acceptor_enctype_strong(const struct acceptor *acceptor, int enctype);

/*
 * Whether octets are framed as a context's first token of the Kerberos mechanism (RFC 2743 section 3.1,
 * RFC 4121 section 4.1) whose inner token is an AP-REQ, with nothing left over behind either. Pure.
 */
bool acceptor_token_framed(const void *token, size_t len);

#endif
