/* SPDX-License-Identifier: ISC */
/*
 * identity: the one place that says what a user name is, and where its mail lies.
 *
 * For auth (is this a name?), store and kpop-deliver (user → path). What clients call users is names.h,
 * whose a principal is mapping.h.
 * A user is an opaque name of 1 to LIMIT_USER_OCTETS octets; as a path it is only ever used as whole,
 * checked components.
 */
#ifndef KPOPD_SERVER_IDENTITY_H
#define KPOPD_SERVER_IDENTITY_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/config.h"
#include "server/limits.h"
#include "store/maildrop.h"

/* Letters, digits and "._+-=@", not beginning with '.', '-' or '@'; no "..", at most one '@', nothing empty
 * round it. */
bool identity_user_valid(const char *name, size_t len);

/*
 * The Maildir of user beneath the mail root by the template (%u the name, %n before the @, %d after it or
 * "default"); user is valid. A template that begins with "%h/" gives a path beneath the user's home instead.
 * 0, or -1 when the result is no sound relative path. path_r is PATH_MAX octets.
 */
int identity_maildir(const char *maildir_template, const char *user, char *path_r);
/*
 * Where the mail of user, who is valid, lies, and in what form, by spool or maildir of config. place_r points
 * into path_r, which has PATH_MAX octets, and to user. 0 or -1, as identity_maildir.
 */
int identity_place(
    const struct config *config, const char *user, char *path_r, struct maildrop_place *place_r);
/* Whether it is beneath the users' homes, instead of mail_root. */
bool identity_in_homes(const struct config *config);
/*
 * Of path, which identity_place has made: the octets up to the end of the first component that is named after
 * the user. What is before that is everybody's.
 */
size_t identity_own_len(const struct config *config, const char *path);
/* What spool_locks calls it; SPOOL_LOCK_NONE: there is no such lock. */
enum spool_lock identity_spool_lock(const char *name);
/* Whether a template can give sound paths at all; for the configuration's check. */
bool identity_template_valid(const char *maildir_template);

#endif
