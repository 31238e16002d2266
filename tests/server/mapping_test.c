/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "server/authorize.h"
#include "tests/server/config_text.h"

#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A255 A50 A50 A50 A50 A50 "aaaaa"

static int write_krb5_conf(void **state)
{
	static char name[] = "/tmp/mapping_test.XXXXXX";
	int fd = mkstemp(name);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	if (file == NULL)
		return -1;
	fputs("[libdefaults]\n default_realm = KPOPD.TEST\n"
	      "[realms]\n KPOPD.TEST = {\n"
	      "  auth_to_local = RULE:[2:$1@$2](^mail@[a-z]*$)s/^mail@//\n"
	      "  auth_to_local = RULE:[1:$1@$0](^up@PARENT.TEST$)s/.*/..up/\n"
	      "  auth_to_local = RULE:[1:$1@$0](.*@FRIEND.TEST)s/@.*/@friend.test/\n"
	      "  auth_to_local = DEFAULT\n }\n",
	    file);
	*state = name;
	return fclose(file) != 0 || setenv("KRB5_CONFIG", name, 1) != 0 ? -1 : 0;
}

static int remove_krb5_conf(void **state)
{
	return unlink(*state);
}

struct row {
	const char *sentence, *principal;
	const char *want; /* the user; NULL: nobody; "k5login" and perhaps ":USER" */
	const char *rule; /* NULL: none */
	const char *requested, *indicator, *mechanism;
	const char *from; /* the last octet of 192.0.2.x, or NULL: ::1 */
};

static struct peer peer_of(const char *last)
{
	struct peer peer = {.address = {[15] = 1}};
	if (last != NULL) {
		static const uint8_t net[] = {0xff, 0xff, 192, 0, 2};
		memcpy(peer.address + 10, net, sizeof net);
		peer.address[15] = (uint8_t)atoi(last);
	}
	return peer;
}

static void check_row(struct mapping *mapping, const struct row *row)
{
	const char *indicators[] = {row->indicator, NULL};
	struct peer peer = peer_of(row->from);
	struct circumstances circumstances = {
	    indicators, &peer, row->mechanism != NULL ? row->mechanism : "GSSAPI"};
	struct mapping_result result;
	char got[LIMIT_USER_OCTETS + 16];

	mapping_decide(mapping, row->principal, row->requested != NULL ? row->requested : "", &circumstances,
	    NULL, NULL, &result);
	snprintf(got, sizeof got, "%s%s%s", result.kind == MAPPING_K5LOGIN ? "k5login" : "",
	    result.kind == MAPPING_K5LOGIN && result.user[0] != '\0' ? ":" : "", result.user);
	if ((result.kind == MAPPING_REFUSED) != (row->want == NULL) ||
	    strcmp(got, row->want != NULL ? row->want : "") != 0)
		fail_msg("%s: %s is '%s': %s", row->sentence, row->principal, got, result.why);
	if ((result.rule == NULL) != (row->rule == NULL) ||
	    (row->rule != NULL && strcmp(result.rule->name, row->rule) != 0))
		fail_msg("%s: rule %s: %s", row->sentence, result.rule != NULL ? result.rule->name : "none",
		    result.why);
	assert_true(result.why[0] != '\0');
}

static void check(const char *text, const struct row *rows, size_t count)
{
	struct config *config = config_text(text);
	struct mapping *mapping = mapping_new(config);
	assert_non_null(mapping);
	for (size_t i = 0; i < count; i++)
		check_row(mapping, &rows[i]);
	mapping_free(&mapping);
	assert_null(mapping);
	config_free(&config);
}

#define CHECK(text, rows) check(text, rows, sizeof(rows) / sizeof((rows)[0]))
#define ROW(sentence, principal, want, ...)            \
	{                                              \
		sentence, principal, want, __VA_ARGS__ \
	}
#define REST NULL, NULL, NULL, NULL, NULL

