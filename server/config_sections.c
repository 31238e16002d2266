/* SPDX-License-Identifier: ISC */
#include "server/config_sections.h"

#include <stdlib.h>
#include <string.h>

#include "server/config_lmtp.h"

#define ADDRESSES_COUNT 16u
#define INDICATORS_COUNT 16u
/* An empty list would mean everywhere, which nobody means who writes one. */
#define SOME_NETWORKS                                                                   \
	{                                                                               \
		.name = AT(networks), .kind = KIND_NETWORKS, .list = no_list, .min = 1, \
		.max = CONFIG_LIST_COUNT, .check = config_check_network                 \
	}
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const protocols[] = {"pop3", "pop3s", "kpop", "lmtp", NULL};
static const char *const no_list[] = {NULL};
static const char *const all_addresses[] = {"0.0.0.0", "::", NULL};
static const uint16_t protocol_ports[PROTOCOL_COUNT] = {110, 995, 1109, 24};

#define AT(field) #field, .offset = offsetof(struct listener_config, field)
static const struct config_key listener_keys[] = {
    WORD(protocol, NULL, protocols),
    LIST(addresses, all_addresses, 1, ADDRESSES_COUNT, config_check_address),
    {.name = AT(port), .kind = KIND_PORT, .min = 1, .max = UINT16_MAX},
    STRING(path, NULL, config_check_path),
    STRING(path_mode, "0660", config_check_mode),
    STRING(path_owner, NULL, config_check_user),
    STRING(path_group, NULL, config_check_user),
    NETWORKS(proxy_networks, no_list),
};

#undef AT
#define AT(field) #field, .offset = offsetof(struct channel_binding_rule, field)
const char *const config_binding_policies[] = {"off", "allow", "require", NULL};
static const struct config_key channel_binding_keys[] = {
    LIST(mechanisms, no_list, 0, LIMIT_MECHANISMS_COUNT, config_check_binding_mechanism),
    NETWORKS(networks, no_list),
    WORD(policy, NULL, config_binding_policies),
};

#undef AT
#define AT(field) #field, .offset = offsetof(struct map_config, field)
static const struct config_key map_keys[] = {
    LITERAL(principal, config_check_principal),
    STRING(realm, NULL, config_check_realm),
    LITERAL(regex, config_check_regex),
    LIST(indicators, no_list, 1, INDICATORS_COUNT, config_check_indicator),
    SOME_NETWORKS,
    LIST(mechanisms, no_list, 1, LIMIT_MECHANISMS_COUNT, config_check_mechanism),
    LITERAL(user, NULL),
    BOOL(auth_to_local, false),
    BOOL(k5login, false),
    BOOL(deny, false),
};

#undef AT
#define AT(field) #field, .offset = offsetof(struct proxy_config, field)
static const struct config_key proxy_keys[] = {
    LIST(administrators, no_list, 1, CONFIG_LIST_COUNT, NULL),
    LIST(users, no_list, 1, CONFIG_LIST_COUNT, NULL),
    LIST(indicators, no_list, 1, INDICATORS_COUNT, config_check_indicator),
    SOME_NETWORKS,
    LIST(mechanisms, no_list, 1, LIMIT_MECHANISMS_COUNT, config_check_mechanism),
};

#undef AT
#define AT(field) #field, .offset = offsetof(struct class_config, field)
static const struct config_key class_keys[] = {
    LIST(users, no_list, 1, CONFIG_LIST_COUNT, NULL),
    NUMBER(login_delay_secs, CONFIG_UNSET, 0, LIMIT_LOGIN_DELAY_SECS),
    DAYS(expire_days, NULL),
    OCTETS(quota_octets, NULL),
    NUMBER(quota_messages, CONFIG_UNSET, 0, LIMIT_QUOTA_MESSAGES),
};

/* Every section's structure begins so. */
struct head {
	char *name;
	int line;
};

