/* SPDX-License-Identifier: ISC */
#include "server/pop3_parse.h"

#include <string.h>
#include <strings.h>

static bool is_control(uint8_t c)
{
	return c < 0x20 || c == 0x7F;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool pop3_verb_is(const struct pop3_line *line, const char *verb)
{
	return line->verb_len == strlen(verb) && strncasecmp(line->verb, verb, line->verb_len) == 0;
}

static size_t without_line_end(const uint8_t *buf, size_t len)
{
	if (len > 0 && buf[len - 1] == '\n')
		len--;
	if (len > 0 && buf[len - 1] == '\r')
		len--;
	return len;
}

enum pop3_syntax pop3_parse_line(const uint8_t *buf, size_t len, struct pop3_line *line_r)
{
	const char *text = (const char *)buf;
	len = without_line_end(buf, len);
	size_t verb_len = 0;
	while (verb_len < len && !is_blank(text[verb_len]))
		verb_len++;
	size_t skip = verb_len < len ? verb_len + 1 : verb_len;
	*line_r = (struct pop3_line){text, verb_len, text + skip, len - skip};

	/* RFC 1734 had SPACE or TAB before the mechanism's name, so AUTH takes both. */
	bool tab = pop3_verb_is(line_r, "AUTH");
	for (size_t i = 0; i < len; i++) {
		if (is_control(buf[i]) && !(tab && buf[i] == '\t'))
			return POP3_SYNTAX_CONTROL;
	}
	return verb_len == 0 ? POP3_SYNTAX_EMPTY : POP3_SYNTAX_OK;
}

bool pop3_parse_word(
    const char **text_r, size_t *len_r, const char **word_r, size_t *word_len_r, bool *ended_r)
{
	const char *at = *text_r, *end = *text_r + *len_r;
	while (at < end && is_blank(*at))
		at++;
	*word_r = at;
	while (at < end && !is_blank(*at))
		at++;
	*word_len_r = (size_t)(at - *word_r);
	*ended_r = at < end;
	while (at < end && is_blank(*at))
		at++;
	*text_r = at;
	*len_r = (size_t)(end - at);
	return *word_len_r > 0;
}

/* Decimal digits only. What does not fit becomes UINT32_MAX: still a number, and no message has it. */
static bool parse_number(const char *word, size_t len, uint32_t *number_r)
{
	uint64_t number = 0;
	if (len == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (word[i] < '0' || word[i] > '9')
			return false;
		number = number * 10 + (uint64_t)(word[i] - '0');
		if (number > UINT32_MAX)
			number = UINT32_MAX;
	}
	*number_r = (uint32_t)number;
	return true;
}

static enum pop3_syntax parse_numbers(
    const struct pop3_line *line, enum pop3_rule rule, struct pop3_args *args)
{
	const char *text = line->text, *word;
	size_t len = line->text_len, word_len;
	bool ended;
	if (!pop3_parse_word(&text, &len, &word, &word_len, &ended))
		return rule == POP3_RULE_MSGNO_OPTIONAL ? POP3_SYNTAX_OK : POP3_SYNTAX_ARGS;
	if (!parse_number(word, word_len, &args->msgno) || args->msgno == 0)
		return POP3_SYNTAX_ARGS;
	if (rule == POP3_RULE_MSGNO_LINES && (!pop3_parse_word(&text, &len, &word, &word_len, &ended) ||
						 !parse_number(word, word_len, &args->lines)))
		return POP3_SYNTAX_ARGS;
	return len == 0 ? POP3_SYNTAX_OK : POP3_SYNTAX_ARGS;
}

enum pop3_syntax pop3_parse_args(const struct pop3_line *line, enum pop3_rule rule, struct pop3_args *args_r)
{
	*args_r = (struct pop3_args){0, 0, line->text, line->text_len};
	switch (rule) {
	case POP3_RULE_NONE:
		/* Trailing spaces are no argument: some clients send them. */
		for (size_t i = 0; i < line->text_len; i++) {
			if (line->text[i] != ' ')
				return POP3_SYNTAX_ARGS;
		}
		return POP3_SYNTAX_OK;
	case POP3_RULE_TEXT:
		return line->text_len > 0 ? POP3_SYNTAX_OK : POP3_SYNTAX_ARGS;
	case POP3_RULE_ANY:
		return POP3_SYNTAX_OK;
	case POP3_RULE_MSGNO:
	case POP3_RULE_MSGNO_OPTIONAL:
	case POP3_RULE_MSGNO_LINES:
		return parse_numbers(line, rule, args_r);
	}
	return POP3_SYNTAX_ARGS;
}
