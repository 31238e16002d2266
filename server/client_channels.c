/* SPDX-License-Identifier: ISC */
#include "server/client_private.h"

#include <openssl/crypto.h>
#include <unistd.h>

#include "server/child.h"

/* How long to stand before a full door: auth answers thousands of simple questions in this time. */
enum { DOOR_PAUSE_MSECS = 20 };

void client_close_conversation(struct client *client)
{
	client_forget(&client->conversation_event);
	if (client->conversation >= 0)
		close(client->conversation);
	client->conversation = -1;
}

void client_close_maildrop(struct client *client)
{
	client_forget(&client->maildrop_event);
	if (client->maildrop >= 0)
		close(client->maildrop);
	client->maildrop = -1;
}

/* One buffer a process: a message is handled before the next is received. */
static uint8_t msg_room[LIMIT_MSG_OCTETS];

static void on_conversation(evutil_socket_t fd, short what, void *arg);
static void on_maildrop(evutil_socket_t fd, short what, void *arg);

static struct event *watch(struct client *client, int fd, event_callback_fn fn)
{
	struct event *event = event_new(client->front->base, fd, EV_READ | EV_PERSIST, fn, client);
	if (event != NULL && event_add(event, NULL) < 0)
		client_forget(&event);
	return event;
}

/* START goes through a door with the far end of a new socket; whichever auth process is free takes both. */
static int conversation_open(struct client *client, const struct session_request *request)
{
	int pair[2];
	client_close_conversation(client);
	if (msg_pair(pair) < 0)
		return MSG_BAD;
	int door = request->may_block ? client->front->password_door : client->front->token_door;
	int ret = msg_send(door, request->type, request->body, request->len, pair[1]);
	close(pair[1]);
	client->conversation = pair[0];
	if (ret == MSG_OK) {
		client->conversation_event = watch(client, pair[0], on_conversation);
		if (client->conversation_event == NULL)
			ret = MSG_BAD;
	}
	return ret;
}

void client_ask_auth(struct client *client)
{
	const struct session_request *request = session_request(client->session);
	client->sent = true;
	int ret = request->type == MSG_FRONT_START
		      ? conversation_open(client, request)
		      : msg_send(client->conversation, request->type, request->body, request->len, -1);
	client->door_at = 0;
	if (ret == MSG_OK)
		return;
	client_close_conversation(client);
	if (ret == MSG_AGAIN && request->type == MSG_FRONT_START) {
		/* More clients log in at once than fit the queue; the session says how long this one waits.
		 */
		client->sent = false;
		client->door_at = now_msecs() + DOOR_PAUSE_MSECS;
		return;
	}
	struct session_output out = client_output(client);
	client->sent = false;
	client->outcome = session_auth_lost(client->session, &out, now_msecs());
	stream_produced(client->stream, out.used);
}

/* The store's last word may still wait to be read. */
static bool last_word(struct client *client, struct msg *msg_r)
{
	return client->maildrop >= 0 && msg_recv(client->maildrop, session_expects(client->session), msg_room,
					    sizeof msg_room, msg_r) == MSG_OK;
}

static void store_lost(struct client *client)
{
	struct session_output out = client_output(client);
	struct msg msg;
	bool said = last_word(client, &msg);
	client_close_maildrop(client);
	client->sent = false;
	client->outcome = said ? session_store(client->session, &msg, &out, now_msecs())
			       : session_store_lost(client->session, &out, now_msecs());
	stream_produced(client->stream, out.used);
}

void client_ask_store(struct client *client)
{
	const struct session_request *request = session_request(client->session);
	client->sent = true;
	if (request->type == MSG_NONE && client->maildrop >= 0)
		return;
	if (client->maildrop < 0 ||
	    msg_send(client->maildrop, request->type, request->body, request->len, -1) != MSG_OK)
		store_lost(client);
}

static void on_conversation(evutil_socket_t fd, short what, void *arg)
{
	struct client *client = arg;
	struct msg msg;
	(void)what;
	unsigned expected = session_expects(client->session) & MSG_AT_FRONT_AUTH;
	int got = msg_recv(fd, expected, msg_room, sizeof msg_room, &msg);
	if (got == MSG_AGAIN)
		return;
	if (got != MSG_OK && !client->sent) {
		/* Auth is gone between two steps; the next step will find out. */
		client_close_conversation(client);
		return;
	}
	struct session_output out = client_output(client);
	client->sent = false;
	if (got == MSG_OK) {
		if (msg.type == MSG_AUTH_DONE) {
			client_close_maildrop(client);
			client->maildrop = msg.fd;
			client->maildrop_event = watch(client, msg.fd, on_maildrop);
			if (client->maildrop_event == NULL)
				client_close_maildrop(client); /* nobody would hear it: as if it were lost */
		}
		client->outcome = session_auth(client->session, &msg, &out, now_msecs());
		OPENSSL_cleanse(msg_room, msg.len); /* the keys of a layer */
	} else {
		client_close_conversation(client);
		client->outcome = session_auth_lost(client->session, &out, now_msecs());
	}
	stream_produced(client->stream, out.used);
	client_run(client);
}

static void on_maildrop(evutil_socket_t fd, short what, void *arg)
{
	struct client *client = arg;
	struct msg msg;
	(void)what;
	unsigned expected = session_expects(client->session) & ~(unsigned)MSG_AT_FRONT_AUTH;
	int got = msg_recv(fd, expected, msg_room, sizeof msg_room, &msg);
	if (got == MSG_AGAIN)
		return;
	if (got == MSG_OK) {
		struct session_output out = client_output(client);
		client->sent = false;
		client->outcome = session_store(client->session, &msg, &out, now_msecs());
		stream_produced(client->stream, out.used);
	} else if (client->outcome == OUTCOME_STORE) {
		store_lost(client);
	} else {
		/* The store died between two commands: the next one that needs it finds out. */
		client_close_maildrop(client);
		return;
	}
	client_run(client);
}
