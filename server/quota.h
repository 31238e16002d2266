/* SPDX-License-Identifier: ISC */
/*
 * quota: whether a user's policy leaves room for one more message.
 *
 * For deliverers and kpop-deliver. Deliveries that are under way at the same time do not see each other, so
 * together they may go over by what is in flight.
 */
#ifndef KPOPD_SERVER_QUOTA_H
#define KPOPD_SERVER_QUOTA_H

#include <stdint.h>

#include "server/config.h"
#include "store/maildrop.h"

enum quota_answer {
	QUOTA_ROOM = 0,
	QUOTA_FULL,  /* not now, for there is too much there already */
	QUOTA_LARGE, /* never: by itself it is more than all that there may be */
	QUOTA_TEMP,  /* nobody can say */
};

/* octets: of the message, as it will be stored; 1 when it is not known. */
enum quota_answer quota_ask(
    const struct config *config, struct store *store, const struct maildrop_place *place, uint64_t octets);

#endif
