/* SPDX-License-Identifier: ISC */
#include "server/generation.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/check.h"
#include "server/child.h"
#include "server/log.h"
#include "server/mechanism.h"
#include "server/msg.h"
#include "server/role.h"

enum kind { KIND_TOKEN = 0, KIND_PASSWORD, KIND_STORE, KIND_CHECKER, KIND_FRONT, KIND_COUNT };

static const struct {
	const char *name;
	child_fn *main;
} kinds[KIND_COUNT] = {
    [KIND_TOKEN] = {"auth", auth_main},
    [KIND_PASSWORD] = {"auth (passwords)", auth_main},
    [KIND_STORE] = {"store", store_main},
    [KIND_CHECKER] = {"checker", checker_main},
    [KIND_FRONT] = {"front", front_main},
};

enum stage { STAGE_SERVANTS = 0, STAGE_FRONTS, STAGE_LIVE, STAGE_RETIRING, STAGE_ENDING };

/* How long roles have to begin: a keytab on a slow disk, a large certificate chain; then something is wrong.
 */
enum { BEGIN_SECS = 30 };
/* For a role that cannot begin any more: a full disk, a keytab that went away. */
enum { BACKOFF_MOST_MSECS = 10000 };

struct servant {
	struct generation *generation;
	enum kind kind;
	struct child child;
	struct event *leash_event, *restart;
	bool ready;
	unsigned backoff_msecs;
	struct role role;
};

struct generation {
	struct event_base *base;
	struct config *config;
	struct listeners listeners;
	struct doors doors;
	struct offers offers;
	enum stage stage;
	struct servant *servants;
	size_t count;
	struct event *begin_deadline;
	generation_fn *tell;
	void *arg;
};

static void fail(struct generation *g);

const struct config *generation_config(const struct generation *g)
{
	return g->config;
}

static void servant_lost(struct servant *s)
{
	if (s->leash_event != NULL)
		event_free(s->leash_event);
	s->leash_event = NULL;
	child_cut(&s->child);
}

/* Each bit of a mechanism comes from the kind of auth process that serves it. */
static void note_offers(struct servant *s, uint32_t mechanisms, bool kpop)
{
	struct generation *g = s->generation;
	for (size_t i = 0; i < g->config->mechanism_count; i++) {
		bool password = mechanism_find(g->config->mechanisms[i])->may_block;
		if (password == (s->kind == KIND_PASSWORD) && (mechanisms >> i & 1) != 0)
			g->offers.mechanisms |= 1u << i;
	}
	if (s->kind == KIND_TOKEN)
		g->offers.kpop = kpop;
}

static void on_leash(evutil_socket_t fd, short what, void *arg);

static int servant_start(struct servant *s)
{
	struct generation *g = s->generation;
	s->ready = false;
	s->role = (struct role){.config = g->config,
	    .listeners = &g->listeners,
	    .doors = &g->doors,
	    .offers = g->offers,
	    .password = s->kind == KIND_PASSWORD};
	if (child_start(&s->child, kinds[s->kind].main, &s->role) < 0) {
		log_error("cannot start %s: %s", kinds[s->kind].name, strerror(errno));
		return -1;
	}
	s->leash_event = event_new(g->base, s->child.leash, EV_READ | EV_PERSIST, on_leash, s);
	if (s->leash_event == NULL || event_add(s->leash_event, NULL) < 0) {
		servant_lost(s);
		return -1;
	}
	return 0;
}

static int start_kinds(struct generation *g, enum kind first, enum kind last)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->servants[i].kind >= first && g->servants[i].kind <= last &&
		    servant_start(&g->servants[i]) < 0)
			return -1;
	return 0;
}

static bool all_ready(const struct generation *g, enum kind first, enum kind last)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->servants[i].kind >= first && g->servants[i].kind <= last && !g->servants[i].ready)
			return false;
	return true;
}

static void advance(struct generation *g)
{
	if (g->stage == STAGE_SERVANTS && all_ready(g, KIND_TOKEN, KIND_CHECKER)) {
		g->stage = STAGE_FRONTS;
		if (start_kinds(g, KIND_FRONT, KIND_FRONT) < 0)
			fail(g);
	} else if (g->stage == STAGE_FRONTS && all_ready(g, KIND_FRONT, KIND_FRONT)) {
		g->stage = STAGE_LIVE;
		event_del(g->begin_deadline);
		g->tell(g->arg, g, GENERATION_LIVE);
	}
}

