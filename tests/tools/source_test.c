/* SPDX-License-Identifier: ISC */
/* What is read of other servers' lists of UIDLs, item by item. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/source.h"

#define NAME70 "1234567890123456789012345678901234567890123456789012345678901234567890"
#define GUID "8c2863c38df9b3c94741f2cbb0b61c45a53fd26b"
#define V3 "3 V1700000000 N9 Gabc\n"
#define MBX(more)                                                                            \
	"Examining user/a... Mailbox Header Info:\n  UIDValidity: 1795323113  Last UID: 3\n" \
	"  Mailbox Options: POP3_NEW_UIDL\n Message Info:\n" more
#define MESSAGE(uid)                                                       \
	"000001> UID:0000000" uid "   INT_DATE:1 SENTDATE:1 SIZE:98    \n" \
	"      > HDRSIZE:83     LASTUPD :1 SYSFLAGS:00000000      > CACHEVER:11 GUID:" GUID " MODSEQ:2\n"

/* want: items with "|" between, each "key=uidl" in the order of the file, or "!why". */
static const struct {
	const char *sentence;
	enum source_format format;
	const char *template, *text, *want;
} rows[] = {
    {"a name", SOURCE_LIST, NULL, "1.a.b\tx\n", "1.a.b=x"},
    {"comments, empty lines, no end of the last line", SOURCE_LIST, NULL, "# c\n\n1\tx\n2\ty", "1=x|2=y"},
    {"a CR before the line's end", SOURCE_LIST, NULL, "1\tx\r\n", "1=x"},
    {"flags and sizes behind the name", SOURCE_LIST, NULL, "1.a,S=3:2,S\tx", "1.a=x"},
    {"a digest", SOURCE_LIST, NULL, "sha1:" GUID "\tx", GUID "=x"},
    {"a digest cut off", SOURCE_LIST, NULL, "sha1:8c28\tx", "!40 small"},
    {"a digest in capital letters", SOURCE_LIST, NULL, "sha1:8C2863C38DF9B3C94741F2CBB0B61C45A53FD26B\tx",
	"!40 small"},
    {"a line without a tab", SOURCE_LIST, NULL, "1 x", "!no tab"},
    {"an empty UIDL", SOURCE_LIST, NULL, "1\t", "!empty"},
    {"a UIDL of 70 octets", SOURCE_LIST, NULL, "1\t" NAME70, "1=" NAME70},
    {"one of 71", SOURCE_LIST, NULL, "1\t" NAME70 "x", "!71 octets"},
    {"a space in a UIDL", SOURCE_LIST, NULL, "1\ta b", "!0x21"},
    {"an octet beyond 0x7E", SOURCE_LIST, NULL, "1\ta\x7f", "!0x21"},
    {"a path for a name", SOURCE_LIST, NULL, "../1\tx", "!no name"},
    {"no name at all", SOURCE_LIST, NULL, "\tx", "!no name"},
    {"a bad line among good ones", SOURCE_LIST, NULL, "1\tx\n2\n3\tz", "1=x|!no tab|3=z"},

    {"Dovecot's usual format", SOURCE_DOVECOT, NULL, V3 "1 :1700.M1.h,S=5:2,S\n7 :b",
	"1700.M1.h=000000016553f100|b=000000076553f100"},
    {"version 1", SOURCE_DOVECOT, NULL, "1 1700000000 9\n3 a:2,\n", "a=000000036553f100"},
    {"version 2", SOURCE_DOVECOT, NULL, "2 1700000000 9\n", "!version 2"},
    {"another format", SOURCE_DOVECOT, "%v.%u", V3 "1 :a\n", "a=1700000000.1"},
    {"a file's name with its size", SOURCE_DOVECOT, "%f", V3 "1 :1.a,S=5:2,S\n", "1.a=1.a,S=5"},
    {"a GUID", SOURCE_DOVECOT, "%g", V3 "1 Gxyz :a\n", "a=xyz"},
    {"a GUID that is the file's name", SOURCE_DOVECOT, "%g", V3 "1 :a,W=1\n", "a=a,W=1"},
    {"an MD5, which a Maildir has not", SOURCE_DOVECOT, "%m", V3 "1 :a\n", "!not known"},
    {"a saved UIDL", SOURCE_DOVECOT, NULL, V3 "1 Pold.1 W12 :a\n", "a=old.1"},
    {"a saved UIDL that is the file's name", SOURCE_DOVECOT, NULL, V3 "1 P :a,S=1:2,\n", "a=a,S=1"},
    {"a saved UIDL that is none", SOURCE_DOVECOT, NULL, V3 "1 P\x01 :a\n", "!0x21"},
    {"other fields", SOURCE_DOVECOT, NULL, V3 "1 Zq S4 W5 O3 :a\n", "a=000000016553f100"},
    {"a name with spaces", SOURCE_DOVECOT, NULL, V3 "1 :a b\n", "a b=000000016553f100"},
    {"a header of fields in another order", SOURCE_DOVECOT, NULL, "3 N9 Xy V1700000000\n1 :a\n",
	"a=000000016553f100"},
    {"a header without a UIDVALIDITY", SOURCE_DOVECOT, NULL, "3 N9\n1 :a\n", "!UIDVALIDITY"},
    {"a UIDVALIDITY that is too great", SOURCE_DOVECOT, NULL, "3 V4294967296 N9\n1 :a\n", "!UIDVALIDITY"},
    {"a UIDVALIDITY with more behind", SOURCE_DOVECOT, NULL, "3 V12x N9\n1 :a\n", "!UIDVALIDITY"},
    {"something else", SOURCE_DOVECOT, NULL, "root:x:0:0\n", "!not a dovecot-uidlist"},
    {"nothing", SOURCE_DOVECOT, NULL, "", "!empty"},
    {"a UID twice", SOURCE_DOVECOT, NULL, V3 "2 :a\n2 :b\n", "a=000000026553f100|!not greater"},
    {"UID 0", SOURCE_DOVECOT, NULL, V3 "0 :a\n", "!no UID"},
    {"a UID that is too great", SOURCE_DOVECOT, NULL, V3 "99999999999 :a\n", "!no UID"},
    {"an entry cut off", SOURCE_DOVECOT, NULL, V3 "4", "!no UID"},
    {"an entry without a name", SOURCE_DOVECOT, NULL, V3 "4 Gx", "!no name"},
    {"an entry with a path", SOURCE_DOVECOT, NULL, V3 "4 :x/../y", "!no name"},

    {"Courier's numbers", SOURCE_COURIER, NULL, "/3 4 17\n17.M1:2, 50 1:17:0\n18,S=4:2,S 50 2:17:1\n",
	"17.M1=UID1-17|18=UID2-17"},
    {"version 2", SOURCE_COURIER, NULL, "/2 4 17\na 50 1:17\n", "a=UID1-17"},
    {"numbers without a UIDVALIDITY", SOURCE_COURIER, NULL, "/2 4\na 50 7:0\n", "a=UID7"},
    {"version 1", SOURCE_COURIER, NULL, "/1 4\na 50 7\n", "a=UID7"},
    {"no number: the file's name", SOURCE_COURIER, NULL, "/3 4 17\n1.a,S=5:2,S 50 0:0:0\n", "1.a=1.a,S=5"},
    {"and what is odd in it", SOURCE_COURIER, NULL, "/3 4 17\na'b\"c+d e\xff 50 0:0:0\n",
	"a'b\"c+d e\xff=a+27b+22c+2Bd+20e+FF"},
    {"no size", SOURCE_COURIER, NULL, "/3 4 17\na 1:17:0\n", "!not a file's name"},
    {"no numbers", SOURCE_COURIER, NULL, "/3 4 17\na 50 x\n", "!not a file's name"},
    {"more numbers", SOURCE_COURIER, NULL, "/3 4 17\na 50 1:2:3:4\n", "!not a file's name"},
    {"version 4", SOURCE_COURIER, NULL, "/4 4 17\na 50 1:17\n", "!not a courier"},

    {"Cyrus", SOURCE_CYRUS, NULL, MBX(MESSAGE("1") MESSAGE("2")), GUID "=1795323113.1|" GUID "=1795323113.2"},
    {"Cyrus with another uidl_format", SOURCE_CYRUS, "%v-%u", MBX(MESSAGE("1")), GUID "=1795323113-1"},
    {"Cyrus before POP3_NEW_UIDL", SOURCE_CYRUS, NULL,
	"Examining user.a...\n UIDValidity: 5\n Mailbox Options: \n" MESSAGE("3"), GUID "=3"},
    {"an expunged message", SOURCE_CYRUS, NULL,
	MBX(MESSAGE("1") "      > INTERNALFLAGS: EXPUNGED\n" MESSAGE("2")), GUID "=1795323113.2"},
    {"a mail that looks like a message's lines", SOURCE_CYRUS, NULL,
	MBX(MESSAGE("1") " Envel>{13}\n00> UID:0009\n Subjct>{2}xx\n" MESSAGE("2")),
	GUID "=1795323113.1|" GUID "=1795323113.2"},
    {"a literal longer than the file", SOURCE_CYRUS, NULL,
	MBX(MESSAGE("1") " Envel>{99999999999}x\n" MESSAGE("2")), GUID "=1795323113.1"},
    {"no GUID", SOURCE_CYRUS, NULL, MBX("000001> UID:00000004\n"), "!GUID"},
    {"a GUID cut off", SOURCE_CYRUS, NULL, MBX("000001> UID:00000004\n > GUID:8c28\n"), "!SHA-1"},
    {"an empty mailbox", SOURCE_CYRUS, NULL, MBX(""), ""},
    {"no mailbox", SOURCE_CYRUS, NULL, "root:x:0:0\n", "!mbexamine"},
    {"nothing", SOURCE_CYRUS, NULL, "", "!mbexamine"},
};

