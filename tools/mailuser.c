/* SPDX-License-Identifier: ISC */
#include "tools/mailuser.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/kpopctl.h"

enum { WHY_OCTETS = 512, TOLD = 100, REACH_MSECS = 20000 };

static void note(void *arg, const char *text)
{
	fprintf(stderr, "kpopctl: %s: %s\n", (const char *)arg, text);
}

/* In the process of one user; says on settled that it has come so far. */
static int act(const struct config *config, const char *user, mailuser_fn *fn, void *arg, int settled)
{
	static struct usermail usermail;
	struct mailuser mailuser = {config, user, &usermail.place, NULL, &usermail};
	struct store_config store_config;
	char why[WHY_OCTETS];
	if (usermail_find(config, user, &usermail, why, sizeof why) != ACCOUNT_OK ||
	    usermail_become(config, &usermail, false, why, sizeof why) != ACCOUNT_OK) {
		kpopctl_fail("%s: %s", user, why);
		return TOLD;
	}
	if (write(settled, "", 1) != 1)
		return TOLD;
	close(settled);
	if (usermail.trouble[0] != '\0')
		kpopctl_fail("%s: %s", user, usermail.trouble);
	usermail_store_config(&usermail, &store_config);
	store_config.note = note;
	store_config.note_arg = (void *)(uintptr_t)user;
	if (store_open(&mailuser.store, &store_config) != MAILDROP_OK) {
		kpopctl_fail("%s: the store cannot be opened: %s", user, strerror(errno));
		return TOLD;
	}
	int status = fn(arg, &mailuser);
	store_close(&mailuser.store);
	return status < 0 || status > MAILUSER_MOST ? TOLD : status;
}

/* Whether it is this user by now, or has ended; a home may lie on a disk that hangs, and others wait. */
static bool wait_settled(int settled)
{
	struct pollfd fd = {.fd = settled, .events = POLLIN};
	int ready;
	do
		ready = poll(&fd, 1, REACH_MSECS);
	while (ready < 0 && errno == EINTR);
	return ready > 0;
}

/* On a disk like that it may not even die; then nobody waits for it. */
static int put_down(pid_t pid, const char *user, const char *why)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	kpopctl_fail("%s: %s", user, why);
	kill(pid, SIGKILL);
	for (int i = 0; i < 100 && waitpid(pid, NULL, WNOHANG) == 0; i++)
		nanosleep(&pause, NULL);
	return -1;
}

static int wait_end(pid_t pid, const char *user)
{
	int status;
	while (waitpid(pid, &status, WUNTRACED) < 0)
		if (errno != EINTR)
			return -1;
	if (WIFSTOPPED(status))
		return put_down(pid, user, "the process that acted for him was stopped by somebody: killed");
	if (WIFSIGNALED(status))
		kpopctl_fail("%s: the process that acted for him ended by signal %d", user, WTERMSIG(status));
	return WIFEXITED(status) && WEXITSTATUS(status) <= MAILUSER_MOST ? WEXITSTATUS(status) : -1;
}

int mailuser_run(const struct config *config, const char *user, mailuser_fn *fn, void *arg)
{
	int ends[2];
	fflush(NULL);
	pid_t pid = pipe2(ends, O_CLOEXEC) < 0 ? -1 : fork();
	if (pid == 0) {
		close(ends[0]);
		int status = act(config, user, fn, arg, ends[1]);
		fflush(NULL);
		_exit(status);
	}
	if (pid < 0) {
		kpopctl_fail("%s: cannot start a process: %s", user, strerror(errno));
		return -1;
	}
	close(ends[1]);
	bool settled = wait_settled(ends[0]);
	close(ends[0]);
	return settled ? wait_end(pid, user)
		       : put_down(pid, user, "his mail was not reached in time; its disk hangs");
}
