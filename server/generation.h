/* SPDX-License-Identifier: ISC */
/*
 * generation: one configuration and the processes that serve by it.
 *
 * For master. A generation begins with auth, store, checker and deliverer; when they serve, the fronts begin,
 * which know what auth can offer, and lmtp; when those serve too, it is live. A live generation restarts what
 * dies. A retired one lets its fronts finish, then ends the rest.
 */
#ifndef KPOPD_SERVER_GENERATION_H
#define KPOPD_SERVER_GENERATION_H

#include <event2/event.h>

#include "server/config.h"
#include "server/listeners.h"

struct generation;

enum generation_event {
	GENERATION_LIVE,   /* all roles serve */
	GENERATION_FAILED, /* one could not begin; all are being ended, GENERATION_GONE follows */
	GENERATION_GONE,   /* the last process has ended: free it */
};
typedef void generation_fn(void *arg, struct generation *generation, enum generation_event event);

/*
 * Takes config over; listeners are copied, their sockets stay the caller's, as does penalty (penalty.h),
 * which all generations share. NULL: errno.
 */
struct generation *generation_start(struct event_base *base, struct config *config,
    const struct listeners *listeners, int penalty, generation_fn *tell, void *arg);
void generation_retire(struct generation *generation); /* finish, then GENERATION_GONE */
void generation_end(struct generation *generation);    /* now, then GENERATION_GONE */
void generation_kill(struct generation *generation);   /* what is left, by signal */
void generation_free(struct generation **generation);
/* A process has been reaped; true when it was this generation's. */
bool generation_reaped(struct generation *generation, pid_t pid, int wait_status);
const struct config *generation_config(const struct generation *generation);

#endif
