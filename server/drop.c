/* SPDX-License-Identifier: ISC */
#include "server/drop.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/child.h"
#include "server/identity.h"
#include "server/log.h"
#include "server/policy.h"

struct drop {
	struct maildrop *maildrop;
	struct maildrop_wish *wish; /* lock = takeover: while we wait for another session to end */
	enum maildrop_lock lock;
	int fd;
	unsigned tries;
	bool delayed;       /* the user has a login delay */
	uint32_t wait_secs; /* of MAILDROP_EARLY */
	uint64_t look_at;   /* when to look whether another wants it */
	uint64_t session;
	char user[LIMIT_USER_OCTETS + 1];
};

static enum refusal refusal_of(int err)
{
	switch (err) {
	case MAILDROP_IN_USE:
		return REFUSAL_IN_USE;
	case MAILDROP_PERM:
		return REFUSAL_PERM;
	case MAILDROP_GONE:
		return REFUSAL_GONE;
	case MAILDROP_EARLY:
		return REFUSAL_EARLY;
	default:
		return REFUSAL_TEMP;
	}
}

static bool refuse_for(int fd, enum refusal why)
{
	uint8_t code = (uint8_t)why;
	return msg_send(fd, MSG_STORE_REFUSED, &code, 1, -1) == MSG_OK;
}

static bool refuse(int fd, int err)
{
	return refuse_for(fd, refusal_of(err));
}

/* No name where there is no sound one. */
static void read_open(struct drop *drop, const struct msg *open)
{
	struct msg_reader r = {open->body, open->len, false};
	size_t len;
	drop->session = msg_get_u64(&r);
	bool sound = msg_get_u8(&r) == 0;
	const uint8_t *user = msg_get_rest(&r, &len);
	/* Auth has checked the name; it is checked again where it becomes a path. */
	if (!sound || !msg_end(&r) || !identity_user_valid((const char *)user, len))
		return;
	memcpy(drop->user, user, len);
	drop->user[len] = '\0';
}

struct drop *drop_new(const struct msg *open)
{
	struct drop *drop = calloc(1, sizeof *drop);
	if (drop == NULL) {
		close(open->fd);
		return NULL;
	}
	drop->fd = open->fd;
	read_open(drop, open);
	return drop;
}

static void log_refusal(const struct drop *drop, int err)
{
	static const char needs[] =
	    "cannot be opened: a folder or file on the way to the mail has the wrong type or owner, or "
	    "no permission for us";
	int error = errno;
	if (err == MAILDROP_IN_USE)
		log_info(
		    "refused session=%016" PRIx64 " user=%s: maildrop in use", drop->session, drop->user);
	else if (err == MAILDROP_EARLY)
		log_info("refused session=%016" PRIx64 " user=%s: the last login was too recent, "
			 "login_delay_secs has %u seconds to go",
		    drop->session, drop->user, drop->wait_secs);
	else
		log_warning("refused session=%016" PRIx64 " user=%s: maildrop %s (%s)", drop->session,
		    drop->user, err == MAILDROP_PERM ? needs : "cannot be opened just now", strerror(error));
}

/* The answer to AUTH_OPEN: how long to wait is of use to a client. */
static void refuse_open(const struct drop *drop, int err)
{
	uint8_t buf[5];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	msg_put_u8(&w, (uint8_t)refusal_of(err));
	if (err == MAILDROP_EARLY)
		msg_put_u32(&w, drop->wait_secs);
	msg_send(drop->fd, MSG_STORE_REFUSED, buf, w.len, -1);
}

/*
 * lock = takeover: every login waits in the row of wishes before it takes the lock, or one that came later
 * would pass by who waits. Where nobody can wish, the lock alone decides.
 */
static int open_in_turn(struct drop *drop, struct store *store, const struct maildrop_place *place)
{
	int err = MAILDROP_OK;
	if (place->lock == MAILDROP_TAKEOVER && drop->wish == NULL)
		err = maildrop_wish(store, place, &drop->wish);
	if (err == MAILDROP_IN_USE || err == MAILDROP_EARLY)
		return err;
	err = maildrop_open(store, place, &drop->maildrop);
	if (err != MAILDROP_IN_USE)
		maildrop_wish_end(&drop->wish);
	return err;
}

