/* SPDX-License-Identifier: ISC */
#include "mbox_date.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#include "mailbox.h"
#include "mbox_private.h"

#define WORDS_COUNT 64u
#define ZONE_MOST_SECS INT64_C(43200) /* the clocks farthest behind UTC */

struct word {
	const char *text;
	size_t len;
};

/* The last words of the line, in order. */
static size_t cut(const char *line, size_t len, struct word words_r[WORDS_COUNT])
{
	size_t count = 0;
	for (size_t at = 0; at < len;) {
		size_t end = at;
		while (end < len && strchr(" \t\r\n", line[end]) == NULL)
			end++;
		if (end > at) {
			if (count == WORDS_COUNT)
				memmove(words_r, words_r + 1, --count * sizeof(*words_r));
			words_r[count++] = (struct word){line + at, end - at};
		}
		at = end + 1;
	}
	return count;
}

/* -1: not a number of so many digits. */
static int number(const char *text, size_t len, size_t least, size_t most)
{
	int value = 0;
	if (len < least || len > most)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

/* 0 to 11; -1: none. */
static int month(const struct word *word)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	for (int i = 0; word->len == 3 && i < 12; i++)
		if (strncasecmp(word->text, names + 3 * i, 3) == 0)
			return i;
	return -1;
}

/* hh:mm or hh:mm:ss. */
static bool time_of_day(const struct word *word, struct tm *tm)
{
	const char *t = word->text;
	bool secs = word->len == 8 && t[5] == ':';
	if ((word->len != 5 && !secs) || t[2] != ':')
		return false;
	tm->tm_hour = number(t, 2, 2, 2);
	tm->tm_min = number(t + 3, 2, 2, 2);
	tm->tm_sec = secs ? number(t + 6, 2, 2, 2) : 59;
	return tm->tm_hour >= 0 && tm->tm_min >= 0 && tm->tm_sec >= 0;
}

/* The day stands before or behind the month, the year somewhere behind it. */
static bool date(const struct word *words, size_t count, size_t at, struct tm *tm)
{
	int day = at + 1 < count ? number(words[at + 1].text, words[at + 1].len, 1, 2) : -1;
	if (day < 0 && at > 0)
		day = number(words[at - 1].text, words[at - 1].len, 1, 2);
	int year = -1;
	for (size_t i = at + 1; i < count && year < 0; i++)
		year = number(words[i].text, words[i].len, 4, 4);
	tm->tm_mday = day;
	tm->tm_year = year - 1900;
	return day > 0 && year >= 1970;
}

bool mbox_date(const char *line, size_t len, int64_t *secs_r)
{
	struct word words[WORDS_COUNT];
	struct tm tm = {0};
	size_t count = cut(line, len, words), time = count, at;
	/* From behind: what comes first is the sender, which may look like anything. */
	while (time > 0 && !time_of_day(&words[time - 1], &tm))
		time--;
	for (at = time; at > 0 && month(&words[at - 1]) < 0; at--)
		continue;
	if (at == 0 || !date(words, count, at - 1, &tm))
		return false;
	tm.tm_mon = month(&words[at - 1]);
	*secs_r = timegm(&tm) + ZONE_MOST_SECS;
	return true;
}

struct line {
	char text[MBOX_FROM_OCTETS];
	size_t len;
};

static void take_line(void *arg, enum mbox_piece piece, const void *buf, size_t len)
{
	struct line *line = arg;
	size_t room = sizeof(line->text) - line->len;
	if (piece != MBOX_FROM)
		return;
	len = len < room ? len : room;
	memcpy(line->text + line->len, buf, len);
	line->len += len;
}

int mbox_arrived(struct mailbox *mailbox, const struct record *record, int64_t *secs_r)
{
	struct mbox *mbox = (struct mbox *)mailbox;
	struct mbox_entry entry;
	struct line line = {.len = 0};
	int rc = mbox_enter(mbox, MBOX_WAIT_MSECS);
	if (rc != MAILDROP_OK)
		return rc == MAILDROP_GONE ? rc : MAILDROP_TEMP;
	rc = mbox_read_message(mbox, record, take_line, &line, &entry);
	mbox_file_leave(&mbox->file);
	if (rc != MAILDROP_OK)
		return rc;
	return mbox_date(line.text, line.len, secs_r) ? MAILDROP_OK : MAILDROP_PERM;
}
