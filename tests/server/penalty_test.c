/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/ledger.h"
#include "server/penalty.h"

/* Threshold 3, 8 s at first, 64 s at most: as long as that a failure is remembered. */
static const struct penalty_rule rule = {.threshold = 3, .first_secs = 8, .most_secs = 64};

#define HOUR_SECS 3600u
#define DAY_SECS (24u * HOUR_SECS)
#define START_SECS 1000u

static struct penalty *fresh(const struct penalty_rule *with)
{
	int fd = penalty_create();
	assert_true(fd >= 0);
	struct penalty *penalty = penalty_open(fd, with);
	assert_non_null(penalty);
	close(fd);
	return penalty;
}

struct place {
	uint8_t address[16];
};

static struct place place_of(const char *text)
{
	struct place place = {{[10] = 0xff, [11] = 0xff}};
	if (inet_pton(AF_INET, text, place.address + 12) != 1)
		assert_int_equal(inet_pton(AF_INET6, text, place.address), 1);
	return place;
}

static struct penalty_who who_of(const struct place *place, const char *user)
{
	return (struct penalty_who){place->address, user, strlen(user)};
}

static struct penalty_news fail_with(
    struct penalty *penalty, const struct penalty_who *who, const void *secret, size_t len, uint64_t now)
{
	uint8_t hash[PENALTY_SECRET_OCTETS];
	if (secret != NULL)
		penalty_secret_hash(penalty, secret, len, hash);
	return penalty_failed(penalty, who, secret != NULL ? hash : NULL, now);
}

/* ---- rows of what happens, one after the other ---- */

enum deed {
	END = 0,
	FAILS,      /* times different wrong secrets */
	FAILS_SAME, /* times the same wrong secret */
	FAILS_DARK, /* times, without a secret to be seen */
	SUCCEEDS,
	FREE,    /* is checked, and answered at once */
	REFUSED, /* is not checked for so many seconds more */
	DELAYED, /* is checked, and answered so many milliseconds late */
};

struct step {
	uint32_t secs; /* after the beginning */
	enum deed deed;
	const char *from, *user;
	unsigned number; /* times, seconds, milliseconds */
};

static bool take(struct penalty *penalty, const struct step *step, unsigned *serial)
{
	const uint64_t now = (uint64_t)(START_SECS + step->secs) * 1000;
	struct place place = place_of(step->from);
	struct penalty_who who = who_of(&place, step->user);
	struct penalty_advice advice = penalty_ask(penalty, &who, now);
	char secret[32] = "always the same";
	switch (step->deed) {
	case FAILS:
	case FAILS_SAME:
	case FAILS_DARK:
		for (unsigned i = 0; i < step->number; i++) {
			if (step->deed == FAILS)
				snprintf(secret, sizeof secret, "guess %u", (*serial)++);
			fail_with(
			    penalty, &who, step->deed == FAILS_DARK ? NULL : secret, strlen(secret), now);
		}
		return true;
	case SUCCEEDS:
		penalty_succeeded(penalty, &who, now);
		return true;
	case FREE:
		return advice.refuse_msecs == 0 && advice.delay_msecs == 0;
	case REFUSED:
		return advice.refuse_msecs == step->number * 1000ull;
	case DELAYED:
		return advice.refuse_msecs == 0 && advice.delay_msecs == step->number;
	case END:
		break;
	}
	return false;
}

