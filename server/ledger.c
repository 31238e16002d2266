/* SPDX-License-Identifier: ISC */
#include "server/ledger.h"

#define TICK_BITS 30u
#define VALUE_BITS 10u
#define TAG_BITS 24u
#define TICK_MASK ((1u << TICK_BITS) - 1u)
#define TAG_MASK ((1u << TAG_BITS) - 1u)
/* Another process may have read the clock a moment later than we did. */
#define SKEW_TICKS (2u * LEDGER_TICKS_A_SECOND)
/* Changes of one cell that may come between ours; beyond it somebody is playing with us. */
#define TRIES_COUNT 64u

_Static_assert(TICK_BITS + VALUE_BITS + TAG_BITS == 64, "a cell is one word");
_Static_assert(LEDGER_VALUE_MAX == (1u << VALUE_BITS) - 1u, "a value fills its field");

struct cell {
	uint32_t tag, value, tick;
};

static uint64_t pack(uint32_t tag, unsigned value, uint32_t tick)
{
	return (uint64_t)(tag & TAG_MASK) << (VALUE_BITS + TICK_BITS) |
	       (uint64_t)(value & LEDGER_VALUE_MAX) << TICK_BITS | (tick & TICK_MASK);
}

static struct cell unpack(uint64_t word)
{
	return (struct cell){.tag = (uint32_t)(word >> (VALUE_BITS + TICK_BITS)),
	    .value = (uint32_t)(word >> TICK_BITS) & LEDGER_VALUE_MAX,
	    .tick = (uint32_t)word & TICK_MASK};
}

uint32_t ledger_ticks(uint64_t msecs)
{
	return (uint32_t)(msecs / (1000u / LEDGER_TICKS_A_SECOND)) & TICK_MASK;
}

/* An entry of the future is nobody's: the time has come round, or somebody wrote what is not so. */
static bool age_of(const struct cell *cell, uint32_t tick, uint32_t *age_r)
{
	if (cell->value == 0 || cell->tick > tick + SKEW_TICKS)
		return false;
	*age_r = cell->tick < tick ? tick - cell->tick : 0;
	return true;
}

static unsigned points_left(const struct cell *cell, const struct ledger_rule *rule, uint32_t age)
{
	unsigned points = cell->value < rule->most ? cell->value : rule->most;
	uint32_t gone = age / rule->ticks_a_point;
	return gone < points ? points - gone : 0;
}

static _Atomic uint64_t *set_of(const struct ledger *ledger, struct ledger_key key)
{
	return ledger->cells + (key.set & (ledger->count / LEDGER_SET_COUNT - 1)) * LEDGER_SET_COUNT;
}

static uint64_t look(const _Atomic uint64_t *cell)
{
	return atomic_load_explicit(cell, memory_order_relaxed);
}

static bool swap(_Atomic uint64_t *cell, uint64_t before, uint64_t after)
{
	return atomic_compare_exchange_strong_explicit(
	    cell, &before, after, memory_order_relaxed, memory_order_relaxed);
}

/* The cell of a tag, and of a group when that is not 0; or LEDGER_SET_COUNT. */
static unsigned find(const uint64_t words[LEDGER_SET_COUNT], uint32_t tag, unsigned group)
{
	for (unsigned i = 0; i < LEDGER_SET_COUNT; i++) {
		struct cell cell = unpack(words[i]);
		if (cell.value != 0 && cell.tag == (tag & TAG_MASK) && (group == 0 || cell.value == group))
			return i;
	}
	return LEDGER_SET_COUNT;
}

static void copy(const _Atomic uint64_t *set, uint64_t words_r[LEDGER_SET_COUNT])
{
	for (unsigned i = 0; i < LEDGER_SET_COUNT; i++)
		words_r[i] = look(&set[i]);
}

/* The entry with the least left; of several, the oldest. */
static unsigned least(const uint64_t words[LEDGER_SET_COUNT], const struct ledger_rule *rule, uint32_t tick)
{
	unsigned best = 0, best_points = 0;
	uint32_t best_age = 0;
	for (unsigned i = 0; i < LEDGER_SET_COUNT; i++) {
		struct cell cell = unpack(words[i]);
		uint32_t age;
		if (!age_of(&cell, tick, &age))
			return i;
		unsigned points = points_left(&cell, rule, age);
		if (i == 0 || points < best_points || (points == best_points && age > best_age)) {
			best = i;
			best_points = points;
			best_age = age;
		}
	}
	return best;
}

