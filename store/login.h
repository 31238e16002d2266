/* SPDX-License-Identifier: ISC */
/*
 * login: when a maildrop was last logged in to, for a login delay (RFC 2449 section 6.5).
 *
 * The time lies in the lock file, beside the mail, because the index may be lost. It is one line of text, and
 * believed only if it is that and not of the future: a damaged one, or a clock that was set back, keeps
 * nobody from his mail. It is not synced: a power cut may let somebody in early.
 */
#ifndef KPOPD_STORE_LOGIN_H
#define KPOPD_STORE_LOGIN_H

#include "maildrop.h"

#define LOGIN_LINE_OCTETS 27u /* "login ", twenty digits, LF */

/* What text, of len octets, says: seconds since the epoch; INT64_MIN: nothing. */
int64_t login_parse(const char *text, uint64_t len);
/*
 * Whether the delay of place is over, by the line in fd (-1: there is none) and the clock. MAILDROP_OK, or
 * MAILDROP_EARLY and *place->wait_secs_r. To be asked before the mail is looked at: the site wants less often
 * what costs something.
 */
int login_check(int fd, const struct maildrop_place *place);
/* There was a login just now. */
void login_note(int fd);

#endif