static const struct {
	const char *sentence;
	struct step steps[12];
} rows[] = {
    {"nobody is refused who has not failed", {{0, FREE, "192.0.2.1", "alice", 0}}},
    {"a source may fail below the threshold",
	{{0, FAILS, "192.0.2.1", "alice", 2}, {0, FREE, "192.0.2.1", "alice", 0}}},
    {"at the threshold nothing is checked for the first time",
	{{0, FAILS, "192.0.2.1", "alice", 3}, {0, REFUSED, "192.0.2.1", "alice", 8},
	    {3, REFUSED, "192.0.2.1", "alice", 5}, {8, FREE, "192.0.2.1", "alice", 0}}},
    {"whoever he says he is, or if he has not said yet",
	{{0, FAILS, "192.0.2.1", "alice", 3}, {0, REFUSED, "192.0.2.1", "bob", 8},
	    {0, REFUSED, "192.0.2.1", "", 8}}},
    {"a neighbour is not meant", {{0, FAILS, "192.0.2.1", "alice", 3}, {0, FREE, "192.0.2.2", "bob", 0}}},
    {"each failure more doubles the time, up to the longest",
	{{0, FAILS, "192.0.2.1", "alice", 4}, {0, REFUSED, "192.0.2.1", "alice", 16},
	    {0, FAILS, "192.0.2.1", "alice", 1}, {0, REFUSED, "192.0.2.1", "alice", 32},
	    {0, FAILS, "192.0.2.1", "alice", 1}, {0, REFUSED, "192.0.2.1", "alice", 64},
	    {0, FAILS, "192.0.2.1", "alice", 50}, {0, REFUSED, "192.0.2.1", "alice", 64},
	    {64, FREE, "192.0.2.1", "alice", 0}}},
    {"an attempt while it lasts does not make it longer: nothing was checked",
	{{0, FAILS, "192.0.2.1", "alice", 3}, {7, REFUSED, "192.0.2.1", "alice", 1},
	    {8, FREE, "192.0.2.1", "alice", 0}, {8, FAILS, "192.0.2.1", "alice", 1},
	    {8, REFUSED, "192.0.2.1", "alice", 16}}},
    {"a failure is forgotten in the longest time",
	{{0, FAILS, "192.0.2.1", "alice", 2}, {64, FAILS, "192.0.2.1", "alice", 1},
	    {64, FREE, "192.0.2.1", "alice", 0}, {64, FAILS, "192.0.2.1", "alice", 1},
	    {64, REFUSED, "192.0.2.1", "alice", 8}}},
    {"however often he failed, all is forgotten in time",
	{{0, FAILS, "192.0.2.1", "alice", 500}, {7 * 64, FAILS, "192.0.2.1", "bob", 2},
	    {7 * 64, FREE, "192.0.2.1", "bob", 0}}},
    {"the same wrong secret is one failure",
	{{0, FAILS_SAME, "192.0.2.1", "alice", 300}, {0, FREE, "192.0.2.1", "alice", 0},
	    {DAY_SECS, FAILS_SAME, "192.0.2.1", "alice", 300}, {DAY_SECS, FREE, "192.0.2.1", "alice", 0},
	    {DAY_SECS, FAILS, "192.0.2.1", "alice", 2}, {DAY_SECS, FREE, "192.0.2.1", "alice", 0},
	    {DAY_SECS, FAILS, "192.0.2.1", "alice", 1}, {DAY_SECS, REFUSED, "192.0.2.1", "alice", 8}}},
    {"but for another user it is another",
	{{0, FAILS_SAME, "192.0.2.1", "a", 1}, {0, FAILS_SAME, "192.0.2.1", "b", 1},
	    {0, FAILS_SAME, "192.0.2.1", "c", 1}, {0, REFUSED, "192.0.2.1", "a", 8}}},
    {"and from another network", {{0, FAILS_SAME, "192.0.2.1", "a", 1}, {0, FAILS, "192.0.3.1", "a", 2},
				     {0, FREE, "192.0.3.1", "a", 0}, {0, FAILS_SAME, "192.0.3.1", "a", 1},
				     {0, REFUSED, "192.0.3.1", "a", 8}}},
    {"what does not show its secret counts half",
	{{0, FAILS_DARK, "192.0.2.1", "alice", 5}, {0, FREE, "192.0.2.1", "alice", 0},
	    {0, FAILS_DARK, "192.0.2.1", "alice", 1}, {0, REFUSED, "192.0.2.1", "alice", 8}}},
    {"one user guessed at from addresses side by side",
	{{0, FAILS, "192.0.2.1", "alice", 1}, {0, FAILS, "192.0.2.2", "alice", 1},
	    {0, FAILS, "192.0.2.3", "alice", 1}, {0, REFUSED, "192.0.2.4", "alice", 8},
	    {0, FREE, "192.0.2.4", "bob", 0}, {0, FREE, "192.0.3.4", "alice", 0}}},
    {"of IPv6 all of a /64 is one source",
	{{0, FAILS, "2001:db8::1", "a", 1}, {0, FAILS, "2001:db8::ffff:0:0:1", "b", 1},
	    {0, FAILS, "2001:db8::5", "c", 1}, {0, REFUSED, "2001:db8::9:9", "d", 8},
	    {0, FREE, "2001:db8:0:1::1", "d", 0}}},
    {"and a /48 at eight times the threshold",
	{{0, FAILS, "2001:db8:0:1::1", "a", 12}, {0, FAILS, "2001:db8:0:2::1", "b", 11},
	    {0, FREE, "2001:db8:0:3::1", "c", 0}, {0, FAILS, "2001:db8:0:2::1", "b", 1},
	    {0, REFUSED, "2001:db8:0:3::1", "c", 8}, {0, FREE, "2001:db8:1:3::1", "c", 0}}},
    {"who has logged in from there is checked, whatever others do",
	{{0, SUCCEEDS, "192.0.2.1", "alice", 0}, {0, FAILS, "192.0.2.1", "bob", 50},
	    {0, FREE, "192.0.2.1", "alice", 0}, {0, REFUSED, "192.0.2.1", "bob", 64},
	    {0, FREE, "192.0.2.77", "alice", 0}, {0, FREE, "192.0.3.1", "alice", 0}}},
    {"also when others guess at his name elsewhere",
	{{0, SUCCEEDS, "192.0.2.1", "alice", 0}, {1, FAILS, "198.51.100.1", "alice", 500},
	    {1, FREE, "192.0.2.1", "alice", 0}, {1, REFUSED, "198.51.100.1", "alice", 64},
	    {1, DELAYED, "203.0.113.1", "alice", 15000}}},
    {"for thirty days",
	{{0, SUCCEEDS, "192.0.2.1", "alice", 0}, {30 * DAY_SECS, FAILS, "192.0.2.1", "bob", 3},
	    {30 * DAY_SECS, FREE, "192.0.2.1", "alice", 0},
	    {30 * DAY_SECS + 1, REFUSED, "192.0.2.1", "alice", 7}}},
    {"which each login begins anew",
	{{0, SUCCEEDS, "192.0.2.1", "alice", 0}, {20 * DAY_SECS, SUCCEEDS, "192.0.2.1", "alice", 0},
	    {40 * DAY_SECS, FAILS, "192.0.2.1", "bob", 3}, {40 * DAY_SECS, FREE, "192.0.2.1", "alice", 0}}},
    {"a known user's own failures count for nobody else there",
	{{0, SUCCEEDS, "192.0.2.1", "alice", 0}, {0, FAILS, "192.0.2.1", "alice", 11},
	    {0, FREE, "192.0.2.1", "alice", 0}, {0, FREE, "192.0.2.1", "bob", 0},
	    {0, FREE, "198.51.100.1", "alice", 0}}},
    {"they slow him down at four times the threshold, more with each, and never keep him out",
	{{0, SUCCEEDS, "192.0.2.1", "alice", 0}, {0, FAILS, "192.0.2.1", "alice", 12},
	    {0, DELAYED, "192.0.2.1", "alice", 250}, {0, FAILS, "192.0.2.1", "alice", 1},
	    {0, DELAYED, "192.0.2.1", "alice", 500}, {0, FAILS, "192.0.2.1", "alice", 500},
	    {0, DELAYED, "192.0.2.1", "alice", 15000}, {0, SUCCEEDS, "192.0.2.1", "alice", 0},
	    {0, FREE, "192.0.2.1", "alice", 0}}},
    {"a login forgives a user's failures at that network, not the source's",
	{{0, FAILS, "192.0.2.1", "alice", 3}, {9, SUCCEEDS, "192.0.2.1", "alice", 0},
	    {9, FAILS, "192.0.2.1", "bob", 1}, {9, REFUSED, "192.0.2.1", "bob", 16},
	    {9, FREE, "192.0.2.1", "alice", 0}}},
    {"a user guessed at from everywhere is slowed where he is not known, and not refused",
	{{0, FAILS, "192.0.2.1", "alice", 24}, {0, FAILS, "198.51.100.1", "alice", 24},
	    {0, FREE, "203.0.113.1", "alice", 0}, {0, FAILS, "192.0.2.1", "alice", 1},
	    {0, DELAYED, "203.0.113.1", "alice", 100}, {0, FAILS, "192.0.2.1", "alice", 9},
	    {0, DELAYED, "203.0.113.1", "alice", 1000}, {0, FREE, "203.0.113.1", "bob", 0},
	    {40, DELAYED, "203.0.113.1", "alice", 0}}},
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct penalty *penalty = fresh(&rule);
		unsigned serial = 0;
		for (size_t n = 0; n < 12 && rows[i].steps[n].deed != END; n++)
			if (!take(penalty, &rows[i].steps[n], &serial))
				fail_msg("%s: step %zu is not so", rows[i].sentence, n + 1);
		penalty_close(&penalty);
	}
}

