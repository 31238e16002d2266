/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "server/names.h"
#include "tests/server/config_text.h"

#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A250 A50 A50 A50 A50 A50

struct row {
	const char *sentence, *name, *want; /* NULL: nobody */
	size_t len;                         /* 0: strlen */
};

static void check(const char *text, const struct row *rows, size_t count)
{
	struct config *config = config_text(text);
	for (size_t i = 0; i < count; i++) {
		char user[LIMIT_USER_OCTETS + 1] = "?";
		const char *why = NULL;
		size_t len = rows[i].len != 0 ? rows[i].len : strlen(rows[i].name);
		int got = names_canonical(config, rows[i].name, len, user, &why);
		if (got != (rows[i].want != NULL ? 0 : -1) ||
		    strcmp(user, rows[i].want != NULL ? rows[i].want : "") != 0)
			fail_msg("%s: %s is '%s' (%s)", rows[i].sentence, rows[i].name, user,
			    why != NULL ? why : "");
		if (got != 0) {
			assert_non_null(why);
			continue;
		}
		/* Whoever looks at a name twice sees the same user. */
		if (!names_is_canonical(config, user))
			fail_msg("%s: %s is not its own name", rows[i].sentence, user);
	}
	config_free(&config);
}

#define CHECK(text, rows) check(text, rows, sizeof(rows) / sizeof((rows)[0]))

static void test_plain(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {"a name", "alice", "alice", 0},
	    {"case is kept", "Alice", "Alice", 0},
	    {"a domain stays", "alice@example.org", "alice@example.org", 0},
	    {"and so does its case", "alice@Example.org", "alice@Example.org", 0},
	    {"a plus is a letter", "alice+example.org", "alice+example.org", 0},
	    {"a dot behind the domain is one", "alice@example.org.", "alice@example.org.", 0},
	    {"a dot behind the name", "alice.", "alice.", 0},
	    {"the longest", A250 "aaaaa", A250 "aaaaa", 0},
	    {"one too long", A250 "aaaaaa", NULL, 0},
	    {"nothing", "", NULL, 0},
	    {"a variable of templates", "%u", NULL, 0},
	    {"a variable of the shell", "${x}", NULL, 0},
	    {"a way up", "..", NULL, 0},
	    {"a path", "a/b", NULL, 0},
	    {"a home", "~alice", NULL, 0},
	    {"two @ in a row", "alice@@example.org", NULL, 0},
	    {"two @", "alice@a@b", NULL, 0},
	    {"nothing before the @", "@example.org", NULL, 0},
	    {"nothing behind the @", "alice@", NULL, 0},
	    {"a NUL", "alice\0x", NULL, 7},
	    {"a line end", "alice\n", NULL, 0},
	    {"a space", "al ice", NULL, 0},
	    {"bad UTF-8", "alice\xff", NULL, 0},
	    {"UTF-8 that is longer than it need be", "al\xc1\xa9ice", NULL, 0},
	    {"a letter that is none of a name's", "\xc3\xa9ve", NULL, 0},
	    {"right-to-left override", "alice\xe2\x80\xae", NULL, 0},
	    {"RFC 4013: wide letters are letters", "\xef\xbd\x81lice", "alice", 0},
	    {"RFC 4013: a soft hyphen is nothing", "al\xc2\xadice", "alice", 0},
	    {"RFC 4013: a Roman numeral is its letters", "henry\xe2\x85\xa7", "henryVIII", 0},
	    {"RFC 4013: nothing but what is nothing", "\xc2\xad", NULL, 0},
	    {"a wide @ is an @",
		"alice\xef\xbc\xa0"
		"example.org",
		"alice@example.org", 0},
	    {"a wide slash is a slash",
		"a\xef\xbc\x8f"
		"b",
		NULL, 0},
	};
	CHECK("", rows);
}

/* RFC 6186 section 5: by the full address and by the local part. */
static void test_local_domains(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {"a bare name", "john", "john", 0},
	    {"the full address", "john@example.org", "john", 0},
	    {"by the host", "john@pop.example.org", "john", 0},
	    {"in any case", "john@EXAMPLE.Org", "john", 0},
	    {"with the plus for the host", "john+pop.example.org", "john", 0},
	    {"with the plus, in any case", "john+POP.example.org", "john", 0},
	    {"a plus before a domain that may not have it", "john+example.org", "john+example.org", 0},
	    {"a plus and an @", "john+pop.example.org@example.org", NULL, 0},
	    {"two pluses", "john+lists+pop.example.org", "john+lists", 0},
	    {"the host twice", "john+pop.example.org+pop.example.org", NULL, 0},
	    {"a plus and nobody", "+pop.example.org", NULL, 0},
	    {"a domain that is like it", "john@example.org.evil", "john@example.org.evil", 0},
	    {"a domain with a dot behind it is another", "john@example.org.", "john@example.org.", 0},
	    {"a name that begins with an @ once its domain is gone", "@example.org", NULL, 0},
	    {"a wide @ too",
		"john\xef\xbc\xa0"
		"example.org",
		"john", 0},
	};
	CHECK("local_domains = {'example.org', 'Pop.Example.org'} plus_hosts = {'pop.example.org'}\n", rows);
}

static void test_default_domain(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {"a bare name is in the default domain", "john", "john@a.example", 0},
	    {"the same in full", "john@a.example", "john@a.example", 0},
	    {"in capital letters", "john@A.EXAMPLE", "john@a.example", 0},
	    {"another domain is another user", "john@b.example", "john@b.example", 0},
	    {"a local domain is as if it were not there", "john@pop.a.example", "john@a.example", 0},
	    {"a plus", "john+b.example", "john@b.example", 0},
	    {"a plus before a local domain", "john+pop.a.example", "john@a.example", 0},
	    {"a plus twice", "john+b.example+b.example", "john+b.example@b.example", 0},
	    {"a domain of others", "john@c.example", NULL, 0},
	    {"case is kept before the @", "John", "John@a.example", 0},
	    {"too long with its domain", A250, NULL, 0},
	};
	CHECK("default_domain = 'A.example' domains = {'b.example'} local_domains = {'pop.a.example'}\n"
	      "plus_hosts = {'b.example', 'pop.a.example'}\n",
	    rows);
}

static void test_fold_case(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {"capitals", "ALICE", "alice", 0},
	    {"the domain too", "Alice@Other.Example", "alice@other.example", 0},
	    {"wide capitals", "\xef\xbc\xa1lice", "alice", 0},
	    {"only letters", "A-1_Z", "a-1_z", 0},
	};
	CHECK("fold_case = true\n", rows);
}

static void test_a_name_of_one_user_only(void **state)
{
	(void)state;
	struct config *config = config_text("local_domains = {'example.org'}\n");
	assert_true(names_is_canonical(config, "alice"));
	assert_false(names_is_canonical(config, "alice@example.org"));
	assert_false(names_is_canonical(config, "al ice"));
	assert_false(names_is_canonical(config, "\xef\xbd\x81lice"));
	assert_string_equal(names_domain(config, "EXAMPLE.ORGx", 11), "example.org");
	assert_null(names_domain(config, "example.or", 10));
	config_free(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_plain),
	    cmocka_unit_test(test_local_domains),
	    cmocka_unit_test(test_default_domain),
	    cmocka_unit_test(test_fold_case),
	    cmocka_unit_test(test_a_name_of_one_user_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
