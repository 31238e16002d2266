/* SPDX-License-Identifier: ISC */
/*
 * index_env: the life of one LMDB environment: opened behind a guard, marked while in use, grown, and
 * set aside when it is broken. For index.c and index_gone.c only.
 *
 * Beside NN.mdb lies NN.use, of which octets are locked (OFD locks, which die with their holder):
 * octet 0 shared by whoever is opening the environment, exclusively by whoever sets it aside; octet 1
 * by the writer; each octet from USE_SLOTS by one process, whose value says whether it is inside LMDB
 * now. A value of 1 without a lock is a process that died in there.
 */
#ifndef KPOPD_STORE_INDEX_ENV_H
#define KPOPD_STORE_INDEX_ENV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <lmdb.h>

#include "store.h"

struct index_env {
	const struct store *store;
	char *path; /* of NN.mdb */
	MDB_env *mdb;
	MDB_dbi dbi;
	dev_t device;
	ino_t inode;
	int use; /* NN.use */
	int slot;
	unsigned inside;     /* threads inside LMDB */
	bool lingers;        /* marked as inside beyond that */
	unsigned references; /* under *owner_lock */
	pthread_mutex_t *owner_lock;
	atomic_bool dead;            /* set aside: nobody takes it any more */
	pthread_mutex_t inside_lock; /* over inside and its octet */
	pthread_mutex_t writer_lock; /* one writer of this process at a time */
	pthread_rwlock_t map_lock;   /* exclusively while the map changes its size */
};

struct env_config {
	const struct store *store;
	const char *dir;
	size_t map_octets;
	bool few;    /* readers: one user's sessions and tools */
	bool synced; /* commits reach the disk, because we cannot tell one boot from another */
};

/* NULL: cannot be used now. */
struct index_env *env_open(const struct env_config *config, unsigned number);
void env_free(struct index_env *env);
/*
 * Opens it to be read and nothing else: makes none where there is none, sets aside none. Not for a process
 * that has it open already. NULL and an LMDB or errno value: ENOENT there is none, EOWNERDEAD a process died
 * in it.
 */
struct index_env *env_look(const struct env_config *config, unsigned number, int *error_r);
/* Whether NN.mdb is still the file that is open. */
bool env_current(const struct index_env *env);
/* Removes an environment that nobody can vouch for: another boot wrote it. */
void env_discard(const struct env_config *config, unsigned number);
/* Sets it aside, for nobody's fault. */
void env_set_aside(const struct env_config *config, unsigned number);

/* Every use of LMDB lies between these. */
void env_enter(struct index_env *env);
void env_leave(struct index_env *env);
/*
 * A damaged list of free pages makes a writer overrun its heap, of which it may die later: whoever has
 * written stays marked until the last session with this environment has ended.
 */
void env_linger(struct index_env *env, bool linger);

/* The right to write, waited for a moment only: a stopped process must not stop others. */
bool env_writer_begin(struct index_env *env);
void env_writer_end(struct index_env *env);

/*
 * A write transaction of one piece: fn returns an LMDB value, on anything but 0 nothing is written. It may be
 * called again from the beginning. In index.c. INDEX_FAILED.
 */
typedef int index_write_fn(MDB_txn *txn, MDB_dbi dbi, void *arg);
int index_write(struct index_env *env, index_write_fn *fn, void *arg);
/* Within one: a message's record, if there is one and it is not marked yet. In index_gone.c. */
int index_mark(MDB_txn *txn, MDB_dbi dbi, const char *user, uint32_t uid, uint32_t epoch);

/* After MDB_MAP_FULL (grow) or MDB_MAP_RESIZED. Not within a transaction. Returns what LMDB says. */
int env_resize(struct index_env *env, bool grow);
/* Notes what went wrong (an LMDB or errno value) and sets the environment aside where it is to blame. */
void env_failed(struct index_env *env, const char *doing, int error);

#endif