/* ---- news ---- */

static void test_news(void **state)
{
	(void)state;
	static const unsigned want[] = {0, 0, 8, 16, 32, 64, 64};
	struct penalty *penalty = fresh(&rule);
	struct place v4 = place_of("192.0.2.1"), v6 = place_of("2001:db8::1");
	struct penalty_who alice = who_of(&v4, "alice"), there = who_of(&v6, "alice");
	for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		struct penalty_news news = fail_with(penalty, &alice, &i, sizeof i, 1000);
		assert_int_equal(news.source_secs, want[i]);
		assert_int_equal(news.pair_secs, want[i]);
		assert_int_equal(news.site_secs, 0);
		assert_int_equal(news.user_delay_msecs, 0);
		news = fail_with(penalty, &alice, &i, sizeof i, 1000);
		assert_int_equal(news.source_secs, 0); /* the same again is no news */
	}
	unsigned said = 0, last = 0, sites = 0;
	for (unsigned i = 100; i < 400; i++) {
		struct penalty_news news = fail_with(penalty, &there, &i, sizeof i, 1000);
		said += news.user_delay_msecs != 0;
		last = news.user_delay_msecs != 0 ? news.user_delay_msecs : last;
		sites += news.site_secs != 0;
	}
	assert_int_equal(said, 8); /* 0.1 s, 0.2 s, 0.4 s … 12.8 s */
	assert_int_equal(last, 12800);
	assert_true(sites > 200);
	penalty_close(&penalty);
}

