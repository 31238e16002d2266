/* SPDX-License-Identifier: ISC */
#include "server/guard.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/log.h"
#include "server/names.h"

/* A check that was taken and never came to an end: its process is gone. */
enum { CHECK_LEASE_MSECS = LIMIT_AUTH_WAIT_MSECS };
/* The front would give up at twice that, and the check itself takes time. */
enum { WAIT_MOST_MSECS = LIMIT_AUTH_WAIT_MSECS / 2 };
/* For each check of a source that may run, so many may wait: its users all at once, but not without end. */
enum { WAITING_FACTOR = 16 };
/* Who fails has to wait so many times as long as the check took, so a flood of failures is never most of the
 * work; the most is for a check that waited for a network. */
enum { REST_FACTOR = 4, REST_MOST_MSECS = 2000 };

void guard_begin(
    struct guarded *g, const struct guard *guard, const struct peer *peer, const char *mechanism, bool costly)
{
	*g = (struct guarded){.heard = {.kind = hearsay_kind(mechanism)}, .peer = *peer, .costly = costly};
	if (guard != NULL && guard->penalty != NULL && !networks_have(guard->exempt, peer))
		g->guard = guard;
}

static struct penalty_who who_of(const struct guarded *g, const char *user)
{
	return (struct penalty_who){g->peer.address, user, strlen(user)};
}

/*
 * Others who check passwords may not mind capitals: spellings that a site leaves apart count as one, or each
 * would be guessed at anew.
 */
static void fold(char *user)
{
	for (; *user != '\0'; user++)
		if (*user >= 'A' && *user <= 'Z')
			*user = (char)(*user - 'A' + 'a');
}

/* A turn to check; or a place among those who wait for one. */
static enum guard_word queue(struct guarded *g, uint64_t now_msecs)
{
	const struct guard *guard = g->guard;
	if (!g->costly || penalty_turn_take(guard->penalty, g->peer.address, PENALTY_TURN_CHECK,
			      guard->checks, CHECK_LEASE_MSECS, now_msecs, &g->turn)) {
		penalty_turn_give(guard->penalty, &g->place, 0, now_msecs);
		g->checking = true;
		g->checks_since_msecs = now_msecs;
		return GUARD_PASS;
	}
	if (g->waits_since_msecs == 0) {
		g->waits_since_msecs = now_msecs;
		if (penalty_turn_take(guard->penalty, g->peer.address, PENALTY_TURN_WAIT,
			guard->checks * WAITING_FACTOR, CHECK_LEASE_MSECS, now_msecs, &g->place))
			return GUARD_WAIT;
	} else if (now_msecs - g->waits_since_msecs < WAIT_MOST_MSECS) {
		return GUARD_WAIT;
	}
	snprintf(g->why, sizeof g->why, "too much of this source is being checked");
	return GUARD_FULL;
}

static enum guard_word admit(struct guarded *g, uint64_t now_msecs)
{
	const struct penalty_who who = who_of(g, g->user);
	struct penalty_advice advice = penalty_ask(g->guard->penalty, &who, now_msecs);
	if (advice.refuse_msecs != 0) {
		guard_leave(g, now_msecs);
		snprintf(g->why, sizeof g->why, "not checked, %" PRIu64 " s of a penalty are left",
		    (advice.refuse_msecs + 999) / 1000);
		return GUARD_REFUSE;
	}
	g->delay_msecs = advice.delay_msecs;
	return queue(g, now_msecs);
}

enum guard_word guard_hear(struct guarded *g, const uint8_t *octets, size_t len, uint64_t now_msecs)
{
	bool decides = hearsay_take(&g->heard, octets, len);
	if (g->guard == NULL || !decides)
		return GUARD_PASS;
	/* Another spelling is no other user, to guess at. */
	if (names_canonical(g->guard->config, g->heard.user, strlen(g->heard.user), g->user, NULL) < 0)
		memcpy(g->user, g->heard.user, sizeof g->user);
	fold(g->user);
	guard_leave(g, now_msecs); /* a site's mechanism may have several such messages */
	g->waits_since_msecs = 0;
	g->secret_seen = g->heard.secret != NULL;
	if (g->secret_seen)
		penalty_secret_hash(g->guard->penalty, g->heard.secret, g->heard.secret_len, g->secret_hash);
	g->heard.secret = NULL;
	return admit(g, now_msecs);
}

enum guard_word guard_again(struct guarded *g, uint64_t now_msecs)
{
	return g->guard == NULL ? GUARD_PASS : admit(g, now_msecs);
}

void guard_right(struct guarded *g, const char *user, uint64_t now_msecs)
{
	if (g->guard == NULL)
		return;
	if (g->user[0] == '\0') {
		snprintf(g->user, sizeof g->user, "%s", user);
		fold(g->user);
	}
	const struct penalty_who who = who_of(g, g->user);
	penalty_succeeded(g->guard->penalty, &who, now_msecs);
	guard_leave(g, now_msecs);
}

static void log_news(const struct guarded *g, const struct penalty_news *news)
{
	char peer[PEER_TEXT_OCTETS], name[LIMIT_USER_OCTETS + 1];
	peer_text(&g->peer, peer);
	log_name(g->user, name, sizeof name);
	if (news->source_secs != 0)
		log_info("penalised peer=%s secs=%u: too many failures", peer, news->source_secs);
	else if (news->pair_secs != 0)
		log_info("penalised peer=%s tried=%s secs=%u: too many failures of this user round there",
		    peer, name, news->pair_secs);
	if (news->site_secs != 0)
		log_info("penalised peer=%s secs=%u: too many failures in its /48", peer, news->site_secs);
	if (news->user_delay_msecs != 0)
		log_info(
		    "slowed tried=%s delay=%u: guessed at from many places", name, news->user_delay_msecs);
}

void guard_wrong(struct guarded *g, uint64_t now_msecs)
{
	if (g->guard == NULL || !g->checking)
		return;
	const struct penalty_who who = who_of(g, g->user);
	struct penalty_news news =
	    penalty_failed(g->guard->penalty, &who, g->secret_seen ? g->secret_hash : NULL, now_msecs);
	log_news(g, &news);
	uint64_t rest = (now_msecs - g->checks_since_msecs) * REST_FACTOR;
	penalty_turn_give(g->guard->penalty, &g->turn,
	    now_msecs + (rest < REST_MOST_MSECS ? rest : REST_MOST_MSECS), now_msecs);
	g->checking = false;
}

void guard_pause(struct guarded *g, uint64_t now_msecs)
{
	if (g->guard != NULL)
		penalty_turn_give(g->guard->penalty, &g->turn, 0, now_msecs);
}

void guard_abandon(struct guarded *g, uint64_t until_msecs, uint64_t now_msecs)
{
	if (g->guard != NULL)
		penalty_turn_give(g->guard->penalty, &g->turn, until_msecs, now_msecs);
}

void guard_leave(struct guarded *g, uint64_t now_msecs)
{
	if (g->guard == NULL)
		return;
	penalty_turn_give(g->guard->penalty, &g->turn, 0, now_msecs);
	penalty_turn_give(g->guard->penalty, &g->place, 0, now_msecs);
	g->checking = false;
}
