/* SPDX-License-Identifier: ISC */
/*
 * client: one place of the load generator, which runs sessions one after the other on sockets of its own.
 *
 * Non-blocking, plain or TLS 1.3, in the caller's event loop. A session ends when the server has closed
 * the connection after QUIT, so that its whole work is counted.
 */
#ifndef KPOPD_TESTS_BENCH_CLIENT_H
#define KPOPD_TESTS_BENCH_CLIENT_H

#include <event2/event.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#include "tests/bench/work.h"

enum client_end { CLIENT_OK = 0, CLIENT_RESTS, CLIENT_FAILED };
typedef void client_end_fn(void *arg, enum client_end end);

struct client_config {
	struct event_base *base;
	struct sockaddr_in address;
	SSL_CTX *tls; /* for works with TLS */
	const struct work *work;
	const char *password;
	uint64_t messages; /* most to fetch in a session */
};

/* end is called once a session, out of the loop; CLIENT_RESTS leaves the connection open. NULL: no memory. */
struct client *client_new(const struct client_config *config, client_end_fn *end, void *arg);
/* Begins a session; user and ticket outlive it. */
void client_start(struct client *client, const char *user, struct ticket *ticket);
/* When the session under way began, CLOCK_MONOTONIC microseconds. */
uint64_t client_began(const struct client *client);
void client_free(struct client **client);

#endif