static void test_off(void **state)
{
	(void)state;
	const struct penalty_rule off = {.threshold = 0, .first_secs = 8, .most_secs = 64};
	struct penalty *penalty = fresh(&off);
	unsigned serial = 0;
	const struct step fails = {0, FAILS, "192.0.2.1", "alice", 1000},
			  none = {0, FREE, "192.0.2.1", "alice", 0};
	assert_true(take(penalty, &fails, &serial));
	assert_true(take(penalty, &none, &serial));
	penalty_close(&penalty);
}

/* The extremes that a configuration may give. */
static void test_extremes(void **state)
{
	(void)state;
	static const struct penalty_rule extremes[] = {
	    {1, 1, 1}, {1, 1, 86400}, {1, 3600, 60}, {20, 1, 1}, {PENALTY_THRESHOLD_MOST, 3600, 86400}};
	for (size_t i = 0; i < sizeof(extremes) / sizeof(extremes[0]); i++) {
		struct penalty *penalty = fresh(&extremes[i]);
		unsigned serial = 0, most = extremes[i].most_secs;
		const struct step below = {0, FAILS, "192.0.2.1", "alice", extremes[i].threshold - 1},
				  none = {0, FREE, "192.0.2.1", "alice", 0},
				  more = {0, FAILS, "192.0.2.1", "alice", 2000},
				  refused = {0, REFUSED, "192.0.2.1", "alice", most},
				  late = {most, FREE, "192.0.2.1", "bob", 0};
		assert_true(take(penalty, &below, &serial));
		assert_true(take(penalty, &none, &serial));
		assert_true(take(penalty, &more, &serial));
		assert_true(take(penalty, &refused, &serial));
		assert_true(take(penalty, &late, &serial));
		penalty_close(&penalty);
	}
}

