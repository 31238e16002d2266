/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/mechanism.h"
#include "store/wire.h"
#include "tests/server/player.h"

/* Sends a message through the real table, as it would travel. */
static bool travels(struct player *p, enum msg_type type, const void *body, size_t len, int fd,
    unsigned state, struct msg *msg_r)
{
	static uint8_t buf[LIMIT_MSG_OCTETS];
	if (msg_send(p->pair[0], type, body, len, fd) != MSG_OK)
		return play_wrong(p, "message %d is outside the table when sent", (int)type);
	if (msg_recv(p->pair[1], state, buf, sizeof buf, msg_r) != MSG_OK)
		return play_wrong(p, "message %d is outside the table when received", (int)type);
	return true;
}

static int message_file(const void *octets, size_t len)
{
	int fd = memfd_create("message", MFD_CLOEXEC);
	if (fd >= 0 && write(fd, octets, len) != (ssize_t)len) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool answer(struct player *p, enum msg_type type, const struct msg_writer *w, int fd)
{
	struct msg msg;
	bool auth = type == MSG_AUTH_MORE || type == MSG_AUTH_DONE || type == MSG_AUTH_FAIL;
	/* The store may refuse unasked: another login has the maildrop. */
	if (p->outcome != (auth ? OUTCOME_AUTH : OUTCOME_STORE) && type != MSG_STORE_REFUSED)
		return play_wrong(p, "nobody waits for this answer");
	bool sent = travels(p, type, w->buf, w->len, fd, session_expects(p->session), &msg);
	if (fd >= 0)
		close(fd);
	if (!sent)
		return false;
	struct session_output out = play_room(p, LIMIT_OUTPUT_ROOM_OCTETS);
	enum outcome outcome = auth ? session_auth(p->session, &msg, &out, p->now)
				    : session_store(p->session, &msg, &out, p->now);
	if (auth && msg.fd >= 0)
		close(msg.fd);
	play_took(p, &out, outcome);
	return true;
}

/* The file was written to so much later than the store says. */
static bool message_answer(struct player *p, struct msg_writer *w, int fd, int64_t changed_nsecs)
{
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		return play_wrong(p, "no file for a message");
	int64_t nsecs = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	msg_put_u64(w, (uint64_t)(nsecs - changed_nsecs));
	return answer(p, MSG_STORE_MESSAGE, w, fd);
}

/* The built-in store: what the mail lines said. */
static uint64_t mail_octets(const struct player *p, uint32_t idx, unsigned *flags_r)
{
	struct wire_count count = {0};
	wire_count_add(&count, p->mails[idx], p->mail_lens[idx]);
	return wire_count_done(&count, flags_r);
}

static bool store_list(struct player *p, const struct session_request *request, struct msg_writer *w)
{
	struct msg_reader r = {.buf = request->body, .len = request->len};
	uint8_t kind = msg_get_u8(&r);
	uint32_t idx = msg_get_u32(&r), count = msg_get_u32(&r);
	unsigned flags;
	if (!msg_end(&r) || count == 0 || count > p->mail_count || idx > p->mail_count - count)
		return play_wrong(p, "LIST asks for what is not there");
	msg_put_u8(w, kind);
	msg_put_u32(w, idx);
	msg_put_u32(w, count);
	for (uint32_t i = idx; i < idx + count; i++) {
		char uidl[16];
		uint8_t len = (uint8_t)snprintf(uidl, sizeof uidl, "uidl-%u", i + 1);
		if (kind == LIST_OCTETS) {
			msg_put_u64(w, mail_octets(p, i, &flags));
			continue;
		}
		msg_put_u8(w, len);
		msg_put_bytes(w, uidl, len);
	}
	return answer(p, MSG_STORE_LISTED, w, -1);
}

static bool store_fetch(struct player *p, const struct session_request *request, struct msg_writer *w)
{
	struct msg_reader r = {.buf = request->body, .len = request->len};
	uint32_t idx = msg_get_u32(&r);
	unsigned flags;
	if (!msg_end(&r) || idx >= p->mail_count)
		return play_wrong(p, "FETCH asks for what is not there");
	uint64_t octets = mail_octets(p, idx, &flags);
	msg_put_u64(w, 0);
	msg_put_u64(w, p->mail_lens[idx]);
	msg_put_u64(w, octets);
	msg_put_u32(w, flags);
	return message_answer(p, w, message_file(p->mails[idx], p->mail_lens[idx]), 0);
}

bool play_store_answers(struct player *p)
{
	uint8_t body[4096];
	struct msg_writer w = {.buf = body, .size = sizeof body};
	const struct session_request *request = session_request(p->session);
	uint64_t octets = 0;
	unsigned flags;
	switch (request->type) {
	case MSG_NONE:
		for (uint32_t i = 0; i < p->mail_count; i++)
			octets += mail_octets(p, i, &flags);
		msg_put_u32(&w, p->mail_count);
		msg_put_u64(&w, octets);
		return answer(p, MSG_STORE_OPENED, &w, -1);
	case MSG_FRONT_LIST:
		return store_list(p, request, &w);
	case MSG_FRONT_FETCH:
		return store_fetch(p, request, &w);
	case MSG_FRONT_COMMIT:
		msg_put_u32(&w, 0);
		return answer(p, MSG_STORE_COMMITTED, &w, -1);
	default:
		return play_wrong(p, "the store is asked something else");
	}
}

static const char *mechanism_name(const struct player *p, uint8_t mechanism)
{
	switch (mechanism) {
	case MECHANISM_USERPASS:
		return "USERPASS";
	case MECHANISM_APOP:
		return "APOP";
	case MECHANISM_KPOP:
		return "KPOP";
	default:
		return mechanism < p->config.mechanism_count ? p->config.mechanisms[mechanism] : "?";
	}
}

/* As bits the types that START says can be, and are, bound to: " offered:3 bound:3"; nothing for none. */
static bool read_bindings(struct msg_reader *r, char *text, size_t size)
{
	unsigned offered = msg_get_u8(r), count = msg_get_u8(r), bound = 0;
	int len = 0;
	for (unsigned i = 0; i < count; i++) {
		uint8_t type = msg_get_u8(r), octets = msg_get_u8(r);
		const uint8_t *value = msg_get_bytes(r, octets);
		if (value == NULL || type >= SASLX_BINDINGS_COUNT || octets != 32 || value[0] != 'a' + type)
			return false;
		bound |= 1u << type;
	}
	text[0] = '\0';
	if (offered != 0)
		len = snprintf(text, size, "offered:%u ", offered);
	if (bound != 0)
		snprintf(text + len, size - (size_t)len, "bound:%u ", bound);
	return true;
}

static bool read_start(struct player *p, const struct msg *msg, char *text)
{
	struct msg_reader r = {.buf = msg->body, .len = msg->len};
	struct peer peer;
	char octets[1300], address[PEER_TEXT_OCTETS], bindings[40] = "";
	size_t len;
	uint64_t id = msg_get_u64(&r);
	uint8_t protocol = msg_get_u8(&r), tls = msg_get_u8(&r), mechanism = msg_get_u8(&r),
		initial = msg_get_u8(&r);
	msg_get_peer(&r, &peer);
	bool sound = read_bindings(&r, bindings, sizeof bindings);
	const uint8_t *rest = msg_get_rest(&r, &len);
	peer_text(&peer, address);
	if (!msg_end(&r) || id != p->params.id || protocol != p->params.protocol || tls > 1 || !sound ||
	    strcmp(address, "192.0.2.7") != 0)
		return play_wrong(p, "START is not well formed");
	const char *name = mechanism_name(p, mechanism);
	bool blocks =
	    strcmp(name, "USERPASS") == 0 || strcmp(name, "PLAIN") == 0 || strcmp(name, "LOGIN") == 0;
	if (blocks != session_request(p->session)->may_block)
		return play_wrong(p, "START goes to the wrong kind of process");
	snprintf(text, 1400, "START %s %s%s%s", name, bindings, initial ? "initial:" : "none",
	    play_escape(rest, len, octets));
	return true;
}

bool play_auth_asked(struct player *p, const char *want)
{
	const struct session_request *request = session_request(p->session);
	char text[1400] = "nothing", octets[1300];
	struct msg msg;
	if (p->outcome != OUTCOME_AUTH)
		return play_wrong(p, "auth is not asked");
	if (request->type == MSG_FRONT_START) {
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		bool sent =
		    travels(p, request->type, request->body, request->len, fd, MSG_AT_AUTH_DOOR, &msg);
		close(fd);
		if (!sent || (close(msg.fd), !read_start(p, &msg, text)))
			return false;
	} else if (request->type == MSG_FRONT_STEP) {
		if (!travels(p, request->type, request->body, request->len, -1, MSG_AT_AUTH_STEP, &msg))
			return false;
		snprintf(text, sizeof text, "STEP %s", play_escape(msg.body, msg.len, octets));
	}
	return strcmp(text, want) == 0 || play_wrong(p, "auth is asked %s", text);
}

bool play_store_asked(struct player *p, const char *want)
{
	const struct session_request *request = session_request(p->session);
	char text[1400] = "nothing";
	struct msg msg = {.type = MSG_NONE};
	if (p->outcome != OUTCOME_STORE)
		return play_wrong(p, "the store is not asked");
	if (request->type != MSG_NONE &&
	    !travels(p, request->type, request->body, request->len, -1, MSG_AT_STORE_OPEN, &msg))
		return false;
	struct msg_reader r = {.buf = msg.body, .len = msg.len};
	if (request->type == MSG_NONE) {
		snprintf(text, sizeof text, "WAIT");
	} else if (request->type == MSG_FRONT_LIST) {
		uint8_t kind = msg_get_u8(&r);
		uint32_t idx = msg_get_u32(&r), count = msg_get_u32(&r);
		snprintf(
		    text, sizeof text, "LIST %s %u %u", kind == LIST_OCTETS ? "octets" : "uidls", idx, count);
	} else if (request->type == MSG_FRONT_FETCH) {
		snprintf(text, sizeof text, "FETCH %u", msg_get_u32(&r));
	} else if (request->type == MSG_FRONT_COMMIT) {
		char *at = text + sprintf(text, "COMMIT%s", msg.len > 0 ? " " : "");
		for (size_t i = 0; i < msg.len && i < 100; i++)
			at += sprintf(at, "%02x", msg.body[i]);
	}
	return strcmp(text, want) == 0 || play_wrong(p, "the store is asked %s", text);
}

static uint8_t refusal_of(const char *text)
{
	return strncmp(text, "PERM", 4) == 0     ? REFUSAL_PERM
	       : strncmp(text, "AUTH", 4) == 0   ? REFUSAL_AUTH
	       : strncmp(text, "IN_USE", 6) == 0 ? REFUSAL_IN_USE
	       : strncmp(text, "GONE", 4) == 0   ? REFUSAL_GONE
	       : strncmp(text, "EARLY", 5) == 0  ? REFUSAL_EARLY
	       : strncmp(text, "TAKEN", 5) == 0  ? REFUSAL_TAKEN
						 : REFUSAL_TEMP;
}

/* Confidentiality, as auth exports it; unsound: one octet short. */
static void put_layer(struct msg_writer *w, bool unsound)
{
	static const uint8_t exported[] = {1, LAYER_CONFIDENTIALITY, 17, 1, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0,
	    0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 'a', ' ', 'k', 'e', 'y', ' ', 'o', 'f', ' ', 's', 'i', 'x', 't',
	    'e', 'e', 'n'};
	msg_put_bytes(w, exported, sizeof exported - unsound);
}

bool play_auth_answers(struct player *p, const char *text)
{
	struct msg_writer w = {.buf = (uint8_t *)p->scratch, .size = PLAY_TEXT_OCTETS};
	const char *rest;
	if (strcmp(text, "LOST") == 0) {
		struct session_output out = play_room(p, LIMIT_OUTPUT_ROOM_OCTETS);
		play_took(p, &out, session_auth_lost(p->session, &out, p->now));
		return play_pump(p);
	}
	unsigned count;
	int skip = 0;
	if (sscanf(text, "MORE* %u %n", &count, &skip) == 1 && skip > 0) {
		for (unsigned i = 0; i < count; i++)
			w.len += play_unescape(text + skip, w.buf + w.len);
		return answer(p, MSG_AUTH_MORE, &w, -1) && play_pump(p);
	}
	if (play_starts(text, "MORE ", &rest)) {
		w.len = play_unescape(rest, w.buf);
		return answer(p, MSG_AUTH_MORE, &w, -1) && play_pump(p);
	}
	if (play_starts(text, "DONE ", &rest)) {
		msg_put_u8(&w, 0);
		msg_put_u16(&w, (uint16_t)strlen(rest));
		w.len += play_unescape(rest, w.buf + w.len);
		return answer(p, MSG_AUTH_DONE, &w, open("/dev/null", O_RDONLY | O_CLOEXEC)) && play_pump(p);
	}
	bool unsound = play_starts(text, "UNSOUND LAYER ", &rest);
	if (unsound || play_starts(text, "LAYER ", &rest)) {
		msg_put_u8(&w, LAYER_CONFIDENTIALITY);
		msg_put_u16(&w, (uint16_t)strlen(rest));
		msg_put_bytes(&w, rest, strlen(rest));
		put_layer(&w, unsound);
		return answer(p, MSG_AUTH_DONE, &w, open("/dev/null", O_RDONLY | O_CLOEXEC)) && play_pump(p);
	}
	if (!play_starts(text, "FAIL ", &rest))
		return play_wrong(p, "what does auth say?");
	msg_put_u8(&w, refusal_of(rest));
	const char *octets = strchr(rest, ' ');
	if (octets != NULL)
		w.len += play_unescape(octets + 1, w.buf + w.len);
	return answer(p, MSG_AUTH_FAIL, &w, -1) && play_pump(p);
}

static bool put_listed(struct msg_writer *w, const char *text)
{
	char kind[16];
	uint32_t idx, count = 0;
	int at;
	if (sscanf(text, "%15s %u%n", kind, &idx, &at) != 2)
		return false;
	bool octets = strcmp(kind, "octets") == 0;
	char copy[2048], *save, *word;
	snprintf(copy, sizeof copy, "%s", text + at);
	msg_put_u8(w, octets ? LIST_OCTETS : LIST_UIDLS);
	msg_put_u32(w, idx);
	size_t count_at = w->len;
	msg_put_u32(w, 0);
	for (word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save), count++) {
		if (octets) {
			msg_put_u64(w, strtoull(word, NULL, 10));
			continue;
		}
		uint8_t uidl[512];
		size_t len = play_unescape(word, uidl);
		msg_put_u8(w, (uint8_t)len);
		msg_put_bytes(w, uidl, len);
	}
	struct msg_writer back = {.buf = w->buf + count_at, .size = 4};
	msg_put_u32(&back, count);
	return true;
}

