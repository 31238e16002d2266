/* SPDX-License-Identifier: ISC */
/*
 * remember: passwords that others have called right a short while ago, for sites that would rather ask less
 * often than hear at once of a password that was changed.
 *
 * For an auth process that takes passwords, which has one of its own. What is kept of a password is an HMAC
 * under a random key of the process. The table is bounded, and only a right password gets in.
 */
#ifndef KPOPD_SERVER_REMEMBER_H
#define KPOPD_SERVER_REMEMBER_H

#include "server/check.h"

struct remember;
/* secs 0: it remembers nothing. NULL: no memory or no random octets; the others then remember nothing. */
struct remember *remember_new(unsigned secs);
/* Whether check was right within the time; then *result_r says what was said. now_msecs is monotonic. */
bool remember_find(const struct remember *remember, const struct check *check, uint64_t now_msecs,
    struct check_result *result_r);
/* result is CHECK_RIGHT and just came. */
void remember_add(struct remember *remember, const struct check *check, const struct check_result *result,
    uint64_t now_msecs);

#endif
