/* SPDX-License-Identifier: ISC */
/*
 * config_sections: the sections of kpopd.conf, each a table of keys and an array in struct config.
 * Private to config.
 */
#ifndef KPOPD_SERVER_CONFIG_SECTIONS_H
#define KPOPD_SERVER_CONFIG_SECTIONS_H

#include "server/config_table.h"

#define CONFIG_SECTIONS_COUNT 5u
#define CONFIG_SECTION_KEYS_COUNT 16u

/* Words of enum saslx_binding_policy. */
extern const char *const config_binding_policies[];

/* One reading of the sections: libconfuse hands its callbacks no argument of ours. */
struct config_sections {
	struct config *config;
	struct config_place *place;
	const char *text;
	struct config_seen seen[CONFIG_SECTION_KEYS_COUNT]; /* of the section being read */
	cfg_opt_t keys[CONFIG_SECTIONS_COUNT][CONFIG_SECTION_KEYS_COUNT + 1];
};

/*
 * The sections as options, CONFIG_SECTIONS_COUNT of them; sections is all zero but for its first three
 * members, and must live until the file is parsed. Parsing puts what it reads into sections->config.
 */
void config_sections_options(struct config_sections *sections, cfg_opt_t *options_r);
void config_sections_free(struct config *config);
/* The keys of all sections, one after the other, those two sections have in common as often as they do;
 * NULL past the end. */
const char *config_sections_key(size_t index);
/* The sections themselves; NULL past the end. */
const char *config_sections_name(size_t index);

#endif
