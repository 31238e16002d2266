/* SPDX-License-Identifier: ISC */
/*
 * map: kpopctl's answer to "who would that be?", from the same rules and krb5.conf as the server's.
 */
#ifndef KPOPD_TOOLS_MAP_H
#define KPOPD_TOOLS_MAP_H

#include <stdbool.h>

#define MAP_USAGE                                                                               \
	"       kpopctl [-c FILE] map [--user NAME] [--indicator INDICATOR] [--from ADDRESS]\n" \
	"               [--mechanism MECHANISM] PRINCIPAL\n"                                    \
	"            say whose maildrop a Kerberos principal opens, by which rule, and why\n"   \
	"       kpopctl [-c FILE] map --name NAME\n"                                            \
	"            say which user a client means by NAME\n"

/* Whether the command is "map". */
bool map_asked(int argc, char **argv);
/* Prints which rule decides and why. EXIT_SUCCESS: there is such a user, who may; EXIT_FAILURE: nobody, or
 * the configuration cannot be read; EX_USAGE. */
int map_main(int argc, char **argv);

#endif
