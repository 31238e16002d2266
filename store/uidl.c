/* SPDX-License-Identifier: ISC */
#include "uidl.h"

#include <string.h>

#include <openssl/evp.h>

#include "record.h"

size_t uidl_unique_len(const char *name, size_t len)
{
	size_t n = 0;
	while (n < len && name[n] != ',' && name[n] != ':')
		n++;
	return n == 0 ? len : n;
}

bool uidl_valid(const char *text, size_t len)
{
	if (len == 0 || len > MAILDROP_UIDL_OCTETS)
		return false;
	for (size_t i = 0; i < len; i++)
		if (text[i] < 0x21 || text[i] > 0x7e)
			return false;
	return true;
}

static const char prefix[] = "sha256:";
static const char digits[] = "0123456789abcdef";

bool uidl_hash(const char *unique, size_t len, const uint8_t *digest, unsigned number, char *hash_r)
{
	uint8_t tail[1 + CONTENT_DIGEST_OCTETS + 4] = {0};
	size_t tail_len = digest == NULL && number == 0 ? 0 : sizeof(tail);
	if (digest != NULL)
		memcpy(tail + 1, digest, CONTENT_DIGEST_OCTETS);
	for (unsigned i = 0; i < 4; i++)
		tail[1 + CONTENT_DIGEST_OCTETS + i] = (uint8_t)(number >> (8 * i));
	unsigned char sum[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool done = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
		    EVP_DigestUpdate(md, unique, len) == 1 && EVP_DigestUpdate(md, tail, tail_len) == 1 &&
		    EVP_DigestFinal_ex(md, sum, NULL) == 1;
	EVP_MD_CTX_free(md);
	if (!done)
		return false;
	memcpy(hash_r, prefix, sizeof(prefix) - 1);
	char *to = hash_r + sizeof(prefix) - 1;
	for (size_t i = 0; i < (UIDL_HASH_OCTETS - (sizeof(prefix) - 1)) / 2; i++) {
		*to++ = digits[sum[i] >> 4];
		*to++ = digits[sum[i] & 15];
	}
	return true;
}

bool uidl_hash_number(const char *uidl, size_t len, uint64_t *number_r)
{
	if (len != UIDL_HASH_OCTETS || memcmp(uidl, prefix, sizeof(prefix) - 1) != 0)
		return false;
	*number_r = 0;
	for (size_t i = sizeof(prefix) - 1; i < len; i++) {
		const char *digit = memchr(digits, uidl[i], 16);
		if (digit == NULL)
			return false;
		*number_r = *number_r * 16 + (uint64_t)(digit - digits);
	}
	return true;
}

/* The digits of the time, without leading zeros. */
static size_t time_digits(const char **name, size_t len)
{
	size_t from = 0;
	while (from < len && (*name)[from] == '0')
		from++;
	size_t to = from;
	while (to < len && (*name)[to] >= '0' && (*name)[to] <= '9')
		to++;
	*name += from;
	return to - from;
}

int uidl_order(const char *a, size_t a_len, const char *b, size_t b_len)
{
	const char *a_time = a;
	const char *b_time = b;
	size_t a_digits = time_digits(&a_time, a_len);
	size_t b_digits = time_digits(&b_time, b_len);
	if (a_digits != b_digits)
		return a_digits < b_digits ? -1 : 1;
	int order = memcmp(a_time, b_time, a_digits);
	if (order == 0)
		order = memcmp(a, b, a_len < b_len ? a_len : b_len);
	if (order == 0)
		order = (a_len > b_len) - (a_len < b_len);
	return order;
}
