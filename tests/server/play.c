/* SPDX-License-Identifier: ISC */
#include "tests/server/play.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/mechanism.h"
#include "server/session.h"
#include "store/wire.h"

#define TEXT_OCTETS 400000u
#define MAILS_COUNT 8u

struct player {
	const struct play_style *style;
	struct config config;
	struct listener_config listener;
	char *mechanisms[LIMIT_MECHANISMS_COUNT + 1];
	char mechanism_text[512];
	struct session_params params;
	struct session *session;
	enum outcome outcome;
	uint64_t now;
	uint8_t *input, *output; /* waiting octets of both sides */
	size_t input_len, output_len;
	char *scratch;
	char *mails[MAILS_COUNT];
	size_t mail_lens[MAILS_COUNT];
	uint32_t mail_count;
	int pair[2];
	bool fresh_input; /* octets came since the session said that it needs more */
	bool started, store_scripted;
	unsigned line;
	char why[1024];
};

static bool wrong(struct player *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(struct player *p, const char *format, ...)
{
	char text[800];
	va_list ap;
	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	if (p->why[0] == 0)
		snprintf(p->why, sizeof p->why, "line %u, %s: %s", p->line, p->style->name, text);
	return false;
}

static size_t unescape(const char *text, uint8_t *out)
{
	size_t len = 0;
	for (; *text != 0; text++) {
		if (*text != '\\') {
			out[len++] = (uint8_t)*text;
			continue;
		}
		unsigned hex = 0;
		switch (*++text) {
		case 'r':
			out[len++] = '\r';
			break;
		case 'n':
			out[len++] = '\n';
			break;
		case 't':
			out[len++] = '\t';
			break;
		case '0':
			out[len++] = 0;
			break;
		case 'x':
			sscanf(text + 1, "%2x", &hex);
			out[len++] = (uint8_t)hex;
			text += 2;
			break;
		default:
			out[len++] = (uint8_t)*text;
		}
	}
	return len;
}

static char *escape(const uint8_t *in, size_t len, char *out)
{
	char *at = out;
	for (size_t i = 0; i < len && i < 300; i++) {
		uint8_t c = in[i];
		if (c == 0)
			at += sprintf(at, "\\0");
		else if (c == '\r' || c == '\n')
			at += sprintf(at, "\\%c", c == '\r' ? 'r' : 'n');
		else if (c < 0x20 || c > 0x7E)
			at += sprintf(at, "\\x%02x", c);
		else
			*at++ = (char)c;
	}
	*at = 0;
	return out;
}

static bool starts(const char *text, const char *with, const char **rest_r)
{
	size_t len = strlen(with);
	*rest_r = text + len;
	return strncmp(text, with, len) == 0;
}

/* One call's output, collected. */
static struct session_output room_for(struct player *p, size_t size)
{
	return (struct session_output){.buf = p->output + p->output_len, .size = size};
}

static void took(struct player *p, const struct session_output *out, enum outcome outcome)
{
	p->output_len += out->used;
	p->outcome = outcome;
}

/* Sends a message through the real table, as it would travel. */
static bool travels(struct player *p, enum msg_type type, const void *body, size_t len, int fd,
    unsigned state, struct msg *msg_r)
{
	static uint8_t buf[LIMIT_MSG_OCTETS];
	if (msg_send(p->pair[0], type, body, len, fd) != MSG_OK)
		return wrong(p, "message %d is outside the table when sent", (int)type);
	if (msg_recv(p->pair[1], state, buf, sizeof buf, msg_r) != MSG_OK)
		return wrong(p, "message %d is outside the table when received", (int)type);
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
	if (p->outcome != (auth ? OUTCOME_AUTH : OUTCOME_STORE))
		return wrong(p, "nobody waits for this answer");
	bool sent = travels(p, type, w->buf, w->len, fd, session_expects(p->session), &msg);
	if (fd >= 0)
		close(fd);
	if (!sent)
		return false;
	struct session_output out = room_for(p, LIMIT_OUTPUT_ROOM_OCTETS);
	enum outcome outcome = auth ? session_auth(p->session, &msg, &out, p->now)
				    : session_store(p->session, &msg, &out, p->now);
	if (auth && msg.fd >= 0)
		close(msg.fd);
	took(p, &out, outcome);
	return true;
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
		return wrong(p, "LIST asks for what is not there");
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
		return wrong(p, "FETCH asks for what is not there");
	uint64_t octets = mail_octets(p, idx, &flags);
	msg_put_u64(w, 0);
	msg_put_u64(w, p->mail_lens[idx]);
	msg_put_u64(w, octets);
	msg_put_u32(w, flags);
	return answer(p, MSG_STORE_MESSAGE, w, message_file(p->mails[idx], p->mail_lens[idx]));
}

static bool store_answers(struct player *p)
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
		return answer(p, MSG_STORE_COMMITTED, &w, -1);
	default:
		return wrong(p, "the store is asked something else");
	}
}

