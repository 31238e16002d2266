/* SPDX-License-Identifier: ISC */
/* The plain list, and the lists of Dovecot and Courier: one message a line. */
#include "tools/source_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/uidl_template.h"

/* ---- NAME-OR-DIGEST TAB UIDL ---- */

static bool set_digest(
    struct source_item *item, const char *text, const char *prefix, enum source_key kind, size_t digits)
{
	if (strncmp(text, prefix, strlen(prefix)) != 0)
		return false;
	text += strlen(prefix);
	item->kind = kind;
	if (strlen(text) != digits || strspn(text, "0123456789abcdef") != digits)
		source_wrong(item, "a digest has %zu small hexadecimal digits", digits);
	else
		memcpy(item->key, text, digits + 1);
	return true;
}

bool source_next_list(struct source_reader *reader, struct source_item *item)
{
	char line[SOURCE_LINE_OCTETS], *tab;

	do
		if (!source_text(reader, line, item))
			return false;
	while (item->why[0] == '\0' && (line[0] == '\0' || line[0] == '#'));
	item->order = item->line;
	if (item->why[0] != '\0')
		return true;
	tab = strchr(line, '\t');
	if (tab == NULL) {
		source_wrong(item, "no tab: a line is a file's name or a digest, a tab, and the UIDL");
		return true;
	}
	*tab = '\0';
	source_set_uidl(item, tab + 1);
	if (!set_digest(item, line, "sha256:", SOURCE_SHA256, 64) &&
	    !set_digest(item, line, "sha1:", SOURCE_SHA1, 40))
		source_set_name(item, line);
	return true;
}

/* What is wrong with a file's first line; NULL: nothing. */
typedef const char *header_fn(struct source_reader *reader, const char *text);

/* The next line behind the header, as source_text; a file without a sound header is one item that says so. */
static bool headed_text(struct source_reader *reader, char *room, struct source_item *item, header_fn *header)
{
	const char *why = NULL;

	if (reader->begun)
		return source_text(reader, room, item);
	reader->begun = true;
	if (!source_text(reader, room, item))
		why = "an empty file";
	else
		why = item->why[0] != '\0' ? item->why : header(reader, room);
	if (why == NULL)
		return source_text(reader, room, item);
	source_end(reader, item, why);
	return true;
}

/* ---- dovecot-uidlist ---- */

static bool header_number(struct source_reader *reader, char key, const char *text, uint32_t *next)
{
	uint32_t number;

	if (key != 'V' && key != 'N')
		return true;
	if (!source_number(&text, &number) || (*text != '\0' && *text != ' '))
		return false;
	*(key == 'V' ? &reader->uidvalidity : next) = number;
	return true;
}

/* "1 UIDVALIDITY NEXT-UID", or "3" and fields in any order, of which V and N are asked for. */
static const char *dovecot_header(struct source_reader *reader, const char *text)
{
	static const char broken[] = "a header of dovecot-uidlist with UIDVALIDITY and next UID was expected";
	uint32_t next = 0;

	if ((text[0] != '1' && text[0] != '3') || text[1] != ' ')
		return text[0] == '2'
			   ? "version 2 of dovecot-uidlist is not known; let a newer Dovecot rewrite it"
			   : "not a dovecot-uidlist of version 1 or 3";
	reader->version = text[0] - '0';
	text += 2;
	if (reader->version == 1) {
		if (!source_number(&text, &reader->uidvalidity) || *text++ != ' ' ||
		    !source_number(&text, &next))
			return broken;
	} else {
		while (*text != '\0') {
			if (!header_number(reader, text[0], text + 1, &next))
				return broken;
			text += strcspn(text, " ");
			text += strspn(text, " ");
		}
	}
	return reader->uidvalidity != 0 && next != 0 ? NULL : broken;
}

/* What Dovecot notes of a message; NULL: nothing. */
struct fields {
	const char *pop3_uidl, *pop3_order, *guid, *octets;
};

/* Cuts "KEYvalue KEYvalue :NAME" and returns the name; "" when there is none. */
static char *cut_fields(char *text, struct fields *fields_r)
{
	*fields_r = (struct fields){0};
	while (*text != '\0' && *text != ':') {
		char *end = text + strcspn(text, " ");
		const char **value = *text == 'P'   ? &fields_r->pop3_uidl
				     : *text == 'O' ? &fields_r->pop3_order
				     : *text == 'G' ? &fields_r->guid
				     : *text == 'W' ? &fields_r->octets
						    : NULL;
		if (value != NULL)
			*value = text + 1;
		text = end + strspn(end, " ");
		*end = '\0';
	}
	return *text == ':' ? text + 1 : text;
}

/* Messages with an order of their own come first, by it; the others by UID. */
static void set_order(struct source_item *item, const char *order, uint32_t uid)
{
	uint32_t number;

	if (order != NULL && source_number(&order, &number) && *order == '\0')
		item->order = number;
	else
		item->order = (UINT64_C(1) << 32) + uid;
}

