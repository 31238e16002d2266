/* SPDX-License-Identifier: ISC */
/*
 * mailuser: lets kpopctl act on one user's maildrop with that user's rights and no others, as the server
 * does.
 *
 * What lies in a maildrop is under its owner's control, so root is given up before anything there is touched;
 * and nobody can become the next user after that. So each user gets a process of his own.
 */
#ifndef KPOPD_TOOLS_MAILUSER_H
#define KPOPD_TOOLS_MAILUSER_H

#include "server/usermail.h"
#include "store/maildrop.h"

struct mailuser {
	const struct config *config;
	const char *user;                   /* canonical */
	const struct maildrop_place *place; /* for maildrop_open and delivery_begin */
	struct store *store; /* open, with the server's index; its notes go to standard error */
	const struct usermail *usermail;
};

/*
 * What to do in that process; returns its exit status, 0 to MAILUSER_MOST. Memory it writes is the process's
 * own: what the caller shall see goes through memory that was mapped shared, a pipe, or standard output.
 */
#define MAILUSER_MOST 99
typedef int mailuser_fn(void *arg, const struct mailuser *mailuser);

/*
 * Forks; becomes whose the mail of user is (when root; else it stays who it is); opens his state, his mail's
 * root and the store; runs fn; waits. Returns what fn returned; -1: it did not come to that, which was told
 * on standard error. user is canonical. Standard output is flushed before and after.
 */
int mailuser_run(const struct config *config, const char *user, mailuser_fn *fn, void *arg);

#endif