/* What a front does between two steps of the script. */
static bool pump_once(struct player *p, bool *again_r)
{
	struct session_output out = room_for(p, LIMIT_OUTPUT_ROOM_OCTETS);
	size_t used;
	*again_r = false;
	switch (p->outcome) {
	case OUTCOME_STREAM:
		out.size = p->style->room != 0 ? p->style->room : LIMIT_OUTPUT_OCTETS;
		took(p, &out, session_fill(p->session, &out, p->now));
		*again_r = true;
		return true;
	case OUTCOME_STORE:
		*again_r = !p->store_scripted;
		return p->store_scripted || store_answers(p);
	case OUTCOME_STARTTLS:
		if (p->input_len > 0)
			took(p, &out, session_injected(p->session));
		return true;
	case OUTCOME_MORE_INPUT:
		if (!p->fresh_input && p->input_len >= session_input_limit(p->session))
			return wrong(p, "the session wants more than it said to buffer");
		if (!p->fresh_input)
			return true;
		/* fall through */
	case OUTCOME_INPUT:
		if (p->input_len == 0)
			return true;
		p->fresh_input = false;
		size_t limit = session_input_limit(p->session);
		size_t len = p->input_len < limit ? p->input_len : limit;
		/* An exact copy, so that a sanitizer sees a read past its end. */
		uint8_t *view = malloc(len);
		memcpy(view, p->input, len);
		took(p, &out, session_input(p->session, view, len, &used, &out, p->now));
		free(view);
		if (used > len)
			return wrong(p, "it took more than there was");
		memmove(p->input, p->input + used, p->input_len - used);
		p->input_len -= used;
		if (used > 0 && p->input_len > 0)
			p->fresh_input = true;
		*again_r = true;
		return true;
	default:
		return true;
	}
}

static bool pump(struct player *p)
{
	bool again = true;
	while (again) {
		if (!pump_once(p, &again))
			return false;
	}
	return true;
}

static bool client_sends(struct player *p, const uint8_t *octets, size_t len)
{
	size_t piece = p->style->piece != 0 ? p->style->piece : len;
	while (len > 0) {
		size_t now = piece < len ? piece : len;
		if (p->outcome == OUTCOME_CLOSE || p->outcome == OUTCOME_DROP)
			return true;
		memcpy(p->input + p->input_len, octets, now);
		p->input_len += now;
		p->fresh_input = true;
		octets += now;
		len -= now;
		if (!pump(p))
			return false;
	}
	return true;
}

static bool server_sent(struct player *p, const uint8_t *octets, size_t len)
{
	char a[1300], b[1300];
	if (p->output_len < len || memcmp(p->output, octets, len) != 0)
		return wrong(p, "want %.300s, have %.300s", escape(octets, len, a),
		    escape(p->output, p->output_len, b));
	memmove(p->output, p->output + len, p->output_len - len);
	p->output_len -= len;
	return true;
}

static bool server_line(struct player *p, const char *text)
{
	uint8_t *line = (uint8_t *)p->scratch;
	size_t len = unescape(text, line);
	const uint8_t *lf = memchr(p->output, '\n', p->output_len);
	if (len >= 3 && memcmp(line + len - 3, "...", 3) == 0 && lf != NULL) {
		size_t has = (size_t)(lf - p->output) + 1;
		if (has >= len - 3 + 2 && memcmp(p->output, line, len - 3) == 0)
			return server_sent(p, memcpy(line, p->output, has), has);
	}
	memcpy(line + len, "\r\n", 2);
	return server_sent(p, line, len + 2);
}

