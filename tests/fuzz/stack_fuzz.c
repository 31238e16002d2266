/* SPDX-License-Identifier: ISC */
/*
 * The whole way of a login: a client's octets through the front's stream and session, messages to auth and
 * back, every mechanism, a real keytab and tickets made for it, and the layer behind it.
 *
 * The first octet chooses the port. Then steps: an octet whose low three bits say what the client does and
 * whose others how; tokens are an honest client's, and may be spoilt on the way. Whoever gets in must have
 * shown an unspoilt one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base64.h"
#include "server/client.h"
#include "server/conversation.h"
#include "server/log.h"
#include "tests/fuzz/stack_client.h"
#include "tests/sasl/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CHANNELS_COUNT = 16, LINE_OCTETS = 2 * TOKEN_OCTETS, QUIET_TURNS_COUNT = 2 };

enum step {
	STEP_LINE = 0,
	STEP_OCTETS,
	STEP_BASE64,
	STEP_TOKEN,
	STEP_INITIAL,
	STEP_KPOP,
	STEP_RECORD,
	STEP_END
};

#define RIGHT_PASS "PASS " ALICE_PASSWORD
static const char *const lines[] = {"CAPA", "AUTH", "AUTH GSSAPI", "AUTH GS2-KRB5", "AUTH GS2-KRB5-PLUS",
    "AUTH SCRAM-SHA-1", "AUTH SCRAM-SHA-256", "AUTH SCRAM-SHA-512", "AUTH SCRAM-SHA-256-PLUS",
    "AUTH CRAM-MD5", "AUTH PLAIN", "AUTH LOGIN", "*", "=", "", "USER alice", "USER bob", RIGHT_PASS, "PASS x",
    "APOP alice 0123456789abcdef0123456789abcdef", "STLS", "NOOP", "STAT", "LIST", "UIDL", "RETR 1", "DELE 1",
    "RSET", "TOP 1 0", "QUIT", "GET / HTTP/1.1", "YWxpY2U="};
#define LINES_COUNT (sizeof lines / sizeof lines[0])

static char *mechanisms[] = {"GSSAPI", "GS2-KRB5-PLUS", "GS2-KRB5", "SCRAM-SHA-1", "SCRAM-SHA-256",
    "SCRAM-SHA-512", "CRAM-MD5", "PLAIN", "LOGIN", NULL};
enum { MECHANISMS_COUNT = sizeof mechanisms / sizeof mechanisms[0] - 1 };
static char hostname[] = "localhost";
static struct config config = {.hostname = hostname,
    .mechanisms = mechanisms,
    .mechanism_count = MECHANISMS_COUNT,
    .user_pass = true,
    .plaintext = PLAINTEXT_ALWAYS,
    .authorization_secs = 180,
    .expire_days = CONFIG_NEVER,
    .idle_secs = 600,
    .tls_handshake_secs = 10,
    .kpop_handshake_secs = 30};

static struct world world;
static struct auth auths[2] = {{.config = &config}, {.config = &config, .password = true}};
static int doors[2][2];
static struct front front;
static bool alive; /* the front has its client */

/* A conversation on auth's side, or (conversation NULL) a maildrop on the store's. */
static struct channel {
	int fd; /* 0: free */
	struct conversation *conversation;
} channels[CHANNELS_COUNT];

static struct run {
	const uint8_t *data;
	size_t left;
	int socket;
	struct stack_client client;
	uint8_t said[LINE_OCTETS]; /* the end of what the server said */
	size_t said_len;
	bool honest, done;
	bool records; /* the client's layer is on */
} run;

