/* SPDX-License-Identifier: ISC */
/*
 * What Cyrus' mbexamine prints of a mailbox: its UIDVALIDITY, and of each message the UID and the GUID, which
 * is the SHA-1 of the message.
 */
#include "tools/source_private.h"

#include <stdlib.h>
#include <string.h>

#include "tools/uidl_template.h"

#define SHA1_DIGITS 40u

/* The text behind label in line; NULL: it is not there. */
static const char *behind(const char *line, const char *label)
{
	const char *at = strstr(line, label);

	return at != NULL ? at + strlen(label) : NULL;
}

/* " Envel>{123}" and its like are followed by that many octets of a mail, which may look like anything. */
static bool skip_literal(struct source_reader *reader, const struct source_line *line)
{
	const char *at = memchr(line->text, '>', line->len), *end = line->text + line->len;
	size_t len = 0;

	if (line->len == 0 || line->text[0] != ' ' || at == NULL || end - at < 3 || at[1] != '{')
		return false;
	for (at += 2; at < end && *at >= '0' && *at <= '9'; at++)
		len = len > reader->len ? len : 10 * len + (size_t)(*at - '0');
	if (at == end || *at != '}')
		return false;
	at++;
	reader->at = (size_t)(at - reader->octets);
	reader->at = len > reader->len - reader->at ? reader->len : reader->at + len;
	return true;
}

static void make_uidl(struct source_reader *reader, struct source_item *item, uint32_t uid)
{
	const char *template = reader->template != NULL ? reader->template
			       : reader->version != 0   ? TEMPLATE_CYRUS
							: "%u";
	const struct template_values values = {.uid = uid, .uidvalidity = reader->uidvalidity};
	const char *why = template_expand(template, &values, item->uidl);

	if (why != NULL)
		source_wrong(item, "%s", why);
}

/* "000001> UID:00000007   INT_DATE:... SIZE:98" */
static void begin_message(struct source_reader *reader, const char *text, const char *size)
{
	struct source_item *item = &reader->ahead;
	uint32_t uid;

	*item = (struct source_item){.line = reader->line, .kind = SOURCE_SHA1};
	if (!source_number(&text, &uid) || uid == 0) {
		source_wrong(item, "no UID");
		return;
	}
	item->order = uid;
	if (size != NULL)
		item->octets = strtoull(size, NULL, 10);
	make_uidl(reader, item, uid);
}

static void set_guid(struct source_item *item, const char *guid)
{
	if (strspn(guid, "0123456789abcdef") != SHA1_DIGITS) {
		source_wrong(item, "its GUID is no SHA-1");
		return;
	}
	memcpy(item->key, guid, SHA1_DIGITS);
	item->key[SHA1_DIGITS] = '\0';
}

/* In old mailboxes, which have no POP3_NEW_UIDL, a UIDL is the UID alone. */
static void header_line(struct source_reader *reader, const char *text)
{
	const char *validity = behind(text, "UIDValidity: ");

	if (validity != NULL)
		source_number(&validity, &reader->uidvalidity);
	if (behind(text, "Mailbox Options: ") != NULL)
		reader->version = behind(text, "POP3_NEW_UIDL") != NULL;
}

/* true: a message has begun, and *item_r is the one before it, if there was one. */
static bool take_line(struct source_reader *reader, const char *text, struct source_item *item_r)
{
	const char *uid = text[0] >= '0' && text[0] <= '9' ? behind(text, "> UID:") : NULL;
	const char *guid = reader->begun ? behind(text, " GUID:") : NULL;
	bool complete = uid != NULL && reader->begun && reader->ahead.line != 0;

	if (complete)
		*item_r = reader->ahead;
	if (uid != NULL) {
		reader->begun = true;
		begin_message(reader, uid, behind(text, " SIZE:"));
	} else if (!reader->begun) {
		header_line(reader, text);
	} else if (guid != NULL) {
		set_guid(&reader->ahead, guid);
	} else if (behind(text, "INTERNALFLAGS:") != NULL && behind(text, "EXPUNGED") != NULL) {
		reader->ahead.line = 0; /* removed, and kept for a while */
	}
	return complete;
}

static bool last_item(struct source_reader *reader, struct source_item *item)
{
	reader->ended = true;
	if (!reader->begun && reader->uidvalidity == 0) {
		source_end(reader, item, "not what mbexamine prints of a mailbox: no UIDValidity in it");
		return true;
	}
	*item = reader->ahead;
	return reader->begun && item->line != 0;
}

bool source_next_cyrus(struct source_reader *reader, struct source_item *item)
{
	char text[SOURCE_LINE_OCTETS];
	struct source_line line;
	bool complete = false;

	while (!complete) {
		if (!source_line(reader, &line)) {
			if (!last_item(reader, item))
				return false;
			break;
		}
		if (skip_literal(reader, &line) || line.len >= sizeof(text) ||
		    memchr(line.text, '\0', line.len) != NULL)
			continue;
		memcpy(text, line.text, line.len);
		text[line.len] = '\0';
		complete = take_line(reader, text, item);
	}
	if (item->key[0] == '\0')
		source_wrong(item, "no GUID was printed for it");
	return true;
}
