/* SPDX-License-Identifier: ISC */
#include "gs2header.h"

#include <stdint.h>
#include <string.h>

static const char type_octets[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";

struct cursor {
	const char *at, *end;
};

static bool take(struct cursor *cursor, char octet)
{
	if (cursor->at == cursor->end || *cursor->at != octet)
		return false;
	cursor->at++;
	return true;
}

/* What is left up to the next comma. */
static size_t field(const struct cursor *cursor)
{
	const char *comma = memchr(cursor->at, ',', (size_t)(cursor->end - cursor->at));

	return (size_t)((comma != NULL ? comma : cursor->end) - cursor->at);
}

static const char *take_type(struct cursor *cursor, char *type_r)
{
	size_t len = field(cursor);

	if (len == 0 || len > GS2_TYPE_OCTETS)
		return "the name of a channel binding is empty or too long";
	for (size_t i = 0; i < len; i++)
		if (memchr(type_octets, cursor->at[i], sizeof(type_octets) - 1) == NULL)
			return "the name of a channel binding has an octet it cannot have";
	memcpy(type_r, cursor->at, len);
	type_r[len] = '\0';
	cursor->at += len;
	return NULL;
}

static const char *take_flag(struct cursor *cursor, struct gs2header *header)
{
	const char *wrong = NULL;

	if (take(cursor, 'n'))
		header->flag = GS2_UNABLE;
	else if (take(cursor, 'y'))
		header->flag = GS2_UNASKED;
	else if (take(cursor, 'p') && take(cursor, '=')) {
		header->flag = GS2_BOUND;
		wrong = take_type(cursor, header->type);
	} else
		return "the first message does not say whether it is bound to the connection";
	if (wrong != NULL)
		return wrong;
	return take(cursor, ',') ? NULL : "no comma behind the flag of channel binding";
}

/* One character of UTF-8 (RFC 3629): how many octets it has, 0 when there is none. */
static size_t character(const uint8_t *at, size_t left)
{
	static const struct {
		uint8_t first, last;   /* of the first octet */
		uint8_t second, third; /* least and greatest of the second */
		size_t len;
	} rows[] = {
	    {0x01, 0x7f, 0, 0, 1},
	    {0xc2, 0xdf, 0x80, 0xbf, 2},
	    {0xe0, 0xe0, 0xa0, 0xbf, 3},
	    {0xe1, 0xec, 0x80, 0xbf, 3},
	    {0xed, 0xed, 0x80, 0x9f, 3},
	    {0xee, 0xef, 0x80, 0xbf, 3},
	    {0xf0, 0xf0, 0x90, 0xbf, 4},
	    {0xf1, 0xf3, 0x80, 0xbf, 4},
	    {0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (at[0] < rows[i].first || at[0] > rows[i].last)
			continue;
		if (left < rows[i].len ||
		    (rows[i].len > 1 && (at[1] < rows[i].second || at[1] > rows[i].third)))
			return 0;
		for (size_t j = 2; j < rows[i].len; j++)
			if ((at[j] & 0xc0) != 0x80)
				return 0;
		return rows[i].len;
	}
	return 0;
}

/*
 * One character of a saslname, where "=2C" is a comma, "=3D" is "=", and there is no other "=": how many
 * octets were taken, and in out_r (4 octets) what they stand for. 0: there is none.
 */
static size_t take_character(const char *at, size_t left, char *out_r, size_t *out_len_r)
{
	size_t len;

	if (at[0] == '=') {
		if (left < 3 || (memcmp(at, "=2C", 3) != 0 && memcmp(at, "=3D", 3) != 0))
			return 0;
		out_r[0] = at[1] == '2' ? ',' : '=';
		*out_len_r = 1;
		return 3;
	}
	len = character((const uint8_t *)at, left);
	memcpy(out_r, at, len);
	*out_len_r = len;
	return len;
}

static const char *take_name(struct cursor *cursor, char *name_r)
{
	const char *end = cursor->at + field(cursor);
	size_t used = 0;

	while (cursor->at < end) {
		char octets[4];
		size_t len = 0, taken = take_character(cursor->at, (size_t)(end - cursor->at), octets, &len);

		if (taken == 0)
			return "the name to act as is not UTF-8, or has a '=' that is no '=2C' and no '=3D'";
		if (len > SASLX_USER_OCTETS - used)
			return "the name to act as is too long";
		memcpy(name_r + used, octets, len);
		used += len;
		cursor->at += taken;
	}
	name_r[used] = '\0';
	return used > 0 ? NULL : "the name to act as is empty";
}

const char *gs2header_parse(const char *message, size_t len, struct gs2header *header_r)
{
	struct cursor cursor = {.at = message, .end = message + len};
	const char *wrong;

	memset(header_r, 0, sizeof(*header_r));
	if (take(&cursor, 'F')) {
		header_r->nonstandard = true;
		if (!take(&cursor, ','))
			return "no comma behind the flag F";
	}
	header_r->start = (size_t)(cursor.at - message);
	if ((wrong = take_flag(&cursor, header_r)) != NULL)
		return wrong;
	if (take(&cursor, 'a')) {
		if (!take(&cursor, '='))
			return "something else where the name to act as would be";
		if ((wrong = take_name(&cursor, header_r->authzid)) != NULL)
			return wrong;
	}
	if (!take(&cursor, ','))
		return "no comma behind the name to act as";
	header_r->end = (size_t)(cursor.at - message);
	return NULL;
}
