/* SPDX-License-Identifier: ISC */
#include "server/client_private.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/child.h"
#include "server/log.h"

/* A session answers one command into this much; a long answer goes on in pieces. */
#define ANSWER_ROOM_OCTETS LIMIT_OUTPUT_ROOM_OCTETS
/* Pieces of a long answer are not worth a turn below this. */
#define FILL_ROOM_OCTETS 4096u

/* A client that takes all we send as fast as we send it leaves the others a turn after so many pieces. */
enum { TURNS_COUNT = 16 };

struct session_output client_output(struct client *client)
{
	struct session_output out = {0};
	out.buf = stream_output(client->stream, &out.size);
	return out;
}

/* ---- the end ---- */

void client_forget(struct event **event)
{
	if (*event != NULL)
		event_free(*event);
	*event = NULL;
}

static void client_free(struct client *client)
{
	char origin[ORIGIN_TEXT_OCTETS];
	struct front *front = client->front;
	if (client->session != NULL) {
		const char *why = stream_mute(client->stream) ? stream_why(client->stream) : "";
		log_info("closed session=%016" PRIx64 " %s tls=\"%s\" %s%s%s%s", client->id,
		    origin_text(&client->origin, origin), stream_description(client->stream),
		    session_summary(client->session), why[0] != '\0' ? " why=\"" : "", why,
		    why[0] != '\0' ? "\"" : "");
	}
	client_close_conversation(client);
	client_close_maildrop(client);
	session_free(&client->session);
	client_forget(&client->socket_event);
	client_forget(&client->timer);
	stream_free(&client->stream);
	free(client);
	front->ended(front);
}

/* ---- the session's outcomes ---- */

/* Each step returns true when another may follow at once, false when something has to happen first. */

/* No room to answer yet: it comes as the client reads. When there is nothing to read it never comes. */
static bool wait_for_room(struct client *client)
{
	if (stream_output_pending(client->stream) == 0)
		client->outcome = OUTCOME_DROP; /* no memory for a buffer */
	return false;
}

static bool step_input(struct client *client)
{
	size_t len, used = 0;
	if (stream_input_limit(client->stream, session_input_limit(client->session)) < 0) {
		client->outcome = OUTCOME_DROP;
		return true;
	}
	const uint8_t *input = stream_input(client->stream, &len);
	if (len == 0) {
		client->outcome = OUTCOME_MORE_INPUT;
		return true;
	}
	/* A QUIT must not remove what its client may never get. */
	if (session_fetch_removes(client->session)) {
		if (stream_mute(client->stream)) {
			client->outcome = OUTCOME_DROP;
			return true;
		}
		if (stream_output_pending(client->stream) != 0)
			return false;
	}
	struct session_output out = client_output(client);
	if (out.size < ANSWER_ROOM_OCTETS)
		return wait_for_room(client);
	client->outcome = session_input(client->session, input, len, &used, &out, now_msecs());
	stream_produced(client->stream, out.used);
	stream_consume(client->stream, used);
	/* What TLS had decrypted already came in as room was made: no socket will tell of it. */
	size_t left = len - used;
	stream_input(client->stream, &len);
	if (client->outcome == OUTCOME_MORE_INPUT && len > left)
		client->outcome = OUTCOME_INPUT;
	return true;
}

static bool step_more_input(struct client *client)
{
	/* Half a line is no command; what was answered still goes out. */
	if (client->eof)
		client->outcome = OUTCOME_CLOSE;
	return client->eof;
}

static bool step_stream(struct client *client)
{
	if (stream_mute(client->stream)) {
		/* A command behind it may delete what nobody got. */
		client->outcome = OUTCOME_DROP;
		return true;
	}
	struct session_output out = client_output(client);
	if (out.size < FILL_ROOM_OCTETS)
		return wait_for_room(client);
	client->outcome = session_fill(client->session, &out, now_msecs());
	stream_produced(client->stream, out.used);
	client->mail_waits = true;
	return true;
}

