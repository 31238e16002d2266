/* SPDX-License-Identifier: ISC */
/* When two copies of a message are alike, and how UIDLs are made of templates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/wire.h"
#include "tools/likeness.h"
#include "tools/uidl_template.h"

static struct likeness look(const char *text, uint32_t body_lines, size_t piece)
{
	struct likeness_reader *reader =
	    likeness_new(LIKENESS_LOOSE | LIKENESS_SHA256 | LIKENESS_SHA1, body_lines);
	struct likeness likeness;
	size_t len = strlen(text);

	assert_non_null(reader);
	for (size_t at = 0; at < len; at += piece)
		likeness_add(reader, text + at, len - at < piece ? len - at : piece);
	assert_int_equal(likeness_done(&reader, &likeness), 0);
	assert_null(reader);
	return likeness;
}

enum { HEAD = 1, WHOLE = 2, EXACT = 4 };

static unsigned alike(const struct likeness *a, const struct likeness *b)
{
	return (memcmp(a->head, b->head, sizeof(a->head)) == 0 ? HEAD : 0u) |
	       (memcmp(a->whole, b->whole, sizeof(a->whole)) == 0 ? WHOLE : 0u) |
	       (memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0 ? EXACT : 0u);
}

static void copies_are_known_and_others_are_not(void **state)
{
	static const struct {
		const char *sentence, *a, *b;
		unsigned alike;
	} rows[] = {
	    {"line ends", "A: b\n\nx\ny", "A: b\r\n\r\nx\r\ny\r\n", HEAD | WHOLE | EXACT},
	    {"a CR within a line", "A: b\n\nx\ry\n", "A: b\n\nxy\n", HEAD},
	    {"another body", "A: b\n\nx\n", "A: b\n\ny\n", HEAD},
	    {"another header", "A: b\n\nx\n", "A: c\n\nx\n", 0},
	    {"what an mbox's server adds", "A: b\nStatus: RO\nX-UID: 4\nC: d\n\nx\n", "A: b\nC: d\n\nx\n",
		HEAD | WHOLE},
	    {"in any letters, continued", "A: b\nx-imapbase: 1\n 2\n\t3\nC: d\n\nx\n", "A: b\nC: d\n\nx\n",
		HEAD | WHOLE},
	    {"a field that begins like it", "A: b\nX-UIDX: 4\n\nx\n", "A: b\n\nx\n", 0},
	    {"such a field in the body", "A: b\n\nX-UID: 4\n", "A: b\n\n", HEAD},
	    {"a continued field after one that is left out", "X-UID: 1\n 2\nA: b\n c\n\n", "A: b\n c\n\n",
		HEAD | WHOLE},
	    {"empty lines at the end", "A: b\n\nx\n\n\n", "A: b\n\nx\n", HEAD | WHOLE},
	    {"empty lines in the middle", "A: b\n\nx\n\n\ny\n", "A: b\n\nx\n\ny\n", HEAD},
	    {"a quoted From", "A: b\n\nx\n>From y\n", "A: b\n\nx\nFrom y\n", HEAD | WHOLE},
	    {"quoted twice", "A: b\n\n>>From y\n", "A: b\n\nFrom y\n", HEAD | WHOLE},
	    {"a quote of something else", "A: b\n\n>Fromage\n", "A: b\n\nFromage\n", HEAD},
	    {"a From in the header", "A: b\n>From y\n\n", "A: b\nFrom y\n\n", 0},
	    {"no empty line behind the header", "A: b\n", "A: b\n\n", HEAD | WHOLE},
	    {"a dot", "A: b\n\n.\n", "A: b\n\n..\n", HEAD},
	    {"nothing", "", "", HEAD | WHOLE | EXACT},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct likeness a = look(rows[i].a, LIKENESS_WHOLE, SIZE_MAX / 2);
		struct likeness b = look(rows[i].b, LIKENESS_WHOLE, 1);

		if (alike(&a, &b) != rows[i].alike)
			fail_msg("%s: %u", rows[i].sentence, alike(&a, &b));
	}
}

static void long_lines_are_alike_in_any_pieces(void **state)
{
	char text[1024] = "X-Keywords: ";

	(void)state;
	memset(text + strlen(text), 'k', 300);
	strcat(text, "\nSubject: ");
	memset(text + strlen(text), 's', 300);
	strcat(text, "\n\n");
	memset(text + strlen(text), '>', 200);
	strcat(text, "From me\nlast");
	struct likeness a = look(text, LIKENESS_WHOLE, 1024);
	for (size_t piece = 1; piece < 200; piece += 7) {
		struct likeness b = look(text, LIKENESS_WHOLE, piece);
		assert_memory_equal(&a, &b, sizeof(a));
	}
	struct likeness b = look(strchr(text, '\n') + 1, LIKENESS_WHOLE, 1024);
	assert_int_equal(alike(&a, &b), HEAD | WHOLE);
}

static void octets_are_counted_as_on_the_wire(void **state)
{
	static const char *const texts[] = {
	    "", "a", "a\n", "a\r\n", "a\r", "\r\r\n", "\n\n", "a\n\nb\r\nc\rd", "\r"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct wire_count count = {0};
		unsigned flags;

		wire_count_add(&count, texts[i], strlen(texts[i]));
		if (look(texts[i], LIKENESS_WHOLE, 1).octets != wire_count_done(&count, &flags))
			fail_msg("text %zu", i);
	}
}

static void exact_digests_are_those_of_the_wire(void **state)
{
	struct likeness likeness = look("From: a@b\nSubject: m0\nDate: Thu, 1 Jan 2026 10:00:00 +0000\n"
					"Message-ID: <0@x>\n\nhello 0\n.dot\n",
	    LIKENESS_WHOLE, 3);
	char text[41];

	(void)state;
	/* As Cyrus printed it for this message. */
	likeness_hex(likeness.sha1, 20, text);
	assert_string_equal(text, "8c2863c38df9b3c94741f2cbb0b61c45a53fd26b");
}

