/* SPDX-License-Identifier: ISC */
/*
 * tracer: runs a function in a process of its own and kills it, or lets a call fail, at its n-th system call.
 */
#ifndef KPOPD_TESTS_STORE_TRACER_H
#define KPOPD_TESTS_STORE_TRACER_H

#include <stdbool.h>

enum tracer_end {
	TRACER_KILLED, /* as was asked for */
	TRACER_RETURNED,
};

struct tracer_result {
	enum tracer_end end;
	int status;     /* what fn returned, 0 to 100 */
	bool reached;   /* the n-th call came */
	long call;      /* its number */
	unsigned calls; /* that fn has made, as far as it came */
};

/* What may be traced here; if not, tests are to be skipped. */
bool tracer_works(void);
/* Whether calls can be made to fail here, too. */
bool tracer_fails(void);

/*
 * Calls fn(arg) in a child; the count of its calls begins when it calls tracer_begin. At the n-th (from 1):
 * with error 0 the child is killed before the call is made, else the call is not made and gives that error.
 */
struct tracer_result tracer_run(int (*fn)(void *arg), void *arg, unsigned n, int error);
/* Calls for memory and the like, which never fail here: that is another matter. */
bool tracer_spares(long call);
void tracer_begin(void);

#endif
