/* SPDX-License-Identifier: ISC */
/*
 * index: the records of all maildrops in INDEX_ENVS_COUNT LMDB environments, by a hash of the user.
 *
 * For the store's own modules. The index is a cache and behaves so: whatever is wrong with it ends in a
 * negative answer and, where the environment itself is to blame, in its being set aside (renamed) so
 * that the next caller begins a new one. A process that dies inside LMDB leaves a mark, by which the next
 * one knows. How, is told in doc/store.md.
 *
 * Threads: all functions may be called from any thread. No transaction outlives a call.
 */
#ifndef KPOPD_STORE_INDEX_H
#define KPOPD_STORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"
#include "store.h"

#define INDEX_ENVS_COUNT 64u /* or one, for an index that is one user's */

enum index_err {
	INDEX_OK = 0,
	INDEX_NONE = -1,   /* nothing is known of this user */
	INDEX_FAILED = -2, /* the environment cannot serve now: do without */
};

struct index;
/* As config says (maildrop.h). INDEX_FAILED. */
int index_open(struct index **index_r, const struct store *store, const struct store_config *config);
void index_close(struct index **index);

/* A new file in the index directory that has no name any more; the caller's to close. -1: there can be none.
 */
int index_spill(const struct index *index);

/* A user's environment; opened when needed, held until released. NULL: do without. */
struct index_env;
struct index_env *index_take(struct index *index, const char *user);
void index_release(struct index_env **env);
/* Whether it was set aside: who takes it anew gets another one. */
bool index_dead(const struct index_env *env);

/* A record that fails its check damns the whole environment, here and below. INDEX_NONE, _FAILED. */
int index_drop(struct index_env *env, const char *user, struct drop *drop_r);
/*
 * Calls fn for the user's messages in order from uid, until it returns non-zero. fn must not use the
 * index; its record's views end with the call. INDEX_FAILED.
 */
typedef int index_walk_fn(void *arg, const struct record *record);
int index_walk(struct index_env *env, const char *user, uint32_t uid, index_walk_fn *fn, void *arg);

struct index_update {
	const char *user;
	uint32_t forget; /* first forget so many of this user's messages */
	bool *left_r;    /* whether there were more; NULL: do not care */
	const struct drop
	    *drop; /* NULL: the maildrop as a whole stays unknown, the next login builds it again */
	const struct record *const *puts;
	size_t put_count;
	bool only_known;      /* puts replace what is there, and add nothing */
	const uint32_t *gone; /* UIDs */
	size_t gone_count;
	uint32_t epoch; /* 0: gone are deleted; else they are marked as gone since then, and stay */
};
/* The caller found the records contradicting each other: sets the environment aside. */
void index_distrust(struct index_env *env);
/* All of it or nothing. INDEX_FAILED. */
int index_update(struct index_env *env, const struct index_update *update);
/*
 * Messages are no longer there: takes them out of what the index has now, which others may have changed since
 * the caller's snapshot. mark: their records stay, marked as gone, for other sessions. The maildrop is not
 * trusted afterwards. All of it or nothing. INDEX_FAILED.
 */
int index_remove(struct index_env *env, const char *user, const uint32_t *uids, size_t count, bool mark);
/* Deletes what is marked as gone; drop as the index has it afterwards. INDEX_FAILED. */
int index_purge(struct index_env *env, const char *user, struct drop *drop);

/* ---- for inspect.c ---- */

const char *index_dir(const struct index *index);
/* Environments are numbered from 0. */
unsigned index_count(const struct index *index);
unsigned index_place(const struct index *index, const char *user);
/* As env_look. */
struct index_env *index_look(const struct index *index, unsigned number, int *error_r);
/* Whatever is there becomes NN.bad; who has it open keeps it. */
void index_set_aside(const struct index *index, unsigned number);

#endif
