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
 * A session that is just ending on another process gives its lock back within DROP_TRIES_COUNT tries; one
 * that is to give way to another, or to share with it, within DROP_PATIENT_TRIES_COUNT.
 */
enum {
	DROP_TRIES_COUNT = 10,
	DROP_PAUSE_MSECS = 20,
	DROP_PATIENT_TRIES_COUNT = LIMIT_TAKEOVER_WAIT_MSECS / DROP_PAUSE_MSECS
};

enum drop_state {
	DROP_OVER = 0, /* refused, and the front knows */
	DROP_IN_USE,   /* nothing was answered yet: try again DROP_PAUSE_MSECS later */
	DROP_OPEN,
};

/* Takes AUTH_OPEN and its descriptor over. NULL: no memory; the descriptor is closed. */
struct drop *drop_new(const struct msg *open);
/*
 * Opens the maildrop and answers STORE_OPENED or STORE_REFUSED. Says DROP_IN_USE so many times at most: the
 * caller waits in between, or does something else.
 */
enum drop_state drop_open(struct drop *drop, struct store *store, const struct config *config);
/* Answers STORE_REFUSED before the maildrop is opened; why goes into the log. */
void drop_refuse(struct drop *drop, enum refusal refusal, const char *why);
const char *drop_user(const struct drop *drop); /* canonical, as auth has it; "": of no sound name */
int drop_fd(const struct drop *drop);
/*
 * The socket is readable: takes one message and answers it. room has LIMIT_MSG_OCTETS and is the caller's.
 * false: this maildrop is over; free it.
 */
bool drop_serve(struct drop *drop, uint8_t *room);
/* How long to wait for the socket before drop_look; -1: no need to look. */
int drop_wait_msecs(const struct drop *drop);
/* Nothing has come. false: another login wants this maildrop, so it is over; free it. */
bool drop_look(struct drop *drop);
void drop_free(struct drop **drop);

#endif
