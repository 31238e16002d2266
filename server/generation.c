/* SPDX-License-Identifier: ISC */
#include "server/generation.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/check.h"
#include "server/generation_private.h"
#include "server/log.h"
#include "server/msg.h"

const struct kind_row generation_kinds[KIND_COUNT] = {
    [KIND_TOKEN] = {"auth", auth_main, KEYWATCH_KEYTAB | KEYWATCH_SECRETS, true},
    [KIND_PASSWORD] = {"auth (passwords)", auth_main, KEYWATCH_SECRETS, false},
    [KIND_STORE] = {"store", store_main, 0, false},
    [KIND_CHECKER] = {"checker", checker_main, KEYWATCH_KEYTAB, false},
    [KIND_DELIVERER] = {"deliverer", deliverer_main, 0, false},
    [KIND_FRONT] = {"front", front_main, 0, false},
    [KIND_LMTP] = {"lmtp", lmtp_main, 0, false},
};

/* How long roles have to begin: a keytab on a slow disk, a large certificate chain; then something is wrong.
 */
enum { BEGIN_SECS = 30 };
/* For a role that cannot begin any more: a full disk, a keytab that went away. */
enum { BACKOFF_MOST_MSECS = 10000 };

static void fail(struct generation *g);

const struct config *generation_config(const struct generation *g)
{
	return g->config;
}

void generation_advance(struct generation *g)
{
	if (g->stage == STAGE_SERVANTS && servants_ready(g, KIND_FIRST, KIND_LAST_INNER)) {
		g->stage = STAGE_FRONTS;
		g->offers = servants_offers(g);
		if (servants_start(g, KIND_FIRST_OUTER, KIND_LAST) < 0)
			fail(g);
	} else if (g->stage == STAGE_FRONTS && servants_ready(g, KIND_FIRST_OUTER, KIND_LAST)) {
		g->stage = STAGE_LIVE;
		event_del(g->begin_deadline);
		renewal_live(g);
		g->tell(g->arg, g, GENERATION_LIVE);
	} else if (g->stage >= STAGE_LIVE) {
		servants_tell_offers(g);
	}
}

static void all_gone(struct generation *g)
{
	if (servants_alive(g, KIND_FIRST, KIND_LAST) == 0)
		g->tell(g->arg, g, GENERATION_GONE);
}

static void replace(struct servant *s, pid_t pid, bool was_ready, int wait_status)
{
	unsigned wait = backoff_next(&s->backoff_msecs, was_ready, BACKOFF_MOST_MSECS);
	log_warning("%s %d died (%s)%s: starting another in %u ms", generation_kinds[s->kind].name, (int)pid,
	    child_end_text(wait_status), was_ready ? "" : " before it served", wait);
	servant_restart_later(s, wait);
}

void generation_lost(struct generation *g, struct servant *s, int wait_status)
{
	bool was_ready = s->ready, leaves = s->standing == STANDING_LEAVES;
	pid_t pid = s->child.pid;
	s->child.pid = 0;
	s->ready = false;
	if (!leaves && (g->stage == STAGE_SERVANTS || g->stage == STAGE_FRONTS)) {
		log_error(
		    "%s could not begin (%s)", generation_kinds[s->kind].name, child_end_text(wait_status));
		fail(g);
		return;
	}
	bool serves = g->stage == STAGE_LIVE || (g->stage == STAGE_RETIRING && s->kind <= KIND_LAST_INNER);
	if (!leaves && serves) {
		replace(s, pid, was_ready, wait_status);
		return;
	}
	if (leaves)
		servant_free(s);
	if (g->stage == STAGE_RETIRING && servants_alive(g, KIND_FIRST_OUTER, KIND_LAST) == 0)
		generation_end(g);
	else if (g->stage == STAGE_ENDING)
		all_gone(g);
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
	servants_cut(g, KIND_FIRST, KIND_LAST);
	g->tell(g->arg, g, GENERATION_FAILED);
	all_gone(g);
}

