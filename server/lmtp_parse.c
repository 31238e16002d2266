/* SPDX-License-Identifier: ISC */
#include "server/lmtp_parse.h"

#include <string.h>
#include <strings.h>

/* What is left of a line. */
struct rest {
	const char *at, *end;
};

static const struct verb {
	const char *name;
	enum { NO_ARGUMENT = 0, AN_ARGUMENT, ANY_ARGUMENT, A_PATH } wants;
} verbs[LMTP_VERB_COUNT] = {
    [LMTP_LHLO] = {"LHLO", AN_ARGUMENT},
    [LMTP_MAIL] = {"MAIL", A_PATH},
    [LMTP_RCPT] = {"RCPT", A_PATH},
    [LMTP_DATA] = {"DATA", NO_ARGUMENT},
    [LMTP_RSET] = {"RSET", NO_ARGUMENT},
    [LMTP_NOOP] = {"NOOP", ANY_ARGUMENT},
    [LMTP_QUIT] = {"QUIT", NO_ARGUMENT},
    [LMTP_VRFY] = {"VRFY", AN_ARGUMENT},
    [LMTP_EXPN] = {"EXPN", AN_ARGUMENT},
    [LMTP_HELP] = {"HELP", ANY_ARGUMENT},
};

static bool is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* RFC 5322 section 3.2.3; and dots, of which some senders have two in a row. */
static bool is_local(char c)
{
	return is_letter_or_digit(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~.", c) != NULL);
}

static bool is_domain(char c)
{
	return is_letter_or_digit(c) || c == '-' || c == '.' || c == '_';
}

static bool is_printable(char c)
{
	return c >= 0x20 && c < 0x7F;
}

static bool next_is(const struct rest *rest, char c)
{
	return rest->at < rest->end && *rest->at == c;
}

static bool take(struct rest *rest, char c)
{
	if (!next_is(rest, c))
		return false;
	rest->at++;
	return true;
}

static bool take_word(struct rest *rest, const char *word)
{
	size_t len = strlen(word);
	if ((size_t)(rest->end - rest->at) < len || strncasecmp(rest->at, word, len) != 0)
		return false;
	rest->at += len;
	return true;
}

static bool skip_all(struct rest *rest, bool (*fits)(char))
{
	const char *from = rest->at;
	while (rest->at < rest->end && fits(*rest->at))
		rest->at++;
	return rest->at > from;
}

/* RFC 5321 section 4.1.2, Quoted-string. */
static bool skip_quoted(struct rest *rest)
{
	if (!take(rest, '"'))
		return false;
	while (rest->at < rest->end && *rest->at != '"') {
		if (*rest->at == '\\')
			rest->at++;
		if (rest->at == rest->end || !is_printable(*rest->at))
			return false;
		rest->at++;
	}
	return take(rest, '"');
}

/* Address-literal; what is in it means nothing to us. */
static bool skip_literal(struct rest *rest)
{
	if (!take(rest, '['))
		return false;
	while (rest->at < rest->end && is_printable(*rest->at) && strchr("[]\\ ", *rest->at) == NULL)
		rest->at++;
	return take(rest, ']');
}

static bool skip_domain(struct rest *rest)
{
	return next_is(rest, '[') ? skip_literal(rest) : skip_all(rest, is_domain);
}

/* A-d-l ":", to be accepted and ignored (RFC 5321 section 3.6.1). */
static bool skip_route(struct rest *rest)
{
	if (!next_is(rest, '@'))
		return true;
	do {
		if (!take(rest, '@') || !skip_domain(rest))
			return false;
	} while (take(rest, ','));
	return take(rest, ':');
}

/* The local part is from `from` to `at`; what follows it is taken as it is. */
static void copy(const char *from, const char *at, const char *end, struct lmtp_command *command)
{
	char *to = command->mailbox;
	memcpy(command->address, from, (size_t)(end - from));
	command->address[end - from] = '\0';
	bool quoted = from < at && *from == '"';
	for (const char *p = from + quoted; p < at - quoted; p++) {
		if (quoted && *p == '\\')
			p++;
		*to++ = *p;
	}
	memcpy(to, at, (size_t)(end - at));
	to[end - at] = '\0';
}

static bool take_path(struct rest *rest, bool null_allowed, struct lmtp_command *command)
{
	if (!take(rest, '<'))
		return false;
	if (null_allowed && take(rest, '>'))
		return true;
	if (!skip_route(rest))
		return false;
	const char *from = rest->at;
	if (!(next_is(rest, '"') ? skip_quoted(rest) : skip_all(rest, is_local)))
		return false;
	const char *at = rest->at;
	if (take(rest, '@') && !skip_domain(rest))
		return false;
	if ((size_t)(rest->at - from) > LMTP_ADDRESS_OCTETS)
		return false;
	copy(from, at, rest->at, command);
	return take(rest, '>');
}

/* RFC 1870 section 3: 1 to 20 digits. */
static bool take_size(struct rest *rest, uint64_t *size_r)
{
	enum { SIZE_DIGITS = 20 };
	const char *from = rest->at;
	uint64_t size = 0;
	bool over = false;
	for (; rest->at < rest->end && *rest->at >= '0' && *rest->at <= '9'; rest->at++)
		over |= __builtin_mul_overflow(size, UINT64_C(10), &size) ||
			__builtin_add_overflow(size, (uint64_t)(*rest->at - '0'), &size);
	*size_r = over ? UINT64_MAX : size;
	return rest->at > from && rest->at - from <= SIZE_DIGITS;
}

static bool parameter_ends(const struct rest *rest)
{
	return rest->at == rest->end || *rest->at == ' ';
}

static enum lmtp_syntax take_parameter(struct rest *rest, struct lmtp_command *command)
{
	bool mail = command->verb == LMTP_MAIL;
	if (mail && take_word(rest, "SIZE="))
		return take_size(rest, &command->size) && parameter_ends(rest) ? LMTP_SYNTAX_OK
									       : LMTP_SYNTAX_PARAMETER;
	if (mail && take_word(rest, "BODY="))
		return (take_word(rest, "7BIT") || take_word(rest, "8BITMIME")) && parameter_ends(rest)
			   ? LMTP_SYNTAX_OK
			   : LMTP_SYNTAX_PARAMETER;
	return LMTP_SYNTAX_STRANGE_PARAMETER;
}

static enum lmtp_syntax take_parameters(struct rest *rest, struct lmtp_command *command)
{
	while (rest->at < rest->end) {
		if (!take(rest, ' '))
			return LMTP_SYNTAX_PATH;
		while (take(rest, ' '))
			continue;
		if (rest->at == rest->end)
			break;
		enum lmtp_syntax syntax = take_parameter(rest, command);
		if (syntax != LMTP_SYNTAX_OK)
			return syntax;
	}
	return LMTP_SYNTAX_OK;
}

static enum lmtp_syntax parse_path(struct rest *rest, struct lmtp_command *command)
{
	bool mail = command->verb == LMTP_MAIL;
	if (!take_word(rest, mail ? "FROM:" : "TO:"))
		return LMTP_SYNTAX_ARGUMENT;
	while (take(rest, ' '))
		continue;
	return take_path(rest, mail, command) ? take_parameters(rest, command) : LMTP_SYNTAX_PATH;
}

static enum lmtp_verb find_verb(const char *line, size_t len)
{
	for (size_t i = LMTP_UNKNOWN + 1; i < LMTP_VERB_COUNT; i++)
		if (strlen(verbs[i].name) == len && strncasecmp(line, verbs[i].name, len) == 0)
			return (enum lmtp_verb)i;
	return LMTP_UNKNOWN;
}

static bool all_printable(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_printable(line[i]))
			return false;
	return true;
}

