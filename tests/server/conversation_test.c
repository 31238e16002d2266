/* SPDX-License-Identifier: ISC */
/* Every file of tests/server/conversations, in every way of cutting it into calls. */
#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/server/play.h"

static const struct play_style styles[] = {
    {"in one piece", 0, 0},
    {"octet by octet, tight output", 1, 6},
    {"in sevens", 7, 61},
};

static char directory[PATH_MAX];

static void replay(void **state)
{
	char path[2 * PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", directory, (const char *)*state);
	for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++) {
		const char *why = play(path, &styles[i]);
		if (why != NULL)
			fail_msg("%s: %s", (const char *)*state, why);
	}
}

static int is_script(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);
	return len > 4 && strcmp(entry->d_name + len - 4, ".txt") == 0;
}

int main(void)
{
	const char *source = getenv("KPOPD_SRCDIR");
	snprintf(directory, sizeof directory, "%s/tests/server/conversations", source != NULL ? source : ".");
	struct dirent **entries;
	int count = scandir(directory, &entries, is_script, alphasort);
	if (count <= 0) {
		fprintf(stderr, "no conversations in %s\n", directory);
		return 1;
	}
	struct CMUnitTest *tests = calloc((size_t)count, sizeof *tests);
	if (tests == NULL)
		return 1;
	for (int i = 0; i < count; i++)
		tests[i] = (struct CMUnitTest){
		    .name = entries[i]->d_name, .test_func = replay, .initial_state = entries[i]->d_name};
	int failed = _cmocka_run_group_tests("conversations", tests, (size_t)count, NULL, NULL);
	for (int i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
	free(tests);
	return failed;
}
