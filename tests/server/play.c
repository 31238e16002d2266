/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/server/player.h"

bool play_wrong(struct player *p, const char *format, ...)
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

size_t play_unescape(const char *text, uint8_t *out)
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

char *play_escape(const uint8_t *in, size_t len, char *out)
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

bool play_starts(const char *text, const char *with, const char **rest_r)
{
	size_t len = strlen(with);
	*rest_r = text + len;
	return strncmp(text, with, len) == 0;
}

/* One call's output, collected. */
struct session_output play_room(struct player *p, size_t size)
{
	return (struct session_output){.buf = p->output + p->output_len, .size = size};
}

void play_took(struct player *p, const struct session_output *out, enum outcome outcome)
{
	p->output_len += out->used;
	p->outcome = outcome;
}

/* What a front does between two steps of the script. */
static bool pump_once(struct player *p, bool *again_r)
{
	struct session_output out = play_room(p, LIMIT_OUTPUT_ROOM_OCTETS);
	size_t used;
	*again_r = false;
	switch (p->outcome) {
	case OUTCOME_STREAM:
		out.size = p->style->room != 0 ? p->style->room : LIMIT_OUTPUT_OCTETS;
		play_took(p, &out, session_fill(p->session, &out, p->now));
		*again_r = true;
		return true;
	case OUTCOME_STORE:
		*again_r = !p->store_scripted;
		return p->store_scripted || play_store_answers(p);
	case OUTCOME_STARTTLS:
		if (p->input_len > 0)
			play_took(p, &out, session_injected(p->session));
		return true;
	case OUTCOME_MORE_INPUT:
		if (!p->fresh_input && p->input_len >= session_input_limit(p->session))
			return play_wrong(p, "the session wants more than it said to buffer");
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
		play_took(p, &out, session_input(p->session, view, len, &used, &out, p->now));
		free(view);
		if (used > len)
			return play_wrong(p, "it took more than there was");
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

bool play_pump(struct player *p)
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
		if (!play_pump(p))
			return false;
	}
	return true;
}

static bool server_sent(struct player *p, const uint8_t *octets, size_t len)
{
	char a[1300], b[1300];
	if (p->output_len < len || memcmp(p->output, octets, len) != 0)
		return play_wrong(p, "want %.300s, have %.300s", play_escape(octets, len, a),
		    play_escape(p->output, p->output_len, b));
	memmove(p->output, p->output + len, p->output_len - len);
	p->output_len -= len;
	return true;
}

static bool server_line(struct player *p, const char *text)
{
	uint8_t *line = (uint8_t *)p->scratch;
	size_t len = play_unescape(text, line);
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
	       play_wrong(p, "the server also sent %s", play_escape(p->output, p->output_len, text));
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
		struct session_output out = play_room(p, LIMIT_OUTPUT_ROOM_OCTETS);
		play_took(p, &out, session_expired(p->session, &out, p->now));
		if (!play_pump(p))
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
			p->offers.mechanisms &= ~(UINT32_C(1) << i);
	}
}

static enum saslx_binding_policy policy_of(const char *value)
{
	return strcmp(value, "require") == 0 ? SASLX_BINDING_REQUIRE
	       : strcmp(value, "allow") == 0 ? SASLX_BINDING_ALLOW
					     : SASLX_BINDING_OFF;
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
	} else if (strncmp(text, "binding ", 8) == 0) {
		p->config.channel_binding = policy_of(value);
	} else if (strncmp(text, "gssapi-binding ", 15) == 0) {
		p->config.gssapi_channel_binding = policy_of(value);
	} else if (strncmp(text, "bindings ", 9) == 0) {
		p->bindings = (unsigned)atoi(value);
	} else if (strncmp(text, "delay ", 6) == 0) {
		p->config.login_delay_secs = (unsigned)atoi(value);
	} else if (strncmp(text, "expire ", 7) == 0) {
		p->config.expire_days = (unsigned)atoi(value);
	} else if (strncmp(text, "class ", 6) == 0) {
		p->class.users = p->class_users;
		p->class.expire_days = CONFIG_UNSET;
		sscanf(value, "%63s %u %u", p->class_user, &p->class.login_delay_secs, &p->class.expire_days);
		p->config.classes = &p->class;
		p->config.class_count = 1;
	} else if (strncmp(text, "without ", 8) == 0) {
		without(p, value);
	} else if (strcmp(text, "apop") == 0) {
		p->config.apop = true;
	} else if (strcmp(text, "no-user-pass") == 0) {
		p->config.user_pass = false;
	} else if (strcmp(text, "no-tls") == 0) {
		p->offers.tls = false;
	} else if (strcmp(text, "no-kpop") == 0) {
		p->offers.kpop = false;
	} else if (strcmp(text, "no-passwords") == 0) {
		p->offers.passwords = false;
	} else if (strcmp(text, "all-works") == 0) {
		p->offers = (struct offers){UINT32_MAX, true, true, true};
	} else if (strcmp(text, "loopback") == 0) {
		p->params.loopback = true;
	} else if (strcmp(text, "no-implementation") == 0) {
		p->config.implementation = false;
	} else {
		return play_wrong(p, "set what?");
	}
	return true;
}

