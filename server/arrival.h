/* SPDX-License-Identifier: ISC */
/*
 * arrival: a connection just accepted, until it is known whose it is.
 *
 * In a front. Most connections are their peer's, and become clients at once. One from a network in the
 * listener's proxy_networks is a load balancer's, and begins with a PROXY header: it becomes a client when
 * that has come, from the source the header names, and is closed when it has not come whole and sound in
 * LIMIT_PROXY_WAIT_MSECS. Of the socket no octet beyond the header is read.
 */
#ifndef KPOPD_SERVER_ARRIVAL_H
#define KPOPD_SERVER_ARRIVAL_H

#include "server/client.h"
#include "server/config.h"

/* Takes fd over. -1: no memory, or the client is gone; fd is closed. Else front->ended follows one day. */
int arrival_start(struct front *front, int fd, const struct listener_config *listener);

#endif
