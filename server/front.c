/* SPDX-License-Identifier: ISC */
/*
 * front: the role that talks to clients. It holds sockets and TLS, and nothing worth stealing but the
 * certificate's key; what it may do with mail is what one descriptor from auth allows.
 */
#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/arrival.h"
#include "server/child.h"
#include "server/client.h"
#include "server/log.h"
#include "server/msg.h"
#include "server/parent.h"
#include "server/role.h"
#include "server/sandbox.h"
#include "server/tls.h"

enum { WHY_OCTETS = 512, ACCEPT_BATCH_COUNT = 32, ACCEPT_PAUSE_MSECS = 100 };

/* A process holds one; its functions get it by argument. */
struct server {
	struct front front;
	const struct role *role;
	int leash;
	struct event *accept_events[LIMIT_LISTENERS_COUNT];
	struct event *resume;
	size_t clients, room;
	bool retiring, accepting;
};

/* ---- what both settings share ---- */

static void front_init(struct server *server, const struct role *role, int leash)
{
	server->role = role;
	server->leash = leash;
	server->front.config = role->config;
	server->front.offers = role->offers;
	server->front.token_door = role->doors->token[DOOR_CALLER];
	server->front.password_door = role->doors->password[DOOR_CALLER];
}

static void front_begin(struct server *server)
{
	/* Unique among the processes that run: the log of auth, front and store names a session by it. */
	server->front.next_id = ((uint64_t)getpid() << 32 | (uint32_t)now_msecs()) & 0x003fffffffffffffull;
	server->front.base = event_base_new();
	if (server->front.base == NULL)
		role_fail("cannot make an event loop");
}

static int accept_one(const struct listener *listener)
{
	int fd;
	do
		fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	return fd;
}

/* The section of the configuration by which its clients are served. */
static const struct listener_config *config_of(const struct server *server, const struct listener *listener)
{
	return &server->front.config->listeners[listener->section];
}

/* Clients find a port closed that the configuration no longer has, however long our sessions go on. */
static void stop_listening(void *arg)
{
	const struct server *server = arg;
	for (size_t i = 0; i < server->role->listeners->count; i++)
		close(server->role->listeners->entries[i].fd);
}

/* ---- isolation = shared: many clients ---- */

static void accept_pause(struct server *server, bool pause)
{
	for (size_t i = 0; i < server->role->listeners->count; i++) {
		if (server->accept_events[i] == NULL)
			continue;
		if (pause)
			event_del(server->accept_events[i]);
		else
			event_add(server->accept_events[i], NULL);
	}
	server->accepting = !pause;
}

static void on_ended(struct front *front)
{
	struct server *server = front->arg;
	server->clients--;
	if (server->retiring && server->clients == 0)
		_exit(0);
	if (!server->retiring && !server->accepting)
		accept_pause(server, false);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	(void)fd, (void)what;
	if (!server->retiring && server->clients < server->room)
		accept_pause(server, false);
}

/* Out of descriptors or memory: a pause costs new clients a moment and saves us a busy loop. */
static void accept_failed(struct server *server)
{
	struct timeval tv = {.tv_usec = ACCEPT_PAUSE_MSECS * 1000};
	if (errno == EAGAIN)
		return;
	log_warning("cannot accept: %s", strerror(errno));
	accept_pause(server, true);
	if (event_add(server->resume, &tv) < 0)
		accept_pause(server, false); /* nothing would end the pause */
}

static void on_accept(evutil_socket_t socket, short what, void *arg)
{
	struct server *server = arg;
	const struct listener *listener = server->role->listeners->entries;
	(void)what;
	while (listener->fd != socket)
		listener++;
	for (int i = 0; i < ACCEPT_BATCH_COUNT && server->clients < server->room; i++) {
		int fd = accept_one(listener);
		if (fd < 0) {
			accept_failed(server);
			return;
		}
		server->clients++;
		if (arrival_start(&server->front, fd, config_of(server, listener)) < 0)
			on_ended(&server->front);
	}
	if (server->clients >= server->room) {
		log_warning("%zu clients, as many as configured: new ones wait", server->clients);
		accept_pause(server, true);
	}
}

static void on_leash(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	(void)what;
	enum leash_word word = child_hear(fd, &server->front.offers);
	if (word == LEASH_NOTHING || word == LEASH_OFFERS)
		return;
	if (word == LEASH_GONE)
		_exit(0);
	server->retiring = true;
	accept_pause(server, true);
	for (size_t i = 0; i < server->role->listeners->count; i++) {
		if (server->accept_events[i] != NULL)
			event_free(server->accept_events[i]);
		server->accept_events[i] = NULL;
	}
	stop_listening(server);
	if (server->clients == 0)
		_exit(0);
}

static void serve_many(struct server *server) __attribute__((noreturn));
static void serve_many(struct server *server)
{
	const struct config *config = server->role->config;
	front_begin(server);
	server->front.ended = on_ended;
	server->front.arg = server;
	server->room = (config->sessions + config->front_processes - 1) / config->front_processes;
	server->resume = evtimer_new(server->front.base, on_resume, server);
	if (server->resume == NULL)
		role_fail("no memory");
	for (size_t i = 0; i < server->role->listeners->count; i++)
		server->accept_events[i] =
		    role_watch(server->front.base, server->role->listeners->entries[i].fd, on_accept, server);
	server->accepting = true;
	role_watch(server->front.base, server->leash, on_leash, server);
	role_ready(server->leash, NULL);
	event_base_dispatch(server->front.base);
	role_fail("the event loop ended");
}

