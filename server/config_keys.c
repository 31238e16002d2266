/* SPDX-License-Identifier: ISC */
#include "server/config_keys.h"

#include <confuse.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/config_check.h"

#define ADDRESSES_COUNT 16u
#define SERVICES_COUNT 8u
#define PLUGINS_COUNT 16u
#define NETWORKS_COUNT LIST_COUNT
#define LIST_COUNT LIMIT_MECHANISMS_COUNT
#define END_KEY "end_of_file"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum kind { KIND_STRING = 0, KIND_LIST, KIND_NETWORKS, KIND_NUMBER, KIND_PORT, KIND_BOOL, KIND_WORD };

/* A key: where its value goes and what it may be. Everything about keys is in the two tables below. */
struct key {
	const char *name;
	enum kind kind;
	size_t offset;
	const char *text; /* default of a string or word */
	const char *const
	    *list;         /* default of a list; here, because libconfuse would check its own as the file's */
	unsigned number;   /* default of a number or bool */
	unsigned min, max; /* of a number; of a list its count */
	config_check_fn *check;   /* of a string, of each member of a list */
	const char *const *words; /* in the order of their enum */
};

#define AT(field) #field, .offset = offsetof(struct config, field)
#define STRING(field, fallback, checked)                                                       \
	{                                                                                      \
		.name = AT(field), .kind = KIND_STRING, .text = (fallback), .check = (checked) \
	}
#define LIST(field, fallback, least, most, checked)                                                      \
	{                                                                                                \
		.name = AT(field), .kind = KIND_LIST, .list = (fallback), .min = (least), .max = (most), \
		.check = (checked)                                                                       \
	}
#define NETWORKS(field, fallback)                                                                    \
	{                                                                                            \
		.name = AT(field), .kind = KIND_NETWORKS, .list = (fallback), .max = NETWORKS_COUNT, \
		.check = config_check_network                                                        \
	}
#define NUMBER(field, fallback, least, most)                                                                \
	{                                                                                                   \
		.name = AT(field), .kind = KIND_NUMBER, .number = (fallback), .min = (least), .max = (most) \
	}
#define BOOL(field, fallback)                                              \
	{                                                                  \
		.name = AT(field), .kind = KIND_BOOL, .number = (fallback) \
	}
#define WORD(field, fallback, choice)                                                       \
	{                                                                                   \
		.name = AT(field), .kind = KIND_WORD, .text = (fallback), .words = (choice) \
	}

static const char *const isolations[] = {"process", "shared", NULL};
static const char *const plaintexts[] = {"tls", "loopback", "always", NULL};
static const char *const log_targets[] = {"stderr", "syslog", NULL};
static const char *const protocols[] = {"pop3", "pop3s", "kpop", NULL};
static const char *const default_services[] = {"pop", "pop3", NULL};
static const char *const default_mechanisms[] = {
    "GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN", NULL};
static const char *const no_list[] = {NULL};
static const char *const all_addresses[] = {"0.0.0.0", "::", NULL};
static const uint16_t protocol_ports[PROTOCOL_COUNT] = {110, 995, 1109};

static const struct key keys[] = {
    STRING(hostname, NULL, config_check_hostname),
    STRING(mail_root, KPOPD_LOCALSTATEDIR "/lib/kpopd/mail", config_check_path),
    STRING(maildir, "%u/Maildir", config_check_template),
    STRING(state_dir, KPOPD_LOCALSTATEDIR "/lib/kpopd", config_check_path),
    STRING(run_dir, KPOPD_RUNSTATEDIR "/kpopd", config_check_path),
    STRING(pid_file, NULL, config_check_path),
    STRING(front_user, "kpopd-front", config_check_user),
    STRING(auth_user, "kpopd-auth", config_check_user),
    STRING(store_user, "kpopd", config_check_user),
    WORD(isolation, "process", isolations),
    NUMBER(front_processes, 2, 1, 64),
    NUMBER(auth_processes, 2, 1, 64),
    NUMBER(password_processes, 4, 1, 256),
    NUMBER(store_processes, 2, 1, 64),
    NUMBER(store_threads, 4, 1, 64),
    NUMBER(spare, 4, 1, 256),
    NUMBER(sessions, 1000, 1, 100000),
    STRING(certificate, NULL, config_check_path),
    STRING(key, NULL, config_check_secret),
    STRING(keytab, "/etc/krb5.keytab", config_check_secret),
    STRING(krb5_conf, "/etc/krb5.conf", config_check_path),
    LIST(services, default_services, 1, SERVICES_COUNT, config_check_service),
    LIST(mechanisms, default_mechanisms, 0, LIMIT_MECHANISMS_COUNT, config_check_mechanism),
    LIST(plugins, no_list, 0, PLUGINS_COUNT, config_check_code),
    STRING(plugin_dir, KPOPD_SASL_PLUGIN_DIR, config_check_path),
    BOOL(user_pass, true),
    BOOL(apop, false),
    WORD(plaintext, "tls", plaintexts),
    NUMBER(refusal_msecs, 2000, 0, 60000),
    NUMBER(authorization_secs, 180, 10, 3600),
    NUMBER(idle_secs, 600, 600, 86400), /* RFC 1939 section 3: at least ten minutes */
    NUMBER(tls_handshake_secs, 10, 1, 300),
    NUMBER(kpop_handshake_secs, 30, 1, 600),
    BOOL(implementation, false),
    WORD(log_target, "stderr", log_targets),
    BOOL(log_debug, false),
};

