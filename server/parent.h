/* SPDX-License-Identifier: ISC */
/*
 * parent: keeps spare children of one role ready, each for one session, or for one check.
 *
 * Runs in a process that has given up its rights, the checker's, or with isolation = process a front's or
 * store's; the children inherit that. A child that was taken is replaced at once; one that dies before that,
 * after a back-off.
 */
#ifndef KPOPD_SERVER_PARENT_H
#define KPOPD_SERVER_PARENT_H

#include "server/child.h"

struct parent_config {
	child_fn *run;              /* one session; sends CHILD_TAKEN when it begins */
	void (*retired)(void *arg); /* in the parent: no child will be made any more; may be NULL */
	struct offers *offers; /* in the parent: kept as they are now, for the next children; those there are
				  hear of a change, too. NULL: what children do needs none */
	void *arg;
	unsigned spare;         /* ready ones */
	unsigned sessions;      /* most children; near it there are fewer spare ones */
	const char *what;       /* for the log: "front session" */
	unsigned deadline_secs; /* a taken child that lives longer is killed; 0: none is */
	/*
	 * Children become users, who may stop them, and whose disks may hang. They ask before (CHILD_BECOMES)
	 * and are no more than this many for each user; the deadline is for CHILD_SETTLED; one that is
	 * stopped is killed. 0: they become nobody. Needs CAP_KILL.
	 */
	unsigned each_user;
	unsigned life_secs; /* each_user: a settled child that lives longer is killed; 0: none is */
};

/* Serves until the leash ends (children are cut) or says retire (idle children end, busy ones finish). */
void parent_run(const struct parent_config *config, int leash) __attribute__((noreturn));

#endif
