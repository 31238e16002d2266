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

#include "server/krb5_snapshot.h"

static char dir[64];

static void put(const char *name, const char *text)
{
	FILE *out = fopen(name, "we");
	assert_non_null(out);
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
}

static int into_directory(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/kpopd-snapshot.XXXXXX");
	return mkdtemp(dir) == NULL || chdir(dir) < 0 || mkdir("conf.d", 0755) < 0 ? -1 : 0;
}

static int out_of_directory(void **state)
{
	char command[128];
	(void)state;
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return chdir("/") < 0 || system(command) != 0 ? -1 : 0;
}

static void test_rows(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *text, *want, *why;
	} rows[] = {
	    {"a plain file is copied as it is", "[libdefaults]\n default_realm = A\n",
		"[libdefaults]\n default_realm = A\n", NULL},
	    {"a last line without an end gets one", "[realms]", "[realms]\n", NULL},
	    {"a directory's sound names are copied, in order", "includedir conf.d\n[x]\n",
		"[one]\n[two]\n[x]\n", NULL},
	    {"an included file is copied in its place", "[a]\ninclude other\n[b]\n", "[a]\n[other]\n[b]\n",
		NULL},
	    {"white space behind a name is not part of it", "include other \t\n", "[other]\n", NULL},
	    {"a word that only begins like a directive is none", "includes other\n", "includes other\n",
		NULL},
	    {"a missing included file is an error that names it", "include nowhere\n", NULL,
		"nowhere: No such file"},
	    {"a file that includes itself is an error", "include loop\n", NULL, "too deeply"},
	};
	put("conf.d/10-one", "[one]\n");
	put("conf.d/20.conf", "[two]\n");
	put("conf.d/30-three.rpmsave", "[three]\n");
	put("conf.d/.hidden", "[four]\n");
	put("other", "[other]\n");
	put("loop", "include loop\n");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char why[256] = "", got[256] = "";
		put("from", rows[i].text);
		unlink("to");
		int ret = krb5_snapshot("from", "to", why, sizeof why);
		FILE *in = fopen("to", "re");
		if (in != NULL) {
			size_t n = fread(got, 1, sizeof got - 1, in);
			got[n] = '\0';
			fclose(in);
		}
		if (rows[i].want != NULL && (ret != 0 || strcmp(got, rows[i].want) != 0))
			fail_msg("%s: %d \"%s\" (%s)", rows[i].sentence, ret, got, why);
		if (rows[i].why != NULL && (ret != -1 || strstr(why, rows[i].why) == NULL || in != NULL))
			fail_msg("%s: %d \"%s\"", rows[i].sentence, ret, why);
		assert_int_equal(access("to.new", F_OK), -1);
	}
}

static void test_missing_file_is_an_empty_snapshot(void **state)
{
	(void)state;
	char why[256];
	struct stat st;
	mode_t old = umask(077);
	assert_int_equal(krb5_snapshot("not-there", "to", why, sizeof why), 0);
	umask(old);
	assert_int_equal(stat("to", &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_mode & 0777, 0644);
}

static void test_failure_keeps_the_old_snapshot(void **state)
{
	(void)state;
	char why[256], got[16] = "";
	put("to", "old\n");
	put("from", "include nowhere\n");
	assert_int_equal(krb5_snapshot("from", "to", why, sizeof why), -1);
	FILE *in = fopen("to", "re");
	assert_non_null(in);
	assert_non_null(fgets(got, sizeof got, in));
	fclose(in);
	assert_string_equal(got, "old\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows),
	    cmocka_unit_test(test_missing_file_is_an_empty_snapshot),
	    cmocka_unit_test(test_failure_keeps_the_old_snapshot),
	};
	return cmocka_run_group_tests(tests, into_directory, out_of_directory);
}
