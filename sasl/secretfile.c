/* SPDX-License-Identifier: ISC */
#include "secretfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lmdb.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#define FILE_VERSION 1
#define FILE_MAP_OCTETS ((size_t)64 << 20) /* about 100,000 users; grows when it is full */
#define FILE_MAP_MAX_OCTETS ((size_t)4 << 30)
#define FILE_READERS_COUNT 512 /* auth processes and tools at work at one moment */
#define FILE_MODE 0600

struct secretfile {
	char *path;
	bool writer;
	MDB_env *env; /* NULL: not open now */
	dev_t dev;
	ino_t ino;
};

/* LMDB mixes errno values with negative codes of its own. */
static int trouble(int rc)
{
	if (rc > 0)
		errno = rc;
	else if (rc == MDB_MAP_FULL)
		errno = ENOSPC;
	else if (rc == MDB_READERS_FULL)
		errno = EAGAIN;
	else
		errno = EIO;
	return SECRETS_TEMP;
}

static void env_close(struct secretfile *file)
{
	if (file->env != NULL)
		mdb_env_close(file->env);
	file->env = NULL;
}

static int env_open(struct secretfile *file, const char *path)
{
	unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | (file->writer ? 0u : MDB_RDONLY);
	mdb_filehandle_t fd;
	struct stat st;
	int rc, dead;

	rc = mdb_env_create(&file->env);
	if (rc != 0)
		return rc;
	if ((rc = mdb_env_set_mapsize(file->env, FILE_MAP_OCTETS)) == 0 &&
	    (rc = mdb_env_set_maxreaders(file->env, FILE_READERS_COUNT)) == 0 &&
	    (rc = mdb_env_open(file->env, path, flags, FILE_MODE)) == 0 &&
	    (rc = mdb_reader_check(file->env, &dead)) == 0 && (rc = mdb_env_get_fd(file->env, &fd)) == 0)
		rc = fstat(fd, &st) < 0 ? errno : 0;
	if (rc != 0) {
		env_close(file);
		return rc;
	}
	file->dev = st.st_dev;
	file->ino = st.st_ino;
	return 0;
}

static int env_open_within(struct secretfile *file, int dir, const struct stat *owner)
{
	const char *slash = strrchr(file->path, '/');
	int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), rc;

	if (back < 0)
		return errno;
	if (fchdir(dir) < 0 || setegid(owner->st_gid) < 0 || seteuid(owner->st_uid) < 0)
		rc = errno;
	else
		rc = env_open(file, slash == NULL ? file->path : slash + 1);
	if (seteuid(0) < 0 || setegid(getgid()) < 0 || fchdir(back) < 0)
		rc = errno;
	close(back);
	return rc;
}

/*
 * What root makes, and be it the lock file beside the secrets, must be the server's, whose directory
 * this is. The files are made as that user rather than given to it afterwards, so that a link planted
 * there leads nowhere root alone may go; and from within the directory, since that user may have no
 * way into it from above.
 */
static int env_open_as_owner(struct secretfile *file)
{
	char *copy;
	struct stat st;
	int dir, rc;

	if (geteuid() != 0)
		return env_open(file, file->path);
	if ((copy = strdup(file->path)) == NULL)
		return ENOMEM;
	dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = dir < 0 || fstat(dir, &st) < 0 ? errno : 0;
	free(copy);
	if (rc == 0)
		rc = st.st_uid == 0 ? env_open(file, file->path) : env_open_within(file, dir, &st);
	if (dir >= 0)
		close(dir);
	return rc;
}

bool secretfile_exists(const struct secretfile *file)
{
	return access(file->path, F_OK) == 0;
}

/* For a reader: the file that lies at the path now is open. */
static int refresh(struct secretfile *file)
{
	struct stat st;
	int rc;

	if (file->writer)
		return SECRETS_OK;
	if (stat(file->path, &st) < 0) {
		rc = errno;
		env_close(file);
		return trouble(rc);
	}
	if (file->env != NULL && st.st_dev == file->dev && st.st_ino == file->ino)
		return SECRETS_OK;
	env_close(file);
	rc = env_open_as_owner(file);
	return rc == 0 ? SECRETS_OK : trouble(rc);
}

static int begin(struct secretfile *file, bool write, MDB_txn **txn_r, MDB_dbi *dbi_r)
{
	int rc = mdb_txn_begin(file->env, NULL, write ? 0 : MDB_RDONLY, txn_r);

	/* Another process made the map larger. */
	if (rc == MDB_MAP_RESIZED && (rc = mdb_env_set_mapsize(file->env, 0)) == 0)
		rc = mdb_txn_begin(file->env, NULL, write ? 0 : MDB_RDONLY, txn_r);
	if (rc == 0 && (rc = mdb_dbi_open(*txn_r, NULL, 0, dbi_r)) != 0)
		mdb_txn_abort(*txn_r);
	return rc;
}

static MDB_val user_key(const char *user, char *buf)
{
	size_t len = strnlen(user, SECRETS_USER_OCTETS);

	buf[0] = 'u';
	memcpy(buf + 1, user, len);
	return (MDB_val){.mv_data = buf, .mv_size = len + 1};
}

