/* SPDX-License-Identifier: ISC */
/*
 * faults: calls of the store that a test counts, or makes fail, by the linker's --wrap.
 */
#ifndef KPOPD_TESTS_STORE_FAULTS_H
#define KPOPD_TESTS_STORE_FAULTS_H

#include <stdatomic.h>
#include <time.h>

struct faults {
	int clock_secs;     /* the clock is ahead by so much: directories just made seem to be at rest */
	time_t clock_still; /* the clock stands at this second; 0: it goes */
	atomic_uint scans;  /* directories opened for reading */
	atomic_uint writes; /* write transactions */
	atomic_uint fsyncs;
	int fsync_errno; /* every fsync fails so, after fsync_after good ones */
	atomic_int fsync_after;
	int write_errno;                       /* every write fails so */
	int unlink_errno;                      /* every unlinkat fails so */
	int commit_errno;                      /* every commit of the index fails so */
	atomic_int die_after;                  /* the call of any kind that kills the process; 0: none */
	int die_reading;                       /* the next read transaction kills the process */
	_Atomic(void (*)(void)) before_unlink; /* called once, just before an unlinkat */
};
extern struct faults faults;

#endif
