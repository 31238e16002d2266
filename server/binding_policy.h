/* SPDX-License-Identifier: ISC */
/*
 * binding_policy: who must, may or cannot bind a login to the TLS connection, as the site has it.
 *
 * Pure; for the front, which offers accordingly, and for auth, which sees to it.
 */
#ifndef KPOPD_SERVER_BINDING_POLICY_H
#define KPOPD_SERVER_BINDING_POLICY_H

#include "server/config.h"

/*
 * For a mechanism, by its name with or without -PLUS, and a client at peer. A mechanism whose clients cannot
 * bind gets SASLX_BINDING_OFF.
 */
enum saslx_binding_policy binding_policy(
    const struct config *config, const char *mechanism, const struct peer *peer);

#endif
