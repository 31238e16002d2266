/* SPDX-License-Identifier: ISC */
/*
 * renewal: new processes in place of those whose keys have changed, without anybody noticing: the new ones
 * begin beside the old ones and read the same doors; when all of them serve, the old ones take nothing new,
 * finish the conversations they hold, and end.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "server/config_check.h"
#include "server/generation_private.h"
#include "server/log.h"
#include "server/msg.h"

enum {
	LOOK_MSECS = 1000,
	LOOK_SOON_MSECS = 250, /* to see whether a file is still written */
	BEGIN_SECS = 30,
	BACKOFF_MOST_MSECS = 60000,
	AGAIN_COUNT = 5,   /* files that change all the time are taken at last */
	LEAVING_COUNT = 8, /* renewals whose conversations go on; for one more the oldest must end */
	PING_MSECS = 2000,
	STOPPED_MSECS = 5000, /* somebody stopped it: what locks it holds, all others wait for */
	STUCK_MSECS = 30000,
};

static void tick_after(struct generation *g, unsigned msecs)
{
	struct timeval tv = {.tv_sec = msecs / 1000, .tv_usec = (suseconds_t)(msecs % 1000) * 1000};
	if (event_add(g->renewal.tick, &tv) < 0)
		event_active(g->renewal.tick, EV_TIMEOUT, 0); /* too early is better than never */
}

static bool is_running(const struct generation *g, enum kind kind)
{
	return (g->renewal.running >> kind & 1) != 0;
}

/* ---- the end of one ---- */

/* The fresh ones are not to be: they end, and hear nothing more from us. */
static void drop_fresh(struct generation *g)
{
	struct servant *next;
	for (struct servant *s = g->servants; s != NULL; s = next) {
		next = s->next;
		if (s->standing != STANDING_FRESH)
			continue;
		s->standing = STANDING_LEAVES;
		servant_cut(s);
		if (s->child.pid == 0)
			servant_free(s);
	}
	g->renewal.running = 0;
	event_del(g->renewal.deadline);
}

static void failed(struct generation *g, const char *why)
{
	struct renewal *r = &g->renewal;
	r->wanted |= r->running;
	drop_fresh(g);
	r->next_msecs = now_msecs() + backoff_next(&r->backoff_msecs, false, BACKOFF_MOST_MSECS);
	log_warning("the changed keys are not taken yet: %s; the old ones serve on", why);
}

/* How many processes of a kind are leaving; the oldest of them, too. */
static size_t leaving(const struct generation *g, enum kind kind, struct servant **oldest_r)
{
	size_t n = 0;
	*oldest_r = NULL;
	for (struct servant *s = g->servants; s != NULL; s = s->next)
		if (s->kind == kind && s->standing == STANDING_LEAVES && s->child.leash >= 0) {
			if (n++ == 0)
				*oldest_r = s;
		}
	return n;
}

static void let_leave(struct generation *g, struct servant *s)
{
	struct servant *oldest;
	if (leaving(g, s->kind, &oldest) >= LEAVING_COUNT * generation_places(g->config, s->kind)) {
		log_warning("%s %d still holds conversations under keys of long ago: they end",
		    generation_kinds[oldest->kind].name, (int)oldest->child.pid);
		servant_cut(oldest);
	}
	servant_leave(s);
}

static void take(struct generation *g)
{
	struct renewal *r = &g->renewal;
	struct servant *next;
	for (struct servant *s = g->servants; s != NULL; s = next) {
		next = s->next;
		if (s->standing == STANDING_SERVES && is_running(g, s->kind))
			let_leave(g, s);
		else if (s->standing == STANDING_FRESH)
			s->standing = STANDING_SERVES;
	}
	r->running = 0;
	r->again = r->backoff_msecs = 0;
	event_del(r->deadline);
	log_info("the changed keys are taken");
	servants_tell_offers(g);
}

/* ---- its course ---- */

static int begin_kind(struct generation *g, enum kind kind)
{
	for (size_t i = generation_places(g->config, kind); i > 0; i--) {
		struct servant *s = servant_new(g, kind, STANDING_FRESH);
		if (s == NULL || servant_start(s) < 0)
			return -1;
	}
	return 0;
}

static void begin(struct generation *g)
{
	struct timeval deadline = {.tv_sec = BEGIN_SECS};
	struct renewal *r = &g->renewal;
	r->running = r->wanted;
	r->wanted = 0;
	keywatch_take(&r->watch);
	event_add(r->deadline, &deadline);
	for (int k = 0; k < KIND_COUNT; k++)
		if (is_running(g, (enum kind)k) && begin_kind(g, (enum kind)k) < 0) {
			failed(g, "no new process can be started");
			return;
		}
}