struct ledger_score ledger_score(
    const struct ledger *ledger, struct ledger_key key, const struct ledger_rule *rule, uint32_t tick)
{
	uint64_t words[LEDGER_SET_COUNT];
	struct ledger_score score = {0, 0, 0};
	copy(set_of(ledger, key), words);
	unsigned i = find(words, key.tag, 0);
	if (i == LEDGER_SET_COUNT)
		return score;
	struct cell cell = unpack(words[i]);
	if (!age_of(&cell, tick, &score.age))
		return score;
	score.points = points_left(&cell, rule, score.age);
	score.written = points_left(&cell, rule, 0);
	return score;
}

unsigned ledger_add(const struct ledger *ledger, struct ledger_key key, const struct ledger_rule *rule,
    unsigned points, uint32_t tick)
{
	_Atomic uint64_t *set = set_of(ledger, key);
	uint64_t words[LEDGER_SET_COUNT];
	for (unsigned tries = 0; tries < TRIES_COUNT; tries++) {
		copy(set, words);
		unsigned value = points, i = find(words, key.tag, 0);
		uint32_t age;
		if (i != LEDGER_SET_COUNT) {
			struct cell cell = unpack(words[i]);
			if (age_of(&cell, tick, &age))
				value += points_left(&cell, rule, age);
		} else {
			i = least(words, rule, tick);
		}
		value = value < rule->most ? value : rule->most;
		if (swap(&set[i], words[i], pack(key.tag, value, tick)))
			return value;
	}
	return 0;
}

void ledger_forget(const struct ledger *ledger, struct ledger_key key)
{
	_Atomic uint64_t *set = set_of(ledger, key);
	uint64_t words[LEDGER_SET_COUNT];
	for (unsigned tries = 0; tries < TRIES_COUNT; tries++) {
		copy(set, words);
		unsigned i = find(words, key.tag, 0);
		if (i == LEDGER_SET_COUNT || swap(&set[i], words[i], 0))
			return;
	}
}

/* Where a new stamp goes: for a group that has its share, its oldest; else the oldest of all. */
static unsigned oldest(const uint64_t words[LEDGER_SET_COUNT], unsigned group, unsigned share, uint32_t tick)
{
	unsigned all = 0, own = 0, own_count = 0;
	uint32_t all_age = 0, own_age = 0;
	for (unsigned i = 0; i < LEDGER_SET_COUNT; i++) {
		struct cell cell = unpack(words[i]);
		uint32_t age = UINT32_MAX; /* a cell that is free is older than any entry */
		if (age_of(&cell, tick, &age) && cell.value == group && (own_count++ == 0 || age > own_age)) {
			own = i;
			own_age = age;
		}
		if (i == 0 || age > all_age) {
			all = i;
			all_age = age;
		}
	}
	return own_count >= share ? own : all;
}

void ledger_stamp(
    const struct ledger *ledger, struct ledger_key key, unsigned group, unsigned share, uint32_t tick)
{
	_Atomic uint64_t *set = set_of(ledger, key);
	uint64_t words[LEDGER_SET_COUNT];
	for (unsigned tries = 0; tries < TRIES_COUNT; tries++) {
		copy(set, words);
		unsigned i = find(words, key.tag, group);
		if (i == LEDGER_SET_COUNT)
			i = oldest(words, group, share, tick);
		if (swap(&set[i], words[i], pack(key.tag, group, tick)))
			return;
	}
}

bool ledger_stamped(
    const struct ledger *ledger, struct ledger_key key, unsigned group, uint32_t most_ticks, uint32_t tick)
{
	uint64_t words[LEDGER_SET_COUNT];
	uint32_t age;
	copy(set_of(ledger, key), words);
	unsigned i = find(words, key.tag, group);
	if (i == LEDGER_SET_COUNT)
		return false;
	struct cell cell = unpack(words[i]);
	return age_of(&cell, tick, &age) && age <= most_ticks;
}