static void test_no_maps(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    ROW("a user of our realm", "alice@KPOPD.TEST", "alice", REST),
	    ROW("without a realm it is nobody", "alice", NULL, REST),
	    ROW("case is kept", "ALICE@KPOPD.TEST", "ALICE", REST),
	    ROW("an instance is somebody else", "alice/admin@KPOPD.TEST", NULL, REST),
	    ROW("a quoted slash is no name of ours", "alice\\/admin@KPOPD.TEST", NULL, REST),
	    ROW("a quoted @ is none either", "alice\\@example.org@KPOPD.TEST", "alice@example.org", REST),
	    ROW("another realm", "alice@OTHER.TEST", NULL, REST),
	    ROW("our realm in small letters is another", "alice@kpopd.test", NULL, REST),
	    ROW("a realm that begins as ours", "alice@KPOPD.TEST.EVIL", NULL, REST),
	    ROW("a rule of the site", "mail/bob@KPOPD.TEST", "bob", REST),
	    ROW("a rule for another realm", "carol@FRIEND.TEST", "carol@friend.test", REST),
	    ROW("a rule that leads out", "up@PARENT.TEST", NULL, REST),
	    ROW("a NUL ends no name", "alice\\0x@KPOPD.TEST", NULL, REST),
	    ROW("a NUL ends no realm", "alice@KPOPD.TEST\\0X", NULL, REST),
	    ROW("a hidden name", ".alice@KPOPD.TEST", NULL, REST),
	    ROW("the parent", "..@KPOPD.TEST", NULL, REST),
	    ROW("a line end", "alice\\n@KPOPD.TEST", NULL, REST),
	    ROW("an empty name", "@KPOPD.TEST", NULL, REST),
	    ROW("an empty realm", "alice@", NULL, REST),
	    ROW("the longest", A255 "@KPOPD.TEST", A255, REST),
	    ROW("one too long", A255 "a@KPOPD.TEST", NULL, REST),
	    ROW("nonsense", "a@b@c", NULL, REST),
	    ROW("bad UTF-8", "al\xff@KPOPD.TEST", NULL, REST),
	    ROW("UTF-8 that is no user's", "j\xc3\xb6rg@KPOPD.TEST", NULL, REST),
	    ROW("somebody anonymous", "WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS", NULL, REST),
	};
	CHECK("", rows);
}

