/* SPDX-License-Identifier: ISC */
/*
 * peer: who is at the other end of a connection. For fronts; how it travels and is written is msg.h's.
 */
#ifndef KPOPD_SERVER_PEER_H
#define KPOPD_SERVER_PEER_H

#include <stdbool.h>

#include "server/msg.h"

/* false: the connection is gone already. */
bool peer_read(int fd, struct peer *peer_r);
/* ::1, or anything in 127.0.0.0/8. */
bool peer_is_loopback(const struct peer *peer);

#endif
