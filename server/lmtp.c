/* SPDX-License-Identifier: ISC */
/*
 * lmtp: the role that takes mail from the mail transfer agent of this host (RFC 2033). Each connection has a
 * process of its own, without files and without any right but to hand a message to a deliverer.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/child.h"
#include "server/lmtp_session.h"
#include "server/log.h"
#include "server/msg.h"
#include "server/parent.h"
#include "server/role.h"
#include "server/sandbox.h"

enum { WHY_OCTETS = 512, SPARE_MOST = 2, ACCEPT_PAUSE_MSECS = 100 };
/* Standard ones, log, leash, door, client, a message, a pair, some of the C library's; and those that a test
 * or a supervisor left open. */
enum { DESCRIPTORS_COUNT = 32 };

struct server {
	const struct role *role;
	int door;
};

/* Clients find the port closed that the configuration no longer has, however long our sessions go on. */
static void stop_listening(void *arg)
{
	const struct server *server = arg;
	for (size_t i = 0; i < server->role->listeners->count; i++)
		close(server->role->listeners->entries[i].fd);
}

static void keep(const struct server *server, int leash)
{
	const struct listeners *listeners = server->role->listeners;
	int fds[LIMIT_LISTENERS_COUNT + 2] = {leash, server->door};
	for (size_t i = 0; i < listeners->count; i++)
		fds[2 + i] = listeners->entries[i].fd;
	child_keep(fds, 2 + listeners->count);
}

/* Wakes one spare process for a connection, not all of them. */
static int epoll_of_listeners(const struct listeners *listeners, int leash)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = leash};
	bool good = epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, leash, &event) == 0;
	event.events |= (uint32_t)EPOLLEXCLUSIVE;
	for (size_t i = 0; good && i < listeners->count; i++) {
		event.data.fd = listeners->entries[i].fd;
		good = epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event) == 0;
	}
	if (!good)
		role_fail("cannot wait for clients");
	return epoll;
}

static int wait_for_client(const struct server *server, int leash)
{
	int epoll = epoll_of_listeners(server->role->listeners, leash), fd = -1;
	while (fd < 0) {
		struct epoll_event event;
		if (epoll_wait(epoll, &event, 1, -1) <= 0)
			continue;
		if (event.data.fd == leash) {
			if (child_hear(leash, NULL) != LEASH_NOTHING)
				_exit(0);
			continue;
		}
		fd = accept4(event.data.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		/* Out of descriptors or memory, the whole machine: not to be asked again at once. */
		if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			poll(NULL, 0, ACCEPT_PAUSE_MSECS);
	}
	close(epoll);
	return fd;
}

/* Many messages in memory at once are not for one process. */
static void limit_descriptors(const struct server *server)
{
	rlim_t most = DESCRIPTORS_COUNT + server->role->listeners->count;
	const struct rlimit few = {most, most};
	if (setrlimit(RLIMIT_NOFILE, &few) < 0)
		role_fail("cannot limit descriptors");
}

static void session_main(void *arg, int leash) __attribute__((noreturn));
static void session_main(void *arg, int leash)
{
	static struct lmtp_io io;
	const struct server *server = arg;
	char why[WHY_OCTETS];
	keep(server, leash);
	limit_descriptors(server);
	if (sandbox_tighten(SANDBOX_LMTP, why, sizeof why) < 0)
		role_fail(why);
	int fd = wait_for_client(server, leash);
	stop_listening(arg);
	if (msg_send(leash, MSG_CHILD_TAKEN, NULL, 0, -1) != MSG_OK)
		_exit(0);
	io.fd = fd;
	io.leash = leash;
	io.idle_msecs = server->role->config->lmtp_idle_secs * 1000;
	const struct handover handover = {.io = &io,
	    .door = server->door,
	    /* Unique among the processes that run: the log of lmtp and deliverer names a session by it. */
	    .session = ((uint64_t)getpid() << 32 | (uint32_t)now_msecs()) & 0x003fffffffffffffull};
	lmtp_session_run(server->role->config, &handover);
	_exit(0);
}

/* ---- the role ---- */

void lmtp_main(void *arg, int leash)
{
	const struct role *role = arg;
	const struct config *config = role->config;
	struct server server = {.role = role, .door = role->doors->deliverer[DOOR_CALLER]};
	char why[WHY_OCTETS], empty[PATH_MAX];
	role_begin("lmtp");
	/* A message that is too large for us is an error of write like any other. */
	signal(SIGXFSZ, SIG_IGN);
	keep(&server, leash);
	const struct sandbox sandbox = {.role = SANDBOX_LMTP_PARENT,
	    .user = config->front_user,
	    .file_octets = config->message_octets,
	    .chroot_dir = config_path(config, CONFIG_EMPTY_DIR, empty)};
	if (sandbox_enter(&sandbox, why, sizeof why) < 0)
		role_fail(why);
	const struct parent_config parent = {.run = session_main,
	    .retired = stop_listening,
	    .arg = &server,
	    .spare = config->lmtp_sessions < SPARE_MOST ? config->lmtp_sessions : SPARE_MOST,
	    .sessions = config->lmtp_sessions,
	    .what = "LMTP session"};
	parent_run(&parent, leash);
}
