/* SPDX-License-Identifier: ISC */
/*
 * context: accepting a GSS-API context of Kerberos 5, and knowing whose it is.
 *
 * For gssapi.c, what all mechanisms on Kerberos share. Any status but COMPLETE, and
 * CONTINUE while the context is made, is a refusal; so is a context that is not Kerberos', anonymous, for
 * another service, or of a weak session key. The codes are libsasl's.
 */
#ifndef KPOPD_SASL_CONTEXT_H
#define KPOPD_SASL_CONTEXT_H

#include <stddef.h>

#include <gssapi/gssapi.h>

#include "attempt.h"

struct context {
	const char *mechanism; /* for what is logged; lives longer */
	gss_ctx_id_t handle;
	gss_buffer_desc sent; /* what the library sends now; held until the next call */
	OM_uint32 flags;      /* GSS_C_ bits, once the context is made */
	char principal[SASLX_PRINCIPAL_OCTETS + 1];
	char indicators[SASLX_INDICATORS_COUNT]
		       [SASLX_INDICATOR_OCTETS + 1]; /* the first empty one ends them */
};

/* Also for one that is all zero but for its mechanism. */
void context_clear(struct context *context);

/*
 * Takes the client's token, framed as RFC 2743 section 3.1 says if it is the first. SASL_OK: the context is
 * made and passed all checks, principal is whose, as krb5_unparse_name quotes it; there may be something in
 * sent. SASL_CONTINUE: send what is in sent. SASL_BADAUTH, explained.
 */
int context_accept(struct context *context, struct saslx *exchange, const void *token, size_t len,
    gss_channel_bindings_t bindings);

/*
 * The exchange has succeeded: who the client is, and whom it wants to be (len 0: it does not say), go to the
 * exchange, and the library is told that it is over, without a layer of its own. SASL_OK or SASL_BADAUTH.
 */
int context_finish(const struct context *context, struct saslx *exchange, sasl_server_params_t *sparams,
    const char *authzid, size_t len, sasl_out_params_t *oparams);

/*
 * The same for the mechanism GSSAPI, which has no channel binding of its own (RFC 4752 section 5). Where the
 * site wants it, the context is bound to the TLS connection as Active Directory's clients do it: to the
 * server's certificate, tls-server-end-point. A client that binds must have bound to ours; one that does not
 * is refused only if the connection's policy requires it.
 */
int context_accept_end_point(struct context *context, struct saslx *exchange, const void *token, size_t len);

/* Note why the exchange fails; both return SASL_BADAUTH. hint may be NULL. */
int context_fail(const struct context *context, struct saslx *exchange, const char *why);
int context_fail_status(const struct context *context, struct saslx *exchange, const char *what,
    OM_uint32 major, OM_uint32 minor, const char *hint);

#endif
