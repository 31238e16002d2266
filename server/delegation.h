/* SPDX-License-Identifier: ISC */
/*
 * delegation: who may open another user's maildrop (RFC 4422 section 3.4.1), by the proxy sections of the
 * configuration. Nobody, unless one of them says so. Pure; for authorize.
 */
#ifndef KPOPD_SERVER_DELEGATION_H
#define KPOPD_SERVER_DELEGATION_H

#include "server/circumstances.h"

/* The first section that lets administrator open user's maildrop, both canonical; NULL: none does. */
const struct proxy_config *delegation_find(const struct config *config, const char *administrator,
    const char *user, const struct circumstances *circumstances);

#endif
