/* SPDX-License-Identifier: ISC */
/*
 * mbox_world: shorthand for tests of mbox files: the mbox of user is the file of that name in the mail root.
 */
#ifndef KPOPD_TESTS_STORE_MBOX_WORLD_H
#define KPOPD_TESTS_STORE_MBOX_WORLD_H

#include "tests/store/fixture.h"

#define FROM_A "From a@example.org Thu Jan  1 00:00:10 1970\n"
#define FROM_B "From b@example.org Thu Jan  1 00:00:20 1970\n"
#define FROM_C "From c@example.org Thu Jan  1 00:00:30 1970\n"
#define MESSAGE_A FROM_A "Subject: a\n\none\n.two\n\n"
#define MESSAGE_B FROM_B "Subject: b\n\n>From me\nto you\n\n"
#define MESSAGE_C FROM_C "Subject: c\n\nend\n\n"

struct maildrop_place mbox_place(const char *user);
struct maildrop *mbox_world_open(struct fixture *fixture, const char *user);
/* Opens, lists ("octets uidl\n" lines) and closes. */
const char *mbox_world_listing(struct fixture *fixture, const char *user);
/* The UIDL of a message; one of four texts that are used in turn. */
const char *mbox_world_uidl(struct maildrop *maildrop, uint32_t idx);
/* Marks the messages whose digits (from 0) are in which, and expunges. */
int mbox_world_expunge(struct maildrop *maildrop, const char *which);
/* The file; lives until the next call. */
const char *mbox_world_file(struct fixture *fixture, const char *user);
void mbox_world_append(struct fixture *fixture, const char *user, const char *text);
/* Everything of the index is gone; the store is another one. */
void mbox_world_lose_index(struct fixture *fixture);

#endif
