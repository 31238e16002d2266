/* SPDX-License-Identifier: ISC */
#include "index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "index_env.h"

#define BOOT_ID_OCTETS 64
#define UPDATE_TRIES_COUNT 16 /* each doubles the map, so this is no real bound */

struct index {
	struct env_config config;
	char *dir;
	pthread_mutex_t lock; /* over envs and their references */
	unsigned count;
	struct index_env *envs[INDEX_ENVS_COUNT]; /* count of them */
};

/* Reads a short file. Returns its length, or -1. */
static ssize_t read_short(int fd, char *buf_r, size_t size)
{
	return fd < 0 ? -1 : pread(fd, buf_r, size, 0);
}

/* What names this boot of the machine; without it commits go to disk. */
static size_t boot_id(const char *given, char *id_r, bool *synced_r)
{
	int fd = given != NULL ? -1 : open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t len = read_short(fd, id_r, BOOT_ID_OCTETS);
	if (fd >= 0)
		close(fd);
	if (given != NULL)
		len = snprintf(id_r, BOOT_ID_OCTETS, "%s", given);
	/* Whoever hands it over may have read it as a line. */
	const char *end = len > 0 && len < BOOT_ID_OCTETS ? memchr(id_r, '\n', (size_t)len) : NULL;
	if (end != NULL)
		len = end - id_r;
	*synced_r = len <= 0 || len >= BOOT_ID_OCTETS;
	if (!*synced_r)
		return (size_t)len;
	memcpy(id_r, "synced\n", 7);
	return 7;
}

static bool same_boot(int fd, const char *id, size_t len)
{
	char seen[BOOT_ID_OCTETS];
	return read_short(fd, seen, sizeof(seen)) == (ssize_t)len && memcmp(seen, id, len) == 0;
}

/*
 * Commits are not synced, so after a crash of the machine an environment may hold anything. The file
 * "boot" names the boot in which the environments were begun; those of another boot are removed.
 */
static bool begin_boot(struct index *x, const char *given)
{
	char id[BOOT_ID_OCTETS];
	size_t len = boot_id(given, id, &x->config.synced);
	char *path;
	if (asprintf(&path, "%s/boot", x->dir) < 0)
		return false;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	free(path);
	if (fd < 0)
		return false;
	bool same = same_boot(fd, id, len);
	if (!same && flock(fd, LOCK_EX) == 0) {
		same = same_boot(fd, id, len);
		for (unsigned i = 0; !same && i < x->count; i++)
			env_discard(&x->config, i);
		same = same || (ftruncate(fd, 0) == 0 && pwrite(fd, id, len, 0) == (ssize_t)len);
	}
	close(fd);
	return same;
}

int index_open(struct index **index_r, const struct store *store, const struct store_config *config)
{
	*index_r = NULL;
	struct index *x = calloc(1, sizeof(*x));
	if (x == NULL)
		return INDEX_FAILED;
	pthread_mutex_init(&x->lock, NULL);
	x->dir = strdup(config->index_dir);
	x->count = config->index_of_one ? 1 : INDEX_ENVS_COUNT;
	x->config = (struct env_config){.store = store,
	    .dir = x->dir,
	    .map_octets = config->index_map_octets,
	    .few = config->index_of_one};
	if (x->dir == NULL || !begin_boot(x, config->boot_id)) {
		store_note(store, "index %s: %s", config->index_dir, strerror(errno));
		index_close(&x);
		return INDEX_FAILED;
	}
	*index_r = x;
	return INDEX_OK;
}

void index_close(struct index **index)
{
	struct index *x = *index;
	*index = NULL;
	if (x == NULL)
		return;
	for (unsigned i = 0; i < x->count; i++)
		if (x->envs[i] != NULL)
			env_free(x->envs[i]);
	pthread_mutex_destroy(&x->lock);
	free(x->dir);
	free(x);
}

/* One whose file was set aside stays open for those who hold it; the last of them frees it. */
static void drop_stale(struct index *x, unsigned number)
{
	struct index_env *env = x->envs[number];
	if (env == NULL || env_current(env))
		return;
	x->envs[number] = NULL;
	atomic_store(&env->dead, true);
	if (env->references-- == 1)
		env_free(env);
}

