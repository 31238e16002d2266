/* SPDX-License-Identifier: ISC */
/*
 * checker: the role that asks others: a KDC or saslauthd whether a password is right, a user's .k5login
 * whether a principal may act as that user. Each question gets a process of its own, forked ahead, which
 * asks, answers and ends. Whoever does not answer holds up that process until its deadline, and nobody else;
 * with all of them held up, the door is not read.
 */
#include <limits.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kpop/k5login.h"
#include "kpop/password.h"
#include "server/check.h"
#include "server/child.h"
#include "server/log.h"
#include "server/parent.h"
#include "server/role.h"
#include "server/sandbox.h"
#include "server/sandbox_build.h"
#include "server/saslauthd.h"

enum { WHY_OCTETS = 512, SPARE_MOST = 2, PATHS_COUNT = 16 };
/* saslauthd's silence is told before the deadline makes an end. */
enum { SASLAUTHD_SPARE_MSECS = 500 };

struct server {
	const struct role *role;
	struct password_config password_config;
	struct password *password; /* NULL: there is nothing to be sure of a KDC with */
	char why_not[WHY_OCTETS];
	int door;
};

/* ---- one check ---- */

static enum check_verdict check_kerberos(
    const struct server *server, const struct check *check, struct check_result *result)
{
	static const enum check_verdict verdicts[] = {
	    [PASSWORD_UNAVAILABLE] = CHECK_UNAVAILABLE,
	    [PASSWORD_RIGHT] = CHECK_RIGHT,
	    [PASSWORD_WRONG] = CHECK_WRONG,
	    [PASSWORD_EXPIRED] = CHECK_EXPIRED,
	    [PASSWORD_LOCKED] = CHECK_LOCKED,
	};
	if (server->password == NULL) {
		snprintf(
		    result->why, sizeof result->why, "%.*s", (int)sizeof result->why - 1, server->why_not);
		return CHECK_UNAVAILABLE;
	}
	return verdicts[password_check(server->password, check->user, check->secret, result->principal,
	    sizeof result->principal, result->why, sizeof result->why)];
}

static enum check_verdict check_k5login(const struct check *check, struct check_result *result)
{
	switch (k5login_check(check->user, check->secret, result->why, sizeof result->why)) {
	case K5LOGIN_YES:
		return CHECK_RIGHT;
	case K5LOGIN_NO:
		return CHECK_WRONG;
	case K5LOGIN_UNAVAILABLE:
		break;
	}
	return CHECK_UNAVAILABLE;
}

static enum check_verdict decide(
    const struct server *server, const struct check *check, struct check_result *result)
{
	const struct config *config = server->role->config;
	switch (check->kind) {
	case CHECK_KERBEROS:
		return check_kerberos(server, check, result);
	case CHECK_SASLAUTHD:
		return saslauthd_check(config->saslauthd_socket, check->user, check->secret,
		    config->check_secs * 1000 - SASLAUTHD_SPARE_MSECS, result->why, sizeof result->why);
	case CHECK_K5LOGIN:
		return check_k5login(check, result);
	case CHECK_KIND_COUNT:
		break;
	}
	return CHECK_UNAVAILABLE;
}

/* ---- one process ---- */

/* Waits for a question; ends when the parent is gone or takes none any more. */
static void wait_for_question(const struct server *server, int leash)
{
	struct pollfd fds[2] = {{.fd = server->door, .events = POLLIN}, {.fd = leash, .events = POLLIN}};
	while (fds[0].revents == 0) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents != 0 && child_hear(leash, NULL) != LEASH_NOTHING)
			_exit(0);
	}
}

/* A question may have waited at the door for longer than the one who asked. */
static bool asker_gone(int answer)
{
	struct pollfd fd = {.fd = answer};
	return poll(&fd, 1, 0) == 1 && (fd.revents & POLLHUP) != 0;
}

/*
 * Libraries of other people will run here, and need rights over flags of descriptors: none is left that
 * anybody shares. What there is to say goes into the answer.
 */
static void let_go_of_log(void)
{
	if (SANDBOX_SANITIZED)
		return;                            /* a report must find its way */
	if (dup2(STDIN_FILENO, STDERR_FILENO) < 0) /* /dev/null in all our processes */
		_exit(1);
	if (log_fd() > STDERR_FILENO)
		close(log_fd());
}

static void answer(const struct server *server, const struct msg *msg)
{
	static struct check check;
	static struct check_result result;
	if (!check_read(msg, &check))
		_exit(1);
	if (!asker_gone(msg->fd))
		result.verdict = decide(server, &check, &result);
	OPENSSL_cleanse(check.secret, sizeof check.secret);
	check_answer(msg->fd, &result);
}

