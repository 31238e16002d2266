/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/work.h"

static enum heard wrong(const char *what, const char *buf, size_t len)
{
	const char *end = memchr(buf, '\r', len);
	size_t shown = end ? (size_t)(end - buf) : len;
	fprintf(stderr, "load: %s, got \"%.*s\"\n", what, (int)(shown < 100 ? shown : 100), buf);
	return HEARD_WRONG;
}

/* The length of the first line in buf, CRLF included; 0: not whole yet. */
static size_t whole_line(const char *buf, size_t len)
{
	const char *end = memchr(buf, '\n', len);
	return end ? (size_t)(end - buf) + 1 : 0;
}

static enum heard hear_ok(struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r)
{
	(void)dialogue;
	*used_r = whole_line(buf, len);
	if (*used_r == 0)
		return HEARD_PART;
	return *used_r >= 5 && memcmp(buf, "+OK", 3) == 0 && buf[*used_r - 2] == '\r'
		   ? HEARD_ALL
		   : wrong("+OK expected", buf, len);
}

static int say(struct dialogue *dialogue, const char *text)
{
	dialogue->out_len = strlen(text);
	memcpy(dialogue->out, text, dialogue->out_len);
	return 0;
}

/* PLAIN with an initial response (RFC 5034 section 4). */
static int say_plain(struct dialogue *dialogue)
{
	uint8_t message[600];
	int len =
	    snprintf((char *)message, sizeof(message), "%c%s%c%s", 0, dialogue->user, 0, dialogue->password);
	if (len < 0 || (size_t)len >= sizeof(message))
		return -1;
	say(dialogue, "AUTH PLAIN ");
	int made = EVP_EncodeBlock((uint8_t *)dialogue->out + dialogue->out_len, message, len);
	dialogue->out_len += (size_t)made;
	memcpy(dialogue->out + dialogue->out_len, "\r\n", 2);
	dialogue->out_len += 2;
	return 0;
}

static int say_argument(struct dialogue *dialogue, const char *verb, const char *argument)
{
	int len = snprintf(dialogue->out, sizeof(dialogue->out), "%s %s\r\n", verb, argument);
	dialogue->out_len = (size_t)len;
	return len > 0 && (size_t)len < sizeof(dialogue->out) ? 0 : -1;
}

static int say_user(struct dialogue *dialogue)
{
	return say_argument(dialogue, "USER", dialogue->user);
}

static int say_pass(struct dialogue *dialogue)
{
	return say_argument(dialogue, "PASS", dialogue->password);
}

static int say_stat(struct dialogue *dialogue)
{
	return say(dialogue, "STAT\r\n");
}

static int say_list(struct dialogue *dialogue)
{
	return say(dialogue, "LIST\r\n");
}

static int say_uidl(struct dialogue *dialogue)
{
	return say(dialogue, "UIDL\r\n");
}

static int say_quit(struct dialogue *dialogue)
{
	return say(dialogue, "QUIT\r\n");
}

static enum heard hear_stat(struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r)
{
	enum heard heard = hear_ok(dialogue, buf, len, used_r);
	if (heard != HEARD_ALL)
		return heard;
	char line[100];
	snprintf(line, sizeof(line), "%.*s", (int)(*used_r - 2), buf);
	if (sscanf(line, "+OK %" SCNu64 " %" SCNu64, &dialogue->count, &dialogue->octets) != 2)
		return wrong("+OK with two numbers expected", buf, len);
	return HEARD_ALL;
}

/*
 * Takes whole and part lines of a long answer, counts lines in *lines_r and octets, without stuffed dots, in
 * dialogue->seen when octets is set. HEARD_ALL: the terminator was there.
 */
static enum heard hear_body(
    struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r, bool octets)
{
	size_t at = 0;
	while (at < len) {
		const char *line = buf + at, *end = memchr(line, '\n', len - at);
		size_t line_len = end ? (size_t)(end - line) + 1 : len - at;
		bool dot = !dialogue->in_line && line[0] == '.';
		if (dot && !end && line_len < 3)
			break;
		at += line_len;
		if (dot && line_len == 3 && line[1] == '\r') {
			dialogue->in_body = false;
			*used_r = at;
			return HEARD_ALL;
		}
		dialogue->in_line = !end;
		if (octets)
			dialogue->seen += line_len - dot;
		else if (end)
			dialogue->seen++;
	}
	*used_r = at;
	return HEARD_PART;
}

/* The status line of a long answer, then its body. */
static enum heard hear_long(
    struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r, bool octets)
{
	size_t taken = 0, more = 0;
	if (!dialogue->in_body) {
		enum heard heard = hear_ok(dialogue, buf, len, &taken);
		if (heard != HEARD_ALL) {
			*used_r = taken;
			return heard;
		}
		dialogue->in_body = true;
		dialogue->in_line = false;
	}
	enum heard heard = hear_body(dialogue, buf + taken, len - taken, &more, octets);
	*used_r = taken + more;
	return heard;
}

