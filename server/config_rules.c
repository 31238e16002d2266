/* SPDX-License-Identifier: ISC */
#include "server/config_rules.h"

#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/identity.h"
#include "server/mapping.h"
#include "server/mechanism.h"
#include "server/names.h"
#include "server/patterns.h"

static bool empty(char *const *list)
{
	return list == NULL || list[0] == NULL;
}

/* ---- domains ---- */

static void make_small(char *text)
{
	for (; text != NULL && *text != '\0'; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text - 'A' + 'a');
}

static bool listed(char *const *list, const char *domain)
{
	for (; list != NULL && *list != NULL; list++)
		if (strcasecmp(*list, domain) == 0)
			return true;
	return false;
}

static int check_twice(struct config_place *place, const char *key, char *const *list)
{
	for (; !empty(list); list++)
		if (listed(list + 1, *list))
			return config_fail(place, config_keys_line(place, key),
			    "%s: %s is there twice; leave one", key, *list);
	return 0;
}

/* A domain that goes and stays would make one name of two users, or two of one. */
static int check_domains(struct config *config, struct config_place *place)
{
	char *const *lists[] = {config->domains, config->local_domains, config->plus_hosts};

	make_small(config->default_domain);
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		for (char *const *at = lists[i]; *at != NULL; at++)
			make_small(*at);
	if (check_twice(place, "domains", config->domains) != 0 ||
	    check_twice(place, "local_domains", config->local_domains) != 0 ||
	    check_twice(place, "plus_hosts", config->plus_hosts) != 0)
		return -1;
	for (char *const *at = config->local_domains; *at != NULL; at++)
		if (listed(config->domains, *at) ||
		    (config->default_domain != NULL && strcmp(config->default_domain, *at) == 0))
			return config_fail(place, config_keys_line(place, "local_domains"),
			    "local_domains: %s stays in names by 'domains' or 'default_domain', and is taken "
			    "from them here; leave it out of one of the two",
			    *at);
	for (char *const *at = config->plus_hosts; *at != NULL; at++)
		if (names_domain(config, *at, strlen(*at)) == NULL)
			return config_fail(place, config_keys_line(place, "plus_hosts"),
			    "plus_hosts: %s is no domain here; name it in 'domains' or 'local_domains' too",
			    *at);
	return 0;
}

/* ---- conditions ---- */

/* A misspelt mechanism would make a rule that denies something deny nothing. */
static int check_mechanisms(const struct config *config, struct config_place *place, int line,
    const char *title, char *const *mechanisms, bool kerberos)
{
	/* Those of passwords, too: a KDC may be asked about them. */
	static const char *const principals[] = {
	    "GSSAPI", "GS2-KRB5", "GS2-KRB5-PLUS", "KPOP", "PLAIN", "LOGIN", "USER"};
	static const char *const commands[] = {"KPOP", "APOP", "USER"};

	for (; !empty(mechanisms); mechanisms++) {
		bool known = !kerberos && (mechanism_find(*mechanisms)->name != NULL ||
					      listed(config->mechanisms, *mechanisms));
		for (size_t i = 0; kerberos && i < sizeof principals / sizeof principals[0]; i++)
			known |= strcmp(principals[i], *mechanisms) == 0;
		for (size_t i = 0; !kerberos && i < sizeof commands / sizeof commands[0]; i++)
			known |= strcmp(commands[i], *mechanisms) == 0;
		if (!known)
			return config_fail(place, line, "%s: %s %s", title, *mechanisms,
			    kerberos
				? "has no principals; write GSSAPI, GS2-KRB5, GS2-KRB5-PLUS, KPOP, or PLAIN, "
				  "LOGIN, "
				  "USER for passwords"
				: "is no mechanism here; write one of 'mechanisms', or USER, APOP or KPOP");
	}
	return 0;
}

/* ---- maps ---- */

static size_t count_groups(const char *text)
{
	regex_t regex;
	if (text == NULL || regcomp(&regex, text, REG_EXTENDED) != 0)
		return 0;
	size_t groups = regex.re_nsub;
	regfree(&regex);
	return groups;
}

static int check_template(
    const struct config *config, struct config_place *place, const struct map_config *map)
{
	const char *fault = mapping_template_fault(map->user, count_groups(map->regex));
	bool realm_told = strstr(map->user, "%r") != NULL || strstr(map->user, "%d") != NULL;

	if (fault != NULL)
		return config_fail(place, map->line, "map %s: user '%.64s' %s", map->name, map->user, fault);
	if (mapping_template_fixed(map->user)) {
		if (!identity_user_valid(map->user, strlen(map->user)))
			return config_fail(place, map->line,
			    "map %s: '%.64s' is no name that a user here can have", map->name, map->user);
		if (!names_is_canonical(config, map->user))
			return config_fail(place, map->line,
			    "map %s: '%.64s' is only another spelling of a user's name; write it as "
			    "kpopctl(8) "
			    "map --name shows it",
			    map->name, map->user);
	}
	if (map->principal == NULL && map->realm == NULL && map->regex == NULL && !realm_told)
		return config_fail(place, map->line,
		    "map %s: makes one user of principals of all realms; add 'realm', 'principal' or "
		    "'regex', or "
		    "%%r or %%d to 'user'",
		    map->name);
	return 0;
}