static bool patient(struct drop *drop)
{
	unsigned most = drop->lock == MAILDROP_EXCLUSIVE ? DROP_TRIES_COUNT : DROP_PATIENT_TRIES_COUNT;
	return drop->tries++ < most;
}

static void log_opened(const struct drop *drop)
{
	if (drop->lock == MAILDROP_TAKEOVER && drop->tries > 0)
		log_info("taken session=%016" PRIx64 " user=%s: the maildrop was another session's",
		    drop->session, drop->user);
}

static int open_maildrop(struct drop *drop, struct store *store, const struct config *config)
{
	char path[PATH_MAX];
	struct maildrop_place place;
	struct policy policy;
	if (drop->user[0] == '\0') {
		log_error("auth asked for a maildrop of no sound name: refused");
		return MAILDROP_PERM;
	}
	if (identity_place(config, drop->user, path, &place) < 0) {
		log_error("user=%s has no sound path by the template of kpopd.conf", drop->user);
		return MAILDROP_PERM;
	}
	policy_of(config, drop->user, &policy);
	drop->delayed = policy.login_delay_secs > 0;
	place.login_delay_secs = policy.login_delay_secs;
	place.wait_secs_r = &drop->wait_secs;
	place.lock = drop->lock = config->lock;
	return open_in_turn(drop, store, &place);
}

enum drop_state drop_open(struct drop *drop, struct store *store, const struct config *config)
{
	int err = open_maildrop(drop, store, config);
	if (err == MAILDROP_IN_USE && patient(drop))
		return DROP_IN_USE;
	maildrop_wish_end(&drop->wish);
	if (err != MAILDROP_OK) {
		log_refusal(drop, err);
		refuse_open(drop, err);
		return DROP_OVER;
	}
	log_opened(drop);
	drop->look_at = now_msecs() + LIMIT_TAKEOVER_LOOK_MSECS;
	uint8_t buf[12];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	msg_put_u32(&w, maildrop_count(drop->maildrop));
	msg_put_u64(&w, maildrop_octets(drop->maildrop));
	if (msg_send(drop->fd, MSG_STORE_OPENED, buf, w.len, -1) != MSG_OK)
		return DROP_OVER;
	if (drop->delayed)
		maildrop_logged_in(drop->maildrop);
	return DROP_OPEN;
}

void drop_refuse(struct drop *drop, enum refusal refusal, const char *why)
{
	uint8_t code = (uint8_t)refusal;
	log_warning("refused session=%016" PRIx64 " user=%s: %s", drop->session, drop->user, why);
	(void)msg_send(drop->fd, MSG_STORE_REFUSED, &code, 1, -1);
}

const char *drop_user(const struct drop *drop)
{
	return drop->user;
}

int drop_fd(const struct drop *drop)
{
	return drop->fd;
}

void drop_free(struct drop **drop)
{
	if (*drop == NULL)
		return;
	maildrop_close(&(*drop)->maildrop);
	maildrop_wish_end(&(*drop)->wish);
	close((*drop)->fd);
	free(*drop);
	*drop = NULL;
}

/* ---- one message each ---- */

struct listing {
	struct msg_writer w;
	enum list_kind kind;
	uint32_t count;
};

static int list_entry(void *arg, uint32_t idx, const struct maildrop_entry *entry)
{
	struct listing *listing = arg;
	(void)idx;
	size_t before = listing->w.len;
	if (listing->kind == LIST_OCTETS) {
		msg_put_u64(&listing->w, entry->octets);
	} else {
		size_t len = strlen(entry->uidl);
		msg_put_u8(&listing->w, (uint8_t)len);
		msg_put_bytes(&listing->w, entry->uidl, len);
	}
	if (listing->w.bad) {
		listing->w.len = before; /* full: the front asks again from here */
		return 1;
	}
	listing->count++;
	return 0;
}