static bool nothing_left(struct player *p)
{
	char text[1300];
	return p->output_len == 0 ||
	       wrong(p, "the server also sent %s", escape(p->output, p->output_len, text));
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

static bool read_start(struct player *p, const struct msg *msg, char *text)
{
	struct msg_reader r = {.buf = msg->body, .len = msg->len};
	struct peer peer;
	char octets[1300], address[PEER_TEXT_OCTETS];
	size_t len;
	uint64_t id = msg_get_u64(&r);
	uint8_t protocol = msg_get_u8(&r), tls = msg_get_u8(&r), mechanism = msg_get_u8(&r),
		initial = msg_get_u8(&r);
	msg_get_peer(&r, &peer);
	uint16_t reserved = msg_get_u16(&r);
	const uint8_t *rest = msg_get_rest(&r, &len);
	peer_text(&peer, address);
	if (!msg_end(&r) || id != p->params.id || protocol != p->params.protocol || tls > 1 ||
	    reserved != 0 || strcmp(address, "192.0.2.7") != 0)
		return wrong(p, "START is not well formed");
	const char *name = mechanism_name(p, mechanism);
	bool blocks =
	    strcmp(name, "USERPASS") == 0 || strcmp(name, "PLAIN") == 0 || strcmp(name, "LOGIN") == 0;
	if (blocks != session_request(p->session)->may_block)
		return wrong(p, "START goes to the wrong kind of process");
	snprintf(text, 1400, "START %s %s%s", name, initial ? "initial:" : "none", escape(rest, len, octets));
	return true;
}

static bool auth_asked(struct player *p, const char *want)
{
	const struct session_request *request = session_request(p->session);
	char text[1400] = "nothing", octets[1300];
	struct msg msg;
	if (p->outcome != OUTCOME_AUTH)
		return wrong(p, "auth is not asked");
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
		snprintf(text, sizeof text, "STEP %s", escape(msg.body, msg.len, octets));
	}
	return strcmp(text, want) == 0 || wrong(p, "auth is asked %s", text);
}

static bool store_asked(struct player *p, const char *want)
{
	const struct session_request *request = session_request(p->session);
	char text[1400] = "nothing";
	struct msg msg = {.type = MSG_NONE};
	if (p->outcome != OUTCOME_STORE)
		return wrong(p, "the store is not asked");
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
	return strcmp(text, want) == 0 || wrong(p, "the store is asked %s", text);
}

static uint8_t refusal_of(const char *text)
{
	return strncmp(text, "PERM", 4) == 0     ? REFUSAL_PERM
	       : strncmp(text, "AUTH", 4) == 0   ? REFUSAL_AUTH
	       : strncmp(text, "IN_USE", 6) == 0 ? REFUSAL_IN_USE
	       : strncmp(text, "GONE", 4) == 0   ? REFUSAL_GONE
						 : REFUSAL_TEMP;
}

static bool auth_answers(struct player *p, const char *text)
{
	struct msg_writer w = {.buf = (uint8_t *)p->scratch, .size = TEXT_OCTETS};
	const char *rest;
	if (strcmp(text, "LOST") == 0) {
		struct session_output out = room_for(p, LIMIT_OUTPUT_ROOM_OCTETS);
		took(p, &out, session_auth_lost(p->session, &out, p->now));
		return pump(p);
	}
	unsigned count;
	int skip = 0;
	if (sscanf(text, "MORE* %u %n", &count, &skip) == 1 && skip > 0) {
		for (unsigned i = 0; i < count; i++)
			w.len += unescape(text + skip, w.buf + w.len);
		return answer(p, MSG_AUTH_MORE, &w, -1) && pump(p);
	}
	if (starts(text, "MORE ", &rest)) {
		w.len = unescape(rest, w.buf);
		return answer(p, MSG_AUTH_MORE, &w, -1) && pump(p);
	}
	if (starts(text, "DONE ", &rest)) {
		w.len = unescape(rest, w.buf);
		return answer(p, MSG_AUTH_DONE, &w, open("/dev/null", O_RDONLY | O_CLOEXEC)) && pump(p);
	}
	if (!starts(text, "FAIL ", &rest))
		return wrong(p, "what does auth say?");
	msg_put_u8(&w, refusal_of(rest));
	const char *octets = strchr(rest, ' ');
	if (octets != NULL)
		w.len += unescape(octets + 1, w.buf + w.len);
	return answer(p, MSG_AUTH_FAIL, &w, -1) && pump(p);
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
		size_t len = unescape(word, uidl);
		msg_put_u8(w, (uint8_t)len);
		msg_put_bytes(w, uidl, len);
	}
	struct msg_writer back = {.buf = w->buf + count_at, .size = 4};
	msg_put_u32(&back, count);
	return true;
}

