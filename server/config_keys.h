/* SPDX-License-Identifier: ISC */
/*
 * config_keys: the keys of kpopd.conf in two tables, and libconfuse reading them. Private to config.
 *
 * Only here is libconfuse called; a key is a row, and the row says its type, default and bounds.
 */
#ifndef KPOPD_SERVER_CONFIG_KEYS_H
#define KPOPD_SERVER_CONFIG_KEYS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/config.h"

#define CONFIG_KEYS_COUNT 96u

/* Where we are in the file, and the first thing that is wrong with it. */
struct config_place {
	const char *file;
	const char *text; /* all of it */
	char *why;
	size_t size;
	bool failed;
	int lines[CONFIG_KEYS_COUNT]; /* see config_keys_line */
};

/* A key of our own behind the file's text, because libconfuse takes the end for that of a section. */
#define CONFIG_END_KEY "end_of_file"

/* Notes the first failure as "FILE:LINE: …" (line 0: "FILE: …") in one printable line. -1. */
int config_fail(struct config_place *place, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Fills config (zeroed) from text and the defaults, each value checked by itself. 0, or -1 and place->why. */
int config_keys_read(struct config *config, struct config_place *place, const char *text);
/* Frees what config_keys_read put into config. */
void config_keys_free(struct config *config);

/* The line on which a key was given, 0: nowhere. */
int config_keys_line(const struct config_place *place, const char *name);
/* The first line that begins with word, and then with title where that is not NULL; 0: none. */
int config_keys_find_line(const char *text, const char *word, const char *title);
/* The keys, those of the sections last; NULL past the end. */
const char *config_keys_name(size_t index);

#endif
