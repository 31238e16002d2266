/* SPDX-License-Identifier: ISC */
#include "server/config_comments.h"

#include <stdbool.h>
#include <string.h>

/* Behind the closing quote, or the end of the text. */
static char *skip_quoted(char *p)
{
	char quote = *p++;
	while (*p != '\0' && *p != quote)
		p += p[0] == '\\' && p[1] != '\0' ? 2 : 1;
	return *p == quote ? p + 1 : p;
}

/* Blanks that leave the lines where they are. */
static char *blank(char *from, const char *to)
{
	for (; from != to; from++)
		if (*from != '\n')
			*from = ' ';
	return from;
}

static char *blank_line(char *p)
{
	return blank(p, p + strcspn(p, "\n"));
}

/* NULL: it is never closed. */
static char *blank_block(char *p)
{
	const char *end = strstr(p + 2, "*/");
	return end != NULL ? blank(p, end + 2) : NULL;
}

static int line_of(const char *text, const char *at)
{
	int line = 1;
	for (; text != at; text++)
		line += *text == '\n';
	return line;
}

int config_comments_blank(char *text)
{
	bool word = false; /* whether what is before p is part of one */
	for (char *p = text; *p != '\0';) {
		if (*p == '"' || *p == '\'') {
			p = skip_quoted(p);
			word = false;
		} else if (*p == '#' || (!word && p[0] == '/' && p[1] == '/')) {
			p = blank_line(p);
		} else if (!word && p[0] == '/' && p[1] == '*') {
			char *open = p;
			if ((p = blank_block(p)) == NULL)
				return line_of(text, open);
		} else {
			word = strchr(" \t\r\n={}()+,", *p) == NULL;
			p++;
		}
	}
	return 0;
}
