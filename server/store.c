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
#include <unistd.h>

#include "server/child.h"
#include "server/drop.h"
#include "server/log.h"
#include "server/msg.h"
#include "server/parent.h"
#include "server/role.h"
#include "server/sandbox.h"
#include "server/store_loop.h"
#include "server/store_users.h"

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

/*
 * Waits until fd is readable, at most wait_msecs (-1: for ever). false: it is not. Ends when the parent is
 * gone; a retired child that serves finishes first.
 */
static bool wait_for(int fd, int leash, bool serving, int wait_msecs)
{
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = leash, .events = POLLIN}};
	for (;;) {
		int ready = poll(fds, 2, wait_msecs);
		if (ready == 0)
			return false;
		if (ready < 0)
			continue;
		if (fds[1].revents != 0) {
			enum leash_word word = child_hear(leash, NULL);
			if (word == LEASH_GONE || (word == LEASH_RETIRE && !serving))
				_exit(0);
		}
		if (fds[0].revents != 0)
			return true;
	}
}

/* A commit that has begun is finished, even when a signal goes to all: the leash says when to end. */
static void outlive_signals(void)
{
	signal(SIGTERM, SIG_IGN);
}

/* A front that says something before it has its answer is gone, and nobody wants the maildrop any more. */
static bool open_patiently(struct drop *drop, struct store *store, const struct config *config, int leash)
{
	enum drop_state state;
	while ((state = drop_open(drop, store, config)) == DROP_IN_USE)
		if (wait_for(drop_fd(drop), leash, true, DROP_PAUSE_MSECS))
			return false;
	return state == DROP_OPEN;
}

/* The next maildrop to open; ends the process when there is none. NULL: no memory. */
static struct drop *take_one(const struct server *server, int leash, uint8_t *room)
{
	struct msg msg;
	int got;
	do {
		wait_for(server->door, leash, false, -1);
		got = msg_recv(server->door, MSG_AT_STORE_DOOR, room, LIMIT_MSG_OCTETS, &msg);
	} while (got == MSG_AGAIN); /* another spare one took it */
	if (got != MSG_OK || msg_send(leash, MSG_CHILD_TAKEN, NULL, 0, -1) != MSG_OK)
		_exit(got == MSG_EOF ? 0 : 1);
	close(server->door);
	return drop_new(&msg);
}

static void serve(struct drop *drop, struct store *store, const struct config *config, int leash,
    uint8_t *room) __attribute__((noreturn));
static void serve(
    struct drop *drop, struct store *store, const struct config *config, int leash, uint8_t *room)
{
	if (drop != NULL && open_patiently(drop, store, config, leash)) {
		while (wait_for(drop_fd(drop), leash, true, drop_wait_msecs(drop)) ? drop_serve(drop, room)
										   : drop_look(drop))
			continue;
	}
	drop_free(&drop);
	store_close(&store);
	_exit(0);
}

static uint8_t session_room[LIMIT_MSG_OCTETS];

static void session_main(void *arg, int leash) __attribute__((noreturn));
static void session_main(void *arg, int leash)
{
	struct server *server = arg;
	char why[WHY_OCTETS];
	outlive_signals();
	child_keep((int[]){leash, server->door, server->config.mail_root, server->config.homes},
	    server->config.homes < 0 ? 3 : 4);
	if (sandbox_tighten(SANDBOX_STORE, why, sizeof why) < 0)
		role_fail(why);
	struct store *store = open_store(server);
	struct drop *drop = take_one(server, leash, session_room);
	serve(drop, store, server->role->config, leash, session_room);
}

/* mail_users = system: nothing is open until it is known for whom. */
static void user_session_main(void *arg, int leash) __attribute__((noreturn));
static void user_session_main(void *arg, int leash)
{
	struct server *server = arg;
	const struct config *config = server->role->config;
	outlive_signals();
	child_keep((int[]){leash, server->door}, 2);
	store_users_begin();
	struct drop *drop = take_one(server, leash, session_room);
	if (drop == NULL || store_users_become(config, drop, leash, &server->config) < 0)
		_exit(0);
	server->config.note = note;
	server->config.boot_id = server->boot_id[0] != '\0' ? server->boot_id : NULL;
	serve(drop, open_store(server), config, leash, session_room);
}

/* ---- the role ---- */

static void run_parent(struct server *server, child_fn *run, int leash) __attribute__((noreturn));
static void run_parent(struct server *server, child_fn *run, int leash)
{
	const struct config *config = server->role->config;
	struct parent_config parent = {.run = run,
	    .arg = server,
	    .spare = config->spare,
	    .sessions = config->sessions,
	    .what = "store session"};
	if (config->mail_users == MAIL_USERS_SYSTEM) {
		parent.each_user = STORE_USERS_EACH;
		parent.deadline_secs = STORE_USERS_DEADLINE_SECS;
	}
	parent_run(&parent, leash);
}

void store_main(void *arg, int leash)
{
	const struct role *role = arg;
	const struct config *config = role->config;
	char why[WHY_OCTETS], index[PATH_MAX], homes[PATH_MAX];
	role_begin("store");
	outlive_signals();
	struct server server = {.role = role, .door = role->doors->store[DOOR_SERVANT]};
	child_keep((int[]){leash, server.door}, 2);
	if (config->mail_users == MAIL_USERS_SYSTEM) {
		read_boot_id(&server);
		store_users_enter(config);
		run_parent(&server, user_session_main, leash);
	}
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
	run_parent(&server, session_main, leash);
}
