/* SPDX-License-Identifier: ISC */
/*
 * uidls: the file kpopd.uidl in a mailbox's home: UIDLs that do not follow from a message's name.
 *
 * For the store's own modules. The file moves along with the mail, and is only ever added to: a line for each
 * thing that was decided, ended by a checksum. It belongs to the mailbox's owner, so it is read with
 * suspicion: a line that is damaged, cut or makes no sense is passed over, a UIDL belongs to whom it was
 * first given, and a line that is there twice says the same as once. The format is told in doc/store.md.
 */
#ifndef KPOPD_STORE_UIDLS_H
#define KPOPD_STORE_UIDLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "index.h"
#include "mailbox.h"

#define UIDLS_NAME "kpopd.uidl"
#define UIDLS_LINES_COUNT (8u * MAILDROP_MESSAGES_COUNT) /* more are not read */

enum uidls_kind {
	UIDLS_ADOPTED = 'a', /* this message had this UIDL on another server; the earlier the line the earlier
				its place */
	UIDLS_SHARED = 's',  /* of the messages of this unique part, the one of this digest has this UIDL */
	UIDLS_GONE = 'g',    /* as above, and it is gone */
};

/* A line; views live as long as said where one is given. */
struct uidls_line {
	enum uidls_kind kind;
	uint32_t order;                        /* its place in the file, from 1 */
	uint8_t digest[CONTENT_DIGEST_OCTETS]; /* all zero: whatever is in it */
	const char *uidl, *name;               /* not NUL-terminated */
	uint8_t uidl_len, name_len, unique_len;
};

/* What there is to say of a record; views of the record's and of uidl_r, which has MAILDROP_UIDL_OCTETS + 1.
 */
struct uidls_line uidls_line_of(enum uidls_kind kind, const struct record *record, char *uidl_r);

/* ---- reading ---- */

/* Calls fn for each sound line, until it returns non-zero. Notes what is wrong with the file. MAILDROP_GONE:
 * there is none. MAILDROP_TEMP: it could not be read to its end. */
typedef int uidls_fn(void *arg, const struct uidls_line *line);
int uidls_read(const struct mailbox *mailbox, uidls_fn *fn, void *arg);

/* All that is in the file, to be asked about unique parts in rising order (record_compare_unique). */
struct uidls;
/* *uidls_r stays NULL when there is no file. MAILDROP_TEMP. */
int uidls_load(const struct mailbox *mailbox, struct uidls **uidls_r);
void uidls_free(struct uidls **uidls);
/*
 * The lines of a unique part, in order: those in force. *lines_r lives until the next call; NULL and 0 for
 * none. No two calls for the same unique part. MAILDROP_TEMP.
 */
int uidls_of(
    struct uidls *uidls, const char *unique, size_t len, const struct uidls_line **lines_r, size_t *count_r);
/* Whether a unique part is the UIDL of some other message, as of the file. Rising order here, too. */
bool uidls_takes(struct uidls *uidls, const char *unique, size_t len);
/* Whether a hash that uidl_hash made occurs in the file; in any order. */
bool uidls_takes_hash(const struct uidls *uidls, const char *hash);

/* ---- writing ---- */

struct uidls_writer;
/* NULL: no memory. */
struct uidls_writer *uidls_writer_new(const struct mailbox *mailbox);
/* Once it fails (that was noted) it fails for good: false. line->order is of no interest. */
bool uidls_write(struct uidls_writer *writer, const struct uidls_line *line);
/* Brings what was written to the disk; or, when something failed, takes back what it can. */
bool uidls_writer_end(struct uidls_writer **writer);
/* Takes it back, if possible. */
void uidls_writer_abort(struct uidls_writer **writer);

#endif
