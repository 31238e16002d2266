/* SPDX-License-Identifier: ISC */
#include "mbox_fields.h"

#include <string.h>
#include <strings.h>

struct field {
	const char *name;
	enum mbox_field field;
	bool family; /* all fields whose names begin so */
};

/*
 * Who writes them: mailx and all after it (Status), mutt and Pine (X-Status), UW's c-client and Dovecot
 * (X-UID, X-IMAP, X-IMAPbase, X-Keywords), SVR4's mailx and mutt (Content-Length, Lines), mutt (X-Label),
 * poppers (X-UIDL), Mozilla (X-Mozilla-Status, -Status2, -Keys), Evolution, KMail and VM.
 */
static const struct field fields[] = {
    {"Content-Length", MBOX_FIELD_LENGTH, false},
    {"Lines", MBOX_FIELD_REWRITTEN, false},
    {"Status", MBOX_FIELD_REWRITTEN, false},
    {"Subject", MBOX_FIELD_SUBJECT, false},
    {"X-Evolution", MBOX_FIELD_REWRITTEN, true},
    {"X-IMAP", MBOX_FIELD_IMAP, false},
    {"X-IMAPbase", MBOX_FIELD_IMAP, false},
    {"X-KMail-", MBOX_FIELD_REWRITTEN, true},
    {"X-Keywords", MBOX_FIELD_REWRITTEN, false},
    {"X-Label", MBOX_FIELD_REWRITTEN, false},
    {"X-Mozilla-", MBOX_FIELD_REWRITTEN, true},
    {"X-Status", MBOX_FIELD_REWRITTEN, false},
    {"X-UID", MBOX_FIELD_REWRITTEN, false},
    {"X-UIDL", MBOX_FIELD_REWRITTEN, false},
    {"X-VM-", MBOX_FIELD_REWRITTEN, true},
};

enum mbox_field mbox_field(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		size_t want = strlen(fields[i].name);
		if ((len == want || (fields[i].family && len > want)) &&
		    strncasecmp(name, fields[i].name, want) == 0)
			return fields[i].field;
	}
	return MBOX_FIELD_OTHER;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Up to the end of the line, without spaces on either side. */
static size_t value_of(const char **line, size_t len)
{
	const char *lf = memchr(*line, '\n', len);
	if (lf != NULL)
		len = (size_t)(lf - *line);
	for (; len > 0 && is_space(**line); len--)
		++*line;
	while (len > 0 && is_space((*line)[len - 1]))
		len--;
	return len;
}

bool mbox_field_length(const char *line, size_t len, uint64_t *length_r)
{
	uint64_t length = 0;
	len = value_of(&line, len);
	if (len == 0 || len > 18)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (line[i] < '0' || line[i] > '9')
			return false;
		length = length * 10 + (uint64_t)(line[i] - '0');
	}
	*length_r = length;
	return true;
}

bool mbox_field_internal(const char *line, size_t len)
{
	static const char subject[] = "DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA";
	len = value_of(&line, len);
	return len == sizeof(subject) - 1 && memcmp(line, subject, len) == 0;
}
