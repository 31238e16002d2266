/* SPDX-License-Identifier: ISC */
/*
 * usage: how much mail there is in a maildrop, for quotas.
 *
 * For deliverers. Counted as it lies there, in octets stored and not on the wire. No lock is taken, so
 * sessions are neither kept out nor waited for: what comes and goes meanwhile is counted or not.
 */
#ifndef KPOPD_STORE_USAGE_H
#define KPOPD_STORE_USAGE_H

#include <stdint.h>

#include "maildrop.h"

struct maildrop_usage {
	uint64_t messages, octets;
};

/*
 * From the index where that knows the maildrop as it is now, else by looking at all names (and, where they do
 * not tell, lengths). MAILDROP_GONE: there is no maildrop. MAILDROP_TEMP, _PERM.
 */
int maildrop_usage(struct store *store, const struct maildrop_place *place, struct maildrop_usage *usage_r);
/* MAILDROP_OK: there is a maildrop; else as above. */
int maildrop_there(struct store *store, const struct maildrop_place *place);

#endif
