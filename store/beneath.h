/* SPDX-License-Identifier: ISC */
/*
 * beneath: opening what others may have made: beneath a directory, by no symbolic link, waiting for nothing.
 */
#ifndef KPOPD_STORE_BENEATH_H
#define KPOPD_STORE_BENEATH_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* openat2(2), close-on-exec; -1 and errno. */
int beneath_open(int dir, const char *path, int flags, mode_t mode);
/* What an errno means to the caller: an enum maildrop_err, MAILDROP_GONE for ENOENT. */
int beneath_error(int error);
/* A file's time in nanoseconds since the epoch; INT64_MIN for one that does not fit. */
int64_t beneath_nsecs(struct timespec time);

#endif
