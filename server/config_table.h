/* SPDX-License-Identifier: ISC */
/*
 * config_table: a row says of a key what it may be and where its value goes; here rows are obeyed.
 * Private to config: the file's own keys are in config_keys.c, those of its sections in config_sections.c.
 */
#ifndef KPOPD_SERVER_CONFIG_TABLE_H
#define KPOPD_SERVER_CONFIG_TABLE_H

#include <confuse.h>

#include "server/config_check.h"
#include "server/config_keys.h"

#define CONFIG_LIST_COUNT 64u /* the longest list */

enum config_kind {
	KIND_STRING = 0,
	KIND_LITERAL, /* a string that must be written in single quotes */
	KIND_LIST,
	KIND_NETWORKS,
	KIND_SET, /* a list of words, each a bit */
	KIND_NUMBER,
	KIND_PORT,
	KIND_BOOL,
	KIND_DAYS,   /* a number, or "never" */
	KIND_OCTETS, /* a number with or without K, M, G, T */
	KIND_WORD
};

struct config_key {
	const char *name;
	enum config_kind kind;
	size_t offset;
	const char *text; /* default of a string or word */
	const char *const
	    *list;         /* default of a list; here, because libconfuse would check its own as the file's */
	unsigned number;   /* default of a number or bool */
	unsigned min, max; /* of a number; of a list its count */
	config_check_fn *check;   /* of a string, of each member of a list */
	const char *const *words; /* in the order of their enum */
};

/* Rows; AT(field) is the name and its place in the structure that the table fills. */
#define STRING(field, fallback, checked)                                                       \
	{                                                                                      \
		.name = AT(field), .kind = KIND_STRING, .text = (fallback), .check = (checked) \
	}
#define LITERAL(field, checked)                                             \
	{                                                                   \
		.name = AT(field), .kind = KIND_LITERAL, .check = (checked) \
	}
#define LIST(field, fallback, least, most, checked)                                                      \
	{                                                                                                \
		.name = AT(field), .kind = KIND_LIST, .list = (fallback), .min = (least), .max = (most), \
		.check = (checked)                                                                       \
	}
#define NETWORKS(field, fallback)                                                                       \
	{                                                                                               \
		.name = AT(field), .kind = KIND_NETWORKS, .list = (fallback), .max = CONFIG_LIST_COUNT, \
		.check = config_check_network                                                           \
	}
/* The bit of a word is 1 << its place. */
#define SET(field, fallback, choice)                                               \
	{                                                                          \
		.name = AT(field), .kind = KIND_SET, .list = (fallback), .min = 1, \
		.max = sizeof(choice) / sizeof((choice)[0]) - 1, .words = (choice) \
	}
#define NUMBER(field, fallback, least, most)                                                                \
	{                                                                                                   \
		.name = AT(field), .kind = KIND_NUMBER, .number = (fallback), .min = (least), .max = (most) \
	}
/* fallback NULL: CONFIG_UNSET (_OCTETS). */
#define DAYS(field, fallback)                                                                        \
	{                                                                                            \
		.name = AT(field), .kind = KIND_DAYS, .text = (fallback), .check = config_check_days \
	}
#define OCTETS(field, fallback)                                                                          \
	{                                                                                                \
		.name = AT(field), .kind = KIND_OCTETS, .text = (fallback), .check = config_check_octets \
	}
#define BOOL(field, fallback)                                              \
	{                                                                  \
		.name = AT(field), .kind = KIND_BOOL, .number = (fallback) \
	}
#define WORD(field, fallback, choice)                                                       \
	{                                                                                   \
		.name = AT(field), .kind = KIND_WORD, .text = (fallback), .words = (choice) \
	}

/* What was read of a key so far. */
struct config_seen {
	const void *section; /* of a section's key: whose */
	int line;
	unsigned values;
	bool ended; /* a list's closing brace was there */
};

/* NULL: the table has no such key. */
const struct config_key *config_table_find(const struct config_key *table, size_t count, const char *name);
/* A key's row as an option of libconfuse, which copies it. */
cfg_opt_t config_table_option(const struct config_key *key, cfg_validate_callback_t validate);
/* To be called after each value that was read. 0, or -1 and place says why. */
int config_table_seen(struct config_place *place, int line, const struct config_key *key,
    struct config_seen *seen, cfg_opt_t *opt);
/* An empty list of which libconfuse tells nobody. 0, or -1 and place says why. */
int config_table_check_empty(
    struct config_place *place, int line, const struct config_key *key, cfg_opt_t *opt);
/* Values or defaults to their places in the structure at base, which is zeroed. -1: no memory. */
int config_table_store(const struct config_key *table, size_t count, cfg_t *cfg, void *base);
void config_table_free(const struct config_key *table, size_t count, void *base);

#endif
