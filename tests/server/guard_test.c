/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/guard.h"

static const struct penalty_rule rule = {.threshold = 3, .first_secs = 8, .most_secs = 64};
static struct network exempt_network = {{[10] = 0xff, [11] = 0xff, [12] = 127}, 96 + 8};
static const struct networks exempt = {&exempt_network, 1};
static char *domains[] = {"example.org", NULL}, *no_domains[] = {NULL};
static struct config config = {
    .local_domains = domains, .domains = no_domains, .plus_hosts = no_domains, .fold_case = true};
static const struct peer far = {{[10] = 0xff, [11] = 0xff, [12] = 192, 0, 2, 1}, 1},
			 near = {{[10] = 0xff, [11] = 0xff, [12] = 127, 0, 0, 1}, 1};
enum { NOW = 1000000 };

struct world {
	struct penalty *penalty;
	struct guard guard;
};

static void setup(struct world *world, unsigned checks)
{
	int fd = penalty_create();
	world->penalty = penalty_open(fd, &rule);
	assert_non_null(world->penalty);
	close(fd);
	world->guard = (struct guard){world->penalty, &exempt, checks, &config};
}

static enum guard_word say(struct guarded *g, const char *user, const char *password, uint64_t now)
{
	char text[64];
	int len = snprintf(text, sizeof text, "%s%c%s", user, '\0', password);
	return guard_hear(g, (const uint8_t *)text, (size_t)len, now);
}

/* An attempt with USER and PASS that is found wrong, if it is looked at. */
static enum guard_word guess(struct world *world, const struct peer *peer, unsigned number, uint64_t now)
{
	struct guarded g;
	char password[32];
	snprintf(password, sizeof password, "guess %u", number);
	guard_begin(&g, &world->guard, peer, "USER", true);
	enum guard_word word = say(&g, "alice", password, now);
	if (word == GUARD_PASS)
		guard_wrong(&g, now);
	guard_leave(&g, now);
	return word;
}

static void test_penalty(void **state)
{
	(void)state;
	struct world world;
	struct guarded g;
	setup(&world, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(guess(&world, &far, i, NOW), GUARD_PASS);
	assert_int_equal(guess(&world, &far, 9, NOW), GUARD_REFUSE);
	/* All who may guess are meant, each at the message that decides; a ticket is not. */
	static const struct {
		const char *mechanism, *first, *second;
		enum guard_word words[2];
	} rows[] = {{"SCRAM-SHA-256", "n,,n=bob,r=x", "c=biws,r=xy,p=AA", {GUARD_PASS, GUARD_REFUSE}},
	    {"LOGIN", "bob", "sesam", {GUARD_PASS, GUARD_REFUSE}},
	    {"CRAM-MD5", "bob 0123", "", {GUARD_REFUSE, GUARD_REFUSE}},
	    {"X-SITE", "bob", "", {GUARD_REFUSE, GUARD_REFUSE}},
	    {"GSSAPI", "token", "token", {GUARD_PASS, GUARD_PASS}},
	    {"KPOP", "token", "bob", {GUARD_PASS, GUARD_PASS}}};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *messages[] = {rows[i].first, rows[i].second};
		guard_begin(&g, &world.guard, &far, rows[i].mechanism, false);
		for (int n = 0; n < 2; n++)
			if (guard_hear(&g, (const uint8_t *)messages[n], strlen(messages[n]), NOW) !=
			    rows[i].words[n])
				fail_msg("%s: message %d", rows[i].mechanism, n + 1);
		guard_leave(&g, NOW);
	}
	/* A ticket that is refused does not count, one that is taken makes its user known. */
	for (int i = 0; i < 100; i++) {
		guard_begin(&g, &world.guard, &far, "GSSAPI", false);
		assert_int_equal(guard_hear(&g, (const uint8_t *)"token", 5, NOW), GUARD_PASS);
		guard_wrong(&g, NOW);
	}
	assert_int_equal(guess(&world, &far, 9, NOW + 8000), GUARD_PASS);
	assert_int_equal(guess(&world, &far, 10, NOW + 8000), GUARD_REFUSE);
	guard_begin(&g, &world.guard, &far, "GSSAPI", false);
	assert_int_equal(guard_hear(&g, (const uint8_t *)"token", 5, NOW), GUARD_PASS);
	guard_right(&g, "alice", NOW + 8000);
	assert_int_equal(guess(&world, &far, 11, NOW + 8000), GUARD_PASS);
	penalty_close(&world.penalty);
}

static void test_exempt(void **state)
{
	(void)state;
	struct world world;
	struct guarded g;
	setup(&world, 1);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(guess(&world, &near, i, NOW), GUARD_PASS);
	/* Nor does it wait for others from there. */
	struct guarded held[10];
	for (unsigned i = 0; i < 10; i++) {
		guard_begin(&held[i], &world.guard, &near, "USER", true);
		assert_int_equal(say(&held[i], "alice", "x", NOW), GUARD_PASS);
	}
	/* Without a table everything passes. */
	const struct guard none = {.penalty = NULL};
	for (unsigned i = 0; i < 200; i++) {
		guard_begin(&g, &none, &far, "USER", true);
		assert_int_equal(say(&g, "alice", "x", NOW), GUARD_PASS);
		guard_wrong(&g, NOW);
	}
	penalty_close(&world.penalty);
}

