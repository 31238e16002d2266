/* SPDX-License-Identifier: ISC */
/* Which message gets which UIDL, and what speaks against it; names only, for content needs a store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/claims.h"
#include "tools/remote.h"

/* claims: "key=uidl" or "!" for a line that cannot be read, in the order of the old server. here:
 * "name=uidl". want, by claim: the place of its message, or what must be in the reason. */
static const struct {
	const char *sentence;
	const char *claims[5], *here[5], *want[5];
	size_t lonely;
} rows[] = {
    {"all in order", {"a=1", "b=2"}, {"a=a", "b=b"}, {"0", "1"}, 0},
    {"another order", {"b=2", "a=1"}, {"a=a", "b=b"}, {"1", "0"}, 0},
    {"a message that is not here", {"a=1", "x=2"}, {"a=a"}, {"0", "no such message"}, 0},
    {"a message without a claim", {"a=1"}, {"a=a", "b=b"}, {"0"}, 1},
    {"a UIDL twice", {"a=1", "b=1"}, {"a=a", "b=b"}, {"also that of 2", "also that of 1"}, 2},
    {"a UIDL twice, of messages that are not here", {"x=1", "y=1", "a=2"}, {"a=a"},
	{"no such", "no such", "0"}, 0},
    {"a UIDL of a message that goes elsewhere, too", {"a=1", "x=1"}, {"a=a"}, {"also that of 2", "no such"},
	1},
    {"a message twice", {"a=1", "a=2"}, {"a=a"}, {"0", "another line"}, 0},
    {"a name twice", {"a=1"}, {"a=a", "a=b"}, {"several messages"}, 2},
    {"a UIDL that another message has", {"a=b"}, {"a=a", "b=b"}, {"already that of another message here, b"},
	1},
    {"UIDLs that are exchanged", {"a=b", "b=a"}, {"a=a", "b=b"}, {"0", "1"}, 0},
    {"the UIDL it has", {"a=a"}, {"a=a"}, {"0"}, 0},
    {"a line that cannot be read", {"!", "a=1"}, {"a=a"}, {"unreadable", "0"}, 0},
    {"nothing here", {"a=1"}, {NULL}, {"no such"}, 0},
    {"no claims", {NULL}, {"a=a"}, {NULL}, 1},
};

static void gather(struct claims *claims, const char *const *texts)
{
	for (unsigned long line = 1; texts[line - 1] != NULL; line++) {
		const char *text = texts[line - 1], *equals = strchr(text, '=');
		struct source_item item = {.line = line, .order = line};

		if (equals == NULL) {
			strcpy(item.why, "unreadable");
		} else {
			memcpy(item.key, text, (size_t)(equals - text));
			strcpy(item.uidl, equals + 1);
		}
		claims_add(claims, &item);
	}
}

static void fill(struct side *side, const char *const *texts)
{
	for (; *texts != NULL; texts++) {
		char name[64] = "";
		const char *equals = strchr(*texts, '=');
		const struct side_message message = {.name = name, .uidl = (char *)(uintptr_t)(equals + 1)};

		memcpy(name, *texts, (size_t)(equals - *texts));
		assert_int_equal(side_append(side, &message), 0);
	}
}

static void claims_are_judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct claims claims = {0};
		struct side side = {0};

		gather(&claims, rows[i].claims);
		fill(&side, rows[i].here);
		claims_sort(&claims);
		assert_int_equal(claims_match(&claims, &side), 0);
		claims_judge(&claims, &side);
		assert_false(claims.failed);
		for (size_t c = 0; c < claims.count; c++) {
			const struct claim *claim = &claims.list[c];
			char place[16];

			snprintf(place, sizeof(place), "%u", (unsigned)claim->idx);
			if (claim->why != NULL ? strstr(claim->why, rows[i].want[c]) == NULL
					       : strcmp(place, rows[i].want[c]) != 0)
				fail_msg("%s: %zu: %s", rows[i].sentence, c + 1,
				    claim->why != NULL ? claim->why : place);
		}
		if (claims.lonely != rows[i].lonely)
			fail_msg("%s: %zu without a claim", rows[i].sentence, claims.lonely);
		claims_clear(&claims);
		side_close(&side);
	}
}

static void claims_come_in_the_old_order(void **state)
{
	struct claims claims = {0};
	static const uint64_t orders[] = {7, 3, 7, 1};

	(void)state;
	for (unsigned long i = 0; i < 4; i++) {
		const struct source_item item = {.line = i + 1, .order = orders[i], .key = "k", .uidl = "u"};
		claims_add(&claims, &item);
	}
	claims_sort(&claims);
	assert_int_equal(claims.list[0].line, 4);
	assert_int_equal(claims.list[1].line, 2);
	assert_int_equal(claims.list[2].line, 1);
	assert_int_equal(claims.list[3].line, 3);
	claims_clear(&claims);
}

static void answers_of_servers_are_cut(void **state)
{
	static const struct {
		const char *line;
		uint32_t number;
		const char *rest; /* NULL: it is none */
	} lines[] = {
	    {"1 abc", 1, "abc"},
	    {"17  abc def", 17, "abc def"},
	    {"2097152 x", 2097152, "x"},
	    {"1 ", 1, ""},
	    {"2097153 x", 0, NULL},
	    {"0 x", 0, NULL},
	    {"-1 x", 0, NULL},
	    {" 1 x", 0, NULL},
	    {"1x", 0, NULL},
	    {"1", 0, NULL},
	    {"", 0, NULL},
	    {"99999999999999999999999 x", 0, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char line[64], *rest;
		uint32_t number;

		strcpy(line, lines[i].line);
		bool got = remote_split(line, &number, &rest);
		if (got != (lines[i].rest != NULL) ||
		    (got && (number != lines[i].number || strcmp(rest, lines[i].rest) != 0)))
			fail_msg("%s", lines[i].line);
	}
}

static void addresses_are_checked(void **state)
{
	static const char *const sound[] = {"pop3://host", "pop3s://host:995", "POP3://[::1]:110/"};
	static const char *const unsound[] = {"", "host", "imap://host", "pop3://", "pop3:///",
	    "pop3://host/1", "pop3://user@host", "pop3://user:pw@host"};

	(void)state;
	for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++)
		if (remote_url_check(sound[i]) != NULL)
			fail_msg("%s", sound[i]);
	for (size_t i = 0; i < sizeof(unsound) / sizeof(unsound[0]); i++)
		if (remote_url_check(unsound[i]) == NULL)
			fail_msg("%s", unsound[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(claims_are_judged),
	    cmocka_unit_test(claims_come_in_the_old_order),
	    cmocka_unit_test(answers_of_servers_are_cut),
	    cmocka_unit_test(addresses_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