static bool serve_list(struct drop *drop, const struct msg *msg, uint8_t *room)
{
	struct msg_reader r = {msg->body, msg->len, false};
	uint8_t kind = msg_get_u8(&r);
	uint32_t idx = msg_get_u32(&r), count = msg_get_u32(&r);
	if (!msg_end(&r) || kind >= LIST_KIND_COUNT || count == 0)
		return false;
	struct listing listing = {
	    .w = {room, LIMIT_MSG_LISTED_OCTETS, 0, false}, .kind = (enum list_kind)kind};
	msg_put_u8(&listing.w, kind);
	msg_put_u32(&listing.w, idx);
	msg_put_u32(&listing.w, 0);
	int err = maildrop_list(drop->maildrop, idx, count, list_entry, &listing);
	if (err != MAILDROP_OK)
		return refuse(drop->fd, err);
	memcpy(room + 5, &listing.count, sizeof listing.count);
	return msg_send(drop->fd, MSG_STORE_LISTED, room, listing.w.len, -1) == MSG_OK;
}

static bool serve_fetch(struct drop *drop, const struct msg *msg)
{
	struct msg_reader r = {msg->body, msg->len, false};
	uint32_t idx = msg_get_u32(&r);
	struct maildrop_message message;
	int err = maildrop_fetch(drop->maildrop, idx, &message);
	if (err != MAILDROP_OK)
		return refuse(drop->fd, err);
	uint8_t buf[36];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	msg_put_u64(&w, message.offset);
	msg_put_u64(&w, message.length);
	msg_put_u64(&w, message.octets);
	msg_put_u32(&w, message.flags);
	msg_put_u64(&w, (uint64_t)message.mtime_nsecs);
	bool sent = msg_send(drop->fd, MSG_STORE_MESSAGE, buf, w.len, message.fd) == MSG_OK;
	close(message.fd);
	return sent;
}

/* The lock is given back before the answer, so that a client that logs in again at once finds it free. */
static bool serve_commit(struct drop *drop, const struct msg *msg)
{
	uint32_t left = 0;
	int err = msg->len == 0 ? MAILDROP_OK : maildrop_expunge(drop->maildrop, msg->body, msg->len, &left);
	maildrop_close(&drop->maildrop);
	if (err != MAILDROP_OK)
		log_warning("session=%016" PRIx64 " user=%s: %" PRIu32
			    " deleted messages could not be removed",
		    drop->session, drop->user, left);
	if (err != MAILDROP_OK && left == 0)
		refuse(drop->fd, err); /* marks that stand for nothing */
	else
		msg_send(drop->fd, MSG_STORE_COMMITTED, &left, sizeof left, -1);
	return false;
}

static bool serve(struct drop *drop, uint8_t *room)
{
	struct msg msg;
	int got = msg_recv(drop->fd, MSG_AT_STORE_OPEN, room, LIMIT_MSG_OCTETS, &msg);
	if (got == MSG_AGAIN)
		return true;
	if (got == MSG_BAD)
		log_error("session=%016" PRIx64 " user=%s: the front broke the message table: ended",
		    drop->session, drop->user);
	if (got != MSG_OK)
		return false;
	switch (msg.type) {
	case MSG_FRONT_LIST:
		return serve_list(drop, &msg, room);
	case MSG_FRONT_FETCH:
		return serve_fetch(drop, &msg);
	case MSG_FRONT_COMMIT:
		return serve_commit(drop, &msg);
	default:
		return false; /* the table allows no other */
	}
}

/* The front of a client that never pauses must be looked for, too. */
bool drop_serve(struct drop *drop, uint8_t *room)
{
	return serve(drop, room) && (drop_wait_msecs(drop) != 0 || drop_look(drop));
}

int drop_wait_msecs(const struct drop *drop)
{
	uint64_t now = now_msecs();
	if (drop->lock != MAILDROP_TAKEOVER)
		return -1;
	return now < drop->look_at ? (int)(drop->look_at - now) : 0;
}

bool drop_look(struct drop *drop)
{
	drop->look_at = now_msecs() + LIMIT_TAKEOVER_LOOK_MSECS;
	if (drop->maildrop == NULL || !maildrop_wanted(drop->maildrop))
		return true;
	log_info("ended session=%016" PRIx64 " user=%s: another login takes the maildrop over", drop->session,
	    drop->user);
	maildrop_close(&drop->maildrop);
	refuse_for(drop->fd, REFUSAL_TAKEN);
	return false;
}