static bool add_mail(struct player *p, const char *text)
{
	if (p->mail_count == PLAY_MAILS_COUNT)
		return play_wrong(p, "too much mail");
	char *mail = malloc(strlen(text) + 1);
	p->mail_lens[p->mail_count] = play_unescape(text, (uint8_t *)mail);
	p->mails[p->mail_count++] = mail;
	return true;
}

static void bind_session(struct player *p)
{
	struct saslx_binding bindings[SASLX_BINDINGS_COUNT];
	size_t count = 0;
	for (unsigned type = 0; type < SASLX_BINDINGS_COUNT; type++) {
		if ((p->bindings & 1u << type) == 0)
			continue;
		bindings[count] = (struct saslx_binding){.type = (enum saslx_binding_type)type, .len = 32};
		memset(bindings[count++].octets, 'a' + (int)type, 32);
	}
	session_bind(p->session, bindings, count);
}

static bool begin(struct player *p)
{
	struct session_output out = play_room(p, LIMIT_OUTPUT_ROOM_OCTETS);
	p->started = true;
	p->session = session_new(&p->params, p->now);
	if (p->session == NULL)
		return play_wrong(p, "no memory");
	if (p->params.tls)
		bind_session(p);
	play_took(p, &out, session_begin(p->session, &out));
	return play_pump(p);
}

static bool tls_started(struct player *p)
{
	struct session_output out = play_room(p, LIMIT_OUTPUT_ROOM_OCTETS);
	if (p->outcome != OUTCOME_STARTTLS)
		return play_wrong(p, "TLS does not begin here");
	bind_session(p);
	play_took(p, &out, session_tls_started(p->session, "TLSv1.3 TLS_AES_256_GCM_SHA384", &out, p->now));
	return play_pump(p);
}

static bool layer_started(struct player *p)
{
	if (p->outcome != OUTCOME_LAYER)
		return play_wrong(p, "no layer begins here");
	struct layer *layer = session_take_layer(p->session);
	if (layer == NULL)
		return play_wrong(p, "there is no layer to begin");
	layer_free(&layer);
	p->outcome = OUTCOME_INPUT;
	return play_pump(p);
}

static bool ended(struct player *p, enum outcome outcome, bool lingers)
{
	if (p->outcome != outcome || (outcome == OUTCOME_CLOSE && session_lingers(p->session) != lingers))
		return play_wrong(p, "it did not end so, but with outcome %d%s", (int)p->outcome,
		    session_lingers(p->session) ? ", lingering" : "");
	if (session_conversing(p->session) || session_maildrop(p->session))
		return play_wrong(p, "it ended, but keeps a peer");
	return nothing_left(p);
}

static bool octets_times(struct player *p, const char *text, bool client)
{
	unsigned count;
	int at = 0;
	uint8_t *octets = (uint8_t *)p->scratch;
	size_t len = 0;
	if (sscanf(text, "%u %n", &count, &at) != 1 || at == 0)
		return play_wrong(p, "how many times?");
	for (unsigned i = 0; i < count; i++)
		len += play_unescape(text + at, octets + len);
	return client ? client_sends(p, octets, len) : server_sent(p, octets, len);
}