static void on_leash(evutil_socket_t fd, short what, void *arg)
{
	struct servant *s = arg;
	uint8_t buf[LIMIT_MSG_FIXED_OCTETS];
	struct msg msg;
	(void)what;
	int got = msg_recv(fd, MSG_AT_PARENT, buf, sizeof buf, &msg);
	if (got == MSG_AGAIN)
		return;
	if (got != MSG_OK || msg.type != MSG_CHILD_READY || s->ready) {
		/* It has ended, or breaks the table; then it may not mind a cut leash either. SIGCHLD tells
		 * the rest. */
		servant_lost(s);
		if (s->child.pid != 0)
			kill(s->child.pid, SIGKILL);
		return;
	}
	struct msg_reader r = {msg.body, msg.len, false};
	uint32_t mechanisms = msg_get_u32(&r);
	bool kpop = msg_get_u8(&r) != 0;
	s->ready = true;
	note_offers(s, mechanisms, kpop);
	advance(s->generation);
}

static void on_restart(evutil_socket_t fd, short what, void *arg)
{
	struct servant *s = arg;
	(void)fd, (void)what;
	if (s->generation->stage >= STAGE_ENDING || s->child.pid != 0)
		return;
	if (servant_start(s) < 0) {
		struct timeval tv = {.tv_sec = 1};
		event_add(s->restart, &tv);
	}
}

static size_t alive(const struct generation *g, enum kind first, enum kind last)
{
	size_t n = 0;
	for (size_t i = 0; i < g->count; i++)
		n += g->servants[i].child.pid != 0 && g->servants[i].kind >= first &&
		     g->servants[i].kind <= last;
	return n;
}

static void cut_kinds(struct generation *g, enum kind first, enum kind last)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->servants[i].kind >= first && g->servants[i].kind <= last)
			servant_lost(&g->servants[i]);
}

static void servant_died(struct servant *s, int wait_status)
{
	struct generation *g = s->generation;
	bool was_ready = s->ready;
	pid_t pid = s->child.pid;
	s->child.pid = 0;
	s->ready = false;
	servant_lost(s);
	if (g->stage == STAGE_SERVANTS || g->stage == STAGE_FRONTS) {
		log_error("%s could not begin (%s)", kinds[s->kind].name, child_end_text(wait_status));
		fail(g);
		return;
	}
	bool serves = g->stage == STAGE_LIVE || (g->stage == STAGE_RETIRING && s->kind != KIND_FRONT);
	if (serves) {
		unsigned wait = backoff_next(&s->backoff_msecs, was_ready, BACKOFF_MOST_MSECS);
		struct timeval tv = {.tv_sec = wait / 1000, .tv_usec = (suseconds_t)(wait % 1000) * 1000};
		log_warning("%s %d died (%s)%s: starting another in %u ms", kinds[s->kind].name, (int)pid,
		    child_end_text(wait_status), was_ready ? "" : " before it served", wait);
		event_add(s->restart, &tv);
		return;
	}
	if (g->stage == STAGE_RETIRING && alive(g, KIND_FRONT, KIND_FRONT) == 0)
		generation_end(g);
	else if (g->stage == STAGE_ENDING && alive(g, KIND_TOKEN, KIND_FRONT) == 0)
		g->tell(g->arg, g, GENERATION_GONE);
}

bool generation_reaped(struct generation *g, pid_t pid, int wait_status)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->servants[i].child.pid == pid) {
			servant_died(&g->servants[i], wait_status);
			return true;
		}
	return false;
}

static void on_begin_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	log_error("some role did not begin within %d s", BEGIN_SECS);
	fail(arg);
}

static void fail(struct generation *g)
{
	if (g->stage >= STAGE_LIVE)
		return;
	event_del(g->begin_deadline);
	g->stage = STAGE_ENDING;
	cut_kinds(g, KIND_TOKEN, KIND_FRONT);
	g->tell(g->arg, g, GENERATION_FAILED);
	if (alive(g, KIND_TOKEN, KIND_FRONT) == 0)
		g->tell(g->arg, g, GENERATION_GONE);
}