static void handshake_begin(struct client *client)
{
	if (client->front->tls == NULL || stream_start_tls(client->stream, client->front->tls) < 0) {
		client->outcome = OUTCOME_DROP;
		return;
	}
	client->phase = PHASE_HANDSHAKE;
	client->phase_deadline = now_msecs() + client->front->config->tls_handshake_secs * 1000ull;
}

/* Octets that came before our answer to STLS were not protected by it: whoever sent them, we are done. */
static bool step_starttls(struct client *client)
{
	if (stream_input_pending(client->stream)) {
		client->outcome = session_injected(client->session);
		return true;
	}
	if (stream_output_pending(client->stream) != 0) {
		stream_pump(client->stream, false, true);
		if (stream_output_pending(client->stream) != 0)
			return false;
	}
	handshake_begin(client);
	return false;
}

/* What the client sent behind its last response waits in the stream, and is of the layer. */
static bool step_layer(struct client *client)
{
	bool begun = stream_start_layer(client->stream, session_take_layer(client->session)) == 0;
	client->outcome = begun ? OUTCOME_INPUT : OUTCOME_DROP;
	return true;
}

static bool step(struct client *client)
{
	switch (client->outcome) {
	case OUTCOME_INPUT:
		return step_input(client);
	case OUTCOME_MORE_INPUT:
		return step_more_input(client);
	case OUTCOME_AUTH:
		if (!client->sent)
			client_ask_auth(client);
		return client->outcome != OUTCOME_AUTH;
	case OUTCOME_STORE:
		if (!client->sent)
			client_ask_store(client);
		return client->outcome != OUTCOME_STORE;
	case OUTCOME_STREAM:
		return step_stream(client);
	case OUTCOME_STARTTLS:
		return step_starttls(client);
	case OUTCOME_LAYER:
		return step_layer(client);
	case OUTCOME_CLOSE:
		client->phase = PHASE_CLOSING;
		return false;
	case OUTCOME_DROP:
		return false;
	}
	return false;
}

/* ---- the socket ---- */

static void bind_session(struct client *client)
{
	struct saslx_binding bindings[SASLX_BINDINGS_COUNT];
	size_t count = 0;
	for (int type = 0; type < SASLX_BINDINGS_COUNT; type++) {
		struct saslx_binding *binding = &bindings[count];
		binding->type = (enum saslx_binding_type)type;
		binding->len = stream_binding(client->stream, binding->type, binding->octets);
		count += binding->len > 0;
	}
	session_bind(client->session, bindings, count);
}

static void handshake_done(struct client *client)
{
	struct session_output out = client_output(client);
	client->phase = PHASE_SESSION;
	bind_session(client);
	if (client->protocol == PROTOCOL_POP3S)
		client->outcome = session_begin(client->session, &out);
	else
		client->outcome = session_tls_started(
		    client->session, stream_description(client->stream), &out, now_msecs());
	stream_produced(client->stream, out.used);
}

/* Whether the client is done with; false also when it still has octets to take. */
static bool closing_done(struct client *client)
{
	if (stream_mute(client->stream))
		return true;
	if (client->phase == PHASE_CLOSING) {
		if (stream_output_pending(client->stream) != 0)
			return false;
		if (!session_lingers(client->session))
			return true;
		client->phase = PHASE_LINGERING;
		client->phase_deadline = now_msecs() + LIMIT_LINGER_MSECS;
	}
	size_t len;
	stream_input(client->stream, &len);
	stream_consume(client->stream, len);
	return client->eof;
}

/*
 * Octets of ours went out again and again, or we asked for room more than a look ago, and nothing has come
 * back. A client that is there and reads nothing answers that; one that had nothing to say for long has
 * answered the kernel.
 */
static bool vanished(struct client *client, const struct tcp_info *info)
{
	bool asked = info->tcpi_probes > 0, asked_before = client->asked_for_room;
	client->asked_for_room = asked;
	bool resent = info->tcpi_unacked > 0 && info->tcpi_retransmits >= LIMIT_SILENCE_RETRANSMITS;
	if (info->tcpi_last_ack_recv < LIMIT_SILENCE_MSECS || (!resent && !(asked && asked_before)))
		return false;
	log_info("vanished session=%016" PRIx64 ": nothing came back for %u seconds", client->id,
	    info->tcpi_last_ack_recv / 1000u);
	return true;
}

