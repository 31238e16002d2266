/* SPDX-License-Identifier: ISC */
/*
 * folders: the directories kpopd keeps for itself, made and given to the role that works there.
 *
 * For master, before the roles begin. The mail root is the administrator's: it is checked, not made.
 */
#ifndef KPOPD_SERVER_FOLDERS_H
#define KPOPD_SERVER_FOLDERS_H

#include <stddef.h>

#include "server/config.h"

/* Whether the users are there and the mail root is the store's to enter. Changes nothing. 0, or -1 as below.
 */
int folders_check(const struct config *config, char *why_r, size_t size);
/* The same; makes what is missing; as root, gives auth/ and index/ to their users. 0, or -1 and one line in
 * why_r. */
int folders_make(const struct config *config, char *why_r, size_t size);

#endif