#define HEADED(type)    \
	_Static_assert( \
	    offsetof(type, name) == 0 && offsetof(type, line) == offsetof(struct head, line), #type)
HEADED(struct listener_config);
HEADED(struct channel_binding_rule);
HEADED(struct map_config);
HEADED(struct proxy_config);
HEADED(struct class_config);

static int check_listener(struct config_place *place, int line, cfg_t *section)
{
	if (cfg_getstr(section, "protocol") == NULL)
		return config_fail(place, line,
		    "listener %s: has no protocol; write 'protocol = pop3', pop3s, kpop or lmtp",
		    cfg_title(section));
	return config_lmtp_check(place, line, section);
}

static void finish_listener(void *section)
{
	struct listener_config *listener = section;
	config_lmtp_finish(listener);
	if (listener->port == 0)
		listener->port = protocol_ports[listener->protocol];
}

static int check_channel_binding(struct config_place *place, int line, cfg_t *section)
{
	return cfg_getstr(section, "policy") != NULL
		   ? 0
		   : config_fail(place, line,
			 "channel_binding_rule %s: has no policy; write 'policy = off', allow or require",
			 cfg_title(section));
}

static const struct section {
	const char *name;
	const struct config_key *keys;
	size_t key_count, size, most;
	size_t list, count; /* where in struct config */
	int (*check)(struct config_place *place, int line, cfg_t *section);
	void (*finish)(void *section);
} sections[] = {
#define SECTION(name, type, table, most, list, count)                                 \
	name, table, COUNT(table), sizeof(type), most, offsetof(struct config, list), \
	    offsetof(struct config, count)
    {SECTION(
	 "listener", struct listener_config, listener_keys, LIMIT_LISTENERS_COUNT, listeners, listener_count),
	check_listener, finish_listener},
    {SECTION("channel_binding_rule", struct channel_binding_rule, channel_binding_keys,
	 LIMIT_BINDING_RULES_COUNT, channel_binding_rules, channel_binding_rule_count),
	check_channel_binding, NULL},
    {SECTION("map", struct map_config, map_keys, LIMIT_RULES_COUNT, maps, map_count), NULL, NULL},
    {SECTION("proxy", struct proxy_config, proxy_keys, LIMIT_RULES_COUNT, proxies, proxy_count), NULL, NULL},
    {SECTION("class", struct class_config, class_keys, LIMIT_RULES_COUNT, classes, class_count), NULL, NULL},
};

_Static_assert(COUNT(sections) == CONFIG_SECTIONS_COUNT, "an option for each");
_Static_assert(COUNT(map_keys) <= CONFIG_SECTION_KEYS_COUNT, "the longest table of a section");
_Static_assert(CONFIG_LIST_COUNT >= LIMIT_MECHANISMS_COUNT, "the longest list");

static _Thread_local struct config_sections *reading;

static const struct section *find(const char *name)
{
	const struct section *section = sections;
	while (strcmp(section->name, name) != 0)
		section++;
	return section;
}

static int key_read(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct section *section = find(cfg_name(cfg));
	const struct config_key *key =
	    config_table_find(section->keys, section->key_count, cfg_opt_name(opt));
	struct config_seen *seen = &reading->seen[key - section->keys];

	if (seen->section != cfg)
		*seen = (struct config_seen){.section = cfg};
	return config_table_seen(reading->place, cfg->line, key, seen, opt);
}

/* Room behind the array's last section. NULL: no memory. */
static void *make_room(const struct section *section, void ***list_r, size_t **count_r)
{
	char *config = (char *)reading->config;
	*list_r = (void **)(void *)(config + section->list);
	*count_r = (size_t *)(void *)(config + section->count);
	void *grown = reallocarray(**list_r, **count_r + 1, section->size);
	if (grown == NULL)
		return NULL;
	**list_r = grown;
	return memset((char *)grown + **count_r * section->size, 0, section->size);
}

static int store(const struct section *section, int line, cfg_t *cfg)
{
	void **list;
	size_t *count;
	struct head *head = make_room(section, &list, &count);
	if (head == NULL)
		return config_fail(reading->place, 0, "no memory");
	++*count; /* from now on config_sections_free sees it */
	head->name = strdup(cfg_title(cfg));
	head->line = line;
	if (head->name == NULL || config_table_store(section->keys, section->key_count, cfg, head) != 0)
		return config_fail(reading->place, 0, "no memory");
	if (section->finish != NULL)
		section->finish(head);
	return 0;
}

/* A section has been read to its end. */
static int section_read(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct section *section = find(cfg_opt_name(opt));
	unsigned last = cfg_opt_size(opt) - 1;
	cfg_t *inner = cfg_opt_getnsec(opt, last);
	int line = config_keys_find_line(reading->text, section->name, cfg_title(inner));
	char why[256];

	if (line == 0)
		line = cfg->line;
	if (last >= section->most)
		return config_fail(
		    reading->place, line, "%s: more than %zu; leave some out", section->name, section->most);
	if (config_check_title(cfg_title(inner), why, sizeof(why)) != 0)
		return config_fail(reading->place, line, "%s: %s", section->name, why);
	if (section->check != NULL && section->check(reading->place, line, inner) != 0)
		return -1;
	for (size_t i = 0; i < section->key_count; i++)
		if (config_table_check_empty(reading->place, line, &section->keys[i],
			cfg_getopt(inner, section->keys[i].name)) != 0)
			return -1;
	return store(section, line, inner);
}

void config_sections_options(struct config_sections *now, cfg_opt_t *options_r)
{
	const cfg_opt_t end = CFG_END();

	reading = now;
	for (size_t i = 0; i < COUNT(sections); i++) {
		const struct section *section = &sections[i];
		for (size_t j = 0; j < section->key_count; j++)
			now->keys[i][j] = config_table_option(&section->keys[j], key_read);
		now->keys[i][section->key_count] = end;
		options_r[i] = (cfg_opt_t)CFG_SEC(
		    section->name, now->keys[i], CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
		options_r[i].validcb = section_read;
	}
}

void config_sections_free(struct config *config)
{
	for (size_t i = 0; i < COUNT(sections); i++) {
		const struct section *section = &sections[i];
		char **list = (char **)(void *)((char *)config + section->list);
		size_t *count = (size_t *)(void *)((char *)config + section->count);
		for (size_t j = 0; j < *count; j++) {
			struct head *head = (struct head *)(void *)(*list + j * section->size);
			config_table_free(section->keys, section->key_count, head);
			free(head->name);
		}
		free(*list);
		*list = NULL;
		*count = 0;
	}
}

const char *config_sections_key(size_t index)
{
	for (size_t i = 0; i < COUNT(sections); index -= sections[i++].key_count)
		if (index < sections[i].key_count)
			return sections[i].keys[index].name;
	return NULL;
}

const char *config_sections_name(size_t index)
{
	return index < COUNT(sections) ? sections[index].name : NULL;
}