#define must(promise)                                              \
	do {                                                       \
		if (!(promise)) {                                  \
			fprintf(stderr, "broken: %s\n", #promise); \
			abort();                                   \
		}                                                  \
	} while (0)

/* ---- the world ---- */

static void ended(struct front *of)
{
	(void)of;
	alive = false;
}

static void end_world(void)
{
	world_stop(&world);
	kpop_close(&auths[0].kpop);
	mapping_free(&auths[0].mapping);
	event_base_free(front.base);
	stack_realm_end();
}

/* The log keeps what standard error is when it is opened. */
static void keep_log_quiet(void)
{
	int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	must(quiet >= 0 && kept >= 0 && dup2(quiet, STDERR_FILENO) >= 0);
	log_open(LOG_TO_STDERR, false);
	must(dup2(kept, STDERR_FILENO) >= 0);
	close(quiet);
	close(kept);
}

static void begin_world(void)
{
	static const char *served[MECHANISMS_COUNT + 1];
	static const char *const services[] = {"pop", "pop3", NULL};
	static bool begun;
	char why[512], replay[128];
	if (begun)
		return;
	begun = true;
	for (size_t i = 0; i < MECHANISMS_COUNT; i++)
		served[i] = mechanisms[i];
	const char *keytab = stack_realm_begin();
	must(keytab != NULL && world_start(&world, served, keytab, NULL) == 0);
	snprintf(replay, sizeof replay, "%s/replay", world.dir);
	struct kpop_config kpop = {.keytab = keytab, .replay_cache = replay, .services = services};
	must(kpop_open(&auths[0].kpop, &kpop, why, sizeof why) == KPOP_OK);
	auths[0].mapping = mapping_new(&config);
	must(auths[0].mapping != NULL && msg_pair(doors[0]) == 0 && msg_pair(doors[1]) == 0);
	front = (struct front){.config = &config,
	    .base = event_base_new(),
	    .offers = {.mechanisms = UINT32_MAX, .kpop = true, .passwords = true},
	    .token_door = doors[0][DOOR_CALLER],
	    .password_door = doors[1][DOOR_CALLER],
	    .ended = ended};
	must(front.base != NULL);
	keep_log_quiet();
	must(secrets_verify(world.secrets, "alice", "x", 1) == SECRETS_REFUSED); /* the file is opened now */
	atexit(end_world);
}

/* ---- auth and store ---- */

static struct channel *channel_new(int fd, struct conversation *conversation)
{
	for (size_t i = 0; i < CHANNELS_COUNT; i++)
		if (channels[i].fd == 0) {
			channels[i] = (struct channel){.fd = fd, .conversation = conversation};
			return &channels[i];
		}
	abort();
}

static void channel_end(struct channel *channel)
{
	conversation_free(&channel->conversation);
	close(channel->fd);
	channel->fd = 0;
}

/* The store opens for whoever auth is sure of. */
static void open_maildrop(struct channel *channel)
{
	const char *user = conversation_user(channel->conversation);
	const struct saslx_layer *layer = conversation_layer(channel->conversation);
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS + SASLX_LAYER_OCTETS];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	int pair[2];
	must(run.honest && (strcmp(user, "alice") == 0 || strcmp(user, "bob") == 0));
	must(msg_pair(pair) == 0);
	msg_put_u8(&w, layer != NULL ? (uint8_t)layer->kind : 0);
	msg_put_u16(&w, (uint16_t)strlen(user));
	msg_put_bytes(&w, user, strlen(user));
	if (layer != NULL)
		msg_put_bytes(&w, layer->octets_secret, layer->len);
	must(!w.bad);
	msg_send(channel->fd, MSG_AUTH_DONE, buf, w.len, pair[0]);
	close(pair[0]);
	w = (struct msg_writer){buf, sizeof buf, 0, false};
	msg_put_u32(&w, 2);
	msg_put_u64(&w, 100);
	msg_send(pair[1], MSG_STORE_OPENED, buf, w.len, -1);
	channel_new(pair[1], NULL);
	run.done = true;
	run.records = layer != NULL;
}

static void answer(struct channel *channel, struct reply *reply)
{
	uint8_t buf[1 + KPOP_REPLY_OCTETS];
	while (reply->kind == REPLY_ASK)
		conversation_verdict(
		    channel->conversation, &(struct check_result){.why = "nobody is asked"}, reply);
	switch (reply->kind) {
	case REPLY_ASK:
	case REPLY_WAIT: /* nobody guards here */
	case REPLY_BAD:  /* an honest front stays within the table */
		abort();
	case REPLY_MORE:
		must(msg_send(channel->fd, MSG_AUTH_MORE, reply->octets, reply->len, -1) != MSG_BAD);
		return;
	case REPLY_DONE:
		open_maildrop(channel);
		break;
	case REPLY_REFUSED:
		must(reply->len <= KPOP_REPLY_OCTETS && conversation_why(channel->conversation)[0] != '\0');
		buf[0] = (uint8_t)reply->refusal;
		if (reply->len != 0)
			memcpy(buf + 1, reply->octets, reply->len);
		msg_send(channel->fd, MSG_AUTH_FAIL, buf, 1 + reply->len, -1);
	}
	channel_end(channel);
}

static uint8_t room[LIMIT_MSG_OCTETS];

static bool serve_door(size_t which)
{
	struct msg msg;
	struct reply reply;
	int got = msg_recv(doors[which][DOOR_SERVANT], MSG_AT_AUTH_DOOR, room, sizeof room, &msg);
	must(got == MSG_OK || got == MSG_AGAIN);
	if (got == MSG_AGAIN)
		return false;
	struct conversation *conversation = conversation_start(&auths[which], &msg, &reply);
	must(conversation != NULL);
	answer(channel_new(msg.fd, conversation), &reply);
	return true;
}