static void dovecot_entry(struct source_reader *reader, struct source_item *item, uint32_t uid, char *text)
{
	struct fields fields = {0};
	char *name = reader->version == 3 ? cut_fields(text, &fields) : text;
	const char *why;

	set_order(item, fields.pop3_order, uid);
	if (fields.octets != NULL)
		item->octets = strtoull(fields.octets, NULL, 10);
	source_set_name(item, name);
	name[strcspn(name, ":")] = '\0';
	if (fields.pop3_uidl != NULL) {
		/* An empty one is the file's name. */
		source_set_uidl(item, fields.pop3_uidl[0] != '\0' ? fields.pop3_uidl : name);
		return;
	}
	const struct template_values values = {.uid = uid,
	    .uidvalidity = reader->uidvalidity,
	    .filename = name,
	    .guid = fields.guid != NULL && fields.guid[0] != '\0' ? fields.guid : name};
	why = template_expand(
	    reader->template != NULL ? reader->template : TEMPLATE_DOVECOT, &values, item->uidl);
	if (why != NULL)
		source_wrong(item, "%s", why);
}

bool source_next_dovecot(struct source_reader *reader, struct source_item *item)
{
	char line[SOURCE_LINE_OCTETS], *text = line;
	uint32_t uid;

	if (!headed_text(reader, line, item, dovecot_header))
		return false;
	if (item->why[0] != '\0')
		return true;
	if (!source_number((const char **)&text, &uid) || uid == 0 || *text != ' ') {
		source_wrong(item, "no UID at its beginning");
		return true;
	}
	text += strspn(text, " ");
	if (uid <= reader->last_uid)
		source_wrong(item, "UID %lu is not greater than the one before", (unsigned long)uid);
	reader->last_uid = uid > reader->last_uid ? uid : reader->last_uid;
	dovecot_entry(reader, item, uid, text);
	return true;
}

/* ---- courierpop3dsizelist ---- */

static const char *courier_header(struct source_reader *reader, const char *text)
{
	uint32_t next;

	if (text[0] != '/' || text[1] < '1' || text[1] > '3' || text[2] != ' ')
		return "not a courierpop3dsizelist of version 1, 2 or 3";
	reader->version = text[1] - '0';
	text += 3;
	return source_number(&text, &next)
		   ? NULL
		   : "a header of courierpop3dsizelist with the next UID was expected";
}

/* A message without a number has its file's name, with what is odd in it written "+" and two digits. */
static void escape_name(const char *name, char *uidl_r, size_t size)
{
	size_t len = 0;

	for (; *name != '\0' && *name != ':' && len + 4 < size; name++) {
		unsigned char c = (unsigned char)*name;

		if (c < 0x21 || c > 0x7e || c == '\'' || c == '"' || c == '+')
			len += (size_t)snprintf(uidl_r + len, size - len, "+%02X", c);
		else
			uidl_r[len++] = *name;
	}
	uidl_r[len] = '\0';
}

/* "N:UIDVALIDITY:UTF8" or, in older versions, less of it. */
static bool courier_uidl(const char *text, const char *name, char *uidl_r, size_t size)
{
	uint32_t number, validity = 0, ignored;

	if (!source_number(&text, &number) || (*text == ':' && (text++, !source_number(&text, &validity))) ||
	    (*text == ':' && (text++, !source_number(&text, &ignored))) || *text != '\0')
		return false;
	if (number == 0)
		escape_name(name, uidl_r, size);
	else if (validity == 0)
		snprintf(uidl_r, size, "UID%lu", (unsigned long)number);
	else
		snprintf(uidl_r, size, "UID%lu-%lu", (unsigned long)number, (unsigned long)validity);
	return true;
}

/* "NAME OCTETS NUMBERS"; a name may have spaces. */
static void courier_entry(struct source_item *item, char *line)
{
	char uidl[3 * SOURCE_KEY_OCTETS + 1], *numbers = strrchr(line, ' '), *octets;

	if (numbers != NULL)
		*numbers++ = '\0';
	octets = numbers != NULL ? strrchr(line, ' ') : NULL;
	if (octets != NULL)
		*octets++ = '\0';
	if (octets == NULL || !courier_uidl(numbers, line, uidl, sizeof(uidl))) {
		source_wrong(item, "not a file's name, its size, and numbers");
		return;
	}
	item->octets = strtoull(octets, NULL, 10);
	source_set_name(item, line);
	source_set_uidl(item, uidl);
}

bool source_next_courier(struct source_reader *reader, struct source_item *item)
{
	char line[SOURCE_LINE_OCTETS];

	if (!headed_text(reader, line, item, courier_header))
		return false;
	item->order = item->line;
	if (item->why[0] == '\0')
		courier_entry(item, line);
	return true;
}