int index_spill(const struct index *x)
{
	static atomic_uint number;
	int fd = open(x->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* Not every file system can do that. */
	char *path;
	if (asprintf(&path, "%s/spill-%d-%u", x->dir, (int)getpid(), atomic_fetch_add(&number, 1)) < 0)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		unlink(path);
	free(path);
	return fd;
}

struct index_env *index_take(struct index *x, const char *user)
{
	if (x == NULL)
		return NULL;
	unsigned number = record_place(user, x->count);
	pthread_mutex_lock(&x->lock);
	drop_stale(x, number);
	if (x->envs[number] == NULL) {
		x->envs[number] = env_open(&x->config, number);
		if (x->envs[number] != NULL) {
			x->envs[number]->owner_lock = &x->lock;
			x->envs[number]->references = 1;
		}
	}
	struct index_env *env = x->envs[number];
	if (env != NULL)
		env->references++;
	pthread_mutex_unlock(&x->lock);
	return env;
}

void index_release(struct index_env **env)
{
	struct index_env *gone = *env;
	*env = NULL;
	if (gone == NULL)
		return;
	pthread_mutex_t *lock = gone->owner_lock;
	pthread_mutex_lock(lock);
	gone->references--;
	if (gone->references <= 1)
		env_linger(gone, false);
	if (gone->references == 0)
		env_free(gone);
	pthread_mutex_unlock(lock);
}

const char *index_dir(const struct index *x)
{
	return x->dir;
}

unsigned index_count(const struct index *x)
{
	return x->count;
}

unsigned index_place(const struct index *x, const char *user)
{
	return record_place(user, x->count);
}

struct index_env *index_look(const struct index *x, unsigned number, int *error_r)
{
	return env_look(&x->config, number, error_r);
}

void index_set_aside(const struct index *x, unsigned number)
{
	env_set_aside(&x->config, number);
}

bool index_dead(const struct index_env *env)
{
	return atomic_load(&env->dead);
}

static int read_begin(struct index_env *env, MDB_txn **txn_r)
{
	int rc = EAGAIN;
	for (int tries = 0; tries < 4; tries++) {
		pthread_rwlock_rdlock(&env->map_lock);
		env_enter(env);
		rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, txn_r);
		int dead;
		if (rc == MDB_READERS_FULL)
			mdb_reader_check(env->mdb, &dead);
		if (rc == 0)
			return 0;
		env_leave(env);
		pthread_rwlock_unlock(&env->map_lock);
		if (rc == MDB_MAP_RESIZED)
			rc = env_resize(env, false);
		else if (rc != MDB_READERS_FULL)
			break;
	}
	env_failed(env, "begin to read", rc);
	return rc == 0 ? EAGAIN : rc;
}

static void read_end(struct index_env *env, MDB_txn *txn)
{
	mdb_txn_abort(txn);
	env_leave(env);
	pthread_rwlock_unlock(&env->map_lock);
}

int index_drop(struct index_env *env, const char *user, struct drop *drop_r)
{
	uint8_t key[RECORD_KEY_OCTETS];
	MDB_val k = {record_drop_key(user, key), key};
	MDB_val v;
	MDB_txn *txn;
	if (read_begin(env, &txn) != 0)
		return INDEX_FAILED;
	int rc = mdb_get(txn, env->dbi, &k, &v);
	if (rc == 0 && !record_decode_drop(drop_r, key, k.mv_size, v.mv_data, v.mv_size))
		rc = MDB_CORRUPTED;
	read_end(env, txn);
	if (rc == 0)
		return INDEX_OK;
	if (rc == MDB_NOTFOUND)
		return INDEX_NONE;
	env_failed(env, "read", rc);
	return INDEX_FAILED;
}

/* Whether a key is a message of the user whose drop key this is. */
static bool of_user(const MDB_val *key, const uint8_t *user, size_t len)
{
	return key->mv_size == len + 4 && memcmp(key->mv_data, user, len) == 0;
}

