/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/auth_token.h"
#include "server/base64.h"
#include "server/pop3_parse.h"
#include "server/pop3_reply.h"

#define OCTETS(text) (const uint8_t *)(text), sizeof(text) - 1

static void lines(void **state)
{
	static const struct {
		const char *sentence;
		const uint8_t *line;
		size_t len;
		enum pop3_syntax want;
		const char *verb, *text;
	} rows[] = {
	    {"a verb alone", OCTETS("STAT\r\n"), POP3_SYNTAX_OK, "STAT", ""},
	    {"a bare LF ends it too", OCTETS("STAT\n"), POP3_SYNTAX_OK, "STAT", ""},
	    {"without an end it is the same", OCTETS("STAT"), POP3_SYNTAX_OK, "STAT", ""},
	    {"the text begins behind one space", OCTETS("PASS  a b \r\n"), POP3_SYNTAX_OK, "PASS", " a b "},
	    {"a trailing space is an empty text", OCTETS("AUTH \r\n"), POP3_SYNTAX_OK, "AUTH", ""},
	    {"AUTH takes a TAB", OCTETS("auth\tPLAIN\r\n"), POP3_SYNTAX_OK, "auth", "PLAIN"},
	    {"nobody else does", OCTETS("LIST\t1\r\n"), POP3_SYNTAX_CONTROL, NULL, NULL},
	    {"an empty line", OCTETS("\r\n"), POP3_SYNTAX_EMPTY, NULL, NULL},
	    {"a space first", OCTETS(" STAT\r\n"), POP3_SYNTAX_EMPTY, NULL, NULL},
	    {"NUL", OCTETS("ST\0T\r\n"), POP3_SYNTAX_CONTROL, NULL, NULL},
	    {"NUL in an argument", OCTETS("USER a\0b\r\n"), POP3_SYNTAX_CONTROL, NULL, NULL},
	    {"two CRs", OCTETS("STAT\r\r\n"), POP3_SYNTAX_CONTROL, NULL, NULL},
	    {"DEL", OCTETS("USER a\x7f\r\n"), POP3_SYNTAX_CONTROL, NULL, NULL},
	    {"octets above ASCII are text", OCTETS("PASS \xc3\xa9\r\n"), POP3_SYNTAX_OK, "PASS", "\xc3\xa9"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct pop3_line line;
		enum pop3_syntax have = pop3_parse_line(rows[i].line, rows[i].len, &line);
		bool same = have == rows[i].want;
		if (same && have == POP3_SYNTAX_OK)
			same = line.verb_len == strlen(rows[i].verb) &&
			       line.text_len == strlen(rows[i].text) &&
			       memcmp(line.verb, rows[i].verb, line.verb_len) == 0 &&
			       memcmp(line.text, rows[i].text, line.text_len) == 0;
		if (!same)
			fail_msg("%s: have %d \"%.*s\" \"%.*s\"", rows[i].sentence, (int)have,
			    (int)line.verb_len, line.verb, (int)line.text_len, line.text);
	}
}

static void arguments(void **state)
{
	static const struct {
		const char *sentence, *line;
		enum pop3_rule rule;
		enum pop3_syntax want;
		uint32_t msgno, lines;
	} rows[] = {
	    {"nothing is nothing", "NOOP", POP3_RULE_NONE, POP3_SYNTAX_OK, 0, 0},
	    {"trailing spaces are nothing", "NOOP   ", POP3_RULE_NONE, POP3_SYNTAX_OK, 0, 0},
	    {"something is too much", "NOOP x", POP3_RULE_NONE, POP3_SYNTAX_ARGS, 0, 0},
	    {"a number", "RETR 17", POP3_RULE_MSGNO, POP3_SYNTAX_OK, 17, 0},
	    {"leading zeros", "RETR 0017", POP3_RULE_MSGNO, POP3_SYNTAX_OK, 17, 0},
	    {"spaces round it", "RETR  17 ", POP3_RULE_MSGNO, POP3_SYNTAX_OK, 17, 0},
	    {"there is no message 0", "RETR 0", POP3_RULE_MSGNO, POP3_SYNTAX_ARGS, 0, 0},
	    {"a missing number", "RETR", POP3_RULE_MSGNO, POP3_SYNTAX_ARGS, 0, 0},
	    {"which LIST may leave out", "LIST", POP3_RULE_MSGNO_OPTIONAL, POP3_SYNTAX_OK, 0, 0},
	    {"a sign", "RETR -1", POP3_RULE_MSGNO, POP3_SYNTAX_ARGS, 0, 0},
	    {"the other sign", "RETR +1", POP3_RULE_MSGNO, POP3_SYNTAX_ARGS, 0, 0},
	    {"a letter behind", "RETR 1x", POP3_RULE_MSGNO, POP3_SYNTAX_ARGS, 0, 0},
	    {"hexadecimal", "RETR 0x1", POP3_RULE_MSGNO, POP3_SYNTAX_ARGS, 0, 0},
	    {"two where one belongs", "RETR 1 2", POP3_RULE_MSGNO, POP3_SYNTAX_ARGS, 0, 0},
	    {"2^32 is not 0", "RETR 4294967296", POP3_RULE_MSGNO, POP3_SYNTAX_OK, UINT32_MAX, 0},
	    {"2^32 + 1 is not 1", "RETR 4294967297", POP3_RULE_MSGNO, POP3_SYNTAX_OK, UINT32_MAX, 0},
	    {"2^64 + 1 is not 1", "RETR 18446744073709551617", POP3_RULE_MSGNO, POP3_SYNTAX_OK, UINT32_MAX,
		0},
	    {"TOP's two", "TOP 1 0", POP3_RULE_MSGNO_LINES, POP3_SYNTAX_OK, 1, 0},
	    {"TOP with all lines", "TOP 1 99999999", POP3_RULE_MSGNO_LINES, POP3_SYNTAX_OK, 1, 99999999},
	    {"more lines than can be", "TOP 1 99999999999", POP3_RULE_MSGNO_LINES, POP3_SYNTAX_OK, 1,
		UINT32_MAX},
	    {"TOP's second is missing", "TOP 1", POP3_RULE_MSGNO_LINES, POP3_SYNTAX_ARGS, 0, 0},
	    {"TOP's second is negative", "TOP 1 -1", POP3_RULE_MSGNO_LINES, POP3_SYNTAX_ARGS, 0, 0},
	    {"TOP with three", "TOP 1 2 3", POP3_RULE_MSGNO_LINES, POP3_SYNTAX_ARGS, 0, 0},
	    {"a text must be there", "USER", POP3_RULE_TEXT, POP3_SYNTAX_ARGS, 0, 0},
	    {"and not be empty", "USER ", POP3_RULE_TEXT, POP3_SYNTAX_ARGS, 0, 0},
	    {"but may be a space", "USER  ", POP3_RULE_TEXT, POP3_SYNTAX_OK, 0, 0},
	    {"anything may be nothing", "PASS", POP3_RULE_ANY, POP3_SYNTAX_OK, 0, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct pop3_line line;
		struct pop3_args args;
		assert_int_equal(pop3_parse_line((const uint8_t *)rows[i].line, strlen(rows[i].line), &line),
		    POP3_SYNTAX_OK);
		enum pop3_syntax have = pop3_parse_args(&line, rows[i].rule, &args);
		bool same = have == rows[i].want;
		if (have == POP3_SYNTAX_OK)
			same = same && args.msgno == rows[i].msgno && args.lines == rows[i].lines;
		if (!same)
			fail_msg("%s: have %d, %u, %u", rows[i].sentence, (int)have, args.msgno, args.lines);
	}
}

static void base64_is_strict(void **state)
{
	static const struct {
		const char *sentence, *text, *want; /* NULL: refused */
	} rows[] = {
	    {"nothing", "", ""},
	    {"one octet", "YQ==", "a"},
	    {"two", "YWI=", "ab"},
	    {"three", "YWJj", "abc"},
	    {"four", "YWJjZA==", "abcd"},
	    {"the last two of the alphabet", "+/+/", "\xfb\xff\xbf"},
	    {"= first", "=AAA", NULL},
	    {"= alone", "=", NULL},
	    {"==== alone", "====", NULL},
	    {"A===", "A===", NULL},
	    {"= in the middle", "AAA=BBB", NULL},
	    {"a group behind the padding", "YQ==YWJj", NULL},
	    {"one = too few", "YQ=", NULL},
	    {"padding left out", "YQ", NULL},
	    {"one = too many", "YWJj=", NULL},
	    {"a letter between two =", "YQ=A", NULL},
	    {"unused bits that are set", "YR==", NULL},
	    {"and in a longer group",
		"YWK="
		"",
		NULL},
	    {"a space", "YWJ j", NULL},
	    {"the other alphabet", "-_-_", NULL},
	    {"a star", "*", NULL},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t len = strlen(rows[i].text);
		for (size_t cut = 0; cut <= len; cut++) {
			uint8_t out[64];
			struct base64_decoder decoder = {0};
			size_t got = base64_decode(&decoder, (const uint8_t *)rows[i].text, cut, out);
			got += base64_decode(
			    &decoder, (const uint8_t *)rows[i].text + cut, len - cut, out + got);
			bool good = base64_decoded(&decoder);
			bool want = rows[i].want != NULL;
			if (good != want ||
			    (want && (got != strlen(rows[i].want) || memcmp(out, rows[i].want, got) != 0)))
				fail_msg("%s, cut at %zu", rows[i].sentence, cut);
		}
	}
}

static void base64_returns(void **state)
{
	(void)state;
	for (size_t len = 0; len < 100; len++) {
		uint8_t in[100], text[200], out[200];
		for (size_t i = 0; i < len; i++)
			in[i] = (uint8_t)(i * 37 + len);
		size_t text_len = base64_encode(in, len, text);
		assert_int_equal(text_len, BASE64_ENCODED_OCTETS(len));
		struct base64_decoder decoder = {0};
		assert_int_equal(base64_decode(&decoder, text, text_len, out), len);
		assert_true(base64_decoded(&decoder));
		assert_memory_equal(out, in, len);
	}
}

/* The longest token, in pieces, is held; one octet more is not, and never takes more memory. */
static void tokens_are_bounded(void **state)
{
	(void)state;
	static uint8_t piece[4096];
	struct auth_token token = {.octets = NULL};
	memset(piece, 'A', sizeof piece);
	for (size_t left = SASLX_TOKEN_OCTETS / 3 * 4; left > 0;) {
		size_t now = left < sizeof piece ? left : sizeof piece;
		auth_token_feed(&token, piece, now);
		left -= now;
	}
	auth_token_feed(&token, OCTETS("AA==\r"));
	assert_true(auth_token_valid(&token));
	assert_int_equal(token.len, SASLX_TOKEN_OCTETS);
	auth_token_clear(&token);
	for (int i = 0; i < 1000; i++)
		auth_token_feed(&token, piece, sizeof piece);
	assert_false(auth_token_valid(&token));
	assert_true(token.size <= 2 * SASLX_TOKEN_OCTETS);
	auth_token_clear(&token);
	assert_null(token.octets);
}

static bool reply(struct session_output *out, enum pop3_status status, const char *code, const char *format,
    ...) __attribute__((format(printf, 4, 5)));
static bool reply(
    struct session_output *out, enum pop3_status status, const char *code, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	bool fits = pop3_reply(out, status, code, format, ap);
	va_end(ap);
	return fits;
}

static void replies(void **state)
{
	static const struct {
		const char *sentence;
		enum pop3_status status;
		const char *code, *text, *want;
	} rows[] = {
	    {"an answer", POP3_STATUS_OK, NULL, "hello", "+OK hello\r\n"},
	    {"an error", POP3_STATUS_ERR, NULL, "no", "-ERR no\r\n"},
	    {"an error with a code", POP3_STATUS_ERR, "[AUTH]", "no", "-ERR [AUTH] no\r\n"},
	    {"a line of a list", POP3_STATUS_LINE, NULL, "[x]", "[x]\r\n"},
	    {"no text keeps the space", POP3_STATUS_OK, NULL, "", "+OK \r\n"},
	    {"a text is no code", POP3_STATUS_ERR, NULL, "[AUTH] no", "-ERR  [AUTH] no\r\n"},
	    {"a text ends no line", POP3_STATUS_OK, NULL, "a\r\n-ERR b",
		"+OK a?"
		"?-ERR b\r\n"},
	    {"nor leaves ASCII", POP3_STATUS_OK, NULL, "\x1b[31m\xc3\xa9", "+OK ?[31m??\r\n"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint8_t buf[600];
		struct session_output out = {.buf = buf, .size = sizeof buf};
		assert_true(reply(&out, rows[i].status, rows[i].code, "%s", rows[i].text));
		if (out.used != strlen(rows[i].want) || memcmp(buf, rows[i].want, out.used) != 0)
			fail_msg("%s: %.*s", rows[i].sentence, (int)out.used, (const char *)buf);
	}
}

static void replies_are_bounded(void **state)
{
	(void)state;
	uint8_t buf[2000];
	char text[1500];
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = 0;
	struct session_output out = {.buf = buf, .size = sizeof buf};
	assert_true(reply(&out, POP3_STATUS_ERR, "[SYS/TEMP]", "%s", text));
	assert_int_equal(out.used, LIMIT_REPLY_OCTETS);
	assert_memory_equal(buf + out.used - 3, "x\r\n", 3);
	out = (struct session_output){.buf = buf, .size = 9};
	assert_true(reply(&out, POP3_STATUS_OK, NULL, "123"));
	assert_int_equal(out.used, 9);
	assert_false(reply(&out, POP3_STATUS_OK, NULL, "1"));
	assert_int_equal(out.used, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines),
	    cmocka_unit_test(arguments),
	    cmocka_unit_test(base64_is_strict),
	    cmocka_unit_test(base64_returns),
	    cmocka_unit_test(tokens_are_bounded),
	    cmocka_unit_test(replies),
	    cmocka_unit_test(replies_are_bounded),
	};
	return cmocka_run_group_tests_name("pop3_parse", tests, NULL, NULL);
}