/* ---- isolation = process: one client ---- */

static void on_only_client_ended(struct front *front)
{
	(void)front;
	_exit(0);
}

static void on_session_leash(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	(void)what;
	/* RETIRE: this is the session to finish. */
	if (child_hear(fd, &server->front.offers) == LEASH_GONE)
		_exit(0);
}

/* Wakes one spare process for a connection, not all of them. */
static int epoll_of_listeners(const struct listeners *listeners, int leash)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		role_fail("cannot make an event loop");
	for (size_t i = 0; i <= listeners->count; i++) {
		bool is_leash = i == listeners->count;
		struct epoll_event event = {
		    .events = is_leash ? (uint32_t)EPOLLIN : (uint32_t)EPOLLIN | EPOLLEXCLUSIVE,
		    .data.u64 = i};
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, is_leash ? leash : listeners->entries[i].fd, &event) < 0)
			role_fail("cannot wait for clients");
	}
	return epoll;
}

/* Before a client came. */
static void hear_idle(struct server *server, int leash)
{
	enum leash_word word = child_hear(leash, &server->front.offers);
	if (word == LEASH_RETIRE || word == LEASH_GONE)
		_exit(0);
}

/* What was said while the client was taken: it is to see the offers of now. RETIRE means others. */
static void hear_all(struct server *server, int leash)
{
	enum leash_word word;
	while ((word = child_hear(leash, &server->front.offers)) == LEASH_OFFERS)
		continue;
	if (word == LEASH_GONE)
		_exit(0);
}

static int wait_for_client(struct server *server, int leash, const struct listener **listener_r)
{
	const struct listeners *listeners = server->role->listeners;
	int epoll = epoll_of_listeners(listeners, leash);
	for (;;) {
		struct epoll_event event;
		int n = epoll_wait(epoll, &event, 1, -1);
		if (n <= 0)
			continue;
		if (event.data.u64 >= listeners->count) {
			hear_idle(server, leash);
			continue;
		}
		const struct listener *listener = &listeners->entries[event.data.u64];
		int fd = accept_one(listener);
		if (fd < 0) {
			/* Out of descriptors or memory, the whole machine: not to be asked again at once. */
			if (errno != EAGAIN)
				poll(NULL, 0, ACCEPT_PAUSE_MSECS);
			continue;
		}
		close(epoll);
		*listener_r = listener;
		return fd;
	}
}

static void session_main(void *arg, int leash) __attribute__((noreturn));
static void session_main(void *arg, int leash)
{
	struct server *server = arg;
	const struct listeners *listeners = server->role->listeners;
	char why[WHY_OCTETS];
	int keep[LIMIT_LISTENERS_COUNT + 3] = {leash, server->front.token_door, server->front.password_door};
	for (size_t i = 0; i < listeners->count; i++)
		keep[3 + i] = listeners->entries[i].fd;
	child_keep(keep, 3 + listeners->count);
	if (sandbox_tighten(SANDBOX_FRONT, why, sizeof why) < 0)
		role_fail(why);
	const struct listener *listener;
	int fd = wait_for_client(server, leash, &listener);
	stop_listening(server);
	hear_all(server, leash);
	if (msg_send(leash, MSG_CHILD_TAKEN, NULL, 0, -1) != MSG_OK)
		_exit(0);
	server->leash = leash;
	front_begin(server);
	server->front.ended = on_only_client_ended;
	role_watch(server->front.base, leash, on_session_leash, server);
	if (arrival_start(&server->front, fd, config_of(server, listener)) < 0)
		_exit(0);
	event_base_dispatch(server->front.base);
	_exit(0);
}

/* ---- the role ---- */

void front_main(void *arg, int leash)
{
	const struct role *role = arg;
	const struct config *config = role->config;
	struct server server = {.clients = 0};
	char why[WHY_OCTETS], empty[PATH_MAX];
	role_begin("front");
	front_init(&server, role, leash);
	int keep[LIMIT_LISTENERS_COUNT + 3] = {leash, server.front.token_door, server.front.password_door};
	for (size_t i = 0; i < role->listeners->count; i++)
		keep[3 + i] = role->listeners->entries[i].fd;
	child_keep(keep, 3 + role->listeners->count);
	if (config->certificate != NULL) {
		server.front.tls = tls_context_new(config->certificate, config->key, why, sizeof why);
		if (server.front.tls == NULL)
			role_fail(why);
	}
	bool process = config->isolation == ISOLATION_PROCESS;
	struct sandbox sandbox = {.role = process ? SANDBOX_FRONT_PARENT : SANDBOX_FRONT,
	    .user = config->front_user,
	    .chroot_dir = config_path(config, CONFIG_EMPTY_DIR, empty)};
	if (sandbox_enter(&sandbox, why, sizeof why) < 0)
		role_fail(why);
	if (!process)
		serve_many(&server);
	struct parent_config parent = {.run = session_main,
	    .retired = stop_listening,
	    .offers = &server.front.offers,
	    .arg = &server,
	    .spare = config->spare,
	    .sessions = config->sessions,
	    .what = "front session"};
	parent_run(&parent, leash);
}
