/* SPDX-License-Identifier: ISC */
#include "server/policy.h"

#include "server/patterns.h"

static void of_all(const struct config *config, struct policy *policy_r)
{
	*policy_r = (struct policy){
	    .login_delay_secs = config->login_delay_secs,
	    .expire_days = config->expire_days,
	    .quota_octets = config->quota_octets,
	    .quota_messages = config->quota_messages,
	};
}

static void of_class(const struct config *config, const struct class_config *class, struct policy *policy_r)
{
	of_all(config, policy_r);
	if (class->login_delay_secs != CONFIG_UNSET)
		policy_r->login_delay_secs = class->login_delay_secs;
	if (class->expire_days != CONFIG_UNSET)
		policy_r->expire_days = class->expire_days;
	if (class->quota_octets != CONFIG_UNSET_OCTETS)
		policy_r->quota_octets = class->quota_octets;
	if (class->quota_messages != CONFIG_UNSET)
		policy_r->quota_messages = class->quota_messages;
}

void policy_of(const struct config *config, const char *user, struct policy *policy_r)
{
	for (size_t i = 0; i < config->class_count; i++)
		if (patterns_cover(config->classes[i].users, user)) {
			of_class(config, &config->classes[i], policy_r);
			return;
		}
	of_all(config, policy_r);
}

static void widen(struct policy_extremes *extremes, const struct policy *policy)
{
	extremes->login_delay_differs |= policy->login_delay_secs != extremes->login_delay_secs;
	extremes->expire_differs |= policy->expire_days != extremes->expire_days;
	if (policy->login_delay_secs > extremes->login_delay_secs)
		extremes->login_delay_secs = policy->login_delay_secs;
	if (policy->expire_days < extremes->expire_days) /* POLICY_NEVER is the largest number */
		extremes->expire_days = policy->expire_days;
}

void policy_extremes(const struct config *config, struct policy_extremes *extremes_r)
{
	struct policy policy;
	/* Nobody is left over for what holds where no class does. */
	bool all =
	    config->class_count > 0 && patterns_cover_all(config->classes[config->class_count - 1].users);

	if (all)
		of_class(config, &config->classes[config->class_count - 1], &policy);
	else
		of_all(config, &policy);
	*extremes_r = (struct policy_extremes){
	    .login_delay_secs = policy.login_delay_secs, .expire_days = policy.expire_days};
	for (size_t i = 0; i < config->class_count; i++) {
		of_class(config, &config->classes[i], &policy);
		widen(extremes_r, &policy);
	}
}
