/* SPDX-License-Identifier: ISC */
#include "tools/uidl_template.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/uidl.h"

#define VALUE_OCTETS 512u
#define MODIFIERS_COUNT 4u

/* One %... of a template. */
struct field {
	char key; /* of u v f g m, or % */
	bool zero;
	unsigned width; /* 0: none */
	char modifiers[MODIFIERS_COUNT + 1];
};

static char long_key(const char **p)
{
	static const struct {
		const char *name;
		char key;
	} names[] = {{"uid}", 'u'}, {"uidvalidity}", 'v'}, {"filename}", 'f'}, {"guid}", 'g'}, {"md5}", 'm'}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(*p, names[i].name, strlen(names[i].name)) == 0) {
			*p += strlen(names[i].name);
			return names[i].key;
		}
	return '\0';
}

/* *p is behind the %. */
static const char *read_field(const char **p, struct field *field_r)
{
	size_t count = 0;

	*field_r = (struct field){.zero = **p == '0'};
	while (isdigit((unsigned char)**p)) {
		field_r->width = 10 * field_r->width + (unsigned)(*(*p)++ - '0');
		if (field_r->width > TEMPLATE_WIDTH_OCTETS)
			return "a width of a UIDL's format is more than 70";
	}
	while (**p != '\0' && strchr("XLUR", **p) != NULL) {
		if (count == MODIFIERS_COUNT)
			return "too many modifiers in a UIDL's format";
		field_r->modifiers[count++] = *(*p)++;
	}
	if (**p == '{') {
		(*p)++;
		field_r->key = long_key(p);
	} else if (**p != '\0' && strchr("uvfgm%", **p) != NULL) {
		field_r->key = *(*p)++;
	}
	return field_r->key != '\0'
		   ? NULL
		   : "a UIDL's format has %u, %v, %f, %g, %m, before these letters a width and X, "
		     "L, U or R, and %%";
}

static bool is_number(char key)
{
	return key == 'u' || key == 'v';
}

const char *template_check(const char *template)
{
	const char *why = NULL, *p = template;
	struct field field;
	bool tells_apart = false;

	while (why == NULL && *p != '\0') {
		if (*p++ != '%')
			continue;
		why = read_field(&p, &field);
		tells_apart = tells_apart || (field.key != 'v' && field.key != '%');
		if (why == NULL && strchr(field.modifiers, 'X') != NULL && !is_number(field.key))
			why = "X of a UIDL's format is for %u and %v";
	}
	if (why == NULL && !tells_apart)
		why = "a UIDL's format needs %u, %f, %g or %m, or all messages have the same";
	return why;
}

static void reverse(char *text)
{
	for (size_t i = 0, j = strlen(text); i + 1 < j; i++) {
		char c = text[i];
		text[i] = text[--j];
		text[j] = c;
	}
}

static void modify(const char *modifiers, char *text)
{
	for (; *modifiers != '\0'; modifiers++) {
		if (*modifiers == 'R')
			reverse(text);
		if (*modifiers == 'X')
			snprintf(text, VALUE_OCTETS, "%" PRIx64, (uint64_t)strtoull(text, NULL, 10));
		for (char *c = text; *modifiers == 'L' && *c != '\0'; c++)
			*c = (char)tolower((unsigned char)*c);
		for (char *c = text; *modifiers == 'U' && *c != '\0'; c++)
			*c = (char)toupper((unsigned char)*c);
	}
}

/* false: it is not known. */
static bool value_of(char key, const struct template_values *values, char *text_r)
{
	const char *text = key == '%'   ? "%"
			   : key == 'f' ? values->filename
			   : key == 'g' ? values->guid
					: values->md5;

	if (is_number(key)) {
		snprintf(text_r, VALUE_OCTETS, "%" PRIu32, key == 'u' ? values->uid : values->uidvalidity);
		return (key == 'u' ? values->uid : values->uidvalidity) != 0;
	}
	if (text == NULL || text[0] == '\0' || strlen(text) >= VALUE_OCTETS)
		return false;
	strcpy(text_r, text);
	return true;
}

/* false: no room. Padding does not cut, a plain width does. */
static bool put(const struct field *field, const char *text, char *uidl, size_t *len)
{
	size_t have = strlen(text), pad = field->zero && have < field->width ? field->width - have : 0;

	if (!field->zero && field->width != 0 && have > field->width)
		have = field->width;
	if (have > MAILDROP_UIDL_OCTETS || pad + have > MAILDROP_UIDL_OCTETS - *len)
		return false;
	memset(uidl + *len, '0', pad);
	memcpy(uidl + *len + pad, text, have);
	*len += pad + have;
	return true;
}

const char *template_expand(const char *template, const struct template_values *values, char *uidl_r)
{
	static const char too_long[] = "its UIDL would be longer than 70 octets";
	size_t len = 0;

	for (const char *p = template; *p != '\0';) {
		struct field field = {0};
		char text[VALUE_OCTETS];

		if (*p != '%') {
			text[0] = *p++;
			text[1] = '\0';
		} else {
			p++;
			const char *why = read_field(&p, &field);
			if (why != NULL)
				return why;
			if (!value_of(field.key, values, text))
				return "what its UIDL is made of is not known here";
			modify(field.modifiers, text);
		}
		if (!put(&field, text, uidl_r, &len))
			return too_long;
	}
	uidl_r[len] = '\0';
	return uidl_valid(uidl_r, len) ? NULL : "its UIDL has octets that no UIDL may have";
}
