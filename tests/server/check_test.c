/* SPDX-License-Identifier: ISC */
/* The messages between auth and checker: what one end says the other reads, and nothing else passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "server/check.h"

static int door[2];

static int setup(void **state)
{
	(void)state;
	return msg_pair(door);
}

static int teardown(void **state)
{
	(void)state;
	close(door[0]);
	close(door[1]);
	return 0;
}

/* What the checker finds at its door. */
static int take(uint8_t *room, size_t size, struct msg *msg_r)
{
	return msg_recv(door[1], MSG_AT_CHECKER_DOOR, room, size, msg_r);
}

static void test_every_octet_arrives(void **state)
{
	(void)state;
	uint8_t room[LIMIT_MSG_OCTETS];
	struct check asked = {.session = 0x0123456789abcdef, .kind = CHECK_K5LOGIN};
	struct check got;
	struct msg msg;
	int answer;

	for (unsigned len = 1; len <= LIMIT_CHECK_OCTETS; len += 341) {
		memset(asked.user, 'u', LIMIT_USER_OCTETS);
		for (unsigned i = 0; i < len; i++)
			asked.secret[i] = (char)(1 + (i + len) % 255);
		asked.secret[len] = '\0';
		assert_int_equal(check_ask(door[0], &asked, &answer), MSG_OK);
		assert_int_equal(take(room, sizeof room, &msg), MSG_OK);
		assert_true(check_read(&msg, &got));
		assert_true(got.session == asked.session && got.kind == asked.kind);
		assert_string_equal(got.user, asked.user);
		assert_string_equal(got.secret, asked.secret);
		close(answer);
		close(msg.fd);
	}
}

static void test_answers(void **state)
{
	(void)state;
	struct check_result said = {.verdict = CHECK_RIGHT, .principal = "al\\/ice\303\244@KPOPD.TEST"},
			    heard;
	int pair[2];

	memset(said.why, 'w', LIMIT_CHECK_WHY_OCTETS);
	said.why[3] = '\n';
	assert_int_equal(msg_pair(pair), 0);
	assert_int_equal(check_hear(pair[0], &heard), MSG_AGAIN);
	check_answer(pair[1], &said);
	assert_int_equal(check_hear(pair[0], &heard), MSG_OK);
	assert_int_equal(heard.verdict, CHECK_RIGHT);
	assert_string_equal(heard.principal, said.principal); /* octet by octet: it decides */
	assert_true(strlen(heard.why) == LIMIT_CHECK_WHY_OCTETS && heard.why[3] == '?'); /* for the log */
	/* The longest, too. */
	memset(said.principal, 'p', sizeof said.principal - 1);
	check_answer(pair[1], &said);
	assert_int_equal(check_hear(pair[0], &heard), MSG_OK);
	assert_string_equal(heard.principal, said.principal);
	close(pair[1]);
	assert_int_equal(check_hear(pair[0], &heard), MSG_EOF);
	assert_int_equal(heard.verdict, CHECK_UNAVAILABLE);
	close(pair[0]);
}

struct row {
	const char *sentence;
	const char *body;
	size_t len;
};

#define BODY(text) (text), sizeof(text) - 1
#define SESSION "\1\2\3\4\5\6\7\10"
/* Numbers are in the order of the machine; these are read alike by all of ours. */
#define LEN(octet) octet "\0"

static const struct row questions[] = {
    {"a kind that there is not", BODY(SESSION "\3" LEN("\1") "us")},
    {"no user", BODY(SESSION "\0" LEN("\0") "secret")},
    {"no secret", BODY(SESSION "\0" LEN("\6") "secret")},
    {"a user longer than the message", BODY(SESSION "\0" LEN("\7") "secret")},
    {"a NUL in the user", BODY(SESSION "\0" LEN("\3") "u\0usecret")},
    {"a NUL in the secret", BODY(SESSION "\0" LEN("\1") "use\0cret")},
};

static void test_questions_out_of_order(void **state)
{
	(void)state;
	uint8_t room[LIMIT_MSG_OCTETS];
	struct check got;
	struct msg msg;

	for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
		assert_int_equal(
		    msg_send(door[0], MSG_AUTH_CHECK, questions[i].body, questions[i].len, STDIN_FILENO),
		    MSG_OK);
		assert_int_equal(take(room, sizeof room, &msg), MSG_OK);
		if (check_read(&msg, &got))
			fail_msg("%s", questions[i].sentence);
		close(msg.fd);
	}
}

static const struct row answers[] = {
    {"a verdict that there is not", BODY("\5\0\0why")},
    {"a principal longer than the message", BODY("\1" LEN("\4") "why")},
    {"a NUL in the principal", BODY("\1" LEN("\3") "w\0y")},
};

static void test_answers_out_of_order(void **state)
{
	(void)state;
	struct check_result heard;
	uint8_t longest[3 + KPOP_PRINCIPAL_OCTETS + LIMIT_CHECK_WHY_OCTETS] = {CHECK_RIGHT};
	int pair[2];

	assert_int_equal(msg_pair(pair), 0);
	for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		assert_int_equal(
		    msg_send(pair[1], MSG_CHECK_ANSWER, answers[i].body, answers[i].len, -1), MSG_OK);
		if (check_hear(pair[0], &heard) != MSG_BAD || heard.verdict == CHECK_RIGHT)
			fail_msg("%s", answers[i].sentence);
	}
	/* A reason longer than there is room for, and a principal, too. */
	assert_int_equal(msg_send(pair[1], MSG_CHECK_ANSWER, longest, sizeof longest, -1), MSG_OK);
	assert_int_equal(check_hear(pair[0], &heard), MSG_BAD);
	memset(longest + 1, 0xff, sizeof longest - 1);
	assert_int_equal(msg_send(pair[1], MSG_CHECK_ANSWER, longest, sizeof longest, -1), MSG_OK);
	assert_int_equal(check_hear(pair[0], &heard), MSG_BAD);
	close(pair[0]);
	close(pair[1]);
}

/* Nobody reads: those who ask are told at once, and lose nothing. */
static void test_full_door(void **state)
{
	(void)state;
	struct check asked = {.user = "user", .secret = "secret"};
	int fds[4096], count = 0, answer, got;

	while ((got = check_ask(door[0], &asked, &answer)) == MSG_OK && count < 4096)
		fds[count++] = answer;
	assert_true(count > 0 && count < 4096);
	assert_int_equal(got, MSG_AGAIN);
	for (int i = 0; i < count; i++)
		close(fds[i]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_every_octet_arrives, setup, teardown),
	    cmocka_unit_test(test_answers),
	    cmocka_unit_test_setup_teardown(test_questions_out_of_order, setup, teardown),
	    cmocka_unit_test(test_answers_out_of_order),
	    cmocka_unit_test_setup_teardown(test_full_door, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
