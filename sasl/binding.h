/* SPDX-License-Identifier: ISC */
/*
 * binding: what a client's flag of channel binding means on this connection, under this mechanism's name.
 *
 * Pure; for exchange.c and gs2.c. RFC 5801 section 5, RFC 5802 section 6, RFC 9266, RFC 5929.
 */
#ifndef KPOPD_SASL_BINDING_H
#define KPOPD_SASL_BINDING_H

#include <stdbool.h>

#include "exchange.h"
#include "gs2header.h"

/* As it stands behind p=. */
const char *binding_name(enum saslx_binding_type type);
/* Whether the mechanism's name ends in -PLUS: it is the one that binds. */
bool binding_is_plus(const char *mechanism);
/* The one of this type that may be used on this connection. NULL: none. */
const struct saslx_binding *binding_find(
    const struct saslx_connection *connection, enum saslx_binding_type type);

/*
 * NULL, and in chosen_r what the client has bound to (NULL: nothing); else why it must be refused.
 */
const char *binding_choose(const struct saslx_connection *connection, bool plus,
    const struct gs2header *header, const struct saslx_binding **chosen_r);

#endif
