/* SPDX-License-Identifier: ISC */
/*
 * store: what the modules behind maildrop.h share: the mail root, the index, and notes to the caller.
 */
#ifndef KPOPD_STORE_STORE_H
#define KPOPD_STORE_STORE_H

#include "maildrop.h"

struct index;

struct store {
	int root;            /* the mail root's descriptor, our own */
	int homes;           /* see struct store_config; our own, or -1 */
	struct index *index; /* NULL: every session scans */
	maildrop_note_fn *note;
	void *note_arg;
};

/* Tells the caller one line; whatever is not printable ASCII becomes '?'. Keeps errno. */
void store_note(const struct store *store, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
