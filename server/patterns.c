/* SPDX-License-Identifier: ISC */
#include "server/patterns.h"

#include <fnmatch.h>
#include <string.h>

#include "server/identity.h"

bool patterns_sound(const char *pattern)
{
	char name[LIMIT_USER_OCTETS + 1];
	size_t len = strlen(pattern);

	if (len == 0 || len > LIMIT_USER_OCTETS)
		return false;
	for (size_t i = 0; i <= len; i++)
		name[i] = pattern[i] == '*' || pattern[i] == '?' ? 'x' : pattern[i];
	return identity_user_valid(name, len);
}

/* What is sound has '*' and '?' and nothing else that fnmatch would know. */
bool patterns_cover(char *const *patterns, const char *user)
{
	for (; *patterns != NULL; patterns++)
		if (fnmatch(*patterns, user, FNM_NOESCAPE) == 0)
			return true;
	return false;
}

bool patterns_cover_all(char *const *patterns)
{
	for (; *patterns != NULL; patterns++)
		if ((*patterns)[0] == '*' && strspn(*patterns, "*") == strlen(*patterns))
			return true;
	return false;
}
