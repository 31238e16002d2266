/* SPDX-License-Identifier: ISC */
#include "server/listeners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTEN_FDS_START = 3, LISTEN_BACKLOG = 1024 };

/* What systemd handed over; each is used by at most one listener at a time. */
static struct inherited {
	int fd;
	char name[64];
	struct sockaddr_in6 address; /* all zero for a Unix socket */
	char path[LOCAL_SOCKET_PATH_OCTETS];
} inherited[LIMIT_LISTENERS_COUNT];
static size_t inherited_count;

/* One form for both families, so that addresses compare as octets. */
static void to_mapped(const struct sockaddr_storage *any, struct sockaddr_in6 *address_r)
{
	if (any->ss_family == AF_INET6) {
		memcpy(address_r, any, sizeof *address_r);
		return;
	}
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)any;
	*address_r = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = v4->sin_port};
	address_r->sin6_addr.s6_addr[10] = address_r->sin6_addr.s6_addr[11] = 0xff;
	memcpy(address_r->sin6_addr.s6_addr + 12, &v4->sin_addr, 4);
}

static bool same_address(const struct sockaddr_in6 *a, const struct sockaddr_in6 *b)
{
	return a->sin6_port == b->sin6_port && memcmp(&a->sin6_addr, &b->sin6_addr, sizeof a->sin6_addr) == 0;
}