static bool message_answer(struct player *p, struct msg_writer *w, const char *text)
{
	unsigned long long length, octets;
	unsigned flags;
	int at = 0;
	static uint8_t file[65536];
	if (sscanf(text, "%llu %llu %u %n", &length, &octets, &flags, &at) != 3)
		return wrong(p, "which message?");
	msg_put_u64(w, 0);
	msg_put_u64(w, length);
	msg_put_u64(w, octets);
	msg_put_u32(w, flags);
	size_t len = unescape(text + at, file);
	return answer(p, MSG_STORE_MESSAGE, w, message_file(file, len)) && pump(p);
}

static bool store_says(struct player *p, const char *text)
{
	struct msg_writer w = {.buf = (uint8_t *)p->scratch, .size = TEXT_OCTETS};
	const char *rest;
	unsigned count;
	unsigned long long octets;
	if (strcmp(text, "LOST") == 0) {
		struct session_output out = room_for(p, LIMIT_OUTPUT_ROOM_OCTETS);
		took(p, &out, session_store_lost(p->session, &out, p->now));
		return pump(p);
	}
	if (sscanf(text, "OPENED %u %llu", &count, &octets) == 2) {
		msg_put_u32(&w, count);
		msg_put_u64(&w, octets);
		return answer(p, MSG_STORE_OPENED, &w, -1) && pump(p);
	}
	if (starts(text, "REFUSED ", &rest)) {
		msg_put_u8(&w, refusal_of(rest));
		return answer(p, MSG_STORE_REFUSED, &w, -1) && pump(p);
	}
	if (starts(text, "LISTED ", &rest)) {
		if (!put_listed(&w, rest))
			return wrong(p, "what does the store list?");
		return answer(p, MSG_STORE_LISTED, &w, -1) && pump(p);
	}
	if (starts(text, "MESSAGE ", &rest))
		return message_answer(p, &w, rest);
	if (strcmp(text, "COMMITTED") == 0)
		return answer(p, MSG_STORE_COMMITTED, &w, -1) && pump(p);
	return wrong(p, "what does the store say?");
}

static bool passes(struct player *p, const char *text)
{
	uint64_t until = p->now + strtoull(text, NULL, 10) * 1000;
	for (;;) {
		uint64_t deadline = session_deadline(p->session);
		if (deadline > until)
			break;
		if (deadline > p->now)
			p->now = deadline;
		struct session_output out = room_for(p, LIMIT_OUTPUT_ROOM_OCTETS);
		took(p, &out, session_expired(p->session, &out, p->now));
		if (!pump(p))
			return false;
	}
	p->now = until;
	return true;
}

static void set_mechanisms(struct player *p, const char *value)
{
	char *save;
	snprintf(p->mechanism_text, sizeof p->mechanism_text, "%s", value);
	p->config.mechanism_count = 0;
	for (char *word = strtok_r(p->mechanism_text, ",", &save); word != NULL;
	     word = strtok_r(NULL, ",", &save))
		p->mechanisms[p->config.mechanism_count++] = word;
	p->mechanisms[p->config.mechanism_count] = NULL;
}

static void without(struct player *p, const char *value)
{
	for (size_t i = 0; i < p->config.mechanism_count; i++) {
		if (strcmp(p->mechanisms[i], value) == 0)
			p->params.offers.mechanisms &= ~(UINT32_C(1) << i);
	}
}

static bool set(struct player *p, const char *text)
{
	const char *value = strchr(text, ' ');
	value = value != NULL ? value + 1 : "";
	if (strncmp(text, "protocol ", 9) == 0) {
		p->params.protocol = strcmp(value, "kpop") == 0    ? PROTOCOL_KPOP
				     : strcmp(value, "pop3s") == 0 ? PROTOCOL_POP3S
								   : PROTOCOL_POP3;
		p->params.tls = p->params.protocol == PROTOCOL_POP3S;
	} else if (strncmp(text, "plaintext ", 10) == 0) {
		p->config.plaintext = strcmp(value, "always") == 0     ? PLAINTEXT_ALWAYS
				      : strcmp(value, "loopback") == 0 ? PLAINTEXT_LOOPBACK
								       : PLAINTEXT_TLS;
	} else if (strncmp(text, "mechanisms ", 11) == 0) {
		set_mechanisms(p, strcmp(value, "none") == 0 ? "" : value);
	} else if (strncmp(text, "without ", 8) == 0) {
		without(p, value);
	} else if (strcmp(text, "apop") == 0) {
		p->config.apop = true;
	} else if (strcmp(text, "no-user-pass") == 0) {
		p->config.user_pass = false;
	} else if (strcmp(text, "no-tls") == 0) {
		p->params.offers.tls = false;
	} else if (strcmp(text, "no-kpop") == 0) {
		p->params.offers.kpop = false;
	} else if (strcmp(text, "loopback") == 0) {
		p->params.loopback = true;
	} else if (strcmp(text, "no-implementation") == 0) {
		p->config.implementation = false;
	} else {
		return wrong(p, "set what?");
	}
	return true;
}

