/* SPDX-License-Identifier: ISC */
#include "uidls_line.h"

#include <stdio.h>
#include <string.h>

#include "uidl.h"

static const char digits[] = "0123456789abcdef";

/* Against chance: the end of a line that never reached the disk. */
static uint32_t checksum(const char *text, size_t len)
{
	uint32_t sum = 2166136261u;
	for (size_t i = 0; i < len; i++)
		sum = (sum ^ (uint8_t)text[i]) * 16777619u;
	return sum;
}

static char *put_hex(char *to, const uint8_t *octets, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		*to++ = digits[octets[i] >> 4];
		*to++ = digits[octets[i] & 15];
	}
	return to;
}

static char *put_name(char *to, const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (name[i] > 0x20 && name[i] < 0x7f && name[i] != '%') {
			*to++ = name[i];
			continue;
		}
		*to++ = '%';
		to = put_hex(to, (const uint8_t *)&name[i], 1);
	}
	return to;
}

size_t uidls_line_format(const struct uidls_line *line, char *out_r)
{
	char *to = out_r;
	*to++ = (char)line->kind;
	*to++ = ' ';
	if (digest_known(line->digest))
		to = put_hex(to, line->digest, CONTENT_DIGEST_OCTETS);
	else
		*to++ = '-';
	*to++ = ' ';
	memcpy(to, line->uidl, line->uidl_len);
	to += line->uidl_len;
	to += sprintf(to, " %u ", line->unique_len);
	to = put_name(to, line->name, line->name_len);
	*to++ = ' ';
	uint32_t sum = checksum(out_r, (size_t)(to - out_r));
	to += sprintf(to, "%08x\n", (unsigned)sum);
	return (size_t)(to - out_r);
}

/* The next word, up to a space; false: there is none. */
static bool word(const char **text, const char *end, const char **word_r, size_t *len_r)
{
	const char *space = memchr(*text, ' ', (size_t)(end - *text));
	if (space == NULL || space == *text)
		return false;
	*word_r = *text;
	*len_r = (size_t)(space - *text);
	*text = space + 1;
	return true;
}

static int hex(char c)
{
	const char *at = c == 0 ? NULL : strchr(digits, c);
	return at == NULL ? -1 : (int)(at - digits);
}

static bool parse_hex(const char *text, size_t len, uint8_t *out_r)
{
	for (size_t i = 0; i + 1 < len; i += 2) {
		int high = hex(text[i]);
		int low = hex(text[i + 1]);
		if (high < 0 || low < 0)
			return false;
		*out_r++ = (uint8_t)(high << 4 | low);
	}
	return len % 2 == 0;
}

static bool parse_digest(const char *text, size_t len, uint8_t *digest_r)
{
	memset(digest_r, 0, CONTENT_DIGEST_OCTETS);
	if (len == 1 && *text == '-')
		return true;
	return len == 2 * (size_t)CONTENT_DIGEST_OCTETS && parse_hex(text, len, digest_r) &&
	       digest_known(digest_r);
}

static bool parse_number(const char *text, size_t len, size_t *number_r)
{
	*number_r = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		*number_r = *number_r * 10 + (size_t)(text[i] - '0');
	}
	return len > 0 && len <= 3;
}

/* A name as a mailbox may have it. */
static bool parse_name(const char *text, size_t len, char *name_r, size_t *name_len_r)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		uint8_t octet = (uint8_t)text[i];
		if (n == RECORD_NAME_OCTETS)
			return false;
		if (octet == '%' && (len - i < 3 || !parse_hex(text + i + 1, 2, &octet)))
			return false;
		if (text[i] == '%')
			i += 2;
		if (octet == 0 || octet == '/')
			return false;
		name_r[n++] = (char)octet;
	}
	*name_len_r = n;
	return n > 0;
}

static bool kind_valid(char kind)
{
	return kind == UIDLS_ADOPTED || kind == UIDLS_SHARED || kind == UIDLS_GONE;
}

bool uidls_line_parse(const char *text, size_t len, struct uidls_line *line_r, char *name_r)
{
	const char *at = text;
	const char *end = text + len;
	const char *kind, *digest, *uidl, *unique, *name;
	size_t kind_len, digest_len, uidl_len, number_len, escaped_len, unique_len, name_len;
	uint8_t sum[4];
	if (!word(&at, end, &kind, &kind_len) || !word(&at, end, &digest, &digest_len) ||
	    !word(&at, end, &uidl, &uidl_len) || !word(&at, end, &unique, &number_len) ||
	    !word(&at, end, &name, &escaped_len) || end - at != 8 || !parse_hex(at, 8, sum))
		return false;
	uint32_t said = (uint32_t)sum[0] << 24 | (uint32_t)sum[1] << 16 | (uint32_t)sum[2] << 8 | sum[3];
	if (said != checksum(text, (size_t)(at - text)) || kind_len != 1 || !kind_valid(*kind) ||
	    !parse_digest(digest, digest_len, line_r->digest) || !uidl_valid(uidl, uidl_len) ||
	    !parse_number(unique, number_len, &unique_len) ||
	    !parse_name(name, escaped_len, name_r, &name_len) || unique_len == 0 || unique_len > name_len)
		return false;
	line_r->kind = (enum uidls_kind) * kind;
	line_r->uidl = uidl;
	line_r->uidl_len = (uint8_t)uidl_len;
	line_r->name = name_r;
	line_r->name_len = (uint8_t)name_len;
	line_r->unique_len = (uint8_t)unique_len;
	return line_r->kind == UIDLS_ADOPTED || digest_known(line_r->digest);
}
