/* SPDX-License-Identifier: ISC */
/*
 * work: what one session of the load generator says and what it must hear, without sockets.
 *
 * A work is a row of steps; each step has something to send and a check of the answer. Anything but the
 * expected answer fails the session, with the reason on standard error.
 */
#ifndef KPOPD_TESTS_BENCH_WORK_H
#define KPOPD_TESTS_BENCH_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/ticket.h"

#define WORK_STEPS_COUNT 12u
#define WORK_OUT_OCTETS 16384u

struct dialogue;

enum heard {
	HEARD_PART = 0, /* more is needed for this step */
	HEARD_ALL,      /* the step is done */
	HEARD_ONE,      /* the step is done and to be taken again: the next message */
	HEARD_WRONG,
};

struct step {
	int (*say)(struct dialogue *dialogue); /* fills out; -1: cannot. NULL: nothing to say */
	/* Looks at what has come and takes *used_r of it. NULL: nothing is awaited, the session rests here.
	 */
	enum heard (*hear)(struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r);
};

struct work {
	const char *name;
	bool tls, tickets;
	const struct step *steps[WORK_STEPS_COUNT]; /* NULL after the last */
};

/* NULL: no such work. */
const struct work *work_find(const char *name);
/* "plain userpass …", for usage(). */
void work_names(char *text_r, size_t size);

struct dialogue {
	const struct work *work;
	const char *user, *password;
	struct ticket *ticket;
	struct proof *proof;
	unsigned step;
	uint64_t count, octets;   /* what STAT said */
	uint64_t retrieved, seen; /* messages fetched; their octets, or lines of a listing */
	uint64_t limit;           /* most messages to fetch */
	bool in_body, in_line;    /* of a long answer */
	bool layered;             /* from here on, the caller seals what is said and unseals what is heard */
	size_t challenge_len;
	char challenge[WORK_OUT_OCTETS];
	size_t out_len;
	char out[WORK_OUT_OCTETS];
};

enum progress { PROGRESS_WAIT = 0, PROGRESS_REST, PROGRESS_DONE, PROGRESS_FAILED };

/* Sets out up for the first step; user, password, ticket, limit and work are already there. */
enum progress dialogue_begin(struct dialogue *dialogue);
/* Takes what it can of the server's octets. When it returns WAIT, out may hold something to send. */
enum progress dialogue_input(struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r);
void dialogue_end(struct dialogue *dialogue);

#endif
