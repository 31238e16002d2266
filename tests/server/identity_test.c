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

#include "server/identity.h"

#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A255 A50 A50 A50 A50 A50 "aaaaa"

static void test_user_valid(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *name;
		size_t len; /* 0: strlen */
		bool want;
	} rows[] = {
	    {"a name", "alice", 0, true},
	    {"one letter", "a", 0, true},
	    {"all that is allowed", "Al.ice_+-=9@Example.org", 0, true},
	    {"the longest", A255, 0, true},
	    {"one too long", A255 "a", 0, false},
	    {"nothing", "", 0, false},
	    {"a hidden file", ".alice", 0, false},
	    {"an option", "-alice", 0, false},
	    {"nothing before the @", "@example.org", 0, false},
	    {"nothing after the @", "alice@", 0, false},
	    {"two @", "a@b@c", 0, false},
	    {"two @ in a row", "a@@c", 0, false},
	    {"the directory", ".", 0, false},
	    {"its parent", "..", 0, false},
	    {"two dots inside", "a..b", 0, false},
	    {"two dots at the end", "a..", 0, false},
	    {"one dot at the end", "a.", 0, true},
	    {"a path", "a/b", 0, false},
	    {"a way out", "a/../ab", 0, false},
	    {"a variable of the template", "%u", 0, false},
	    {"a variable of a shell", "${x}", 0, false},
	    {"a home", "~alice", 0, false},
	    {"an encoded slash", "a%2fb", 0, false},
	    {"a NUL inside", "a\0b", 3, false},
	    {"a NUL at the end", "a\0", 2, false},
	    {"a space", "a b", 0, false},
	    {"a line end", "a\r\nb", 0, false},
	    {"a colon", "a:b", 0, false},
	    {"UTF-8", "\xc3\xa9ve", 0, false},
	    {"bad UTF-8", "\xff\xfe", 0, false},
	    {"right-to-left override",
		"a\xe2\x80\xae"
		"b",
		0, false},
	    {"a format", "%n%s%99999d", 0, false},
	    {"a quoted instance", "alice\\/admin", 0, false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = rows[i].len != 0 ? rows[i].len : strlen(rows[i].name);
		if (identity_user_valid(rows[i].name, len) != rows[i].want)
			fail_msg("%s", rows[i].sentence);
	}
	/* The name is taken at its length, wherever it stands. */
	assert_true(identity_user_valid("alice/..", 5));
}

static void test_maildir(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *template, *user, *want; /* NULL: -1 */
	} rows[] = {
	    {"the name", "%u/Maildir", "alice", "alice/Maildir"},
	    {"the whole name", "%u", "alice@example.org", "alice@example.org"},
	    {"domain and name", "%d/%n", "alice@example.org", "example.org/alice"},
	    {"no domain", "%d/%n/mail", "alice", "default/alice/mail"},
	    {"nobody may take the place of those without a domain", "%d/%n", "alice@default", NULL},
	    {"text round it", "mail-%u.d/box", "alice", "mail-alice.d/box"},
	    {"a domain that is a directory of its own kind", "%d/%n", "alice@.", NULL},
	    {"the longest", "%u", A255, A255},
	    {"a component too long", "x%u", A255, NULL},
	    {"twice", "%u/%u", "bob", "bob/bob"},
	    {"absolute", "/%u", "alice", NULL},
	    {"empty", "", "alice", NULL},
	    {"up", "../%u", "alice", NULL},
	    {"up behind it", "%u/..", "alice", NULL},
	    {"an empty component", "%u//Maildir", "alice", NULL},
	    {"a slash at the end", "%u/", "alice", NULL},
	    {"an unknown variable", "%x/Maildir", "alice", NULL},
	    {"the home", "%h/Maildir", "alice", "Maildir"},
	    {"the home, and the name in it", "%h/mail/%u", "alice", "mail/alice"},
	    {"the home itself", "%h/", "alice", NULL},
	    {"the home without a slash", "%h", "alice", NULL},
	    {"the home, elsewhere than first", "x/%h/Maildir", "alice", NULL},
	    {"the home twice", "%h/%h/Maildir", "alice", NULL},
	    {"out of the home", "%h/../bob/Maildir", "alice", NULL},
	    {"out of the home by its root", "%h//etc", "alice", NULL},
	    {"a lonely percent", "%u%", "alice", NULL},
	};
	char path[PATH_MAX];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int got = identity_maildir(rows[i].template, rows[i].user, path);
		if (got != (rows[i].want != NULL ? 0 : -1) || (got == 0 && strcmp(path, rows[i].want) != 0))
			fail_msg("%s: %d %s", rows[i].sentence, got, got == 0 ? path : "");
	}
}

