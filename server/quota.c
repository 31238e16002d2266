/* SPDX-License-Identifier: ISC */
#include "server/quota.h"

#include "server/policy.h"
#include "store/usage.h"

enum quota_answer quota_ask(
    const struct config *config, struct store *store, const struct maildrop_place *place, uint64_t octets)
{
	struct policy policy;
	struct maildrop_usage usage;
	policy_of(config, place->user, &policy);
	if (policy.quota_octets == 0 && policy.quota_messages == 0)
		return QUOTA_ROOM;
	if (policy.quota_octets != 0 && octets > policy.quota_octets)
		return QUOTA_LARGE;
	int rc = maildrop_usage(store, place, &usage);
	if (rc == MAILDROP_GONE)
		return QUOTA_ROOM;
	if (rc != MAILDROP_OK)
		return QUOTA_TEMP;
	if (policy.quota_messages != 0 && usage.messages >= policy.quota_messages)
		return QUOTA_FULL;
	if (policy.quota_octets != 0 &&
	    (usage.octets > policy.quota_octets || octets > policy.quota_octets - usage.octets))
		return QUOTA_FULL;
	return QUOTA_ROOM;
}
