/* SPDX-License-Identifier: ISC */
#include "server/child.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/log.h"
#include "server/msg.h"

enum { BACKOFF_FIRST_MSECS = 100 };

/* A terminal's Ctrl-C and hang-up reach every process of the group; only master acts on them. */
static void default_signals(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, dflt = {.sa_handler = SIG_DFL};
	sigset_t none;
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGTERM, &dflt, NULL);
	sigaction(SIGCHLD, &dflt, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int child_start(struct child *child, child_fn *run, void *arg)
{
	int pair[2];
	if (msg_pair(pair) < 0)
		return -1;
	pid_t pid = fork();
	if (pid < 0) {
		close(pair[0]);
		close(pair[1]);
		return -1;
	}
	if (pid == 0) {
		default_signals();
		close(pair[0]);
		run(arg, pair[1]);
		_exit(1); /* run has no business returning */
	}
	close(pair[1]);
	*child = (struct child){.pid = pid, .leash = pair[0]};
	return 0;
}

void child_retire(struct child *child)
{
	if (child->leash >= 0 && msg_send(child->leash, MSG_PARENT_RETIRE, NULL, 0, -1) != MSG_OK)
		child_cut(child);
}

void child_cut(struct child *child)
{
	if (child->leash >= 0)
		close(child->leash);
	child->leash = -1;
}

enum leash_word child_hear(int leash, struct offers *offers_r)
{
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS];
	struct msg msg;
	unsigned state = MSG_AT_CHILD | (offers_r != NULL ? (unsigned)MSG_AT_FRONT_CHILD : 0);
	int got = msg_recv(leash, state, buf, sizeof buf, &msg);
	if (got == MSG_AGAIN)
		return LEASH_NOTHING;
	if (got != MSG_OK)
		return LEASH_GONE;
	switch (msg.type) {
	case MSG_PARENT_RETIRE:
		return LEASH_RETIRE;
	case MSG_PARENT_OFFERS:
		return offers_read(&msg, offers_r) ? LEASH_OFFERS : LEASH_GONE;
	case MSG_PARENT_GRANTS:
		return LEASH_GRANTED;
	default: /* a ping; one that cannot be answered has been followed by others */
		(void)msg_send(leash, MSG_CHILD_ALIVE, NULL, 0, -1);
		return LEASH_NOTHING;
	}
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void child_keep(const int *fds, size_t count)
{
	int keep[64];
	size_t kept = 0;
	for (size_t i = 0; i < count && kept < sizeof keep / sizeof keep[0] - 1; i++)
		if (fds[i] > STDERR_FILENO)
			keep[kept++] = fds[i];
	if (log_fd() > STDERR_FILENO)
		keep[kept++] = log_fd();
	qsort(keep, kept, sizeof keep[0], by_number);
	unsigned from = STDERR_FILENO + 1;
	for (size_t i = 0; i < kept; i++) {
		unsigned fd = (unsigned)keep[i];
		if (fd > from)
			close_range(from, fd - 1, 0);
		if (fd >= from)
			from = fd + 1;
	}
	close_range(from, UINT_MAX, 0);
}

const char *child_end_text(int wait_status)
{
	static char text[32];
	if (WIFSIGNALED(wait_status))
		snprintf(text, sizeof text, "signal %d", WTERMSIG(wait_status));
	else
		snprintf(text, sizeof text, "exit status %d", WEXITSTATUS(wait_status));
	return text;
}

unsigned backoff_next(unsigned *last_msecs, bool served, unsigned most_msecs)
{
	if (served || *last_msecs == 0)
		*last_msecs = BACKOFF_FIRST_MSECS;
	else
		*last_msecs = *last_msecs < most_msecs / 2 ? *last_msecs * 2 : most_msecs;
	return *last_msecs;
}

uint64_t now_msecs(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
