/* SPDX-License-Identifier: ISC */
#include "tests/server/config_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

struct config *config_text(const char *text)
{
	char name[] = "/tmp/config_text.XXXXXX", why[1024] = "";
	int fd = mkstemp(name);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	struct config *config = config_read(name, why, sizeof why);
	unlink(name);
	if (config == NULL)
		fail_msg("%s", why);
	return config;
}
