/* SPDX-License-Identifier: ISC */
/*
 * usermail: where one user's mail and our own state of it are, and how a process comes to hold them open
 * with the rights of the user whose they are.
 *
 * For the store's children where mail_users = system, for deliverers and tools with both kinds of users. With
 * virtual users everything belongs to store_user: mail_root, STATE_DIR/index, STATE_DIR/spool. With users of
 * the system, a user's mail lies in his home or beneath mail_root, and his state in STATE_DIR/users/NAME,
 * which he owns and nobody else can enter: index/, and what formats keep beside the mail.
 */
#ifndef KPOPD_SERVER_USERMAIL_H
#define KPOPD_SERVER_USERMAIL_H

#include <limits.h>
#include <stdbool.h>

#include "server/account.h"
#include "store/maildrop.h"

struct usermail {
	struct account account;
	bool stay; /* who we are already; no account was looked up */
	bool system;
	char path[PATH_MAX], index[PATH_MAX];
	struct maildrop_place place; /* for maildrop_open and delivery_begin */
	/* Descriptors; -1: none. */
	int root;         /* the place's path is beneath it */
	int homes, state; /* of all users, of this one */
	bool has_index;
	char trouble[544]; /* what went wrong, but not so that there is no mail; "": nothing */
};

/*
 * Who that is and where his mail lies: looks up, opens nothing, changes nothing. user is canonical and
 * outlives *usermail_r, which is large. On failure why_r has one line.
 */
enum account_err usermail_find(
    const struct config *config, const char *user, struct usermail *usermail_r, char *why_r, size_t size);
/*
 * Makes what is missing of his state, and for a delivery the first folder (or the file) of his own beneath
 * mail_root; becomes him (account_become), then opens what the store needs. For one who is not root and not
 * privileged: stays who he is. ACCOUNT_TEMP, also for a home that is not there (it may not be mounted);
 * ACCOUNT_REFUSED: his own rights do not reach. Whoever gets an error may be half a user: he must exit.
 */
enum account_err usermail_become(
    const struct config *config, struct usermail *usermail, bool delivery, char *why_r, size_t size);
/* What the store needs to know; note and such are the caller's to add. */
void usermail_store_config(const struct usermail *usermail, struct store_config *store_config_r);
/*
 * For sandbox_confine: descriptors of all that this user's session needs, at most USERMAIL_REACH_COUNT, the
 * caller's to close. Returns how many.
 */
#define USERMAIL_REACH_COUNT 4
size_t usermail_reach(const struct usermail *usermail, int fds_r[USERMAIL_REACH_COUNT]);
void usermail_close(struct usermail *usermail);

#endif
