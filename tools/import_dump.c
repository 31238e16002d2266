/* SPDX-License-Identifier: ISC */
/*
 * What db_dump(1) makes of a sasldb: a header, then for each entry a line with the key, "user NUL realm NUL
 * property", and a line with the value; a space before each. With -p, octets that cannot be printed are
 * \xx and a backslash is doubled; without it, all are hexadecimal.
 */
#include <string.h>

#include "tools/import_item.h"

#define PROPERTY_PASSWORD "userPassword"

static int digit(char c)
{
	const char *found = c != '\0' ? strchr("0123456789abcdef", c) : NULL;

	return found != NULL ? (int)(found - "0123456789abcdef") : -1;
}

/* The octets of a line behind its space; -1: malformed, or more than there is room for. */
static int undump(const char *line, size_t len, bool hexadecimal, char *out, size_t size)
{
	size_t made = 0;

	if (len == 0 || line[0] != ' ')
		return -1;
	for (size_t i = 1; i < len; i++) {
		bool escaped = !hexadecimal && line[i] == '\\';

		if (made == size)
			return -1;
		i += escaped;
		if (escaped && i < len && line[i] == '\\') {
			out[made++] = '\\';
		} else if (escaped || hexadecimal) {
			int high = i + 1 < len ? digit(line[i]) : -1,
			    low = high >= 0 ? digit(line[i + 1]) : -1;

			if (low < 0)
				return -1;
			out[made++] = (char)(high << 4 | low);
			i++;
		} else {
			out[made++] = line[i];
		}
	}
	return (int)made;
}

static bool is(const char *line, size_t len, const char *text)
{
	return len == strlen(text) && memcmp(line, text, len) == 0;
}

/* Up to the data. false: it never comes, or in a form that is not known; then why says so. */
static bool read_header(struct import_reader *reader, struct import_item *item)
{
	const char *line;
	size_t len;

	item->line = 1;
	while (import_line(reader, &line, &len)) {
		if (is(line, len, "HEADER=END")) {
			reader->in_data = true;
			return true;
		}
		if (is(line, len, "format=bytevalue"))
			reader->hexadecimal = true;
		if (len == 0 || memchr(line, '=', len) == NULL)
			break;
	}
	import_wrong(item, "not a dump of a Berkeley database; make one with: db5.3_dump -p /etc/sasldb2");
	reader->at = reader->len;
	reader->in_data = true;
	return false;
}

/* Two realms may have a user of the same name each. */
static void check_realm(struct import_reader *reader, struct import_item *item, const char *realm)
{
	if (reader->realm != NULL || reader->keep_realm)
		return;
	if (reader->only_realm == NULL)
		reader->only_realm = strdup(realm);
	if (reader->only_realm != NULL && strcmp(reader->only_realm, realm) != 0)
		import_wrong(item,
		    "another realm, %.64s: say --realm %.64s, or --keep-realm for names with their realms",
		    realm, reader->only_realm);
}

static void take_entry(struct import_reader *reader, struct import_item *item, const char *key, size_t len,
    const char *value, size_t value_len)
{
	const char *realm = memchr(key, '\0', len);
	const char *property =
	    realm != NULL ? memchr(realm + 1, '\0', len - (size_t)(realm + 1 - key)) : NULL;
	char name[2 * IMPORT_LINE_OCTETS];
	size_t name_len;

	if (property == NULL) {
		import_wrong(item, "a key that is not user, realm and property; is this a dump of a sasldb?");
		return;
	}
	if (!is(property + 1, len - (size_t)(property + 1 - key), PROPERTY_PASSWORD) ||
	    (reader->realm != NULL && strcmp(realm + 1, reader->realm) != 0)) {
		item->skipped = true;
		return;
	}
	check_realm(reader, item, realm + 1);
	name_len = reader->keep_realm ? (size_t)(property - key) : (size_t)(realm - key);
	memcpy(name, key, name_len);
	if (reader->keep_realm)
		name[realm - key] = '@';
	import_user(item, name, name_len);
	import_password(item, value, value_len);
}

bool import_dump(struct import_reader *reader, struct import_item *item)
{
	char key[IMPORT_LINE_OCTETS], value_secret[IMPORT_LINE_OCTETS];
	const char *line, *value;
	size_t len, value_len;
	int key_got, value_got;

	if (!reader->in_data && !read_header(reader, item))
		return true;
	if (!import_line(reader, &line, &len) || is(line, len, "DATA=END"))
		return false;
	item->line = reader->line;
	key_got = undump(line, len, reader->hexadecimal, key, sizeof(key));
	if (!import_line(reader, &value, &value_len)) {
		import_wrong(item, "the dump is cut off");
		return true;
	}
	value_got = undump(value, value_len, reader->hexadecimal, value_secret, sizeof(value_secret));
	if (key_got < 0 || value_got < 0)
		import_wrong(item, "a malformed or too long line of a database dump");
	else
		take_entry(reader, item, key, (size_t)key_got, value_secret, (size_t)value_got);
	explicit_bzero(value_secret, sizeof(value_secret));
	return true;
}
