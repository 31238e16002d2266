/* SPDX-License-Identifier: ISC */
/*
 * inspect: the index as a person wants to know it: how large it is, whether it says of the mail what there
 * is, and how to have it made anew.
 *
 * For tools, while the server runs. Looking changes nothing, and believes nothing; but LMDB may die of a
 * damaged environment, so whoever looks does so in a process that may end, and the next to open the
 * environment will know. No transaction stays open for longer than some thousand records take. A process that
 * has looked must not open the same store's maildrops, nor the other way round.
 */
#ifndef KPOPD_STORE_INSPECT_H
#define KPOPD_STORE_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "maildrop.h"

/* ---- environments ---- */

struct inspect_env {
	const char *name; /* "07"; lives as long as the store */
	bool there;
	const char *trouble; /* why it cannot be read, constant; NULL: it was */
	uint64_t users, messages, octets,
	    marked;                        /* marked: messages that are gone, but not for all sessions */
	uint64_t damaged;                  /* records that fail their check; the next login finds them */
	uint64_t file_octets, disk_octets; /* of NN.mdb: its length, and what it takes */
	uint64_t map_octets, used_octets,
	    free_octets;                  /* of the map: used by pages, of which so many are free */
	int64_t begun_secs, written_secs; /* since the epoch; begun: 0 where nobody can tell */
	bool bad;                         /* one was set aside */
	uint64_t bad_octets;              /* what that takes on the disk */
	int64_t bad_secs;
};

/* 0: there is no index. */
unsigned inspect_env_count(const struct store *store);
/* Looks at environment number, from 0. */
void inspect_env(const struct store *store, unsigned number, struct inspect_env *env_r);
/* The format of records, and what "boot" says of when the environments were begun; 0: nothing. */
unsigned inspect_format(void);
int64_t inspect_boot_secs(const struct store *store);

/* ---- users ---- */

enum inspect_state {
	INSPECT_UNKNOWN = 0, /* there is nothing of this user */
	INSPECT_CURRENT,     /* the next login needs no look at the mail */
	INSPECT_BEHIND,      /* the next login will look: something has changed, or might have */
	INSPECT_UNFINISHED,  /* a login was cut short, the next goes on */
	INSPECT_DAMAGED,     /* the next login begins anew */
};

struct inspect_user {
	const char *env; /* its environment's name */
	enum inspect_state state;
	uint32_t messages; /* as the index has it */
	uint64_t octets;
	uint32_t changes;     /* in the mail, of which the next login will take note: that is no fault */
	uint32_t differences; /* faults of the index */
};

/* What the index says of a user in one word. MAILDROP_TEMP: nobody can tell now. */
int inspect_user(const struct store *store, const struct maildrop_place *place, struct inspect_user *user_r);

/* One difference, in words; text is printable ASCII. And how far it is: done of all. */
typedef void inspect_tell_fn(void *arg, const char *text);
typedef void inspect_progress_fn(void *arg, uint32_t done, uint32_t all);

struct inspect_teller {
	inspect_tell_fn *tell;
	inspect_progress_fn *progress;
	void *arg;
};
/*
 * Compares all that the index has of a user with the mail, reading all of it. Without the maildrop's lock,
 * unless it changes again and again meanwhile and there are differences; then MAILDROP_IN_USE: nobody can
 * tell as long as it is in use. MAILDROP_TEMP, _PERM.
 */
int inspect_check(const struct store *store, const struct maildrop_place *place,
    const struct inspect_teller *teller, struct inspect_user *user_r);

/* ---- anew ---- */

/*
 * Forgets what the index has of a user, so that the next maildrop_open makes it anew. Under the maildrop's
 * lock: MAILDROP_IN_USE; MAILDROP_GONE: there is no maildrop. MAILDROP_TEMP, _PERM.
 */
int inspect_forget(struct store *store, const struct maildrop_place *place);
/* Sets all environments aside; sessions keep what they have open. */
void inspect_set_aside(struct store *store);

#endif
