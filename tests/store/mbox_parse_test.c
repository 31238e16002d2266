/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "store/mbox_parse.h"

#define A "From a@example.org Thu Jan  1 00:00:01 1970\n"
#define B "From b@example.org Thu Jan  1 00:00:02 1970\n"
#define NOTE "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n"

struct memory {
	const char *text;
	size_t len;
	size_t step; /* octets a read gives at most */
	uint64_t reads;
	uint64_t fail_at; /* reads from here on fail; 0: none */
};

static ssize_t read_memory(void *arg, void *buf, size_t len, uint64_t offset)
{
	struct memory *memory = arg;
	if (memory->fail_at > 0 && offset + len > memory->fail_at)
		return -1;
	if (offset >= memory->len)
		return 0;
	size_t left = memory->len - (size_t)offset;
	len = len < left ? len : left;
	len = len < memory->step ? len : memory->step;
	memcpy(buf, memory->text + offset, len);
	memory->reads += len;
	return (ssize_t)len;
}

struct output {
	char text[4096];
	size_t len;
	uint64_t octets; /* of all pieces but "From " lines */
};

static void put(struct output *output, const char *text, size_t len)
{
	output->octets += len;
	if (len > sizeof(output->text) - 1 - output->len)
		return;
	memcpy(output->text + output->len, text, len);
	output->len += len;
}

/* Contents in brackets; what mail readers rewrite in braces. */
static void take_piece(void *arg, enum mbox_piece piece, const void *buf, size_t len)
{
	struct output *output = arg;
	if (piece == MBOX_FROM)
		return;
	if (piece == MBOX_REWRITTEN && output->len > 0 && output->text[output->len - 1] == '}')
		output->len--;
	else if (piece == MBOX_REWRITTEN)
		put(output, "{", 1);
	put(output, buf, len);
	if (piece == MBOX_REWRITTEN)
		put(output, "}", 1);
}

static const char *parse(struct memory *memory, struct output *output)
{
	static struct mbox_parser parser;
	struct mbox_message message;
	*output = (struct output){0};
	mbox_begin(&parser, read_memory, memory, 0);
	enum mbox_next next;
	uint64_t end = 0;
	for (bool first = true; (next = mbox_next(&parser, NULL, NULL, &message)) == MBOX_MESSAGE;
	     first = false) {
		/* Again, alone, which must come out the same. */
		static struct mbox_parser alone;
		struct mbox_message again;
		uint64_t before = output->octets;
		put(output, "[", 1);
		mbox_begin(&alone, read_memory, memory, message.start);
		assert_int_equal(MBOX_MESSAGE, mbox_next(&alone, take_piece, output, &again));
		assert_int_equal(message.start, again.start);
		assert_int_equal(message.length, again.length);
		assert_int_equal(message.end, again.end);
		if (!first)
			assert_int_equal(end, message.start);
		end = message.end;
		assert_true(output->octets - before - 1 >= message.length);
		put(output, message.internal ? "]!" : "]", message.internal ? 2 : 1);
	}
	put(output, next == MBOX_FAILED ? "?" : "", next == MBOX_FAILED);
	output->text[output->len] = 0;
	return output->text;
}

struct row {
	const char *sentence, *mbox, *want;
};

