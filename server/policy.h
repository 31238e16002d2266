/* SPDX-License-Identifier: ISC */
/*
 * policy: what a site asks of one user, or grants him: how often he may log in, how long his mail is kept,
 * how much of it there may be.
 *
 * By the class sections of the configuration: the first that has the user holds, and what it does not say is
 * what the file says for all. Pure; for fronts (CAPA), the store, deliverers and tools.
 */
#ifndef KPOPD_SERVER_POLICY_H
#define KPOPD_SERVER_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "server/config.h"

#define POLICY_NEVER CONFIG_NEVER

struct policy {
	unsigned login_delay_secs; /* between a login's +OK and the next login; 0: none */
	/*
	 * Mail older than this may be removed. 0: mail that was fetched is removed at QUIT, and none by age
	 * (RFC 2449 section 6.7). POLICY_NEVER: all stays.
	 */
	unsigned expire_days;
	uint64_t quota_octets;   /* as the messages lie there; 0: any number */
	uint64_t quota_messages; /* 0: any number */
};

/* user is canonical, NUL-terminated. */
void policy_of(const struct config *config, const char *user, struct policy *policy_r);

/* What CAPA shows before it is known who is there (RFC 2449 sections 6.5, 6.7). */
struct policy_extremes {
	unsigned login_delay_secs;                /* the longest; 0: nobody has one */
	unsigned expire_days;                     /* the shortest */
	bool login_delay_differs, expire_differs; /* among users */
};
void policy_extremes(const struct config *config, struct policy_extremes *extremes_r);

#endif
