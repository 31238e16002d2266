/* SPDX-License-Identifier: ISC */
/*
 * config_rules: whether the rules about names and principals can mean what they say. Private to config.
 *
 * A rule that cannot apply, or that makes one name mean two users, is an error of the configuration and not
 * a surprise for somebody who logs in.
 */
#ifndef KPOPD_SERVER_CONFIG_RULES_H
#define KPOPD_SERVER_CONFIG_RULES_H

#include "server/config_keys.h"

/* The domains come out in small letters. 0, or -1 and place says why. */
int config_rules_check(struct config *config, struct config_place *place);

#endif