static bool add_mail(struct player *p, const char *text)
{
	if (p->mail_count == MAILS_COUNT)
		return wrong(p, "too much mail");
	char *mail = malloc(strlen(text) + 1);
	p->mail_lens[p->mail_count] = unescape(text, (uint8_t *)mail);
	p->mails[p->mail_count++] = mail;
	return true;
}

static bool begin(struct player *p)
{
	struct session_output out = room_for(p, LIMIT_OUTPUT_ROOM_OCTETS);
	p->started = true;
	p->session = session_new(&p->params, p->now);
	if (p->session == NULL)
		return wrong(p, "no memory");
	took(p, &out, session_begin(p->session, &out));
	return pump(p);
}

static bool tls_started(struct player *p)
{
	struct session_output out = room_for(p, LIMIT_OUTPUT_ROOM_OCTETS);
	if (p->outcome != OUTCOME_STARTTLS)
		return wrong(p, "TLS does not begin here");
	took(p, &out, session_tls_started(p->session, "TLSv1.3 TLS_AES_256_GCM_SHA384", &out, p->now));
	return pump(p);
}

static bool ended(struct player *p, enum outcome outcome, bool lingers)
{
	if (p->outcome != outcome || (outcome == OUTCOME_CLOSE && session_lingers(p->session) != lingers))
		return wrong(p, "it did not end so, but with outcome %d%s", (int)p->outcome,
		    session_lingers(p->session) ? ", lingering" : "");
	if (session_conversing(p->session) || session_maildrop(p->session))
		return wrong(p, "it ended, but keeps a peer");
	return nothing_left(p);
}

static bool octets_times(struct player *p, const char *text, bool client)
{
	unsigned count;
	int at = 0;
	uint8_t *octets = (uint8_t *)p->scratch;
	size_t len = 0;
	if (sscanf(text, "%u %n", &count, &at) != 1 || at == 0)
		return wrong(p, "how many times?");
	for (unsigned i = 0; i < count; i++)
		len += unescape(text + at, octets + len);
	return client ? client_sends(p, octets, len) : server_sent(p, octets, len);
}

static bool word_step(struct player *p, const char *text)
{
	const char *rest;
	if (starts(text, "wait ", &rest))
		return passes(p, rest);
	if (strcmp(text, "tls") == 0)
		return tls_started(p);
	if (strcmp(text, "close") == 0)
		return ended(p, OUTCOME_CLOSE, false);
	if (strcmp(text, "linger") == 0)
		return ended(p, OUTCOME_CLOSE, true);
	if (strcmp(text, "drop") == 0)
		return ended(p, OUTCOME_DROP, false);
	if (strcmp(text, "open") == 0)
		return (p->outcome != OUTCOME_CLOSE && p->outcome != OUTCOME_DROP) ||
		       wrong(p, "it is closed");
	if (strcmp(text, "talking") == 0)
		return session_conversing(p->session) || wrong(p, "the conversation is over");
	if (strcmp(text, "silent") == 0)
		return !session_conversing(p->session) || wrong(p, "the conversation is not over");
	if (starts(text, "summary ", &rest))
		return strcmp(session_summary(p->session), rest) == 0 ||
		       wrong(p, "summary %s", session_summary(p->session));
	return wrong(p, "what is %s?", text);
}

