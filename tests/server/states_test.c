/* SPDX-License-Identifier: ISC */
/* The command table in every state: each cell is written down here, and each is asserted. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/pop3_commands.h"
#include "server/session.h"

enum state {
	LOGIN,     /* AUTHORIZATION */
	NAMED,     /* … after USER */
	MAIL,      /* TRANSACTION, two messages */
	TOKEN,     /* a line of AUTH is wanted */
	HANDSHAKE, /* KPOP before its greeting */
	GREETING,  /* waits for APOP's timestamp */
	ASKING,    /* waits for auth */
	OPENING,   /* waits for the maildrop */
	LISTING,   /* waits for a list */
	STREAMING, /* a list is being sent */
	UPDATE,    /* waits for QUIT to be done */
	TLS,       /* waits for the handshake */
	CLOSED,
	STATE_COUNT
};
static const char *const state_names[STATE_COUNT] = {"AUTHORIZATION", "AUTHORIZATION after USER",
    "TRANSACTION", "AUTH line", "KPOP handshake", "before the greeting", "asking auth", "opening",
    "asking for a list", "sending a list", "UPDATE", "STARTTLS", "closed"};

/*
 * One character a state, in the order of the enum: + and - an answer, a and s a question to auth and to the
 * store, t TLS, c the end after +OK, x the end after -ERR, and . for a state that takes no input at all.
 */
static const struct cell_row {
	const char *line, *want;
} rows[] = {
    {"CAPA", "+++ax........"},
    {"QUIT", "ccsax........"},
    {"USER alice", "++--x........"},
    {"PASS secret", "-a--x........"},
    {"APOP alice c4c9334bac560ecc979e58001b3e22fb", "aa--x........"},
    {"AUTH", "++-ax........"},
    {"AUTH PLAIN", "aa--x........"},
    {"AUTH PLAIN AGEAYg==", "aa--x........"},
    {"AUTH CRAM-MD5 AGEAYg==", "----x........"},
    {"AUTH NTLM", "----x........"},
    {"STLS", "tt-ax........"},
    {"STAT", "--+ax........"},
    {"LIST", "--sax........"},
    {"LIST 2", "--s-x........"},
    {"LIST 3", "----x........"},
    {"UIDL", "--sax........"},
    {"UIDL 2", "--s-x........"},
    {"RETR 1", "--s-x........"},
    {"RETR 3", "----x........"},
    {"TOP 1 0", "--s-x........"},
    {"TOP 1", "----x........"},
    {"DELE 1", "--s-x........"},
    {"DELE 3", "----x........"},
    {"NOOP", "--+ax........"},
    {"RSET", "--+ax........"},
    {"GET / HTTP/1.1", "xx--x........"},
    {"HEAD / HTTP/1.1", "xx--x........"},
    {"POST / HTTP/1.1", "xx--x........"},
    {"PUT / HTTP/1.1", "xx--x........"},
    {"DELETE / HTTP/1.1", "xx--x........"},
    {"PATCH / HTTP/1.1", "xx--x........"},
    {"OPTIONS * HTTP/1.1", "xx--x........"},
    {"CONNECT a:25 HTTP/1.1", "xx--x........"},
    {"TRACE / HTTP/1.1", "xx--x........"},
    {"PRI * HTTP/2.0", "xx--x........"},
    {"XYZZY", "----x........"},
    {"*", "----x........"},
    {"", "---ax........"},
};

static char *mechanisms[] = {"PLAIN", "CRAM-MD5", NULL};
static char hostname[] = "mail.example.org";
static const struct config with_apop = {.hostname = hostname,
    .mechanisms = mechanisms,
    .mechanism_count = 2,
    .user_pass = true,
    .apop = true,
    .plaintext = PLAINTEXT_ALWAYS,
    .authorization_secs = 180,
    .expire_days = CONFIG_NEVER,
    .idle_secs = 600,
    .kpop_handshake_secs = 30};

struct bench {
	struct session *session;
	uint8_t text[65536];
	size_t len;
	enum outcome outcome;
};

static struct session_output room(struct bench *b, size_t size)
{
	b->len = 0;
	return (struct session_output){.buf = b->text, .size = size};
}

static enum outcome after(struct bench *b, const struct session_output *out, enum outcome outcome)
{
	b->len = out->used;
	return b->outcome = outcome;
}

static size_t say(struct bench *b, const char *line)
{
	struct session_output out = room(b, LIMIT_OUTPUT_ROOM_OCTETS);
	size_t used;
	after(b, &out, session_input(b->session, (const uint8_t *)line, strlen(line), &used, &out, 0));
	return used;
}

static void auth(struct bench *b, enum msg_type type, const void *body, size_t len)
{
	struct session_output out = room(b, LIMIT_OUTPUT_ROOM_OCTETS);
	struct msg msg = {.type = type, .body = body, .len = len, .fd = -1};
	after(b, &out, session_auth(b->session, &msg, &out, 0));
}