/* ---- what nobody can do ---- */

static void test_flood(void **state)
{
	(void)state;
	struct penalty *penalty = fresh(&rule);
	struct place home = place_of("192.0.2.1"), far = place_of("10.0.0.0"), net = place_of("2001:db8::");
	struct penalty_who alice = who_of(&home, "alice"), guest = who_of(&far, "alice"),
			   mallory = who_of(&net, "mallory");
	penalty_succeeded(penalty, &alice, 1000);
	for (unsigned i = 0; i < 5; i++)
		fail_with(penalty, &(struct penalty_who){home.address, "bob", 3}, &i, sizeof i, 1000);
	/* Three hundred thousand addresses, and one good account that is used from as many networks. */
	for (unsigned i = 0; i < 300000; i++) {
		uint32_t number = htonl(0x0a000000u + i);
		memcpy(far.address + 12, &number, 4);
		memcpy(net.address + 4, &number, 4);
		fail_with(penalty, &guest, &i, sizeof i, 2000);
		penalty_succeeded(penalty, &mallory, 2000);
	}
	struct penalty_advice advice = penalty_ask(penalty, &alice, 3000);
	assert_true(advice.known);
	assert_int_equal(advice.refuse_msecs, 0);
	assert_int_equal(advice.delay_msecs, 0);
	/* Whoever has done worse is not forgotten over those who failed once. */
	advice = penalty_ask(penalty, &(struct penalty_who){home.address, "bob", 3}, 3000);
	assert_int_equal(advice.refuse_msecs, 30000);
	penalty_close(&penalty);
}

static void test_own_share(void **state)
{
	(void)state;
	/* One set only, so that all users share it: nobody's stamps push out more than his own. */
	static _Atomic uint64_t cells[LEDGER_SET_COUNT];
	const struct ledger one = {cells, LEDGER_SET_COUNT};
	for (uint32_t user = 1; user <= 2; user++)
		for (uint32_t n = 0; n < 6; n++)
			ledger_stamp(&one, (struct ledger_key){0, user * 100 + n}, user, 6, 10 + n);
	for (uint32_t n = 0; n < 1000; n++)
		ledger_stamp(&one, (struct ledger_key){0, 5000 + n}, 3, 4, 100 + n);
	for (uint32_t user = 1; user <= 2; user++)
		for (uint32_t n = 0; n < 6; n++)
			assert_true(
			    ledger_stamped(&one, (struct ledger_key){0, user * 100 + n}, user, 100000, 2000));
	for (uint32_t n = 0; n < 1000; n++)
		assert_int_equal(
		    ledger_stamped(&one, (struct ledger_key){0, 5000 + n}, 3, 100000, 2000), n >= 996);
	/* A new user takes the oldest entry of all. */
	ledger_stamp(&one, (struct ledger_key){0, 9999}, 4, 4, 2000);
	assert_false(ledger_stamped(&one, (struct ledger_key){0, 100}, 1, 100000, 2000));
	assert_true(ledger_stamped(&one, (struct ledger_key){0, 9999}, 4, 100000, 2000));
}

/* Another process that shares the table writes what it likes: nothing but what an entry may say comes of it.
 */
static void test_garbage(void **state)
{
	(void)state;
	int fd = penalty_create(), other = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	struct stat st;
	assert_true(other >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	struct penalty *penalty = penalty_open(fd, &rule);
	uint8_t *all = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(all, MAP_FAILED);
	for (int round = 0; round < 3; round++) {
		for (off_t at = 0; at < st.st_size;) {
			ssize_t got = read(other, all + at, (size_t)(st.st_size - at));
			assert_true(got > 0);
			at += got;
		}
		for (unsigned i = 0; i < 20000; i++) {
			char user[16];
			struct place place = place_of("192.0.2.1");
			memcpy(place.address + 12, &i, 4);
			snprintf(user, sizeof user, "u%u", i);
			struct penalty_who who = who_of(&place, user);
			struct penalty_advice advice = penalty_ask(penalty, &who, 1u << 20);
			assert_true(advice.refuse_msecs <= 64000 && advice.delay_msecs <= 15000);
			struct penalty_news news = fail_with(penalty, &who, &i, sizeof i, 1u << 20);
			assert_true(news.source_secs <= 64 && news.pair_secs <= 64);
			struct turn turn;
			if (penalty_turn_take(
				penalty, place.address, PENALTY_TURN_CHECK, 2, 1000, 1u << 20, &turn))
				penalty_turn_give(penalty, &turn, 0, 1u << 20);
		}
	}
	/* Nor does it take memory away from under them. */
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, st.st_size * 2), -1);
	munmap(all, (size_t)st.st_size);
	close(other);
	close(fd);
	penalty_close(&penalty);
}

