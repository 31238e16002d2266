/* SPDX-License-Identifier: ISC */
/*
 * A whole session: octets of the client, answers of auth and store, and time, as the input says.
 *
 * The first octet chooses port and policy. Then steps of an octet each: its low three bits say what
 * happens, the others how much of the input belongs to it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *mechanisms[] = {"GSSAPI", "CRAM-MD5", "PLAIN", NULL};
static char hostname[] = "mail.example.org";

struct run {
	const uint8_t *data;
	size_t left;
	struct session *session;
	enum outcome outcome;
	uint8_t *input; /* what the client sent and nobody took yet */
	size_t input_len;
	uint64_t now;
	bool done, opened; /* auth was sure of somebody; the store opened for him */
};

static void must(bool good)
{
	if (!good)
		abort();
}

static uint8_t next(struct run *r)
{
	if (r->left == 0)
		return 0;
	r->left--;
	return *r->data++;
}

static size_t take(struct run *r, size_t want, const uint8_t **octets_r)
{
	size_t len = want < r->left ? want : r->left;
	*octets_r = r->data;
	r->data += len;
	r->left -= len;
	return len;
}

/* Every call writes into a buffer of its own, exactly as large as it was promised. */
static struct session_output room(size_t size)
{
	struct session_output out = {.buf = malloc(size), .size = size};
	must(out.buf != NULL);
	return out;
}

static void took(struct run *r, struct session_output *out, enum outcome outcome)
{
	must(out->used <= out->size);
	free(out->buf);
	r->outcome = outcome;
	if (outcome == OUTCOME_CLOSE || outcome == OUTCOME_DROP)
		must(!session_conversing(r->session) && !session_maildrop(r->session));
	if (outcome == OUTCOME_LAYER) {
		struct layer *layer = session_take_layer(r->session);
		must(layer != NULL);
		layer_free(&layer);
		r->outcome = OUTCOME_INPUT;
	}
	bool logged_in = strncmp(session_summary(r->session), "login=none", 10) != 0;
	must(!logged_in || (r->done && r->opened));
	(void)session_deadline(r->session);
}

static bool feed(struct run *r, size_t limit)
{
	struct session_output out = room(LIMIT_OUTPUT_ROOM_OCTETS);
	size_t len = r->input_len < limit ? r->input_len : limit, used = 0;
	uint8_t *view = malloc(len + (len == 0));
	must(view != NULL);
	memcpy(view, r->input, len);
	took(r, &out, session_input(r->session, view, len, &used, &out, r->now));
	free(view);
	must(used <= len);
	/* A session that can buffer no more must have taken something, or be about something else. */
	must(used > 0 || r->outcome != OUTCOME_MORE_INPUT || len < session_input_limit(r->session));
	memmove(r->input, r->input + used, r->input_len - used);
	r->input_len -= used;
	return used > 0;
}

static void drain(struct run *r, uint8_t how)
{
	size_t limit = session_input_limit(r->session);
	for (int i = 0; i < 200; i++) {
		if (r->outcome == OUTCOME_STREAM) {
			struct session_output out = room((size_t)how * 8 + 5);
			took(r, &out, session_fill(r->session, &out, r->now));
		} else if (r->outcome == OUTCOME_INPUT || r->outcome == OUTCOME_MORE_INPUT) {
			if (r->input_len == 0 || !feed(r, limit))
				return;
		} else {
			return;
		}
	}
}

static void client(struct run *r, size_t len)
{
	const uint8_t *octets;
	len = take(r, len, &octets);
	memcpy(r->input + r->input_len, octets, len);
	r->input_len += len;
	drain(r, 31);
}

enum { MESSAGE_OCTETS = 28 };

