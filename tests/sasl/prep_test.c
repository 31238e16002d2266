/* SPDX-License-Identifier: ISC */
/* SASLprep: the examples of RFC 4013 section 3, and the edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sasl/prep.h"

static const struct {
	const char *sentence, *in;
	size_t len;
	const char *stored, *query; /* NULL: refused */
} rows[] = {
    {"SOFT HYPHEN mapped to nothing", "I\xc2\xadX", 4, "IX", "IX"},
    {"no transformation", "user", 4, "user", "user"},
    {"case preserved", "USER", 4, "USER", "USER"},
    {"output is NFKC, input in ISO 8859-1", "\xc2\xaa", 2, "a", "a"},
    {"output is NFKC, will match IX", "\xe2\x85\xa8", 3, "IX", "IX"},
    {"prohibited character", "\x07", 1, NULL, NULL},
    {"bidirectional check",
	"\xd8\xa7"
	"1",
	3, NULL, NULL},
    {"spaces stay, other spaces become them",
	"a b\xc2\xa0"
	"c",
	6, "a b c", "a b c"},
    {"combining and composed are one", "u\xcc\x88", 3, "\xc3\xbc", "\xc3\xbc"},
    {"composed stays", "\xc3\xbc", 2, "\xc3\xbc", "\xc3\xbc"},
    {"ISO 8859-1 is no UTF-8", "p\xe4ss", 4, NULL, NULL},
    {"an overlong form", "\xc0\xaf", 2, NULL, NULL},
    {"a surrogate", "\xed\xa0\x80", 3, NULL, NULL},
    {"cut in a character", "\xe2\x85", 2, NULL, NULL},
    {"newer than Unicode 3.2", "\xf0\x9f\x98\x80", 4, NULL, "\xf0\x9f\x98\x80"},
    {"a NUL", "a\0b", 3, NULL, NULL},
    {"DEL", "a\x7f", 2, NULL, NULL},
    {"empty", "", 0, NULL, NULL},
    {"empty afterwards", "\xc2\xad", 2, NULL, NULL},
    {"what is behind the length does not count", "user\xff", 4, "user", "user"},
};

static void check(const char *sentence, int rc, const char *out, const char *want)
{
	if (want == NULL ? rc != PREP_REFUSED : rc != PREP_OK || strcmp(out, want) != 0)
		fail_msg("%s: %d, \"%s\"", sentence, rc, rc == PREP_OK ? out : "");
}

static void strings_are_prepared(void **state)
{
	char out[32];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		check(rows[i].sentence, prep(rows[i].in, rows[i].len, out, sizeof(out)), out, rows[i].stored);
		check(rows[i].sentence, prep_query(rows[i].in, rows[i].len, out, sizeof(out)), out,
		    rows[i].query);
	}
}

static void results_have_room_or_are_refused(void **state)
{
	/* One character of three octets becomes eighteen of two. */
	static const char grows[] = "\xef\xb7\xba";
	char out[64], room[40];

	(void)state;
	assert_int_equal(prep("12345678", 8, out, 9), PREP_OK);
	assert_int_equal(prep("12345678", 8, out, 8), PREP_TOO_LONG);
	assert_int_equal(prep(grows, 3, out, sizeof(out)), PREP_OK);
	for (size_t size = 4; size <= strlen(out); size++)
		assert_int_equal(prep(grows, 3, room, size), PREP_TOO_LONG);
	assert_int_equal(prep(grows, 3, room, strlen(out) + 1), PREP_OK);
	assert_string_equal(room, out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(strings_are_prepared),
	    cmocka_unit_test(results_have_room_or_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
