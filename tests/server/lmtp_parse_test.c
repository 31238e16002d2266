/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/lmtp_parse.h"

struct command_row {
	const char *sentence, *line;
	enum lmtp_syntax syntax;
	enum lmtp_verb verb;
	const char *address, *mailbox;
	uint64_t size;
};

static const struct command_row commands[] = {
    {"LHLO", "LHLO mx.example.net", LMTP_SYNTAX_OK, LMTP_LHLO, "", "", 0},
    {"in small letters", "lhlo mx", LMTP_SYNTAX_OK, LMTP_LHLO, "", "", 0},
    {"LHLO by nobody", "LHLO", LMTP_SYNTAX_ARGUMENT, LMTP_LHLO, "", "", 0},
    {"HELO is SMTP", "HELO mx", LMTP_SYNTAX_OK, LMTP_UNKNOWN, "", "", 0},
    {"EHLO is SMTP", "EHLO mx", LMTP_SYNTAX_OK, LMTP_UNKNOWN, "", "", 0},
    {"nothing", "", LMTP_SYNTAX_OK, LMTP_UNKNOWN, "", "", 0},
    {"half a verb", "MAI", LMTP_SYNTAX_OK, LMTP_UNKNOWN, "", "", 0},
    {"a verb and more", "MAILS FROM:<>", LMTP_SYNTAX_OK, LMTP_UNKNOWN, "", "", 0},
    {"a blank behind", "DATA ", LMTP_SYNTAX_OK, LMTP_DATA, "", "", 0},
    {"DATA with an argument", "DATA x", LMTP_SYNTAX_ARGUMENT, LMTP_DATA, "", "", 0},
    {"RSET with an argument", "RSET x", LMTP_SYNTAX_ARGUMENT, LMTP_RSET, "", "", 0},
    {"NOOP with an argument", "NOOP x y", LMTP_SYNTAX_OK, LMTP_NOOP, "", "", 0},
    {"QUIT", "QUIT", LMTP_SYNTAX_OK, LMTP_QUIT, "", "", 0},
    {"VRFY", "VRFY alice", LMTP_SYNTAX_OK, LMTP_VRFY, "", "", 0},
    {"VRFY of nobody", "VRFY", LMTP_SYNTAX_ARGUMENT, LMTP_VRFY, "", "", 0},
    {"EXPN", "EXPN list", LMTP_SYNTAX_OK, LMTP_EXPN, "", "", 0},
    {"HELP", "HELP", LMTP_SYNTAX_OK, LMTP_HELP, "", "", 0},
    {"a tab", "NOOP\tx", LMTP_SYNTAX_LINE, LMTP_UNKNOWN, "", "", 0},
    {"a CR inside", "NOOP \rRSET", LMTP_SYNTAX_LINE, LMTP_UNKNOWN, "", "", 0},
    {"eight bits", "NOOP \xC3\xA4", LMTP_SYNTAX_LINE, LMTP_UNKNOWN, "", "", 0},
    {"DEL", "NOOP \x7F", LMTP_SYNTAX_LINE, LMTP_UNKNOWN, "", "", 0},

    {"a sender", "MAIL FROM:<a@b.example>", LMTP_SYNTAX_OK, LMTP_MAIL, "a@b.example", "a@b.example", 0},
    {"in small letters", "mail from:<a@b>", LMTP_SYNTAX_OK, LMTP_MAIL, "a@b", "a@b", 0},
    {"the null sender", "MAIL FROM:<>", LMTP_SYNTAX_OK, LMTP_MAIL, "", "", 0},
    {"a blank behind the colon", "MAIL FROM: <a@b>", LMTP_SYNTAX_OK, LMTP_MAIL, "a@b", "a@b", 0},
    {"no brackets", "MAIL FROM:a@b", LMTP_SYNTAX_PATH, LMTP_MAIL, NULL, NULL, 0},
    {"one bracket", "MAIL FROM:<a@b", LMTP_SYNTAX_PATH, LMTP_MAIL, NULL, NULL, 0},
    {"no colon", "MAIL FROM <a@b>", LMTP_SYNTAX_ARGUMENT, LMTP_MAIL, NULL, NULL, 0},
    {"MAIL alone", "MAIL", LMTP_SYNTAX_ARGUMENT, LMTP_MAIL, NULL, NULL, 0},
    {"MAIL TO", "MAIL TO:<a@b>", LMTP_SYNTAX_ARGUMENT, LMTP_MAIL, NULL, NULL, 0},
    {"nothing behind the colon", "MAIL FROM:", LMTP_SYNTAX_PATH, LMTP_MAIL, NULL, NULL, 0},
    {"all characters of an atom", "MAIL FROM:<a!#$%&'*+-/=?^_`{|}~9@b>", LMTP_SYNTAX_OK, LMTP_MAIL,
	"a!#$%&'*+-/=?^_`{|}~9@b", "a!#$%&'*+-/=?^_`{|}~9@b", 0},
    {"dots where there should be none", "MAIL FROM:<.a..b.@c>", LMTP_SYNTAX_OK, LMTP_MAIL, ".a..b.@c",
	".a..b.@c", 0},
    {"a route is ignored", "MAIL FROM:<@x.example,@[192.0.2.1]:a@b>", LMTP_SYNTAX_OK, LMTP_MAIL, "a@b", "a@b",
	0},
    {"a route without an end", "MAIL FROM:<@x.example>", LMTP_SYNTAX_PATH, LMTP_MAIL, NULL, NULL, 0},
    {"a route without a name", "MAIL FROM:<@:a@b>", LMTP_SYNTAX_PATH, LMTP_MAIL, NULL, NULL, 0},
    {"an address literal", "MAIL FROM:<a@[IPv6:2001:db8::1]>", LMTP_SYNTAX_OK, LMTP_MAIL,
	"a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]", 0},
    {"a literal without an end", "MAIL FROM:<a@[192.0.2.1>", LMTP_SYNTAX_PATH, LMTP_MAIL, NULL, NULL, 0},
    {"no domain behind the @", "MAIL FROM:<a@>", LMTP_SYNTAX_PATH, LMTP_MAIL, NULL, NULL, 0},
    {"no local part", "MAIL FROM:<@b>", LMTP_SYNTAX_PATH, LMTP_MAIL, NULL, NULL, 0},
    {"two @", "MAIL FROM:<a@b@c>", LMTP_SYNTAX_PATH, LMTP_MAIL, NULL, NULL, 0},
    {"a bracket inside", "MAIL FROM:<a<b@c>", LMTP_SYNTAX_PATH, LMTP_MAIL, NULL, NULL, 0},
    {"a size", "MAIL FROM:<> SIZE=1234", LMTP_SYNTAX_OK, LMTP_MAIL, "", "", 1234},
    {"the largest size", "MAIL FROM:<> SIZE=18446744073709551615", LMTP_SYNTAX_OK, LMTP_MAIL, "", "",
	UINT64_MAX},
    {"a larger size", "MAIL FROM:<> SIZE=18446744073709551616", LMTP_SYNTAX_OK, LMTP_MAIL, "", "",
	UINT64_MAX},
    {"twenty digits", "MAIL FROM:<> SIZE=99999999999999999999", LMTP_SYNTAX_OK, LMTP_MAIL, "", "",
	UINT64_MAX},
    {"one digit more", "MAIL FROM:<> SIZE=099999999999999999999", LMTP_SYNTAX_PARAMETER, LMTP_MAIL, NULL,
	NULL, UINT64_MAX},
    {"no digits", "MAIL FROM:<> SIZE=", LMTP_SYNTAX_PARAMETER, LMTP_MAIL, NULL, NULL, 0},
    {"letters", "MAIL FROM:<> SIZE=1k", LMTP_SYNTAX_PARAMETER, LMTP_MAIL, NULL, NULL, 1},
    {"less than nothing", "MAIL FROM:<> SIZE=-1", LMTP_SYNTAX_PARAMETER, LMTP_MAIL, NULL, NULL, 0},
    {"eight bits", "MAIL FROM:<a@b> BODY=8BITMIME SIZE=1", LMTP_SYNTAX_OK, LMTP_MAIL, "a@b", "a@b", 1},
    {"seven bits, in small letters", "MAIL FROM:<a@b> body=7bit", LMTP_SYNTAX_OK, LMTP_MAIL, "a@b", "a@b", 0},
    {"no such body", "MAIL FROM:<> BODY=BINARYMIME", LMTP_SYNTAX_PARAMETER, LMTP_MAIL, NULL, NULL, 0},
    {"half a body", "MAIL FROM:<> BODY=8BIT", LMTP_SYNTAX_PARAMETER, LMTP_MAIL, NULL, NULL, 0},
    {"what was not offered", "MAIL FROM:<> SMTPUTF8", LMTP_SYNTAX_STRANGE_PARAMETER, LMTP_MAIL, NULL, NULL,
	0},
    {"no blank before a parameter", "MAIL FROM:<a@b>SIZE=1", LMTP_SYNTAX_PATH, LMTP_MAIL, NULL, NULL, 0},

    {"a recipient", "RCPT TO:<alice@example.org>", LMTP_SYNTAX_OK, LMTP_RCPT, "alice@example.org",
	"alice@example.org", 0},
    {"a recipient without a domain", "RCPT TO:<alice>", LMTP_SYNTAX_OK, LMTP_RCPT, "alice", "alice", 0},
    {"no null recipient", "RCPT TO:<>", LMTP_SYNTAX_PATH, LMTP_RCPT, NULL, NULL, 0},
    {"quotes that are not needed", "RCPT TO:<\"alice\"@b>", LMTP_SYNTAX_OK, LMTP_RCPT, "\"alice\"@b",
	"alice@b", 0},
    {"quotes that are", "RCPT TO:<\"a b@c\">", LMTP_SYNTAX_OK, LMTP_RCPT, "\"a b@c\"", "a b@c", 0},
    {"escapes", "RCPT TO:<\"a\\\"\\\\\\b\"@c>", LMTP_SYNTAX_OK, LMTP_RCPT, "\"a\\\"\\\\\\b\"@c", "a\"\\b@c",
	0},
    {"nothing in quotes", "RCPT TO:<\"\"@c>", LMTP_SYNTAX_OK, LMTP_RCPT, "\"\"@c", "@c", 0},
    {"a bracket in quotes", "RCPT TO:<\"a>b\"@c>", LMTP_SYNTAX_OK, LMTP_RCPT, "\"a>b\"@c", "a>b@c", 0},
    {"no end of quotes", "RCPT TO:<\"a@c>", LMTP_SYNTAX_PATH, LMTP_RCPT, NULL, NULL, 0},
    {"an escape at the end", "RCPT TO:<\"a\\", LMTP_SYNTAX_PATH, LMTP_RCPT, NULL, NULL, 0},
    {"more behind quotes", "RCPT TO:<\"a\"b@c>", LMTP_SYNTAX_PATH, LMTP_RCPT, NULL, NULL, 0},
    {"a size of a recipient", "RCPT TO:<a> SIZE=1", LMTP_SYNTAX_STRANGE_PARAMETER, LMTP_RCPT, NULL, NULL, 0},
    {"NOTIFY was not offered", "RCPT TO:<a> NOTIFY=NEVER", LMTP_SYNTAX_STRANGE_PARAMETER, LMTP_RCPT, NULL,
	NULL, 0},
};

