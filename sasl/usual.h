/* SPDX-License-Identifier: ISC */
/*
 * usual: what most users of a secrets file have, so that a user who is not there can be answered alike.
 *
 * For secrets.c. The writer counts the records and stores what is most common; it changes only when another
 * form or count has become more common, since answers for users who are not there change with it.
 * Stored: u8 version 1, u8 keys, u32 iterations in network order, and to the end a blank password hash
 * (passhash_blank) or nothing, for SCRAM keys. Files of the first release have no entry, and users with
 * keys of SHA-1 and SHA-256.
 */
#ifndef KPOPD_SASL_USUAL_H
#define KPOPD_SASL_USUAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "credentials.h"

#define USUAL_OCTETS (6u + PASSHASH_OCTETS)
#define USUAL_CLASSES_COUNT 32u /* told apart; others are not counted */

struct usual {
	unsigned keys;                  /* see secrets_keys */
	uint32_t iterations;            /* of SCRAM keys */
	char hash[PASSHASH_OCTETS + 1]; /* what passwords are verified with; "": SCRAM keys */
};

/* For a file without an entry, and for an entry that cannot be read. */
void usual_default(struct usual *usual_r);
/* bytes_r has USUAL_OCTETS. */
size_t usual_encode(const struct usual *usual, uint8_t *bytes_r);
/* false: not such an entry; usual_r is the default. */
bool usual_decode(struct usual *usual_r, const void *bytes, size_t len);

struct usual_class {
	uint32_t iterations;
	char hash[PASSHASH_OCTETS + 1];
	size_t users;
};

/* Begins as all zeros. */
struct usual_count {
	size_t users, with_keys;
	unsigned missing; /* keys that some user with others has not */
	struct usual_class iterations[USUAL_CLASSES_COUNT], hashes[USUAL_CLASSES_COUNT];
};

void usual_count_add(struct usual_count *count, const struct credentials *record);
/* Whether usual is no longer what most have; then it becomes it. */
bool usual_settle(const struct usual_count *count, struct usual *usual);

#endif
