/* SPDX-License-Identifier: ISC */
#include "tools/mailuser.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/kpopctl.h"

enum { WHY_OCTETS = 512, TOLD = 100 };

static void note(void *arg, const char *text)
{
	fprintf(stderr, "kpopctl: %s: %s\n", (const char *)arg, text);
}

/* In the process of one user. */
static int act(const struct config *config, const char *user, mailuser_fn *fn, void *arg)
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

int mailuser_run(const struct config *config, const char *user, mailuser_fn *fn, void *arg)
{
	int wait_status;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		int status = act(config, user, fn, arg);
		fflush(NULL);
		_exit(status);
	}
	if (pid < 0) {
		kpopctl_fail("%s: cannot start a process: %s", user, strerror(errno));
		return -1;
	}
	while (waitpid(pid, &wait_status, 0) < 0)
		if (errno != EINTR)
			return -1;
	if (WIFSIGNALED(wait_status))
		kpopctl_fail(
		    "%s: the process that acted for him ended by signal %d", user, WTERMSIG(wait_status));
	return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) <= MAILUSER_MOST ? WEXITSTATUS(wait_status)
										   : -1;
}
