/* SPDX-License-Identifier: ISC */
#include "server/arrival.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/log.h"
#include "server/proxy.h"

struct arrival {
	struct front *front;
	int fd;
	enum protocol protocol;
	struct origin origin; /* as the socket has it */
	struct event *readable, *timer;
	size_t len;
	uint8_t octets[LIMIT_PROXY_OCTETS]; /* of the header, taken from the socket */
};

/* The socket stays open. */
static void arrival_free(struct arrival *arrival)
{
	if (arrival->readable != NULL)
		event_free(arrival->readable);
	if (arrival->timer != NULL)
		event_free(arrival->timer);
	free(arrival);
}

static void give_up(struct arrival *arrival, const char *why)
{
	struct front *front = arrival->front;
	char peer[PEER_TEXT_OCTETS];

	/* A balancer that looks whether anybody is there says nothing at all. */
	if (arrival->len == 0 && why == NULL)
		log_debug("closed via=%s before a PROXY header", peer_text(&arrival->origin.peer, peer));
	else
		log_warning(
		    "closed via=%s: %s; connections from 'proxy_networks' must begin with a PROXY header",
		    peer_text(&arrival->origin.peer, peer), why != NULL ? why : proxy_text(PROXY_MORE));
	close(arrival->fd);
	arrival_free(arrival);
	front->ended(front);
}

static void become_client(struct arrival *arrival, const struct proxy_header *header)
{
	struct front *front = arrival->front;
	struct origin origin = arrival->origin;
	int fd = arrival->fd;
	enum protocol protocol = arrival->protocol;

	if (header->proxied)
		origin =
		    (struct origin){.peer = header->source, .via = arrival->origin.peer, .proxied = true};
	arrival_free(arrival);
	if (client_start(front, fd, protocol, &origin) < 0)
		front->ended(front);
}

static ssize_t receive(int fd, uint8_t *octets, size_t size, int flags)
{
	ssize_t got;

	do
		got = recv(fd, octets, size, flags);
	while (got < 0 && errno == EINTR);
	return got;
}

/*
 * What has come is looked at before it is taken, so that what belongs to TLS, Kerberos or POP3 stays in the
 * socket. What is known to be of the header is taken at once: else the socket would stay readable, and wake
 * us for nothing.
 */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct arrival *arrival = arg;
	struct proxy_header header;
	uint8_t *end = arrival->octets + arrival->len;
	ssize_t got = receive(fd, end, sizeof(arrival->octets) - arrival->len, MSG_PEEK);

	(void)what;
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		give_up(arrival, NULL);
		return;
	}
	enum proxy_result result = proxy_parse(arrival->octets, arrival->len + (size_t)got, &header);
	if (result < 0) {
		give_up(arrival, proxy_text(result));
		return;
	}
	size_t take = result == PROXY_DONE ? header.octets - arrival->len : (size_t)got;
	if (receive(fd, end, take, 0) != (ssize_t)take) {
		give_up(arrival, NULL);
		return;
	}
	arrival->len += take;
	if (result == PROXY_DONE)
		become_client(arrival, &header);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	give_up(arg, "the PROXY header did not come in time");
}

static int await_header(struct front *front, int fd, enum protocol protocol, const struct origin *origin)
{
	static const struct timeval wait = {
	    .tv_sec = LIMIT_PROXY_WAIT_MSECS / 1000, .tv_usec = LIMIT_PROXY_WAIT_MSECS % 1000 * 1000};
	struct arrival *arrival = calloc(1, sizeof(*arrival));

	if (arrival == NULL)
		return -1;
	*arrival = (struct arrival){.front = front, .fd = fd, .protocol = protocol, .origin = *origin};
	arrival->readable = event_new(front->base, fd, EV_READ | EV_PERSIST, on_readable, arrival);
	arrival->timer = evtimer_new(front->base, on_timer, arrival);
	if (arrival->readable == NULL || arrival->timer == NULL || event_add(arrival->readable, NULL) < 0 ||
	    event_add(arrival->timer, &wait) < 0) {
		arrival_free(arrival);
		return -1;
	}
	return 0;
}

int arrival_start(struct front *front, int fd, const struct listener_config *listener)
{
	struct origin origin = {.proxied = false};

	if (!peer_read(fd, &origin.peer)) {
		close(fd);
		return -1;
	}
	if (!networks_have(&listener->proxy_networks, &origin.peer))
		return client_start(front, fd, listener->protocol, &origin);
	if (await_header(front, fd, listener->protocol, &origin) < 0) {
		close(fd);
		return -1;
	}
	return 0;
}
