/* SPDX-License-Identifier: ISC */
/*
 * listeners: the sockets clients connect to, bound by master or inherited from systemd; those of LMTP may be
 * files.
 *
 * Bound once and kept over reloads: a reload binds what is new, closes what is gone, and never lets go of
 * a socket that stays. Fronts inherit them all and accept.
 */
#ifndef KPOPD_SERVER_LISTENERS_H
#define KPOPD_SERVER_LISTENERS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/config.h"
#include "server/local_socket.h"

struct listener {
	int fd;
	size_t section;              /* of config->listeners, for those opened by that config */
	struct sockaddr_in6 address; /* IPv4 as a mapped address; all zero for a Unix socket */
	struct local_socket local;
};

struct listeners {
	struct listener entries[LIMIT_LISTENERS_COUNT];
	size_t count;
};

/* Takes note of the sockets in LISTEN_FDS (sd_listen_fds(3)), before the environment is cleared. */
void listeners_inherit(void);

/*
 * The sockets config asks for: those of old (NULL: none) that serve on, inherited ones, the rest bound.
 * On failure nothing of old is touched, new ones are closed, and why_r says which address and why. 0 or -1.
 */
int listeners_open(struct listeners *listeners_r, const struct listeners *old, const struct config *config,
    char *why_r, size_t size);
/* Whether config has listeners for LMTP, or others. */
bool listeners_want(const struct config *config, bool lmtp);
/* Two parts of all, which config asked for: for fronts, and for lmtp. */
void listeners_split(const struct listeners *all, const struct config *config, struct listeners *fronts_r,
    struct listeners *lmtp_r);
/* Closes those of a that b (NULL: none) does not have; their files go. */
void listeners_close(struct listeners *a, const struct listeners *b);

#endif
