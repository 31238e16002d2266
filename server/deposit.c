/* SPDX-License-Identifier: ISC */
#include "server/deposit.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "server/envelope.h"
#include "server/identity.h"
#include "server/log.h"
#include "server/message_memory.h"
#include "server/names.h"
#include "server/quota.h"
#include "store/usage.h"

#define COPY_OCTETS 65536u
#define NAME_TEXT_OCTETS 600u

struct letter {
	char sender[LMTP_ADDRESS_OCTETS + 1], recipient[LMTP_ADDRESS_OCTETS + 1];
	int fd;
	uint64_t octets;
};

void deposit_refuse(struct deposit *deposit, enum delivery_refusal refusal)
{
	uint8_t code = (uint8_t)refusal;
	(void)msg_send(deposit->fd, MSG_DELIVERER_REFUSED, &code, 1, -1);
}

bool deposit_init(struct deposit *deposit, const struct config *config, const struct msg *open)
{
	struct msg_reader r = {open->body, open->len, false};
	size_t len;
	*deposit = (struct deposit){.config = config, .fd = open->fd};
	deposit->session = msg_get_u64(&r);
	deposit->octets = msg_get_u64(&r);
	const uint8_t *user = msg_get_rest(&r, &len);
	/* The lmtp process has checked the name; it is checked again where it becomes a path. */
	if (msg_end(&r) && identity_user_valid((const char *)user, len)) {
		memcpy(deposit->user, user, len);
		deposit->user[len] = '\0';
	}
	if (deposit->user[0] != '\0' && names_is_canonical(config, deposit->user))
		return true;
	log_error("lmtp asked for a delivery to no sound name: refused");
	deposit_refuse(deposit, DELIVERY_UNKNOWN);
	return false;
}

static bool refuse(struct deposit *deposit, enum delivery_refusal refusal, const char *why)
{
	log_info("refused session=%016" PRIx64 " user=%s: %s", deposit->session, deposit->user, why);
	deposit_refuse(deposit, refusal);
	return false;
}

static bool give_up(struct deposit *deposit, const char *what, const char *why)
{
	log_warning(
	    "gave up session=%016" PRIx64 " user=%s: %s: %s", deposit->session, deposit->user, what, why);
	deposit_refuse(deposit, DELIVERY_TEMP);
	return false;
}

/* An account of the system is a user, whatever he has; else who has a maildrop is one. */
static bool exists(struct deposit *deposit, struct store *store, int *rc_r)
{
	const struct config *config = deposit->config;
	if (config->mail_users == MAIL_USERS_SYSTEM || config->lmtp_unknown == LMTP_UNKNOWN_CREATE)
		*rc_r = MAILDROP_OK;
	else
		*rc_r = maildrop_there(store, &deposit->place);
	return *rc_r == MAILDROP_OK;
}

/* A message of this many octets. */
static bool has_room(struct deposit *deposit, struct store *store, uint64_t octets)
{
	switch (quota_ask(deposit->config, store, &deposit->place, octets)) {
	case QUOTA_ROOM:
		return true;
	case QUOTA_FULL:
		return refuse(deposit, DELIVERY_FULL, "over quota, by quota_octets or quota_messages");
	case QUOTA_LARGE:
		return refuse(deposit, DELIVERY_LARGE, "larger than the whole quota");
	case QUOTA_TEMP:
		break;
	}
	return give_up(deposit, "the mail there cannot be counted", strerror(errno));
}

bool deposit_open(struct deposit *deposit, struct store *store)
{
	int rc;
	if (identity_place(deposit->config, deposit->user, deposit->path, &deposit->place) < 0)
		return refuse(deposit, DELIVERY_UNKNOWN, "no sound path by the template of kpopd.conf");
	if (!exists(deposit, store, &rc)) {
		if (rc == MAILDROP_GONE)
			return refuse(deposit, DELIVERY_UNKNOWN, "no maildrop, and lmtp_unknown = refuse");
		return give_up(deposit, "the maildrop cannot be opened", strerror(errno));
	}
	return has_room(deposit, store, deposit->octets) &&
	       msg_send(deposit->fd, MSG_DELIVERER_READY, NULL, 0, -1) == MSG_OK;
}