static const struct row rows[] = {
    {"an empty file holds nothing", "", ""},
    {"one message", A "S: 1\n\nbody\n\n", "[S: 1\n\nbody\n]"},
    {"two messages", A "S: 1\n\none\n\n" B "S: 2\n\ntwo\n\n", "[S: 1\n\none\n][S: 2\n\ntwo\n]"},
    {"the last one without its empty line", A "S: 1\n\none\n\n" B "S: 2\n\ntwo\n",
	"[S: 1\n\none\n][S: 2\n\ntwo\n]"},
    {"the last one without its line end", A "S: 1\n\none\n\n" B "S: 2\n\ntwo",
	"[S: 1\n\none\n][S: 2\n\ntwo]"},
    {"only one empty line stands between messages", A "S: 1\n\none\n\n\n\n" B "S: 2\n\n",
	"[S: 1\n\none\n\n\n][S: 2\n]"},
    {"a body of nothing", A "S: 1\n\n" B "S: 2\n\n\n", "[S: 1\n][S: 2\n\n]"},
    {"no header", A "\nbody\n\n" B "S: 2\n\n", "[\nbody\n][S: 2\n]"},
    {"nothing at all between two", A "\n" B "\n", "[][]"},
    {"CRLF",
	"From a@x Thu Jan  1 00:00:01 1970\r\nS: 1\r\n\r\none\r\n\r\nFrom b@x Thu Jan  1 00:00:01 1970\r\nS: "
	"2\r\n\r\n.\r\n",
	"[S: 1\r\n\r\none\r\n][S: 2\r\n\r\n.\r\n]"},
    {"a quoted line stays as it is", A "S: 1\n\n>From b@x Thu Jan  1 00:00:01 1970\n\n>>From me\n\n",
	"[S: 1\n\n>From b@x Thu Jan  1 00:00:01 1970\n\n>>From me\n]"},
    {"From without an empty line before it is text", A "S: 1\n\ntext\n" B "S: 2\n\n",
	"[S: 1\n\ntext\n" B "S: 2\n]"},
    {"From without a date is text", A "S: 1\n\n\nFrom here to there\nS: 2\n\n",
	"[S: 1\n\n\nFrom here to there\nS: 2\n]"},
    {"From without a sender is text", A "S: 1\n\n\nFrom Thu Jan  1 00:00:01 1970\nS: 2\n\n",
	"[S: 1\n\n\nFrom Thu Jan  1 00:00:01 1970\nS: 2\n]"},
    {"From without a line end is text", A "S: 1\n\nx\n\nFrom b@x Thu Jan  1 00:00:01 1970",
	"[S: 1\n\nx\n\nFrom b@x Thu Jan  1 00:00:01 1970]"},
    {"FROM is text", A "S: 1\n\n\nFROM b@x Thu Jan  1 00:00:01 1970\nS: 2\n\n",
	"[S: 1\n\n\nFROM b@x Thu Jan  1 00:00:01 1970\nS: 2\n]"},
    {"a doubtful line separates, too", A "S: 1\n\n\nFrom b@x Thu Jan  1 00:00:01 1970\ntext and more\n\n",
	"[S: 1\n\n][text and more\n]"},
    {"empty lines before the first", "\n\n" A "S: 1\n\n", "[S: 1\n]"},
    {"text before the first is passed over", "what is this\n\n" A "S: 1\n\n", "[S: 1\n]"},
    {"text only", "what is this\n\nand this\n", ""},
    {"NUL and lone CR", A "S: 1\n\n\r.\r\r\n\n\r\n" B "S: 2\n\n", "[S: 1\n\n\r.\r\r\n\n][S: 2\n]"},
    /* Content-Length */
    {"a length that is true keeps a doubtful line in",
	A "Content-Length: 43\n\n\nFrom b@x Thu Jan  1 00:00:01 1970\ntext ok\n\n" B "S: 2\n\n",
	"[{Content-Length: 43\n}\n\nFrom b@x Thu Jan  1 00:00:01 1970\ntext ok\n][S: 2\n]"},
    {"and up to the end of the file", A "content-length:43\n\n\nFrom b@x Thu Jan  1 00:00:01 1970\ntext ok\n",
	"[{content-length:43\n}\n\nFrom b@x Thu Jan  1 00:00:01 1970\ntext ok\n]"},
    {"and with its empty line counted",
	A "Content-Length: 44\n\n\nFrom b@x Thu Jan  1 00:00:01 1970\ntext ok\n\n" B "S: 2\n\n",
	"[{Content-Length: 44\n}\n\nFrom b@x Thu Jan  1 00:00:01 1970\ntext ok\n][S: 2\n]"},
    {"one that is too short does not",
	A "Content-Length: 42\n\n\nFrom b@x Thu Jan  1 00:00:01 1970\ntext ok\n\n" B "S: 2\n\n",
	"[{Content-Length: 42\n}\n][text ok\n][S: 2\n]"},
    {"nor one that is too long",
	A "Content-Length: 45\n\n\nFrom b@x Thu Jan  1 00:00:01 1970\ntext ok\n\n" B "S: 2\n\n",
	"[{Content-Length: 45\n}\n][text ok\n][S: 2\n]"},
    {"nor one that goes beyond the file",
	A "Content-Length: 999999999999999999\n\n\nFrom b@x Thu Jan  1 00:00:01 1970\ntext\n\n",
	"[{Content-Length: 999999999999999999\n}\n][text\n]"},
    {"nor one that is no number", A "Content-Length: 43x\n\n\nFrom b@x Thu Jan  1 00:00:01 1970\ntext ok\n\n",
	"[{Content-Length: 43x\n}\n][text ok\n]"},
    {"nothing hides a message: up to the next",
	A "Content-Length: 60\n\none\n\n" B "S: 2\n\ntwo\n\n" A "S: 3\n\n",
	"[{Content-Length: 60\n}\none\n][S: 2\n\ntwo\n][S: 3\n]"},
    {"nothing hides a message: up to the end", A "Content-Length: 59\n\none\n\n" B "S: 2\n\ntwo\n",
	"[{Content-Length: 59\n}\none\n][S: 2\n\ntwo\n]"},
    {"a short one cuts nothing", A "Content-Length: 2\n\none\ntwo\n\nthree\n\n" B "S: 2\n\n",
	"[{Content-Length: 2\n}\none\ntwo\n\nthree\n][S: 2\n]"},
    {"a patch within a body",
	A
	"Content-Length: 73\n\n\nFrom 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001\n\n" B
	"S: 2\n\n",
	"[{Content-Length: 73\n}\n\nFrom 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 "
	"2001\n][S: 2\n]"},
    /* What mail readers write. */
    {"fields that are rewritten",
	A "Status: RO\nS: 1\nX-Status: A\nX-Keywords: a\n  b\nX-UID: 7\nX-IMAPbase: 1 2\nLines: "
	  "3\nx-mozilla-status: 0001\nX-UIDL: a\nStatusses: x\n\nStatus: body\n",
	"[{Status: RO\n}S: 1\n{X-Status: A\nX-Keywords: a\n  b\nX-UID: 7\nX-IMAPbase: 1 2\nLines: "
	"3\nx-mozilla-status: 0001\nX-UIDL: a\n}Statusses: x\n\nStatus: body\n]"},
    {"a note of a mail reader",
	"From MAILER-DAEMON Thu Jan  1 00:00:01 1970\n" NOTE "X-IMAP: 1 2\n\ntext\n\n" A "S: 1\n\n",
	"[" NOTE "{X-IMAP: 1 2\n}\ntext\n]![S: 1\n]"},
    {"is one as the first message only",
	A "S: 1\n\n\nFrom MAILER-DAEMON Thu Jan  1 00:00:01 1970\n" NOTE "X-IMAP: 1 2\n\ntext\n\n",
	"[S: 1\n\n][" NOTE "{X-IMAP: 1 2\n}\ntext\n]"},
    {"and not from anybody", A NOTE "X-IMAP: 1 2\n\ntext\n\n", "[" NOTE "{X-IMAP: 1 2\n}\ntext\n]"},
    {"and not without the field", "From MAILER-DAEMON Thu Jan  1 00:00:01 1970\n" NOTE "\ntext\n\n",
	"[" NOTE "\ntext\n]"},
};