static void what_is_behind_the_lines_asked_for_does_not_count(void **state)
{
	struct likeness a = look("A: b\n\n1\n2\n3\n", 2, 1), b = look("A: b\n\n1\n2\n", LIKENESS_WHOLE, 1);
	struct likeness c = look("A: b\n\n1\n", 0, 1), d = look("A: b\n\n", LIKENESS_WHOLE, 1);

	(void)state;
	assert_int_equal(alike(&a, &b), HEAD | WHOLE | EXACT);
	assert_int_equal(alike(&c, &d), HEAD | WHOLE | EXACT);
}

#define NAME70 "1234567890123456789012345678901234567890123456789012345678901234567890"

static void templates_make_uidls(void **state)
{
	static const struct {
		const char *template, *want; /* "!": a reason */
	} rows[] = {
	    {"%08Xu%08Xv", "0000001f6553f100"},
	    {"%v.%u", "1700000000.31"},
	    {"%u", "31"},
	    {"%Xu", "1f"},
	    {"%UXu", "1f"},
	    {"%XUu", "1F"},
	    {"%04u", "0031"},
	    {"%01u", "31"},
	    {"%1u", "3"},
	    {"%Ru", "13"},
	    {"%f", "1.M2,S=3"},
	    {"%Lf", "1.m2,s=3"},
	    {"%{guid}", "G"},
	    {"%{uidvalidity}-%{uid}", "1700000000-31"},
	    {"a%%b%u", "a%b31"},
	    {"%m", "!not known"},
	    {"a b%u", "!octets"},
	    {NAME70 "%1u", "!longer"},
	    {"%070u", "0000000000000000000000000000000000000000000000000000000000000000000031"},
	};

	(void)state;
	const struct template_values values = {
	    .uid = 31, .uidvalidity = 1700000000, .filename = "1.M2,S=3", .guid = "G"};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char uidl[MAILDROP_UIDL_OCTETS + 1];
		const char *why = template_check(rows[i].template);

		if (why == NULL)
			why = template_expand(rows[i].template, &values, uidl);
		if (rows[i].want[0] == '!' ? why == NULL || strstr(why, rows[i].want + 1) == NULL
					   : why != NULL || strcmp(uidl, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].template, why != NULL ? why : uidl);
	}
}

static void unsound_templates_are_refused(void **state)
{
	static const char *const templates[] = {"", "x", "%v", "%", "%08", "%q", "%{", "%{uid", "%{user}%u",
	    "%71u", "%99999999999999999999u", "%Xf", "%XXXXXu"};

	(void)state;
	for (size_t i = 0; i < sizeof(templates) / sizeof(templates[0]); i++)
		if (template_check(templates[i]) == NULL)
			fail_msg("%s", templates[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(copies_are_known_and_others_are_not),
	    cmocka_unit_test(long_lines_are_alike_in_any_pieces),
	    cmocka_unit_test(octets_are_counted_as_on_the_wire),
	    cmocka_unit_test(exact_digests_are_those_of_the_wire),
	    cmocka_unit_test(what_is_behind_the_lines_asked_for_does_not_count),
	    cmocka_unit_test(templates_make_uidls),
	    cmocka_unit_test(unsound_templates_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
