/* SPDX-License-Identifier: ISC */
#include "inspect_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_COUNT 4096u
#define FREE_DBI 0u /* where LMDB lists its free pages, as its own tools know */

const char *inspect_trouble(int error)
{
	switch (error) {
	case EOWNERDEAD:
		return "a process died reading it; it will be set aside";
	case EAGAIN:
		return "somebody is setting it aside, or opening it";
	case EACCES:
		return "no permission";
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
		return "damaged, or no environment; it will be set aside";
	default:
		return "cannot be read now";
	}
}

static int begin(struct index_env *env, MDB_txn **txn)
{
	env_enter(env);
	int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, txn);
	if (rc != 0)
		env_leave(env);
	return rc;
}

static void end(struct index_env *env, MDB_txn *txn)
{
	mdb_txn_abort(txn);
	env_leave(env);
}

/* ---- walking ---- */

struct walk {
	const void *prefix;
	size_t prefix_len;
	inspect_raw_fn *fn;
	void *arg;
	uint8_t last[RECORD_KEY_OCTETS + 256]; /* LMDB's keys have 511 octets at most */
	size_t last_len;
	bool begun, stopped;
};

static bool within(const struct walk *walk, const MDB_val *key)
{
	return key->mv_size >= walk->prefix_len && memcmp(key->mv_data, walk->prefix, walk->prefix_len) == 0;
}

/* From where the batch before has ended. */
static int batch(struct walk *walk, MDB_cursor *cursor)
{
	MDB_val key = {walk->begun ? walk->last_len : walk->prefix_len,
	    walk->begun ? walk->last : (void *)(uintptr_t)walk->prefix};
	MDB_val value;
	bool first = !walk->begun && walk->prefix_len == 0;
	int rc = mdb_cursor_get(cursor, &key, &value, first ? MDB_FIRST : MDB_SET_RANGE);
	if (rc == 0 && walk->begun && key.mv_size == walk->last_len &&
	    memcmp(key.mv_data, walk->last, walk->last_len) == 0)
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	walk->begun = true;
	for (unsigned i = 0; rc == 0 && i < BATCH_COUNT; i++) {
		walk->stopped = !within(walk, &key) || key.mv_size > sizeof(walk->last) ||
				walk->fn(walk->arg, &key, &value) != 0;
		if (walk->stopped)
			return 0;
		memcpy(walk->last, key.mv_data, key.mv_size);
		walk->last_len = key.mv_size;
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	walk->stopped = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int inspect_walk(struct index_env *env, const void *prefix, size_t len, inspect_raw_fn *fn, void *arg)
{
	struct walk walk = {.prefix = prefix, .prefix_len = len, .fn = fn, .arg = arg};
	int rc = 0;
	while (rc == 0 && !walk.stopped) {
		MDB_txn *txn;
		MDB_cursor *cursor;
		rc = begin(env, &txn);
		if (rc != 0)
			break;
		rc = mdb_cursor_open(txn, env->dbi, &cursor);
		if (rc == 0) {
			rc = batch(&walk, cursor);
			mdb_cursor_close(cursor);
		}
		end(env, txn);
	}
	return rc;
}

int inspect_get(
    struct index_env *env, const void *key, size_t key_len, void *value_r, size_t size, size_t *len_r)
{
	MDB_val k = {key_len, (void *)(uintptr_t)key}, v;
	MDB_txn *txn;
	int rc = begin(env, &txn);
	if (rc != 0)
		return rc;
	rc = mdb_get(txn, env->dbi, &k, &v);
	*len_r = 0;
	if (rc == 0) {
		/* A longer one is damaged, and will not decode; its beginning will do for that. */
		*len_r = v.mv_size < size ? v.mv_size : size;
		memcpy(value_r, v.mv_data, *len_r);
	}
	end(env, txn);
	return rc;
}

/* ---- environments ---- */

unsigned inspect_env_count(const struct store *store)
{
	return store->index != NULL ? index_count(store->index) : 0;
}

/* One of user's name and NUL, and for a message four octets. */
static int count_entry(void *arg, const MDB_val *key, const MDB_val *value)
{
	struct inspect_env *env = arg;
	const uint8_t *nul = memchr(key->mv_data, 0, key->mv_size);
	size_t behind = nul == NULL ? 1 : key->mv_size - (size_t)(nul + 1 - (const uint8_t *)key->mv_data);
	struct drop drop;
	struct record record;
	if (behind == 0 &&
	    record_decode_drop(&drop, key->mv_data, key->mv_size, value->mv_data, value->mv_size))
		env->users++;
	else if (behind != 4 ||
		 !record_decode(&record, key->mv_data, key->mv_size, value->mv_data, value->mv_size))
		env->damaged++;
	else if (record.gone != 0)
		env->marked++;
	else {
		env->messages++;
		env->octets += record.octets;
	}
	return 0;
}

/* A list of free pages is as many numbers behind their count. */
static uint64_t count_free(MDB_txn *txn)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	uint64_t pages = 0;
	if (mdb_cursor_open(txn, FREE_DBI, &cursor) != 0)
		return 0;
	while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		size_t count;
		if (value.mv_size < sizeof(count))
			break;
		memcpy(&count, value.mv_data, sizeof(count));
		pages += count;
	}
	mdb_cursor_close(cursor);
	return pages;
}

