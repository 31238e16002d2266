/* SPDX-License-Identifier: ISC */
/*
 * An mbox: UIDLs in X-UIDL header fields, as qpopper left them, or UIDs in X-UID with the UIDVALIDITY in the
 * first message, as Dovecot and UW's ipop3d left them. Messages are known by their content.
 */
#include "tools/source_private.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "tools/likeness.h"
#include "tools/uidl_template.h"

#define MD5_OCTETS 16u

/* What the header of a message says. */
struct said {
	struct source_line uidl; /* text NULL: nothing */
	uint32_t uid;
	bool internal; /* no mail, but what a server keeps in the first message */
	char md5[2 * MD5_OCTETS + 1];
};

static bool has(const struct source_line *line, const char *name)
{
	size_t len = strlen(name);

	return line->len > len && strncasecmp(line->text, name, len) == 0 && line->text[len] == ':';
}

/* The value of a field, without space around it. */
static struct source_line value_of(const struct source_line *line)
{
	const char *colon = memchr(line->text, ':', line->len);
	struct source_line value = {colon + 1, line->len - (size_t)(colon + 1 - line->text)};

	while (value.len > 0 && (value.text[0] == ' ' || value.text[0] == '\t'))
		value.text++, value.len--;
	while (value.len > 0 && (value.text[value.len - 1] == ' ' || value.text[value.len - 1] == '\t'))
		value.len--;
	return value;
}

static bool number_of(const struct source_line *value, uint32_t *number_r)
{
	char text[16];
	const char *at = text;
	size_t len = value->len < sizeof(text) ? value->len : sizeof(text) - 1;

	memcpy(text, value->text, len);
	text[len] = '\0';
	return source_number(&at, number_r);
}

/*
 * The MD5 by which popa3d, and Dovecot's %m for an mbox, know a message: of the first Received field, and of
 * Date and Message-ID before it, of Delivered-To and X-Delivery-ID, each line's value.
 */
struct sum {
	EVP_MD_CTX *md;
	bool received; /* the first one has been seen */
	bool taking, taking_received;
};

static void sum_line(struct sum *sum, const struct source_line *line)
{
	bool continued = line->text[0] == ' ' || line->text[0] == '\t';
	struct source_line value = *line;

	if (!continued) {
		sum->received = sum->received || sum->taking_received;
		sum->taking_received = has(line, "Received") && !sum->received;
		sum->taking = has(line, "Delivered-To") || has(line, "X-Delivery-ID") ||
			      sum->taking_received ||
			      (!sum->received && (has(line, "Date") || has(line, "Message-ID")));
		value = sum->taking ? value_of(line) : value;
		/* Only what is before the value is left out. */
		value.len = sum->taking ? line->len - (size_t)(value.text - line->text) : value.len;
	}
	if (sum->taking)
		EVP_DigestUpdate(sum->md, value.text, value.len);
}

static void sum_done(struct sum *sum, char *text_r)
{
	uint8_t digest[EVP_MAX_MD_SIZE] = {0};

	EVP_DigestFinal_ex(sum->md, digest, NULL);
	EVP_MD_CTX_free(sum->md);
	likeness_hex(digest, MD5_OCTETS, text_r);
}

static void header_field(struct source_reader *reader, const struct source_line *line, struct said *said)
{
	struct source_line value;
	uint32_t number;

	if (memchr(line->text, ':', line->len) == NULL)
		return;
	value = value_of(line);
	if (has(line, "X-UIDL"))
		said->uidl = value;
	else if (has(line, "X-UID") && number_of(&value, &number))
		said->uid = number;
	else if ((has(line, "X-IMAPbase") || has(line, "X-IMAP")) && !reader->begun &&
		 number_of(&value, &number))
		reader->uidvalidity = number;
	else if (has(line, "Subject") && value.len >= 25 &&
		 memcmp(value.text, "DON'T DELETE THIS MESSAGE", 25) == 0)
		said->internal = !reader->begun;
}