static MDB_val key_key(void)
{
	static char name[] = "k";

	return (MDB_val){.mv_data = name, .mv_size = 1};
}

static MDB_val usual_key(void)
{
	static char name[] = "d";

	return (MDB_val){.mv_data = name, .mv_size = 1};
}

/* In a new file users will have all keys; one without this entry is old. */
static int make_usual(MDB_txn *txn, MDB_dbi dbi)
{
	uint8_t bytes[USUAL_OCTETS];
	struct usual usual;
	MDB_val key = usual_key(), value = {.mv_data = bytes};

	usual_default(&usual);
	usual.keys = SECRETS_ALL_KEYS;
	value.mv_size = usual_encode(&usual, bytes);
	return mdb_put(txn, dbi, &key, &value, 0);
}

/* The key is made once, in the same transaction that finds it missing. */
static int make_key(struct secretfile *file)
{
	uint8_t bytes[1 + CREDENTIALS_FILE_KEY_OCTETS] = {FILE_VERSION};
	MDB_val key = key_key(), value = {.mv_data = bytes, .mv_size = sizeof(bytes)};
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc;

	if (RAND_bytes(bytes + 1, CREDENTIALS_FILE_KEY_OCTETS) != 1)
		return EIO;
	if ((rc = begin(file, true, &txn, &dbi)) != 0)
		return rc;
	rc = mdb_put(txn, dbi, &key, &value, MDB_NOOVERWRITE);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	if (rc == 0)
		rc = make_usual(txn, dbi);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc == MDB_KEYEXIST ? 0 : rc;
	}
	return mdb_txn_commit(txn);
}

int secretfile_open(struct secretfile **file_r, const char *path, bool writer)
{
	struct secretfile *file = calloc(1, sizeof(*file));
	int rc = 0;

	*file_r = NULL;
	if (file == NULL || (file->path = strdup(path)) == NULL) {
		free(file);
		return trouble(ENOMEM);
	}
	file->writer = writer;
	if (writer && ((rc = env_open_as_owner(file)) != 0 || (rc = make_key(file)) != 0)) {
		secretfile_close(&file);
		return trouble(rc);
	}
	*file_r = file;
	return SECRETS_OK;
}

void secretfile_close(struct secretfile **file)
{
	if (*file == NULL)
		return;
	env_close(*file);
	free((*file)->path);
	free(*file);
	*file = NULL;
}

static int copy_key(MDB_txn *txn, MDB_dbi dbi, uint8_t *key_r)
{
	MDB_val key = key_key(), value;
	int rc = mdb_get(txn, dbi, &key, &value);
	const uint8_t *bytes = value.mv_data;

	if (rc != 0)
		return rc;
	if (value.mv_size != 1 + CREDENTIALS_FILE_KEY_OCTETS || bytes[0] != FILE_VERSION)
		return MDB_VERSION_MISMATCH;
	memcpy(key_r, bytes + 1, CREDENTIALS_FILE_KEY_OCTETS);
	return 0;
}

static int copy_record(const MDB_val *value, uint8_t *record_r, size_t *len_r)
{
	if (value->mv_size > CREDENTIALS_OCTETS)
		return MDB_CORRUPTED;
	memcpy(record_r, value->mv_data, value->mv_size);
	*len_r = value->mv_size;
	return 0;
}

