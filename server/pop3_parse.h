/* SPDX-License-Identifier: ISC */
/*
 * pop3_parse: from the octets of a command line to verb and arguments, as pure code.
 *
 * For the session, which has already found the line's end. Nothing is copied: what is returned are views
 * into the line. RFC 1939 section 3; where it is stricter than clients are, see doc/protocol.md.
 */
#ifndef KPOPD_SERVER_POP3_PARSE_H
#define KPOPD_SERVER_POP3_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pop3_syntax {
	POP3_SYNTAX_OK = 0,
	POP3_SYNTAX_EMPTY = -1,   /* nothing, or it begins with a space */
	POP3_SYNTAX_CONTROL = -2, /* NUL, a lone CR or another control octet; TAB is one except after AUTH */
	POP3_SYNTAX_ARGS = -3,    /* the arguments do not follow the rule */
};

/* What may follow a verb. */
enum pop3_rule {
	POP3_RULE_NONE = 0,
	POP3_RULE_MSGNO,
	POP3_RULE_MSGNO_OPTIONAL,
	POP3_RULE_MSGNO_LINES, /* TOP's two numbers */
	POP3_RULE_TEXT,        /* everything behind one space, spaces included; at least one octet */
	POP3_RULE_ANY,         /* the same, or nothing */
};

struct pop3_line {
	const char *verb; /* as the client spelt it; not NUL-terminated */
	size_t verb_len;
	const char *text; /* behind the one space or TAB that ends the verb */
	size_t text_len;
};

struct pop3_args {
	uint32_t msgno; /* 0: not given; UINT32_MAX: larger than any number we have */
	uint32_t lines; /* UINT32_MAX: more than that */
	const char *text;
	size_t text_len;
};

/* Cuts one line, given with its LF and perhaps a CR before it. _EMPTY, _CONTROL. */
enum pop3_syntax pop3_parse_line(const uint8_t *buf, size_t len, struct pop3_line *line_r);
/* Reads the arguments by a rule. A message number of 0 is _ARGS: there is none. */
enum pop3_syntax pop3_parse_args(const struct pop3_line *line, enum pop3_rule rule, struct pop3_args *args_r);
/* Whether the line's verb is this one (upper case); case of the client's spelling does not matter. */
bool pop3_verb_is(const struct pop3_line *line, const char *verb);
/*
 * Cuts the next word of a text at spaces and TABs, and the separators around it; false: no word is left.
 * *text_r and *len_r move behind what was taken; *ended_r says whether a separator followed the word.
 */
bool pop3_parse_word(
    const char **text_r, size_t *len_r, const char **word_r, size_t *word_len_r, bool *ended_r);

#endif
