/* SPDX-License-Identifier: ISC */
#include "server/delegation.h"

#include <string.h>

#include "server/patterns.h"

static bool names(char *const *list, const char *user)
{
	for (; *list != NULL; list++)
		if (strcmp(*list, user) == 0)
			return true;
	return false;
}

const struct proxy_config *delegation_find(const struct config *config, const char *administrator,
    const char *user, const struct circumstances *circumstances)
{
	for (size_t i = 0; i < config->proxy_count; i++) {
		const struct proxy_config *proxy = &config->proxies[i];
		const struct conditions wanted = {proxy->indicators, proxy->mechanisms, &proxy->networks};
		if (names(proxy->administrators, administrator) && patterns_cover(proxy->users, user) &&
		    circumstances_lack(circumstances, &wanted) == NULL)
			return proxy;
	}
	return NULL;
}
