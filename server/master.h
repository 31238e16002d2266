/* SPDX-License-Identifier: ISC */
/*
 * master: starts the roles, restarts what dies, reloads, ends. Reads no octet of a client.
 *
 * SIGHUP reads the configuration again; when a whole new generation of roles says it serves, the old one
 * takes no more clients, finishes those it has, and ends. When anything of the new one fails, the old one
 * serves on and the log says what was wrong. SIGTERM and SIGINT end everything.
 */
#ifndef KPOPD_SERVER_MASTER_H
#define KPOPD_SERVER_MASTER_H

#include "server/config.h"

/*
 * Takes config over. started is called once, when clients are served. Returns the exit status: 0 after a
 * signal, 1 when the first generation could not be started.
 */
int master_run(struct config *config, void (*started)(void *arg), void *arg);

#endif
