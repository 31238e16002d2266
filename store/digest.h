/* SPDX-License-Identifier: ISC */
/*
 * digest: tells a message's content from another's, as fast as it is read.
 *
 * It tells apart what chance or a tool has put under one name; it is no defence against somebody who makes
 * two messages of one digest, which gains him nothing but a confusion among his own messages. It depends on
 * the octets and their number only: the same on every host, however they come in pieces, holes or not. It
 * never changes, because kpopd.uidl holds some.
 */
#ifndef KPOPD_STORE_DIGEST_H
#define KPOPD_STORE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTENT_DIGEST_OCTETS 16u

/* A message as it passes by in pieces of any size. Zero-initialise, add, then done. */
struct digest {
	uint64_t sums[2];
	uint64_t len;  /* octets seen */
	uint64_t word; /* the last len % 8 of them */
};

void digest_add(struct digest *digest, const void *buf, size_t len);
/* The same as so many octets of zero. */
void digest_add_zeros(struct digest *digest, uint64_t len);
/* Call once, at the end. All zero means unknown, and never comes out of this. */
void digest_done(struct digest *digest, uint8_t digest_r[CONTENT_DIGEST_OCTETS]);

bool digest_known(const uint8_t digest[CONTENT_DIGEST_OCTETS]);

#endif
