/* SPDX-License-Identifier: ISC */
#include "mbox_digest.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

static const char digits[] = "0123456789abcdef";

size_t mbox_id_name(const struct mbox_id *id, char name_r[MBOX_NAME_SIZE])
{
	size_t len = 0;
	for (size_t i = 0; i < MBOX_DIGEST_OCTETS; i++) {
		name_r[len++] = digits[id->digest[i] >> 4];
		name_r[len++] = digits[id->digest[i] & 15];
	}
	name_r[len] = 0;
	if (id->ordinal > 1)
		len += (size_t)snprintf(name_r + len, MBOX_NAME_SIZE - len, ".%u", id->ordinal);
	return len;
}

static bool parse_ordinal(const char *text, size_t len, uint32_t *ordinal_r)
{
	uint64_t ordinal = 0;
	if (len < 2 || len > 11 || text[0] != '.' || text[1] == '0')
		return false;
	for (size_t i = 1; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		ordinal = ordinal * 10 + (uint64_t)(text[i] - '0');
	}
	*ordinal_r = (uint32_t)ordinal;
	return ordinal > 1 && ordinal <= UINT32_MAX;
}

bool mbox_id_parse(const char *name, size_t len, struct mbox_id *id_r)
{
	const size_t hash_len = (size_t)2 * MBOX_DIGEST_OCTETS;
	if (len < hash_len)
		return false;
	for (size_t i = 0; i < hash_len; i++) {
		const char *digit = name[i] == 0 ? NULL : strchr(digits, name[i]);
		if (digit == NULL)
			return false;
		unsigned value = (unsigned)(digit - digits);
		id_r->digest[i / 2] = (uint8_t)(i % 2 == 0 ? value << 4 : id_r->digest[i / 2] | value);
	}
	id_r->ordinal = 1;
	return len == hash_len || parse_ordinal(name + hash_len, len - hash_len, &id_r->ordinal);
}

int mbox_id_compare(const struct mbox_id *a, const struct mbox_id *b)
{
	int order = memcmp(a->digest, b->digest, sizeof(a->digest));
	return order != 0 ? order : (a->ordinal > b->ordinal) - (a->ordinal < b->ordinal);
}

bool mbox_digest_init(struct mbox_digest *digest)
{
	*digest = (struct mbox_digest){.md = EVP_MD_CTX_new()};
	return digest->md != NULL;
}

void mbox_digest_clear(struct mbox_digest *digest)
{
	EVP_MD_CTX_free(digest->md);
	digest->md = NULL;
}

static void update(struct mbox_digest *digest, const void *buf, size_t len)
{
	if (EVP_DigestUpdate(digest->md, buf, len) != 1)
		digest->failed = true;
}

void mbox_digest_begin(struct mbox_digest *digest)
{
	digest->count = (struct wire_count){0};
	digest->held = 0;
	digest->failed = EVP_DigestInit_ex(digest->md, EVP_sha256(), NULL) != 1;
}

/* The line feeds that were held back are not the last. */
static void release(struct mbox_digest *digest)
{
	static const char feeds[64] = "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
				      "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n";
	while (digest->held > 0) {
		size_t some = digest->held < sizeof(feeds) ? (size_t)digest->held : sizeof(feeds);
		update(digest, feeds, some);
		digest->held -= some;
	}
}

void mbox_digest_add(struct mbox_digest *digest, enum mbox_piece piece, const void *buf, size_t len)
{
	if (piece == MBOX_FROM) {
		update(digest, buf, len);
		return;
	}
	wire_count_add(&digest->count, buf, len);
	if (piece == MBOX_REWRITTEN)
		return;
	const char *text = buf;
	size_t rest = len;
	while (rest > 0 && text[rest - 1] == '\n')
		rest--;
	if (rest > 0) {
		release(digest);
		update(digest, buf, rest);
	}
	digest->held += len - rest;
}

bool mbox_digest_end(
    struct mbox_digest *digest, uint8_t octets_r[MBOX_DIGEST_OCTETS], uint64_t *size_r, unsigned *flags_r)
{
	unsigned char whole[EVP_MAX_MD_SIZE];
	if (digest->failed || EVP_DigestFinal_ex(digest->md, whole, NULL) != 1)
		return false;
	memcpy(octets_r, whole, MBOX_DIGEST_OCTETS);
	*size_r = wire_count_done(&digest->count, flags_r);
	return true;
}
