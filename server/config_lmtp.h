/* SPDX-License-Identifier: ISC */
/*
 * config_lmtp: what is different about a listener for LMTP: it has a path in the file system, or addresses of
 * this machine alone, because whoever reaches it delivers mail to anybody. Private to config.
 */
#ifndef KPOPD_SERVER_CONFIG_LMTP_H
#define KPOPD_SERVER_CONFIG_LMTP_H

#include <confuse.h>

#include "server/config_keys.h"

/* A listener's section, of any protocol. 0, or -1 and place says why. */
int config_lmtp_check(struct config_place *place, int line, cfg_t *section);
/* A listener with a path has no addresses. */
void config_lmtp_finish(struct listener_config *listener);

#endif