/* As want is written; of digests of content, only the UIDL. */
static void describe(struct source_reader *reader, char *text, size_t size)
{
	struct source_item item;
	size_t len = 0;

	text[0] = '\0';
	while (source_next(reader, &item)) {
		const char *bar = len > 0 ? "|" : "";

		assert_true(len < size);
		if (item.why[0] != '\0')
			len += (size_t)snprintf(text + len, size - len, "%s!%s", bar, item.why);
		else if (item.kind == SOURCE_ALIKE)
			len += (size_t)snprintf(text + len, size - len, "%s%s", bar, item.uidl);
		else
			len += (size_t)snprintf(text + len, size - len, "%s%s=%s", bar, item.key, item.uidl);
	}
}

/* Item by item; of one that cannot be taken, what must be in its reason. */
static bool agrees(const char *got, const char *want)
{
	for (;;) {
		size_t got_len = strcspn(got, "|"), want_len = strcspn(want, "|");
		char reason[128];

		if (want[0] == '!') {
			snprintf(reason, sizeof(reason), "%.*s", (int)want_len - 1, want + 1);
			const char *found = strstr(got, reason);
			if (got[0] != '!' || found == NULL || found >= got + got_len)
				return false;
		} else if (got_len != want_len || strncmp(got, want, want_len) != 0) {
			return false;
		}
		got += got_len;
		want += want_len;
		if (*got == '\0' || *want == '\0')
			return *got == *want;
		got++;
		want++;
	}
}