static void finds_messages(void **state)
{
	(void)state;
	static const size_t steps[] = {65536, 1, 2, 7};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
			struct memory memory = {rows[i].mbox, strlen(rows[i].mbox), steps[s], 0, 0};
			static struct output output;
			const char *got = parse(&memory, &output);
			if (strcmp(got, rows[i].want) != 0)
				fail_msg("%s, %zu octets at a time:\n%s\nwanted\n%s", rows[i].sentence,
				    steps[s], got, rows[i].want);
		}
	}
}

struct line_row {
	const char *line;
	enum mbox_from want;
};

static const struct line_row line_rows[] = {
    {"From a Thu Jan  1 00:00:01 1970\nA: b\n", MBOX_FROM_SURE},
    {"From a Thu Jan 01 00:00:01 1970\nA: b\n", MBOX_FROM_SURE},
    {"From a  Thu Jan  1 00:00:01 1970\nA : b\n", MBOX_FROM_SURE},
    {"From a Thu Jan  1 00:00 1970\nA: b\n", MBOX_FROM_SURE},
    {"From a Thu Jan  1 0:00:01 1970\nA: b\n", MBOX_FROM_SURE},
    {"From a Thu Jan  1 00:00:01 EST 1970\nA: b\n", MBOX_FROM_SURE},
    {"From a Thu Jan  1 00:00:01 1970 EST\nA: b\n", MBOX_FROM_SURE},
    {"From a Thu Jan  1 00:00:01 1970 -0500\nA: b\n", MBOX_FROM_SURE},
    {"From a Thu Jan  1 00:00:01 1970 remote from here\nA: b\n", MBOX_FROM_SURE},
    {"From a Thu, 1 Jan 1970 00:00:01 +0000\nA: b\n", MBOX_FROM_SURE},
    {"From \"a b\"@x thu jan 1 00:00:01 1970\nA: b\n", MBOX_FROM_SURE},
    {"From - Thu Jan  1 00:00:01 1970\r\nA: b\n", MBOX_FROM_SURE},
    {"From <> Thu Jan  1 00:00:01 1970\n\n", MBOX_FROM_DOUBTFUL},
    {"From a Thu Jan  1 00:00:01 1970\n", MBOX_FROM_DOUBTFUL},
    {"From a Thu Jan  1 00:00:01 1970\nno field: here\n", MBOX_FROM_DOUBTFUL},
    {"From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001\nFrom: a\n", MBOX_FROM_DOUBTFUL},
    {"From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2002\nFrom: a\n", MBOX_FROM_SURE},
    {"From a Thu Jan  1 00:00:01 1970", MBOX_FROM_NOT},
    {"From a Thu Jan  1 1970\nA: b\n", MBOX_FROM_NOT},
    {"From a Thu Jan  1 00:00:01\nA: b\n", MBOX_FROM_NOT},
    {"From a Xxx Jan  1 00:00:01 1970\nA: b\n", MBOX_FROM_NOT},
    {"From a Thu Jux  1 00:00:01 1970\nA: b\n", MBOX_FROM_NOT},
    {"From a Thu Jan 111 00:00:01 1970\nA: b\n", MBOX_FROM_NOT},
    {"From a Thu Jan 1 00-00-01 1970\nA: b\n", MBOX_FROM_NOT},
    {"From Thu Jan  1 00:00:01 1970\nA: b\n", MBOX_FROM_NOT},
    {"From: a Thu Jan  1 00:00:01 1970\nA: b\n", MBOX_FROM_NOT},
    {" From a Thu Jan  1 00:00:01 1970\nA: b\n", MBOX_FROM_NOT},
    {"From", MBOX_FROM_NOT},
    {"", MBOX_FROM_NOT},
};

