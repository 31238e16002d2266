/* SPDX-License-Identifier: ISC */
#include "server/binding_policy.h"

#include <string.h>
#include <strings.h>

#include "server/mechanism.h"

/* Without -PLUS. */
static size_t base_len(const char *mechanism)
{
	static const char plus[] = "-PLUS";
	size_t len = strlen(mechanism);
	return mechanism_find(mechanism)->plus ? len - (sizeof plus - 1) : len;
}

static bool names(const struct channel_binding_rule *rule, const char *mechanism)
{
	size_t len = base_len(mechanism);
	if (rule->mechanisms == NULL || rule->mechanisms[0] == NULL)
		return true;
	for (size_t i = 0; rule->mechanisms[i] != NULL; i++)
		if (base_len(rule->mechanisms[i]) == len &&
		    strncasecmp(rule->mechanisms[i], mechanism, len) == 0)
			return true;
	return false;
}

enum saslx_binding_policy binding_policy(
    const struct config *config, const char *mechanism, const struct peer *peer)
{
	const struct mechanism *about = mechanism_find(mechanism);
	if (about->end_point)
		return config->gssapi_channel_binding;
	if (!about->binds)
		return SASLX_BINDING_OFF;
	for (size_t i = 0; i < config->channel_binding_rule_count; i++) {
		const struct channel_binding_rule *rule = &config->channel_binding_rules[i];
		if (names(rule, mechanism) &&
		    (rule->networks.count == 0 || networks_have(&rule->networks, peer)))
			return rule->policy;
	}
	return config->channel_binding;
}
