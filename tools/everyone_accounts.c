/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/account.h"
#include "server/identity.h"
#include "server/names.h"
#include "store/beneath.h"
#include "tools/everyone.h"

#define WHY_OCTETS 512u
#define LOOK_MSECS 20000
#define KILLED_MSECS 1000

/* Candidates; a system has no more accounts than fit into memory. */
struct candidates {
	const struct config *config;
	char **names;
	size_t count, size;
	bool full;
};

static void add(struct candidates *candidates, const char *name)
{
	size_t len = strlen(name);
	if (!identity_user_valid(name, len) || !names_is_canonical(candidates->config, name))
		return;
	if (candidates->count == candidates->size) {
		size_t size = candidates->size * 2 + 64;
		char **names = reallocarray(candidates->names, size, sizeof(*names));
		if (names == NULL) {
			candidates->full = true;
			return;
		}
		candidates->names = names;
		candidates->size = size;
	}
	candidates->names[candidates->count] = strdup(name);
	if (candidates->names[candidates->count] == NULL)
		candidates->full = true;
	else
		candidates->count++;
}

static void add_listed(struct candidates *candidates)
{
	const struct passwd *entry;
	setpwent();
	while ((entry = getpwent()) != NULL)
		if (entry->pw_uid != 0 && entry->pw_uid >= candidates->config->first_uid)
			add(candidates, entry->pw_name);
	endpwent();
}

/* A name service need not list its accounts. */
static void add_known(struct candidates *candidates, const struct everyone *everyone)
{
	char path[PATH_MAX];
	const struct dirent *entry;
	DIR *dir = opendir(config_path(candidates->config, CONFIG_USERS_DIR, path));
	if (dir == NULL) {
		if (errno != ENOENT)
			everyone->note(everyone->arg, path, errno);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		add(candidates, entry->d_name);
	closedir(dir);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In a process of its own, which ends with what it found. */
static bool look(const struct config *config, const char *user)
{
	static struct account account;
	char path[PATH_MAX], why[WHY_OCTETS];
	struct maildrop_place place;
	if (identity_place(config, user, path, &place) != 0 ||
	    account_find(config, user, &account, why, sizeof(why)) != ACCOUNT_OK ||
	    account_become(&account, why, sizeof(why)) != 0)
		return false;
	const char *above = identity_in_homes(config) ? account.home : config->mail_root;
	int root = open(above, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int there = root >= 0 ? beneath_open(root, place.path, O_PATH, 0) : -1;
	struct stat st;
	/* The link itself can be opened so. */
	return there >= 0 && fstat(there, &st) == 0 &&
	       (place.format == MAILDROP_MAILDIR ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode));
}

/* Whether it has ended. Its user may stop it, and his home may lie on a disk that hangs. */
static bool wait_end(pid_t pid)
{
	struct pollfd fd = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	int ready;
	do
		ready = fd.fd < 0 ? 0 : poll(&fd, 1, LOOK_MSECS);
	while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		kill(pid, SIGKILL);
	/* On a disk like that it may not even die; then nobody waits for it. */
	bool ended = ready > 0 || (fd.fd >= 0 && poll(&fd, 1, KILLED_MSECS) > 0);
	if (fd.fd >= 0)
		close(fd.fd);
	if (ended && ready <= 0)
		waitpid(pid, NULL, 0);
	return ready > 0;
}

static bool has_mail(const struct everyone *everyone, const char *user)
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(look(everyone->config, user) ? EXIT_SUCCESS : EXIT_FAILURE);
	if (pid < 0 || !wait_end(pid)) {
		everyone->note(everyone->arg, user, pid < 0 ? errno : ETIMEDOUT);
		return false;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

int everyone_accounts(const struct everyone *everyone)
{
	struct candidates candidates = {.config = everyone->config};
	int result = 0;
	add_listed(&candidates);
	add_known(&candidates, everyone);
	if (candidates.count > 0)
		qsort(candidates.names, candidates.count, sizeof(*candidates.names), by_name);
	for (size_t i = 0; i < candidates.count; i++) {
		const char *user = candidates.names[i];
		bool twice = i > 0 && strcmp(user, candidates.names[i - 1]) == 0;
		if (result == 0 && !twice && has_mail(everyone, user))
			result = everyone->fn(everyone->arg, user);
	}
	for (size_t i = 0; i < candidates.count; i++)
		free(candidates.names[i]);
	free(candidates.names);
	return candidates.full ? -1 : result;
}