static void check_row(
    const char *sentence, enum source_format format, const char *template, const char *text, const char *want)
{
	size_t len = strlen(text);
	char *octets = malloc(len + (len == 0)), got[4096]; /* nothing behind it */
	struct source_reader reader = {.octets = octets, .len = len, .format = format, .template = template};

	assert_non_null(octets);
	memcpy(octets, text, len);
	describe(&reader, got, sizeof(got));
	if (!agrees(got, want))
		fail_msg("%s: %s", sentence, got);
	free(octets);
}

static void lists_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(rows[i].sentence, rows[i].format, rows[i].template, rows[i].text, rows[i].want);
}

#define FROM "From a@b Thu Jan  1 10:00:00 2026\n"

static void mboxes_are_read(void **state)
{
	static const struct {
		const char *sentence;
		enum source_format format;
		const char *template, *text, *want;
	} mboxes[] = {
	    {"X-UIDL", SOURCE_X_UIDL, NULL, FROM "X-UIDL: abc\nA: b\n\nx\n\n" FROM "x-uidl:  def \n\ny\n",
		"abc|def"},
	    {"an X-UIDL in the body", SOURCE_X_UIDL, NULL, FROM "A: b\n\nX-UIDL: abc\n", "!no X-UIDL"},
	    {"an X-UIDL that is none", SOURCE_X_UIDL, NULL, FROM "X-UIDL: a b\n\n", "!0x21"},
	    {"a From in a body", SOURCE_X_UIDL, NULL, FROM "X-UIDL: abc\n\nx\n\nFrom here on\n", "abc"},
	    {"numbers, as Dovecot makes UIDLs", SOURCE_MBOX, NULL,
		FROM "X-IMAPbase: 1700000000 9\nX-UID: 1\n\nx\n\n" FROM "X-UID: 7\n\ny\n",
		"000000016553f100|000000076553f100"},
	    {"as UW does", SOURCE_MBOX, "%08Xv%08Xu", FROM "X-IMAP: 1700000000 9\nX-UID: 1\n\nx\n",
		"6553f10000000001"},
	    {"a first message that is none", SOURCE_MBOX, NULL,
		FROM "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1700000000 "
		     "9\n\nx\n\n" FROM "X-UID: 7\n\ny\n",
		"000000076553f100"},
	    {"a UIDVALIDITY that a later mail brings along", SOURCE_MBOX, NULL,
		FROM "X-IMAPbase: 1700000000 9\nX-UID: 1\n\nx\n\n" FROM "X-IMAP: 5 5\nX-UID: 7\n\ny\n",
		"000000016553f100|000000076553f100"},
	    {"a mail that has no number yet", SOURCE_MBOX, NULL, FROM "X-IMAPbase: 1700000000 9\n\nx\n",
		"!not seen it"},
	    {"no mbox", SOURCE_MBOX, NULL, "root:x:0:0\n", "!not an mbox"},
	    {"nothing", SOURCE_MBOX, NULL, "", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(mboxes) / sizeof(mboxes[0]); i++)
		check_row(
		    mboxes[i].sentence, mboxes[i].format, mboxes[i].template, mboxes[i].text, mboxes[i].want);
}

static void lines_are_bounded_and_counted(void **state)
{
	static char text[3 * SOURCE_LINE_OCTETS];
	struct source_reader reader = {.octets = text, .format = SOURCE_LIST};
	struct source_item item;

	(void)state;
	strcpy(text, "\n# c\na\tx\n");
	memset(text + strlen(text), 'g', SOURCE_LINE_OCTETS);
	strcat(text, "\nb\ty");
	reader.len = strlen(text);
	text[reader.len++] = '\0';
	assert_true(source_next(&reader, &item));
	assert_int_equal(item.line, 3);
	assert_string_equal(item.why, "");
	assert_true(source_next(&reader, &item));
	assert_int_equal(item.line, 4);
	assert_non_null(strstr(item.why, "longer"));
	assert_true(source_next(&reader, &item));
	assert_int_equal(item.line, 5);
	assert_non_null(strstr(item.why, "NUL"));
	assert_false(source_next(&reader, &item));
}

static void dovecots_own_order_comes_first(void **state)
{
	static const char text[] = V3 "1 :a\n2 O9 :b\n3 O4 :c\n4 Ox :d\n";
	struct source_reader reader = {.octets = text, .len = strlen(text), .format = SOURCE_DOVECOT};
	struct source_item items[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_true(source_next(&reader, &items[i]));
	assert_true(items[2].order < items[1].order && items[1].order < items[0].order);
	assert_true(items[0].order < items[3].order);
}

static void formats_are_guessed_or_asked_for(void **state)
{
	static const struct {
		const char *text;
		enum source_format want;
	} guesses[] = {
	    {"3 V1 N2\n", SOURCE_DOVECOT},
	    {"1 5 6\n", SOURCE_DOVECOT},
	    {"/3 4 17\n", SOURCE_COURIER},
	    {"/2 4\n", SOURCE_COURIER},
	    {"Examining user/a...\n", SOURCE_CYRUS},
	    {"# list\n", SOURCE_LIST},
	    {"a\tb\n", SOURCE_LIST},
	    {"1\tb\n", SOURCE_LIST},
	    {FROM, SOURCE_GUESS},
	    {"3", SOURCE_GUESS},
	    {"\n", SOURCE_GUESS},
	    {"", SOURCE_GUESS},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(guesses) / sizeof(guesses[0]); i++) {
		size_t len = strlen(guesses[i].text);
		char *octets = malloc(len + (len == 0));

		assert_non_null(octets);
		memcpy(octets, guesses[i].text, len);
		if (source_guess(octets, len) != guesses[i].want)
			fail_msg("%s", guesses[i].text);
		free(octets);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lists_are_read),
	    cmocka_unit_test(mboxes_are_read),
	    cmocka_unit_test(lines_are_bounded_and_counted),
	    cmocka_unit_test(dovecots_own_order_comes_first),
	    cmocka_unit_test(formats_are_guessed_or_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