static bool step(struct player *p, const char *text)
{
	const char *rest;
	if (text[0] == 0 || text[0] == '#')
		return true;
	if (starts(text, "set ", &rest))
		return set(p, rest);
	if (starts(text, "mail ", &rest))
		return add_mail(p, rest);
	if (!p->started && !begin(p))
		return false;
	if (starts(text, "C: ", &rest)) {
		size_t len = unescape(rest, (uint8_t *)p->scratch);
		memcpy(p->scratch + len, "\r\n", 2);
		return client_sends(p, (uint8_t *)p->scratch, len + 2);
	}
	if (strcmp(text, "C:") == 0)
		return client_sends(p, (const uint8_t *)"\r\n", 2);
	if (starts(text, "C| ", &rest))
		return client_sends(p, (uint8_t *)p->scratch, unescape(rest, (uint8_t *)p->scratch));
	if (starts(text, "C* ", &rest) || starts(text, "S* ", &rest))
		return octets_times(p, rest, text[0] == 'C');
	if (starts(text, "S: ", &rest))
		return server_line(p, rest);
	if (strcmp(text, "S:") == 0)
		return server_line(p, "");
	if (starts(text, "S| ", &rest))
		return server_sent(p, (uint8_t *)p->scratch, unescape(rest, (uint8_t *)p->scratch));
	if (starts(text, "A? ", &rest))
		return auth_asked(p, rest);
	if (starts(text, "A: ", &rest))
		return auth_answers(p, rest);
	if (starts(text, "M? ", &rest))
		return store_asked(p, rest);
	if (starts(text, "M: ", &rest))
		return store_says(p, rest);
	return word_step(p, text);
}

/* The store answers by itself unless the script is about to speak for it. */
static bool store_is_scripted(char *const *lines, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (lines[i][0] == 'M' && (lines[i][1] == ':' || lines[i][1] == '?'))
			return true;
		if (lines[i][0] != 0 && lines[i][0] != '#' && strncmp(lines[i], "wait ", 5) != 0)
			return false;
	}
	return false;
}

static void run(struct player *p, char **lines, size_t count)
{
	for (size_t i = 0; i < count && p->why[0] == 0; i++) {
		p->line = (unsigned)i + 1;
		p->store_scripted = store_is_scripted(lines + i + 1, count - i - 1);
		if (strncmp(lines[i], "M: ", 3) == 0 && p->outcome != OUTCOME_STORE &&
		    strcmp(lines[i], "M: LOST") != 0)
			wrong(p, "the store is not asked");
		else
			step(p, lines[i]);
	}
	if (p->why[0] == 0)
		nothing_left(p);
}

static char *read_script(const char *path)
{
	FILE *file = fopen(path, "rb");
	char *text = calloc(1, TEXT_OCTETS);
	if (file == NULL || text == NULL) {
		free(text);
		return NULL;
	}
	size_t len = fread(text, 1, TEXT_OCTETS - 1, file);
	text[len] = 0;
	fclose(file);
	return text;
}

static size_t split(char *text, char **lines, size_t size)
{
	size_t count = 0;
	while (*text != 0 && count < size) {
		lines[count++] = text;
		text += strcspn(text, "\n");
		if (*text == '\n')
			*text++ = 0;
	}
	return count;
}

static void defaults(struct player *p)
{
	static char hostname[] = "mail.example.org";
	p->config = (struct config){.hostname = hostname,
	    .mechanisms = p->mechanisms,
	    .user_pass = true,
	    .authorization_secs = 180,
	    .idle_secs = 600,
	    .tls_handshake_secs = 30,
	    .kpop_handshake_secs = 30,
	    .implementation = true};
	p->params = (struct session_params){.config = &p->config,
	    .offers = {UINT32_MAX, true, true},
	    .id = 0x1234567890ABCDEF,
	    .peer = {.address = {[10] = 0xFF, 0xFF, 192, 0, 2, 7}, .port = 40000}};
	p->now = 1000000;
	set_mechanisms(p, "GSSAPI,SCRAM-SHA-256-PLUS,SCRAM-SHA-256,CRAM-MD5,PLAIN");
}

const char *play(const char *path, const struct play_style *style)
{
	static struct player player;
	static char *lines[4000];
	player = (struct player){.style = style};
	char *text = read_script(path);
	if (text == NULL || msg_pair(player.pair) != 0)
		return "cannot begin";
	player.input = malloc(TEXT_OCTETS);
	player.output = malloc(4 * TEXT_OCTETS);
	player.scratch = malloc(TEXT_OCTETS);
	defaults(&player);
	run(&player, lines, split(text, lines, sizeof lines / sizeof lines[0]));
	session_free(&player.session);
	for (uint32_t i = 0; i < player.mail_count; i++)
		free(player.mails[i]);
	free(player.input);
	free(player.output);
	free(player.scratch);
	free(text);
	close(player.pair[0]);
	close(player.pair[1]);
	return player.why[0] != 0 ? player.why : NULL;
}