/* ---- the message ---- */

static bool read_letter(const struct deposit *deposit, const struct msg *msg, struct letter *letter)
{
	struct msg_reader r = {msg->body, msg->len, false};
	size_t sender_len = msg_get_u16(&r), recipient_len;
	const uint8_t *sender = msg_get_bytes(&r, sender_len), *recipient = msg_get_rest(&r, &recipient_len);
	letter->fd = msg->fd;
	if (!msg_end(&r) || recipient_len == 0 || !envelope_address_valid((const char *)sender, sender_len) ||
	    !envelope_address_valid((const char *)recipient, recipient_len) ||
	    !message_sound(msg->fd, &letter->octets) || letter->octets > deposit->config->message_octets)
		return false;
	memcpy(letter->sender, sender, sender_len);
	letter->sender[sender_len] = '\0';
	memcpy(letter->recipient, recipient, recipient_len);
	letter->recipient[recipient_len] = '\0';
	return true;
}

/* What is sealed cannot have become shorter. */
static int copy(const struct letter *letter, struct delivery *delivery)
{
	static uint8_t buf[COPY_OCTETS];
	uint64_t at = 0;
	int rc = MAILDROP_OK;
	while (rc == MAILDROP_OK && at < letter->octets) {
		ssize_t got = pread(letter->fd, buf, sizeof buf, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return MAILDROP_TEMP;
		rc = delivery_write(delivery, buf, (size_t)got);
		at += (uint64_t)got;
	}
	return rc;
}

static bool store_letter(struct deposit *deposit, struct store *store, const struct letter *letter)
{
	char fields[ENVELOPE_FIELDS_OCTETS];
	struct delivery *delivery;
	size_t len = envelope_fields(letter->sender, letter->recipient, false, fields);
	if (!has_room(deposit, store, len + letter->octets))
		return false;
	if (delivery_begin(store, &deposit->place, &delivery) != MAILDROP_OK)
		return give_up(deposit, "cannot begin a delivery", strerror(errno));
	if (delivery_write(delivery, fields, len) != MAILDROP_OK || copy(letter, delivery) != MAILDROP_OK) {
		int error = errno;
		delivery_abort(&delivery);
		return give_up(deposit, "cannot write the message", strerror(error));
	}
	if (delivery_commit(&delivery) != MAILDROP_OK)
		return give_up(deposit, "the message is not safe on disk", strerror(errno));
	return true;
}

static void log_stored(const struct deposit *deposit, const struct letter *letter)
{
	char sender[NAME_TEXT_OCTETS], recipient[NAME_TEXT_OCTETS];
	log_info("delivered session=%016" PRIx64 " user=%s recipient=%s sender=<%s> octets=%" PRIu64,
	    deposit->session, deposit->user, log_name(letter->recipient, recipient, sizeof recipient),
	    log_name(letter->sender, sender, sizeof sender), letter->octets);
}

bool deposit_serve(struct deposit *deposit, struct store *store)
{
	static struct letter letter;
	uint8_t room[LIMIT_MSG_FIXED_OCTETS + 2 * LMTP_ADDRESS_OCTETS];
	struct msg msg;
	int got = msg_recv(deposit->fd, MSG_AT_DELIVERER_OPEN, room, sizeof room, &msg);
	if (got == MSG_AGAIN)
		return false;
	if (got == MSG_EOF) /* it only wanted to know */
		return true;
	if (got != MSG_OK || !read_letter(deposit, &msg, &letter)) {
		log_error("session=%016" PRIx64 " user=%s: lmtp handed over what is no message: ended",
		    deposit->session, deposit->user);
		deposit_refuse(deposit, DELIVERY_TEMP);
	} else if (store_letter(deposit, store, &letter)) {
		log_stored(deposit, &letter);
		(void)msg_send(deposit->fd, MSG_DELIVERER_STORED, NULL, 0, -1);
	}
	if (msg.fd >= 0)
		close(msg.fd);
	return true;
}
