/* SPDX-License-Identifier: ISC */
/*
 * index_stat: kpopctl index stat, and a user's line, which check prints, too. For kpopctl.
 */
#ifndef KPOPD_TOOLS_INDEX_STAT_H
#define KPOPD_TOOLS_INDEX_STAT_H

#include <stdbool.h>

#include "store/inspect.h"
#include "tools/visit.h"

/* One line: what the index has of a user, and what that is worth. */
void index_show_user(const char *user, const struct inspect_user *of, bool environment);

/* names as in visit.h; none named: of all environments. */
enum visit_status index_stat(const struct config *config, char *const *names);

#endif
