/* SPDX-License-Identifier: ISC */
/*
 * player: what the two halves of play share: the script's steps (play.c), and what auth and the store
 * are asked and answer (play_peers.c). Functions that return bool are false when the script has failed.
 */
#ifndef KPOPD_TESTS_SERVER_PLAYER_H
#define KPOPD_TESTS_SERVER_PLAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "server/session.h"
#include "tests/server/play.h"

#define PLAY_TEXT_OCTETS 400000u
#define PLAY_MAILS_COUNT 8u

struct player {
	const struct play_style *style;
	struct config config;
	struct listener_config listener;
	struct class_config class;
	char *class_users[2], class_user[64];
	unsigned bindings; /* bits of what TLS can be bound to */
	char *mechanisms[LIMIT_MECHANISMS_COUNT + 1];
	char mechanism_text[1024];
	struct offers offers;
	struct session_params params;
	struct session *session;
	enum outcome outcome;
	uint64_t now;
	uint8_t *input, *output; /* waiting octets of both sides */
	size_t input_len, output_len;
	char *scratch;
	char *mails[PLAY_MAILS_COUNT];
	size_t mail_lens[PLAY_MAILS_COUNT];
	uint32_t mail_count;
	int pair[2];
	bool fresh_input; /* octets came since the session said that it needs more */
	bool started, store_scripted;
	unsigned line;
	char why[1024];
};

/* Remembers the first thing that went wrong. */
bool play_wrong(struct player *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Escapes of a script to octets; out has room for as many as text has characters. */
size_t play_unescape(const char *text, uint8_t *out);
/* And back, the first 300 of them; out has room for 1,300. */
char *play_escape(const uint8_t *in, size_t len, char *out);
bool play_starts(const char *text, const char *with, const char **rest_r);
/* One call's output, collected. */
struct session_output play_room(struct player *p, size_t size);
void play_took(struct player *p, const struct session_output *out, enum outcome outcome);
/* What a front does between two steps of the script. */
bool play_pump(struct player *p);

/* play_peers.c */
bool play_store_answers(struct player *p); /* from the mail lines */
bool play_auth_asked(struct player *p, const char *want);
bool play_store_asked(struct player *p, const char *want);
bool play_auth_answers(struct player *p, const char *text);
bool play_store_says(struct player *p, const char *text);

#endif