/* ---- many processes ---- */

static void guess(int fd, unsigned self)
{
	struct penalty *penalty = penalty_open(fd, &rule);
	if (penalty == NULL)
		_exit(1);
	for (unsigned i = 0;; i++) {
		struct place place = place_of("10.0.0.0");
		unsigned number = i * 16 + self;
		struct turn turn;
		char user[16];
		memcpy(place.address + 12, &number, 4);
		snprintf(user, sizeof user, "u%u", i % 500);
		struct penalty_who who = who_of(&place, user);
		penalty_ask(penalty, &who, 5000);
		fail_with(penalty, &who, &number, sizeof number, 5000);
		if (i % 7 == 0)
			penalty_succeeded(penalty, &who, 5000);
		if (penalty_turn_take(penalty, place.address, PENALTY_TURN_CHECK, 2, 1000, 5000, &turn))
			penalty_turn_give(penalty, &turn, 0, 5000);
	}
}

/* Killed or stopped at any moment, they leave the others what they need. */
static void test_kill(void **state)
{
	(void)state;
	int fd = penalty_create();
	struct penalty *penalty = penalty_open(fd, &rule);
	pid_t stopped = fork();
	if (stopped == 0)
		guess(fd, 15);
	struct place home = place_of("192.0.2.1"), other = place_of("198.51.100.1");
	struct penalty_who alice = who_of(&home, "alice"), bob = who_of(&other, "bob");
	penalty_succeeded(penalty, &alice, 4000);
	for (unsigned i = 0; i < 6; i++)
		fail_with(penalty, &bob, &i, sizeof i, 4000);
	for (unsigned round = 0; round < 60; round++) {
		pid_t child = fork();
		if (child == 0)
			guess(fd, round % 15);
		/* Not a wait for something to happen: an arbitrary moment. */
		usleep(1000 + round * 137 % 3000);
		if (round == 5)
			kill(stopped, SIGSTOP);
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
		assert_true(penalty_ask(penalty, &alice, 5000).known);
		assert_int_equal(penalty_ask(penalty, &bob, 5000).refuse_msecs, 63000);
	}
	kill(stopped, SIGKILL);
	waitpid(stopped, NULL, 0);
	close(fd);
	penalty_close(&penalty);
}

