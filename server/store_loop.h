/* SPDX-License-Identifier: ISC */
/*
 * store_loop: isolation = shared: one store process, many maildrops, a few worker threads.
 *
 * The main thread waits for all maildrops at once and hands one that has a message to a worker, which does
 * the blocking work and gives it back. A maildrop is in one place at a time: no lock is held over it.
 */
#ifndef KPOPD_SERVER_STORE_LOOP_H
#define KPOPD_SERVER_STORE_LOOP_H

#include "server/config.h"
#include "store/maildrop.h"

void store_loop(const struct config *config, struct store *store, int door, int leash)
    __attribute__((noreturn));

#endif