/* Types that the table lets through on either channel, with any body. */
static void answer(struct run *r, bool auth, size_t len)
{
	static const enum msg_type of_auth[] = {MSG_AUTH_MORE, MSG_AUTH_DONE, MSG_AUTH_FAIL};
	static const enum msg_type of_store[] = {
	    MSG_STORE_OPENED, MSG_STORE_REFUSED, MSG_STORE_LISTED, MSG_STORE_MESSAGE, MSG_STORE_COMMITTED};
	const uint8_t *octets;
	uint8_t which = next(r);
	struct msg msg = {.type = auth ? of_auth[which % 3] : of_store[which % 5], .fd = -1};
	size_t least =
	    msg.type == MSG_AUTH_DONE || msg.type == MSG_AUTH_FAIL || msg.type == MSG_STORE_REFUSED ? 1 : 0;
	/* The store may refuse unasked. */
	if (r->outcome != (auth ? OUTCOME_AUTH : OUTCOME_STORE) && msg.type != MSG_STORE_REFUSED)
		return;
	msg.len = take(r, len, &octets);
	msg.body = octets;
	if (msg.len < least)
		return;
	uint8_t message[MESSAGE_OCTETS + 8] = {0};
	if (msg.type == MSG_STORE_MESSAGE) {
		/* The input says all but the file's time: 0, it may change. */
		memcpy(message, octets, msg.len < MESSAGE_OCTETS ? msg.len : MESSAGE_OCTETS);
		msg.body = message;
		msg.len = msg.len < MESSAGE_OCTETS ? msg.len : sizeof message;
		static const char text[] = "Subject: x\n\n.one\r\ntwo";
		msg.fd = memfd_create("message", MFD_CLOEXEC);
		must(msg.fd >= 0 && write(msg.fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1);
	}
	r->done = r->done || msg.type == MSG_AUTH_DONE;
	r->opened = r->opened || msg.type == MSG_STORE_OPENED;
	struct session_output out = room(LIMIT_OUTPUT_ROOM_OCTETS);
	took(r, &out,
	    auth ? session_auth(r->session, &msg, &out, r->now)
		 : session_store(r->session, &msg, &out, r->now));
	drain(r, which);
}

static void trouble(struct run *r, size_t which)
{
	struct session_output out = room(LIMIT_OUTPUT_ROOM_OCTETS);
	if (which % 4 == 0)
		took(r, &out, session_auth_lost(r->session, &out, r->now));
	else if (which % 4 == 1)
		took(r, &out, session_store_lost(r->session, &out, r->now));
	else if (which % 4 == 2 && r->outcome == OUTCOME_STARTTLS)
		took(r, &out, session_tls_started(r->session, "TLSv1.3 X", &out, r->now));
	else if (r->outcome == OUTCOME_STARTTLS)
		took(r, &out, session_injected(r->session));
	else
		free(out.buf);
	drain(r, 7);
}

static void time_passes(struct run *r, size_t how)
{
	struct session_output out = room(LIMIT_OUTPUT_ROOM_OCTETS);
	r->now += how * how * 1000;
	took(r, &out, session_expired(r->session, &out, r->now));
	drain(r, 3);
}

static void step(struct run *r)
{
	uint8_t op = next(r);
	size_t much = op >> 3;
	switch (op & 7) {
	case 0:
	case 1:
		client(r, much + 1);
		break;
	case 2:
		client(r, (much + 1) * 32);
		break;
	case 3:
	case 4:
		answer(r, true, (op & 7) == 3 ? much : much * 3); /* a layer is longer */
		break;
	case 5:
		answer(r, false, much);
		break;
	case 6:
		trouble(r, much);
		break;
	default:
		time_passes(r, much);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int lowest = -1;
	if (size < 1 || size > 16384)
		return 0;
	struct run r = {.data = data, .left = size};
	uint8_t how = next(&r);
	struct config config = {.hostname = hostname,
	    .mechanisms = mechanisms,
	    .mechanism_count = 3,
	    .user_pass = (how & 4) == 0,
	    .apop = (how & 8) != 0,
	    .plaintext = (enum plaintext)(how >> 4 & 1) * 2,
	    .authorization_secs = 180,
	    .expire_days = (how & 8) != 0 ? 0 : CONFIG_NEVER,
	    .idle_secs = 600,
	    .kpop_handshake_secs = 30};
	const struct offers offers = {UINT32_MAX, (how & 32) == 0, (how & 64) == 0, (how & 128) == 0};
	struct session_params params = {
	    .config = &config, .offers = &offers, .protocol = (enum protocol)(how % 3)};
	struct session_output out = room(LIMIT_OUTPUT_ROOM_OCTETS);
	params.tls = params.protocol == PROTOCOL_POP3S;
	r.session = session_new(&params, 0);
	r.input = malloc(size);
	must(r.session != NULL && r.input != NULL);
	took(&r, &out, session_begin(r.session, &out));
	while (r.left > 0 && r.outcome != OUTCOME_CLOSE && r.outcome != OUTCOME_DROP)
		step(&r);
	session_free(&r.session);
	free(r.input);
	/* Whatever descriptors came are closed: the lowest free one is what it was. */
	int fd = dup(STDERR_FILENO);
	if (lowest < 0)
		lowest = fd;
	must(fd == lowest);
	close(fd);
	return 0;
}