static void test_commands(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		const struct command_row *row = &commands[i];
		size_t len = strlen(row->line);
		char *exact = malloc(len + 1); /* what lies behind the line is not to be read */
		struct lmtp_command command;
		memcpy(exact, row->line, len);
		exact[len] = '9';
		enum lmtp_syntax syntax = lmtp_parse(exact, len, &command);
		if (syntax != row->syntax || command.verb != row->verb || command.size != row->size)
			fail_msg("%s (%s): %d, verb %d, size %ju", row->sentence, row->line, (int)syntax,
			    (int)command.verb, (uintmax_t)command.size);
		if (row->address != NULL && (strcmp(command.address, row->address) != 0 ||
						strcmp(command.mailbox, row->mailbox) != 0))
			fail_msg(
			    "%s (%s): %s, %s", row->sentence, row->line, command.address, command.mailbox);
		free(exact);
	}
}

/* Each length around the bound, of each part of a path. */
static void test_long_paths(void **state)
{
	static const char *const forms[][3] = {
	    {"MAIL FROM:<", "", "@b>"}, {"MAIL FROM:<a@", "", ">"}, {"RCPT TO:<\"", "\"@b", ">"}};
	(void)state;
	for (size_t form = 0; form < sizeof forms / sizeof *forms; form++) {
		for (size_t len = LMTP_ADDRESS_OCTETS - 8; len < LMTP_ADDRESS_OCTETS + 8; len++) {
			char line[2 * LMTP_ADDRESS_OCTETS], fill[2 * LMTP_ADDRESS_OCTETS];
			struct lmtp_command command;
			memset(fill, 'x', len);
			fill[len] = '\0';
			int octets = snprintf(line, sizeof line, "%s%s%s%s", forms[form][0], fill,
			    forms[form][1], forms[form][2]);
			size_t address = (size_t)octets - (form == 2 ? 9 : 11) - 1;
			enum lmtp_syntax syntax = lmtp_parse(line, (size_t)octets, &command);
			assert_int_equal(
			    syntax, address <= LMTP_ADDRESS_OCTETS ? LMTP_SYNTAX_OK : LMTP_SYNTAX_PATH);
			assert_int_equal(strlen(command.address), syntax == LMTP_SYNTAX_OK ? address : 0);
		}
	}
}

