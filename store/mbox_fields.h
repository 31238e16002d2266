/* SPDX-License-Identifier: ISC */
/*
 * mbox_fields: header fields of an mbox's messages that mean something to mail readers, as pure code.
 */
#ifndef KPOPD_STORE_MBOX_FIELDS_H
#define KPOPD_STORE_MBOX_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mbox_field {
	MBOX_FIELD_OTHER = 0,
	MBOX_FIELD_REWRITTEN, /* mail readers write it, and change it */
	MBOX_FIELD_LENGTH,    /* Content-Length; rewritten, too */
	MBOX_FIELD_IMAP,      /* X-IMAP or X-IMAPbase; rewritten, too */
	MBOX_FIELD_SUBJECT,
};

/* Any case. */
enum mbox_field mbox_field(const char *name, size_t len);
/* A Content-Length; line is what follows the colon. false: none that makes sense. */
bool mbox_field_length(const char *line, size_t len, uint64_t *length_r);
/* Whether a Subject is that of the note with which mail readers of UW's family begin a file. */
bool mbox_field_internal(const char *line, size_t len);

#endif
