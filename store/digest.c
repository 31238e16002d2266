/* SPDX-License-Identifier: ISC */
#include "digest.h"

#include <endian.h>
#include <string.h>

/* Odd, and without any pattern: from the golden ratio, the square root of 2 and of 3. */
#define PLACE UINT64_C(0x9e3779b97f4a7c15)
#define FIRST UINT64_C(0x6a09e667f3bcc909)
#define SECOND UINT64_C(0xbb67ae8584caa73b)

/*
 * Each word of eight octets is mixed with its place, and what comes out is summed up; so a word of zeros need
 * not be looked at. key: (place + 1) * PLACE.
 */
static inline void add_word(uint64_t sums[2], uint64_t word, uint64_t key)
{
	unsigned __int128 product = (unsigned __int128)(word ^ key) * (key | 1);
	uint64_t low = (uint64_t)product;
	uint64_t high = (uint64_t)(product >> 64);
	if (word == 0)
		return;
	sums[0] += low ^ (word >> 32 | word << 32);
	sums[1] += high ^ word;
}

static uint64_t key_of(uint64_t len)
{
	return (len / 8 + 1) * PLACE;
}

static void add_octet(struct digest *digest, uint8_t octet)
{
	digest->word |= (uint64_t)octet << (digest->len % 8 * 8);
	if (++digest->len % 8 == 0) {
		add_word(digest->sums, digest->word, key_of(digest->len - 8));
		digest->word = 0;
	}
}

void digest_add(struct digest *digest, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	for (; len > 0 && digest->len % 8 != 0; len--)
		add_octet(digest, *p++);
	uint64_t sums[2] = {digest->sums[0], digest->sums[1]};
	uint64_t key = key_of(digest->len);
	digest->len += len / 8 * 8;
	for (; len >= 8; len -= 8, p += 8, key += PLACE) {
		uint64_t word;
		memcpy(&word, p, 8);
		add_word(sums, le64toh(word), key);
	}
	memcpy(digest->sums, sums, sizeof(sums));
	for (; len > 0; len--)
		add_octet(digest, *p++);
}

void digest_add_zeros(struct digest *digest, uint64_t len)
{
	for (; len > 0 && digest->len % 8 != 0; len--)
		add_octet(digest, 0);
	digest->len += len / 8 * 8;
	for (len %= 8; len > 0; len--)
		add_octet(digest, 0);
}

static uint64_t finish(uint64_t sum, uint64_t other)
{
	sum ^= other << 32 | other >> 32;
	sum = (sum ^ sum >> 29) * FIRST;
	sum = (sum ^ sum >> 32) * SECOND;
	return sum ^ sum >> 29;
}

void digest_done(struct digest *digest, uint8_t digest_r[CONTENT_DIGEST_OCTETS])
{
	if (digest->word != 0)
		add_word(digest->sums, digest->word, key_of(digest->len));
	uint64_t sums[2] = {digest->sums[0] + digest->len * SECOND, digest->sums[1] ^ digest->len * PLACE};
	uint64_t out[2] = {finish(sums[0], sums[1]), finish(sums[1] + FIRST, sums[0])};
	out[0] = htole64(out[0]);
	out[1] = htole64(out[1] == 0 && out[0] == 0 ? 1 : out[1]);
	memcpy(digest_r, out, CONTENT_DIGEST_OCTETS);
}

bool digest_known(const uint8_t digest[CONTENT_DIGEST_OCTETS])
{
	static const uint8_t unknown[CONTENT_DIGEST_OCTETS];
	return memcmp(digest, unknown, CONTENT_DIGEST_OCTETS) != 0;
}
