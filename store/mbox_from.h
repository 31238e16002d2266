/* SPDX-License-Identifier: ISC */
/*
 * mbox_from: the lines that begin with "From " and stand between the messages of an mbox, as pure code.
 *
 * "From SENDER DATE", where the date is what asctime(3) writes, or one of the forms that other deliverers
 * have written: without seconds, with a time zone before or behind the year, or in the order of RFC 5322.
 */
#ifndef KPOPD_STORE_MBOX_FROM_H
#define KPOPD_STORE_MBOX_FROM_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define MBOX_FROM_OCTETS 1024u  /* a longer line is no such line, its line end included */
#define MBOX_SENDER_OCTETS 320u /* RFC 5321 section 4.5.3.1: 64 + 1 + 255 */
#define MBOX_NAME_OCTETS 128u   /* of a header field, looked at behind such a line */
#define MBOX_FROM_LOOK_OCTETS (MBOX_FROM_OCTETS + MBOX_NAME_OCTETS)

/* What a line may be that follows an empty one, or begins the file. */
enum mbox_from {
	MBOX_FROM_NOT = 0,
	MBOX_FROM_DOUBTFUL, /* what follows is not how a message begins: perhaps a line of somebody's text */
	MBOX_FROM_SURE,
};

/*
 * Looks at the line that begins at text, and at the beginning of the next. len octets are there: at least
 * MBOX_FROM_LOOK_OCTETS, or all up to the end of the file.
 */
enum mbox_from mbox_from_look(const char *text, size_t len);
/* The length of an empty line at text: 1 or 2 octets; 0: it is not empty. */
size_t mbox_from_empty(const char *text, size_t len);
/* Whether a header field begins at text: a name and a colon. Sets the length of the name. */
bool mbox_from_field(const char *text, size_t len, size_t *name_len_r);

/* How many line feeds are missing behind the last octets of a file, of which len (at most 3) are here, before
 * the next message may begin. */
size_t mbox_from_gap(const char *last, size_t len);

/* Writes a line for sender, cleaned of what does not belong there (empty: MAILER-DAEMON), and UTC. line_r has
 * MBOX_FROM_OCTETS. Returns its length with its LF. */
size_t mbox_from_write(const char *sender, size_t len, time_t when, char *line_r);

#endif