static void knows_from_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(line_rows) / sizeof(line_rows[0]); i++) {
		enum mbox_from got = mbox_from_look(line_rows[i].line, strlen(line_rows[i].line));
		if (got != line_rows[i].want)
			fail_msg("%d, not %d: %s", got, line_rows[i].want, line_rows[i].line);
	}
}

static void writes_from_lines(void **state)
{
	(void)state;
	static const struct {
		const char *sender;
		time_t when;
		const char *want;
	} senders[] = {
	    {"a@x", 0, "From a@x Thu Jan  1 00:00:00 1970\n"},
	    {"", 1000000000, "From MAILER-DAEMON Sun Sep  9 01:46:40 2001\n"},
	    {"a b\n\177\t@x", 4102444799, "From a-b---@x Thu Dec 31 23:59:59 2099\n"},
	    {"a@x", INT64_MAX, "From a@x Thu Jan  1 00:00:00 1970\n"},
	    {"a@x", -1, "From a@x Wed Dec 31 23:59:59 1969\n"},
	};
	char line[MBOX_FROM_OCTETS];
	for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++) {
		size_t len =
		    mbox_from_write(senders[i].sender, strlen(senders[i].sender), senders[i].when, line);
		assert_int_equal(strlen(senders[i].want), len);
		assert_memory_equal(senders[i].want, line, len);
		assert_int_equal(MBOX_FROM_DOUBTFUL, mbox_from_look(line, len));
	}
	char sender[5000];
	memset(sender, 'a', sizeof(sender));
	size_t len = mbox_from_write(sender, sizeof(sender), 0, line);
	assert_int_equal(MBOX_FROM_DOUBTFUL, mbox_from_look(line, len));
}

/* A piece of text often enough. */
static struct memory repeated(const char *head, const char *text, size_t count)
{
	size_t head_len = strlen(head);
	size_t len = strlen(text);
	char *all = malloc(head_len + len * count + 1);
	assert_non_null(all);
	memcpy(all, head, head_len);
	for (size_t i = 0; i < count; i++)
		memcpy(all + head_len + i * len, text, len);
	return (struct memory){all, head_len + len * count, SIZE_MAX, 0, 0};
}

struct large_row {
	const char *sentence, *head, *text;
	size_t count;
	unsigned messages;
};

