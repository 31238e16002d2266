/* SPDX-License-Identifier: ISC */
/*
 * deliverer: the role that adds mail to maildrops, behind a door of which only the lmtp role has the other
 * end. Each question has a process of its own, which opens one maildrop and never reads mail out of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/child.h"
#include "server/deposit.h"
#include "server/log.h"
#include "server/msg.h"
#include "server/parent.h"
#include "server/role.h"
#include "server/sandbox.h"
#include "server/store_users.h"

/* A session asks one thing at a time; those that have answered may take a moment to end. */
enum { WHY_OCTETS = 512, SPARE_MOST = 2, ENDING_COUNT = 4 };

struct server {
	const struct role *role;
	struct store_config config;
	int door;
};

static void note(void *arg, const char *text)
{
	(void)arg;
	log_warning("%s", text);
}

/* The leash says when to end: what has begun is finished. */
static void outlive_signals(void)
{
	signal(SIGTERM, SIG_IGN);
}

/* Whether fd became readable in time; ends when the parent is gone, and, idle, when it retires us. */
static bool wait_for(int fd, int leash, bool idle, uint64_t deadline_msecs)
{
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = leash, .events = POLLIN}};
	for (;;) {
		uint64_t now = now_msecs();
		if (!idle && now >= deadline_msecs)
			return false;
		if (poll(fds, 2, idle ? -1 : (int)(deadline_msecs - now)) <= 0)
			continue;
		if (fds[1].revents != 0) {
			enum leash_word word = child_hear(leash, NULL);
			if (word == LEASH_GONE || (word == LEASH_RETIRE && idle))
				_exit(0);
		}
		if (fds[0].revents != 0)
			return true;
	}
}

static void serve(struct deposit *deposit, struct store *store, int leash)
{
	uint64_t deadline = now_msecs() + LIMIT_LMTP_MESSAGE_MSECS;
	if (deposit_open(deposit, store))
		while (wait_for(deposit->fd, leash, false, deadline) && !deposit_serve(deposit, store))
			continue;
	store_close(&store);
}

/* The next delivery; ends the process when there is none, or it is for nobody. */
static struct deposit *take_one(const struct server *server, int leash)
{
	static struct deposit deposit;
	uint8_t room[LIMIT_MSG_FIXED_OCTETS];
	struct msg msg;
	int got;
	do {
		wait_for(server->door, leash, true, 0);
		got = msg_recv(server->door, MSG_AT_DELIVERER_DOOR, room, sizeof room, &msg);
	} while (got == MSG_AGAIN); /* another spare one took it */
	if (got != MSG_OK || msg_send(leash, MSG_CHILD_TAKEN, NULL, 0, -1) != MSG_OK)
		_exit(got == MSG_EOF ? 0 : 1);
	close(server->door);
	if (!deposit_init(&deposit, server->role->config, &msg))
		_exit(0);
	return &deposit;
}

static struct store *open_store(struct deposit *deposit, const struct store_config *config)
{
	struct store *store = NULL;
	if (store_open(&store, config) != MAILDROP_OK) {
		deposit_refuse(deposit, DELIVERY_TEMP);
		_exit(0);
	}
	return store;
}

static void delivery_main(void *arg, int leash) __attribute__((noreturn));
static void delivery_main(void *arg, int leash)
{
	struct server *server = arg;
	char why[WHY_OCTETS];
	outlive_signals();
	child_keep((int[]){leash, server->door, server->config.mail_root, server->config.homes},
	    server->config.homes < 0 ? 3 : 4);
	if (sandbox_tighten(SANDBOX_DELIVERER, why, sizeof why) < 0)
		role_fail(why);
	struct deposit *deposit = take_one(server, leash);
	serve(deposit, open_store(deposit, &server->config), leash);
	_exit(0);
}

/* mail_users = system: nothing is open until it is known for whom. */
static void user_delivery_main(void *arg, int leash) __attribute__((noreturn));
static void user_delivery_main(void *arg, int leash)
{
	struct server *server = arg;
	struct store_config config;
	char why[WHY_OCTETS];
	outlive_signals();
	child_keep((int[]){leash, server->door}, 2);
	store_users_begin();
	struct deposit *deposit = take_one(server, leash);
	enum account_err err = store_users_deliver(
	    server->role->config, deposit->user, deposit->fd, leash, &config, why, sizeof why);
	if (err != ACCOUNT_OK) {
		log_info("refused user=%s: %s", deposit->user, why);
		deposit_refuse(deposit, err == ACCOUNT_TEMP ? DELIVERY_TEMP : DELIVERY_UNKNOWN);
		_exit(0);
	}
	config.note = note;
	serve(deposit, open_store(deposit, &config), leash);
	_exit(0);
}

/* ---- the role ---- */

static int open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		log_error("%s: %s", path, strerror(errno));
		_exit(1);
	}
	return fd;
}

static void enter_sandbox(struct server *server)
{
	const struct config *config = server->role->config;
	char why[WHY_OCTETS], index[PATH_MAX], homes[PATH_MAX];
	config_path(config, CONFIG_INDEX_DIR, index);
	config_path(config, CONFIG_HOMES_DIR, homes);
	server->config = (struct store_config){.mail_root = open_folder(config->mail_root),
	    .homes = config->spool == NULL ? -1 : open_folder(homes),
	    .index_dir = ".", /* with or without a chroot */
	    .note = note};
	if (chdir(index) < 0)
		role_fail("cannot enter the directory of the index");
	const struct sandbox_path paths[] = {
	    {config->mail_root, SANDBOX_WRITE}, {index, SANDBOX_WRITE}, {homes, SANDBOX_WRITE}};
	const struct sandbox sandbox = {.role = SANDBOX_DELIVERER_PARENT,
	    .user = config->store_user,
	    .chroot_dir = index,
	    .paths = paths,
	    .path_count = config->spool != NULL ? 3 : 2};
	if (sandbox_enter(&sandbox, why, sizeof why) < 0)
		role_fail(why);
}

void deliverer_main(void *arg, int leash)
{
	const struct role *role = arg;
	const struct config *config = role->config;
	bool users = config->mail_users == MAIL_USERS_SYSTEM;
	struct server server = {.role = role, .door = role->doors->deliverer[DOOR_SERVANT]};
	role_begin("deliverer");
	outlive_signals();
	signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of write like any other */
	umask(077);
	child_keep((int[]){leash, server.door}, 2);
	if (users)
		store_users_enter(config);
	else
		enter_sandbox(&server);
	struct parent_config parent = {.run = users ? user_delivery_main : delivery_main,
	    .arg = &server,
	    .spare = config->lmtp_sessions < SPARE_MOST ? config->lmtp_sessions : SPARE_MOST,
	    .sessions = config->lmtp_sessions + ENDING_COUNT,
	    .what = "delivery"};
	if (users) {
		parent.each_user = STORE_USERS_EACH;
		parent.deadline_secs = STORE_USERS_DEADLINE_SECS;
		/* By then nobody waits for it; a disk that its user has made himself may hang for ever. */
		parent.life_secs =
		    (LIMIT_DELIVERER_OPEN_MSECS + LIMIT_LMTP_MESSAGE_MSECS + LIMIT_DELIVERER_STORE_MSECS) /
		    1000;
	}
	parent_run(&parent, leash);
}
