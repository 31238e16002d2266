/* SPDX-License-Identifier: ISC */
/*
 * guard: stands before everything in an attempt to log in that could be a guess.
 *
 * For conversation. It hears a client's messages before the mechanism does, and says whether the one that
 * decides may be looked at: not while its source is penalised (penalty.h), and not when too much of that
 * source is being checked already. It hears of the outcome too, and writes to the log who is penalised.
 * Tickets pass: they can be neither guessed nor tried.
 */
#ifndef KPOPD_SERVER_GUARD_H
#define KPOPD_SERVER_GUARD_H

#include "server/config.h"
#include "server/hearsay.h"
#include "server/penalty.h"

/* What a process has; all zero: everything passes. */
struct guard {
	const struct penalty *penalty;
	const struct networks *exempt; /* whoever comes from there is neither counted nor made to wait */
	unsigned checks;               /* of one source at a time; 0: any number */
	const struct config *config;   /* whom a name means */
};

/* What a conversation has; zero-initialise, guard_begin, and in the end guard_leave. */
struct guarded {
	const struct guard *guard; /* NULL: everything passes */
	struct hearsay heard;
	char user[LIMIT_USER_OCTETS + 1]; /* who is meant by what was heard, or just that; in small letters */
	struct peer peer;
	uint8_t secret_hash[PENALTY_SECRET_OCTETS];
	bool secret_seen;
	bool costly;
	bool checking; /* what decides has been let through */
	unsigned delay_msecs;
	struct turn turn, place; /* to check, and to wait for that */
	uint64_t waits_since_msecs, checks_since_msecs;
	char why[96];
};

enum guard_word {
	GUARD_PASS = 0,
	GUARD_REFUSE, /* do not look at it, and say what a wrong password would be told; why: guarded.why */
	GUARD_WAIT,   /* keep the message and guard_again in GUARD_PAUSE_MSECS */
	GUARD_FULL,   /* too much waits for that source, or has waited too long: try later */
};
enum { GUARD_PAUSE_MSECS = 10 };

/* mechanism as hearsay_kind has it; costly: to check it may cost time. guard may be NULL. */
void guard_begin(struct guarded *guarded, const struct guard *guard, const struct peer *peer,
    const char *mechanism, bool costly);
/* The client's next message, before anybody else sees it. */
enum guard_word guard_hear(struct guarded *guarded, const uint8_t *octets, size_t len, uint64_t now_msecs);
/* After GUARD_WAIT, about the same message. */
enum guard_word guard_again(struct guarded *guarded, uint64_t now_msecs);

/* The mechanism wants another message of the client, who may take his time. */
void guard_pause(struct guarded *guarded, uint64_t now_msecs);
/* How it ended; user: whose ticket it was, else who has just logged in. */
void guard_right(struct guarded *guarded, const char *user, uint64_t now_msecs);
void guard_wrong(struct guarded *guarded, uint64_t now_msecs);
/* Its client is gone while others check what it said, until then at most: its turn is not another's yet. */
void guard_abandon(struct guarded *guarded, uint64_t until_msecs, uint64_t now_msecs);
/* Gives back what it holds. Harmless when there is nothing. */
void guard_leave(struct guarded *guarded, uint64_t now_msecs);

#endif