static bool message_says(struct player *p, struct msg_writer *w, const char *text, int64_t changed_nsecs)
{
	unsigned long long length, octets;
	unsigned flags;
	int at = 0;
	static uint8_t file[65536];
	if (sscanf(text, "%llu %llu %u %n", &length, &octets, &flags, &at) != 3)
		return play_wrong(p, "which message?");
	msg_put_u64(w, 0);
	msg_put_u64(w, length);
	msg_put_u64(w, octets);
	msg_put_u32(w, flags);
	size_t len = play_unescape(text + at, file);
	return message_answer(p, w, message_file(file, len), changed_nsecs) && play_pump(p);
}

bool play_store_says(struct player *p, const char *text)
{
	struct msg_writer w = {.buf = (uint8_t *)p->scratch, .size = PLAY_TEXT_OCTETS};
	const char *rest;
	unsigned count;
	unsigned long long octets;
	if (strcmp(text, "LOST") == 0) {
		struct session_output out = play_room(p, LIMIT_OUTPUT_ROOM_OCTETS);
		play_took(p, &out, session_store_lost(p->session, &out, p->now));
		return play_pump(p);
	}
	if (sscanf(text, "OPENED %u %llu", &count, &octets) == 2) {
		msg_put_u32(&w, count);
		msg_put_u64(&w, octets);
		return answer(p, MSG_STORE_OPENED, &w, -1) && play_pump(p);
	}
	if (play_starts(text, "REFUSED ", &rest)) {
		msg_put_u8(&w, refusal_of(rest));
		if (sscanf(rest, "EARLY %u", &count) == 1)
			msg_put_u32(&w, count);
		return answer(p, MSG_STORE_REFUSED, &w, -1) && play_pump(p);
	}
	if (play_starts(text, "LISTED ", &rest)) {
		if (!put_listed(&w, rest))
			return play_wrong(p, "what does the store list?");
		return answer(p, MSG_STORE_LISTED, &w, -1) && play_pump(p);
	}
	if (play_starts(text, "MESSAGE ", &rest))
		return message_says(p, &w, rest, 0);
	if (play_starts(text, "CHANGED ", &rest))
		return message_says(p, &w, rest, 1);
	if (sscanf(text, "COMMITTED %u", &count) == 1) {
		msg_put_u32(&w, count);
		return answer(p, MSG_STORE_COMMITTED, &w, -1) && play_pump(p);
	}
	return play_wrong(p, "what does the store say?");
}