static void test_rules(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    ROW("exactly this one", "alice/admin@KPOPD.TEST", "alice", "admins", NULL, NULL, NULL, NULL),
	    ROW("not another instance", "alice/root@KPOPD.TEST", NULL, "no-instances", NULL, NULL, NULL,
		NULL),
	    ROW("not with a quoted slash, which the expression sees as it is written",
		"alice\\/admin@KPOPD.TEST", NULL, "no-instances", NULL, NULL, NULL, NULL),
	    ROW("a principal whose name has an @", "a\\@b@KPOPD.TEST", "ab", "quoted", NULL, NULL, NULL,
		NULL),
	    ROW("a principal of other letters", "j\xc3\xb6rg@KPOPD.TEST", "joerg", "letters", NULL, NULL,
		NULL, NULL),
	    ROW("a realm", "carol@STAFF.TEST", "carol", "staff", NULL, NULL, NULL, NULL),
	    ROW("a realm's instances are not by %n", "carol/admin@STAFF.TEST", NULL, "no-instances", NULL,
		NULL, NULL, NULL),
	    ROW("a realm like it", "carol@STAFF.TEST.EVIL", NULL, NULL, NULL, NULL, NULL, NULL),
	    ROW("a realm in other letters", "carol@staff.test", NULL, NULL, NULL, NULL, NULL, NULL),
	    ROW("a name that is none", "..@STAFF.TEST", NULL, "staff", NULL, NULL, NULL, NULL),
	    ROW("a name too long", A255 "a@STAFF.TEST", NULL, "staff", NULL, NULL, NULL, NULL),
	    ROW("a realm whose users are all one", "carol@SHARED.TEST", "shared", "shared", NULL, NULL, NULL,
		NULL),
	    ROW("no instance is one of them", "host/mail@SHARED.TEST", NULL, "no-instances", NULL, NULL, NULL,
		NULL),
	    ROW("but one that an expression names", "host/mx@C.TEST", "mx", "hosts", NULL, NULL, NULL, NULL),
	    ROW("realms told apart", "carol@B.TEST", "carol@b.test", "b", NULL, NULL, NULL, NULL),
	    ROW("and as they are", "carol@C.TEST", "carol=C.TEST", "c", NULL, NULL, NULL, NULL),
	    ROW("a regular expression", "robot.pop@KPOPD.TEST", "robot", "robots", NULL, NULL, NULL, NULL),
	    ROW("which must match all before", "xROBOT.pop@KPOPD.TEST", "xROBOT.pop", "others", NULL, NULL,
		NULL, NULL),
	    ROW("and all behind", "robot.pop@KPOPD.TEST.EVIL", NULL, NULL, NULL, NULL, NULL, NULL),
	    ROW("and whose dot is a dot", "robotxpop@KPOPD.TEST", "robotxpop", "others", NULL, NULL, NULL,
		NULL),
	    ROW("an alternative that matches less", "twin.b@KPOPD.TEST", "twin", "twins", NULL, NULL, NULL,
		NULL),
	    ROW("a NUL", "robot\\0.pop@KPOPD.TEST", NULL, NULL, NULL, NULL, NULL, NULL),
	    ROW("a realm denied", "carol@OLD.TEST", NULL, "old", NULL, NULL, NULL, NULL),
	    ROW("krb5.conf", "dave@KPOPD.TEST", "dave", "others", NULL, NULL, NULL, NULL),
	    ROW("a rule of krb5.conf's, before which an instance is denied", "mail/bob@KPOPD.TEST", NULL,
		"no-instances", NULL, NULL, NULL, NULL),
	    ROW("a rule of krb5.conf's for another realm", "carol@FRIEND.TEST", "carol@friend.test", "others",
		NULL, NULL, NULL, NULL),
	    ROW("a name from krb5.conf that is none", "up@PARENT.TEST", NULL, "others", NULL, NULL, NULL,
		NULL),
	    ROW("what nothing knows", "carol@OTHER.TEST", NULL, NULL, NULL, NULL, NULL, NULL),
	    ROW("somebody anonymous", "WELLKNOWN/ANONYMOUS@STAFF.TEST", NULL, NULL, NULL, NULL, NULL, NULL),
	};
	CHECK("map admins { principal = 'alice/admin@KPOPD.TEST' user = 'alice' }\n"
	      "map quoted { principal = 'a\\@b@KPOPD.TEST' user = 'ab' }\n"
	      "map letters { principal = 'j\xc3\xb6rg@KPOPD.TEST' user = 'joerg' }\n"
	      "map staff { realm = 'STAFF.TEST' user = '%n' }\n"
	      "map shared { realm = 'SHARED.TEST' user = 'shared' }\n"
	      "map hosts { regex = 'host/mx@.*' user = 'mx' }\n"
	      "map b { realm = 'B.TEST' user = '%n@%d' }\n"
	      "map c { realm = 'C.TEST' user = '%n=%r' }\n"
	      "map robots { regex = '([a-z]+)\\.pop@KPOPD\\.TEST' user = '\\1' }\n"
	      "map twins { regex = '(twin)(\\.|\\.b)@KPOPD\\.TEST' user = '\\1' }\n"
	      "map no-instances { regex = '[^/]+/[^/]*@.*' deny = true }\n"
	      "map old { realm = 'OLD.TEST' deny = true }\n"
	      "map others { auth_to_local = true }\n",
	    rows);
}

static void test_conditions(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    ROW("an indicator", "a@R", "otp", "i", NULL, "otp", NULL, NULL),
	    ROW("any of them", "a@R", "otp", "i", NULL, "pkinit", NULL, NULL),
	    ROW("no indicator", "a@R", "else", "e", NULL, NULL, NULL, NULL),
	    ROW("one that is like it", "a@R", "else", "e", NULL, "otp2", NULL, NULL),
	    ROW("an indicator in other letters", "a@R", "else", "e", NULL, "OTP", NULL, NULL),
	    ROW("an address of the network", "a@R", "near", "n", NULL, NULL, NULL, "7"),
	    ROW("one beside it", "a@R", "else", "e", NULL, NULL, NULL, "16"),
	    ROW("a mechanism", "a@R", "kpop", "m", NULL, NULL, "KPOP", NULL),
	    ROW("the first that applies", "a@R", "otp", "i", NULL, "otp", "KPOP", "7"),
	    ROW("several conditions, all met", "b@R", "b", "all", NULL, "otp", "KPOP", "7"),
	    ROW("one of them not: indicator", "b@R", NULL, NULL, NULL, "spake", "KPOP", "7"),
	    ROW("one of them not: mechanism", "b@R", NULL, NULL, NULL, "otp", "GSSAPI", "7"),
	    ROW("one of them not: network", "b@R", NULL, NULL, NULL, "otp", "KPOP", NULL),
	};
	CHECK("map i { principal = 'a@R' indicators = {'otp', 'pkinit'} user = 'otp' }\n"
	      "map n { principal = 'a@R' networks = {'192.0.2.0/28'} user = 'near' }\n"
	      "map m { principal = 'a@R' mechanisms = {'KPOP'} user = 'kpop' }\n"
	      "map e { principal = 'a@R' user = 'else' }\n"
	      "map all { principal = 'b@R' indicators = {'otp'} networks = {'192.0.2.0/28'}\n"
	      "          mechanisms = {'KPOP', 'GS2-KRB5'} user = 'b' }\n",
	    rows);
}

