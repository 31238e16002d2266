/* SPDX-License-Identifier: ISC */
/*
 * buffer: octets in passing, in memory that is wiped before it is given back.
 *
 * For stream.c. Filled at the end, emptied at the front; all zero is an empty buffer without memory.
 */
#ifndef KPOPD_SERVER_BUFFER_H
#define KPOPD_SERVER_BUFFER_H

#include <stddef.h>
#include <stdint.h>

/* Octets [start, start + len) of size are alive; [0, high) may hold something to wipe. */
struct buffer {
	uint8_t *octets;
	size_t size, start, len, high;
};

/* Wipes and frees; the buffer is as at first. */
void buffer_release(struct buffer *buffer);
/* Moves what is alive into size octets, at least len; 0, or -1: no memory, and nothing changed. */
int buffer_resize(struct buffer *buffer, size_t size);
/* Moves what is alive to the front. */
void buffer_compact(struct buffer *buffer);
/* len octets were written at buffer_end, at most buffer_room. */
void buffer_added(struct buffer *buffer, size_t len);
/* Forgets len octets at the front, at most buffer->len; does not wipe them yet. */
void buffer_drop(struct buffer *buffer, size_t len);
/* Where to write, and how much fits there. */
uint8_t *buffer_end(const struct buffer *buffer);
size_t buffer_room(const struct buffer *buffer);

#endif
