/* SPDX-License-Identifier: ISC */
/*
 * auth: the role that knows keys and secrets. It takes conversations from a door; when it is sure of a
 * user, it makes the socket pair that is the maildrop and gives one end to the store, the other to the
 * front that asked.
 */
#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kpop/replay.h"
#include "sasl/exchange.h"
#include "server/child.h"
#include "server/conversation.h"
#include "server/inquiry.h"
#include "server/log.h"
#include "server/mechanism.h"
#include "server/msg.h"
#include "server/names.h"
#include "server/role.h"
#include "server/sandbox.h"

enum { WHY_OCTETS = 512 };

/* Fronts are told apart by what their process number leaves over this: a bound, not an identity. */
enum { CALLERS_COUNT = 1 << 16 };
/* How long to stand before a store's door that is full. */
enum { DOOR_PAUSE_MSECS = 20 };
/* A front may begin again before we have seen how its last conversation ended. */
enum { CALLER_SPARE_COUNT = 16 };

struct server {
	struct auth auth;
	struct event_base *base;
	struct event *door_event;
	int door, store_door;
	struct inquirer inquirer;
	size_t count;                 /* conversations */
	uint16_t held[CALLERS_COUNT]; /* of them, by caller */
	unsigned caller_room;         /* most that one front may hold */
	int enctypes[CONFIG_ENCTYPES_COUNT + 1];
	bool retiring;
	uint8_t room[LIMIT_MSG_OCTETS];
};

/* A conversation and the socket it is held on. */
struct talk {
	struct server *server;
	struct conversation *conversation;
	int fd;
	size_t caller;
	struct event *event, *timer; /* timer: the end of it, or the time of the next thing to do */
	struct inquiry *inquiry;     /* somebody else has the word */
	bool known;                  /* who the user is; his answer, or the store's door, has to wait */
	bool waits;                  /* for its turn to be checked */
	uint64_t started_msecs;
	uint8_t *refusal; /* waits for its time */
	size_t refusal_len;
};

static void talk_free(struct talk *talk)
{
	struct server *server = talk->server;
	if (talk->event != NULL)
		event_free(talk->event);
	if (talk->timer != NULL)
		event_free(talk->timer);
	inquiry_free(&talk->inquiry);
	conversation_free(&talk->conversation);
	close(talk->fd);
	free(talk->refusal);
	server->held[talk->caller]--;
	free(talk);
	if (server->count-- == LIMIT_CONVERSATIONS_COUNT && !server->retiring &&
	    event_add(server->door_event, NULL) < 0)
		role_fail("no memory"); /* nobody would be let in any more */
	if (server->count == 0 && server->retiring)
		_exit(0);
}

/* ---- answers ---- */

/* The last moment at which an honest front may still have something to say. */
static struct timeval longest(const struct config *config)
{
	return (struct timeval){.tv_sec = (time_t)config->authorization_secs + LIMIT_AUTH_WAIT_MSECS / 1000};
}

static void done(struct talk *talk);
static void answer(struct talk *talk, const struct reply *reply);

static void try_again(struct talk *talk)
{
	const struct timeval end = longest(talk->server->auth.config);
	struct reply reply;
	talk->waits = false;
	event_add(talk->timer, &end);
	conversation_again(talk->conversation, &reply);
	answer(talk, &reply);
}

/* A refusal's time has come, or the store's door may have room; or the front does not know when to give up.
 */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct talk *talk = arg;
	(void)fd, (void)what;
	if (talk->known) {
		done(talk);
		return;
	}
	if (talk->waits) {
		try_again(talk);
		return;
	}
	if (talk->refusal == NULL)
		log_warning("given up, no word from the front: %s", conversation_text(talk->conversation));
	else
		msg_send(talk->fd, MSG_AUTH_FAIL, talk->refusal, talk->refusal_len, -1);
	talk_free(talk);
}

/* Who is guessed at is answered later and later, whatever the answer. */
static uint64_t delay_left(const struct talk *talk)
{
	uint64_t delay = conversation_delay_msecs(talk->conversation);
	uint64_t gone = now_msecs() - talk->started_msecs;
	return delay > gone ? delay - gone : 0;
}

static struct timeval timeval_of(uint64_t msecs)
{
	return (struct timeval){
	    .tv_sec = (time_t)(msecs / 1000), .tv_usec = (suseconds_t)(msecs % 1000) * 1000};
}

