/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/keywatch.h"

static char dir[] = "/tmp/keywatch_test.XXXXXX";
static char keytab[64], secrets[64], state_dir[64];
static char gssapi[] = "GSSAPI", plain[] = "PLAIN";
static char *both[] = {gssapi, plain, NULL}, *tickets[] = {gssapi, NULL};
static char from_secrets[] = "secrets", from_others[] = "saslauthd";
static char *ours[] = {from_secrets, NULL}, *others[] = {from_others, NULL};
static struct config config = {
    .keytab = keytab, .state_dir = state_dir, .mechanisms = both, .mechanism_count = 2};

static int make_folders(void **state)
{
	char auth[80];
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(keytab, sizeof keytab, "%s/keytab", dir);
	snprintf(state_dir, sizeof state_dir, "%s", dir);
	snprintf(auth, sizeof auth, "%s/auth", dir);
	snprintf(secrets, sizeof secrets, "%s/auth/secrets.mdb", dir);
	return mkdir(auth, 0700);
}

static int remove_folders(void **state)
{
	char command[64];
	(void)state;
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

static void write_file(const char *path, const char *text)
{
	FILE *out = fopen(path, "we");
	assert_non_null(out);
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
}

static void replace_file(const char *path, const char *text)
{
	char other[80];
	snprintf(other, sizeof other, "%s.new", path);
	write_file(other, text);
	assert_int_equal(rename(other, path), 0);
}

static void remove_file(const char *path, const char *text)
{
	(void)text;
	assert_int_equal(unlink(path), 0);
}

static void change_mode(const char *path, const char *text)
{
	(void)text;
	assert_int_equal(chmod(path, 0644), 0);
}

static void leave(const char *path, const char *text)
{
	(void)path, (void)text;
}

static void test_changes(void **state)
{
	(void)state;
	static const struct {
		const char *sentence;
		void (*change)(const char *path, const char *text);
		const char *path, *text;
		unsigned want;
	} rows[] = {
	    {"nothing happens", leave, keytab, "", 0},
	    {"the keytab is replaced by one of the same size", replace_file, keytab, "other",
		KEYWATCH_KEYTAB},
	    {"the keytab is replaced by a longer one", replace_file, keytab, "longer than that",
		KEYWATCH_KEYTAB},
	    {"the keytab is written over", write_file, keytab, "longer than this", KEYWATCH_KEYTAB},
	    {"everybody may read the keytab", change_mode, keytab, "", KEYWATCH_KEYTAB},
	    {"the keytab goes", remove_file, keytab, "", KEYWATCH_KEYTAB},
	    {"the keytab stays away", leave, keytab, "", 0},
	    {"the secrets come", write_file, secrets, "x", KEYWATCH_SECRETS},
	    {"the secrets are replaced, which auth finds out by itself", replace_file, secrets, "yz", 0},
	    {"the keytab comes", write_file, keytab, "first", KEYWATCH_KEYTAB},
	    {"the secrets go", remove_file, secrets, "", KEYWATCH_SECRETS},
	};
	struct keywatch watch;
	bool soon;
	write_file(keytab, "first");
	keywatch_init(&watch, &config);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		rows[i].change(rows[i].path, rows[i].text);
		assert_int_equal(keywatch_moved(&watch), rows[i].want != 0);
		unsigned first = keywatch_look(&watch, &soon);
		if (first != 0 || soon != (rows[i].want != 0))
			fail_msg("%s: taken at the first look: %u", rows[i].sentence, first);
		unsigned got = keywatch_look(&watch, &soon);
		if (got != rows[i].want || soon)
			fail_msg("%s: %u", rows[i].sentence, got);
		/* Until it is taken it is said again. */
		assert_int_equal(keywatch_look(&watch, &soon), rows[i].want);
		keywatch_take(&watch);
		assert_int_equal(keywatch_look(&watch, &soon), 0);
		assert_false(keywatch_moved(&watch));
	}
}

/* Two at once; one that comes back to what it was; one that never rests. */
static void test_unrest(void **state)
{
	(void)state;
	struct keywatch watch;
	bool soon;
	write_file(keytab, "a");
	keywatch_init(&watch, &config);
	write_file(secrets, "x");
	replace_file(keytab, "b");
	assert_int_equal(keywatch_look(&watch, &soon), 0);
	assert_int_equal(keywatch_look(&watch, &soon), KEYWATCH_KEYTAB | KEYWATCH_SECRETS);
	keywatch_take(&watch);
	assert_int_equal(unlink(secrets), 0);
	assert_int_equal(keywatch_look(&watch, &soon), 0);
	assert_true(soon);
	write_file(secrets, "x");
	assert_int_equal(keywatch_look(&watch, &soon), 0);
	assert_false(soon);
	unsigned looks = 0;
	do {
		char text[16];
		snprintf(text, sizeof text, "%*u", (int)looks + 1, looks);
		replace_file(keytab, text);
		assert_in_range(++looks, 1, 10);
	} while (keywatch_look(&watch, &soon) == 0);
	assert_in_range(looks, 3, 10);
}

static void test_missing_secrets(void **state)
{
	(void)state;
	static const struct {
		const char *sentence;
		char **passwords, **mechanisms;
		size_t count;
		bool user_pass, there;
		const char *want; /* NULL: nothing is said */
	} rows[] = {
	    {"a mechanism that needs them", ours, both, 2, false, false, "(PLAIN)"},
	    {"USER and PASS need them, too", ours, both, 2, true, false, "(PLAIN, USER)"},
	    {"USER and PASS alone", ours, tickets, 1, true, false, "(USER)"},
	    {"nothing needs them", ours, tickets, 1, false, false, NULL},
	    {"they are there", ours, both, 2, true, true, NULL},
	    {"passwords are checked elsewhere", others, both, 2, true, false, NULL},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct config c = {.keytab = keytab,
		    .state_dir = state_dir,
		    .passwords = rows[i].passwords,
		    .mechanisms = rows[i].mechanisms,
		    .mechanism_count = rows[i].count,
		    .user_pass = rows[i].user_pass};
		char text[512];
		unlink(secrets);
		if (rows[i].there)
			write_file(secrets, "x");
		bool said = keywatch_missing_secrets(&c, text, sizeof text);
		if (said != (rows[i].want != NULL) || (said && (strstr(text, rows[i].want) == NULL ||
								   strstr(text, "kpopctl user add") == NULL)))
			fail_msg("%s: '%s'", rows[i].sentence, text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_changes),
	    cmocka_unit_test(test_unrest),
	    cmocka_unit_test(test_missing_secrets),
	};
	return cmocka_run_group_tests(tests, make_folders, remove_folders);
}
