/* SPDX-License-Identifier: ISC */
#include "tools/import_item.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sasl/prep.h"

void import_wrong(struct import_item *item, const char *format, ...)
{
	va_list args;

	if (item->why[0] != '\0')
		return;
	va_start(args, format);
	vsnprintf(item->why, sizeof(item->why), format, args);
	va_end(args);
}

void import_user(struct import_item *item, const char *name, size_t len)
{
	if (len == 0 || len > SECRETS_USER_OCTETS || memchr(name, '\0', len) != NULL) {
		import_wrong(item, "a name has 1 to %d octets, none of them a NUL", SECRETS_USER_OCTETS);
		return;
	}
	memcpy(item->user, name, len);
	item->user[len] = '\0';
}

void import_password(struct import_item *item, const char *octets, size_t len)
{
	char prepared_secret[SECRETS_PREPARED_OCTETS];

	if (len == 0 || len > SECRETS_PASSWORD_OCTETS || memchr(octets, '\0', len) != NULL)
		import_wrong(
		    item, "a password has 1 to %d octets, none of them a NUL", SECRETS_PASSWORD_OCTETS);
	else if (prep_query(octets, len, prepared_secret, sizeof(prepared_secret)) != PREP_OK)
		import_wrong(item, "the password is not UTF-8, or has characters that no password may have "
				   "(RFC 4013); import a hash of it, or give the user another");
	else
		memcpy(item->password_secret, octets, len);
	explicit_bzero(prepared_secret, sizeof(prepared_secret));
}

bool import_line(struct import_reader *reader, const char **line_r, size_t *len_r)
{
	const char *from = reader->octets + reader->at, *end;
	size_t left = reader->len - reader->at;

	if (left == 0)
		return false;
	end = memchr(from, '\n', left);
	*line_r = from;
	*len_r = end != NULL ? (size_t)(end - from) : left;
	reader->at += *len_r + (end != NULL ? 1 : 0);
	reader->line++;
	if (*len_r > 0 && from[*len_r - 1] == '\r')
		--*len_r;
	return true;
}

static bool blank(const char *line, size_t len)
{
	while (len > 0 && (*line == ' ' || *line == '\t'))
		line++, len--;
	return len == 0 || *line == '#';
}

bool import_next(struct import_reader *reader, struct import_item *item_r)
{
	const char *line;
	size_t len;

	memset(item_r, 0, sizeof(*item_r));
	if (reader->format == IMPORT_SASLDB)
		return import_dump(reader, item_r);
	do
		if (!import_line(reader, &line, &len))
			return false;
	while (blank(line, len));
	item_r->line = reader->line;
	if (len > IMPORT_LINE_OCTETS || memchr(line, '\0', len) != NULL)
		import_wrong(
		    item_r, "the line is longer than %u octets, or has a NUL in it", IMPORT_LINE_OCTETS);
	else
		import_passwd(item_r, reader->format, line, len);
	return true;
}

static size_t count(const char *line, size_t len, char c)
{
	size_t found = 0;

	for (size_t i = 0; i < len; i++)
		found += line[i] == c;
	return found;
}

static bool begins(const char *at, const char *end, const char *text)
{
	return (size_t)(end - at) >= strlen(text) && memcmp(at, text, strlen(text)) == 0;
}

/* "user:{SCHEME}…" and more than two fields are Dovecot's, "user:$…" is read alike, {SHA} is Apache's. */
enum import_format import_guess(const char *octets, size_t len)
{
	struct import_reader reader = {.octets = octets, .len = len};
	const char *line, *colon;
	size_t line_len;

	do
		if (!import_line(&reader, &line, &line_len))
			return IMPORT_GUESS;
	while (blank(line, line_len));
	if (begins(line, line + line_len, "VERSION="))
		return IMPORT_SASLDB;
	colon = memchr(line, ':', line_len);
	if (colon == NULL || colon + 1 == line + line_len)
		return IMPORT_GUESS;
	if (count(line, line_len, ':') == 1 &&
	    (colon[1] == '$' || begins(colon + 1, line + line_len, "{SHA}")))
		return IMPORT_HTPASSWD;
	if (colon[1] == '{' || count(line, line_len, ':') > 2)
		return IMPORT_DOVECOT;
	return IMPORT_GUESS;
}