/* Some time after octets went out. false: the client is gone. */
static bool still_there(struct client *client, uint64_t now)
{
	struct tcp_info info;
	socklen_t len = sizeof info;
	client->watch_at = 0;
	memset(&info, 0, sizeof info);
	if (getsockopt(stream_fd(client->stream), IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return true; /* no TCP */
	if (vanished(client, &info))
		return false;
	if (info.tcpi_unacked != 0 || stream_output_pending(client->stream) != 0)
		client->watch_at = now + LIMIT_SILENCE_LOOK_MSECS;
	return true;
}

static uint64_t deadline_of(const struct client *client)
{
	uint64_t at = UINT64_MAX;
	if (client->phase == PHASE_SESSION)
		at = session_deadline(client->session);
	else if (client->phase != PHASE_CLOSING)
		at = client->phase_deadline;
	if (stream_output_pending(client->stream) != 0 && client->stall_deadline < at)
		at = client->stall_deadline;
	if (client->watch_at != 0 && client->watch_at < at)
		at = client->watch_at;
	if (client->outcome == OUTCOME_AUTH && client->door_at != 0 && client->door_at < at)
		at = client->door_at;
	return at;
}

static bool timer_set(struct client *client, uint64_t at)
{
	uint64_t now = now_msecs();
	uint64_t wait = at > now ? at - now : 0;
	struct timeval tv = {.tv_sec = (time_t)(wait / 1000), .tv_usec = (suseconds_t)(wait % 1000) * 1000};
	client->timer_at = at;
	return event_add(client->timer, &tv) == 0;
}

/*
 * A timer that is early is cheap and one that is late is not: only an earlier deadline moves it. false: no
 * memory for that, so nothing would ever wake this client.
 */
static bool arm(struct client *client)
{
	short wanted = 0;
	uint64_t at = deadline_of(client);
	/* What comes early waits in the stream's small buffer: that is cheaper than to look away and back. */
	if (!client->eof && stream_wants_read(client->stream))
		wanted |= EV_READ;
	if (stream_wants_write(client->stream))
		wanted |= EV_WRITE;
	if (wanted != client->socket_events) {
		event_del(client->socket_event);
		event_assign(client->socket_event, client->front->base, stream_fd(client->stream),
		    (short)(wanted | EV_PERSIST), event_get_callback(client->socket_event), client);
		client->socket_events = wanted;
		if (wanted != 0 && event_add(client->socket_event, NULL) < 0)
			return false;
	}
	return at >= client->timer_at || timer_set(client, at);
}

/* Also after each step: octets that were here already may turn out to be unsound as they are taken. */
static void note_end(struct client *client)
{
	client->eof = stream_state(client->stream) != STREAM_OK;
	if (stream_mute(client->stream) && client->mail_waits && client->phase == PHASE_SESSION)
		client->outcome = OUTCOME_DROP;
}

static void pump(struct client *client, bool readable, bool writable)
{
	size_t before = stream_output_pending(client->stream);
	bool handshaking = stream_handshaking(client->stream);
	stream_pump(client->stream, readable, writable);
	note_end(client);
	if (stream_output_pending(client->stream) == 0)
		client->mail_waits = false;
	if (before == 0 || stream_output_pending(client->stream) < before)
		client->stall_deadline = now_msecs() + LIMIT_WRITE_STALL_MSECS;
	if (before != 0 && client->watch_at == 0)
		client->watch_at = now_msecs() + LIMIT_SILENCE_LOOK_MSECS;
	if (handshaking && stream_tls(client->stream))
		handshake_done(client);
}

/* Runs the session as far as it goes, sends what it wrote, and waits for what is next. */
void client_run(struct client *client)
{
	for (unsigned turn = 0;; turn++) {
		size_t before;
		while (client->phase == PHASE_SESSION && step(client))
			note_end(client);
		if (!session_conversing(client->session))
			client_close_conversation(client);
		if (!session_maildrop(client->session))
			client_close_maildrop(client);
		if (client->outcome == OUTCOME_DROP)
			break;
		before = stream_output_pending(client->stream);
		if (before != 0)
			pump(client, false, true);
		if (client->phase >= PHASE_CLOSING) {
			if (closing_done(client) || !arm(client))
				break;
			return;
		}
		if (client->outcome == OUTCOME_DROP || (client->eof && client->phase == PHASE_HANDSHAKE))
			break;
		bool moved = stream_output_pending(client->stream) < before;
		bool wants_room = client->outcome == OUTCOME_INPUT || client->outcome == OUTCOME_STREAM ||
				  client->outcome == OUTCOME_STARTTLS;
		bool more = client->phase == PHASE_SESSION && wants_room && moved;
		if (more && turn < TURNS_COUNT)
			continue;
		if (!arm(client))
			break;
		if (more)
			event_active(
			    client->socket_event, 0, 0); /* after the others; last, or arm takes it back */
		return;
	}
	client_free(client);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct client *client = arg;
	(void)fd;
	pump(client, (what & EV_READ) != 0, (what & EV_WRITE) != 0);
	if (client->phase == PHASE_SESSION && client->outcome == OUTCOME_MORE_INPUT)
		client->outcome = OUTCOME_INPUT;
	if (client->phase == PHASE_HANDSHAKE && client->eof)
		client->outcome = OUTCOME_DROP;
	client_run(client);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct client *client = arg;
	uint64_t now = now_msecs();
	(void)fd, (void)what;
	client->timer_at = UINT64_MAX;
	bool gone = client->watch_at != 0 && client->watch_at <= now && !still_there(client, now);
	uint64_t at = gone ? now : deadline_of(client);
	if (at > now) {
		if (at != UINT64_MAX && !timer_set(client, at))
			client_free(client);
		return;
	}
	bool stalled = stream_output_pending(client->stream) != 0 && client->stall_deadline <= now;
	if (client->phase != PHASE_SESSION || stalled || gone) {
		client->outcome = OUTCOME_DROP;
		client->phase = PHASE_SESSION;
	} else if (session_deadline(client->session) <= now) {
		struct session_output out = client_output(client);
		client->sent = false;
		client->outcome = session_expired(client->session, &out, now);
		stream_produced(client->stream, out.used);
	}
	client_run(client);
}

/* ---- the beginning ---- */

static struct client *client_new(
    struct front *front, int fd, enum protocol protocol, const struct origin *origin)
{
	struct client *client = calloc(1, sizeof *client);
	if (client == NULL)
		return NULL;
	*client = (struct client){.front = front,
	    .protocol = protocol,
	    .origin = *origin,
	    .conversation = -1,
	    .maildrop = -1,
	    .timer_at = UINT64_MAX,
	    .id = front->next_id++};
	struct session_params params = {.config = front->config,
	    .offers = &front->offers,
	    .protocol = protocol,
	    .tls = protocol == PROTOCOL_POP3S,
	    .id = client->id};
	params.peer = origin->peer;
	params.loopback = origin_is_loopback(origin);
	client->session = session_new(&params, now_msecs());
	client->stream = client->session != NULL ? stream_new(fd) : NULL;
	if (client->stream == NULL) {
		session_free(&client->session);
		free(client);
		return NULL;
	}
	return client;
}

int client_start(struct front *front, int fd, enum protocol protocol, const struct origin *origin)
{
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	struct client *client = client_new(front, fd, protocol, origin);
	if (client == NULL) {
		close(fd);
		return -1;
	}
	client->socket_event = event_new(front->base, fd, EV_READ | EV_PERSIST, on_socket, client);
	client->timer = evtimer_new(front->base, on_timer, client);
	if (client->socket_event == NULL || client->timer == NULL) {
		client_free(client);
		return 0;
	}
	if (protocol == PROTOCOL_POP3S) {
		handshake_begin(client); /* without a word before it */
	} else {
		struct session_output out = client_output(client);
		client->outcome = session_begin(client->session, &out);
		stream_produced(client->stream, out.used);
	}
	client_run(client);
	return 0;
}
