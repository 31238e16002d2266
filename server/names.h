/* SPDX-License-Identifier: ISC */
/*
 * names: what a client calls a mailbox → the user whose it is.
 *
 * Every name that comes from outside passes here and nowhere else: of all mechanisms and commands, of
 * Kerberos clients that ask for somebody's maildrop, of kpopctl and kpop-deliver. So one name means one
 * user wherever it is given (RFC 6186 section 5 asks for that, and for both of "john" and "john@domain").
 * Pure. A name is prepared (RFC 4013), folded where the site wants that, then its domain is looked at:
 * - one of local_domains: as if it were not there;
 * - none: default_domain, if there is one;
 * - default_domain, or one of domains: it stays, in small letters;
 * - any other: it stays as it is, or nobody has it when the site lists its domains.
 * "name+host" is "name@host" for plus_hosts. A user's name is its own canonical form.
 */
#ifndef KPOPD_SERVER_NAMES_H
#define KPOPD_SERVER_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "server/config.h"

/* 0 and the user in user_r (LIMIT_USER_OCTETS + 1), which identity_user_valid takes. -1: nobody can have
 * this name; then *why_r, unless why_r is NULL, is a constant line that says why. */
int names_canonical(
    const struct config *config, const char *name, size_t len, char *user_r, const char **why_r);
/* Whether user, a string, is a user's name and not just another spelling of one. */
bool names_is_canonical(const struct config *config, const char *user);
/* Whether the site named this domain (len octets, any case), in whatever list; its spelling, or NULL. */
const char *names_domain(const struct config *config, const char *domain, size_t len);

#endif
