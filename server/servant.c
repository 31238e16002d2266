/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/generation_private.h"
#include "server/log.h"
#include "server/mechanism.h"
#include "server/msg.h"

static void on_leash(evutil_socket_t fd, short what, void *arg);

static void on_restart(evutil_socket_t fd, short what, void *arg)
{
	enum { AGAIN_MSECS = 1000 };
	struct servant *s = arg;
	(void)fd, (void)what;
	if (s->generation->stage < STAGE_ENDING && s->child.pid == 0 && servant_start(s) < 0)
		servant_restart_later(s, AGAIN_MSECS);
}

struct servant *servant_new(struct generation *g, enum kind kind, enum standing standing)
{
	struct servant *s = calloc(1, sizeof *s), **end = &g->servants;
	if (s == NULL)
		return NULL;
	*s = (struct servant){.generation = g, .kind = kind, .standing = standing, .child = {.leash = -1}};
	s->restart = evtimer_new(g->base, on_restart, s);
	if (s->restart == NULL) {
		free(s);
		return NULL;
	}
	while (*end != NULL)
		end = &(*end)->next;
	*end = s;
	return s;
}

void servant_cut(struct servant *s)
{
	if (s->leash_event != NULL)
		event_free(s->leash_event);
	s->leash_event = NULL;
	child_cut(&s->child);
}

void servant_free(struct servant *s)
{
	struct servant **at = &s->generation->servants;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	servant_cut(s);
	event_free(s->restart);
	free(s);
}

void servant_restart_later(struct servant *s, unsigned msecs)
{
	struct timeval tv = {.tv_sec = msecs / 1000, .tv_usec = (suseconds_t)(msecs % 1000) * 1000};
	if (event_add(s->restart, &tv) < 0)
		event_active(s->restart, EV_TIMEOUT, 0); /* too early is better than never */
}

int servant_start(struct servant *s)
{
	struct generation *g = s->generation;
	s->ready = false;
	s->asked_msecs = 0;
	s->role = (struct role){.config = g->config,
	    .listeners = s->kind == KIND_LMTP ? &g->lmtp_listeners : &g->listeners,
	    .doors = &g->doors,
	    .offers = g->offers,
	    .password = s->kind == KIND_PASSWORD,
	    .penalty = g->penalty};
	if (child_start(&s->child, generation_kinds[s->kind].main, &s->role) < 0) {
		log_error("cannot start %s: %s", generation_kinds[s->kind].name, strerror(errno));
		return -1;
	}
	s->leash_event = event_new(g->base, s->child.leash, EV_READ | EV_PERSIST, on_leash, s);
	if (s->leash_event == NULL || event_add(s->leash_event, NULL) < 0) {
		servant_cut(s);
		return -1;
	}
	return 0;
}

void servant_leave(struct servant *s)
{
	s->standing = STANDING_LEAVES;
	event_del(s->restart);
	if (s->child.pid == 0)
		servant_free(s);
	else
		child_retire(&s->child);
}

/* ---- words on the leash ---- */

static void became_ready(struct servant *s, const struct offers *offers)
{
	s->ready = true;
	s->offers = *offers;
	if (s->standing == STANDING_FRESH)
		renewal_ready(s->generation);
	else
		generation_advance(s->generation);
}

/* One word. False: it has ended, or breaks the table. */
static bool hear(struct servant *s, int leash)
{
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS];
	struct offers offers = {.mechanisms = 0};
	struct msg msg;
	int got = msg_recv(leash, MSG_AT_PARENT, buf, sizeof buf, &msg);
	if (got == MSG_AGAIN)
		return true;
	if (got != MSG_OK)
		return false;
	if (msg.type == MSG_CHILD_ALIVE && s->ready) {
		s->asked_msecs = 0;
		return true;
	}
	if (msg.type != MSG_CHILD_READY || s->ready || !offers_read(&msg, &offers))
		return false;
	became_ready(s, &offers);
	return true;
}

static void on_leash(evutil_socket_t fd, short what, void *arg)
{
	struct servant *s = arg;
	(void)what;
	if (hear(s, fd))
		return;
	/* It may not mind a cut leash either. SIGCHLD tells the rest. */
	servant_cut(s);
	if (s->child.pid != 0)
		kill(s->child.pid, SIGKILL);
}

