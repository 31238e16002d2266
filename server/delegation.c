/* SPDX-License-Identifier: ISC */
#include "server/delegation.h"

#include <fnmatch.h>
#include <string.h>

static bool names(char *const *list, const char *user)
{
	for (; *list != NULL; list++)
		if (strcmp(*list, user) == 0)
			return true;
	return false;
}

/* The configuration allows '*' and '?' in patterns and nothing else that fnmatch would know. */
static bool covers(char *const *patterns, const char *user)
{
	for (; *patterns != NULL; patterns++)
		if (fnmatch(*patterns, user, FNM_NOESCAPE) == 0)
			return true;
	return false;
}

const struct proxy_config *delegation_find(const struct config *config, const char *administrator,
    const char *user, const struct circumstances *circumstances)
{
	for (size_t i = 0; i < config->proxy_count; i++) {
		const struct proxy_config *proxy = &config->proxies[i];
		const struct conditions wanted = {proxy->indicators, proxy->mechanisms, &proxy->networks};
		if (names(proxy->administrators, administrator) && covers(proxy->users, user) &&
		    circumstances_lack(circumstances, &wanted) == NULL)
			return proxy;
	}
	return NULL;
}
