/* SPDX-License-Identifier: ISC */
/*
 * everyone: who has mail here: the template of kpopd.conf read backwards against what lies beneath mail_root.
 *
 * For kpopctl's commands about all users. Directories are read as they are walked, none by way of a symbolic
 * link, and only names that a user can have count: what else lies there is nobody's mail.
 */
#ifndef KPOPD_TOOLS_EVERYONE_H
#define KPOPD_TOOLS_EVERYONE_H

#include "server/config.h"

/* Non-zero ends the walk, and is its result. */
typedef int everyone_fn(void *arg, const char *user);
/* What could not be read; the walk goes on without it. */
typedef void everyone_note_fn(void *arg, const char *path, int error);

struct everyone {
	const struct config *config;
	everyone_fn *fn;
	everyone_note_fn *note;
	void *arg;
};

/* Beneath root, an open mail_root. 0, or what fn said. */
int everyone_walk(const struct everyone *everyone, int root);
/*
 * For mail_users = system: the accounts that have mail, of those that the name service lists and those that
 * have logged in here; each once, by name. As root, who for each becomes that account in a process of its own
 * to look whether there is a maildrop. As above; -1: no memory.
 */
int everyone_accounts(const struct everyone *everyone);
#endif
