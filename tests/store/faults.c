/* SPDX-License-Identifier: ISC */
#include "tests/store/faults.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include <lmdb.h>

struct faults faults;

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
DIR *__real_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);
int __real_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags);
int __real_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);

static void live(void)
{
	if (faults.die_after > 0 && --faults.die_after == 0)
		raise(SIGKILL);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	live();
	int rc = __real_clock_gettime(clock, time);
	if (faults.clock_still != 0 && clock == CLOCK_REALTIME)
		*time = (struct timespec){.tv_sec = faults.clock_still};
	time->tv_sec += faults.clock_secs;
	return rc;
}

DIR *__wrap_fdopendir(int fd)
{
	live();
	faults.scans++;
	return __real_fdopendir(fd);
}

static int fail(int error)
{
	errno = error;
	return -1;
}

int __wrap_fsync(int fd)
{
	live();
	faults.fsyncs++;
	if (faults.fsync_errno == 0 || faults.fsync_after-- > 0)
		return __real_fsync(fd);
	return fail(faults.fsync_errno);
}

ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
	live();
	return faults.write_errno != 0 ? fail(faults.write_errno) : __real_write(fd, buf, len);
}

int __wrap_unlinkat(int dir, const char *name, int flags)
{
	live();
	void (*before)(void) = atomic_exchange(&faults.before_unlink, NULL);
	if (before != NULL)
		before();
	return faults.unlink_errno != 0 ? fail(faults.unlink_errno) : __real_unlinkat(dir, name, flags);
}

int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
	live();
	if (faults.die_reading)
		raise(SIGKILL);
	faults.writes += (flags & MDB_RDONLY) == 0;
	return __real_mdb_txn_begin(env, parent, flags, txn);
}

int __wrap_mdb_txn_commit(MDB_txn *txn)
{
	live();
	if (faults.commit_errno == 0) {
		int rc = __real_mdb_txn_commit(txn);
		live();
		return rc;
	}
	mdb_txn_abort(txn);
	return faults.commit_errno;
}
