/* SPDX-License-Identifier: ISC */
/*
 * replay: from when on the replay cache knows whom it has seen.
 *
 * A cache that was lost would let pass what it had recorded; so who shows an authenticator from before the
 * cache's birth is refused, by KPOP and by GSS-API's mechanisms alike. For the auth role.
 */
#ifndef KPOPD_KPOP_REPLAY_H
#define KPOPD_KPOP_REPLAY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct replay {
	char path[PATH_MAX];
	bool known; /* what follows is of the file as it was last seen */
	dev_t dev;
	ino_t ino;
	uint64_t octets;
	int64_t since; /* as far as this process has seen it begin */
};

/* path must not be longer than PATH_MAX. */
void replay_init(struct replay *replay, const char *path);
/*
 * Makes an empty cache where there is none, so that it is older than the first who logs in; for a process
 * that has the rights it will go on with. Nothing is wrong when it fails: the library will try again, and say
 * why.
 */
void replay_make(const char *path);
/*
 * The second before which the cache knows nothing; 0: it is as old as we know. Asked after an authenticator
 * was recorded; a cache that was deleted, replaced or cut short since it was asked last begins now.
 */
int64_t replay_since(struct replay *replay);

#endif