static int measure_map(struct index_env *env, struct inspect_env *env_r)
{
	MDB_envinfo info;
	MDB_stat stat;
	MDB_txn *txn;
	int rc = begin(env, &txn);
	if (rc != 0)
		return rc;
	rc = mdb_env_info(env->mdb, &info);
	if (rc == 0)
		rc = mdb_env_stat(env->mdb, &stat);
	if (rc == 0) {
		env_r->map_octets = info.me_mapsize;
		env_r->used_octets = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
		env_r->free_octets = count_free(txn) * stat.ms_psize;
	}
	end(env, txn);
	return rc;
}

static bool look_at(const struct store *store, const char *name, struct statx *stx_r)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", index_dir(store->index), name);
	return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, stx_r) == 0;
}

static void measure_files(const struct store *store, struct inspect_env *env_r)
{
	struct statx stx;
	char name[16];
	snprintf(name, sizeof(name), "%s.mdb", env_r->name);
	env_r->there = look_at(store, name, &stx);
	if (env_r->there) {
		env_r->file_octets = stx.stx_size;
		env_r->disk_octets = stx.stx_blocks * 512u;
		env_r->written_secs = stx.stx_mtime.tv_sec;
		env_r->begun_secs = (stx.stx_mask & STATX_BTIME) != 0 ? stx.stx_btime.tv_sec : 0;
	}
	snprintf(name, sizeof(name), "%s.bad", env_r->name);
	env_r->bad = look_at(store, name, &stx);
	if (env_r->bad) {
		env_r->bad_octets = stx.stx_blocks * 512u;
		env_r->bad_secs = stx.stx_ctime.tv_sec;
	}
}

static const char *env_name(unsigned number)
{
	static char names[INDEX_ENVS_COUNT][3];
	snprintf(names[number], sizeof(names[number]), "%02u", number);
	return names[number];
}

void inspect_env(const struct store *store, unsigned number, struct inspect_env *env_r)
{
	int error;
	*env_r = (struct inspect_env){.name = env_name(number)};
	measure_files(store, env_r);
	if (!env_r->there)
		return;
	struct index_env *env = index_look(store->index, number, &error);
	if (env != NULL) {
		error = measure_map(env, env_r);
		if (error == 0)
			error = inspect_walk(env, "", 0, count_entry, env_r);
		env_free(env);
	}
	env_r->trouble = error != 0 ? inspect_trouble(error) : NULL;
}

int64_t inspect_boot_secs(const struct store *store)
{
	struct statx stx;
	return store->index != NULL && look_at(store, "boot", &stx) ? stx.stx_mtime.tv_sec : 0;
}

unsigned inspect_format(void)
{
	return record_format();
}

/* ---- anew ---- */

void inspect_set_aside(struct store *store)
{
	for (unsigned i = 0; i < inspect_env_count(store); i++)
		index_set_aside(store->index, i);
}
