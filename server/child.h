/* SPDX-License-Identifier: ISC */
/*
 * child: a process of ours and the leash that ties it to the one that made it.
 *
 * For master and for the parents of isolation = process. The leash is a message socket: the child says
 * CHILD_READY and CHILD_TAKEN on it, the parent PARENT_RETIRE, to fronts PARENT_OFFERS, and now and then
 * PARENT_PING, which the child answers. Its end of file tells either side that the
 * other is gone; a child then ends at once, so nothing outlives a master that was killed.
 */
#ifndef KPOPD_SERVER_CHILD_H
#define KPOPD_SERVER_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/offers.h"

struct child {
	pid_t pid; /* 0: none */
	int leash; /* the parent's end; -1: none */
};

/* Runs in the new process and never returns. */
typedef void child_fn(void *arg, int leash);

/* 0, or -1 with errno. Signals are at their defaults in the child, but for those a terminal sends to all. */
int child_start(struct child *child, child_fn *run, void *arg);
/* Asks it to take nothing new, finish, and exit. A child that cannot be asked loses its leash. */
void child_retire(struct child *child);
/* Cuts the leash: the child ends now, as soon as what it is doing allows. */
void child_cut(struct child *child);

/* In a child: what the leash says now. */
enum leash_word {
	LEASH_NOTHING = 0,
	LEASH_RETIRE,
	LEASH_OFFERS,  /* fronts only: what can be offered has changed */
	LEASH_GRANTED, /* what was asked with CHILD_BECOMES */
	LEASH_GONE,    /* the parent is, or cut us off: end */
};
/* Answers a ping by itself. offers_r: where LEASH_OFFERS goes; NULL: this child is no front's. */
enum leash_word child_hear(int leash, struct offers *offers_r);

/* In a child: closes every descriptor above 2 but these (those < 0 are ignored) and the log's. */
void child_keep(const int *fds, size_t count);
/* "exit status 3" or "signal 11"; a static buffer. */
const char *child_end_text(int wait_status);

/*
 * How long to wait before replacing a process that died, in milliseconds. served: it had done, or been ready
 * to do, its work; then the wait is short whatever happened before. One that dies before that will most
 * likely die again: the wait doubles, up to most_msecs.
 */
unsigned backoff_next(unsigned *last_msecs, bool served, unsigned most_msecs);

uint64_t now_msecs(void); /* monotonic */

#endif