#undef AT
#define AT(field) #field, .offset = offsetof(struct listener_config, field)
static const struct key listener_keys[] = {
    WORD(protocol, NULL, protocols),
    LIST(addresses, all_addresses, 1, ADDRESSES_COUNT, config_check_address),
    {.name = AT(port), .kind = KIND_PORT, .min = 1, .max = UINT16_MAX},
};

_Static_assert(LIST_COUNT >= ADDRESSES_COUNT && LIST_COUNT >= SERVICES_COUNT && LIST_COUNT >= PLUGINS_COUNT,
    "the longest list");
_Static_assert(COUNT(keys) <= CONFIG_KEYS_COUNT, "room for the line of each key");

/* What was read of a key so far. */
struct seen {
	const void *section; /* of a listener's key: whose */
	int line;
	unsigned values;
	bool ended; /* a list's closing brace was there */
};

/* One reading: libconfuse hands its callbacks no argument of ours. */
struct reading {
	struct config_place *place;
	struct seen keys[COUNT(keys)];
	struct seen listener_keys[COUNT(listener_keys)]; /* of the listener being read */
};
static _Thread_local struct reading *reading;

#define fail(line, ...) config_fail(reading->place, line, __VA_ARGS__)

static __attribute__((format(printf, 2, 0))) void library_error(cfg_t *cfg, const char *format, va_list args)
{
	static const char unknown[] = "no such option ";
	char text[256];

	vsnprintf(text, sizeof(text), format, args);
	if (strcmp(text, "no such option '" END_KEY "'") == 0)
		fail(cfg->line, "the file ends inside a listener; close it with '}'");
	else if (strncmp(text, unknown, sizeof(unknown) - 1) == 0)
		fail(cfg->line, "unknown key %s; kpopd.conf(5) has the list", text + sizeof(unknown) - 1);
	else if (strstr(text, "boolean") != NULL)
		fail(cfg->line, "%s; write true or false", text);
	else if (strstr(text, "integer") != NULL)
		fail(cfg->line, "%s; write a whole number", text);
	else
		fail(cfg->line, "%s; kpopd.conf(5) shows how a file looks", text);
}

/* libconfuse takes the end of the file for the end of a section; so we write one more key behind text. */
static int parse(cfg_t *cfg, const char *text)
{
	char *copy = NULL;

	if (asprintf(&copy, "%s\n" END_KEY " = true\n", text) < 0)
		return fail(0, "no memory");
	int result = cfg_parse_buf(cfg, copy);
	free(copy);
	if (result != CFG_SUCCESS)
		fail(cfg->line, "cannot be understood; kpopd.conf(5) shows how a file looks");
	return result == CFG_SUCCESS ? 0 : -1;
}

/* Whether it is a list in the file, whatever becomes of it. */
static bool is_list(const struct key *key)
{
	return key->kind == KIND_LIST || key->kind == KIND_NETWORKS;
}

