/* SPDX-License-Identifier: ISC */
/*
 * index_gone: records of messages that are no longer there. Where other sessions may list them still, they
 * stay, marked with the epoch since when they are gone: a session of an earlier epoch goes on seeing them.
 */
#include <string.h>

#include "index.h"
#include "index_env.h"

struct removal {
	const char *user;
	const uint32_t *uids;
	size_t count;
	bool mark;
};

/* The maildrop as this transaction sees it. */
static int get_drop(MDB_txn *txn, MDB_dbi dbi, const char *user, struct drop *drop_r)
{
	uint8_t key[RECORD_KEY_OCTETS];
	MDB_val k = {record_drop_key(user, key), key};
	MDB_val v;
	int rc = mdb_get(txn, dbi, &k, &v);
	if (rc == 0 && !record_decode_drop(drop_r, key, k.mv_size, v.mv_data, v.mv_size))
		rc = MDB_CORRUPTED;
	return rc;
}

static int put_drop(MDB_txn *txn, MDB_dbi dbi, const char *user, const struct drop *drop)
{
	uint8_t key[RECORD_KEY_OCTETS];
	uint8_t value[RECORD_VALUE_OCTETS];
	MDB_val k = {record_drop_key(user, key), key};
	MDB_val v = {record_encode_drop(drop, key, k.mv_size, value), value};
	return mdb_put(txn, dbi, &k, &v, 0);
}

/* A message's record; its views point into the environment. */
static int get_record(MDB_txn *txn, MDB_dbi dbi, const MDB_val *k, struct record *record_r)
{
	MDB_val key = *k;
	MDB_val v;
	int rc = mdb_get(txn, dbi, &key, &v);
	if (rc == 0 && !record_decode(record_r, k->mv_data, k->mv_size, v.mv_data, v.mv_size))
		rc = MDB_CORRUPTED;
	return rc;
}

static int put_marked(MDB_txn *txn, MDB_dbi dbi, MDB_val *k, struct record *record, uint32_t epoch)
{
	uint8_t value[RECORD_VALUE_OCTETS];
	record->gone = epoch;
	MDB_val v = {record_encode(record, k->mv_data, k->mv_size, value), value};
	return mdb_put(txn, dbi, k, &v, 0);
}

int index_mark(MDB_txn *txn, MDB_dbi dbi, const char *user, uint32_t uid, uint32_t epoch)
{
	uint8_t key[RECORD_KEY_OCTETS];
	MDB_val k = {record_key(user, uid, key), key};
	struct record record;
	int rc = get_record(txn, dbi, &k, &record);
	if (rc == 0 && record.gone == 0)
		rc = put_marked(txn, dbi, &k, &record, epoch);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* One message, unless somebody else has taken it out before. */
static int remove_one(
    MDB_txn *txn, MDB_dbi dbi, const struct removal *removal, uint32_t uid, struct drop *drop)
{
	uint8_t key[RECORD_KEY_OCTETS];
	MDB_val k = {record_key(removal->user, uid, key), key};
	struct record record;
	int rc = get_record(txn, dbi, &k, &record);
	if (rc == MDB_NOTFOUND || (rc == 0 && record.gone != 0))
		return 0;
	if (rc != 0)
		return rc;
	if (drop->state == DROP_WHOLE && (drop->count == 0 || drop->octets < record.octets))
		return MDB_CORRUPTED;
	drop->count -= drop->count > 0;
	drop->octets -= drop->octets < record.octets ? drop->octets : record.octets;
	if (!removal->mark)
		return mdb_del(txn, dbi, &k, NULL);
	drop->marked++;
	return put_marked(txn, dbi, &k, &record, drop->epoch);
}

static int remove_all(MDB_txn *txn, MDB_dbi dbi, void *arg)
{
	const struct removal *removal = arg;
	struct drop drop;
	int rc = get_drop(txn, dbi, removal->user, &drop);
	/* The maildrop as a whole is unknown: the next login builds it again. */
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc == 0 && removal->mark && ++drop.epoch == 0)
		rc = MDB_CORRUPTED;
	for (size_t i = 0; rc == 0 && i < removal->count; i++)
		rc = remove_one(txn, dbi, removal, removal->uids[i], &drop);
	/* The mailbox has changed, perhaps not only by the caller. */
	drop.trusted = false;
	return rc == 0 ? put_drop(txn, dbi, removal->user, &drop) : rc;
}

int index_remove(struct index_env *env, const char *user, const uint32_t *uids, size_t count, bool mark)
{
	struct removal removal = {.user = user, .uids = uids, .count = count, .mark = mark};
	return index_write(env, remove_all, &removal);
}

struct purge {
	const char *user;
	struct drop *drop;
};

static int delete_marked(MDB_cursor *cursor, const char *user)
{
	uint8_t key[RECORD_KEY_OCTETS];
	MDB_val k = {record_key(user, 0, key), key};
	size_t user_len = k.mv_size - 4;
	MDB_val v;
	int rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	while (rc == 0 && k.mv_size == user_len + 4 && memcmp(k.mv_data, key, user_len) == 0) {
		struct record record;
		if (!record_decode(&record, k.mv_data, k.mv_size, v.mv_data, v.mv_size))
			return MDB_CORRUPTED;
		if (record.gone != 0)
			rc = mdb_cursor_del(cursor, 0);
		/* After a deletion the next one is where the cursor stands, if not at the end of a page. */
		if (rc == 0)
			rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int purge_all(MDB_txn *txn, MDB_dbi dbi, void *arg)
{
	const struct purge *purge = arg;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, dbi, &cursor);
	if (rc != 0)
		return rc;
	rc = delete_marked(cursor, purge->user);
	mdb_cursor_close(cursor);
	struct drop drop = *purge->drop;
	drop.epoch = 0;
	drop.marked = 0;
	return rc == 0 ? put_drop(txn, dbi, purge->user, &drop) : rc;
}

int index_purge(struct index_env *env, const char *user, struct drop *drop)
{
	struct purge purge = {.user = user, .drop = drop};
	int rc = index_write(env, purge_all, &purge);
	if (rc == INDEX_OK) {
		drop->epoch = 0;
		drop->marked = 0;
	}
	return rc;
}