enum lmtp_syntax lmtp_parse(const char *line, size_t len, struct lmtp_command *command_r)
{
	*command_r = (struct lmtp_command){.verb = LMTP_UNKNOWN};
	if (!all_printable(line, len))
		return LMTP_SYNTAX_LINE;
	while (len > 0 && line[len - 1] == ' ')
		len--;
	const char *blank = memchr(line, ' ', len);
	size_t verb_len = blank == NULL ? len : (size_t)(blank - line);
	command_r->verb = find_verb(line, verb_len);
	struct rest rest = {line + verb_len, line + len};
	while (take(&rest, ' '))
		continue;
	bool argument = rest.at < rest.end;
	switch (command_r->verb == LMTP_UNKNOWN ? ANY_ARGUMENT : (int)verbs[command_r->verb].wants) {
	case NO_ARGUMENT:
		return argument ? LMTP_SYNTAX_ARGUMENT : LMTP_SYNTAX_OK;
	case AN_ARGUMENT:
		return argument ? LMTP_SYNTAX_OK : LMTP_SYNTAX_ARGUMENT;
	case A_PATH:
		return parse_path(&rest, command_r);
	default:
		return LMTP_SYNTAX_OK;
	}
}

/* ---- the message ---- */

struct output {
	uint8_t *at;
	struct lmtp_data *data;
};

static void put(struct output *out, uint8_t c)
{
	*out->at++ = c;
	out->data->octets++;
}

/* What is neither at a line's beginning nor behind a CR comes in long pieces. */
static size_t put_piece(struct output *out, const uint8_t *in, size_t len)
{
	const uint8_t *cr = memchr(in, '\r', len);
	size_t piece = cr == NULL ? len : (size_t)(cr - in);
	memcpy(out->at, in, piece);
	out->at += piece;
	out->data->octets += piece;
	return piece;
}

/* One octet that begins or ends a line, or may. */
static void step(struct output *out, uint8_t c)
{
	struct lmtp_data *data = out->data;
	bool at_cr = data->at == LMTP_AT_CR || data->at == LMTP_AT_DOT_CR;
	if (data->at == LMTP_AT_DOT_CR && c == '\n') {
		data->ended = true;
		return;
	}
	if (data->at == LMTP_AT_CR && c == '\n') {
		put(out, '\n');
		data->octets++; /* the CR */
		data->at = LMTP_AT_LINE;
		return;
	}
	if (at_cr)
		put(out, '\r'); /* by itself */
	if (c == '\r') {
		data->at = data->at == LMTP_AT_DOT ? LMTP_AT_DOT_CR : LMTP_AT_CR;
	} else if (c == '.' && data->at == LMTP_AT_LINE) {
		data->at = LMTP_AT_DOT;
	} else {
		put(out, c);
		data->at = LMTP_IN_LINE;
	}
}

size_t lmtp_data_decode(
    struct lmtp_data *data, const uint8_t *in, size_t len, uint8_t *out, size_t *out_len_r)
{
	struct output output = {out, data};
	size_t used = 0;
	while (used < len && !data->ended) {
		if (data->at == LMTP_IN_LINE)
			used += put_piece(&output, in + used, len - used);
		if (used < len)
			step(&output, in[used++]);
	}
	*out_len_r = (size_t)(output.at - out);
	return used;
}