/*
 * Every refusal of credentials is answered at the same times after START, whatever went wrong and however
 * long it took to find out: the answer's time tells nothing. Our own troubles are told at once.
 */
static struct timeval refusal_time(const struct talk *talk, enum refusal refusal)
{
	uint64_t beat = talk->server->auth.config->refusal_msecs, gone = now_msecs() - talk->started_msecs;
	uint64_t delay = delay_left(talk), wait = delay;
	if (refusal != REFUSAL_AUTH)
		wait = 0;
	else if (beat != 0)
		wait += beat - (gone + delay) % beat;
	return timeval_of(wait);
}

static void refused(struct talk *talk, const struct reply *reply)
{
	struct timeval wait = refusal_time(talk, reply->refusal);
	if (reply->refusal == REFUSAL_AUTH)
		log_info("refused %s: %s", conversation_text(talk->conversation),
		    conversation_why(talk->conversation));
	else
		log_warning("could not decide %s: %s", conversation_text(talk->conversation),
		    conversation_why(talk->conversation));
	talk->refusal_len = 1 + reply->len;
	talk->refusal = malloc(talk->refusal_len);
	if (talk->refusal == NULL) {
		talk_free(talk);
		return;
	}
	talk->refusal[0] = (uint8_t)reply->refusal;
	if (reply->len != 0)
		memcpy(talk->refusal + 1, reply->octets, reply->len);
	if (event_add(talk->timer, &wait) < 0)
		talk_free(talk);
}

/* The maildrop's end for the front, with what it must know of the client from now on. */
static int tell_done(struct talk *talk, const char *user, int maildrop)
{
	const struct saslx_layer *layer = conversation_layer(talk->conversation);
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS + SASLX_LAYER_OCTETS];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	msg_put_u8(&w, layer != NULL ? (uint8_t)layer->kind : 0);
	msg_put_u16(&w, (uint16_t)strlen(user));
	msg_put_bytes(&w, user, strlen(user));
	if (layer != NULL)
		msg_put_bytes(&w, layer->octets_secret, layer->len);
	int ret = w.bad ? MSG_BAD : msg_send(talk->fd, MSG_AUTH_DONE, buf, w.len, maildrop);
	OPENSSL_cleanse(buf, sizeof buf);
	return ret;
}

static int maildrop_hand_out(struct talk *talk, const char *user)
{
	int pair[2];
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	msg_put_u64(&w, conversation_session(talk->conversation));
	msg_put_u8(&w, 0);
	msg_put_bytes(&w, user, strlen(user));
	if (w.bad || msg_pair(pair) < 0)
		return MSG_BAD;
	int ret = msg_send(talk->server->store_door, MSG_AUTH_OPEN, buf, w.len, pair[1]);
	if (ret == MSG_OK && tell_done(talk, user, pair[0]) != MSG_OK)
		ret = MSG_EOF; /* this front does not even read our answers */
	close(pair[0]);
	close(pair[1]);
	return ret;
}

static void done(struct talk *talk)
{
	const struct timeval pause = {.tv_usec = DOOR_PAUSE_MSECS * 1000};
	const char *user = conversation_user(talk->conversation);
	int ret = maildrop_hand_out(talk, user);
	talk->known = true;
	if (ret == MSG_AGAIN && now_msecs() - talk->started_msecs < LIMIT_AUTH_WAIT_MSECS &&
	    event_add(talk->timer, &pause) == 0)
		return;
	if (ret == MSG_OK) {
		log_info("login user=%s %s", user, conversation_text(talk->conversation));
	} else {
		const uint8_t code = REFUSAL_TEMP;
		log_warning("no way to the store for %s", conversation_text(talk->conversation));
		msg_send(talk->fd, MSG_AUTH_FAIL, &code, 1, -1);
	}
	talk_free(talk);
}

static void wait_for_turn(struct talk *talk)
{
	const struct timeval pause = timeval_of(GUARD_PAUSE_MSECS);
	talk->waits = true;
	if (event_add(talk->timer, &pause) < 0)
		talk_free(talk);
}

static void accepted(struct talk *talk)
{
	const struct timeval wait = timeval_of(delay_left(talk));
	talk->known = true;
	if (wait.tv_sec == 0 && wait.tv_usec == 0)
		done(talk);
	else if (event_add(talk->timer, &wait) < 0)
		talk_free(talk);
}

