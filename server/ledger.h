/* SPDX-License-Identifier: ISC */
/*
 * ledger: a bounded table of small facts that several processes share without a lock.
 *
 * For penalty; pure, with time as a parameter. A cell is one 64-bit word: a tag, a value and when it was
 * written. Whoever changes one changes all of it at once, or nothing: a process may be stopped or killed at
 * any moment and leaves neither a lock nor half an entry behind. What is found in a cell is compared with the
 * bounds of its fields and with the clock before it is used, as another process may have been taken over.
 *
 * A key chooses one set of cells and is told from others there by its tag. A new entry takes the place of the
 * least in its set. Keys must be hashes under a secret key, so that nobody can aim at a set.
 */
#ifndef KPOPD_SERVER_LEDGER_H
#define KPOPD_SERVER_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_SET_COUNT 16u     /* cells: two lines of the cache */
#define LEDGER_VALUE_MAX 1023u   /* 10 bits */
#define LEDGER_TICKS_A_SECOND 4u /* of 30 bits: they last eight years, and then all is forgotten once */

/* Zeroed memory is an empty ledger. count is a power of two, LEDGER_SET_COUNT or more. */
struct ledger {
	_Atomic uint64_t *cells;
	uint32_t count;
};

/* From a hash: what chooses the set, and what is compared there (24 bits of it). */
struct ledger_key {
	uint32_t set, tag;
};

/* Points that are forgotten with time. */
struct ledger_rule {
	uint32_t ticks_a_point; /* one point is forgotten in this time; at least 1 */
	unsigned most;          /* points beyond it are not counted; at most LEDGER_VALUE_MAX */
};

/* What an entry says. */
struct ledger_score {
	unsigned points;  /* those left now; 0: no entry */
	unsigned written; /* as many as there were when the last were added */
	uint32_t age;     /* ticks since then */
};

uint32_t ledger_ticks(uint64_t msecs);

/* Points, and what is left of them. tick: now. */
struct ledger_score ledger_score(
    const struct ledger *ledger, struct ledger_key key, const struct ledger_rule *rule, uint32_t tick);
/* Adds points and begins their time anew; returns what there is now. */
unsigned ledger_add(const struct ledger *ledger, struct ledger_key key, const struct ledger_rule *rule,
    unsigned points, uint32_t tick);
void ledger_forget(const struct ledger *ledger, struct ledger_key key);

/*
 * Stamps: that something was so, and when last. group (1..LEDGER_VALUE_MAX) is whose it is: of the stamps of
 * one group, a set holds share at most, so that nobody's many stamps push out those of others.
 */
void ledger_stamp(
    const struct ledger *ledger, struct ledger_key key, unsigned group, unsigned share, uint32_t tick);
/* Whether there is one that is not older than most_ticks. */
bool ledger_stamped(
    const struct ledger *ledger, struct ledger_key key, unsigned group, uint32_t most_ticks, uint32_t tick);

#endif