static bool serve_channel(struct channel *channel)
{
	const uint8_t refusal = REFUSAL_TEMP;
	struct msg msg;
	struct reply reply;
	int got = msg_recv(channel->fd, channel->conversation != NULL ? MSG_AT_AUTH_STEP : MSG_AT_STORE_OPEN,
	    room, sizeof room, &msg);
	if (got == MSG_AGAIN)
		return false;
	must(got != MSG_BAD);
	if (got == MSG_EOF) {
		channel_end(channel);
	} else if (channel->conversation == NULL) {
		msg_send(channel->fd, MSG_STORE_REFUSED, &refusal, 1, -1);
	} else {
		conversation_step(channel->conversation, msg.body, msg.len, &reply);
		answer(channel, &reply);
	}
	return true;
}

/* ---- the client ---- */

/* Keeps the end of what was said; a challenge in it is for the next token. */
static bool listen_to_server(void)
{
	uint8_t octets[4096];
	ssize_t got = recv(run.socket, octets, sizeof octets, MSG_DONTWAIT);
	if (got <= 0)
		return false;
	size_t len = (size_t)got, keep = run.said_len;
	if (keep + len > sizeof run.said)
		keep = 0;
	memcpy(run.said + keep, octets, len);
	run.said_len = keep + len;
	const uint8_t *line = NULL;
	for (size_t i = 0; i + 2 < run.said_len; i++)
		if ((i == 0 || run.said[i - 1] == '\n') && memcmp(run.said + i, "+ ", 2) == 0)
			line = run.said + i + 2;
	if (line != NULL) {
		struct base64_decoder decoder = {0};
		size_t left = (size_t)(run.said + run.said_len - line);
		const uint8_t *end = memchr(line, '\r', left);
		if (end != NULL && (size_t)(end - line) < TOKEN_OCTETS)
			run.client.challenge_len =
			    base64_decode(&decoder, line, (size_t)(end - line), run.client.challenge);
	}
	return true;
}

/* Until nobody has anything left to say. */
static void turn(void)
{
	for (int quiet = 0; quiet < QUIET_TURNS_COUNT;) {
		bool moved = false;
		event_base_loop(front.base, EVLOOP_NONBLOCK);
		for (size_t i = 0; i < 2; i++)
			while (serve_door(i))
				moved = true;
		for (size_t i = 0; i < CHANNELS_COUNT; i++)
			if (channels[i].fd != 0 && serve_channel(&channels[i]))
				moved = true;
		while (listen_to_server())
			moved = true;
		quiet = moved ? 0 : quiet + 1;
	}
}

static uint8_t next(void)
{
	if (run.left == 0)
		return 0;
	run.left--;
	return *run.data++;
}

static size_t take(size_t want, const uint8_t **octets_r)
{
	size_t len = want < run.left ? want : run.left;
	*octets_r = run.data;
	run.data += len;
	run.left -= len;
	return len;
}