static void store(struct bench *b, enum msg_type type, const void *body, size_t len)
{
	struct session_output out = room(b, LIMIT_OUTPUT_ROOM_OCTETS);
	struct msg msg = {.type = type, .body = body, .len = len, .fd = -1};
	after(b, &out, session_store(b->session, &msg, &out, 0));
}

static void opened(struct bench *b)
{
	uint8_t body[12];
	struct msg_writer w = {.buf = body, .size = sizeof body};
	msg_put_u32(&w, 2);
	msg_put_u64(&w, 20);
	store(b, MSG_STORE_OPENED, body, w.len);
}

/* So much of a list that it does not fit one call. */
static void listed(struct bench *b)
{
	uint8_t body[9 + 16];
	struct msg_writer w = {.buf = body, .size = sizeof body};
	struct msg msg = {.type = MSG_STORE_LISTED, .body = body, .fd = -1};
	struct session_output out = room(b, 40);
	msg_put_u8(&w, LIST_OCTETS);
	msg_put_u32(&w, 0);
	msg_put_u32(&w, 2);
	msg_put_u64(&w, 9);
	msg_put_u64(&w, 11);
	msg.len = w.len;
	after(b, &out, session_store(b->session, &msg, &out, 0));
}

static void begin(struct bench *b, enum protocol protocol)
{
	static const struct offers all = {UINT32_MAX, true, true, true};
	struct session_params params = {.config = &with_apop, .offers = &all, .protocol = protocol};
	struct session_output out = room(b, LIMIT_OUTPUT_ROOM_OCTETS);
	b->session = session_new(&params, 0);
	assert_non_null(b->session);
	after(b, &out, session_begin(b->session, &out));
}

/* No layer; the name. */
static const char alice_done[] = {0, 5, 0, 'a', 'l', 'i', 'c', 'e'};

static void log_in(struct bench *b)
{
	say(b, "AUTH PLAIN =\r\n");
	auth(b, MSG_AUTH_DONE, alice_done, sizeof alice_done);
}

static void reach(struct bench *b, enum state state)
{
	begin(b, state == HANDSHAKE ? PROTOCOL_KPOP : PROTOCOL_POP3);
	if (state == HANDSHAKE || state == GREETING)
		return;
	auth(b, MSG_AUTH_MORE, "<1@host>", 8);
	if (state == NAMED)
		say(b, "USER alice\r\n");
	if (state == TOKEN || state == ASKING)
		say(b, "AUTH PLAIN\r\n");
	if (state == TOKEN)
		auth(b, MSG_AUTH_MORE, "", 0);
	if (state == TLS)
		say(b, "STLS\r\n");
	if (state == CLOSED)
		say(b, "QUIT\r\n");
	if (state == OPENING || state == MAIL || state == LISTING || state == STREAMING || state == UPDATE)
		log_in(b);
	if (state == MAIL || state == LISTING || state == STREAMING || state == UPDATE)
		opened(b);
	if (state == LISTING || state == STREAMING)
		say(b, "LIST\r\n");
	if (state == STREAMING)
		listed(b);
	if (state == UPDATE)
		say(b, "QUIT\r\n");
}

static bool begins(const struct bench *b, const char *with)
{
	return b->len >= strlen(with) && memcmp(b->text, with, strlen(with)) == 0;
}

static char seen(const struct bench *b, size_t used, size_t len, enum outcome before)
{
	bool ok = begins(b, "+OK "), err = begins(b, "-ERR ");
	if (used == 0 && b->len == 0 && b->outcome == before)
		return '.';
	if (b->outcome == OUTCOME_CLOSE)
		return ok ? 'c' : err ? 'x' : '?';
	if (used != len)
		return '?';
	switch (b->outcome) {
	case OUTCOME_INPUT:
		return ok ? '+' : err ? '-' : '?';
	case OUTCOME_AUTH:
		return b->len == 0 ? 'a' : '?';
	case OUTCOME_STORE:
		return b->len == 0 ? 's' : '?';
	case OUTCOME_STARTTLS:
		return ok ? 't' : '?';
	default:
		return '?';
	}
}

static void every_cell_is_as_written(void **unused)
{
	(void)unused;
	static struct bench b;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char line[128];
		size_t len = (size_t)snprintf(line, sizeof line, "%s\r\n", rows[i].line);
		assert_int_equal(strlen(rows[i].want), STATE_COUNT);
		for (unsigned state = 0; state < STATE_COUNT; state++) {
			reach(&b, (enum state)state);
			enum outcome before = b.outcome;
			size_t used = say(&b, line);
			char have = seen(&b, used, len, before);
			if (have != rows[i].want[state])
				fail_msg("\"%s\" in %s: want %c, have %c: %.*s", rows[i].line,
				    state_names[state], rows[i].want[state], have, (int)b.len,
				    (const char *)b.text);
			session_free(&b.session);
		}
	}
}