void generation_retire(struct generation *g)
{
	if (g->stage != STAGE_LIVE)
		return;
	g->stage = STAGE_RETIRING;
	renewal_stop(g);
	for (struct servant *s = g->servants; s != NULL; s = s->next)
		if (s->kind >= KIND_FIRST_OUTER) {
			event_del(s->restart);
			child_retire(&s->child);
		}
	if (servants_alive(g, KIND_FIRST_OUTER, KIND_LAST) == 0)
		generation_end(g);
}

void generation_end(struct generation *g)
{
	g->stage = STAGE_ENDING;
	event_del(g->begin_deadline);
	renewal_stop(g);
	for (struct servant *s = g->servants; s != NULL; s = s->next)
		event_del(s->restart);
	servants_cut(g, KIND_FIRST, KIND_LAST);
	all_gone(g);
}

void generation_kill(struct generation *g)
{
	for (const struct servant *s = g->servants; s != NULL; s = s->next)
		if (s->child.pid != 0)
			kill(s->child.pid, SIGKILL);
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
	while (g->servants != NULL)
		servant_free(g->servants);
	renewal_clear(g);
	if (g->begin_deadline != NULL)
		event_free(g->begin_deadline);
	close_pair(g->doors.token);
	close_pair(g->doors.password);
	close_pair(g->doors.store);
	close_pair(g->doors.checker);
	close_pair(g->doors.deliverer);
	config_free(&g->config);
	free(g);
	*generation = NULL;
}

/* With a process for each session, one parent of each kind forks them all. */
size_t generation_places(const struct config *config, enum kind kind)
{
	bool process = config->isolation == ISOLATION_PROCESS;
	switch (kind) {
	case KIND_TOKEN:
		return config->auth_processes;
	case KIND_PASSWORD:
		return config->password_processes;
	case KIND_STORE:
		return process ? 1 : config->store_processes;
	case KIND_CHECKER:
		return check_needed(config);
	case KIND_DELIVERER:
	case KIND_LMTP:
		return listeners_want(config, true);
	case KIND_FRONT:
		return process ? 1 : config->front_processes;
	case KIND_COUNT:
		break;
	}
	return 0;
}

static int make_servants(struct generation *g)
{
	for (int k = 0; k < KIND_COUNT; k++)
		for (size_t i = generation_places(g->config, (enum kind)k); i > 0; i--)
			if (servant_new(g, (enum kind)k, STANDING_SERVES) == NULL)
				return -1;
	return 0;
}

struct generation *generation_start(struct event_base *base, struct config *config,
    const struct listeners *listeners, int penalty, generation_fn *tell, void *arg)
{
	struct timeval deadline = {.tv_sec = BEGIN_SECS};
	struct generation *g = calloc(1, sizeof *g);
	if (g == NULL)
		return NULL;
	*g = (struct generation){.base = base,
	    .config = config,
	    .doors = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}},
	    .offers = {.tls = config->certificate != NULL},
	    .penalty = penalty,
	    .tell = tell,
	    .arg = arg};
	listeners_split(listeners, config, &g->listeners, &g->lmtp_listeners);
	g->begin_deadline = evtimer_new(base, on_begin_deadline, g);
	if (g->begin_deadline == NULL || event_add(g->begin_deadline, &deadline) < 0 ||
	    msg_pair(g->doors.token) < 0 || msg_pair(g->doors.password) < 0 || msg_pair(g->doors.store) < 0 ||
	    msg_pair(g->doors.checker) < 0 || msg_pair(g->doors.deliverer) < 0 || renewal_init(g) < 0 ||
	    make_servants(g) < 0 || servants_start(g, KIND_FIRST, KIND_LAST_INNER) < 0) {
		g->config = NULL; /* stays the caller's */
		generation_kill(g);
		generation_free(&g);
	}
	return g;
}