static const struct key *find_key(const struct key *table, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

static int word_index(const char *const *words, const char *word)
{
	for (int i = 0; words[i] != NULL; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	return -1;
}

static int check_word(int line, const struct key *key, const char *word)
{
	char choice[128] = "";

	if (word_index(key->words, word) >= 0)
		return 0;
	for (int i = 0; key->words[i] != NULL; i++) {
		size_t len = strlen(choice);
		snprintf(choice + len, sizeof(choice) - len, "%s%s", i == 0 ? "" : ", ", key->words[i]);
	}
	return fail(line, "%s: '%.64s' is none of its values; write one of %s", key->name, word, choice);
}

/* The value that was read last, against the key's row. */
static int check_value(int line, const struct key *key, cfg_opt_t *opt)
{
	char why[512];
	unsigned last = cfg_opt_size(opt) - 1;

	switch (key->kind) {
	case KIND_LIST:
	case KIND_NETWORKS:
		if (last >= key->max)
			return fail(line, "%s: more than %u values; leave some out", key->name, key->max);
		/* fall through */
	case KIND_STRING:
		if (key->check != NULL && key->check(cfg_opt_getnstr(opt, last), why, sizeof(why)) != 0)
			return fail(line, "%s: %s", key->name, why);
		break;
	case KIND_NUMBER:
	case KIND_PORT: {
		long value = cfg_opt_getnint(opt, 0);
		if (value < (long)key->min || value > (long)key->max)
			return fail(line, "%s: %ld is out of bounds; write a number from %u to %u", key->name,
			    value, key->min, key->max);
		break;
	}
	case KIND_WORD:
		return check_word(line, key, cfg_opt_getnstr(opt, 0));
	case KIND_BOOL:
		break;
	}
	return 0;
}

/*
 * libconfuse calls after each value; for a list after each member, and once more at its end. So the same
 * count twice is the end, and whatever comes behind it is a second list.
 */
static int key_seen(int line, const struct key *key, struct seen *seen, cfg_opt_t *opt)
{
	unsigned values = cfg_opt_size(opt);

	if (is_list(key) ? seen->ended : seen->line != 0)
		return fail(
		    line, "%s: given before, on line %d; leave one of the two", key->name, seen->line);
	seen->line = line;
	if (!is_list(key) || values != seen->values) {
		seen->values = values;
		return check_value(line, key, opt);
	}
	seen->ended = true;
	return 0;
}

static int key_read(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct key *key = find_key(keys, COUNT(keys), cfg_opt_name(opt));
	struct seen *seen = &reading->keys[key - keys];
	int result = key_seen(cfg->line, key, seen, opt);

	reading->place->lines[key - keys] = seen->line;
	return result;
}

static int listener_key_read(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct key *key = find_key(listener_keys, COUNT(listener_keys), cfg_opt_name(opt));
	struct seen *seen = &reading->listener_keys[key - listener_keys];

	if (seen->section != cfg)
		*seen = (struct seen){.section = cfg};
	return key_seen(cfg->line, key, seen, opt);
}

/* Also when the file gives an empty list, of which libconfuse tells no callback. */
static bool given(const cfg_opt_t *opt)
{
	return (opt->flags & CFGF_MODIFIED) != 0;
}

static int check_empty(int line, const struct key *key, cfg_opt_t *opt)
{
	if (is_list(key) && key->min > 0 && given(opt) && cfg_opt_size(opt) == 0)
		return fail(
		    line, "%s: is empty; write at least %u, or leave the key out", key->name, key->min);
	return 0;
}

static int listener_read(cfg_t *cfg, cfg_opt_t *opt)
{
	unsigned last = cfg_opt_size(opt) - 1;
	cfg_t *section = cfg_opt_getnsec(opt, last);
	char why[256];

	if (last >= LIMIT_LISTENERS_COUNT)
		return fail(cfg->line, "listener: more than %u; leave some out", LIMIT_LISTENERS_COUNT);
	reading->place->listener_lines[last] = cfg->line;
	if (config_check_title(cfg_title(section), why, sizeof(why)) != 0)
		return fail(cfg->line, "listener: %s", why);
	if (cfg_getstr(section, "protocol") == NULL)
		return fail(cfg->line, "listener %s: has no protocol; write 'protocol = pop3', pop3s or kpop",
		    cfg_title(section));
	for (size_t i = 0; i < COUNT(listener_keys); i++)
		if (check_empty(cfg->line, &listener_keys[i], cfg_getopt(section, listener_keys[i].name)) !=
		    0)
			return -1;
	return 0;
}

static cfg_opt_t make_option(const struct key *key, cfg_validate_callback_t validate)
{
	cfg_opt_t string = CFG_STR(key->name, key->text, CFGF_NONE);
	cfg_opt_t list = CFG_STR_LIST(key->name, NULL, CFGF_NONE);
	cfg_opt_t number = CFG_INT(key->name, (long)key->number, CFGF_NONE);
	cfg_opt_t boolean = CFG_BOOL(key->name, key->number != 0 ? cfg_true : cfg_false, CFGF_NONE);
	cfg_opt_t *option = is_list(key)                                         ? &list
			    : key->kind == KIND_NUMBER || key->kind == KIND_PORT ? &number
			    : key->kind == KIND_BOOL                             ? &boolean
										 : &string;
	option->validcb = validate;
	return *option;
}

/* A parser for the two tables; it keeps copies of the options. NULL: no memory. */
static cfg_t *make_parser(void)
{
	cfg_opt_t listener[COUNT(listener_keys) + 1] = {0};
	cfg_opt_t options[COUNT(keys) + 3] = {0};
	const cfg_opt_t end = CFG_END(), end_key = CFG_BOOL(END_KEY, cfg_false, CFGF_NONE);

	for (size_t i = 0; i < COUNT(listener_keys); i++)
		listener[i] = make_option(&listener_keys[i], listener_key_read);
	listener[COUNT(listener_keys)] = end;
	for (size_t i = 0; i < COUNT(keys); i++)
		options[i] = make_option(&keys[i], key_read);
	options[COUNT(keys)] =
	    (cfg_opt_t)CFG_SEC("listener", listener, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
	options[COUNT(keys)].validcb = listener_read;
	options[COUNT(keys) + 1] = end_key;
	options[COUNT(keys) + 2] = end;
	cfg_t *cfg = cfg_init(options, CFGF_NONE);
	if (cfg != NULL)
		cfg_set_error_function(cfg, library_error);
	return cfg;
}

static void free_list(char ***list)
{
	for (size_t i = 0; *list != NULL && (*list)[i] != NULL; i++)
		free((*list)[i]);
	free(*list);
	*list = NULL;
}

static char **copy_list(const char *const *from, size_t count)
{
	char **list = calloc(count + 1u, sizeof(*list));

	for (size_t i = 0; list != NULL && i < count; i++) {
		list[i] = strdup(from[i]);
		if (list[i] == NULL)
			free_list(&list);
	}
	return list;
}

/* What the file gives, even when that is nothing; else the default. */
static char **make_list(const struct key *key, cfg_opt_t *opt)
{
	const char *values[LIST_COUNT];
	unsigned count = cfg_opt_size(opt);

	if (!given(opt)) {
		for (count = 0; key->list[count] != NULL;)
			count++;
		return copy_list(key->list, count);
	}
	for (unsigned i = 0; i < count && i < LIST_COUNT; i++)
		values[i] = cfg_opt_getnstr(opt, i);
	return copy_list(values, count);
}

/* Each was checked as it was read. -1: no memory. */
static int make_networks(const struct key *key, cfg_opt_t *opt, struct networks *networks_r)
{
	char **list = make_list(key, opt);
	size_t count = 0;

	while (list != NULL && list[count] != NULL)
		count++;
	networks_r->entries = list != NULL ? calloc(count + 1, sizeof(*networks_r->entries)) : NULL;
	networks_r->count = networks_r->entries != NULL ? count : 0;
	for (size_t i = 0; i < networks_r->count; i++)
		network_parse(list[i], &networks_r->entries[i]);
	free_list(&list);
	return networks_r->entries != NULL ? 0 : -1;
}

/* One value to its place. -1: no memory. */
static int store_value(const struct key *key, cfg_opt_t *opt, void *base)
{
	char *at = (char *)base + key->offset;

	switch (key->kind) {
	case KIND_STRING:
		if (cfg_opt_getnstr(opt, 0) == NULL)
			return 0;
		*(char **)(void *)at = strdup(cfg_opt_getnstr(opt, 0));
		return *(char **)(void *)at != NULL ? 0 : -1;
	case KIND_LIST:
		*(char ***)(void *)at = make_list(key, opt);
		return *(char ***)(void *)at != NULL ? 0 : -1;
	case KIND_NETWORKS:
		return make_networks(key, opt, (struct networks *)(void *)at);
	case KIND_NUMBER:
		*(unsigned *)(void *)at = (unsigned)cfg_opt_getnint(opt, 0);
		break;
	case KIND_PORT:
		*(uint16_t *)(void *)at = (uint16_t)cfg_opt_getnint(opt, 0);
		break;
	case KIND_BOOL:
		*(bool *)at = cfg_opt_getnbool(opt, 0) == cfg_true;
		break;
	case KIND_WORD: {
		_Static_assert(
		    sizeof(enum protocol) == sizeof(unsigned), "an enum of words is stored as unsigned");
		*(unsigned *)(void *)at = (unsigned)word_index(key->words, cfg_opt_getnstr(opt, 0));
		break;
	}
	}
	return 0;
}

static int store_table(const struct key *table, size_t count, cfg_t *cfg, void *base)
{
	for (size_t i = 0; i < count; i++)
		if (store_value(&table[i], cfg_getopt(cfg, table[i].name), base) != 0)
			return -1;
	return 0;
}

static int store_listeners(struct config *config, cfg_t *cfg)
{
	unsigned count = cfg_size(cfg, "listener");

	config->listeners = calloc(count + 1u, sizeof(*config->listeners));
	if (config->listeners == NULL)
		return -1;
	for (; config->listener_count < count; config->listener_count++) {
		struct listener_config *listener = &config->listeners[config->listener_count];
		cfg_t *section = cfg_getnsec(cfg, "listener", (unsigned)config->listener_count);
		listener->name = strdup(cfg_title(section));
		if (store_table(listener_keys, COUNT(listener_keys), section, listener) != 0 ||
		    listener->name == NULL)
			return -1;
		if (listener->port == 0)
			listener->port = protocol_ports[listener->protocol];
	}
	return 0;
}

/* The first line that begins with name. */
static int find_line(const char *text, const char *name)
{
	int line = 1;
	for (const char *p = text; (p += strspn(p, " \t"), strncmp(p, name, strlen(name)) != 0); line++) {
		p += strcspn(p, "\n");
		if (*p++ == '\0')
			return 0;
	}
	return line;
}

static int check_empties(cfg_t *cfg, const char *text)
{
	for (size_t i = 0; i < COUNT(keys); i++)
		if (check_empty(find_line(text, keys[i].name), &keys[i], cfg_getopt(cfg, keys[i].name)) != 0)
			return -1;
	return 0;
}

int config_keys_read(struct config *config, struct config_place *place, const char *text)
{
	struct reading now = {.place = place};
	cfg_t *cfg;

	reading = &now;
	cfg = make_parser();
	if (cfg == NULL ||
	    (parse(cfg, text) == 0 && check_empties(cfg, text) == 0 &&
		(store_table(keys, COUNT(keys), cfg, config) != 0 || store_listeners(config, cfg) != 0)))
		fail(0, "no memory");
	if (cfg != NULL)
		cfg_free(cfg);
	reading = NULL;
	return place->failed ? -1 : 0;
}

static void free_table(const struct key *table, size_t count, void *base)
{
	for (size_t i = 0; i < count; i++) {
		char *at = (char *)base + table[i].offset;
		if (table[i].kind == KIND_STRING)
			free(*(char **)(void *)at);
		else if (table[i].kind == KIND_LIST)
			free_list((char ***)(void *)at);
		else if (table[i].kind == KIND_NETWORKS)
			free(((struct networks *)(void *)at)->entries);
	}
}

void config_keys_free(struct config *config)
{
	for (size_t i = 0; i < config->listener_count; i++) {
		free_table(listener_keys, COUNT(listener_keys), &config->listeners[i]);
		free(config->listeners[i].name);
	}
	free(config->listeners);
	free_table(keys, COUNT(keys), config);
}

int config_keys_line(const struct config_place *place, const char *name)
{
	const struct key *key = find_key(keys, COUNT(keys), name);
	return key != NULL ? place->lines[key - keys] : 0;
}

const char *config_keys_name(size_t index)
{
	if (index < COUNT(keys))
		return keys[index].name;
	index -= COUNT(keys);
	return index < COUNT(listener_keys) ? listener_keys[index].name : NULL;
}
