/* SPDX-License-Identifier: ISC */
#include "server/inquiry.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/child.h"

struct inquiry {
	const struct inquirer *inquirer;
	struct check check;
	struct check_result result; /* known before: answer is -1 */
	int answer;
	struct event *event;
	inquiry_fn *fn;
	void *arg;
};

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
	struct inquiry *inquiry = arg;
	struct check_result *result = &inquiry->result;
	int got = MSG_OK;
	if (inquiry->answer >= 0) {
		*result = (struct check_result){.why = "no answer in time"};
		got = (what & EV_TIMEOUT) != 0 ? MSG_OK : check_hear(fd, result);
		if (got == MSG_OK && result->verdict == CHECK_RIGHT && inquiry->check.kind != CHECK_K5LOGIN)
			remember_add(inquiry->inquirer->remember, &inquiry->check, result, now_msecs());
	}
	if (got == MSG_AGAIN)
		return;
	if (got != MSG_OK)
		*result = (struct check_result){.why = "the check was ended without an answer"};
	event_del(inquiry->event);
	inquiry->fn(inquiry->arg, result);
}

/* Asks, or finds that it need not. */
static int put(struct inquiry *inquiry)
{
	const struct inquirer *inquirer = inquiry->inquirer;
	struct timeval wait = {
	    .tv_sec = inquirer->msecs / 1000, .tv_usec = (suseconds_t)(inquirer->msecs % 1000) * 1000};
	if (inquiry->check.kind != CHECK_K5LOGIN &&
	    remember_find(inquirer->remember, &inquiry->check, now_msecs(), &inquiry->result))
		wait = (struct timeval){0};
	else if (check_ask(inquirer->door, &inquiry->check, &inquiry->answer) != MSG_OK)
		return -1;
	inquiry->event = event_new(inquirer->base, inquiry->answer, EV_READ | EV_PERSIST, on_answer, inquiry);
	return inquiry->event == NULL ? -1 : event_add(inquiry->event, &wait);
}

struct inquiry *inquiry_start(
    const struct inquirer *inquirer, const struct check *check, inquiry_fn *fn, void *arg)
{
	struct inquiry *inquiry = calloc(1, sizeof *inquiry);
	if (inquiry == NULL)
		return NULL;
	*inquiry =
	    (struct inquiry){.inquirer = inquirer, .check = *check, .answer = -1, .fn = fn, .arg = arg};
	if (put(inquiry) < 0)
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
	OPENSSL_cleanse(*inquiry, sizeof **inquiry);
	free(*inquiry);
	*inquiry = NULL;
}