static enum heard hear_listing(struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r)
{
	enum heard heard = hear_long(dialogue, buf, len, used_r, false);
	if (heard == HEARD_ALL && dialogue->seen != dialogue->count)
		return wrong("as many lines as STAT said expected", "another number", 14);
	if (heard == HEARD_ALL)
		dialogue->seen = 0;
	return heard;
}

static int say_retr(struct dialogue *dialogue)
{
	char number[24];
	snprintf(number, sizeof(number), "%" PRIu64, dialogue->retrieved + 1);
	return say_argument(dialogue, "RETR", number);
}

/* All messages together must have the octets that STAT announced. */
static enum heard hear_retr(struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r)
{
	enum heard heard = hear_long(dialogue, buf, len, used_r, true);
	if (heard != HEARD_ALL)
		return heard;
	if (++dialogue->retrieved < dialogue->count && dialogue->retrieved < dialogue->limit)
		return HEARD_ONE;
	if (dialogue->retrieved == dialogue->count && dialogue->seen != dialogue->octets)
		return wrong("as many octets as STAT said expected", "another number", 14);
	return HEARD_ALL;
}

/* A challenge: "+ " and base64, perhaps nothing. Decoded into dialogue->challenge. */
static enum heard hear_challenge(struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r)
{
	*used_r = whole_line(buf, len);
	if (*used_r == 0)
		return HEARD_PART;
	if (*used_r < 4 || memcmp(buf, "+ ", 2) != 0)
		return wrong("+ expected", buf, len);
	size_t encoded = *used_r - 4;
	if (encoded % 4 != 0 || encoded / 4 * 3 > sizeof(dialogue->challenge))
		return wrong("base64 expected", buf, len);
	int made = EVP_DecodeBlock((uint8_t *)dialogue->challenge, (const uint8_t *)buf + 2, (int)encoded);
	if (made < 0)
		return wrong("base64 expected", buf, len);
	for (size_t i = *used_r - 3; encoded > 0 && buf[i] == '='; i--)
		made--;
	dialogue->challenge_len = (size_t)made;
	return HEARD_ALL;
}

static int say_gssapi(struct dialogue *dialogue)
{
	dialogue->challenge_len = 0;
	return say(dialogue, "AUTH GSSAPI\r\n");
}

static int say_base64(struct dialogue *dialogue, const uint8_t *token, int len)
{
	if (len < 0 || (size_t)len > (sizeof(dialogue->out) - 3) / 4 * 3 - 3)
		return -1;
	dialogue->out_len = (size_t)EVP_EncodeBlock((uint8_t *)dialogue->out, token, len);
	memcpy(dialogue->out + dialogue->out_len, "\r\n", 2);
	dialogue->out_len += 2;
	return 0;
}

static int say_token(struct dialogue *dialogue)
{
	uint8_t token[WORK_OUT_OCTETS / 2];
	int len = proof_gss_token(
	    dialogue->proof, dialogue->challenge, dialogue->challenge_len, token, sizeof(token));
	return say_base64(dialogue, token, len);
}

static int choose(struct dialogue *dialogue, int layer)
{
	uint8_t token[1024];
	int len = proof_gss_choice(dialogue->proof, layer, dialogue->challenge, dialogue->challenge_len,
	    dialogue->user, token, sizeof(token));
	return say_base64(dialogue, token, len);
}

static int say_choice(struct dialogue *dialogue)
{
	return choose(dialogue, 1);
}

static int say_layer(struct dialogue *dialogue)
{
	return choose(dialogue, 4);
}

static enum heard hear_layer(struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r)
{
	enum heard heard = hear_ok(dialogue, buf, len, used_r);
	dialogue->layered = heard == HEARD_ALL;
	return heard;
}

static void put_length(char *to, size_t len)
{
	for (int i = 0; i < 4; i++)
		to[i] = (char)(uint8_t)(len >> (24 - 8 * i));
}

static int say_sendauth(struct dialogue *dialogue)
{
	static const char hello[36] = "\0\0\0\x13KRB5_SENDAUTH_V1.0\0\0\0\0\x09KPOPV1.0";
	memcpy(dialogue->out, hello, sizeof(hello));
	dialogue->out_len = sizeof(hello);
	return 0;
}

static enum heard hear_sendauth(struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r)
{
	(void)dialogue;
	*used_r = 1;
	return buf[0] == 0 ? HEARD_ALL : wrong("one octet 0 expected", buf, len);
}

static int say_apreq(struct dialogue *dialogue)
{
	int len = proof_apreq(dialogue->proof, dialogue->out + 4, sizeof(dialogue->out) - 4);
	if (len < 0)
		return -1;
	put_length(dialogue->out, (size_t)len);
	dialogue->out_len = (size_t)len + 4;
	return 0;
}

