/* SPDX-License-Identifier: ISC */
/*
 * uidl: the noun of kpopctl for moving in from another server: its UIDLs, taken over, shown, compared.
 */
#ifndef KPOPD_TOOLS_UIDL_H
#define KPOPD_TOOLS_UIDL_H

#include "tools/kpopctl.h"

int uidl_main(int argc, char **argv);
void uidl_usage(FILE *out);

#endif
