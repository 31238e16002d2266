/* SPDX-License-Identifier: ISC */
/*
 * index: the noun of kpopctl for the index: to compare it with the mail, to have it made anew, to see how
 * large it is.
 */
#ifndef KPOPD_TOOLS_INDEX_H
#define KPOPD_TOOLS_INDEX_H

#include "tools/kpopctl.h"

int index_main(int argc, char **argv);
void index_usage(FILE *out);

#endif
