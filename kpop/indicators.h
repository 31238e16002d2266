/* SPDX-License-Identifier: ISC */
/*
 * indicators: how a client proved itself to its KDC (RFC 8129), as the ticket says it. Private to apreq.
 *
 * The library checks them for GSS-API alone; it has no public call for users of krb5_rd_req. Here they count
 * only in a container that the KDC has sealed for this service with the service's own key (AD-CAMMAC, RFC
 * 7751): a client can put anything else into its ticket by asking the KDC.
 */
#ifndef KPOPD_KPOP_INDICATORS_H
#define KPOPD_KPOP_INDICATORS_H

#include <krb5.h>
#include <stddef.h>

#include "apreq.h"

/*
 * Of a ticket that krb5_rd_req took with a key of keytab. What is not sealed, broken, too long or too much is
 * left out: a ticket with fewer indicators opens less, never more.
 */
void indicators_read(krb5_context context, krb5_keytab keytab, const krb5_ticket *ticket,
    struct kpop_indicators *indicators_r);

/* The parts of an AD-CAMMAC; views into octets. For indicators_read and its tests. -1: broken, or without a
 * seal for the service. */
struct cammac {
	const void *elements; /* an AuthorizationData, which the seal is over */
	size_t elements_len;
	krb5_checksum seal;
};
int indicators_open(const void *octets, size_t len, struct cammac *cammac_r);
/* Adds those of one AD-AUTHENTICATION-INDICATOR. */
void indicators_add(struct kpop_indicators *indicators, const void *octets, size_t len);

#endif