static void on_verdict(void *arg, const struct check_result *result)
{
	struct talk *talk = arg;
	struct reply reply;
	conversation_verdict(talk->conversation, result, &reply);
	inquiry_free(&talk->inquiry);
	answer(talk, &reply);
}

static void ask(struct talk *talk)
{
	struct check check;
	conversation_question(talk->conversation, &check);
	talk->inquiry = inquiry_start(&talk->server->inquirer, &check, on_verdict, talk);
	OPENSSL_cleanse(&check, sizeof check);
	if (talk->inquiry == NULL)
		on_verdict(talk, &(struct check_result){.why = "too many questions are waiting"});
}

static void answer(struct talk *talk, const struct reply *reply)
{
	switch (reply->kind) {
	case REPLY_ASK:
		ask(talk);
		return;
	case REPLY_MORE:
		if (msg_send(talk->fd, MSG_AUTH_MORE, reply->octets, reply->len, -1) != MSG_OK)
			talk_free(talk);
		return;
	case REPLY_WAIT:
		wait_for_turn(talk);
		return;
	case REPLY_DONE:
		accepted(talk);
		return;
	case REPLY_REFUSED:
		refused(talk, reply);
		return;
	case REPLY_BAD:
		log_error("a front broke the message table: %s", conversation_text(talk->conversation));
		talk_free(talk);
		return;
	}
}

/* ---- questions ---- */

/* Whether a step may come now. */
static bool listens(const struct talk *talk)
{
	return talk->refusal == NULL && !talk->known && !talk->waits && talk->inquiry == NULL;
}

static void on_talk(evutil_socket_t fd, short what, void *arg)
{
	struct talk *talk = arg;
	struct server *server = talk->server;
	struct msg msg;
	struct reply reply;
	(void)what;
	int got = msg_recv(fd, listens(talk) ? MSG_AT_AUTH_STEP : 0, server->room, sizeof server->room, &msg);
	if (got == MSG_AGAIN)
		return;
	if (got != MSG_OK) {
		talk_free(talk);
		return;
	}
	conversation_step(talk->conversation, msg.body, msg.len, &reply);
	OPENSSL_cleanse(server->room, msg.len);
	answer(talk, &reply);
}

/*
 * Who made the socket of a conversation. -1: it is none of a front's, but another kind of file, a door or a
 * leash; such a conversation might never end, and not be with whom it seems.
 */
static int caller_of(int fd, size_t *caller_r)
{
	struct ucred peer;
	int type;
	socklen_t len = sizeof peer, type_len = sizeof type;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) < 0 || type != SOCK_SEQPACKET ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0 ||
	    peer.pid == getppid() || peer.pid == getpid())
		return -1;
	*caller_r = (size_t)peer.pid % CALLERS_COUNT;
	return 0;
}

/* One front that holds all the conversations there can be would keep everybody else out. */
static bool may_talk(const struct server *server, int fd, size_t *caller_r)
{
	if (caller_of(fd, caller_r) < 0)
		log_error("a front broke the message table: START with another kind of descriptor");
	else if (server->held[*caller_r] >= server->caller_room)
		log_warning("a front holds %u conversations and wants more: refused", server->caller_room);
	else
		return true;
	return false;
}

static void talk_start(struct server *server, const struct msg *msg)
{
	struct reply reply;
	struct timeval end = longest(server->auth.config);
	size_t caller;
	if (!may_talk(server, msg->fd, &caller)) {
		close(msg->fd);
		return;
	}
	/* To check a password takes time, which is none of the client's business. */
	uint64_t started_msecs = now_msecs();
	struct talk *talk = calloc(1, sizeof *talk);
	struct conversation *conversation = conversation_start(&server->auth, msg, &reply);
	if (talk == NULL || conversation == NULL) {
		if (reply.kind == REPLY_BAD)
			log_error("a front broke the message table at START");
		conversation_free(&conversation);
		free(talk);
		close(msg->fd); /* the front reads the end of file as our trouble */
		return;
	}
	*talk = (struct talk){.server = server,
	    .conversation = conversation,
	    .fd = msg->fd,
	    .caller = caller,
	    .started_msecs = started_msecs};
	server->count++;
	server->held[caller]++;
	talk->event = event_new(server->base, msg->fd, EV_READ | EV_PERSIST, on_talk, talk);
	talk->timer = evtimer_new(server->base, on_timer, talk);
	if (talk->event == NULL || talk->timer == NULL || event_add(talk->event, NULL) < 0 ||
	    event_add(talk->timer, &end) < 0)
		talk_free(talk);
	else
		answer(talk, &reply);
}

