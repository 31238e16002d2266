/* SPDX-License-Identifier: ISC */
#include "login.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORD "login "
#define WORD_OCTETS (sizeof(WORD) - 1)

int64_t login_parse(const char *text, uint64_t len)
{
	int64_t secs = 0;
	if (len < LOGIN_LINE_OCTETS || memcmp(text, WORD, WORD_OCTETS) != 0 ||
	    text[LOGIN_LINE_OCTETS - 1] != '\n')
		return INT64_MIN;
	for (size_t i = WORD_OCTETS; i < LOGIN_LINE_OCTETS - 1; i++)
		if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(secs, INT64_C(10), &secs) ||
		    __builtin_add_overflow(secs, (int64_t)(text[i] - '0'), &secs))
			return INT64_MIN;
	return secs;
}

static int64_t now_secs(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

/* How long a login must still wait, in seconds. */
static uint32_t wait_secs(int fd, uint32_t delay_secs)
{
	char line[LOGIN_LINE_OCTETS];
	ssize_t got = fd < 0 || delay_secs == 0 ? 0 : pread(fd, line, sizeof(line), 0);
	int64_t last = login_parse(line, got < 0 ? 0 : (uint64_t)got);
	int64_t now = now_secs();
	if (last == INT64_MIN || last > now || now - last >= (int64_t)delay_secs)
		return 0;
	return delay_secs - (uint32_t)(now - last);
}

int login_check(int fd, const struct maildrop_place *place)
{
	uint32_t wait = wait_secs(fd, place->login_delay_secs);
	if (wait > 0 && place->wait_secs_r != NULL)
		*place->wait_secs_r = wait;
	return wait > 0 ? MAILDROP_EARLY : MAILDROP_OK;
}

void login_note(int fd)
{
	char line[LOGIN_LINE_OCTETS + 1];
	int64_t now = now_secs();
	if (fd < 0 || now < 0)
		return;
	snprintf(line, sizeof(line), WORD "%020" PRId64 "\n", now);
	/* What cannot be noted (a full disk) costs a delay, not the login. */
	if (pwrite(fd, line, LOGIN_LINE_OCTETS, 0) != (ssize_t)LOGIN_LINE_OCTETS)
		return;
}
