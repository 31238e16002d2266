/* SPDX-License-Identifier: ISC */
/*
 * penalty: what guessing at passwords costs, and whom it never costs anything.
 *
 * For auth processes, which share one table: master makes it before the first of them, and it stays when
 * processes die and configurations change. It is a fixed number of octets; names, addresses and secrets are
 * in it as hashes under a random key only. All functions take the time as a parameter and never wait.
 *
 * A failure counts for its source (an IPv4 address, or an IPv6 /64), for the IPv6 /48 round it, for the user
 * at that network (IPv4 /24, IPv6 /64), and for the user wherever he is guessed at. After threshold failures
 * of a source, or of a user at a network, nothing is checked from there for first_secs, and each failure more
 * doubles that, up to most_secs; one failure is forgotten every most_secs. A user who is guessed at from many
 * places is answered later and later, but answered. A user who has logged in from a network lately is known
 * there: neither what others do there nor what others do to his name matters to him; his own failures there
 * slow the answers.
 */
#ifndef KPOPD_SERVER_PENALTY_H
#define KPOPD_SERVER_PENALTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/turns.h"

#define PENALTY_SOURCES_COUNT 65536u    /* and as many users at networks, users, known ones, wrong secrets */
#define PENALTY_KNOWN_SECS 2592000u     /* 30 days */
#define PENALTY_NETWORKS_COUNT 6u       /* a user is known from at most; more would be at others' cost */
#define PENALTY_WRONG_COUNT 8u          /* wrong secrets of a user at a network that count once only */
#define PENALTY_DELAY_MOST_MSECS 15000u /* clients wait half a minute or more */
#define PENALTY_SITE_FACTOR 8u          /* an IPv6 /48 may fail so much oftener than one of its /64 */
#define PENALTY_KNOWN_FACTOR 4u         /* a user where he is known, than where he is not */
#define PENALTY_USER_FACTOR 16u    /* a user in all places together; and that is forgotten so much faster */
#define PENALTY_THRESHOLD_MOST 20u /* what fits the table's fields, times the factors */

struct penalty_rule {
	unsigned threshold; /* failures; 0: nobody is ever penalised, nothing is counted */
	unsigned first_secs, most_secs;
};

/* The table of all processes, in memory without a name and of fixed size. A descriptor, or -1 with errno. */
int penalty_create(void);

struct penalty;
/* The table, as this process sees it; fd stays the caller's. NULL: errno. */
struct penalty *penalty_open(int fd, const struct penalty_rule *rule);
void penalty_close(struct penalty **penalty);

/* Who tries. An empty user: nobody knows yet, or ever; then the source alone counts. */
struct penalty_who {
	const uint8_t *address; /* 16 octets, IPv4 as ::ffff:a.b.c.d */
	const char *user;       /* as the server knows him, however the client wrote it */
	size_t user_len;
};

struct penalty_advice {
	uint64_t refuse_msecs; /* how long nothing is checked for him; 0: go on */
	unsigned delay_msecs;  /* at least this long after the attempt began is it answered, good or bad */
	bool known;            /* he has logged in from this network lately */
};
/* Before anything is checked. */
struct penalty_advice penalty_ask(
    const struct penalty *penalty, const struct penalty_who *who, uint64_t now_msecs);

/* What a failure brought about; 0: nothing new. */
struct penalty_news {
	unsigned source_secs, site_secs, pair_secs; /* so long nothing is checked from there */
	unsigned user_delay_msecs; /* answers for this user come so late, where he is unknown */
};
/* What stands for a secret until it is known whether it is wrong: a keyed hash. */
#define PENALTY_SECRET_OCTETS 8u
void penalty_secret_hash(
    const struct penalty *penalty, const void *secret, size_t len, uint8_t hash_r[PENALTY_SECRET_OCTETS]);
/*
 * After something was checked and found wrong. secret_hash: of what was wrong; the same again does not count.
 * NULL: it was not seen, as in a challenge's answer; such a failure counts half.
 */
struct penalty_news penalty_failed(const struct penalty *penalty, const struct penalty_who *who,
    const uint8_t *secret_hash, uint64_t now_msecs);
/* After a login, by whatever means: the user is known there now, and his own failures there are forgiven. */
void penalty_succeeded(const struct penalty *penalty, const struct penalty_who *who, uint64_t now_msecs);

/*
 * A turn of this source, of which it has at most limit at a time in all processes: to check something, or to
 * wait for that. It ends by itself after lease_msecs. See turns.h.
 */
enum penalty_turn { PENALTY_TURN_CHECK, PENALTY_TURN_WAIT };
bool penalty_turn_take(const struct penalty *penalty, const uint8_t address[16], enum penalty_turn kind,
    unsigned limit, unsigned lease_msecs, uint64_t now_msecs, struct turn *turn_r);
/* The same for all questions about one user's files together, whoever asks: what hangs there is his. */
bool penalty_turn_take_user(const struct penalty *penalty, const char *user, unsigned limit,
    unsigned lease_msecs, uint64_t now_msecs, struct turn *turn_r);
void penalty_turn_give(
    const struct penalty *penalty, struct turn *turn, uint64_t keep_until_msecs, uint64_t now_msecs);

#endif
