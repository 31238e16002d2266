/* SPDX-License-Identifier: ISC */
/*
 * handover: an lmtp process gives a message to a deliverer, and hears what became of it.
 *
 * All that an lmtp process can do with mail is here: ask whether there is room for a user, and add a message.
 * Each question is answered by a process of its own behind the deliverers' door.
 */
#ifndef KPOPD_SERVER_HANDOVER_H
#define KPOPD_SERVER_HANDOVER_H

#include <stdint.h>

#include "server/lmtp_io.h"
#include "server/msg.h"

struct handover {
	struct lmtp_io *io; /* its leash is minded while we wait */
	int door;
	uint64_t session; /* names the connection in the log */
};

/* Whether there is room for octets more in the maildrop of user (canonical). 0, or -1 and why. */
int handover_ask(
    const struct handover *handover, const char *user, uint64_t octets, enum delivery_refusal *refusal_r);

struct handover_message {
	int fd; /* sealed; see message_seal */
	uint64_t octets;
	const char *sender; /* "": the null sender */
};
/* 0: the message is safe on disk. -1 and why; with DELIVERY_TEMP it may be there nevertheless. */
int handover_message(const struct handover *handover, const char *user, const char *recipient,
    const struct handover_message *message, enum delivery_refusal *refusal_r);

#endif