static int walk(MDB_cursor *cursor, const char *user, uint32_t uid, index_walk_fn *fn, void *arg)
{
	uint8_t key[RECORD_KEY_OCTETS];
	MDB_val k = {record_key(user, uid, key), key};
	size_t user_len = k.mv_size - 4;
	MDB_val v;
	int rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	while (rc == 0 && of_user(&k, key, user_len)) {
		struct record record;
		if (!record_decode(&record, k.mv_data, k.mv_size, v.mv_data, v.mv_size))
			return MDB_CORRUPTED;
		if (fn(arg, &record) != 0)
			return 0;
		rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int index_walk(struct index_env *env, const char *user, uint32_t uid, index_walk_fn *fn, void *arg)
{
	MDB_txn *txn;
	if (read_begin(env, &txn) != 0)
		return INDEX_FAILED;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, env->dbi, &cursor);
	if (rc == 0) {
		rc = walk(cursor, user, uid, fn, arg);
		mdb_cursor_close(cursor);
	}
	read_end(env, txn);
	if (rc == 0)
		return INDEX_OK;
	env_failed(env, "read", rc);
	return INDEX_FAILED;
}

void index_distrust(struct index_env *env)
{
	env_failed(env, "read", MDB_CORRUPTED);
}

/* Removes some of the user's messages. */
static int forget(MDB_txn *txn, MDB_dbi dbi, const struct index_update *update)
{
	uint8_t key[RECORD_KEY_OCTETS];
	size_t len = record_key(update->user, 0, key);
	size_t user_len = len - 4;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, dbi, &cursor);
	if (rc != 0)
		return rc;
	MDB_val k;
	MDB_val v;
	bool more = true;
	for (uint32_t i = 0; rc == 0 && more && i <= update->forget; i++) {
		k = (MDB_val){len, key};
		rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
		more = rc == 0 && of_user(&k, key, user_len);
		if (more && i < update->forget)
			rc = mdb_cursor_del(cursor, 0);
	}
	mdb_cursor_close(cursor);
	if (update->left_r != NULL)
		*update->left_r = more;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int put_drop(MDB_txn *txn, MDB_dbi dbi, const struct index_update *update)
{
	uint8_t key[RECORD_KEY_OCTETS];
	uint8_t value[RECORD_VALUE_OCTETS];
	MDB_val k = {record_drop_key(update->user, key), key};
	if (update->drop == NULL) {
		int rc = mdb_del(txn, dbi, &k, NULL);
		return rc == MDB_NOTFOUND ? 0 : rc;
	}
	MDB_val v = {record_encode_drop(update->drop, key, k.mv_size, value), value};
	return mdb_put(txn, dbi, &k, &v, 0);
}

static int remove_uid(MDB_txn *txn, MDB_dbi dbi, const struct index_update *update, uint32_t uid)
{
	if (update->epoch != 0)
		return index_mark(txn, dbi, update->user, uid, update->epoch);
	uint8_t key[RECORD_KEY_OCTETS];
	MDB_val k = {record_key(update->user, uid, key), key};
	int rc = mdb_del(txn, dbi, &k, NULL);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int apply(MDB_txn *txn, MDB_dbi dbi, void *arg)
{
	const struct index_update *update = arg;
	uint8_t key[RECORD_KEY_OCTETS];
	uint8_t value[RECORD_VALUE_OCTETS];
	int rc = update->forget > 0 ? forget(txn, dbi, update) : 0;
	for (size_t i = 0; rc == 0 && i < update->gone_count; i++)
		rc = remove_uid(txn, dbi, update, update->gone[i]);
	for (size_t i = 0; rc == 0 && i < update->put_count; i++) {
		MDB_val k = {record_key(update->user, update->puts[i]->uid, key), key};
		MDB_val v;
		if (update->only_known && (rc = mdb_get(txn, dbi, &k, &v)) != 0) {
			rc = rc == MDB_NOTFOUND ? 0 : rc;
			continue;
		}
		v = (MDB_val){record_encode(update->puts[i], key, k.mv_size, value), value};
		rc = mdb_put(txn, dbi, &k, &v, 0);
	}
	return rc == 0 ? put_drop(txn, dbi, update) : rc;
}

/* One try, within the writer's turn. */
static int write_once(struct index_env *env, index_write_fn *fn, void *arg)
{
	pthread_rwlock_rdlock(&env->map_lock);
	env_enter(env);
	MDB_txn *txn;
	int rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);
	if (rc == 0) {
		rc = fn(txn, env->dbi, arg);
		if (rc == 0)
			rc = mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
	env_leave(env);
	pthread_rwlock_unlock(&env->map_lock);
	return rc;
}

int index_write(struct index_env *env, index_write_fn *fn, void *arg)
{
	if (atomic_load(&env->dead))
		return INDEX_FAILED;
	if (!env_writer_begin(env)) {
		env_failed(env, "wait for another writer", EAGAIN);
		return INDEX_FAILED;
	}
	env_linger(env, true);
	int rc = MDB_MAP_FULL;
	for (int tries = 0; tries < UPDATE_TRIES_COUNT; tries++) {
		rc = write_once(env, fn, arg);
		if (rc != MDB_MAP_FULL && rc != MDB_MAP_RESIZED)
			break;
		int resized = env_resize(env, rc == MDB_MAP_FULL);
		if (resized != 0) {
			rc = resized;
			break;
		}
	}
	env_writer_end(env);
	if (rc == 0)
		return INDEX_OK;
	/* So LMDB calls a write cut short by a full disk; what was there before is whole either way. */
	env_failed(env, "write", rc == EIO ? ENOSPC : rc);
	return INDEX_FAILED;
}

int index_update(struct index_env *env, const struct index_update *update)
{
	struct index_update copy = *update;
	return index_write(env, apply, &copy);
}