static const struct large_row large_rows[] = {
    {"a million header fields", A, "Status: x\n", 1000000, 1},
    {"one header line of ten million octets", A "S: ", "0123456789", 1000000, 1},
    {"a million lines of CR", A "S: 1\n\n", "\r", 1000000, 1},
    {"a million empty lines", A "S: 1\n\n", "\n", 1000000, 1},
    {"a hundred thousand messages", "", A "S: 1\n\nbody\n\n", 100000, 100000},
    {"each of them with a length beyond the file", "",
	A "Content-Length: 99999999\n\n\nFrom b@x Thu Jan  1 00:00:01 1970\ntext\n\n", 30000, 60000},
    {"a doubtful line again and again within a length that does not hold", A "Content-Length: 1110000\n\n\n",
	"From b@x Thu Jan  1 00:00:01 1970\n\n\n", 30000, 30001},
    {"and within one that holds", A "Content-Length: 1080001\n\n\n",
	"From b@x Thu Jan  1 00:00:01 1970\n\n\n", 30000, 1},
    {"lengths within what is doubtful, all up to the end", "",
	"From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001\nContent-Length: "
	"1000000\n\nx\n\n",
	30000, 30000},
};

static void is_linear(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(large_rows) / sizeof(large_rows[0]); i++) {
		struct memory memory = repeated(large_rows[i].head, large_rows[i].text, large_rows[i].count);
		static struct mbox_parser parser;
		struct mbox_message message;
		unsigned messages = 0;
		mbox_begin(&parser, read_memory, &memory, 0);
		while (mbox_next(&parser, NULL, NULL, &message) == MBOX_MESSAGE)
			messages++;
		if (messages != large_rows[i].messages)
			fail_msg("%s: %u messages", large_rows[i].sentence, messages);
		/* Read once, and once more by the scout, and a little for each length. */
		if (memory.reads > 14 * memory.len)
			fail_msg("%s: %zu octets were read %.1f times", large_rows[i].sentence, memory.len,
			    (double)memory.reads / (double)memory.len);
		free((char *)(uintptr_t)memory.text);
	}
}

/* What is looked at lies across the ends of windows, wherever they are. */
static void crosses_windows(void **state)
{
	(void)state;
	static char text[3 * MBOX_WINDOW_OCTETS];
	static const char *const ends[] = {"\n\n", "\r\n\r\n", "\n\r\n"};
	static struct mbox_parser parser;
	for (size_t window = MBOX_SCOUT_OCTETS; window <= MBOX_WINDOW_OCTETS; window *= 8) {
		for (size_t pad = window - 1300; pad < window + 10; pad++) {
			const char *end = ends[pad % 3];
			size_t len = strlen(strcpy(text, A "S: a\n\n"));
			memset(text + len, 'x', pad - len);
			strcpy(text + pad, end);
			strcat(text + pad, B "Content-Length: 50\n\n\n" A "text\n\n" A "S: c\n\nc");
			struct memory memory = {text, strlen(text), SIZE_MAX, 0, 0};
			struct mbox_message message;
			size_t content = strlen(A);
			size_t first_end = strcspn(end, "\n") + 1;
			mbox_begin(&parser, read_memory, &memory, 0);
			assert_int_equal(mbox_next(&parser, NULL, NULL, &message), MBOX_MESSAGE);
			assert_int_equal(message.length, pad + first_end - content);
			assert_int_equal(message.end, pad + strlen(end));
			assert_int_equal(mbox_next(&parser, NULL, NULL, &message), MBOX_MESSAGE);
			assert_int_equal(message.length, strlen("Content-Length: 50\n\n\n" A "text\n"));
			assert_int_equal(mbox_next(&parser, NULL, NULL, &message), MBOX_MESSAGE);
			assert_int_equal(message.length, 7);
			assert_int_equal(mbox_next(&parser, NULL, NULL, &message), MBOX_END);
		}
	}
}

static void says_when_reading_fails(void **state)
{
	(void)state;
	static struct output output;
	struct memory memory = repeated(A "S: 1\n\n", "0123456789\n", 20000);
	memory.fail_at = 100000;
	assert_string_equal("?", parse(&memory, &output));
	free((char *)(uintptr_t)memory.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(finds_messages),
	    cmocka_unit_test(knows_from_lines),
	    cmocka_unit_test(writes_from_lines),
	    cmocka_unit_test(is_linear),
	    cmocka_unit_test(crosses_windows),
	    cmocka_unit_test(says_when_reading_fails),
	};
	return cmocka_run_group_tests_name("mbox_parse", tests, NULL, NULL);
}