static void on_door(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	struct msg msg;
	(void)what;
	int got = msg_recv(fd, MSG_AT_AUTH_DOOR, server->room, sizeof server->room, &msg);
	if (got == MSG_EOF)
		_exit(0);
	if (got == MSG_BAD)
		log_error("a front broke the message table on the door");
	if (got != MSG_OK)
		return;
	talk_start(server, &msg);
	OPENSSL_cleanse(server->room, msg.len);
	if (server->count == LIMIT_CONVERSATIONS_COUNT)
		event_del(server->door_event);
}

static void on_leash(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	(void)what;
	enum leash_word word = child_hear(fd, NULL);
	if (word == LEASH_NOTHING)
		return;
	if (word == LEASH_GONE || server->count == 0)
		_exit(0);
	server->retiring = true;
	event_del(server->door_event);
}

/* ---- the beginning ---- */

static int canonical(void *arg, const char *name, size_t len, char *user_r)
{
	const struct auth *auth = arg;
	return names_canonical(auth->config, name, len, user_r, NULL);
}

static void note(void *arg, const char *text)
{
	(void)arg;
	log_info("%s", text);
}

/* Paths are relative: the directory is auth's own, with or without a chroot. */
static const char secrets_path[] = "secrets.mdb", replay_path[] = "replay", krb5_conf_path[] = "krb5.conf";

/* The mechanisms this kind of process serves; a password process never holds a key of the keytab. */
static void open_sasl(struct server *server, struct secrets *secrets)
{
	static const char *served[LIMIT_MECHANISMS_COUNT + 1];
	const struct config *config = server->auth.config;
	char why[WHY_OCTETS];
	for (size_t i = 0, n = 0; i < config->mechanism_count; i++)
		if (mechanism_find(config->mechanisms[i])->may_block == server->auth.password)
			served[n++] = config->mechanisms[i];
	struct saslx_config sasl = {.secrets = secrets,
	    .passwords = (const char *const *)config->passwords,
	    .plugin_dir = config->plugin_dir,
	    .plugins = (const char *const *)config->plugins,
	    .mechanisms = served,
	    .service = "pop",
	    .services = (const char *const *)config->services,
	    .enctypes = server->enctypes,
	    .keytab = server->auth.password ? NULL : config->keytab,
	    .replay_cache = replay_path,
	    .host = config->hostname,
	    .canonical = canonical,
	    .note = note,
	    .arg = &server->auth};
	if (saslx_init(&sasl, why, sizeof why) < 0)
		role_fail(why);
}

static bool listens_to_kpop(const struct config *config)
{
	for (size_t i = 0; i < config->listener_count; i++)
		if (config->listeners[i].protocol == PROTOCOL_KPOP)
			return true;
	return false;
}

static void open_kpop(struct server *server)
{
	const struct config *config = server->auth.config;
	char why[WHY_OCTETS];
	struct kpop_config kpop = {.keytab = config->keytab,
	    .replay_cache = replay_path,
	    .services = (const char *const *)config->services,
	    .enctypes = server->enctypes};
	/* A KDC's word about a password is about a principal, too. */
	if (!server->auth.password || check_passwords_elsewhere(config)) {
		server->auth.mapping = mapping_new(config);
		if (server->auth.mapping == NULL)
			role_fail("the Kerberos library does not take the krb5.conf");
	}
	if (server->auth.password)
		return;
	if (listens_to_kpop(config) && kpop_open(&server->auth.kpop, &kpop, why, sizeof why) != KPOP_OK)
		log_warning("KPOP is not offered: %s", why);
	const struct explain_config explain = {.keytab = config->keytab,
	    .replay_cache = replay_path,
	    .services = kpop.services,
	    .enctypes = kpop.enctypes};
	server->auth.explain = explain_open(&explain);
	if (server->auth.explain == NULL)
		role_fail("no memory, or the Kerberos library does not take the krb5.conf");
}

