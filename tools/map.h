/* SPDX-License-Identifier: ISC */
/*
 * map: kpopctl's answer to "who would that be?", from the same rules and krb5.conf as the server's.
 */
#ifndef KPOPD_TOOLS_MAP_H
#define KPOPD_TOOLS_MAP_H

#include "tools/kpopctl.h"

/* Prints which rule decides and why. EXIT_SUCCESS: there is such a user, who may; EXIT_FAILURE: nobody, or
 * the configuration cannot be read; EX_USAGE. */
int map_main(int argc, char **argv);
void map_usage(FILE *out);

#endif
