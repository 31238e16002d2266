/* SPDX-License-Identifier: ISC */
#include "server/inquiry.h"

#include <stdlib.h>
#include <unistd.h>

struct inquiry {
	int answer;
	struct event *event;
	inquiry_fn *fn;
	void *arg;
};

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
	struct inquiry *inquiry = arg;
	struct check_result result = {.why = "no answer in time"};
	int got = (what & EV_TIMEOUT) != 0 ? MSG_OK : check_hear(fd, &result);
	if (got == MSG_AGAIN)
		return;
	if (got != MSG_OK)
		result = (struct check_result){.why = "the check was ended without an answer"};
	inquiry->fn(inquiry->arg, &result);
}

struct inquiry *inquiry_start(
    struct event_base *base, int door, const struct check *check, unsigned msecs, inquiry_fn *fn, void *arg)
{
	struct timeval wait = {.tv_sec = msecs / 1000, .tv_usec = (suseconds_t)(msecs % 1000) * 1000};
	struct inquiry *inquiry = malloc(sizeof *inquiry);
	if (inquiry == NULL)
		return NULL;
	*inquiry = (struct inquiry){.answer = -1, .fn = fn, .arg = arg};
	if (check_ask(door, check, &inquiry->answer) != MSG_OK ||
	    (inquiry->event = event_new(base, inquiry->answer, EV_READ | EV_PERSIST, on_answer, inquiry)) ==
		NULL ||
	    event_add(inquiry->event, &wait) < 0)
		inquiry_free(&inquiry);
	return inquiry;
}

void inquiry_free(struct inquiry **inquiry)
{
	if (*inquiry == NULL)
		return;
	if ((*inquiry)->event != NULL)
		event_free((*inquiry)->event);
	if ((*inquiry)->answer >= 0)
		close((*inquiry)->answer);
	free(*inquiry);
	*inquiry = NULL;
}
