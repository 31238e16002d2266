/* SPDX-License-Identifier: ISC */
#include "tools/source_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "store/uidl.h"

static const char *const names[SOURCE_FORMATS] = {[SOURCE_LIST] = "list",
    [SOURCE_DOVECOT] = "dovecot",
    [SOURCE_COURIER] = "courier",
    [SOURCE_CYRUS] = "cyrus",
    [SOURCE_X_UIDL] = "x-uidl",
    [SOURCE_MBOX] = "mbox"};

int source_format_find(const char *name, enum source_format *format_r)
{
	for (int format = SOURCE_LIST; format < SOURCE_FORMATS; format++)
		if (strcmp(name, names[format]) == 0) {
			*format_r = (enum source_format)format;
			return 0;
		}
	return -1;
}

void source_wrong(struct source_item *item, const char *format, ...)
{
	va_list args;

	if (item->why[0] != '\0')
		return;
	va_start(args, format);
	vsnprintf(item->why, sizeof(item->why), format, args);
	va_end(args);
}

void source_end(struct source_reader *reader, struct source_item *item, const char *why)
{
	source_wrong(item, "%s", why);
	item->line = reader->line;
	reader->ended = true;
}

bool source_line(struct source_reader *reader, struct source_line *line_r)
{
	size_t left = reader->len - reader->at;
	const char *text = reader->octets + reader->at;
	const char *lf = left == 0 ? NULL : memchr(text, '\n', left);

	if (left == 0)
		return false;
	*line_r = (struct source_line){text, lf != NULL ? (size_t)(lf - text) : left};
	reader->at += line_r->len + (lf != NULL);
	reader->line++;
	if (line_r->len > 0 && text[line_r->len - 1] == '\r')
		line_r->len--;
	return true;
}

bool source_text(struct source_reader *reader, char *room, struct source_item *item)
{
	struct source_line line;

	if (!source_line(reader, &line))
		return false;
	item->line = reader->line;
	room[0] = '\0';
	if (line.len >= SOURCE_LINE_OCTETS)
		source_wrong(item, "the line is longer than %u octets", SOURCE_LINE_OCTETS - 1);
	else if (memchr(line.text, '\0', line.len) != NULL)
		source_wrong(item, "there is a NUL in the line");
	else
		memcpy(room, line.text, line.len);
	room[item->why[0] == '\0' ? line.len : 0] = '\0';
	return true;
}

bool source_number(const char **text, uint32_t *number_r)
{
	uint64_t number = 0;
	const char *p = *text;

	for (; *p >= '0' && *p <= '9'; p++) {
		number = 10 * number + (uint64_t)(*p - '0');
		if (number > UINT32_MAX)
			return false;
	}
	*number_r = (uint32_t)number;
	if (p == *text)
		return false;
	*text = p;
	return true;
}

void source_set_name(struct source_item *item, const char *name)
{
	size_t len = strlen(name), unique = uidl_unique_len(name, len);

	item->kind = SOURCE_NAME;
	if (len == 0 || strchr(name, '/') != NULL || name[0] == '.') {
		source_wrong(item, "no name of a file");
		return;
	}
	if (unique > SOURCE_KEY_OCTETS) {
		source_wrong(item, "the name of a file is longer than %u octets", SOURCE_KEY_OCTETS);
		return;
	}
	memcpy(item->key, name, unique);
	item->key[unique] = '\0';
}

void source_set_uidl(struct source_item *item, const char *uidl)
{
	size_t len = strlen(uidl);

	if (uidl_valid(uidl, len))
		memcpy(item->uidl, uidl, len + 1);
	else if (len == 0)
		source_wrong(item, "the UIDL is empty");
	else if (len > MAILDROP_UIDL_OCTETS)
		source_wrong(item, "the UIDL has %zu octets, more than 70", len);
	else
		source_wrong(item, "the UIDL has octets that are not from 0x21 to 0x7E");
}

static bool begins(const char *octets, size_t len, const char *with)
{
	return len >= strlen(with) && memcmp(octets, with, strlen(with)) == 0;
}

enum source_format source_guess(const char *octets, size_t len)
{
	size_t line = 0;

	while (line < len && octets[line] != '\n')
		line++;
	if (begins(octets, line, "/1 ") || begins(octets, line, "/2 ") || begins(octets, line, "/3 "))
		return SOURCE_COURIER;
	if (begins(octets, line, "Examining "))
		return SOURCE_CYRUS;
	if (begins(octets, line, "#") || (line > 0 && memchr(octets, '\t', line) != NULL))
		return SOURCE_LIST;
	if (line >= 3 && (octets[0] == '1' || octets[0] == '3') && octets[1] == ' ')
		return SOURCE_DOVECOT;
	return SOURCE_GUESS;
}

bool source_next(struct source_reader *reader, struct source_item *item_r)
{
	*item_r = (struct source_item){0};
	if (reader->ended)
		return false;
	switch (reader->format) {
	case SOURCE_LIST:
		return source_next_list(reader, item_r);
	case SOURCE_DOVECOT:
		return source_next_dovecot(reader, item_r);
	case SOURCE_COURIER:
		return source_next_courier(reader, item_r);
	case SOURCE_CYRUS:
		return source_next_cyrus(reader, item_r);
	case SOURCE_X_UIDL:
	case SOURCE_MBOX:
		return source_next_mbox(reader, item_r);
	default:
		return false;
	}
}