void renewal_ready(struct generation *g)
{
	struct renewal *r = &g->renewal;
	for (const struct servant *s = g->servants; s != NULL; s = s->next)
		if (s->standing == STANDING_FRESH && !s->ready)
			return;
	/* Who has read a file while it was written may know half of it, and would take the rest out of
	 * service: the look that finds it settled begins anew. */
	if (keywatch_moved(&r->watch) && ++r->again < AGAIN_COUNT) {
		r->wanted |= r->running;
		drop_fresh(g);
		tick_after(g, LOOK_SOON_MSECS);
		return;
	}
	take(g);
}

void renewal_lost(struct generation *g, struct servant *s, int wait_status)
{
	char why[128];
	snprintf(why, sizeof why, "a new %s could not begin (%s)", generation_kinds[s->kind].name,
	    child_end_text(wait_status));
	servant_free(s);
	failed(g, why);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	char why[64];
	(void)fd, (void)what;
	snprintf(why, sizeof why, "new processes did not begin within %d s", BEGIN_SECS);
	failed(arg, why);
}

/* ---- what makes it begin ---- */

/* A keytab that others could have written is as unwelcome as at the start: it is not taken. */
static bool keytab_sound(const struct generation *g)
{
	char why[512];
	if (config_check_secret(g->config->keytab, why, sizeof why) == 0)
		return true;
	log_error("keytab: %s; the keys stay as they were", why);
	return false;
}

static unsigned readers_of(unsigned files)
{
	unsigned kinds = 0;
	for (int k = 0; k < KIND_COUNT; k++)
		if ((generation_kinds[k].reads & files) != 0)
			kinds |= 1u << k;
	return kinds;
}

static void look(struct generation *g, bool *soon_r)
{
	struct renewal *r = &g->renewal;
	unsigned files = keywatch_look(&r->watch, soon_r);
	if (files == 0)
		return;
	keywatch_take(&r->watch);
	if ((files & KEYWATCH_KEYTAB) != 0 && !keytab_sound(g))
		files &= ~(unsigned)KEYWATCH_KEYTAB;
	if ((files & KEYWATCH_KEYTAB) != 0)
		log_info("keytab %s has changed", g->config->keytab);
	if ((files & KEYWATCH_SECRETS) != 0)
		log_info("the secrets file has %s", r->watch.taken.secrets ? "come" : "gone");
	r->wanted |= readers_of(files);
}

/* ---- those that stand still ---- */

/* Whether a child of ours was stopped by a signal; its report stays for others to read. */
static bool is_stopped(pid_t pid)
{
	siginfo_t info = {.si_pid = 0};
	return waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

static void ping(struct servant *s, uint64_t now)
{
	if (s->asked_msecs == 0) {
		s->asked_msecs = now;
		(void)msg_send(s->child.leash, MSG_PARENT_PING, NULL, 0, -1);
		return;
	}
	uint64_t silent = now - s->asked_msecs;
	if (silent < STOPPED_MSECS || (silent < STUCK_MSECS && !is_stopped(s->child.pid)))
		return;
	log_warning("%s %d has not answered for %u s: it is killed", generation_kinds[s->kind].name,
	    (int)s->child.pid, (unsigned)(silent / 1000));
	kill(s->child.pid, SIGKILL);
}

static void ping_all(struct generation *g)
{
	uint64_t now = now_msecs();
	if (now < g->renewal.next_ping_msecs)
		return;
	g->renewal.next_ping_msecs = now + PING_MSECS;
	for (struct servant *s = g->servants; s != NULL; s = s->next)
		if (generation_kinds[s->kind].pinged && s->ready && s->child.leash >= 0)
			ping(s, now);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct generation *g = arg;
	struct renewal *r = &g->renewal;
	bool soon = false;
	(void)fd, (void)what;
	if (g->stage == STAGE_LIVE && r->running == 0) {
		look(g, &soon);
		if (r->wanted != 0 && !soon && now_msecs() >= r->next_msecs)
			begin(g);
	}
	ping_all(g);
	tick_after(g, soon ? LOOK_SOON_MSECS : LOOK_MSECS);
}

int renewal_init(struct generation *g)
{
	keywatch_init(&g->renewal.watch, g->config);
	g->renewal.tick = evtimer_new(g->base, on_tick, g);
	g->renewal.deadline = evtimer_new(g->base, on_deadline, g);
	return g->renewal.tick == NULL || g->renewal.deadline == NULL ? -1 : 0;
}

void renewal_live(struct generation *g)
{
	char text[512];
	if (keywatch_missing_secrets(g->config, text, sizeof text))
		log_warning("%s", text);
	tick_after(g, LOOK_MSECS);
}

void renewal_stop(struct generation *g)
{
	drop_fresh(g);
	g->renewal.wanted = 0;
}

void renewal_clear(struct generation *g)
{
	if (g->renewal.tick != NULL)
		event_free(g->renewal.tick);
	if (g->renewal.deadline != NULL)
		event_free(g->renewal.deadline);
	g->renewal.tick = g->renewal.deadline = NULL;
}