/* Accepted sockets are born with what their listener has. */
static void keep_alive(int fd)
{
	const int on = 1, idle = LIMIT_KEEPALIVE_IDLE_SECS, interval = LIMIT_KEEPALIVE_INTERVAL_SECS,
		  count = LIMIT_KEEPALIVE_COUNT;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

void listeners_inherit(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"),
		   *names = getenv("LISTEN_FDNAMES");
	if (pid == NULL || fds == NULL || strtol(pid, NULL, 10) != (long)getpid())
		return;
	long count = strtol(fds, NULL, 10);
	for (long i = 0; i < count && inherited_count < LIMIT_LISTENERS_COUNT; i++) {
		struct inherited *entry = &inherited[inherited_count++];
		entry->fd = LISTEN_FDS_START + (int)i;
		fcntl(entry->fd, F_SETFD, FD_CLOEXEC);
		fcntl(entry->fd, F_SETFL, fcntl(entry->fd, F_GETFL) | O_NONBLOCK);
		keep_alive(entry->fd);
		if (names != NULL) {
			size_t len = strcspn(names, ":");
			snprintf(entry->name, sizeof entry->name, "%.*s", (int)len, names);
			names += len + (names[len] == ':');
		}
		struct sockaddr_storage any = {0};
		socklen_t len = sizeof any;
		if (getsockname(entry->fd, (struct sockaddr *)&any, &len) != 0)
			continue;
		const struct sockaddr_un *local = (const struct sockaddr_un *)(const void *)&any;
		if (any.ss_family == AF_UNIX)
			snprintf(entry->path, sizeof entry->path, "%.*s",
			    (int)(len - offsetof(struct sockaddr_un, sun_path)), local->sun_path);
		else
			to_mapped(&any, &entry->address);
	}
}

static int bind_one(const struct sockaddr_storage *any, socklen_t len)
{
	int on = 1;
	int fd = socket(any->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	keep_alive(fd);
	/* "::" and "0.0.0.0" are separate entries, so that either can be left out. */
	if (any->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(fd, (const struct sockaddr *)any, len) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
		int keep = errno;
		close(fd);
		errno = keep;
		return -1;
	}
	return fd;
}

static int parse_address(const char *text, uint16_t port, struct sockaddr_storage *any_r, socklen_t *len_r)
{
	*any_r = (struct sockaddr_storage){0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)any_r;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)any_r;
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*len_r = sizeof *v4;
		return 0;
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
		return -1;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	*len_r = sizeof *v6;
	return 0;
}

static bool in_use(const struct listeners *listeners, int fd)
{
	for (size_t i = 0; i < listeners->count; i++)
		if (listeners->entries[i].fd == fd)
			return true;
	return false;
}

/* Inherited by this name (whatever its address), or by this address when it has no name of ours. */
static void take_inherited(
    struct listeners *l, const struct config *config, size_t section, const struct sockaddr_in6 *address)
{
	const char *name = config->listeners[section].name;

	for (size_t i = 0; i < inherited_count && l->count < LIMIT_LISTENERS_COUNT; i++) {
		struct inherited *entry = &inherited[i];
		if (in_use(l, entry->fd))
			continue;
		if (strcmp(entry->name, name) != 0 && !same_address(&entry->address, address))
			continue;
		l->entries[l->count++] =
		    (struct listener){.fd = entry->fd, .section = section, .address = entry->address};
	}
}

static bool have(const struct listeners *l, const struct sockaddr_in6 *address)
{
	for (size_t i = 0; i < l->count; i++)
		if (same_address(&l->entries[i].address, address))
			return true;
	return false;
}

static bool named_inherited(const char *name)
{
	for (size_t i = 0; i < inherited_count; i++)
		if (strcmp(inherited[i].name, name) == 0)
			return true;
	return false;
}

static const char *advice(int error)
{
	switch (error) {
	case EACCES:
		return "; ports below 1024 need root or systemd sockets";
	case EADDRINUSE:
		return "; end what listens there (ss -ltnp shows it), or name another port";
	case EADDRNOTAVAIL:
		return "; name addresses that this machine has";
	default:
		return "";
	}
}

static int open_address(struct listeners *l, const struct listeners *old, const struct config *config,
    size_t section, const char *text, char *why_r, size_t size)
{
	const struct listener_config *wanted = &config->listeners[section];
	struct sockaddr_storage any;
	socklen_t len;
	struct sockaddr_in6 address;
	if (parse_address(text, wanted->port, &any, &len) < 0) {
		snprintf(why_r, size, "listener %s: %s is not a numeric address", wanted->name, text);
		return -1;
	}
	to_mapped(&any, &address);
	take_inherited(l, config, section, &address);
	if (have(l, &address) || named_inherited(wanted->name))
		return 0;
	if (l->count == LIMIT_LISTENERS_COUNT) {
		snprintf(why_r, size, "more than %u listening addresses", LIMIT_LISTENERS_COUNT);
		return -1;
	}
	int fd = -1;
	for (size_t i = 0; old != NULL && i < old->count; i++)
		if (same_address(&old->entries[i].address, &address))
			fd = old->entries[i].fd;
	if (fd < 0 && (fd = bind_one(&any, len)) < 0) {
		snprintf(why_r, size, "cannot listen on %s port %u (listener %s): %s%s", text, wanted->port,
		    wanted->name, strerror(errno), advice(errno));
		return -1;
	}
	l->entries[l->count++] = (struct listener){.fd = fd, .section = section, .address = address};
	return 0;
}

/* One that stays over a reload, if its clients still find it. */
static int keep_local(struct listener *listener, const struct listeners *old,
    const struct listener_config *wanted, char *why_r, size_t size)
{
	for (size_t i = 0; old != NULL && i < old->count; i++)
		if (strcmp(old->entries[i].local.path, wanted->path) == 0 &&
		    local_socket_there(&old->entries[i].local)) {
			listener->fd = old->entries[i].fd;
			return local_socket_own(wanted, &listener->local, why_r, size);
		}
	return 0;
}

static int open_local(struct listeners *l, const struct listeners *old, const struct config *config,
    size_t section, char *why_r, size_t size)
{
	const struct listener_config *wanted = &config->listeners[section];
	struct listener listener = {.fd = -1, .section = section};
	for (size_t i = 0; i < inherited_count; i++)
		if (strcmp(inherited[i].name, wanted->name) == 0 ||
		    strcmp(inherited[i].path, wanted->path) == 0)
			listener.fd = inherited[i].fd;
	if (l->count == LIMIT_LISTENERS_COUNT) {
		snprintf(why_r, size, "more than %u listening addresses", LIMIT_LISTENERS_COUNT);
		return -1;
	}
	if (listener.fd < 0 && keep_local(&listener, old, wanted, why_r, size) < 0)
		return -1;
	if (listener.fd < 0)
		listener.fd = local_socket_open(wanted, &listener.local, why_r, size);
	if (listener.fd < 0)
		return -1;
	l->entries[l->count++] = listener;
	return 0;
}

/* What the configuration cannot see of sockets that systemd hands over. */
static int check_lmtp(const struct listeners *l, const struct config *config, char *why_r, size_t size)
{
	static const uint8_t loopback_prefix[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};
	for (size_t i = 0; i < l->count; i++) {
		const struct listener_config *section = &config->listeners[l->entries[i].section];
		const struct in6_addr *address = &l->entries[i].address.sin6_addr;
		if (section->protocol != PROTOCOL_LMTP || l->entries[i].address.sin6_port == 0 ||
		    IN6_IS_ADDR_LOOPBACK(address) ||
		    memcmp(address, loopback_prefix, sizeof loopback_prefix) == 0)
			continue;
		snprintf(why_r, size,
		    "listener %s: the socket that was handed over is open to other machines, and LMTP asks "
		    "for no password",
		    section->name);
		return -1;
	}
	return 0;
}

static int open_section(struct listeners *l, const struct listeners *old, const struct config *config,
    size_t section, char *why_r, size_t size)
{
	if (config->listeners[section].path != NULL)
		return open_local(l, old, config, section, why_r, size);
	for (char **text = config->listeners[section].addresses; *text != NULL; text++)
		if (open_address(l, old, config, section, *text, why_r, size) < 0)
			return -1;
	return 0;
}

int listeners_open(struct listeners *listeners_r, const struct listeners *old, const struct config *config,
    char *why_r, size_t size)
{
	struct listeners l = {.count = 0};
	int result = 0;
	for (size_t i = 0; i < config->listener_count && result == 0; i++)
		result = open_section(&l, old, config, i, why_r, size);
	if (result < 0 || check_lmtp(&l, config, why_r, size) < 0) {
		listeners_close(&l, old);
		return -1;
	}
	*listeners_r = l;
	return 0;
}

bool listeners_want(const struct config *config, bool lmtp)
{
	for (size_t i = 0; i < config->listener_count; i++)
		if ((config->listeners[i].protocol == PROTOCOL_LMTP) == lmtp)
			return true;
	return false;
}

void listeners_split(const struct listeners *all, const struct config *config, struct listeners *fronts_r,
    struct listeners *lmtp_r)
{
	fronts_r->count = lmtp_r->count = 0;
	for (size_t i = 0; i < all->count; i++) {
		bool lmtp = config->listeners[all->entries[i].section].protocol == PROTOCOL_LMTP;
		struct listeners *part = lmtp ? lmtp_r : fronts_r;
		part->entries[part->count++] = all->entries[i];
	}
}

static void close_one(const struct listener *listener)
{
	if (listener->local.path[0] != '\0')
		local_socket_remove(&listener->local);
	close(listener->fd);
}

void listeners_close(struct listeners *a, const struct listeners *b)
{
	for (size_t i = 0; i < a->count; i++) {
		int fd = a->entries[i].fd;
		bool systemds = false;
		for (size_t j = 0; j < inherited_count; j++)
			systemds |= inherited[j].fd == fd;
		if (!systemds && (b == NULL || !in_use(b, fd)))
			close_one(&a->entries[i]);
	}
	a->count = 0;
}
