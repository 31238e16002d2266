/* SPDX-License-Identifier: ISC */
/*
 * records: the octets of a connection under a security layer: each token of sasl/layer.h behind its length,
 * four octets in network order (RFC 4422 section 3.7).
 *
 * For stream.c; knows no socket. What comes in is taken apart where it lies, so nothing of a record is kept
 * twice, and a record longer than we announced is refused before room is made for it. Once something was
 * unsound nothing more is taken.
 */
#ifndef KPOPD_SERVER_RECORDS_H
#define KPOPD_SERVER_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sasl/layer.h"
#include "server/buffer.h"

struct records;
/*
 * The layer begins: what in holds was sent under it already, and what out holds still goes out before it, in
 * clear. Takes over layer and what both buffers hold. NULL: no memory, and all is as before.
 */
struct records *records_new(struct layer *layer, struct buffer *in, struct buffer *out);
void records_free(struct records **records); /* wipes */

/* Where octets of the socket go when nothing is pending, and how many. NULL: no memory. */
uint8_t *records_room(struct records *records, size_t *room_r);
void records_received(struct records *records, size_t len);
/* Whether records_take would find something, also when that is something unsound. */
bool records_pending(const struct records *records);
/* Whether the rest of a record is still to come. */
bool records_partial(const struct records *records);
/* Up to size octets of text; 0: no more is here. *why_r: one line when what came is unsound, else NULL. */
size_t records_take(struct records *records, uint8_t *octets, size_t size, const char **why_r);

/*
 * What to send next: the rest of a record, or a new one made of what plain holds, which is dropped there.
 * NULL: nothing, or (*why_r not NULL) it failed.
 */
const uint8_t *records_to_send(
    struct records *records, struct buffer *plain, size_t *len_r, const char **why_r);
void records_sent(struct records *records, size_t len);
size_t records_unsent(const struct records *records);

#endif