static void say(const void *octets, size_t len)
{
	uint8_t record[TOKEN_OCTETS];
	if (run.records && len > 0) {
		len = stack_record(&run.client, octets, len, record);
		octets = record;
	}
	/* What the front does not take at once it does not get. */
	if (len > 0 && send(run.socket, octets, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

static void say_line(const char *before, const uint8_t *octets, size_t len, bool encode)
{
	uint8_t line[LINE_OCTETS];
	size_t used = (size_t)snprintf((char *)line, sizeof line, "%s", before);
	if (used + BASE64_ENCODED_OCTETS(len) + 2 > sizeof line)
		return;
	if (encode)
		used += base64_encode(octets, len, line + used);
	else if (len > 0)
		memcpy(line + used, octets, len), used += len;
	memcpy(line + used, "\r\n", 2);
	say(line, used + 2);
}

/* With an octet changed, cut short, or longer. */
static size_t spoil(uint8_t how, uint8_t token[TOKEN_OCTETS], size_t len)
{
	size_t at = (size_t)next() << 2;
	switch (how) {
	case 0:
	case 1:
	case 2:
	case 3:
		return len;
	case 4:
		return at < len ? at : len;
	case 5:
		if (len < TOKEN_OCTETS)
			token[len++] = (uint8_t)at;
		return len;
	default:
		at += next() & 3;
		if (at < len)
			token[at] ^= next();
		return len;
	}
}

/* A ticket proves who it is of even where some octet round it is another: not all are protected. */
static size_t spoilt_token(uint8_t how, uint8_t token_r[TOKEN_OCTETS])
{
	static const uint8_t flags[] = {1, 0, 2, 4};
	uint8_t honest[TOKEN_OCTETS];
	enum token_kind kind = (enum token_kind)(how & 7);
	size_t honest_len = stack_token(&run.client, kind, flags[how >> 3 & 3], token_r);
	memcpy(honest, token_r, honest_len);
	size_t len = spoil(how >> 5, token_r, honest_len);
	bool kerberos = kind == TOKEN_GSSAPI || kind == TOKEN_GS2 || kind == TOKEN_APREQ;
	if (len > 0 && (kerberos || (len == honest_len && memcmp(honest, token_r, len) == 0)))
		run.honest = true;
	return len;
}

static void say_kpop(uint8_t how)
{
	static const char hello[] = "\0\0\0\x13KRB5_SENDAUTH_V1.0\0\0\0\0\x09KPOPV1.0";
	uint8_t token[TOKEN_OCTETS], frame[sizeof hello + 4 + TOKEN_OCTETS];
	size_t len = spoilt_token((uint8_t)(how << 5 | TOKEN_APREQ | (how & 8)), token), used = sizeof hello;
	memcpy(frame, hello, sizeof hello);
	frame[used++] = 0;
	frame[used++] = 0;
	frame[used++] = (uint8_t)(len >> 8);
	frame[used++] = (uint8_t)len;
	memcpy(frame + used, token, len);
	say(frame, used + len);
}

static void say_record(uint8_t how)
{
	uint8_t record[TOKEN_OCTETS];
	const uint8_t *octets;
	size_t len = take(how, &octets);
	len = stack_record(&run.client, octets, len, record);
	size_t at = next();
	if (at < len)
		record[at] ^= next();
	if (len > 0)
		send(run.socket, record, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A password in clear is a proof too, whoever put it together. */
static bool shows_password(const uint8_t *octets, size_t len)
{
	return memmem(octets, len, ALICE_PASSWORD, strlen(ALICE_PASSWORD)) != NULL ||
	       memmem(octets, len, BOB_PASSWORD, strlen(BOB_PASSWORD)) != NULL;
}

static void one_step(void)
{
	static const char *const names[] = {"GSSAPI", "GS2-KRB5", "SCRAM-SHA-1", "SCRAM-SHA-256",
	    "SCRAM-SHA-512", "PLAIN", "CRAM-MD5", "LOGIN"};
	uint8_t head = next(), how = head >> 3, token[TOKEN_OCTETS];
	const uint8_t *octets;
	size_t len;
	char before[64];
	switch ((enum step)(head & 7)) {
	case STEP_LINE:
		run.honest = run.honest || strstr(lines[how % LINES_COUNT], "PASS w") != NULL;
		say_line(lines[how % LINES_COUNT], NULL, 0, false);
		break;
	case STEP_OCTETS:
		len = take((size_t)how * 4 + 1, &octets);
		say(octets, len);
		break;
	case STEP_BASE64:
		len = take((size_t)how * 4, &octets);
		say_line("", octets, len, true);
		break;
	case STEP_TOKEN:
		len = spoilt_token(next(), token);
		say_line("", token, len, true);
		break;
	case STEP_INITIAL:
		snprintf(before, sizeof before, "AUTH %s ", names[how % 8]);
		len = spoilt_token(next(), token);
		say_line(before, token, len, true);
		break;
	case STEP_KPOP:
		say_kpop(how);
		break;
	case STEP_RECORD:
		say_record(how);
		break;
	case STEP_END:
		if (how == 0)
			shutdown(run.socket, SHUT_WR);
		break;
	}
	turn();
}

/* The replay cache remembers for minutes what a fuzzer forgets at once. */
static void forget(void)
{
	static unsigned count;
	char path[128];
	snprintf(path, sizeof path, "%s/replay", world.dir);
	if (++count % 4096 == 0)
		must(truncate(path, 0) == 0 || errno == ENOENT);
}

/* Other descriptors are not all ours: a sanitizer has its own. */
static unsigned count_sockets(void)
{
	unsigned count = 0;
	struct stat st;
	for (int fd = 0; fd < 256; fd++)
		count += fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned sockets_at_first;
	static const struct origin origin;
	int pair[2];
	if (size < 1 || size > 8192)
		return 0;
	begin_world();
	forget();
	run = (struct run){.data = data + 1, .left = size - 1, .honest = shows_password(data, size)};
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	run.socket = pair[0];
	alive = true;
	must(client_start(&front, pair[1], (data[0] & 1) != 0 ? PROTOCOL_KPOP : PROTOCOL_POP3, &origin) == 0);
	turn();
	while (run.left > 0 && alive)
		one_step();
	close(run.socket);
	turn();
	/* A client that is sent a last line is given a moment to read it. */
	while (alive)
		event_base_loop(front.base, EVLOOP_ONCE);
	turn();
	stack_client_clear(&run.client);
	for (size_t i = 0; i < CHANNELS_COUNT; i++)
		must(channels[i].fd == 0);
	/* Whatever came is closed. */
	if (sockets_at_first == 0)
		sockets_at_first = count_sockets();
	must(count_sockets() == sockets_at_first);
	return 0;
}
