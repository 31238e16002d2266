/* SPDX-License-Identifier: ISC */
/*
 * users: the commands of kpopctl about the users in the secrets.
 */
#ifndef KPOPD_TOOLS_USERS_H
#define KPOPD_TOOLS_USERS_H

#include <stdbool.h>

#include "sasl/secrets.h"
#include "server/config.h"
#include "tools/import.h"

/* What was typed. */
struct options {
	const char *config;
	const char *operand; /* a user's name, checked, or a file; "" when the command takes none */
	struct secrets_forms forms;
	struct import_options import;
};

/* Whether there is a user of exactly this name. */
bool users_stored(const struct config *config, const char *name);

int users_add(const struct config *config, const struct options *options);
int users_passwd(const struct config *config, const struct options *options);
int users_del(const struct config *config, const struct options *options);
int users_list(const struct config *config, const struct options *options);
int users_show(const struct config *config, const struct options *options);
int users_import(const struct config *config, const struct options *options);

#endif