static bool word_step(struct player *p, const char *text)
{
	const char *rest;
	if (play_starts(text, "wait ", &rest))
		return passes(p, rest);
	if (strcmp(text, "tls") == 0)
		return tls_started(p);
	if (strcmp(text, "layer") == 0)
		return layer_started(p);
	if (strcmp(text, "close") == 0)
		return ended(p, OUTCOME_CLOSE, false);
	if (strcmp(text, "linger") == 0)
		return ended(p, OUTCOME_CLOSE, true);
	if (strcmp(text, "drop") == 0)
		return ended(p, OUTCOME_DROP, false);
	if (strcmp(text, "open") == 0)
		return (p->outcome != OUTCOME_CLOSE && p->outcome != OUTCOME_DROP) ||
		       play_wrong(p, "it is closed");
	if (strcmp(text, "talking") == 0)
		return session_conversing(p->session) || play_wrong(p, "the conversation is over");
	if (strcmp(text, "silent") == 0)
		return !session_conversing(p->session) || play_wrong(p, "the conversation is not over");
	if (play_starts(text, "summary ", &rest))
		return strcmp(session_summary(p->session), rest) == 0 ||
		       play_wrong(p, "summary %s", session_summary(p->session));
	return play_wrong(p, "what is %s?", text);
}

static bool step(struct player *p, const char *text)
{
	const char *rest;
	if (text[0] == 0 || text[0] == '#')
		return true;
	if (play_starts(text, "set ", &rest))
		return set(p, rest);
	if (play_starts(text, "mail ", &rest))
		return add_mail(p, rest);
	if (!p->started && !begin(p))
		return false;
	if (play_starts(text, "C: ", &rest)) {
		size_t len = play_unescape(rest, (uint8_t *)p->scratch);
		memcpy(p->scratch + len, "\r\n", 2);
		return client_sends(p, (uint8_t *)p->scratch, len + 2);
	}
	if (strcmp(text, "C:") == 0)
		return client_sends(p, (const uint8_t *)"\r\n", 2);
	if (play_starts(text, "C| ", &rest))
		return client_sends(p, (uint8_t *)p->scratch, play_unescape(rest, (uint8_t *)p->scratch));
	if (play_starts(text, "C* ", &rest) || play_starts(text, "S* ", &rest))
		return octets_times(p, rest, text[0] == 'C');
	if (play_starts(text, "S: ", &rest))
		return server_line(p, rest);
	if (strcmp(text, "S:") == 0)
		return server_line(p, "");
	if (play_starts(text, "S| ", &rest))
		return server_sent(p, (uint8_t *)p->scratch, play_unescape(rest, (uint8_t *)p->scratch));
	if (play_starts(text, "A? ", &rest))
		return play_auth_asked(p, rest);
	if (play_starts(text, "A: ", &rest))
		return play_auth_answers(p, rest);
	if (play_starts(text, "M? ", &rest))
		return play_store_asked(p, rest);
	if (play_starts(text, "M: ", &rest))
		return play_store_says(p, rest);
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
		    strcmp(lines[i], "M: LOST") != 0 && strncmp(lines[i], "M: REFUSED ", 11) != 0)
			play_wrong(p, "the store is not asked");
		else
			step(p, lines[i]);
	}
	if (p->why[0] == 0)
		nothing_left(p);
}

static char *read_script(const char *path)
{
	FILE *file = fopen(path, "rb");
	char *text = calloc(1, PLAY_TEXT_OCTETS);
	if (file == NULL || text == NULL) {
		free(text);
		return NULL;
	}
	size_t len = fread(text, 1, PLAY_TEXT_OCTETS - 1, file);
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
	    .expire_days = CONFIG_NEVER,
	    .implementation = true};
	p->class_users[0] = p->class_user;
	p->offers = (struct offers){.mechanisms = UINT32_MAX, .kpop = true, .tls = true, .passwords = true};
	p->params = (struct session_params){.config = &p->config,
	    .offers = &p->offers,
	    .id = 0x1234567890ABCDEF,
	    .peer = {.address = {[10] = 0xFF, 0xFF, 192, 0, 2, 7}, .port = 40000}};
	p->now = 1000000;
	p->config.channel_binding = SASLX_BINDING_ALLOW;
	p->bindings = 3;
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
	player.input = malloc(PLAY_TEXT_OCTETS);
	player.output = malloc(4 * PLAY_TEXT_OCTETS);
	player.scratch = malloc(PLAY_TEXT_OCTETS);
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
