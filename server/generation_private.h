/* SPDX-License-Identifier: ISC */
/*
 * generation_private: what the modules of a generation share; nobody else includes it.
 *
 * generation.c owns the stages of its life; servant.c the processes: start, words on the leash, death,
 * another in their place; renewal.c replaces those that hold keys when the keys have changed, and those
 * that stand still.
 */
#ifndef KPOPD_SERVER_GENERATION_PRIVATE_H
#define KPOPD_SERVER_GENERATION_PRIVATE_H

#include "server/child.h"
#include "server/generation.h"
#include "server/keywatch.h"
#include "server/role.h"

/* Those that clients reach come last, for they begin when the others serve. */
enum kind {
	KIND_TOKEN = 0,
	KIND_PASSWORD,
	KIND_STORE,
	KIND_CHECKER,
	KIND_DELIVERER,
	KIND_FRONT,
	KIND_LMTP,
	KIND_COUNT,
	KIND_FIRST = KIND_TOKEN,
	KIND_LAST_INNER = KIND_DELIVERER,
	KIND_FIRST_OUTER = KIND_FRONT,
	KIND_LAST = KIND_LMTP
};

struct kind_row {
	const char *name;
	child_fn *main;
	unsigned reads; /* KEYWATCH_ bits: files it reads at its start and never again */
	bool pinged;    /* never waits for anything, so it answers at once or is in trouble */
};
extern const struct kind_row generation_kinds[KIND_COUNT];

enum stage { STAGE_SERVANTS = 0, STAGE_FRONTS, STAGE_LIVE, STAGE_RETIRING, STAGE_ENDING };

enum standing {
	STANDING_SERVES = 0, /* has a place: is replaced when it dies */
	STANDING_FRESH,      /* begins, to take the place of one that serves */
	STANDING_LEAVES,     /* its place is taken: finishes and ends */
};

struct servant {
	struct generation *generation;
	struct servant *next;
	enum kind kind;
	enum standing standing;
	struct child child; /* pid 0: dead, or not begun yet */
	struct event *leash_event, *restart;
	bool ready;
	struct offers offers; /* what it said when it was ready */
	unsigned backoff_msecs;
	uint64_t asked_msecs; /* since when a ping has had no answer; 0: none is due */
	struct role role;
};

struct renewal {
	struct keywatch watch;
	unsigned wanted, running; /* kinds, as bits */
	unsigned again;           /* how often in a row the files moved under the new ones */
	unsigned backoff_msecs;
	uint64_t next_msecs; /* not before this */
	uint64_t next_ping_msecs;
	struct event *tick, *deadline;
};

struct generation {
	struct event_base *base;
	struct config *config;
	struct listeners listeners, lmtp_listeners; /* for fronts, and for lmtp */
	struct doors doors;
	struct offers offers;
	enum stage stage;
	struct servant *servants; /* the oldest first */
	struct renewal renewal;
	struct event *begin_deadline;
	int penalty; /* the table that all auth processes share */
	generation_fn *tell;
	void *arg;
};

/* ---- generation.c ---- */

/* How many processes of a kind have a place. */
size_t generation_places(const struct config *config, enum kind kind);
/* A servant that is not fresh is ready. */
void generation_advance(struct generation *generation);
/* One that had a place, or was leaving, is dead and reaped; servants may be freed. */
void generation_lost(struct generation *generation, struct servant *servant, int wait_status);

/* ---- servant.c ---- */

struct servant *servant_new(struct generation *generation, enum kind kind, enum standing standing);
/* Unlinks it; its process, if there is one, ends. */
void servant_free(struct servant *servant);
/* 0, or -1 with a line in the log. */
int servant_start(struct servant *servant);
/* The leash is cut: the process ends as soon as what it does allows. */
void servant_cut(struct servant *servant);
void servant_restart_later(struct servant *servant, unsigned msecs);
/* Asks it to finish and end; nothing takes its place. May free it. */
void servant_leave(struct servant *servant);

int servants_start(struct generation *generation, enum kind first, enum kind last);
void servants_cut(struct generation *generation, enum kind first, enum kind last);
bool servants_ready(const struct generation *generation, enum kind first, enum kind last);
size_t servants_alive(const struct generation *generation, enum kind first, enum kind last);
/* What all that serve now can do together; a kind of which none is ready keeps what it could. */
struct offers servants_offers(const struct generation *generation);
/* To every front that serves, if it is something new. */
void servants_tell_offers(struct generation *generation);

/* ---- renewal.c ---- */

/* Before the first servant begins. 0, or -1: no memory. */
int renewal_init(struct generation *generation);
void renewal_live(struct generation *generation);
/* No more: what has begun ends. */
void renewal_stop(struct generation *generation);
void renewal_clear(struct generation *generation);
/* A fresh servant is ready, or (and is then freed) has died. */
void renewal_ready(struct generation *generation);
void renewal_lost(struct generation *generation, struct servant *servant, int wait_status);

#endif
