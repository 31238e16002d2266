/* SPDX-License-Identifier: ISC */
/*
 * inquiry: a question to the checker on its way, and how long it may take.
 *
 * For auth, whose loop goes on meanwhile. The answer comes once, or, when the checker is full, hung or gone,
 * its absence does; a free inquiry calls nobody.
 */
#ifndef KPOPD_SERVER_INQUIRY_H
#define KPOPD_SERVER_INQUIRY_H

#include <event2/event.h>

#include "server/check.h"
#include "server/remember.h"

/* What an auth process asks by. */
struct inquirer {
	struct event_base *base;
	int door;
	unsigned msecs;            /* how long an answer may take */
	struct remember *remember; /* answers a password that was right a while ago; NULL: nothing */
};

struct inquiry;
/* The inquiry is still there, and the callee's to free. */
typedef void inquiry_fn(void *arg, const struct check_result *result);

/* check is copied. fn is never called from within. NULL: the question could not be put. */
struct inquiry *inquiry_start(
    const struct inquirer *inquirer, const struct check *check, inquiry_fn *fn, void *arg);
/* Wipes the question. */
void inquiry_free(struct inquiry **inquiry);

#endif