/* All that several processes add to one entry is counted. */
static void test_together(void **state)
{
	(void)state;
	enum { PROCESSES_COUNT = 4, EACH_COUNT = 200 };
	_Atomic uint64_t *cells = mmap(NULL, LEDGER_SET_COUNT * sizeof *cells, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(cells, MAP_FAILED);
	const struct ledger ledger = {cells, LEDGER_SET_COUNT};
	const struct ledger_rule all = {.ticks_a_point = 1000, .most = LEDGER_VALUE_MAX};
	for (int i = 0; i < PROCESSES_COUNT; i++)
		if (fork() == 0) {
			for (int n = 0; n < EACH_COUNT; n++)
				ledger_add(&ledger, (struct ledger_key){0, 7}, &all, 1, 50);
			_exit(0);
		}
	for (int i = 0; i < PROCESSES_COUNT; i++)
		wait(NULL);
	struct ledger_score score = ledger_score(&ledger, (struct ledger_key){0, 7}, &all, 50);
	assert_int_equal(score.points, PROCESSES_COUNT * EACH_COUNT);
	munmap(cells, LEDGER_SET_COUNT * sizeof *cells);
}

/* ---- turns ---- */

static void test_turns(void **state)
{
	(void)state;
	struct penalty *penalty = fresh(&rule);
	struct place one = place_of("192.0.2.1"), two = place_of("192.0.2.2"), v6 = place_of("2001:db8::1"),
		     near = place_of("2001:db8::2");
	struct turn a, b, c, d;
	assert_true(penalty_turn_take(penalty, one.address, PENALTY_TURN_CHECK, 2, 5000, 1000, &a));
	assert_true(penalty_turn_take(penalty, one.address, PENALTY_TURN_CHECK, 2, 5000, 1000, &b));
	assert_false(penalty_turn_take(penalty, one.address, PENALTY_TURN_CHECK, 2, 5000, 1000, &c));
	assert_true(penalty_turn_take(penalty, two.address, PENALTY_TURN_CHECK, 2, 5000, 1000, &c));
	penalty_turn_give(penalty, &c, 0, 1000);
	/* Given back, there is one again; and only once. */
	penalty_turn_give(penalty, &a, 0, 1001);
	penalty_turn_give(penalty, &a, 0, 1001);
	assert_true(penalty_turn_take(penalty, one.address, PENALTY_TURN_CHECK, 2, 5000, 1001, &a));
	assert_false(penalty_turn_take(penalty, one.address, PENALTY_TURN_CHECK, 2, 5000, 1001, &c));
	/* Kept for a while. */
	penalty_turn_give(penalty, &a, 1100, 1002);
	assert_false(penalty_turn_take(penalty, one.address, PENALTY_TURN_CHECK, 2, 5000, 1099, &c));
	assert_true(penalty_turn_take(penalty, one.address, PENALTY_TURN_CHECK, 2, 5000, 1100, &a));
	/* Whoever took it may be dead: it ends by itself. */
	assert_false(penalty_turn_take(penalty, one.address, PENALTY_TURN_CHECK, 2, 5000, 5999, &c));
	assert_true(penalty_turn_take(penalty, one.address, PENALTY_TURN_CHECK, 2, 5000, 6000, &c));
	/* And what its holder says then does not end another's. */
	penalty_turn_give(penalty, &b, 0, 6001);
	assert_false(penalty_turn_take(penalty, one.address, PENALTY_TURN_CHECK, 2, 5000, 6002, &d));
	/* Of IPv6 a /64 is one source; 0 is no limit. */
	assert_true(penalty_turn_take(penalty, v6.address, PENALTY_TURN_CHECK, 1, 5000, 1000, &a));
	assert_false(penalty_turn_take(penalty, near.address, PENALTY_TURN_CHECK, 1, 5000, 1000, &b));
	/* To wait is another thing than to check. */
	assert_true(penalty_turn_take(penalty, near.address, PENALTY_TURN_WAIT, 1, 5000, 1000, &b));
	assert_false(penalty_turn_take(penalty, near.address, PENALTY_TURN_WAIT, 1, 5000, 1000, &c));
	for (int i = 0; i < 100; i++)
		assert_true(penalty_turn_take(penalty, v6.address, PENALTY_TURN_CHECK, 0, 5000, 1000, &b));
	/* One user's files are one thing, wherever the question comes from. */
	assert_true(penalty_turn_take_user(penalty, "alice", 1, 5000, 1000, &a));
	assert_false(penalty_turn_take_user(penalty, "alice", 1, 5000, 1000, &c));
	assert_true(penalty_turn_take_user(penalty, "bob", 1, 5000, 1000, &c));
	penalty_turn_give(penalty, &a, 0, 1000);
	assert_true(penalty_turn_take_user(penalty, "alice", 1, 5000, 1000, &a));
	penalty_close(&penalty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_news),
	    cmocka_unit_test(test_off), cmocka_unit_test(test_extremes), cmocka_unit_test(test_flood),
	    cmocka_unit_test(test_own_share), cmocka_unit_test(test_garbage), cmocka_unit_test(test_kill),
	    cmocka_unit_test(test_together), cmocka_unit_test(test_turns)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
