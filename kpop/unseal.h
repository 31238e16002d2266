/* SPDX-License-Identifier: ISC */
/*
 * unseal: what is inside a ticket and its authenticator, for those who have the key. Private to explain.
 *
 * Looks at no clock, no replay cache and no policy, so that it opens what krb5_rd_req refuses. Whoever is let
 * in is not let in by this.
 */
#ifndef KPOPD_KPOP_UNSEAL_H
#define KPOPD_KPOP_UNSEAL_H

#include <krb5.h>
#include <stdbool.h>
#include <stdint.h>

#include "ticket.h"

#define UNSEAL_CLIENT_OCTETS 160u

struct unsealed {
	char client[UNSEAL_CLIENT_OCTETS]; /* as krb5_unparse_name quotes it, cut short when long */
	int64_t starts, ends;              /* seconds since 1970 */
	krb5_enctype session_enctype;
	bool authenticated; /* the authenticator was made with this ticket's session key */
	int64_t made;       /* when, by the client's clock */
};

/* The principal in the clear part, to be freed by krb5_free_principal. 0, or the library's code. */
krb5_error_code unseal_server(krb5_context context, const struct ticket *ticket, krb5_principal *server_r);
/* 0, or the library's code: no key of keytab opens it. */
krb5_error_code unseal(
    krb5_context context, krb5_keytab keytab, const struct ticket *ticket, struct unsealed *unsealed_r);

#endif
