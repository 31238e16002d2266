/* SPDX-License-Identifier: ISC */
/*
 * uidl: from a message's file name to the identity that clients remember (RFC 1939 section 7).
 *
 * The unique part of a Maildir name, what comes before the first ',' or ':', never changes; flags and
 * sizes behind it do. Where the unique part can be a UIDL it is one. Else the UIDL is a hash, written with
 * a ':' that no unique part can contain, so the two kinds never meet.
 */
#ifndef KPOPD_STORE_UIDL_H
#define KPOPD_STORE_UIDL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UIDL_HASH_OCTETS 55u /* "sha256:" and 48 hexadecimal digits */

/* Length of the unique part; the whole name when nothing comes before the ',' or ':'. */
size_t uidl_unique_len(const char *name, size_t len);
/* 1 to 70 octets from 0x21 to 0x7E. */
bool uidl_valid(const char *text, size_t len);
/*
 * A hash of the unique part; for a message that shares its unique part with others, of the digest of its
 * content (else NULL) and of a number that tells it from others of the same content, too. hash_r has
 * UIDL_HASH_OCTETS, no NUL. false: no memory.
 */
bool uidl_hash(const char *unique, size_t len, const uint8_t *digest, unsigned number, char *hash_r);
/* A number for a UIDL that may be such a hash, by which it is found again; false: it cannot be one. */
bool uidl_hash_number(const char *uidl, size_t len, uint64_t *number_r);
/* Orders names by the time at their beginning (leading digits), then by octets. */
int uidl_order(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