static void test_k5login(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    ROW("the user the client names", "carol@OTHER.TEST", "k5login:alice", "guests", "alice", NULL,
		NULL, NULL),
	    ROW("one of our own, who names nobody", "dave@KPOPD.TEST", "k5login:dave", "guests", NULL, NULL,
		NULL, NULL),
	    ROW("somebody else's, who names nobody", "carol@OTHER.TEST", "k5login", "guests", NULL, NULL,
		NULL, NULL),
	    ROW("a rule before it", "alice/admin@KPOPD.TEST", "alice", "admins", "bob", NULL, NULL, NULL),
	};
	CHECK("map admins { principal = 'alice/admin@KPOPD.TEST' user = 'alice' }\n"
	      "map guests { k5login = true }\n",
	    rows);
}

/* Folding names must not make one user of two principals. */
static void test_other_spellings(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    ROW("small letters", "alice@KPOPD.TEST", "alice", "all", NULL, NULL, NULL, NULL),
	    ROW("capital letters", "ALICE@KPOPD.TEST", NULL, "all", NULL, NULL, NULL, NULL),
	    ROW("a domain that is no part of names", "alice\\@example.org@KPOPD.TEST", NULL, NULL, NULL, NULL,
		NULL, NULL),
	    ROW("a domain that the realm may not speak for", "alice\\@example.net@KPOPD.TEST", NULL, NULL,
		NULL, NULL, NULL, NULL),
	    ROW("capital letters where all are one", "ALICE@AD.TEST", "alice", "any-case", NULL, NULL, NULL,
		NULL),
	    ROW("an instance where all letters are one", "ALICE/ADMIN@AD.TEST", NULL, NULL, NULL, NULL, NULL,
		NULL),
	};
	CHECK("fold_case = true local_domains = {'example.org'}\n"
	      "map all { realm = 'KPOPD.TEST' user = '%n' }\n"
	      "map any-case { realm = 'AD.TEST' user = '%l' }\n",
	    rows);
}

static void test_templates(void **state)
{
	(void)state;
	static const struct {
		const char *template;
		size_t groups;
		bool sound, fixed;
	} rows[] = {
	    {"alice", 0, true, true},
	    {"%n@%d", 0, true, false},
	    {"%r", 0, true, false},
	    {"%l", 0, true, false},
	    {"\\1", 1, true, false},
	    {"x\\2", 2, true, false},
	    {"\\2", 1, false, false},
	    {"\\0", 1, false, false},
	    {"\\", 1, false, false},
	    {"\\x", 1, false, false},
	    {"%", 0, false, false},
	    {"%u", 0, false, false},
	    {"%%n", 0, false, false},
	    {"", 0, false, true},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if ((mapping_template_fault(rows[i].template, rows[i].groups) == NULL) != rows[i].sound)
			fail_msg("'%s'", rows[i].template);
		assert_int_equal(mapping_template_fixed(rows[i].template), rows[i].fixed);
	}
}

/* ---- whose maildrop, after all ---- */

struct case_of_claim {
	const char *sentence;
	bool kerberos;
	const char *name, *requested;
	const char *want; /* NULL: refused; "?USER": to be asked */
	const char *by;   /* administrator, or NULL */
	const char *from; /* the last octet of 192.0.2.x, or NULL: ::1 */
	bool undecided;
};

