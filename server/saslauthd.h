/* SPDX-License-Identifier: ISC */
/*
 * saslauthd: a password asked of saslauthd(8), over its socket.
 *
 * For the checker, one process a check. Four counted strings go out, login, password, service and realm,
 * each behind its length of two octets, most significant first; one comes back that begins with OK or NO.
 * The login is the whole name: what it means is the site's to say, in saslauthd's own configuration.
 */
#ifndef KPOPD_SERVER_SASLAUTHD_H
#define KPOPD_SERVER_SASLAUTHD_H

#include <stddef.h>

#include "server/msg.h"

/* Waits no longer than msecs. why_r gets one line for the log. */
enum check_verdict saslauthd_check(const char *path, const char *user, const char *password_secret,
    unsigned msecs, char *why_r, size_t size);

#endif