/* Four octets 0, then the AP-REP behind its length. */
static enum heard hear_aprep(struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r)
{
	*used_r = 0;
	if (len < 4)
		return HEARD_PART;
	if (memcmp(buf, "\0\0\0\0", 4) != 0)
		return wrong("no KRB-ERROR expected", "one", 3);
	if (len < 8)
		return HEARD_PART;
	const uint8_t *at = (const uint8_t *)buf + 4;
	size_t rep_len = (size_t)at[2] << 8 | at[3];
	if (at[0] != 0 || at[1] != 0)
		return wrong("an AP-REP of less than 64 KiB expected", "more", 4);
	if (len < 8 + rep_len)
		return HEARD_PART;
	*used_r = 8 + rep_len;
	return proof_aprep(dialogue->proof, at + 4, rep_len) == 0 ? HEARD_ALL : HEARD_WRONG;
}

static const struct step greeting = {NULL, hear_ok}, plain = {say_plain, hear_ok}, user = {say_user, hear_ok},
			 pass = {say_pass, hear_ok}, stat_ = {say_stat, hear_stat},
			 list = {say_list, hear_listing}, uidl = {say_uidl, hear_listing},
			 retr = {say_retr, hear_retr}, quit = {say_quit, hear_ok}, rest = {NULL, NULL},
			 sendauth = {say_sendauth, hear_sendauth}, apreq = {say_apreq, hear_aprep},
			 gssapi = {say_gssapi, hear_challenge}, token = {say_token, hear_challenge},
			 choice = {say_choice, hear_ok}, layer = {say_layer, hear_layer};

static const struct work works[] = {
    {"plain", false, false, {&greeting, &plain, &stat_, &quit}},
    {"userpass", false, false, {&greeting, &user, &pass, &stat_, &quit}},
    {"gssapi", false, true, {&greeting, &gssapi, &token, &token, &choice, &stat_, &quit}},
    {"kpop", false, true, {&sendauth, &apreq, &greeting, &user, &pass, &stat_, &quit}},
    {"tls", true, false, {&greeting, &plain, &stat_, &quit}},
    {"fetch", false, false, {&greeting, &plain, &stat_, &retr, &quit}},
    {"big", false, false, {&greeting, &plain, &stat_, &retr, &quit}},
    {"bigtls", true, false, {&greeting, &plain, &stat_, &retr, &quit}},
    {"biglayer", false, true, {&greeting, &gssapi, &token, &token, &layer, &stat_, &retr, &quit}},
    {"list", false, false, {&greeting, &plain, &stat_, &uidl, &list, &quit}},
    {"idle", false, false, {&greeting, &plain, &stat_, &rest}},
    {"idletls", true, false, {&greeting, &plain, &stat_, &rest}},
};

#define WORKS_COUNT (sizeof(works) / sizeof(works[0]))

const struct work *work_find(const char *name)
{
	for (size_t i = 0; i < WORKS_COUNT; i++)
		if (strcmp(works[i].name, name) == 0)
			return &works[i];
	return NULL;
}

void work_names(char *text_r, size_t size)
{
	size_t len = 0;
	for (size_t i = 0; i < WORKS_COUNT && len < size; i++)
		len += (size_t)snprintf(text_r + len, size - len, "%s%s", i > 0 ? " " : "", works[i].name);
}

/* Says what the present step says; goes past steps that only say. */
static enum progress enter(struct dialogue *dialogue)
{
	const struct step *step = dialogue->work->steps[dialogue->step];
	if (!step)
		return PROGRESS_DONE;
	if (step->say && step->say(dialogue) < 0)
		return PROGRESS_FAILED;
	return step->hear ? PROGRESS_WAIT : PROGRESS_REST;
}

enum progress dialogue_begin(struct dialogue *dialogue)
{
	if (dialogue->work->tickets && !(dialogue->proof = proof_new(dialogue->ticket)))
		return PROGRESS_FAILED;
	return enter(dialogue);
}

enum progress dialogue_input(struct dialogue *dialogue, const char *buf, size_t len, size_t *used_r)
{
	size_t used = 0, one = 0;
	enum progress progress = PROGRESS_WAIT;
	while (used < len && progress == PROGRESS_WAIT && dialogue->out_len == 0) {
		const struct step *step = dialogue->work->steps[dialogue->step];
		enum heard heard = step->hear(dialogue, buf + used, len - used, &one);
		used += one;
		if (heard == HEARD_PART)
			break;
		if (heard == HEARD_WRONG)
			progress = PROGRESS_FAILED;
		else {
			dialogue->step += heard == HEARD_ALL;
			progress = enter(dialogue);
		}
	}
	*used_r = used;
	return progress;
}

void dialogue_end(struct dialogue *dialogue)
{
	if (dialogue->proof)
		proof_free(&dialogue->proof);
}
