/* SPDX-License-Identifier: ISC */
/*
 * keywatch: whether the files that auth processes read at their start are still those they have read.
 *
 * For master, which alone can see them all. Looks at the keytab (any change of it) and at the secrets file
 * (whether there is one: auth itself finds a newer one). A change counts when two looks in a row find the
 * same, so that a file is not taken while it is written; one that changes all the time is taken all the
 * same after some looks.
 */
#ifndef KPOPD_SERVER_KEYWATCH_H
#define KPOPD_SERVER_KEYWATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "server/config.h"

enum keywatch_change {
	KEYWATCH_KEYTAB = 1 << 0,
	KEYWATCH_SECRETS = 1 << 1,
};

/* What tells one state of the files from another. */
struct keywatch_state {
	bool keytab, secrets; /* there is one */
	dev_t dev;
	ino_t ino;
	mode_t mode;
	uid_t uid;
	off_t octets;
	struct timespec written, changed;
};

struct keywatch {
	const struct config *config; /* not ours */
	struct keywatch_state taken, seen;
	unsigned unsettled; /* looks in a row that found a change, each another one */
};

/* What is there now counts as taken. */
void keywatch_init(struct keywatch *watch, const struct config *config);
/*
 * Bits of what has changed since it was taken, and is settled; then keywatch_take, and let those who read
 * the files begin. *soon_r: it may not be whole yet: look again soon.
 */
unsigned keywatch_look(struct keywatch *watch, bool *soon_r);
void keywatch_take(struct keywatch *watch);
/* Whether the files changed after keywatch_take: who has read them since may have seen half of it. */
bool keywatch_moved(const struct keywatch *watch);

/* Whether anything that is configured needs a key of the keytab. */
bool keywatch_wants_keytab(const struct config *config);
/*
 * One line when there is no secrets file though passwords are to be checked, for the log at the start and
 * for kpopd -t. False: nothing to say.
 */
bool keywatch_missing_secrets(const struct config *config, char *text_r, size_t size);

#endif
