/* SPDX-License-Identifier: ISC */
/*
 * index_verbs: what kpopctl index can do; each returns the exit status.
 */
#ifndef KPOPD_TOOLS_INDEX_VERBS_H
#define KPOPD_TOOLS_INDEX_VERBS_H

#include <stdbool.h>

#include "store/inspect.h"
#include "tools/visit.h"

/* One line: what the index has of a user, and what that is worth. */
void index_show_user(const char *user, const struct inspect_user *of, bool environment);

/* names as in visit.h. */
enum visit_status index_check(const struct config *config, char *const *names);
/* all: every environment is set aside first. */
enum visit_status index_rebuild(const struct config *config, char *const *names, bool all);
/* None named: of all environments. */
enum visit_status index_stat(const struct config *config, char *const *names);

#endif
