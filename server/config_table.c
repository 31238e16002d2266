/* SPDX-License-Identifier: ISC */
#include "server/config_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether it is a list in the file, whatever becomes of it. */
static bool is_list(const struct config_key *key)
{
	return key->kind == KIND_LIST || key->kind == KIND_NETWORKS || key->kind == KIND_SET;
}

const struct config_key *config_table_find(const struct config_key *table, size_t count, const char *name)
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

static int check_word(struct config_place *place, int line, const struct config_key *key, const char *word)
{
	char choice[128] = "";

	if (word_index(key->words, word) >= 0)
		return 0;
	for (int i = 0; key->words[i] != NULL; i++) {
		size_t len = strlen(choice);
		snprintf(choice + len, sizeof(choice) - len, "%s%s", i == 0 ? "" : ", ", key->words[i]);
	}
	return config_fail(
	    place, line, "%s: '%.64s' is none of its values; write one of %s", key->name, word, choice);
}

/*
 * libconfuse takes backslashes away inside double quotes and outside of quotes, and says nothing of how a
 * value was written. So the line on which it was read must have it letter by letter.
 */
static bool single_quoted(const char *text, int line, const char *name, const char *value)
{
	size_t name_len = strlen(name), value_len = strlen(value);

	while (--line > 0)
		text += strcspn(text, "\n") + 1;
	for (const char *p = text, *end = text + strcspn(text, "\n"); p < end; p++) {
		const char *q = p;
		if (strncmp(q, name, name_len) != 0)
			continue;
		q += name_len;
		q += strspn(q, " \t");
		if (*q++ != '=')
			continue;
		q += strspn(q, " \t");
		if (q < end && *q == '\'' && strncmp(q + 1, value, value_len) == 0 &&
		    q[1 + value_len] == '\'')
			return true;
	}
	return false;
}

/* The value that was read last, against the key's row. */
static int check_value(struct config_place *place, int line, const struct config_key *key, cfg_opt_t *opt)
{
	char why[512];
	unsigned last = cfg_opt_size(opt) - 1;

	if (opt->type == CFGT_STR && strcmp(cfg_opt_getnstr(opt, last), CONFIG_END_KEY) == 0)
		return config_fail(place, line, "%s: the file ends before its value; write one", key->name);
	switch (key->kind) {
	case KIND_LIST:
	case KIND_NETWORKS:
	case KIND_SET:
		if (last >= key->max)
			return config_fail(
			    place, line, "%s: more than %u values; leave some out", key->name, key->max);
		if (key->kind == KIND_SET)
			return check_word(place, line, key, cfg_opt_getnstr(opt, last));
		/* fall through */
	case KIND_STRING:
	case KIND_LITERAL:
	case KIND_DAYS:
	case KIND_OCTETS:
		if (key->kind == KIND_LITERAL &&
		    !single_quoted(place->text, line, key->name, cfg_opt_getnstr(opt, last)))
			return config_fail(place, line,
			    "%s: write it on one line, as %s = '...' in single quotes, with no quote inside "
			    "and no doubled "
			    "backslash: elsewhere backslashes have a meaning of their own",
			    key->name, key->name);
		if (key->check != NULL && key->check(cfg_opt_getnstr(opt, last), why, sizeof(why)) != 0)
			return config_fail(place, line, "%s: %s", key->name, why);
		break;
	case KIND_NUMBER:
	case KIND_PORT: {
		long value = cfg_opt_getnint(opt, 0);
		if (value < (long)key->min || value > (long)key->max)
			return config_fail(place, line,
			    "%s: %ld is out of bounds; write a number from %u to %u", key->name, value,
			    key->min, key->max);
		break;
	}
	case KIND_WORD:
		return check_word(place, line, key, cfg_opt_getnstr(opt, 0));
	case KIND_BOOL:
		break;
	}
	return 0;
}

/*
 * libconfuse calls after each value; for a list after each member, and once more at its end. So the same
 * count twice is the end, and whatever comes behind it is a second list.
 */
int config_table_seen(struct config_place *place, int line, const struct config_key *key,
    struct config_seen *seen, cfg_opt_t *opt)
{
	unsigned values = cfg_opt_size(opt);