void generation_retire(struct generation *g)
{
	if (g->stage != STAGE_LIVE)
		return;
	g->stage = STAGE_RETIRING;
	for (size_t i = 0; i < g->count; i++)
		if (g->servants[i].kind == KIND_FRONT) {
			event_del(g->servants[i].restart);
			child_retire(&g->servants[i].child);
		}
	if (alive(g, KIND_FRONT, KIND_FRONT) == 0)
		generation_end(g);
}

void generation_end(struct generation *g)
{
	g->stage = STAGE_ENDING;
	event_del(g->begin_deadline);
	for (size_t i = 0; i < g->count; i++)
		event_del(g->servants[i].restart);
	cut_kinds(g, KIND_TOKEN, KIND_FRONT);
	if (alive(g, KIND_TOKEN, KIND_FRONT) == 0)
		g->tell(g->arg, g, GENERATION_GONE);
}

void generation_kill(struct generation *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->servants[i].child.pid != 0)
			kill(g->servants[i].child.pid, SIGKILL);
}

static void close_pair(const int pair[2])
{
	if (pair[0] >= 0) {
		close(pair[0]);
		close(pair[1]);
	}
}

void generation_free(struct generation **generation)
{
	struct generation *g = *generation;
	if (g == NULL)
		return;
	for (size_t i = 0; i < g->count; i++) {
		servant_lost(&g->servants[i]);
		if (g->servants[i].restart != NULL)
			event_free(g->servants[i].restart);
	}
	if (g->begin_deadline != NULL)
		event_free(g->begin_deadline);
	close_pair(g->doors.token);
	close_pair(g->doors.password);
	close_pair(g->doors.store);
	close_pair(g->doors.checker);
	config_free(&g->config);
	free(g->servants);
	free(g);
	*generation = NULL;
}

/* With a process for each session, one parent of each kind forks them all. */
static void plan(const struct config *config, size_t counts_r[KIND_COUNT])
{
	bool process = config->isolation == ISOLATION_PROCESS;
	counts_r[KIND_TOKEN] = config->auth_processes;
	counts_r[KIND_PASSWORD] = config->password_processes;
	counts_r[KIND_STORE] = process ? 1 : config->store_processes;
	counts_r[KIND_CHECKER] = check_needed(config);
	counts_r[KIND_FRONT] = process ? 1 : config->front_processes;
}

static int make_servants(struct generation *g)
{
	size_t counts[KIND_COUNT];
	plan(g->config, counts);
	for (int k = 0; k < KIND_COUNT; k++)
		g->count += counts[k];
	g->servants = calloc(g->count, sizeof *g->servants);
	if (g->servants == NULL)
		return -1;
	struct servant *s = g->servants;
	for (int k = 0; k < KIND_COUNT; k++)
		for (size_t i = 0; i < counts[k]; i++, s++) {
			*s = (struct servant){.generation = g, .kind = (enum kind)k, .child = {.leash = -1}};
			s->restart = evtimer_new(g->base, on_restart, s);
			if (s->restart == NULL)
				return -1;
		}
	return 0;
}

struct generation *generation_start(struct event_base *base, struct config *config,
    const struct listeners *listeners, generation_fn *tell, void *arg)
{
	struct timeval deadline = {.tv_sec = BEGIN_SECS};
	struct generation *g = calloc(1, sizeof *g);
	if (g == NULL)
		return NULL;
	*g = (struct generation){.base = base,
	    .config = config,
	    .listeners = *listeners,
	    .doors = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}},
	    .offers = {.tls = config->certificate != NULL},
	    .tell = tell,
	    .arg = arg};
	g->begin_deadline = evtimer_new(base, on_begin_deadline, g);
	if (g->begin_deadline == NULL || event_add(g->begin_deadline, &deadline) < 0 ||
	    msg_pair(g->doors.token) < 0 || msg_pair(g->doors.password) < 0 || msg_pair(g->doors.store) < 0 ||
	    msg_pair(g->doors.checker) < 0 || make_servants(g) < 0 ||
	    start_kinds(g, KIND_TOKEN, KIND_CHECKER) < 0) {
		g->config = NULL; /* stays the caller's */
		generation_kill(g);
		generation_free(&g);
	}
	return g;
}