static const struct case_of_claim claims[] = {
    {"himself", false, "alice", "", "alice", NULL, NULL, false},
    {"himself by name", false, "alice", "alice", "alice", NULL, NULL, false},
    {"himself by another spelling", false, "alice", "alice@example.org", "alice", NULL, NULL, false},
    {"somebody else", false, "alice", "bob", NULL, NULL, NULL, false},
    {"a name that cannot be", false, "alice", "../bob", NULL, NULL, NULL, false},
    {"a space is no wish for nobody", false, "alice", " ", NULL, NULL, NULL, false},
    {"the helpdesk", false, "helpdesk", "bob", "bob", "helpdesk", "7", false},
    {"the helpdesk, by another spelling", false, "helpdesk", "bob@example.org", "bob", "helpdesk", "7",
	false},
    {"the helpdesk itself", false, "helpdesk", "", "helpdesk", NULL, "7", false},
    {"the helpdesk from elsewhere", false, "helpdesk", "bob", NULL, NULL, "16", false},
    {"the helpdesk and one not of theirs", false, "helpdesk", "root", NULL, NULL, "7", false},
    {"a pattern", false, "students", "s1@uni.example", "s1@uni.example", "students", NULL, false},
    {"a pattern that ends earlier", false, "students", "s1@uni.example.org", NULL, NULL, NULL, false},
    {"a pattern of one letter", false, "students", "t9", "t9", "students", NULL, false},
    {"a pattern of one letter, and two", false, "students", "t99", NULL, NULL, NULL, false},
    {"a user who is called as an administrator in other letters", false, "HELPDESK", "bob", NULL, NULL, "7",
	false},
    {"a principal", true, "alice@KPOPD.TEST", "", "alice", NULL, NULL, false},
    {"a principal, by name", true, "alice@KPOPD.TEST", "alice@example.org", "alice", NULL, NULL, false},
    {"a principal who wants to be another", true, "alice@KPOPD.TEST", "bob", NULL, NULL, NULL, false},
    {"a principal of the helpdesk", true, "helpdesk@KPOPD.TEST", "bob", "bob", "helpdesk", "7", false},
    {"an instance is the administrator the map says", true, "alice/admin@KPOPD.TEST", "bob", "bob",
	"helpdesk", "7", false},
    {"a user named as the principal", false, "alice/admin@KPOPD.TEST", "", NULL, NULL, NULL, false},
    {"another realm", true, "carol@OTHER.TEST", "alice", "?alice", NULL, NULL, false},
    {"another realm that names nobody", true, "carol@OTHER.TEST", "", NULL, NULL, NULL, false},
    {"another realm that has named nobody yet", true, "carol@OTHER.TEST", "", "?", NULL, NULL, true},
};

static void test_claims(void **state)
{
	(void)state;
	struct config *config =
	    config_text("local_domains = {'example.org'}\n"
			"map admin { principal = 'alice/admin@KPOPD.TEST' user = 'helpdesk' }\n"
			"map own { auth_to_local = true }\n"
			"map guests { k5login = true }\n"
			"proxy far { administrators = {'helpdesk'} users = {'bob', 'carol'} networks = "
			"{'192.0.2.0/28'} }\n"
			"proxy uni { administrators = {'students'} users = {'*@uni.example', 't?'} }\n");
	struct mapping *mapping = mapping_new(config);
	assert_non_null(mapping);
	for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
		const struct case_of_claim *row = &claims[i];
		static const char *const none[] = {NULL};
		struct peer peer = peer_of(row->from);
		struct claim claim = {.kerberos = row->kerberos,
		    .name = row->name,
		    .requested = row->requested,
		    .undecided = row->undecided,
		    .indicators = none,
		    .peer = &peer,
		    .mechanism = row->kerberos ? "GSSAPI" : "PLAIN"};
		struct decision decision;
		char got[LIMIT_USER_OCTETS + 2];
		authorize(config, mapping, &claim, &decision);
		snprintf(got, sizeof got, "%s%s", decision.verdict == VERDICT_ASK ? "?" : "", decision.user);
		if ((decision.verdict == VERDICT_REFUSED) != (row->want == NULL) ||
		    strcmp(got, row->want != NULL ? row->want : "") != 0)
			fail_msg("%s: '%s' %s", row->sentence, got, decision.why);
		assert_string_equal(decision.administrator, row->by != NULL ? row->by : "");
		assert_int_equal(decision.proxy != NULL, row->by != NULL);
	}
	struct claim claim = {
	    .kerberos = true, .name = "alice@KPOPD.TEST", .requested = "", .mechanism = "KPOP"};
	struct decision decision;
	authorize(config, NULL, &claim, &decision);
	assert_int_equal(decision.verdict, VERDICT_REFUSED);
	mapping_free(&mapping);
	config_free(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_no_maps),
	    cmocka_unit_test(test_rules),
	    cmocka_unit_test(test_conditions),
	    cmocka_unit_test(test_k5login),
	    cmocka_unit_test(test_other_spellings),
	    cmocka_unit_test(test_templates),
	    cmocka_unit_test(test_claims),
	};
	return cmocka_run_group_tests(tests, write_krb5_conf, remove_krb5_conf);
}