struct data_row {
	const char *sentence, *in, *out; /* out NULL: it does not end */
	uint64_t octets;
};

static const struct data_row datas[] = {
    {"an empty message", ".\r\n", "", 0},
    {"a message", "A: b\r\n\r\nx\r\n.\r\n", "A: b\n\nx\n", 11},
    {"a dot that was doubled", "..\r\n..x\r\n.\r\n", ".\n.x\n", 7},
    {"a dot that was not", ".x\r\n.\r\n", "x\n", 3},
    {"a dot inside a line", "a.b.\r\n.\r\n", "a.b.\n", 6},
    {"three dots", "...\r\n.\r\n", "..\n", 4},
    {"no CRLF before the dot", "x.\r\n.\r\n", "x.\n", 4},
    {"LF before the dot ends nothing", "x\n.\r\n", NULL, 0},
    {"LF behind the dot ends nothing", "x\r\n.\n", NULL, 0},
    {"LF on both sides ends nothing", "x\n.\n", NULL, 0},
    {"CR on both sides ends nothing", "x\r.\r", NULL, 0},
    {"CR before the dot ends nothing", "x\r.\r\n", NULL, 0},
    {"CR behind the dot ends nothing", "x\r\n.\r", NULL, 0},
    {"CR CR LF behind the dot ends nothing", "x\r\n.\r\r\n", NULL, 0},
    {"LF CR before the dot ends nothing", "x\n\r.\r\n", NULL, 0},
    {"what was no end stays as it is", "a\n.\nb\n.\r\nc\r.\r\n.\r\n", "a\n.\nb\n.\nc\r.\n", 14},
    {"a dot behind LF is not taken away", "a\n..b\r\n.\r\n", "a\n..b\n", 7},
    {"CRs by themselves stay", "a\rb\r\r\nc\r\n.\r\n", "a\rb\r\nc\n", 9},
    {"a dot and a CR by itself", ".\rx\r\n.\r\n", "\rx\n", 4},
    {"a dot and CRs by themselves", ".\r\rx\r\n.\r\n", "\r\rx\n", 5},
    {"eight bits", "\xC3\xA4\xFF\r\n.\r\n", "\xC3\xA4\xFF\n", 5},
};