static void test_turns(void **state)
{
	(void)state;
	struct world world;
	struct guarded g[64], other;
	setup(&world, 2);
	for (unsigned i = 0; i < 64; i++)
		guard_begin(&g[i], &world.guard, &far, "USER", true);
	assert_int_equal(say(&g[0], "a", "x", NOW), GUARD_PASS);
	assert_int_equal(say(&g[1], "b", "x", NOW), GUARD_PASS);
	for (unsigned i = 2; i < 34; i++)
		assert_int_equal(say(&g[i], "c", "x", NOW), GUARD_WAIT);
	assert_int_equal(say(&g[34], "d", "x", NOW), GUARD_FULL);
	assert_int_equal(guard_again(&g[2], NOW + 10), GUARD_WAIT);
	/* What costs nothing does not wait, nor does another source. */
	guard_begin(&other, &world.guard, &far, "CRAM-MD5", false);
	assert_int_equal(guard_hear(&other, (const uint8_t *)"e 0123", 6, NOW), GUARD_PASS);
	/* Who was right makes room at once, and the one who waited leaves his place to another. */
	guard_right(&g[0], "a", NOW + 20);
	assert_int_equal(guard_again(&g[3], NOW + 20), GUARD_PASS);
	assert_int_equal(guard_again(&g[2], NOW + 20), GUARD_WAIT);
	assert_int_equal(say(&g[35], "d", "x", NOW + 20), GUARD_WAIT);
	/* Who was wrong makes room when he has rested four times as long as he took. */
	guard_wrong(&g[1], NOW + 30);
	guard_leave(&g[1], NOW + 30);
	assert_int_equal(guard_again(&g[2], NOW + 149), GUARD_WAIT);
	assert_int_equal(guard_again(&g[2], NOW + 150), GUARD_PASS);
	/* Who goes away while he waits, or while he is checked, leaves room too. */
	guard_leave(&g[2], NOW + 160);
	guard_leave(&g[4], NOW + 160);
	assert_int_equal(guard_again(&g[5], NOW + 160), GUARD_PASS);
	/* But not while somebody else goes on checking for him. */
	guard_abandon(&g[5], NOW + 5000, NOW + 170);
	guard_leave(&g[5], NOW + 170);
	guard_leave(&g[3], NOW + 170);
	assert_int_equal(guard_again(&g[7], NOW + 170), GUARD_PASS);
	assert_int_equal(guard_again(&g[6], NOW + 4999), GUARD_WAIT);
	assert_int_equal(guard_again(&g[8], NOW + 5000), GUARD_PASS);
	/* Nobody waits for ever. */
	assert_int_equal(guard_again(&g[6], NOW + 29999), GUARD_WAIT);
	assert_int_equal(guard_again(&g[6], NOW + 30000), GUARD_FULL);
	for (unsigned i = 0; i < 64; i++)
		guard_leave(&g[i], NOW + 30000);
	penalty_close(&world.penalty);
}

/* From addresses side by side, so that only the user can be what they have in common. */
static void spell(const char *const spellings[3], const char *fourth)
{
	struct world world;
	struct guarded g;
	struct peer peer = far;
	setup(&world, 0);
	for (size_t i = 0; i < 3; i++) {
		peer.address[15] = (uint8_t)(10 + i);
		guard_begin(&g, &world.guard, &peer, "USER", true);
		assert_int_equal(say(&g, spellings[i], i == 0 ? "1" : i == 1 ? "2" : "3", NOW), GUARD_PASS);
		guard_wrong(&g, NOW);
	}
	peer.address[15] = 99;
	guard_begin(&g, &world.guard, &peer, "USER", true);
	assert_int_equal(say(&g, fourth, "4", NOW), GUARD_REFUSE);
	guard_begin(&g, &world.guard, &peer, "USER", true);
	assert_int_equal(say(&g, "alice@example.net", "4", NOW), GUARD_PASS);
	guard_leave(&g, NOW);
	penalty_close(&world.penalty);
}

static void test_spelling(void **state)
{
	(void)state;
	spell((const char *const[]){"alice", "ALICE", "alice@example.org"}, "Alice@EXAMPLE.ORG");
	/* Where capitals are another user here, they may be none to who checks the password. */
	config.fold_case = false;
	spell((const char *const[]){"alice", "ALICE", "aLICE@example.org"}, "Alice@EXAMPLE.ORG");
	config.fold_case = true;
}

/* While somebody waits, others from there fail: what he has said is then not looked at. */
static void test_penalty_while_waiting(void **state)
{
	(void)state;
	struct world world;
	struct guarded first, waiting;
	setup(&world, 1);
	guard_begin(&first, &world.guard, &far, "USER", true);
	guard_begin(&waiting, &world.guard, &far, "USER", true);
	assert_int_equal(say(&first, "a", "1", NOW), GUARD_PASS);
	assert_int_equal(say(&waiting, "b", "2", NOW), GUARD_WAIT);
	guard_wrong(&first, NOW);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(guess(&world, &far, i, NOW), GUARD_PASS);
	assert_int_equal(guard_again(&waiting, NOW + 10), GUARD_REFUSE);
	penalty_close(&world.penalty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_penalty), cmocka_unit_test(test_exempt),
	    cmocka_unit_test(test_turns), cmocka_unit_test(test_spelling),
	    cmocka_unit_test(test_penalty_while_waiting)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