/* The checker ends a check by itself; this is for when it does not come to it. */
static void open_inquirer(struct server *server, int door)
{
	enum { SPARE_MSECS = 1000 };
	const struct config *config = server->auth.config;
	server->inquirer = (struct inquirer){.door = door,
	    .msecs = config->check_secs * 1000 + SPARE_MSECS,
	    .remember = server->auth.password ? remember_new(config->remember_secs) : NULL};
}

static void open_penalty(struct server *server, int fd)
{
	const struct config *config = server->auth.config;
	const struct penalty_rule rule = {.threshold = config->penalty_threshold,
	    .first_secs = config->penalty_secs,
	    .most_secs = config->penalty_max_secs};
	server->auth.guard = (struct guard){.penalty = penalty_open(fd, &rule),
	    .exempt = &config->penalty_exempt_networks,
	    .checks = config->source_checks,
	    .config = config};
	if (server->auth.guard.penalty == NULL)
		role_fail("cannot share the table of penalties");
}

static uint32_t usable_mechanisms(const struct config *config, bool password)
{
	uint32_t bits = 0;
	for (size_t i = 0; i < config->mechanism_count; i++)
		if (mechanism_find(config->mechanisms[i])->may_block == password &&
		    saslx_works(config->mechanisms[i]))
			bits |= 1u << i;
	return bits;
}

static void enter_sandbox(const struct config *config, const char *dir)
{
	char why[WHY_OCTETS];
	const struct sandbox_path paths[] = {{dir, SANDBOX_WRITE}};
	struct sandbox sandbox = {.role = SANDBOX_AUTH,
	    .user = config->auth_user,
	    .chroot_dir = dir,
	    .paths = paths,
	    .path_count = 1};
	if (sandbox_enter(&sandbox, why, sizeof why) < 0)
		role_fail(why);
}

/* With a process for each session, a front has one client and one conversation at a time. */
static unsigned caller_room(const struct config *config)
{
	unsigned clients = config->isolation == ISOLATION_PROCESS
			       ? 1
			       : (config->sessions + config->front_processes - 1) / config->front_processes;
	unsigned room = clients + CALLER_SPARE_COUNT;
	return room < LIMIT_CONVERSATIONS_COUNT / 2 ? room : LIMIT_CONVERSATIONS_COUNT / 2;
}

void auth_main(void *arg, int leash)
{
	static struct server server;
	const struct role *role = arg;
	char dir[PATH_MAX];
	struct secrets *secrets = NULL;
	role_begin(role->password ? "auth-pw" : "auth");
	server.auth = (struct auth){.config = role->config, .password = role->password};
	server.caller_room = caller_room(role->config);
	server.door = role->password ? role->doors->password[DOOR_SERVANT] : role->doors->token[DOOR_SERVANT];
	server.store_door = role->doors->store[DOOR_CALLER];
	open_inquirer(&server, role->doors->checker[DOOR_CALLER]);
	open_penalty(&server, role->penalty);
	child_keep((int[]){leash, server.door, server.store_door, server.inquirer.door}, 4);
	if (chdir(config_path(role->config, CONFIG_AUTH_DIR, dir)) < 0)
		role_fail("cannot enter the auth directory");
	setenv("KRB5_CONFIG", krb5_conf_path, 1);
	if (secrets_open(&secrets, secrets_path, false) < 0)
		log_warning("%s/%s cannot be opened: %s", dir, secrets_path, strerror(errno));
	/* The keytab is read here, with the rights we still have, and kept in memory only. */
	config_enctypes(role->config, server.enctypes);
	open_kpop(&server);
	open_sasl(&server, secrets);
	server.base = event_base_new();
	if (server.base == NULL)
		role_fail("cannot make an event loop");
	server.inquirer.base = server.base;
	enter_sandbox(role->config, dir);
	if (!role->password)
		replay_make(replay_path);
	server.door_event = role_watch(server.base, server.door, on_door, &server);
	role_watch(server.base, leash, on_leash, &server);
	const struct offers offers = {.mechanisms = usable_mechanisms(role->config, role->password),
	    .kpop = server.auth.kpop != NULL,
	    .passwords = role->password && saslx_works("USER")};
	role_ready(leash, &offers);
	event_base_dispatch(server.base);
	role_fail("the event loop ended");
}
