/* SPDX-License-Identifier: ISC */
/*
 * drop: the store's side of one maildrop: answers the messages a front sends about it.
 *
 * For the store role, in a process of its own or on a worker thread. Blocking file work happens here;
 * sockets are only written to, without waiting.
 */
#ifndef KPOPD_SERVER_DROP_H
#define KPOPD_SERVER_DROP_H

#include "server/config.h"
#include "server/msg.h"
#include "store/maildrop.h"

struct drop;

/*
 * Takes AUTH_OPEN and its descriptor over, opens the maildrop, and answers STORE_OPENED or STORE_REFUSED.
 * NULL: there is no maildrop to serve; everything is closed.
 */
struct drop *drop_open(struct store *store, const struct config *config, const struct msg *open);
int drop_fd(const struct drop *drop);
/*
 * The socket is readable: takes one message and answers it. room has LIMIT_MSG_OCTETS and is the caller's.
 * false: this maildrop is over; free it.
 */
bool drop_serve(struct drop *drop, uint8_t *room);
void drop_free(struct drop **drop);

#endif