/* All of in, in pieces of at most piece octets; returns how much was used. */
static size_t feed(
    struct lmtp_data *data, const char *in, size_t len, size_t piece, char *out, size_t *out_len)
{
	size_t used = 0;
	*out_len = 0;
	while (used < len && !data->ended) {
		size_t some = len - used < piece ? len - used : piece, got;
		uint8_t *room = malloc(some + 1), *exact = malloc(some); /* so that a sanitizer sees */
		memcpy(exact, in + used, some);
		size_t taken = lmtp_data_decode(data, exact, some, room, &got);
		assert_true(taken == some || data->ended);
		memcpy(out + *out_len, room, got);
		*out_len += got;
		used += taken;
		free(room);
		free(exact);
	}
	return used;
}

static void test_data(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof datas / sizeof *datas; i++) {
		const struct data_row *row = &datas[i];
		for (size_t piece = 1; piece <= strlen(row->in); piece++) {
			char in[128], out[256];
			size_t out_len, len = strlen(row->in);
			struct lmtp_data data = {.at = LMTP_AT_LINE};
			snprintf(in, sizeof in, "%sNEXT", row->in);
			size_t used = feed(&data, in, row->out == NULL ? len : len + 4, piece, out, &out_len);
			if (data.ended != (row->out != NULL))
				fail_msg("%s: pieces of %zu: ended %d", row->sentence, piece, data.ended);
			if (row->out == NULL)
				continue;
			/* What follows is the next command. */
			if (used != len || out_len != strlen(row->out) ||
			    memcmp(out, row->out, out_len) != 0 || data.octets != row->octets)
				fail_msg("%s: pieces of %zu: used %zu, '%.*s', %ju octets", row->sentence,
				    piece, used, (int)out_len, out, (uintmax_t)data.octets);
		}
	}
}

/* Of all sequences of these octets, exactly those end that have CRLF "." CRLF, the first CRLF being perhaps
 * the one before them; and nothing else is taken away. */
static void test_all_sequences(void **state)
{
	enum { LENGTH = 8, KINDS = 4 };
	static const char octets[KINDS] = "\r\n.x";
	(void)state;
	for (unsigned n = 0; n < 1u << (2 * LENGTH); n++) {
		char in[LENGTH + 3] = "\r\n", out[2 * LENGTH];
		size_t out_len;
		struct lmtp_data data = {.at = LMTP_AT_LINE};
		for (unsigned i = 0; i < LENGTH; i++)
			in[2 + i] = octets[n >> (2 * i) & 3];
		in[LENGTH + 2] = '\0';
		const char *end = strstr(in, "\r\n.\r\n");
		size_t want = end == NULL ? LENGTH : (size_t)(end - in) + 3;
		size_t used = feed(&data, in + 2, LENGTH, LENGTH, out, &out_len);
		if (data.ended != (end != NULL) || used != want)
			fail_msg("sequence %x: ended %d, used %zu instead of %zu", n, data.ended, used, want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_commands),
	    cmocka_unit_test(test_long_paths),
	    cmocka_unit_test(test_data),
	    cmocka_unit_test(test_all_sequences),
	};
	return cmocka_run_group_tests_name("lmtp_parse", tests, NULL, NULL);
}
