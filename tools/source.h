/* SPDX-License-Identifier: ISC */
/*
 * source: the UIDLs another server gave to its messages, item by item, from a file of that server.
 *
 * For kpopctl. Pure code over octets in memory; such files come from users' folders, so nothing in them is
 * believed: every line is bounded, and one that cannot be read is an item that says why.
 */
#ifndef KPOPD_TOOLS_SOURCE_H
#define KPOPD_TOOLS_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/maildrop.h"

#define SOURCE_LINE_OCTETS 2048u
#define SOURCE_WHY_OCTETS 192u
#define SOURCE_KEY_OCTETS 255u

enum source_format {
	SOURCE_GUESS = 0,
	SOURCE_LIST,    /* NAME-OR-DIGEST TAB UIDL */
	SOURCE_DOVECOT, /* dovecot-uidlist */
	SOURCE_COURIER, /* courierpop3dsizelist */
	SOURCE_CYRUS,   /* what mbexamine prints */
	SOURCE_X_UIDL,  /* an mbox with X-UIDL header fields */
	SOURCE_MBOX, /* an mbox with X-IMAP or X-IMAPbase and X-UID: Dovecot's, and others by their template
		      */
	SOURCE_FORMATS
};

/* By what an item's message is found here. */
enum source_key {
	SOURCE_NAME = 0, /* the unique part of its file's name */
	SOURCE_SHA256,   /* of the message as it is on the wire, in hexadecimal */
	SOURCE_SHA1,
	SOURCE_ALIKE /* likeness_whole, in hexadecimal */
};

struct source_item {
	unsigned long line; /* in the file; of an mbox, where the message begins */
	uint64_t order;     /* rises as the old server numbered its messages; may repeat */
	uint64_t octets;    /* on the wire, as the old server said; 0: it did not */
	enum source_key kind;
	char key[SOURCE_KEY_OCTETS + 1];
	char uidl[MAILDROP_UIDL_OCTETS + 1];
	char why[SOURCE_WHY_OCTETS]; /* not empty: why it cannot be taken */
};

/* Set the first four, all else zero. */
struct source_reader {
	const char *octets;
	size_t len;
	enum source_format format;
	const char *template; /* of a UIDL (uidl_template.h), sound; NULL: the format's usual one */
	size_t at;
	unsigned long line;
	uint32_t uidvalidity, last_uid;
	int version;
	bool begun, ended;
	struct source_item ahead; /* of formats whose items have several lines */
};

/* "dovecot" and so on. 0 or -1. */
int source_format_find(const char *name, enum source_format *format_r);
/* What a file looks like; SOURCE_GUESS: nothing known. Never an mbox's: what its header fields say is taken
 * only when asked for. */
enum source_format source_guess(const char *octets, size_t len);
/* false: no more. */
bool source_next(struct source_reader *reader, struct source_item *item_r);

#endif
