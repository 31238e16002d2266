/* SPDX-License-Identifier: ISC */
/*
 * store: the role that holds the mail. It opens the maildrop auth names, and then serves the front at the
 * other end of that descriptor, which can ask about nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/child.h"
#include "server/drop.h"
#include "server/log.h"
#include "server/msg.h"
#include "server/parent.h"
#include "server/role.h"
#include "server/sandbox.h"
#include "server/store_loop.h"

enum { WHY_OCTETS = 512 };

struct server {
	const struct role *role;
	struct store_config config;
	char boot_id[64];
	int door;
};

static void note(void *arg, const char *text)
{
	(void)arg;
	log_warning("%s", text);
}

/* Where the sandbox has no /proc the store could not tell a reboot from a restart. */
static void read_boot_id(struct server *server)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : read(fd, server->boot_id, sizeof server->boot_id - 1);
	if (fd >= 0)
		close(fd);
	if (len <= 0)
		return;
	server->boot_id[strcspn(server->boot_id, "\n")] = '\0';
	server->config.boot_id = server->boot_id;
}

static struct store *open_store(const struct server *server)
{
	struct store *store = NULL;
	if (store_open(&store, &server->config) < 0)
		role_fail("cannot open the store");
	return store;
}

/* ---- isolation = process: one maildrop ---- */

/* Waits until fd is readable; ends when the parent is gone. A retired child that serves finishes first. */
static void wait_for(int fd, int leash, bool serving)
{
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = leash, .events = POLLIN}};
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents != 0) {
			enum leash_word word = child_hear(leash, NULL);
			if (word == LEASH_GONE || (word == LEASH_RETIRE && !serving))
				_exit(0);
		}
		if (fds[0].revents != 0)
			return;
	}
}

/* A commit that has begun is finished, even when a signal goes to all: the leash says when to end. */
static void outlive_signals(void)
{
	signal(SIGTERM, SIG_IGN);
}

static bool open_patiently(struct drop *drop, struct store *store, const struct config *config)
{
	const struct timespec pause = {.tv_nsec = DROP_PAUSE_MSECS * 1000000L};
	enum drop_state state;
	while ((state = drop_open(drop, store, config)) == DROP_IN_USE)
		nanosleep(&pause, NULL);
	return state == DROP_OPEN;
}

static void session_main(void *arg, int leash) __attribute__((noreturn));
static void session_main(void *arg, int leash)
{
	static uint8_t room[LIMIT_MSG_OCTETS];
	struct server *server = arg;
	char why[WHY_OCTETS];
	struct msg msg;
	int got;
	outlive_signals();
	child_keep((int[]){leash, server->door, server->config.mail_root, server->config.homes},
	    server->config.homes < 0 ? 3 : 4);
	if (sandbox_tighten(SANDBOX_STORE, why, sizeof why) < 0)
		role_fail(why);
	struct store *store = open_store(server);
	do {
		wait_for(server->door, leash, false);
		got = msg_recv(server->door, MSG_AT_STORE_DOOR, room, sizeof room, &msg);
	} while (got == MSG_AGAIN); /* another spare one took it */
	if (got != MSG_OK || msg_send(leash, MSG_CHILD_TAKEN, NULL, 0, -1) != MSG_OK)
		_exit(got == MSG_EOF ? 0 : 1);
	close(server->door);
	struct drop *drop = drop_new(&msg);
	if (drop != NULL && open_patiently(drop, store, server->role->config)) {
		do
			wait_for(drop_fd(drop), leash, true);
		while (drop_serve(drop, room));
	}
	drop_free(&drop);
	store_close(&store);
	_exit(0);
}

/* ---- the role ---- */

void store_main(void *arg, int leash)
{
	const struct role *role = arg;
	const struct config *config = role->config;
	char why[WHY_OCTETS], index[PATH_MAX], homes[PATH_MAX];
	role_begin("store");
	outlive_signals();
	struct server server = {.role = role, .door = role->doors->store[DOOR_SERVANT]};
	child_keep((int[]){leash, server.door}, 2);
	config_path(config, CONFIG_INDEX_DIR, index);
	int root = open(config->mail_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || chdir(index) < 0) {
		log_error("%s: %s", root < 0 ? config->mail_root : index, strerror(errno));
		_exit(1);
	}
	config_path(config, CONFIG_HOMES_DIR, homes);
	int homes_fd = config->spool == NULL ? -1 : open(homes, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (config->spool != NULL && homes_fd < 0)
		role_fail("cannot open the directory of the spools' state");
	/* "." is the index whether or not there is a chroot. */
	server.config =
	    (struct store_config){.mail_root = root, .homes = homes_fd, .index_dir = ".", .note = note};
	read_boot_id(&server);
	bool process = config->isolation == ISOLATION_PROCESS;
	const struct sandbox_path paths[] = {
	    {config->mail_root, SANDBOX_WRITE}, {index, SANDBOX_WRITE}, {homes, SANDBOX_WRITE}};
	struct sandbox sandbox = {.role = process ? SANDBOX_STORE_PARENT : SANDBOX_STORE,
	    .user = config->store_user,
	    .chroot_dir = index,
	    .paths = paths,
	    .path_count = config->spool != NULL ? 3 : 2};
	if (sandbox_enter(&sandbox, why, sizeof why) < 0)
		role_fail(why);
	if (!process)
		store_loop(config, open_store(&server), server.door, leash);
	struct parent_config parent = {.run = session_main,
	    .arg = &server,
	    .spare = config->spare,
	    .sessions = config->sessions,
	    .what = "store session"};
	parent_run(&parent, leash);
}
