/* SPDX-License-Identifier: ISC */
/*
 * message_memory: a message in a memory file: bounded while it is written, then sealed, so that whoever is
 * handed it can trust what he has read.
 *
 * message_begin to message_seal are for lmtp processes, message_sound for deliverers.
 */
#ifndef KPOPD_SERVER_MESSAGE_MEMORY_H
#define KPOPD_SERVER_MESSAGE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct message_memory {
	int fd; /* -1: none, or given up */
	uint64_t octets;
};

/* false: no memory, or no descriptors. */
bool message_begin(struct message_memory *message);
/* Gives the memory back when there is not enough; then, and from then on, false. */
bool message_write(struct message_memory *message, const void *buf, size_t len);
/* No change from now on. false: as above. */
bool message_seal(struct message_memory *message);
void message_clear(struct message_memory *message);

/* Whether fd, which came from a less trusted process, is such a file and sealed; and its length. */
bool message_sound(int fd, uint64_t *octets_r);

#endif
