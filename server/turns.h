/* SPDX-License-Identifier: ISC */
/*
 * turns: how much one source may have checked at a time, over all processes.
 *
 * For penalty; pure, in memory that auth processes share, without a lock. A turn is a lease: one word with a
 * source's tag and the time at which it ends, so a process that was killed holds none for long, and one that
 * is stopped keeps nobody from changing the others.
 */
#ifndef KPOPD_SERVER_TURNS_H
#define KPOPD_SERVER_TURNS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TURNS_COUNT 16384u
#define TURNS_SET_COUNT 64u /* of one source, and of those that share its set: more are not to be had */

/* Zeroed memory has no turns taken. */
struct turns {
	_Atomic uint64_t leases[TURNS_COUNT];
};

/* Zero-initialise. */
struct turn {
	uint64_t lease; /* 0: none */
	uint32_t place;
};

/* hash: of the source, under a secret key. false: it has limit turns already. limit 0: there is none. */
bool turns_take(struct turns *turns, uint64_t hash, unsigned limit, unsigned lease_msecs, uint64_t now_msecs,
    struct turn *turn_r);
/* Gives it back; or, when the time is not past, keeps it until then. Harmless for a turn not taken. */
void turns_give(struct turns *turns, struct turn *turn, uint64_t keep_until_msecs, uint64_t now_msecs);

#endif
