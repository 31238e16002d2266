/* SPDX-License-Identifier: ISC */
#include "mbox_from.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct text {
	const char *at, *end;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void skip_spaces(struct text *text)
{
	while (text->at < text->end && (*text->at == ' ' || *text->at == '\t'))
		text->at++;
}

/* The next word, without its spaces. false: there is none. */
static bool next_word(struct text *text, const char **word_r, size_t *len_r)
{
	skip_spaces(text);
	*word_r = text->at;
	while (text->at < text->end && *text->at != ' ' && *text->at != '\t')
		text->at++;
	*len_r = (size_t)(text->at - *word_r);
	return *len_r > 0;
}

/* One of the three-letter names in list. */
static bool is_name(const char *word, size_t len, const char *list)
{
	if (len != 3)
		return false;
	for (; *list != 0; list += 3)
		if (strncasecmp(word, list, 3) == 0)
			return true;
	return false;
}

static bool is_weekday(const char *word, size_t len)
{
	if (len == 4 && word[3] == ',')
		len = 3;
	return is_name(word, len, "MonTueWedThuFriSatSun");
}

static bool is_month(const char *word, size_t len)
{
	return is_name(word, len, "JanFebMarAprMayJunJulAugSepOctNovDec");
}

static bool is_number(const char *word, size_t len, size_t least, size_t most)
{
	for (size_t i = 0; i < len; i++)
		if (!is_digit(word[i]))
			return false;
	return len >= least && len <= most;
}

/* h:mm, hh:mm or hh:mm:ss */
static bool is_time(const char *word, size_t len)
{
	size_t hour = len > 1 && word[1] == ':' ? 1 : 2;
	if (len != hour + 3 && len != hour + 6)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((i - hour) % 3 == 0 && i >= hour ? word[i] != ':' : !is_digit(word[i]))
			return false;
	return true;
}

/* What follows the day: a time and a year, in either order, perhaps with a zone between or before them. */
static bool is_time_and_year(struct text text)
{
	bool time = false;
	bool year = false;
	const char *word;
	size_t len;
	for (int words = 0; words < 4 && !(time && year) && next_word(&text, &word, &len); words++) {
		time = time || is_time(word, len);
		year = year || is_number(word, len, 4, 4);
	}
	return time && year;
}

/* Whether a date begins here, whatever comes behind it. */
static bool is_date(struct text text)
{
	const char *a;
	const char *b;
	size_t a_len;
	size_t b_len;
	if (!next_word(&text, &a, &a_len) || !is_weekday(a, a_len) || !next_word(&text, &a, &a_len) ||
	    !next_word(&text, &b, &b_len))
		return false;
	bool month_first = is_month(a, a_len) && is_number(b, b_len, 1, 2);
	bool day_first = is_number(a, a_len, 1, 2) && is_month(b, b_len);
	return (month_first || day_first) && is_time_and_year(text);
}

/* A sender, which may hold spaces, and a date. */
static bool is_sender_and_date(struct text text)
{
	const char *word;
	size_t len;
	if (!next_word(&text, &word, &len))
		return false;
	while (text.at < text.end) {
		if (is_date(text))
			return true;
		if (!next_word(&text, &word, &len))
			return false;
	}
	return false;
}

size_t mbox_from_empty(const char *text, size_t len)
{
	if (len >= 1 && text[0] == '\n')
		return 1;
	return len >= 2 && text[0] == '\r' && text[1] == '\n' ? 2 : 0;
}

size_t mbox_from_gap(const char *last, size_t len)
{
	if (len == 0)
		return 0;
	if (last[len - 1] != '\n')
		return 2;
	bool empty = len == 1 || last[len - 2] == '\n' ||
		     (last[len - 2] == '\r' && (len == 2 || last[len - 3] == '\n'));
	return empty ? 0 : 1;
}

bool mbox_from_field(const char *text, size_t len, size_t *name_len_r)
{
	size_t n = 0;
	while (n < len && n < MBOX_NAME_OCTETS && text[n] > 0x20 && text[n] < 0x7f && text[n] != ':')
		n++;
	*name_len_r = n;
	while (n < len && n < MBOX_NAME_OCTETS && (text[n] == ' ' || text[n] == '\t'))
		n++;
	return *name_len_r > 0 && n < len && text[n] == ':';
}

/* What git writes before each patch: a hash, and always the same date. */
static bool is_patch(const char *text, size_t len)
{
	static const char date[] = " Mon Sep 17 00:00:00 2001";
	size_t digits = 0;
	while (digits < len && (is_digit(text[digits]) || (text[digits] >= 'a' && text[digits] <= 'f')))
		digits++;
	return (digits == 40 || digits == 64) && len - digits >= sizeof(date) - 1 &&
	       memcmp(text + digits, date, sizeof(date) - 1) == 0;
}

enum mbox_from mbox_from_look(const char *text, size_t len)
{
	if (len < 5 || memcmp(text, "From ", 5) != 0)
		return MBOX_FROM_NOT;
	size_t most = len < MBOX_FROM_OCTETS ? len : MBOX_FROM_OCTETS;
	const char *lf = memchr(text, '\n', most);
	if (lf == NULL)
		return MBOX_FROM_NOT;
	struct text rest = {text + 5, lf[-1] == '\r' ? lf - 1 : lf};
	if (!is_sender_and_date(rest))
		return MBOX_FROM_NOT;
	size_t left = len - (size_t)(lf + 1 - text);
	size_t name_len;
	bool header = mbox_from_field(lf + 1, left, &name_len);
	return header && !is_patch(rest.at, (size_t)(rest.end - rest.at)) ? MBOX_FROM_SURE
									  : MBOX_FROM_DOUBTFUL;
}

size_t mbox_from_write(const char *sender, size_t len, time_t when, char *line_r)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	static const char nobody[] = "MAILER-DAEMON";
	char clean[MBOX_SENDER_OCTETS];
	struct tm tm;
	if (len > sizeof(clean))
		len = sizeof(clean);
	for (size_t i = 0; i < len; i++)
		clean[i] = sender[i] > 0x20 && sender[i] != 0x7f ? sender[i] : '-';
	if (len == 0)
		memcpy(clean, nobody, len = sizeof(nobody) - 1);
	/* A clock beyond the year 9999 would write a date that nobody reads as one. */
	if (gmtime_r(&when, &tm) == NULL || tm.tm_year < 0 || tm.tm_year > 9999 - 1900)
		gmtime_r(&(time_t){0}, &tm);
	int written = snprintf(line_r, MBOX_FROM_OCTETS, "From %.*s %.3s %.3s %2d %02d:%02d:%02d %04d\n",
	    (int)len, clean, days + 3 * tm.tm_wday, months + 3 * tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min,
	    tm.tm_sec, tm.tm_year + 1900);
	return (size_t)written;
}
