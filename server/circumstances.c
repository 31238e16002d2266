/* SPDX-License-Identifier: ISC */
#include "server/circumstances.h"

#include <string.h>
#include <strings.h>

static bool empty(char *const *list)
{
	return list == NULL || list[0] == NULL;
}

static bool has_indicator(char *const *wanted, const char *const *indicators)
{
	for (; *wanted != NULL; wanted++)
		for (const char *const *at = indicators; at != NULL && *at != NULL; at++)
			if (strcmp(*wanted, *at) == 0)
				return true;
	return false;
}

static bool has_mechanism(char *const *wanted, const char *mechanism)
{
	for (; *wanted != NULL; wanted++)
		if (strcasecmp(*wanted, mechanism) == 0)
			return true;
	return false;
}

const char *circumstances_lack(const struct circumstances *is, const struct conditions *wanted)
{
	if (!empty(wanted->indicators) && !has_indicator(wanted->indicators, is->indicators))
		return "the ticket has none of its indicators";
	if (wanted->networks->count != 0 && !networks_have(wanted->networks, is->peer))
		return "the client's address is in none of its networks";
	if (!empty(wanted->mechanisms) && !has_mechanism(wanted->mechanisms, is->mechanism))
		return "the mechanism is none of its mechanisms";
	return NULL;
}
