/* SPDX-License-Identifier: ISC */
#include "index_env.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Address space only, and shared: pages come as they are used. Some 400,000 messages fill it. */
#define MAP_OCTETS ((size_t)128 << 20)
#define READERS_COUNT 1000u
#define FEW_READERS_COUNT 32u
/* LMDB's file of so many readers, and a little more: 64 octets each, and three such lines in front. */
#define LOCK_FILE_OCTETS(readers) (((readers) + 16u) * 64u)
/* A stopped process may hold a lock for ever; after this the session goes on without the index. */
#define LOCK_WAIT_MSECS 200
#define LOCK_RETRY_MSECS 2

enum { USE_GUARD = 0, USE_WRITER = 1, USE_SLOTS = 16, USE_SLOTS_COUNT = 1008 };

static int lock_octet(int fd, short type, off_t octet)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = octet, .l_len = 1};
	return fcntl(fd, F_OFD_SETLK, &lock);
}

static bool lock_octet_wait(int fd, short type, off_t octet)
{
	const struct timespec pause = {.tv_nsec = LOCK_RETRY_MSECS * 1000000L};
	for (int waited = 0; lock_octet(fd, type, octet) != 0; waited += LOCK_RETRY_MSECS) {
		if ((errno != EAGAIN && errno != EACCES && errno != EINTR) || waited >= LOCK_WAIT_MSECS)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

static void mark(int fd, int slot, unsigned char busy)
{
	/* A failure (a full disk) costs only the knowledge of a death. */
	if (slot >= 0 && pwrite(fd, &busy, 1, USE_SLOTS + slot) != 1)
		return;
}

/* A slot of our own; -1 when all are taken: we go unmarked. */
static int claim_slot(int fd)
{
	int first = (int)((unsigned)getpid() % USE_SLOTS_COUNT);
	for (int i = 0; i < USE_SLOTS_COUNT; i++) {
		int slot = (first + i) % USE_SLOTS_COUNT;
		if (lock_octet(fd, F_WRLCK, USE_SLOTS + slot) == 0)
			return slot;
	}
	return -1;
}

/* Whether a process died inside LMDB; own is the slot this fd has itself. forget: as of now nobody did. */
static bool somebody_died(int fd, int own, bool forget)
{
	unsigned char slots[USE_SLOTS_COUNT];
	ssize_t got = pread(fd, slots, sizeof(slots), USE_SLOTS);
	bool died = false;
	for (int i = 0; i < got; i++) {
		if (slots[i] == 0 || i == own || lock_octet(fd, F_WRLCK, USE_SLOTS + i) != 0)
			continue;
		died = true;
		if (forget)
			mark(fd, i, 0);
		lock_octet(fd, F_UNLCK, USE_SLOTS + i);
	}
	return died;
}

static char *env_path(const char *dir, unsigned number, const char *suffix)
{
	char *path;
	return asprintf(&path, "%s/%02u%s", dir, number, suffix) < 0 ? NULL : path;
}

/* mdb-lock goes with its environment: under the guard nobody can be between opening the two. */
static void move_away(const char *path, bool keep)
{
	size_t stem = strlen(path) - strlen(".mdb");
	char *other = NULL;
	if (asprintf(&other, "%s-lock", path) < 0)
		return;
	unlink(other);
	free(other);
	if (asprintf(&other, "%.*s.bad", (int)stem, path) < 0)
		return;
	/* Whatever lies there: a directory can be neither renamed over nor unlinked. */
	remove(other);
	if (!keep || rename(path, other) != 0)
		remove(path);
	free(other);
}

/* inode: set aside only if it is this file; 0: whatever is there. */
static void set_aside(int use, int own, const char *path, ino_t inode, bool keep)
{
	if (!lock_octet_wait(use, F_WRLCK, USE_GUARD))
		return;
	struct stat st;
	if (stat(path, &st) != 0 || inode == 0 || st.st_ino == inode) {
		move_away(path, keep);
		somebody_died(use, own, true);
	}
	lock_octet(use, F_UNLCK, USE_GUARD);
}

static int open_use(const char *dir, unsigned number)
{
	char *path = env_path(dir, number, ".use");
	if (path == NULL)
		return -1;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	free(path);
	return fd;
}

static void set_aside_unopened(const struct env_config *config, unsigned number, bool keep)
{
	char *path = env_path(config->dir, number, ".mdb");
	struct stat st;
	if (path != NULL && lstat(path, &st) == 0) {
		int use = open_use(config->dir, number);
		if (use >= 0) {
			set_aside(use, -1, path, 0, keep);
			close(use);
		}
	}
	free(path);
}

void env_discard(const struct env_config *config, unsigned number)
{
	set_aside_unopened(config, number, false);
}

void env_set_aside(const struct env_config *config, unsigned number)
{
	set_aside_unopened(config, number, true);
}

/* Errors for which the file is not to blame, or which a new file would not mend. */
static bool worldly(int error)
{
	static const int errors[] = {ENOMEM, EMFILE, ENFILE, ENOSPC, EDQUOT, EROFS, EAGAIN, EINTR, EFBIG,
	    MDB_READERS_FULL, MDB_MAP_FULL, MDB_MAP_RESIZED, MDB_TXN_FULL};
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (error == errors[i])
			return true;
	return false;
}

static int open_dbi(struct index_env *env)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
	if (rc != 0)
		return rc;
	rc = mdb_dbi_open(txn, NULL, 0, &env->dbi);
	mdb_txn_abort(txn);
	return rc;
}

/* size octets of zeros, really on the disk, or nothing. */
static int write_zeros(const char *path, size_t size)
{
	static const unsigned char zeros[4096];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = fd < 0 ? errno : 0;
	for (size_t at = 0; rc == 0 && at < size;) {
		size_t len = size - at < sizeof(zeros) ? size - at : sizeof(zeros);
		ssize_t wrote = pwrite(fd, zeros, len, (off_t)at);
		if (wrote > 0)
			at += (size_t)wrote;
		else if (wrote == 0 || errno != EINTR)
			rc = wrote == 0 ? ENOSPC : errno;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

/*
 * LMDB makes its lock file by size alone and writes it through a map: where the disk is full, the first
 * touch would kill the process. So a new one is written out before, and comes under its name whole.
 */
static int make_lock_file(const struct index_env *env, unsigned readers)
{
	char *path = NULL, *fresh = NULL;
	struct stat st;
	int rc = 0;
	if (asprintf(&path, "%s-lock", env->path) < 0)
		return ENOMEM;
	if (lstat(path, &st) != 0 || st.st_size == 0) {
		if (asprintf(&fresh, "%s-new-%d-%d", env->path, (int)getpid(), env->slot) < 0)
			fresh = NULL;
		rc = fresh == NULL ? ENOMEM : write_zeros(fresh, LOCK_FILE_OCTETS(readers));
		if (rc == 0 && renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
			rc = errno == EEXIST ? 0 : errno;
		if (fresh != NULL)
			unlink(fresh);
	}
	free(fresh);
	free(path);
	return rc;
}

/* look: to be read alone, and as large as it is. */
static int open_mdb(struct index_env *env, const struct env_config *config, bool look)
{
	unsigned readers = config->few ? FEW_READERS_COUNT : READERS_COUNT;
	int rc = make_lock_file(env, readers);
	if (rc == 0)
		rc = mdb_env_create(&env->mdb);
	if (rc != 0)
		return rc;
	if (!look)
		mdb_env_set_mapsize(env->mdb, config->map_octets != 0 ? config->map_octets : MAP_OCTETS);
	mdb_env_set_maxreaders(env->mdb, readers);
	unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | (look ? MDB_RDONLY : config->synced ? 0 : MDB_NOSYNC);
	rc = mdb_env_open(env->mdb, env->path, flags, 0600);
	if (rc == 0) {
		int dead;
		mdb_reader_check(env->mdb, &dead);
		rc = open_dbi(env);
	}
	if (rc != 0) {
		mdb_env_close(env->mdb);
		env->mdb = NULL;
	}
	return rc;
}

/* Opens NN.mdb and NN.mdb-lock as a pair that belongs together. */
static int open_guarded(struct index_env *env, const struct env_config *config)
{
	if (!lock_octet_wait(env->use, F_RDLCK, USE_GUARD))
		return EAGAIN;
	env_enter(env);
	int rc = open_mdb(env, config, false);
	env_leave(env);
	struct stat st;
	if (rc == 0 && stat(env->path, &st) == 0) {
		env->device = st.st_dev;
		env->inode = st.st_ino;
	}
	lock_octet(env->use, F_UNLCK, USE_GUARD);
	return rc;
}

static bool env_start(struct index_env *env, const struct env_config *config)
{
	if (somebody_died(env->use, -1, false)) {
		store_note(env->store, "index %s: a process died reading it; set aside", env->path);
		set_aside(env->use, env->slot, env->path, 0, true);
	}
	env->slot = claim_slot(env->use);
	int rc = open_guarded(env, config);
	if (rc != 0 && !worldly(rc)) {
		store_note(
		    env->store, "index %s: cannot be opened: %s; set aside", env->path, mdb_strerror(rc));
		set_aside(env->use, env->slot, env->path, 0, true);
		rc = open_guarded(env, config);
	}
	if (rc != 0)
		store_note(env->store, "index %s: cannot be opened: %s", env->path, mdb_strerror(rc));
	return rc == 0;
}

/* Without a file; use may be -1. NULL: no memory. */
static struct index_env *env_new(const struct env_config *config, unsigned number)
{
	struct index_env *env = calloc(1, sizeof(*env));
	if (env == NULL)
		return NULL;
	env->store = config->store;
	env->slot = -1;
	pthread_mutex_init(&env->inside_lock, NULL);
	pthread_mutex_init(&env->writer_lock, NULL);
	pthread_rwlock_init(&env->map_lock, NULL);
	env->path = env_path(config->dir, number, ".mdb");
	env->use = -1;
	return env;
}

struct index_env *env_open(const struct env_config *config, unsigned number)
{
	struct index_env *env = env_new(config, number);
	if (env == NULL)
		return NULL;
	env->use = open_use(config->dir, number);
	if (env->use < 0)
		store_note(env->store, "index %s/%02u.use: %s", config->dir, number, strerror(errno));
	if (env->path == NULL || env->use < 0 || !env_start(env, config)) {
		env_free(env);
		return NULL;
	}
	return env;
}

/* As open_guarded, but nothing is made but LMDB's lock file. */
static int look_guarded(struct index_env *env, const struct env_config *config)
{
	int rc = lock_octet_wait(env->use, F_RDLCK, USE_GUARD) ? 0 : EAGAIN;
	struct stat st;
	if (rc != 0)
		return rc;
	if (stat(env->path, &st) != 0)
		rc = errno;
	else if (somebody_died(env->use, env->slot, false))
		rc = EOWNERDEAD;
	if (rc == 0) {
		env_enter(env);
		rc = open_mdb(env, config, true);
		env_leave(env);
	}
	lock_octet(env->use, F_UNLCK, USE_GUARD);
	return rc;
}

struct index_env *env_look(const struct env_config *config, unsigned number, int *error_r)
{
	struct index_env *env = env_new(config, number);
	struct stat st;
	*error_r = env == NULL || env->path == NULL ? ENOMEM : stat(env->path, &st) != 0 ? errno : 0;
	if (*error_r == 0) {
		env->use = open_use(config->dir, number);
		*error_r = env->use < 0 ? errno : 0;
	}
	if (*error_r == 0) {
		env->slot = claim_slot(env->use);
		*error_r = look_guarded(env, config);
	}
	if (*error_r != 0 && env != NULL) {
		env_free(env);
		env = NULL;
	}
	return env;
}

void env_free(struct index_env *env)
{
	if (env->mdb != NULL)
		mdb_env_close(env->mdb);
	if (env->use >= 0)
		close(env->use);
	pthread_mutex_destroy(&env->inside_lock);
	pthread_mutex_destroy(&env->writer_lock);
	pthread_rwlock_destroy(&env->map_lock);
	free(env->path);
	free(env);
}

bool env_current(const struct index_env *env)
{
	struct stat st;
	return !atomic_load(&env->dead) && stat(env->path, &st) == 0 && st.st_ino == env->inode &&
	       st.st_dev == env->device;
}

void env_enter(struct index_env *env)
{
	pthread_mutex_lock(&env->inside_lock);
	if (env->inside++ == 0)
		mark(env->use, env->slot, 1);
	pthread_mutex_unlock(&env->inside_lock);
}

void env_leave(struct index_env *env)
{
	pthread_mutex_lock(&env->inside_lock);
	if (--env->inside == 0)
		mark(env->use, env->slot, 0);
	pthread_mutex_unlock(&env->inside_lock);
}

void env_linger(struct index_env *env, bool linger)
{
	pthread_mutex_lock(&env->inside_lock);
	bool change = env->lingers != linger;
	env->lingers = linger;
	pthread_mutex_unlock(&env->inside_lock);
	if (change && linger)
		env_enter(env);
	else if (change)
		env_leave(env);
}

bool env_writer_begin(struct index_env *env)
{
	pthread_mutex_lock(&env->writer_lock);
	if (lock_octet_wait(env->use, F_WRLCK, USE_WRITER))
		return true;
	pthread_mutex_unlock(&env->writer_lock);
	return false;
}

void env_writer_end(struct index_env *env)
{
	lock_octet(env->use, F_UNLCK, USE_WRITER);
	pthread_mutex_unlock(&env->writer_lock);
}

int env_resize(struct index_env *env, bool grow)
{
	pthread_rwlock_wrlock(&env->map_lock);
	MDB_envinfo info;
	int rc = mdb_env_info(env->mdb, &info);
	size_t octets = 0;
	if (rc == 0 && grow && __builtin_mul_overflow(info.me_mapsize, (size_t)2, &octets))
		rc = ENOMEM;
	if (rc == 0)
		rc = mdb_env_set_mapsize(env->mdb, octets);
	pthread_rwlock_unlock(&env->map_lock);
	return rc;
}

void env_failed(struct index_env *env, const char *doing, int error)
{
	bool blame = !worldly(error) && !atomic_exchange(&env->dead, true);
	store_note(env->store, "index %s: %s: %s%s", env->path, doing, mdb_strerror(error),
	    blame ? "; set aside" : "");
	if (blame)
		set_aside(env->use, env->slot, env->path, env->inode, true);
}