static int check_map(const struct config *config, struct config_place *place, const struct map_config *map)
{
	int whom = (map->principal != NULL) + (map->realm != NULL) + (map->regex != NULL);
	int what = (map->user != NULL) + map->auth_to_local + map->k5login + map->deny;
	char title[128];

	if (whom > 1)
		return config_fail(place, map->line,
		    "map %s: has more than one of principal, realm and regex; leave one", map->name);
	if (what != 1)
		return config_fail(place, map->line,
		    "map %s: has %s of user, auth_to_local, k5login and deny; write one", map->name,
		    what == 0 ? "none" : "more than one");
	snprintf(title, sizeof title, "map %s: mechanisms", map->name);
	if (check_mechanisms(config, place, map->line, title, map->mechanisms, true) != 0)
		return -1;
	return map->user != NULL ? check_template(config, place, map) : 0;
}

/* Whether it has the last word, whoever asks. */
static bool decides_all(const struct map_config *map)
{
	return map->principal == NULL && map->realm == NULL && map->regex == NULL && empty(map->indicators) &&
	       empty(map->mechanisms) && map->networks.count == 0 && (map->deny || map->k5login);
}

static int check_maps(const struct config *config, struct config_place *place)
{
	for (size_t i = 0; i < config->map_count; i++) {
		if (check_map(config, place, &config->maps[i]) != 0)
			return -1;
		if (i > 0 && decides_all(&config->maps[i - 1]))
			return config_fail(place, config->maps[i].line,
			    "map %s: is never asked, map %s on line %d decides about all; put that one last",
			    config->maps[i].name, config->maps[i - 1].name, config->maps[i - 1].line);
	}
	return 0;
}

/* ---- proxies ---- */

/* title: the section's, and the key's, for the error. */
static int check_name(
    const struct config *config, struct config_place *place, int line, const char *title, const char *name)
{
	if (names_is_canonical(config, name))
		return 0;
	return config_fail(place, line,
	    "%s: '%.64s' is no user's name, or only another spelling of one; write it as kpopctl(8) map "
	    "--name shows it",
	    title, name);
}

static int check_patterns(const struct config *config, struct config_place *place, int line,
    const char *title, char *const *patterns)
{
	for (; *patterns != NULL; patterns++) {
		bool wild = strpbrk(*patterns, PATTERNS_WILD) != NULL;
		if (wild && !patterns_sound(*patterns))
			return config_fail(place, line,
			    "%s: '%.64s' is no pattern; write a name with * or ? in it", title, *patterns);
		if (!wild && check_name(config, place, line, title, *patterns) != 0)
			return -1;
	}
	return 0;
}

static int check_proxy(
    const struct config *config, struct config_place *place, const struct proxy_config *proxy)
{
	char title[128];

	if (empty(proxy->administrators) || empty(proxy->users))
		return config_fail(place, proxy->line, "proxy %s: has no %s; write %s", proxy->name,
		    empty(proxy->administrators) ? "administrators" : "users",
		    empty(proxy->administrators) ? "who may open other users' maildrops"
						 : "whose maildrops they may open, or {'*'}");
	snprintf(title, sizeof title, "proxy %s: administrators", proxy->name);
	for (char *const *at = proxy->administrators; *at != NULL; at++)
		if (check_name(config, place, proxy->line, title, *at) != 0)
			return -1;
	snprintf(title, sizeof title, "proxy %s: users", proxy->name);
	if (check_patterns(config, place, proxy->line, title, proxy->users) != 0)
		return -1;
	snprintf(title, sizeof title, "proxy %s: mechanisms", proxy->name);
	return check_mechanisms(config, place, proxy->line, title, proxy->mechanisms, false);
}

/* ---- classes ---- */

static int check_class(const struct config *config, struct config_place *place, size_t i)
{
	const struct class_config *class = &config->classes[i];
	char title[128];

	if (empty(class->users))
		return config_fail(place, class->line,
		    "class %s: has no users; write their names, or patterns such as '*@example.org'",
		    class->name);
	if (i > 0 && patterns_cover_all(class[-1].users))
		return config_fail(place, class->line,
		    "class %s: is never asked, class %s on line %d has all users; put that one last",
		    class->name, class[-1].name, class[-1].line);
	snprintf(title, sizeof title, "class %s: users", class->name);
	return check_patterns(config, place, class->line, title, class->users);
}

int config_rules_check(struct config *config, struct config_place *place)
{
	if (check_domains(config, place) != 0 || check_maps(config, place) != 0)
		return -1;
	for (size_t i = 0; i < config->proxy_count; i++)
		if (check_proxy(config, place, &config->proxies[i]) != 0)
			return -1;
	for (size_t i = 0; i < config->class_count; i++)
		if (check_class(config, place, i) != 0)
			return -1;
	return 0;
}
