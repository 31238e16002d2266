/* SPDX-License-Identifier: ISC */
/*
 * What comes from outside and decides who somebody is: names (n), principals (p), sealed containers of
 * indicators (c), lists of them (i). The first octet of the input says which. A name's user is that user's
 * own name, whatever the site's domains are, and a principal's user is one, too.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kpop/indicators.h"
#include "server/identity.h"
#include "server/mapping.h"
#include "server/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *home[] = {(char *)(uintptr_t) "home.example", NULL};
static char *kept[] = {(char *)(uintptr_t) "b.example", NULL};
static char *plus[] = {(char *)(uintptr_t) "b.example", (char *)(uintptr_t) "home.example", NULL};
static struct map_config maps[] = {
    {.name = (char *)(uintptr_t) "regex",
	.regex = (char *)(uintptr_t) "([a-z]+)/([^@]*)@A",
	.user = (char *)(uintptr_t) "\\2\\1"},
    {.name = (char *)(uintptr_t) "realm",
	.realm = (char *)(uintptr_t) "B",
	.user = (char *)(uintptr_t) "%n@%d"},
    {.name = (char *)(uintptr_t) "local", .auth_to_local = true},
    {.name = (char *)(uintptr_t) "rest", .k5login = true},
};
static const struct config configs[] = {
    {.maps = NULL},
    {.local_domains = home, .fold_case = true, .maps = maps, .map_count = 4},
    {.default_domain = (char *)(uintptr_t) "a.example",
	.domains = kept,
	.local_domains = home,
	.plus_hosts = plus},
    {.local_domains = home, .plus_hosts = plus + 1, .maps = maps, .map_count = 3},
};
enum { CONFIGS_COUNT = sizeof configs / sizeof configs[0] };

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void name(const struct config *config, const uint8_t *data, size_t size)
{
	char user[LIMIT_USER_OCTETS + 1];
	const char *why = NULL;
	int got = names_canonical(config, (const char *)data, size, user, &why);
	must(got == 0 ? identity_user_valid(user, strlen(user)) && names_is_canonical(config, user)
		      : user[0] == '\0' && why != NULL);
}

static void principal(const struct config *config, const uint8_t *data, size_t size)
{
	static const char *const none[] = {NULL};
	static const struct peer peer;
	const struct circumstances circumstances = {none, &peer, "GSSAPI"};
	static struct mapping *mappings[CONFIGS_COUNT];
	struct mapping **mapping = &mappings[config - configs];
	struct mapping_result result;
	char text[1024];

	if (*mapping == NULL)
		*mapping = mapping_new(config);
	must(*mapping != NULL);
	snprintf(text, sizeof text, "%.*s", (int)(size < sizeof text ? size : sizeof text - 1),
	    (const char *)data);
	mapping_decide(*mapping, text, "", &circumstances, NULL, NULL, &result);
	must(result.kind == MAPPING_REFUSED ? result.user[0] == '\0'
					    : identity_user_valid(result.user, strlen(result.user)) ||
						  (result.kind == MAPPING_K5LOGIN && result.user[0] == '\0'));
	must(result.user[0] == '\0' || names_is_canonical(config, result.user));
	must(strlen(result.why) > 0);
}

static void container(const uint8_t *data, size_t size)
{
	struct cammac cammac;
	if (indicators_open(data, size, &cammac) != 0)
		return;
	const uint8_t *elements = cammac.elements, *seal = cammac.seal.contents;
	must(elements >= data && elements + cammac.elements_len <= data + size);
	must(seal >= data && seal + cammac.seal.length <= data + size);
}

static void strings(const uint8_t *data, size_t size)
{
	struct kpop_indicators indicators = {0};
	indicators_add(&indicators, data, size);
	indicators_add(&indicators, data, size);
	for (size_t i = 0; indicators.list[i] != NULL; i++)
		must(i < KPOP_INDICATORS_COUNT && indicators.list[i][0] != '\0' &&
		     strlen(indicators.list[i]) <= KPOP_INDICATOR_OCTETS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Without a krb5.conf of the machine's own, so that every run is the same. */
	setenv("KRB5_CONFIG", "/dev/null", 1);
	for (size_t i = 0; size > 0 && i < CONFIGS_COUNT; i++) {
		if (data[0] == 'n')
			name(&configs[i], data + 1, size - 1);
		else if (data[0] == 'p')
			principal(&configs[i], data + 1, size - 1);
	}
	if (size > 0 && data[0] == 'c')
		container(data + 1, size - 1);
	else if (size > 0 && data[0] == 'i')
		strings(data + 1, size - 1);
	return 0;
}
