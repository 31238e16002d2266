/* SPDX-License-Identifier: ISC */
/*
 * role: what a process is given when it begins, and the beginnings of those that master makes.
 *
 * Master makes one generation of roles for each configuration it takes: doors, then auth, store and, where
 * the configuration needs them, checker and deliverer, and, when auth has said what it can do, the fronts and
 * lmtp. A door is a message socket whose far end several processes of a role read: whichever is free takes
 * the next message.
 */
#ifndef KPOPD_SERVER_ROLE_H
#define KPOPD_SERVER_ROLE_H

#include <event2/event.h>

#include "server/config.h"
#include "server/listeners.h"
#include "server/offers.h"

enum { DOOR_CALLER = 0, DOOR_SERVANT = 1 };

struct doors {
	int token[2];     /* front → auth: mechanisms that never wait */
	int password[2];  /* front → auth: passwords, which may cost a slow hash or a network */
	int store[2];     /* auth → store */
	int deliverer[2]; /* lmtp → deliverer: mail; nobody else has the caller's end */
	int checker[2];   /* auth → checker: passwords that others know, and .k5login */
};

struct role {
	const struct config *config;
	const struct listeners *listeners; /* fronts and lmtp: each its own */
	const struct doors *doors;
	struct offers offers; /* fronts only */
	bool password;        /* auth: which door to serve */
	int penalty;          /* auth: see penalty_open */
};

/* Entry points for child_start; arg is a struct role that outlives the call. */
void front_main(void *role, int leash) __attribute__((noreturn));
void auth_main(void *role, int leash) __attribute__((noreturn));
void store_main(void *role, int leash) __attribute__((noreturn));
void deliverer_main(void *role, int leash) __attribute__((noreturn));
void lmtp_main(void *role, int leash) __attribute__((noreturn));
void checker_main(void *role, int leash) __attribute__((noreturn));

/* Names the process in the log and in ps(1). */
void role_begin(const char *name);
/* The end of a role that could not begin: says why, exits non-zero. */
void role_fail(const char *why) __attribute__((noreturn));
/* Calls fn whenever fd is readable; lasts as long as the process. */
struct event *role_watch(struct event_base *base, int fd, event_callback_fn fn, void *arg);
/* Tells the parent that this role serves; offers are auth's, NULL for others. */
void role_ready(int leash, const struct offers *offers);

#endif
