/* SPDX-License-Identifier: ISC */
/*
 * claims: which message here is to have which UIDL, and what speaks against it.
 *
 * For kpopctl. First the claims are gathered, from a file or another server; then each finds its message;
 * then they are judged together, with the UIDLs that the other messages have.
 */
#ifndef KPOPD_TOOLS_CLAIMS_H
#define KPOPD_TOOLS_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/side.h"
#include "tools/source.h"

#define CLAIM_NOWHERE UINT32_MAX
#define CLAIMS_COUNT (2u << 20) /* twice what a session sees */

struct claim {
	unsigned long line; /* of the source, or the message's number there */
	uint64_t order, octets;
	char *uidl, *key; /* NULL: none */
	char *why;        /* NULL: nothing speaks against it */
	uint32_t idx;     /* of the message here; CLAIM_NOWHERE */
	enum source_key kind;
};

struct claims {
	struct claim *list;
	size_t count;
	bool failed;   /* no memory, or too many */
	uint32_t *of;  /* by idx: the claim's place in list, or CLAIM_NOWHERE; once they are matched */
	size_t wrong;  /* claims with a why; once they are judged */
	size_t lonely; /* messages here without a claim */
};

void claims_clear(struct claims *claims);
void claims_add(struct claims *claims, const struct source_item *item);
void claims_wrong(struct claims *claims, struct claim *claim, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* In the order of the old server, so that equal copies of a message come in that order, too. */
void claims_sort(struct claims *claims);
/*
 * Gives every claim its message here, by key. Looks at the messages' content where a key is a digest. Equal
 * copies of a message stand for each other, in order. 0, or -1 with here->why.
 */
int claims_match(struct claims *claims, struct side *here);
/* Fills of[]; then every claim whose UIDL is claimed twice, or is another message's here, gets its why. */
void claims_judge(struct claims *claims, const struct side *here);

#endif
