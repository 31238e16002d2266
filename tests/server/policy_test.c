/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/policy.h"
#include "tests/server/config_text.h"

#define ALL "login_delay_secs = 60 expire_days = 30 quota_octets = 2K quota_messages = 7\n"
#define STUDENTS "class students { users = {'*@s.example'} login_delay_secs = 300 expire_days = never }\n"
#define STAFF "class staff { users = {'?ob', 'c*', 'x@s.example'} quota_octets = 0 quota_messages = 9 }\n"

static void test_of(void **state)
{
	static const struct {
		const char *sentence, *config, *user;
		struct policy want;
	} rows[] = {
	    {"nothing is said", "", "alice", {0, POLICY_NEVER, 0, 0}},
	    {"for all", ALL, "alice", {60, 30, 2048, 7}},
	    {"of no class", ALL STUDENTS, "alice", {60, 30, 2048, 7}},
	    {"of a class, which says two things", ALL STUDENTS, "alice@s.example",
		{300, POLICY_NEVER, 2048, 7}},
	    {"of a class, which says two others", ALL STAFF, "carol", {60, 30, 0, 9}},
	    {"by a pattern of one octet", ALL STAFF, "bob", {60, 30, 0, 9}},
	    {"not by a longer name", ALL STAFF, "bobby", {60, 30, 2048, 7}},
	    {"of two classes: the first holds", ALL STUDENTS STAFF, "x@s.example",
		{300, POLICY_NEVER, 2048, 7}},
	    {"of two classes, the other way round", ALL STAFF STUDENTS, "x@s.example", {60, 30, 0, 9}},
	    {"a class says it without the file", STUDENTS, "y@s.example", {300, POLICY_NEVER, 0, 0}},
	    {"patterns care for case", ALL STAFF, "Carol", {60, 30, 2048, 7}},
	    {"everybody", "class c { users = {'*'} expire_days = 0 }\n" ALL, "z", {60, 0, 2048, 7}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct config *config = config_text(rows[i].config);
		struct policy got;
		policy_of(config, rows[i].user, &got);
		if (got.login_delay_secs != rows[i].want.login_delay_secs ||
		    got.expire_days != rows[i].want.expire_days ||
		    got.quota_octets != rows[i].want.quota_octets ||
		    got.quota_messages != rows[i].want.quota_messages)
			fail_msg("%s: %u s, %u days, %llu octets, %llu messages", rows[i].sentence,
			    got.login_delay_secs, got.expire_days, (unsigned long long)got.quota_octets,
			    (unsigned long long)got.quota_messages);
		config_free(&config);
	}
}

static void test_extremes(void **state)
{
	static const struct {
		const char *sentence, *config;
		struct policy_extremes want;
	} rows[] = {
	    {"nothing is said", "", {0, POLICY_NEVER, false, false}},
	    {"for all", ALL, {60, 30, false, false}},
	    {"a class waits longer and keeps for ever", ALL STUDENTS, {300, 30, true, true}},
	    {"a class with other things only", ALL STAFF, {60, 30, false, false}},
	    {"only a class waits", STUDENTS, {300, POLICY_NEVER, true, false}},
	    {"a class that need not wait",
		"login_delay_secs = 5\nclass c { users = {a} login_delay_secs = 0 }\n",
		{5, POLICY_NEVER, true, false}},
	    {"only a class expires", "class c { users = {a} expire_days = 0 }\n", {0, 0, false, true}},
	    {"a class has everybody: the file has nobody left",
		ALL "class c { users = {'*'} expire_days = 90 }\n", {60, 90, false, false}},
	    {"two classes have everybody", ALL STUDENTS "class c { users = {'**'} login_delay_secs = 10 }\n",
		{300, 30, true, true}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct config *config = config_text(rows[i].config);
		struct policy_extremes got;
		policy_extremes(config, &got);
		if (got.login_delay_secs != rows[i].want.login_delay_secs ||
		    got.expire_days != rows[i].want.expire_days ||
		    got.login_delay_differs != rows[i].want.login_delay_differs ||
		    got.expire_differs != rows[i].want.expire_differs)
			fail_msg("%s: %u s %d, %u days %d", rows[i].sentence, got.login_delay_secs,
			    got.login_delay_differs, got.expire_days, got.expire_differs);
		config_free(&config);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_of),
	    cmocka_unit_test(test_extremes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