/* An older file has none, and one that makes no sense is as good as none. */
static int copy_usual(MDB_txn *txn, MDB_dbi dbi, struct usual *usual_r)
{
	MDB_val key = usual_key(), value;
	int rc = mdb_get(txn, dbi, &key, &value);

	usual_default(usual_r);
	if (rc == 0)
		usual_decode(usual_r, value.mv_data, value.mv_size);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int secretfile_get(struct secretfile *file, const char *user, uint8_t *key_r, struct usual *usual_r,
    uint8_t *record_r, size_t *len_r)
{
	char buf[1 + SECRETS_USER_OCTETS];
	MDB_val key = user_key(user, buf), value;
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc;

	if (refresh(file) < 0)
		return SECRETS_TEMP;
	if ((rc = begin(file, false, &txn, &dbi)) != 0)
		return trouble(rc);
	if ((rc = copy_key(txn, dbi, key_r)) != 0 || (rc = copy_usual(txn, dbi, usual_r)) != 0) {
		mdb_txn_abort(txn);
		return trouble(rc);
	}
	rc = mdb_get(txn, dbi, &key, &value);
	if (rc == 0)
		rc = copy_record(&value, record_r, len_r);
	mdb_txn_abort(txn);
	if (rc == MDB_NOTFOUND)
		return SECRETS_NO_USER;
	return rc == 0 ? SECRETS_OK : trouble(rc);
}

static int put_entry(
    MDB_txn *txn, MDB_dbi dbi, const struct secretfile_entry *entry, enum secrets_entering how)
{
	char buf[1 + SECRETS_USER_OCTETS];
	MDB_val key = user_key(entry->user, buf), old;
	/* LMDB sets the old value's place when the key exists, so it gets one of its own. */
	MDB_val value = {.mv_data = (void *)(uintptr_t)entry->record, .mv_size = entry->len};
	int rc = how == SECRETS_REPLACE ? mdb_get(txn, dbi, &key, &old) : 0;

	return rc == 0 ? mdb_put(txn, dbi, &key, &value, how == SECRETS_ADD ? MDB_NOOVERWRITE : 0) : rc;
}

static int put_once(struct secretfile *file, const struct secretfile_entry *entries, size_t count,
    enum secrets_entering how, size_t *failed_r)
{
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc;

	if ((rc = begin(file, true, &txn, &dbi)) != 0)
		return rc;
	for (*failed_r = 0; rc == 0 && *failed_r < count; ++*failed_r)
		if ((rc = put_entry(txn, dbi, &entries[*failed_r], how)) != 0)
			break;
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static int grow(struct secretfile *file)
{
	MDB_envinfo info;
	int rc = mdb_env_info(file->env, &info);

	if (rc == 0 && info.me_mapsize > FILE_MAP_MAX_OCTETS / 2)
		return MDB_MAP_FULL;
	return rc == 0 ? mdb_env_set_mapsize(file->env, info.me_mapsize * 2) : rc;
}

int secretfile_put(struct secretfile *file, const struct secretfile_entry *entries, size_t count,
    enum secrets_entering how, size_t *failed_r)
{
	size_t failed = 0;
	int rc;

	if (!file->writer)
		return trouble(EROFS);
	do
		rc = put_once(file, entries, count, how, &failed);
	while (rc == MDB_MAP_FULL && (rc = grow(file)) == 0);
	if (failed_r != NULL)
		*failed_r = failed;
	if (rc == MDB_KEYEXIST)
		return SECRETS_EXISTS;
	if (rc == MDB_NOTFOUND)
		return SECRETS_NO_USER;
	return rc == 0 ? SECRETS_OK : trouble(rc);
}

int secretfile_put_usual(struct secretfile *file, const struct usual *usual)
{
	uint8_t bytes[USUAL_OCTETS];
	MDB_val key = usual_key(), value = {.mv_data = bytes, .mv_size = usual_encode(usual, bytes)};
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc = begin(file, true, &txn, &dbi);

	if (rc != 0)
		return trouble(rc);
	rc = mdb_put(txn, dbi, &key, &value, 0);
	if (rc == 0)
		rc = mdb_txn_commit(txn);
	else
		mdb_txn_abort(txn);
	return rc == 0 ? SECRETS_OK : trouble(rc);
}

size_t secretfile_count(struct secretfile *file)
{
	MDB_stat stat;

	return mdb_env_stat(file->env, &stat) == 0 ? stat.ms_entries : 0;
}

int secretfile_delete(struct secretfile *file, const char *user)
{
	char buf[1 + SECRETS_USER_OCTETS];
	MDB_val key = user_key(user, buf);
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc;

	if (!file->writer)
		return trouble(EROFS);
	if ((rc = begin(file, true, &txn, &dbi)) != 0)
		return trouble(rc);
	rc = mdb_del(txn, dbi, &key, NULL);
	if (rc != 0)
		mdb_txn_abort(txn);
	else
		rc = mdb_txn_commit(txn);
	if (rc == MDB_NOTFOUND)
		return SECRETS_NO_USER;
	return rc == 0 ? SECRETS_OK : trouble(rc);
}

static int seek(MDB_txn *txn, MDB_dbi dbi, char *user, uint8_t *record_r, size_t *len_r)
{
	char buf[1 + SECRETS_USER_OCTETS + 1];
	MDB_val key = user_key(user, buf), value;
	MDB_cursor *cursor;
	int rc;

	/* The least key greater than this one is the same and a NUL. */
	if (user[0] != '\0')
		buf[key.mv_size++] = '\0';
	if ((rc = mdb_cursor_open(txn, dbi, &cursor)) != 0)
		return rc;
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	mdb_cursor_close(cursor);
	if (rc != 0)
		return rc;
	if (key.mv_size < 2 || key.mv_size > 1 + SECRETS_USER_OCTETS || ((const char *)key.mv_data)[0] != 'u')
		return MDB_NOTFOUND;
	memcpy(user, (const char *)key.mv_data + 1, key.mv_size - 1);
	user[key.mv_size - 1] = '\0';
	return copy_record(&value, record_r, len_r);
}

int secretfile_next(struct secretfile *file, char *user, uint8_t *record_r, size_t *len_r)
{
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc;

	if (refresh(file) < 0)
		return SECRETS_TEMP;
	if ((rc = begin(file, false, &txn, &dbi)) != 0)
		return trouble(rc);
	rc = seek(txn, dbi, user, record_r, len_r);
	mdb_txn_abort(txn);
	if (rc == MDB_NOTFOUND)
		return SECRETS_NO_USER;
	return rc == 0 ? SECRETS_OK : trouble(rc);
}
