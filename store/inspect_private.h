/* SPDX-License-Identifier: ISC */
/*
 * inspect_private: reading an environment raw, for the modules of inspect.
 */
#ifndef KPOPD_STORE_INSPECT_PRIVATE_H
#define KPOPD_STORE_INSPECT_PRIVATE_H

#include "index.h"
#include "index_env.h"
#include "inspect.h"

/* An entry; its views end with the call. Non-zero ends the walk. */
typedef int inspect_raw_fn(void *arg, const MDB_val *key, const MDB_val *value);
/*
 * The entries that begin with prefix, in order, a transaction for some thousand of them. 0, or an LMDB or
 * errno value.
 */
int inspect_walk(struct index_env *env, const void *prefix, size_t len, inspect_raw_fn *fn, void *arg);
/* One entry, copied into value_r, which has size octets; *len_r. MDB_NOTFOUND. */
int inspect_get(
    struct index_env *env, const void *key, size_t key_len, void *value_r, size_t size, size_t *len_r);
/* What an error of these and of index_look means, in a few words. */
const char *inspect_trouble(int error);

/* ---- inspect_user.c ---- */

/*
 * A user's environment, env_free's to free. NULL and MAILDROP_OK: there is none; _TEMP: nobody can look into
 * it now, which was noted. Fills in user_r->env, all else is zero.
 */
int inspect_open(const struct store *store, const struct maildrop_place *place, struct index_env **env_r,
    struct inspect_user *user_r);
/* The record of the maildrop; drop_r is set for _CURRENT (whatever the mail says) and _UNFINISHED. */
int inspect_drop(struct index_env *env, const char *user, struct drop *drop_r, enum inspect_state *state_r);
/* Whether the index claims that the mailbox, being so, holds just what it has. */
bool inspect_settled(const struct drop *drop, const struct part_state *states);

#endif