static void check_main(void *arg, int leash) __attribute__((noreturn));
static void check_main(void *arg, int leash)
{
	static uint8_t room[LIMIT_MSG_FIXED_OCTETS + LIMIT_CHECK_OCTETS];
	const struct server *server = arg;
	char why[WHY_OCTETS];
	struct msg msg;
	int got;
	child_keep((int[]){leash, server->door}, 2);
	if (sandbox_tighten(SANDBOX_CHECKER, why, sizeof why) < 0)
		role_fail(why);
	let_go_of_log();
	do {
		wait_for_question(server, leash);
		got = msg_recv(server->door, MSG_AT_CHECKER_DOOR, room, sizeof room, &msg);
	} while (got == MSG_AGAIN); /* another spare one took it */
	if (got != MSG_OK || msg_send(leash, MSG_CHILD_TAKEN, NULL, 0, -1) != MSG_OK)
		_exit(got == MSG_EOF ? 0 : 1);
	close(server->door);
	answer(server, &msg);
	OPENSSL_cleanse(room, sizeof room);
	_exit(0);
}

/* ---- the role ---- */

static void open_password(struct server *server)
{
	const struct config *config = server->role->config;
	server->password_config = (struct password_config){.keytab = config->keytab,
	    .services = (const char *const *)config->services,
	    .realm = config->kerberos_realm,
	    .realms = (const char *const *)config->kerberos_realms,
	    .armor_cache = config->kerberos_armor_cache};
	for (char **source = config->passwords; *source != NULL; source++)
		if (strcmp(*source, "kerberos") == 0 &&
		    password_open(&server->password, &server->password_config, server->why_not,
			sizeof server->why_not) < 0)
			log_error("no password can be checked with Kerberos: %s", server->why_not);
}

/*
 * Where the libraries look for their configuration and modules, resolvers and name services for theirs; the
 * folder of the armor cache, which is made anew at each renewal; and all there is, where .k5login may be
 * anywhere. What is not there on this system is left out. Nothing can be written.
 */
static size_t list_paths(const struct config *config, struct sandbox_path paths_r[PATHS_COUNT])
{
	static char check_dir[PATH_MAX], armor_dir[PATH_MAX];
	const char *const wanted[PATHS_COUNT] = {config_path(config, CONFIG_CHECK_DIR, check_dir), armor_dir,
	    check_k5login_needed(config) ? "/" : "", "/etc", "/usr/lib", "/usr/lib64", "/usr/share", "/lib",
	    "/lib64", "/run", "/var/run", "/var/lib/sss", "/dev/null"};
	const char *cache = config->kerberos_armor_cache;
	size_t count = 0;
	if (cache != NULL)
		snprintf(armor_dir, sizeof armor_dir, "%.*s", (int)(strrchr(cache, '/') - cache), cache);
	for (size_t i = 0; i < PATHS_COUNT; i++)
		if (wanted[i] != NULL && wanted[i][0] != '\0' && access(wanted[i], F_OK) == 0)
			paths_r[count++] = (struct sandbox_path){wanted[i], SANDBOX_READ};
	return count;
}

static void enter_sandbox(const struct config *config)
{
	char why[WHY_OCTETS];
	struct sandbox_path paths[PATHS_COUNT];
	struct sandbox sandbox = {.role = SANDBOX_CHECKER_PARENT,
	    .user = config->checker_user,
	    .groups = true,
	    .paths = paths,
	    .path_count = list_paths(config, paths)};
	if (sandbox_enter(&sandbox, why, sizeof why) < 0)
		role_fail(why);
}

void checker_main(void *arg, int leash)
{
	static struct server server;
	const struct role *role = arg;
	const struct config *config = role->config;
	char conf[PATH_MAX];
	role_begin("checker");
	server = (struct server){.role = role, .door = role->doors->checker[DOOR_SERVANT]};
	child_keep((int[]){leash, server.door}, 2);
	if (chdir("/") < 0)
		role_fail("cannot enter the root directory");
	setenv("KRB5_CONFIG", config_path(config, CONFIG_CHECK_KRB5_SNAPSHOT, conf), 1);
	/* The keytab is read here, with the rights we still have, and kept in memory only. */
	open_password(&server);
	enter_sandbox(config);
	struct parent_config parent = {.run = check_main,
	    .arg = &server,
	    .spare = config->checks < SPARE_MOST ? config->checks : SPARE_MOST,
	    .sessions = config->checks,
	    .what = "check",
	    .deadline_secs = config->check_secs};
	parent_run(&parent, leash);
}
