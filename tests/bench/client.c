/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/client.h"

#define INPUT_OCTETS 65536u
#define RECORD_OCTETS (4u + 65536u) /* of a security layer, the largest we say we take */

struct client {
	const struct client_config *config;
	client_end_fn *end;
	void *arg;
	struct event *readable, *writable;
	SSL *ssl;
	int fd;
	bool connected, secured, done, rests;
	uint64_t began_usecs;
	struct dialogue dialogue;
	size_t sent; /* of dialogue.out */
	size_t in_len;
	char in[INPUT_OCTETS];
	bool sealed; /* dialogue.out is a record already */
	size_t raw_len;
	char raw[RECORD_OCTETS];
};

enum moved { MOVED = 0, MOVED_NOTHING, MOVED_EOF, MOVED_BROKEN };

static uint64_t now_usecs(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static void hang_up(struct client *client)
{
	if (client->readable)
		event_free(client->readable);
	if (client->writable)
		event_free(client->writable);
	client->readable = client->writable = NULL;
	SSL_free(client->ssl);
	client->ssl = NULL;
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	dialogue_end(&client->dialogue);
}

static void finish(struct client *client, enum client_end end)
{
	hang_up(client);
	client->end(client->arg, end);
}

static void fail(struct client *client, const char *why)
{
	fprintf(stderr, "load: %s, step %u: %s\n", client->dialogue.user, client->dialogue.step, why);
	finish(client, CLIENT_FAILED);
}

/* What an SSL call that did not succeed means for the loop. */
static enum moved tls_moved(struct client *client, int result)
{
	switch (SSL_get_error(client->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return MOVED_NOTHING;
	case SSL_ERROR_WANT_WRITE:
		event_add(client->writable, NULL);
		return MOVED_NOTHING;
	case SSL_ERROR_ZERO_RETURN:
		return MOVED_EOF;
	default:
		return MOVED_BROKEN;
	}
}

static enum moved plain_moved(ssize_t result)
{
	if (result == 0)
		return MOVED_EOF;
	return errno == EAGAIN || errno == EINTR ? MOVED_NOTHING : MOVED_BROKEN;
}

/* What the first record that came holds goes behind what was heard. */
static enum moved unseal(struct client *client)
{
	const uint8_t *raw = (const uint8_t *)client->raw;
	uint32_t head = 0;
	if (client->raw_len >= sizeof(head))
		memcpy(&head, raw, sizeof(head));
	size_t len = ntohl(head);
	if (len > RECORD_OCTETS - 4)
		return MOVED_BROKEN;
	if (len == 0 || client->raw_len < 4 + len || sizeof(client->in) - client->in_len < len)
		return MOVED_NOTHING;
	int got = proof_gss_unseal(client->dialogue.proof, raw + 4, len, client->in + client->in_len,
	    sizeof(client->in) - client->in_len);
	if (got < 0)
		return MOVED_BROKEN;
	client->in_len += (size_t)got;
	client->raw_len -= 4 + len;
	memmove(client->raw, client->raw + 4 + len, client->raw_len);
	return MOVED;
}

static enum moved receive_record(struct client *client)
{
	enum moved moved;
	while ((moved = unseal(client)) == MOVED_NOTHING) {
		ssize_t got =
		    read(client->fd, client->raw + client->raw_len, sizeof(client->raw) - client->raw_len);
		if (got <= 0)
			return plain_moved(got);
		client->raw_len += (size_t)got;
	}
	return moved;
}

/* What is to be said becomes a record, once. */
static bool seal(struct client *client)
{
	struct dialogue *dialogue = &client->dialogue;
	char record[sizeof(dialogue->out)];
	if (!dialogue->layered || client->sealed || dialogue->out_len == 0)
		return true;
	int len =
	    proof_gss_seal(dialogue->proof, dialogue->out, dialogue->out_len, record + 4, sizeof(record) - 4);
	if (len < 0)
		return false;
	for (int i = 0; i < 4; i++)
		record[i] = (char)(uint8_t)(len >> (24 - 8 * i));
	memcpy(dialogue->out, record, (size_t)len + 4);
	dialogue->out_len = (size_t)len + 4;
	client->sealed = true;
	return true;
}

static enum moved receive(struct client *client)
{
	if (client->dialogue.layered)
		return receive_record(client);
	char *to = client->in + client->in_len;
	size_t room = sizeof(client->in) - client->in_len;
	if (client->ssl) {
		ERR_clear_error();
		int got = SSL_read(client->ssl, to, (int)room);
		if (got <= 0)
			return tls_moved(client, got);
		client->in_len += (size_t)got;
		return MOVED;
	}
	ssize_t got = read(client->fd, to, room);
	if (got <= 0)
		return plain_moved(got);
	client->in_len += (size_t)got;
	return MOVED;
}

static enum moved transmit(struct client *client)
{
	struct dialogue *dialogue = &client->dialogue;
	if (!seal(client))
		return MOVED_BROKEN;
	while (client->sent < dialogue->out_len) {
		const char *from = dialogue->out + client->sent;
		size_t len = dialogue->out_len - client->sent;
		ssize_t put;
		if (client->ssl) {
			ERR_clear_error();
			put = SSL_write(client->ssl, from, (int)len);
			if (put <= 0)
				return tls_moved(client, (int)put);
		} else if ((put = write(client->fd, from, len)) < 0) {
			if (errno != EAGAIN)
				return MOVED_BROKEN;
			event_add(client->writable, NULL);
			return MOVED_NOTHING;
		}
		client->sent += (size_t)put;
	}
	client->sent = dialogue->out_len = 0;
	client->sealed = false;
	return MOVED;
}

/* True: go on; false: the session rests or is over. */
static bool judge(struct client *client, enum progress progress)
{
	switch (progress) {
	case PROGRESS_WAIT:
		return true;
	case PROGRESS_REST:
		client->rests = true;
		client->end(client->arg, CLIENT_RESTS);
		return false;
	case PROGRESS_DONE:
		client->done = true;
		return true;
	case PROGRESS_FAILED:
		break;
	}
	fail(client, "not the expected answer");
	return false;
}

/* Feeds what has come to the dialogue. */
static bool digest(struct client *client)
{
	size_t used = 0;
	if (client->done && client->in_len > 0) {
		fail(client, "octets after the answer to QUIT");
		return false;
	}
	if (!judge(client, dialogue_input(&client->dialogue, client->in, client->in_len, &used)))
		return false;
	client->in_len -= used;
	memmove(client->in, client->in + used, client->in_len);
	if (client->in_len == sizeof(client->in)) {
		fail(client, "an answer without end");
		return false;
	}
	return true;
}

static void run(struct client *client)
{
	for (;;) {
		enum moved moved = transmit(client);
		if (moved == MOVED)
			moved = receive(client);
		if (moved == MOVED_NOTHING)
			return;
		/* After QUIT a server may leave out close_notify: nothing is lost by it. */
		if (client->done && moved != MOVED) {
			finish(client, CLIENT_OK);
			return;
		}
		if (moved != MOVED) {
			fail(client,
			    moved == MOVED_EOF ? "the server closed the connection" : "the connection broke");
			return;
		}
		if (!digest(client))
			return;
	}
}

/* Connection and handshake; true when the dialogue has begun. */
static bool prepare(struct client *client)
{
	int error = 0;
	socklen_t len = sizeof(error);
	if (!client->connected) {
		if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0) {
			fail(client, "cannot connect");
			return false;
		}
		client->connected = true;
	}
	if (client->ssl && !client->secured) {
		ERR_clear_error();
		int result = SSL_connect(client->ssl);
		if (result != 1) {
			if (tls_moved(client, result) != MOVED_NOTHING)
				fail(client, "TLS handshake failed");
			return false;
		}
	}
	if (!client->secured) {
		client->secured = true;
		return judge(client, dialogue_begin(&client->dialogue));
	}
	return true;
}

static void on_event(evutil_socket_t fd, short events, void *arg)
{
	struct client *client = arg;
	(void)fd;
	(void)events;
	if (!client->rests) {
		if (prepare(client))
			run(client);
	} else if (receive(client) != MOVED_NOTHING) {
		/* An event may be older than the rest, so the socket is asked. */
		fail(client, "the server ended an idle session");
	}
}

struct client *client_new(const struct client_config *config, client_end_fn *end, void *arg)
{
	struct client *client = calloc(1, sizeof(*client));
	if (!client)
		return NULL;
	client->config = config;
	client->end = end;
	client->arg = arg;
	client->fd = -1;
	return client;
}

static bool open_socket(struct client *client)
{
	const struct client_config *config = client->config;
	int on = 1;
	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		return false;
	setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(client->fd, (const struct sockaddr *)&config->address, sizeof(config->address)) < 0 &&
	    errno != EINPROGRESS)
		return false;
	if (config->work->tls &&
	    (!(client->ssl = SSL_new(config->tls)) || SSL_set_fd(client->ssl, client->fd) != 1))
		return false;
	client->readable = event_new(config->base, client->fd, EV_READ | EV_PERSIST, on_event, client);
	client->writable = event_new(config->base, client->fd, EV_WRITE, on_event, client);
	return client->readable && client->writable && event_add(client->readable, NULL) == 0 &&
	       event_add(client->writable, NULL) == 0;
}

void client_start(struct client *client, const char *user, struct ticket *ticket)
{
	const struct client_config *config = client->config;
	struct dialogue *dialogue = &client->dialogue;
	client->connected = client->secured = client->done = client->rests = false;
	client->sent = client->in_len = client->raw_len = 0;
	client->sealed = false;
	client->began_usecs = now_usecs();
	memset(dialogue, 0, offsetof(struct dialogue, challenge));
	dialogue->out_len = 0;
	dialogue->work = config->work;
	dialogue->user = user;
	dialogue->password = config->password;
	dialogue->ticket = ticket;
	dialogue->limit = config->messages;
	if (!open_socket(client))
		fail(client, strerror(errno));
}

uint64_t client_began(const struct client *client)
{
	return client->began_usecs;
}

void client_free(struct client **client)
{
	if (!*client)
		return;
	hang_up(*client);
	free(*client);
	*client = NULL;
}
