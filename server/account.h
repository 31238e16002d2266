/* SPDX-License-Identifier: ISC */
/*
 * account: the account of this system that a user's mail belongs to, and how a process becomes it.
 *
 * For mail_users = system: for the store's children, for deliverers, and for the tools. Nothing of a user's
 * maildrop (his home, his Maildir, his spool file, his state directory) is opened before account_become, and
 * nothing of a client is read before it. A name service may load modules, open files and sockets, and take
 * its time: so account_find comes before the process's own filter, and what it left open goes after it.
 */
#ifndef KPOPD_SERVER_ACCOUNT_H
#define KPOPD_SERVER_ACCOUNT_H

#include <limits.h>

#include "server/config.h"
#include "server/ids.h"

struct account {
	char name[LIMIT_USER_OCTETS + 1];
	char home[PATH_MAX]; /* absolute; of passwd(5), so the administrator's word */
	struct ids ids;
};

enum account_err {
	ACCOUNT_OK = 0,
	ACCOUNT_NONE = -1, /* there is no such account */
	ACCOUNT_REFUSED =
	    -2,            /* there is, but its mail is never served: a system's account, or a name's twin */
	ACCOUNT_TEMP = -3, /* the name service cannot say */
};

/*
 * In a parent whose children look accounts up: what each of them would do again. A module of a name service
 * that stays loaded costs them nothing.
 */
void account_prepare(const struct config *config);
/*
 * Looks user, a canonical name (names.h), up: refuses root, uids below first_uid, nobody, the users that our
 * own roles run as, an account whose own name is another. May wait for the network. On failure why_r has one
 * line for the log.
 */
int account_find(
    const struct config *config, const char *user, struct account *account_r, char *why_r, size_t size);
/* For mail_users = virtual: store_user's account, whose all mail is, with his own group alone. */
int account_find_store(const struct config *config, struct account *account_r, char *why_r, size_t size);
/*
 * Becomes it, for ever, from root or with CAP_SETUID and CAP_SETGID: groups, ids, no capability, not
 * dumpable; as ids_take. For one who is it already: nothing to do. 0, or -1: the process must exit.
 */
int account_become(const struct account *account, char *why_r, size_t size);

/*
 * Makes a directory (mode 0700) or, empty, a file (mode 0600) of the account's in dir, before account_become.
 * dir's group must be able to write there, unless this is root: it is done as the account with that group, so
 * neither CAP_CHOWN nor a moment in which it is another's is needed. There already, of whatever kind: 0.
 * -1 and errno.
 */
int account_make_dir(const struct account *account, int dir, const char *name);
int account_make_file(const struct account *account, int dir, const char *name);

#endif
