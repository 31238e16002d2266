/* SPDX-License-Identifier: ISC */
#include "server/handover.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "server/child.h"
#include "server/lmtp_parse.h"
#include "server/log.h"

/* Sends it, perhaps when those before it have been taken. */
static int send_patiently(const struct handover *h, int sock, enum msg_type type,
    const struct msg_writer *body, int fd, uint64_t deadline_msecs)
{
	int sent = MSG_BAD;
	while (!body->bad && (sent = msg_send(sock, type, body->buf, body->len, fd)) == MSG_AGAIN)
		if (!lmtp_io_wait(h->io, sock, POLLOUT, deadline_msecs))
			break;
	return sent == MSG_OK ? 0 : -1;
}

/* Always -1. What a deliverer refuses it logs itself. */
static int no_answer(const struct handover *h, const char *when)
{
	log_warning("lmtp session=%016" PRIx64 " no deliverer answered %s", h->session, when);
	return -1;
}

/* Whatever is not an answer of the table is an end without one. */
static int hear(const struct handover *h, int sock, unsigned state, uint64_t deadline_msecs,
    enum delivery_refusal *refusal_r)
{
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS];
	struct msg msg;
	int got;
	*refusal_r = DELIVERY_TEMP;
	do {
		if (!lmtp_io_wait(h->io, sock, POLLIN, deadline_msecs))
			return no_answer(h, "in time");
		got = msg_recv(sock, state, buf, sizeof buf, &msg);
	} while (got == MSG_AGAIN);
	if (got != MSG_OK)
		return no_answer(h, "before it ended");
	if (msg.type == MSG_DELIVERER_REFUSED) {
		if (msg.body[0] < DELIVERY_REFUSAL_COUNT)
			*refusal_r = (enum delivery_refusal)msg.body[0];
		return -1;
	}
	return 0;
}

/* Our end of a delivery that a deliverer is ready for, or -1. */
static int open_delivery(
    const struct handover *h, const char *user, uint64_t octets, enum delivery_refusal *refusal_r)
{
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	uint64_t deadline = now_msecs() + LIMIT_DELIVERER_OPEN_MSECS;
	int pair[2];
	*refusal_r = DELIVERY_TEMP;
	msg_put_u64(&w, h->session);
	msg_put_u64(&w, octets);
	msg_put_bytes(&w, user, strlen(user));
	if (msg_pair(pair) < 0)
		return -1;
	int result = send_patiently(h, h->door, MSG_LMTP_OPEN, &w, pair[1], deadline);
	close(pair[1]);
	if (result == 0)
		result = hear(h, pair[0], MSG_AT_LMTP_OPENING, deadline, refusal_r);
	if (result == 0)
		return pair[0];
	close(pair[0]);
	return -1;
}

int handover_ask(
    const struct handover *h, const char *user, uint64_t octets, enum delivery_refusal *refusal_r)
{
	int fd = open_delivery(h, user, octets, refusal_r);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

int handover_message(const struct handover *h, const char *user, const char *recipient,
    const struct handover_message *message, enum delivery_refusal *refusal_r)
{
	uint8_t buf[2 + 2 * LMTP_ADDRESS_OCTETS];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	int fd = open_delivery(h, user, message->octets, refusal_r);
	if (fd < 0)
		return -1;
	uint64_t deadline = now_msecs() + LIMIT_DELIVERER_STORE_MSECS;
	msg_put_u16(&w, (uint16_t)strlen(message->sender));
	msg_put_bytes(&w, message->sender, strlen(message->sender));
	msg_put_bytes(&w, recipient, strlen(recipient));
	*refusal_r = DELIVERY_TEMP;
	int result = send_patiently(h, fd, MSG_LMTP_MESSAGE, &w, message->fd, deadline);
	if (result == 0)
		result = hear(h, fd, MSG_AT_LMTP_STORING, deadline, refusal_r);
	close(fd);
	return result;
}
