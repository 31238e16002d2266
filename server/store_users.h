/* SPDX-License-Identifier: ISC */
/*
 * store_users: mail_users = system: how a store's child becomes the user whose maildrop auth has named, and a
 * deliverer's the one whom mail is for.
 *
 * Its parent has no rights but to become somebody (and to kill its children), and reads nothing but its
 * leashes. The child gives up the killing at once, waits at the door, and then: looks the account up, asks
 * its parent, becomes that user, opens the user's own, and locks itself in with that. Only then the front's
 * words are read.
 */
#ifndef KPOPD_SERVER_STORE_USERS_H
#define KPOPD_SERVER_STORE_USERS_H

#include "server/config.h"
#include "server/account.h"
#include "server/drop.h"

/* Processes of one user at a time: a session, those that find it in use, and some that hang. */
enum { STORE_USERS_EACH = 8, STORE_USERS_DEADLINE_SECS = 20 };

/* The sandbox of the parent; ends the process when it cannot be. */
void store_users_enter(const struct config *config);
/* In a child, before it takes anything from the door. */
void store_users_begin(void);
/*
 * Becomes the user of drop. 0, and *config_r is what the store needs, without note and boot_id; -1: drop is
 * refused, and the process must end.
 */
int store_users_become(
    const struct config *config, struct drop *drop, int leash, struct store_config *config_r);
/*
 * The same for a delivery, whose socket is fd: his maildrop may have to be made. On failure why_r has one
 * line, and the process must end: ACCOUNT_NONE and _REFUSED mean that nobody of that name is served.
 */
enum account_err store_users_deliver(const struct config *config, const char *user, int fd, int leash,
    struct store_config *config_r, char *why_r, size_t size);

#endif
