/* SPDX-License-Identifier: ISC */
/*
 * visit: a command of kpopctl about the maildrops of those named, or of everyone, one after the other, each
 * with the rights of whose mail it is (mailuser.h).
 */
#ifndef KPOPD_TOOLS_VISIT_H
#define KPOPD_TOOLS_VISIT_H

#include <stdbool.h>
#include <stddef.h>

#include "tools/mailuser.h"

/* What fn returns, and visit: the worst of all. */
enum visit_status {
	VISIT_OK = 0,
	VISIT_IN_USE = 75, /* EX_TEMPFAIL: something was left out, because a session has it */
	VISIT_FAILED = 1,  /* something is wrong, and was told */
};

struct visit {
	const struct config *config;
	char *const
	    *names; /* as people type them, NULL-terminated; none: everyone who has mail, in no order */
	bool (*wanted)(
	    void *arg, const char *user); /* asked before anything is done for a user; NULL: all are */
	mailuser_fn *fn;
	void *arg; /* the same for all; what fn leaves there for the caller must lie in memory of visit_shared
		    */
};
enum visit_status visit(const struct visit *visit);
/* Zeroed memory that fn's processes share with us; for the life of the program. NULL: that was told. */
void *visit_shared(size_t size);

#endif
