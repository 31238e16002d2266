/* SPDX-License-Identifier: ISC */
/*
 * mbox_digest: what makes a message of an mbox the same message, when it has no name of its own.
 *
 * A hash of its "From " line and its content, without the header fields that mail readers write and change
 * (mbox_fields.h), and without the line feeds at its end, of which deliverers and readers add and take away.
 * Copies that are the same in all this are told apart by an ordinal (mbox_copies.h).
 */
#ifndef KPOPD_STORE_MBOX_DIGEST_H
#define KPOPD_STORE_MBOX_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mbox_parse.h"
#include "wire.h"

#define MBOX_DIGEST_OCTETS 20u
#define MBOX_NAME_SIZE (2u * MBOX_DIGEST_OCTETS + 1u + 10u + 1u)

/* Which message: the ordinal is 1 for the first of its kind. */
struct mbox_id {
	uint8_t digest[MBOX_DIGEST_OCTETS];
	uint32_t ordinal;
};

/* Hexadecimal digits, and ".N" when the ordinal N is not 1. Returns the length; a NUL follows. */
size_t mbox_id_name(const struct mbox_id *id, char name_r[MBOX_NAME_SIZE]);
/* false: it is no such name. */
bool mbox_id_parse(const char *name, size_t len, struct mbox_id *id_r);
int mbox_id_compare(const struct mbox_id *a, const struct mbox_id *b);

struct mbox_digest {
	void *md;
	uint64_t held; /* line feeds that may be the last */
	bool failed;
	struct wire_count count;
};
/* false: no memory. */
bool mbox_digest_init(struct mbox_digest *digest);
void mbox_digest_clear(struct mbox_digest *digest);
/* A message: begin, add each piece, end. false: the library fails. */
void mbox_digest_begin(struct mbox_digest *digest);
void mbox_digest_add(struct mbox_digest *digest, enum mbox_piece piece, const void *buf, size_t len);
bool mbox_digest_end(
    struct mbox_digest *digest, uint8_t octets_r[MBOX_DIGEST_OCTETS], uint64_t *size_r, unsigned *flags_r);

#endif
