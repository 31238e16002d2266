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
	char why[LIMIT_CHECK_WHY_OCTETS + 1];
	enum check_verdict verdict;
	if ((what & EV_TIMEOUT) != 0) {
		inquiry->fn(inquiry->arg, CHECK_UNAVAILABLE, "no answer in time");
		return;
	}
	switch (check_hear(fd, &verdict, why)) {
	case MSG_OK:
		inquiry->fn(inquiry->arg, verdict, why);
		return;
	case MSG_AGAIN:
		return;
	default:
		inquiry->fn(inquiry->arg, CHECK_UNAVAILABLE, "the check was ended without an answer");
		return;
	}
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
