/* SPDX-License-Identifier: ISC */
/*
 * import_keys: the SCRAM keys of many passwords, by all the processors there are.
 *
 * For import.c: a password costs some milliseconds, and a site may have a hundred thousand.
 */
#ifndef KPOPD_TOOLS_IMPORT_KEYS_H
#define KPOPD_TOOLS_IMPORT_KEYS_H

#include <stddef.h>

#include "tools/import_item.h"

struct import_batch {
	struct import_item *items;
	size_t count;
};

/* Makes the record of each item that has a password. SECRETS_OK or the worst error; errno. */
int import_keys(struct import_batch *batch, const struct secrets_forms *forms);

#endif
