/* SPDX-License-Identifier: ISC */
/*
 * expire: the noun of kpopctl that removes mail older than its user's expire_days.
 */
#ifndef KPOPD_TOOLS_EXPIRE_H
#define KPOPD_TOOLS_EXPIRE_H

#include "tools/kpopctl.h"

int expire_main(int argc, char **argv);
void expire_usage(FILE *out);

#endif
