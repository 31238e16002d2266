/* SPDX-License-Identifier: ISC */
/* Passwords that are checked in several places, of which only the secrets are ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

#define ELSEWHERE_PASSWORD "known elsewhere"

static struct world world;

/* How a client that knows user and password shows them. */
static enum saslx_outcome show(struct saslx *server, const char *how, const char *user, const char *password)
{
	char message[256];
	int len = snprintf(message, sizeof(message), "%c%s%c%s", 0, user, 0, password);

	if (strcmp(how, "USER") == 0)
		return saslx_password(server, user, password, strlen(password));
	if (strcmp(how, "PLAIN at once") == 0)
		return saslx_start(server, "PLAIN", message, (size_t)len);
	if (saslx_start(server, how, NULL, 0) != SASLX_MORE)
		return SASLX_ERROR;
	if (strcmp(how, "PLAIN") == 0)
		return saslx_step(server, message, (size_t)len);
	if (saslx_step(server, user, strlen(user)) != SASLX_MORE)
		return SASLX_ERROR;
	return saslx_step(server, password, strlen(password));
}

/* The sources are asked in their order: "before", "secrets", "behind". What they say: r(ight), w(rong),
 * u(navailable), and - where they must not be asked. */
static const struct {
	const char *sentence, *user, *password, *says;
	enum saslx_outcome want;
} rows[] = {
    {"the first knows it", "alice", ELSEWHERE_PASSWORD, "r-", SASLX_DONE},
    {"the first does not, our secrets do", "alice", ALICE_PASSWORD, "w-", SASLX_DONE},
    {"only the last does", "alice", ELSEWHERE_PASSWORD, "wr", SASLX_DONE},
    {"nobody does", "alice", "x", "ww", SASLX_REFUSED},
    {"the first is away, our secrets know it", "alice", ALICE_PASSWORD, "u-", SASLX_DONE},
    {"the first is away, the last knows it", "alice", ELSEWHERE_PASSWORD, "ur", SASLX_DONE},
    {"the first is away, nobody else knows it", "alice", "x", "uw", SASLX_ERROR},
    {"the last is away", "alice", "x", "wu", SASLX_ERROR},
    {"a user who is not in our secrets", "carol", ELSEWHERE_PASSWORD, "wr", SASLX_DONE},
    {"a name that cannot be a user's is asked of nobody", "../x", "x", "--", SASLX_REFUSED},
};

static enum saslx_verdict verdict(char says)
{
	return says == 'r' ? SASLX_RIGHT : says == 'w' ? SASLX_WRONG : SASLX_UNAVAILABLE;
}

static void sources_are_asked_in_their_order(void **state)
{
	static const char *const hows[] = {"USER", "PLAIN at once", "PLAIN", "LOGIN"};
	static const char *const sources[] = {"before", "behind"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) * 4; i++) {
		const char *how = hows[i % 4], *sentence = rows[i / 4].sentence, *says = rows[i / 4].says;
		struct saslx *server = saslx_new(&(struct saslx_connection){.tls = true});
		enum saslx_outcome outcome = show(server, how, rows[i / 4].user, rows[i / 4].password);
		size_t asked = 0;

		for (; outcome == SASLX_ASK && asked < 2; asked++) {
			const struct saslx_question *question = saslx_question(server);

			assert_string_equal(question->source, sources[asked]);
			assert_string_equal(question->user, rows[i / 4].user);
			assert_string_equal(question->password_secret, rows[i / 4].password);
			if (says[asked] == '-')
				fail_msg("%s, %s: %s was asked", how, sentence, question->source);
			outcome = saslx_answer(server, verdict(says[asked]));
		}
		if (outcome != rows[i / 4].want || asked != strcspn(says, "-"))
			fail_msg("%s, %s: %d after %zu: %s", how, sentence, (int)outcome, asked,
			    saslx_why(server));
		if (outcome == SASLX_DONE)
			assert_string_equal(world_user(server), rows[i / 4].user);
		else
			assert_string_equal(world_user(server), "");
		assert_int_equal(saslx_answer(server, SASLX_RIGHT), SASLX_ERROR);
		saslx_free(&server);
	}
}

static void an_answer_to_no_question_is_an_error(void **state)
{
	struct saslx *server = saslx_new(&(struct saslx_connection){.tls = true});

	(void)state;
	assert_int_equal(saslx_answer(server, SASLX_RIGHT), SASLX_ERROR);
	assert_string_equal(world_user(server), "");
	saslx_free(&server);
}

static void a_client_may_go_while_it_is_asked_about(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		struct saslx *server = saslx_new(&(struct saslx_connection){.tls = true});

		assert_int_equal(show(server, "LOGIN", "alice", "x"), SASLX_ASK);
		saslx_free(&server);
	}
}

static int setup(void **state)
{
	static const char *const mechanisms[] = {"PLAIN", "LOGIN", NULL};
	static const char *const passwords[] = {"before", "secrets", "behind", NULL};

	(void)state;
	world_passwords = passwords;
	return world_start(&world, mechanisms, NULL, NULL);
}

static int teardown(void **state)
{
	(void)state;
	world_stop(&world);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sources_are_asked_in_their_order),
	    cmocka_unit_test(an_answer_to_no_question_is_an_error),
	    cmocka_unit_test(a_client_may_go_while_it_is_asked_about),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