static void every_command_has_a_row(void **unused)
{
	(void)unused;
	size_t count;
	const struct pop3_command *commands = pop3_commands(&count);
	for (size_t i = 0; i < count; i++) {
		bool found = false;
		size_t len = strlen(commands[i].verb);
		for (size_t j = 0; j < sizeof rows / sizeof rows[0]; j++)
			found = found || (strncmp(rows[j].line, commands[i].verb, len) == 0 &&
					     (rows[j].line[len] == ' ' || rows[j].line[len] == 0));
		if (!found)
			fail_msg("%s has no row", commands[i].verb);
	}
}

/* What a client or a peer may do, in any order; see the two tests below. */
enum event {
	DO_USER,
	DO_PASS,
	DO_AUTH,
	DO_INITIAL,
	DO_LINE,
	DO_CANCEL,
	DO_APOP,
	DO_STLS,
	DO_QUIT,
	SAY_MORE,
	SAY_FAIL,
	SAY_LOST,
	SAY_DONE,
	SAY_IN_USE,
	SAY_OPENED,
	EVENT_COUNT
};

static void tls(struct bench *b)
{
	struct session_output out = room(b, LIMIT_OUTPUT_ROOM_OCTETS);
	say(b, "STLS\r\n");
	after(b, &out, session_tls_started(b->session, "TLSv1.3", &out, 0));
}

static void happen(struct bench *b, enum event event)
{
	static const char *const lines[EVENT_COUNT] = {[DO_USER] = "USER alice\r\n",
	    [DO_PASS] = "PASS secret\r\n",
	    [DO_AUTH] = "AUTH PLAIN\r\n",
	    [DO_INITIAL] = "AUTH PLAIN AGEAYg==\r\n",
	    [DO_LINE] = "AGEAYg==\r\n",
	    [DO_CANCEL] = "*\r\n",
	    [DO_APOP] = "APOP alice c4c9334bac560ecc979e58001b3e22fb\r\n",
	    [DO_QUIT] = "QUIT\r\n"};
	uint8_t refusal = event == SAY_IN_USE ? REFUSAL_IN_USE : REFUSAL_AUTH;
	struct session_output out = room(b, LIMIT_OUTPUT_ROOM_OCTETS);
	if (lines[event] != NULL)
		say(b, lines[event]);
	else if (event == DO_STLS)
		tls(b);
	else if (event == SAY_MORE)
		auth(b, MSG_AUTH_MORE, "", 0);
	else if (event == SAY_FAIL)
		auth(b, MSG_AUTH_FAIL, &refusal, 1);
	else if (event == SAY_LOST)
		after(b, &out, session_auth_lost(b->session, &out, 0));
	else if (event == SAY_DONE)
		auth(b, MSG_AUTH_DONE, alice_done, sizeof alice_done);
	else if (event == SAY_IN_USE)
		store(b, MSG_STORE_REFUSED, &refusal, 1);
	else
		opened(b);
}

#define DEPTH 5

/* After every sequence of events but one, nobody is in TRANSACTION. */
static void nobody_gets_in_without(enum event missing)
{
	static struct bench b;
	unsigned events = 1;
	for (int i = 0; i < DEPTH; i++)
		events *= EVENT_COUNT;
	for (unsigned sequence = 0; sequence < events; sequence++) {
		unsigned rest = sequence;
		bool skip = false;
		for (unsigned r = sequence, i = 0; i < DEPTH; r /= EVENT_COUNT, i++)
			skip = skip || r % EVENT_COUNT == (unsigned)missing;
		if (skip)
			continue;
		begin(&b, PROTOCOL_POP3);
		auth(&b, MSG_AUTH_MORE, "<1@host>", 8);
		for (int i = 0; i < DEPTH; i++, rest /= EVENT_COUNT)
			happen(&b, (enum event)(rest % EVENT_COUNT));
		say(&b, "STAT\r\n");
		if (begins(&b, "+OK") || strncmp(session_summary(b.session), "login=none", 10) != 0)
			fail_msg("sequence %u logs in", sequence);
		session_free(&b.session);
	}
}

static void nobody_gets_in_without_auth(void **unused)
{
	(void)unused;
	nobody_gets_in_without(SAY_DONE);
}

static void nobody_gets_in_without_a_maildrop(void **unused)
{
	(void)unused;
	nobody_gets_in_without(SAY_OPENED);
}

static void with_both_somebody_does(void **unused)
{
	(void)unused;
	static struct bench b;
	reach(&b, MAIL);
	say(&b, "STAT\r\n");
	assert_true(begins(&b, "+OK 2 20\r\n"));
	session_free(&b.session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_cell_is_as_written),
	    cmocka_unit_test(every_command_has_a_row),
	    cmocka_unit_test(nobody_gets_in_without_auth),
	    cmocka_unit_test(nobody_gets_in_without_a_maildrop),
	    cmocka_unit_test(with_both_somebody_does),
	};
	return cmocka_run_group_tests_name("states", tests, NULL, NULL);
}