/* A line that separates messages: "From ", and behind it somewhere the time. */
static bool is_from(const struct source_line *line)
{
	if (line->len < 5 || memcmp(line->text, "From ", 5) != 0)
		return false;
	for (size_t i = 5; i + 4 < line->len; i++)
		if (line->text[i] >= '0' && line->text[i] <= '9' && line->text[i + 1] == ':' &&
		    line->text[i + 2] >= '0' && line->text[i + 2] <= '9')
			return true;
	return false;
}

/* Reads on to the next message; the likeness gets all octets of this one. */
static void read_message(struct source_reader *reader, struct likeness_reader *likeness, struct said *said)
{
	struct sum sum = {.md = EVP_MD_CTX_new()};
	struct source_line line;
	size_t from = reader->at;
	bool empty = false, header = true;

	if (sum.md != NULL)
		EVP_DigestInit_ex(sum.md, EVP_md5(), NULL);
	for (;;) {
		size_t before = reader->at;

		if (!source_line(reader, &line) || (empty && is_from(&line))) {
			reader->line -= reader->at != before;
			reader->at = before;
			break;
		}
		empty = line.len == 0;
		header = header && !empty;
		if (header && sum.md != NULL)
			sum_line(&sum, &line);
		if (header && line.text[0] != ' ' && line.text[0] != '\t')
			header_field(reader, &line, said);
	}
	likeness_add(likeness, reader->octets + from, reader->at - from);
	if (sum.md != NULL)
		sum_done(&sum, said->md5);
}

static void take_x_uidl(struct source_item *item, const struct said *said)
{
	char uidl[SOURCE_KEY_OCTETS + 1];

	if (said->uidl.text == NULL) {
		source_wrong(item, "it has no X-UIDL: the old server has not seen it");
		return;
	}
	if (said->uidl.len >= sizeof(uidl) || memchr(said->uidl.text, '\0', said->uidl.len) != NULL) {
		source_wrong(item, "its X-UIDL is no UIDL");
		return;
	}
	memcpy(uidl, said->uidl.text, said->uidl.len);
	uidl[said->uidl.len] = '\0';
	source_set_uidl(item, uidl);
}

static void take_numbers(
    const struct source_reader *reader, struct source_item *item, const struct said *said)
{
	const char *template = reader->template != NULL ? reader->template : TEMPLATE_DOVECOT;
	const struct template_values values = {
	    .uid = said->uid, .uidvalidity = reader->uidvalidity, .md5 = said->md5};
	const char *why = template_expand(template, &values, item->uidl);

	if (why != NULL)
		source_wrong(item, "%s (it has %s)", why,
		    said->uid == 0 ? "no X-UID: the old server has not seen it" : "an X-UID");
}

bool source_next_mbox(struct source_reader *reader, struct source_item *item)
{
	struct source_line line;
	struct likeness likeness;
	struct said said;

	do {
		if (!source_line(reader, &line))
			return false;
		item->line = reader->line;
		if (reader->line == 1 && !is_from(&line)) {
			source_end(reader, item, "not an mbox: it does not begin with \"From \" and a time");
			return true;
		}
		said = (struct said){0};
		struct likeness_reader *content = likeness_new(LIKENESS_LOOSE, LIKENESS_WHOLE);
		if (content == NULL) {
			source_end(reader, item, "no memory");
			return true;
		}
		read_message(reader, content, &said);
		if (likeness_done(&content, &likeness) != 0)
			source_wrong(item, "its digest failed");
		reader->begun = true;
	} while (said.internal);
	item->order = item->line;
	item->kind = SOURCE_ALIKE;
	likeness_hex(likeness.whole, LIKENESS_OCTETS, item->key);
	if (reader->format == SOURCE_X_UIDL)
		take_x_uidl(item, &said);
	else
		take_numbers(reader, item, &said);
	return true;
}
