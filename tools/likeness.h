/* SPDX-License-Identifier: ISC */
/*
 * likeness: digests by which a message here and one on another server are found to be the same.
 *
 * Exact: of the octets as they go over the wire (every line ended by CRLF, dots not stuffed), so that a copy
 * made by any honest server has the same. Loose: without what servers write into a mail that they keep in an
 * mbox (Status, X-UID, Content-Length and their like), without empty lines at the end, and without the '>'
 * that an mbox puts before "From ".
 *
 * For kpopctl. Pure code over octets; the mail is anybody's.
 */
#ifndef KPOPD_TOOLS_LIKENESS_H
#define KPOPD_TOOLS_LIKENESS_H

#include <stddef.h>
#include <stdint.h>

enum { LIKENESS_LOOSE = 1 << 0, LIKENESS_SHA256 = 1 << 1, LIKENESS_SHA1 = 1 << 2 };

#define LIKENESS_OCTETS 32u
#define LIKENESS_WHOLE UINT32_MAX /* all lines of the body */

struct likeness {
	uint64_t octets, lines;         /* on the wire */
	uint8_t head[LIKENESS_OCTETS];  /* loose: the header */
	uint8_t whole[LIKENESS_OCTETS]; /* loose: all of it */
	uint8_t sha256[32], sha1[20];   /* exact */
};

struct likeness_reader;
/* body_lines: what comes behind so many lines of the body is not looked at. NULL: no memory. */
struct likeness_reader *likeness_new(unsigned which, uint32_t body_lines);
void likeness_add(struct likeness_reader *reader, const void *octets, size_t len);
/* Ends and frees it, as does a NULL likeness_r. What was not asked for is zero. 0, or -1: a digest failed. */
int likeness_done(struct likeness_reader **reader, struct likeness *likeness_r);

/* Small hexadecimal digits and a NUL; text_r has 2 * len + 1. */
void likeness_hex(const uint8_t *digest, size_t len, char *text_r);

#endif
