/* SPDX-License-Identifier: ISC */
/*
 * fixture: a mail root and an index directory of a test's own, and shorthand for what tests do there.
 * Everything fails the running test by itself.
 */
#ifndef KPOPD_TESTS_STORE_FIXTURE_H
#define KPOPD_TESTS_STORE_FIXTURE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "store/maildrop.h"

struct fixture {
	char dir[64]; /* holds root/, homes/ and index/ */
	int root, homes;
	struct store *store;
	bool indexed;
	const char *boot_id; /* for the next fixture_reopen */
	unsigned notes_count;
	char notes[8192]; /* every note, a line each */
};

/* cmocka's setup and teardown: a fixture with an index, or without one. */
int fixture_setup(void **state);
int fixture_setup_unindexed(void **state);
int fixture_teardown(void **state);

/* Another process of the store would begin like this: the old one's store is closed. */
void fixture_reopen(struct fixture *fixture, size_t map_octets);
/* Runs fn in a process of its own, with a store of its own. Returns what waitpid says. */
int fixture_fork(struct fixture *fixture, void (*fn)(struct fixture *fixture));
/* Calls fn with the path of each NN.mdb. Returns how many there are. */
unsigned fixture_environments(struct fixture *fixture, void (*fn)(const char *path));

/* Paths are printf formats, relative to the mail root. */
void fixture_mkdir(struct fixture *fixture, const char *path);
void fixture_maildir(struct fixture *fixture, const char *user);
void fixture_write(struct fixture *fixture, const char *path, const char *text);
bool fixture_exists(struct fixture *fixture, const char *path);

/* Opens user's maildrop at user/Maildir; fails the test when that fails. */
struct maildrop *fixture_open(struct fixture *fixture, const char *user);
/* The listing as "octets uidl\n" lines, and UIDs rising. */
const char *fixture_list(struct maildrop *maildrop);
/* Opens, lists and closes. */
const char *fixture_listing(struct fixture *fixture, const char *user);
/* The octets of a message; NULL and the error in *rc_r. Lives until the next call. */
const char *fixture_fetch(struct maildrop *maildrop, uint32_t idx, int *rc_r);
/* Removes everything beneath path. */
void fixture_remove(const char *path);

#endif
