/* SPDX-License-Identifier: ISC */
#include "server/turns.h"

#define TIME_BITS 40u /* of milliseconds: 34 years */
#define TIME_MASK ((UINT64_C(1) << TIME_BITS) - 1)
/* Nobody may have a longer one, whatever is written there. */
#define LEASE_MOST_MSECS 120000u

static bool runs(uint64_t lease, uint64_t now_msecs)
{
	uint64_t end = lease & TIME_MASK;
	return end > now_msecs && end - now_msecs <= LEASE_MOST_MSECS;
}

static uint64_t make(uint64_t tag, uint64_t end_msecs)
{
	return tag << TIME_BITS | (end_msecs & TIME_MASK);
}

bool turns_take(struct turns *turns, uint64_t hash, unsigned limit, unsigned lease_msecs, uint64_t now_msecs,
    struct turn *turn_r)
{
	uint64_t tag = hash >> TIME_BITS, mine = make(tag, now_msecs + lease_msecs);
	uint32_t base = (uint32_t)(hash % (TURNS_COUNT / TURNS_SET_COUNT)) * TURNS_SET_COUNT;
	uint32_t place = TURNS_SET_COUNT;
	uint64_t before = 0;
	unsigned count = 0;
	*turn_r = (struct turn){0, 0};
	if (limit == 0)
		return true;
	for (uint32_t i = 0; i < TURNS_SET_COUNT; i++) {
		uint64_t lease = atomic_load_explicit(&turns->leases[base + i], memory_order_relaxed);
		if (!runs(lease, now_msecs)) {
			place = i;
			before = lease;
		} else {
			count += lease >> TIME_BITS == tag;
		}
	}
	/* When two look at once, one of them may be let in too many: as many as there are processes, no more.
	 */
	if (count >= limit || place == TURNS_SET_COUNT ||
	    !atomic_compare_exchange_strong_explicit(
		&turns->leases[base + place], &before, mine, memory_order_relaxed, memory_order_relaxed))
		return false;
	*turn_r = (struct turn){mine, base + place};
	return true;
}

void turns_give(struct turns *turns, struct turn *turn, uint64_t keep_until_msecs, uint64_t now_msecs)
{
	uint64_t before = turn->lease;
	uint64_t after = keep_until_msecs > now_msecs ? make(before >> TIME_BITS, keep_until_msecs) : 0;
	if (before != 0)
		atomic_compare_exchange_strong_explicit(
		    &turns->leases[turn->place], &before, after, memory_order_relaxed, memory_order_relaxed);
	*turn = (struct turn){0, 0};
}
