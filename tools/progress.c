/* SPDX-License-Identifier: ISC */
#include "tools/progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MSECS 100

/* One terminal, one line. */
static int64_t shown_at;
static bool shown;

static int64_t now_msecs(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void progress(const char *what, uint64_t done, uint64_t all)
{
	int64_t now = now_msecs();

	if (now - shown_at < PAUSE_MSECS || isatty(STDERR_FILENO) == 0)
		return;
	shown_at = now;
	shown = true;
	fprintf(stderr, "\r\033[K%s: %llu of %llu", what, (unsigned long long)done, (unsigned long long)all);
	fflush(stderr);
}

void progress_end(void)
{
	if (shown)
		fputs("\r\033[K", stderr);
	shown = false;
}