	if (is_list(key) ? seen->ended : seen->line != 0)
		return config_fail(
		    place, line, "%s: given before, on line %d; leave one of the two", key->name, seen->line);
	seen->line = line;
	if (!is_list(key) || values != seen->values) {
		seen->values = values;
		return check_value(place, line, key, opt);
	}
	seen->ended = true;
	return 0;
}

/* Also when the file gives an empty list, of which libconfuse tells no callback. */
static bool given(const cfg_opt_t *opt)
{
	return (opt->flags & CFGF_MODIFIED) != 0;
}

int config_table_check_empty(
    struct config_place *place, int line, const struct config_key *key, cfg_opt_t *opt)
{
	if (is_list(key) && key->min > 0 && given(opt) && cfg_opt_size(opt) == 0)
		return config_fail(place, line, "%s: is empty; write at least %u, or leave the key out",
		    key->name, key->min);
	return 0;
}

cfg_opt_t config_table_option(const struct config_key *key, cfg_validate_callback_t validate)
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
static char **make_list(const struct config_key *key, cfg_opt_t *opt)
{
	const char *values[CONFIG_LIST_COUNT];
	unsigned count = cfg_opt_size(opt);

	if (!given(opt)) {
		for (count = 0; key->list[count] != NULL;)
			count++;
		return copy_list(key->list, count);
	}
	for (unsigned i = 0; i < count && i < CONFIG_LIST_COUNT; i++)
		values[i] = cfg_opt_getnstr(opt, i);
	return copy_list(values, count);
}

/* Each was checked as it was read. -1: no memory. */
static int make_networks(const struct config_key *key, cfg_opt_t *opt, struct networks *networks_r)
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

/* Each was checked as it was read. */
static unsigned make_set(const struct config_key *key, cfg_opt_t *opt)
{
	unsigned bits = 0;

	for (unsigned i = 0; given(opt) && i < cfg_opt_size(opt); i++)
		bits |= 1u << word_index(key->words, cfg_opt_getnstr(opt, i));
	for (size_t i = 0; !given(opt) && key->list[i] != NULL; i++)
		bits |= 1u << word_index(key->words, key->list[i]);
	return bits;
}

/* One value to its place. -1: no memory. */
static int store_value(const struct config_key *key, cfg_opt_t *opt, void *base)
{
	char *at = (char *)base + key->offset;

	switch (key->kind) {
	case KIND_STRING:
	case KIND_LITERAL:
		if (cfg_opt_getnstr(opt, 0) == NULL)
			return 0;
		*(char **)(void *)at = strdup(cfg_opt_getnstr(opt, 0));
		return *(char **)(void *)at != NULL ? 0 : -1;
	case KIND_LIST:
		*(char ***)(void *)at = make_list(key, opt);
		return *(char ***)(void *)at != NULL ? 0 : -1;
	case KIND_NETWORKS:
		return make_networks(key, opt, (struct networks *)(void *)at);
	case KIND_SET:
		*(unsigned *)(void *)at = make_set(key, opt);
		break;
	case KIND_NUMBER:
		*(unsigned *)(void *)at = (unsigned)cfg_opt_getnint(opt, 0);
		break;
	case KIND_DAYS:
		*(unsigned *)(void *)at = config_days(cfg_opt_getnstr(opt, 0));
		break;
	case KIND_OCTETS:
		*(uint64_t *)(void *)at = config_octets(cfg_opt_getnstr(opt, 0));
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

int config_table_store(const struct config_key *table, size_t count, cfg_t *cfg, void *base)
{
	for (size_t i = 0; i < count; i++)
		if (store_value(&table[i], cfg_getopt(cfg, table[i].name), base) != 0)
			return -1;
	return 0;
}

void config_table_free(const struct config_key *table, size_t count, void *base)
{
	for (size_t i = 0; i < count; i++) {
		char *at = (char *)base + table[i].offset;
		if (table[i].kind == KIND_STRING || table[i].kind == KIND_LITERAL)
			free(*(char **)(void *)at);
		else if (table[i].kind == KIND_LIST)
			free_list((char ***)(void *)at);
		else if (table[i].kind == KIND_NETWORKS)
			free(((struct networks *)(void *)at)->entries);
	}
}
