/* SPDX-License-Identifier: ISC */
/*
 * remembered: passwords this process has verified, so that the slow hash is paid once a user.
 *
 * For secrets.c. An entry is an HMAC, under a random key of the process, over password and stored
 * record: a changed record or another password gives another HMAC, so nothing needs to be voided. The
 * table is bounded, and only a right password gets in: nobody can push others out by guessing.
 */
#ifndef KPOPD_SASL_REMEMBERED_H
#define KPOPD_SASL_REMEMBERED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REMEMBERED_COUNT 4096u /* 128 KiB a process */
#define REMEMBERED_TAG_OCTETS 32u
#define REMEMBERED_RECORD_OCTETS 2048u
#define REMEMBERED_PASSWORD_OCTETS 255u

struct remembered;
/* NULL: no memory or no random octets; the others then remember nothing. */
struct remembered *remembered_new(void);
void remembered_free(struct remembered **remembered);

/* The tag of a password with its record's octets. 0, or -1: more of them than there can be. */
int remembered_tag(const struct remembered *remembered, const void *record, size_t record_len,
    const void *password_secret, size_t len, uint8_t *tag_r);
bool remembered_has(const struct remembered *remembered, const uint8_t *tag);
void remembered_add(struct remembered *remembered, const uint8_t *tag);

#endif