static void test_maildir_length(void **state)
{
	(void)state;
	char template[PATH_MAX + 8] = "%u";
	char path[PATH_MAX];

	/* PATH_MAX counts the NUL: 4095 octets of path fit, 4096 do not. */
	while (strlen(template) + 2 < PATH_MAX - 3)
		strcat(template, "/a");
	for (int i = 0; i < 6; i++) {
		char user[8] = "abcdef";
		user[i + 1] = '\0';
		size_t whole = strlen(template) - 2 + strlen(user);
		assert_int_equal(identity_maildir(template, user, path), whole < PATH_MAX ? 0 : -1);
	}
}

static void test_template_valid(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *template;
		bool want;
	} rows[] = {
	    {"the default", "%u/Maildir", true},
	    {"a home", "%h/Maildir", true},
	    {"a home and nothing else", "%h", false},
	    {"what is above a home", "%h/..", false},
	    {"name only", "%u", true},
	    {"hashed by domain", "%d/%n/Maildir", true},
	    {"domain, then the whole name", "%d/%u", true},
	    {"one mailbox for all", "Maildir", false},
	    {"alice of every domain", "%n/Maildir", false},
	    {"everybody of a domain", "%d/Maildir", false},
	    {"names that run together", "%n-%d", false},
	    {"names that run together elsewhere", "%d/%n%d", false},
	    {"names that run together, but the whole is there", "%n%d/%u", true},
	    {"absolute", "/var/mail/%u", false},
	    {"up", "../%u", false},
	    {"empty", "", false},
	    {"unknown", "%u/%x", false},
	    {"a line end", "%u\n", false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (identity_template_valid(rows[i].template) != rows[i].want)
			fail_msg("%s", rows[i].sentence);
}

static void test_own(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *template, *path;
		bool spool;
		const char *want;
	} rows[] = {
	    {"the first folder is the user's", "%u/Maildir", "alice/Maildir", false, "alice"},
	    {"the folder is the user's", "%n", "alice", false, "alice"},
	    {"a name within a name", "mail-%u/in", "mail-alice/in", false, "mail-alice"},
	    {"a folder of the domain is everybody's", "%d/%n/Maildir", "default/alice/Maildir", false,
		"default/alice"},
	    {"a folder of a fixed name is everybody's", "a/b/%u", "a/b/alice", false, "a/b/alice"},
	    {"a file in a folder of all", "spool/%u", "spool/alice", true, "spool/alice"},
	    {"a file", "%u", "alice", true, "alice"},
	    {"a home is the user's", "%h/mail/in", "mail/in", false, "mail"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config config = {0};
		*(rows[i].spool ? &config.spool : &config.maildir) = (char *)(uintptr_t)rows[i].template;
		size_t len = identity_own_len(&config, rows[i].path);
		if (len != strlen(rows[i].want) || strncmp(rows[i].path, rows[i].want, len) != 0)
			fail_msg("%s: %zu octets", rows[i].sentence, len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_user_valid),
	    cmocka_unit_test(test_maildir),
	    cmocka_unit_test(test_maildir_length),
	    cmocka_unit_test(test_template_valid),
	    cmocka_unit_test(test_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
