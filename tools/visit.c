/* SPDX-License-Identifier: ISC */
#include "tools/visit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/names.h"
#include "tools/everyone.h"
#include "tools/kpopctl.h"

#define WHY_OCTETS 512u

struct round {
	const struct visit *visit;
	enum visit_status status;
};

void *visit_shared(size_t size)
{
	void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared != MAP_FAILED)
		return shared;
	kpopctl_fail("no memory");
	return NULL;
}

static void worse(struct round *round, int status)
{
	if (status == VISIT_IN_USE && round->status == VISIT_OK)
		round->status = VISIT_IN_USE;
	else if (status != VISIT_OK && status != VISIT_IN_USE)
		round->status = VISIT_FAILED;
}

static void visit_one(struct round *round, const char *user)
{
	const struct visit *visit = round->visit;
	if (visit->wanted == NULL || visit->wanted(visit->arg, user))
		worse(round, mailuser_run(visit->config, user, visit->fn, visit->arg));
}

static void visit_named(struct round *round, char *const *names)
{
	char user[LIMIT_USER_OCTETS + 1];
	const char *why;
	for (; *names != NULL; names++) {
		if (names_canonical(round->visit->config, *names, strlen(*names), user, &why) == 0)
			visit_one(round, user);
		else
			worse(round, kpopctl_fail("%s cannot be a user's name: %s", *names, why));
	}
}

/* ---- everyone ---- */

/* Of the process that looks for them. */
struct lister {
	FILE *out;
	bool failed;
};

static int put_name(void *arg, const char *user)
{
	struct lister *lister = arg;
	/* Whoever read them has gone. */
	return fwrite(user, strlen(user) + 1, 1, lister->out) != 1;
}

static void put_note(void *arg, const char *path, int error)
{
	struct lister *lister = arg;
	kpopctl_fail("%s: %s", path, strerror(error));
	lister->failed = true;
}

/* Names beneath mail_root are read with the rights of whoever owns that. */
static bool list_virtual(const struct everyone *everyone)
{
	static struct account account;
	char why[WHY_OCTETS];
	const struct config *config = everyone->config;
	if (geteuid() == 0 && (account_find_store(config, &account, why, sizeof(why)) != ACCOUNT_OK ||
				  account_become(&account, why, sizeof(why)) != 0)) {
		kpopctl_fail("%s", why);
		return false;
	}
	int root = open(config->mail_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) {
		kpopctl_fail("%s: %s", config->mail_root, strerror(errno));
		return false;
	}
	int result = everyone_walk(everyone, root);
	close(root);
	return result == 0;
}

static int list(const struct config *config, int fd)
{
	struct lister lister = {.out = fdopen(fd, "w")};
	const struct everyone everyone = {config, put_name, put_note, &lister};
	if (lister.out == NULL)
		return VISIT_FAILED;
	bool done = config->mail_users == MAIL_USERS_SYSTEM ? everyone_accounts(&everyone) == 0
							    : list_virtual(&everyone);
	done = fclose(lister.out) == 0 && done;
	return done && !lister.failed ? VISIT_OK : VISIT_FAILED;
}

/* The names as they come. They are read to the end, even by one who needs no more of them. */
static void visit_listed(struct round *round, int fd)
{
	FILE *in = fdopen(fd, "r");
	char *user = NULL;
	size_t size = 0;
	if (in == NULL) {
		close(fd);
		worse(round, VISIT_FAILED);
		return;
	}
	while (getdelim(&user, &size, '\0', in) > 0)
		visit_one(round, user);
	free(user);
	fclose(in);
}

static void visit_everyone(struct round *round)
{
	int ends[2], wait_status;
	fflush(NULL);
	pid_t pid = pipe2(ends, O_CLOEXEC) == 0 ? fork() : -1;
	if (pid == 0) {
		close(ends[0]);
		_exit(list(round->visit->config, ends[1]));
	}
	if (pid < 0) {
		worse(round, kpopctl_fail("cannot start a process: %s", strerror(errno)));
		return;
	}
	close(ends[1]);
	visit_listed(round, ends[0]);
	while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
		continue;
	worse(round, WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : VISIT_FAILED);
}

enum visit_status visit(const struct visit *visit)
{
	struct round round = {visit, VISIT_OK};
	if (visit->names[0] != NULL)
		visit_named(&round, visit->names);
	else
		visit_everyone(&round);
	return round.status;
}
