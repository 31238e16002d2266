/* SPDX-License-Identifier: ISC */
/*
 * local_socket: a listening Unix socket with the owner, group and mode that the configuration gives it.
 *
 * For master, which may be root: whatever is changed is first looked at by a descriptor of the socket's own,
 * never by a name that may have moved.
 */
#ifndef KPOPD_SERVER_LOCAL_SOCKET_H
#define KPOPD_SERVER_LOCAL_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "server/config.h"

#define LOCAL_SOCKET_PATH_OCTETS 108u /* unix(7) */

/* Which file it is, so that nobody else's is taken for it. */
struct local_socket {
	char path[LOCAL_SOCKET_PATH_OCTETS]; /* "": no Unix socket */
	dev_t device;
	ino_t inode;
};

/* Whether it could be bound in its directory, without changing anything. 0, or -1 and why_r. */
int local_socket_check(const struct listener_config *config, char *why_r, size_t size);
/* Whether path_owner and path_group are there. 0, or -1 and why_r. */
int local_socket_check_owner(const struct listener_config *config, char *why_r, size_t size);
/* Binds and listens; a socket file that nobody listens on any more gives way. A descriptor, or -1 and why_r.
 */
int local_socket_open(
    const struct listener_config *config, struct local_socket *socket_r, char *why_r, size_t size);
/* Owner, group and mode anew, for a socket that stays over a reload. 0, or -1 and why_r. */
int local_socket_own(
    const struct listener_config *config, struct local_socket *socket_r, char *why_r, size_t size);
/* Whether clients still find it under its name. */
bool local_socket_there(const struct local_socket *socket);
void local_socket_remove(const struct local_socket *socket);

#endif