bool generation_reaped(struct generation *g, pid_t pid, int wait_status)
{
	struct servant *s = g->servants;
	while (s != NULL && s->child.pid != pid)
		s = s->next;
	if (s == NULL)
		return false;
	servant_cut(s);
	if (s->standing == STANDING_FRESH)
		renewal_lost(g, s, wait_status);
	else
		generation_lost(g, s, wait_status);
	return true;
}

/* ---- all of them ---- */

static bool in_place(const struct servant *s, enum kind first, enum kind last)
{
	return s->kind >= first && s->kind <= last && s->standing == STANDING_SERVES;
}

int servants_start(struct generation *g, enum kind first, enum kind last)
{
	for (struct servant *s = g->servants; s != NULL; s = s->next)
		if (in_place(s, first, last) && servant_start(s) < 0)
			return -1;
	return 0;
}

bool servants_ready(const struct generation *g, enum kind first, enum kind last)
{
	for (const struct servant *s = g->servants; s != NULL; s = s->next)
		if (in_place(s, first, last) && !s->ready)
			return false;
	return true;
}

size_t servants_alive(const struct generation *g, enum kind first, enum kind last)
{
	size_t n = 0;
	for (const struct servant *s = g->servants; s != NULL; s = s->next)
		n += s->child.pid != 0 && s->kind >= first && s->kind <= last;
	return n;
}

void servants_cut(struct generation *g, enum kind first, enum kind last)
{
	for (struct servant *s = g->servants; s != NULL; s = s->next)
		if (s->kind >= first && s->kind <= last)
			servant_cut(s);
}

/* ---- what they can do ---- */

/* The mechanisms that a kind of auth process serves. */
static uint32_t mechanisms_of(const struct config *config, enum kind kind)
{
	uint32_t bits = 0;
	for (size_t i = 0; i < config->mechanism_count; i++)
		if (mechanism_find(config->mechanisms[i])->may_block == (kind == KIND_PASSWORD))
			bits |= UINT32_C(1) << i;
	return bits;
}

struct offers servants_offers(const struct generation *g)
{
	struct offers offers = g->offers;
	bool found[KIND_COUNT] = {false};
	for (const struct servant *s = g->servants; s != NULL; s = s->next) {
		if (!in_place(s, KIND_TOKEN, KIND_PASSWORD) || !s->ready)
			continue;
		uint32_t its = mechanisms_of(g->config, s->kind), can = s->offers.mechanisms & its;
		bool first = !found[s->kind];
		offers.mechanisms &= first ? ~its : ~its | can;
		offers.mechanisms |= first ? can : 0;
		if (s->kind == KIND_TOKEN)
			offers.kpop = s->offers.kpop && (first || offers.kpop);
		else
			offers.passwords = s->offers.passwords && (first || offers.passwords);
		found[s->kind] = true;
	}
	return offers;
}

static void log_offers(const struct generation *g, const struct offers *now)
{
	const struct offers *was = &g->offers;
	char gained[512] = "", lost[512] = "";
	for (size_t i = 0; i < g->config->mechanism_count; i++) {
		bool before = was->mechanisms >> i & 1, after = now->mechanisms >> i & 1;
		char *text = after ? gained : lost;
		size_t len = strlen(text);
		if (before != after)
			snprintf(text + len, sizeof gained - len, " %s", g->config->mechanisms[i]);
	}
	if (was->kpop != now->kpop)
		strncat(now->kpop ? gained : lost, " KPOP", sizeof gained - strlen(gained) - 1);
	if (lost[0] != '\0')
		log_warning("not offered any more, until it can work again:%s", lost);
	if (gained[0] != '\0')
		log_info("offered from now on:%s", gained);
}

void servants_tell_offers(struct generation *g)
{
	struct offers now = servants_offers(g);
	if (now.mechanisms == g->offers.mechanisms && now.kpop == g->offers.kpop &&
	    now.passwords == g->offers.passwords)
		return;
	log_offers(g, &now);
	g->offers = now;
	/* One that cannot be told has hundreds of words to read first: it hears of nothing any more. */
	for (struct servant *s = g->servants; s != NULL; s = s->next)
		if (s->kind == KIND_FRONT && s->child.pid != 0 && s->child.leash >= 0)
			(void)offers_send(s->child.leash, MSG_PARENT_OFFERS, &now);
}
