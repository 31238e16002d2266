/* SPDX-License-Identifier: ISC */
/*
 * floor: the least a POP3 server on this machine can cost.
 *
 * One process, one event loop (libevent core), canned answers: no user is checked, no file opened, no
 * process asked. What kpopd and others cost is compared with this in the same run. It believes
 * everybody and must listen on the loopback only.
 *
 * floor -p PORT [-m MESSAGES] [-o OCTETS]: prints "ready" when it serves; ends on SIGTERM.
 */
#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LINE_OCTETS = 512,
	BACKLOG_COUNT = 1024,
	TEXT_OCTETS = 76, /* a line of a canned message, CRLF included */
};

/* The one canned message, status line and terminator included, and the two answers that count it. */
static char *message;
static size_t message_len;
static char stat_reply[64];

struct connection {
	struct event *readable, *writable;
	const char *out; /* what is still to be sent: canned text, never owned */
	size_t out_len;
	int fd;
	int closing;
	size_t line_len;
	char line[LINE_OCTETS];
};

static void connection_free(struct connection *conn)
{
	event_free(conn->readable);
	event_free(conn->writable);
	close(conn->fd);
	free(conn);
}

/* Sends what the socket takes. False: the connection is over and freed. */
static int flush(struct connection *conn)
{
	while (conn->out_len > 0) {
		ssize_t sent = write(conn->fd, conn->out, conn->out_len);
		if (sent < 0) {
			event_add(conn->writable, NULL);
			return 1;
		}
		conn->out += sent;
		conn->out_len -= (size_t)sent;
	}
	if (conn->closing) {
		connection_free(conn);
		return 0;
	}
	return 1;
}

static void canned(struct connection *conn, const char *text, size_t len)
{
	conn->out = text;
	conn->out_len = len;
}

static void answer(struct connection *conn)
{
	if (strncmp(conn->line, "RETR", 4) == 0) {
		canned(conn, message, message_len);
	} else if (strncmp(conn->line, "STAT", 4) == 0) {
		canned(conn, stat_reply, strlen(stat_reply));
	} else {
		conn->closing = strncmp(conn->line, "QUIT", 4) == 0;
		canned(conn, "+OK\r\n", 5);
	}
}

/* The load generator waits for each answer, so one read brings at most one line. */
static void on_readable(evutil_socket_t fd, short events, void *arg)
{
	struct connection *conn = arg;
	(void)events;
	ssize_t got = read(fd, conn->line + conn->line_len, sizeof(conn->line) - 1 - conn->line_len);
	if (got <= 0) {
		connection_free(conn);
		return;
	}
	conn->line_len += (size_t)got;
	conn->line[conn->line_len] = '\0';
	if (conn->line[conn->line_len - 1] != '\n' && conn->line_len < sizeof(conn->line) - 1)
		return;
	answer(conn);
	conn->line_len = 0;
	flush(conn);
}

static void on_writable(evutil_socket_t fd, short events, void *arg)
{
	(void)fd;
	(void)events;
	flush(arg);
}

static void on_accept(evutil_socket_t listener, short events, void *arg)
{
	struct event_base *base = arg;
	(void)events;
	for (;;) {
		int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		struct connection *conn = calloc(1, sizeof(*conn));
		if (!conn) {
			close(fd);
			return;
		}
		conn->fd = fd;
		conn->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, conn);
		conn->writable = event_new(base, fd, EV_WRITE, on_writable, conn);
		if (!conn->readable || !conn->writable)
			abort();
		event_add(conn->readable, NULL);
		canned(conn, "+OK ready\r\n", 11);
		flush(conn);
	}
}

static void on_signal(evutil_socket_t number, short events, void *arg)
{
	(void)number;
	(void)events;
	event_base_loopbreak(arg);
}

/* octets of text in whole lines, so that its size on the wire is exactly octets. */
static int make_message(size_t octets)
{
	static const char head[] = "+OK\r\n", tail[] = ".\r\n";
	message = malloc(octets + sizeof(head) + sizeof(tail));
	if (!message)
		return -1;
	memcpy(message, head, sizeof(head) - 1);
	char *body = message + sizeof(head) - 1;
	memset(body, 'x', octets);
	for (size_t end = TEXT_OCTETS; end < octets; end += TEXT_OCTETS)
		memcpy(body + end - 2, "\r\n", 2);
	memcpy(body + octets - 2, "\r\n", 2);
	memcpy(body + octets, tail, sizeof(tail) - 1);
	message_len = sizeof(head) - 1 + octets + sizeof(tail) - 1;
	return 0;
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG_COUNT) < 0) {
		perror("floor: listen");
		exit(1);
	}
	return fd;
}

static int serve(int listener)
{
	struct event_base *base = event_base_new();
	if (!base)
		return 1;
	struct event *accepts = event_new(base, listener, EV_READ | EV_PERSIST, on_accept, base);
	struct event *ends = evsignal_new(base, SIGTERM, on_signal, base);
	if (!accepts || !ends || event_add(accepts, NULL) < 0 || event_add(ends, NULL) < 0)
		return 1;
	puts("ready");
	fflush(stdout);
	event_base_dispatch(base);
	event_free(accepts);
	event_free(ends);
	event_base_free(base);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long port = 0, messages = 20, octets = 6144;
	for (int option; (option = getopt(argc, argv, "p:m:o:")) != -1;) {
		if (option == 'p')
			port = strtoul(optarg, NULL, 10);
		else if (option == 'm')
			messages = strtoul(optarg, NULL, 10);
		else if (option == 'o')
			octets = strtoul(optarg, NULL, 10);
		else
			port = 0;
	}
	if (port == 0 || port > UINT16_MAX || messages > 100000 || octets < 2 || octets > (1u << 30)) {
		fputs("usage: floor -p PORT [-m MESSAGES] [-o OCTETS]\n", stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	snprintf(stat_reply, sizeof(stat_reply), "+OK %lu %lu\r\n", messages, messages * octets);
	if (make_message(octets) < 0)
		return 1;
	int listener = listen_on((uint16_t)port), status = serve(listener);
	close(listener);
	free(message);
	return status;
}
