/* SPDX-License-Identifier: ISC */
/*
 * side: the messages of one user as one server shows them: of this one, straight from the store, or of any by
 * POP3. Both can be listed and looked at in the same way, which is how they are compared.
 *
 * For kpopctl. A side belongs to whoever opened it; the maildrop stays locked, the session open, as long as
 * the side is.
 */
#ifndef KPOPD_TOOLS_SIDE_H
#define KPOPD_TOOLS_SIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "store/maildrop.h"
#include "tools/likeness.h"
#include "tools/mailuser.h"

#define SIDE_WHY_OCTETS 1024u
#define SIDE_MESSAGES_COUNT (2u << 20) /* more than a server shows is not taken from one */

struct side_message {
	uint64_t octets; /* on the wire, as that side says */
	uint64_t stored; /* here: octets of the file, once it was looked at */
	char *uidl;      /* NULL: that side has none for it, or a line that is none */
	char *name;      /* here: what stays the same in its file's name; else NULL */
	uint32_t number; /* as in a session, from 1 */
};

struct side {
	struct side_message *messages; /* as the side numbers them */
	uint32_t count;
	struct maildrop *maildrop; /* of this server */
	struct remote *remote;     /* of another one */
	bool in_use;               /* a session has the maildrop: why it could not be opened */
	char why[SIDE_WHY_OCTETS]; /* of the call that failed last */
};

/* The maildrop of this process's user; of mailuser, which outlives it. 0 or -1; side_close in either case. */
int side_open_here(const struct mailuser *mailuser, struct side *side_r);
struct remote_options;
int side_open_remote(const struct remote_options *options, struct side *side_r);
void side_close(struct side *side);

/*
 * Looks at the message at place i: its header and so many lines of the body, or LIKENESS_WHOLE. 0, or -1: why
 * says what.
 */
int side_look(
    struct side *side, uint32_t i, unsigned which, uint32_t body_lines, struct likeness *likeness_r);

/* For side_*.c: one more message; the texts are copied. -1: no memory, or too many. */
int side_append(struct side *side, const struct side_message *message);
/* Forgets the messages. */
void side_clear(struct side *side);
/* What went wrong with a maildrop, for people; errno as the store left it. */
const char *side_error(int rc);
int side_fail(struct side *side, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
