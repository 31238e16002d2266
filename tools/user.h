/* SPDX-License-Identifier: ISC */
/*
 * user: the noun of kpopctl for the users in the secrets: what may be typed, and which of users.h it means.
 */
#ifndef KPOPD_TOOLS_USER_H
#define KPOPD_TOOLS_USER_H

#include "tools/kpopctl.h"

int user_main(int argc, char **argv);
void user_usage(FILE *out);

#endif
