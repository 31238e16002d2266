/* SPDX-License-Identifier: ISC */
/*
 * deposit: the deliverer's side of one delivery: is there such a user, is there room, is it on disk.
 *
 * For a deliverer's process, which serves one delivery and may wait for the disk. What it is told comes from
 * a process that reads strangers' mail; it can add to maildrops, and learn who has one and whether it is
 * full.
 */
#ifndef KPOPD_SERVER_DEPOSIT_H
#define KPOPD_SERVER_DEPOSIT_H

#include <limits.h>
#include <stdbool.h>

#include "server/config.h"
#include "server/msg.h"
#include "store/maildrop.h"

struct deposit {
	const struct config *config;
	int fd; /* the lmtp process's end is the other */
	uint64_t session, octets;
	char user[LIMIT_USER_OCTETS + 1];
	char path[PATH_MAX];
	struct maildrop_place place;
};

/* Takes LMTP_OPEN and its descriptor over. false: it names nobody soundly, and that was answered. */
bool deposit_init(struct deposit *deposit, const struct config *config, const struct msg *open);
/* Answers DELIVERER_READY or DELIVERER_REFUSED. true: LMTP_MESSAGE may come. */
bool deposit_open(struct deposit *deposit, struct store *store);
/* The socket is readable: takes LMTP_MESSAGE, delivers it, answers. false: nothing was there yet. */
bool deposit_serve(struct deposit *deposit, struct store *store);
void deposit_refuse(struct deposit *deposit, enum delivery_refusal refusal);

#endif
