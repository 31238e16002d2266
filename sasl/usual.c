/* SPDX-License-Identifier: ISC */
#include "usual.h"

#include <string.h>

#define ENTRY_VERSION 1

void usual_default(struct usual *usual_r)
{
	memset(usual_r, 0, sizeof(*usual_r));
	usual_r->keys = 1u << SCRAM_SHA1 | 1u << SCRAM_SHA256;
	usual_r->iterations = SECRETS_ITERATIONS_COUNT;
}

size_t usual_encode(const struct usual *usual, uint8_t *bytes_r)
{
	size_t len = strlen(usual->hash), at = 0;

	bytes_r[at++] = ENTRY_VERSION;
	bytes_r[at++] = (uint8_t)usual->keys;
	for (int shift = 24; shift >= 0; shift -= 8)
		bytes_r[at++] = (uint8_t)(usual->iterations >> shift);
	memcpy(bytes_r + at, usual->hash, len);
	return at + len;
}

bool usual_decode(struct usual *usual_r, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	usual_default(usual_r);
	if (len < 6 || len > USUAL_OCTETS || at[0] != ENTRY_VERSION)
		return false;
	usual_r->keys = at[1];
	usual_r->iterations = (uint32_t)at[2] << 24 | (uint32_t)at[3] << 16 | (uint32_t)at[4] << 8 | at[5];
	memcpy(usual_r->hash, at + 6, len - 6);
	if (usual_r->keys <= SECRETS_ALL_KEYS && usual_r->iterations >= SECRETS_ITERATIONS_COUNT &&
	    usual_r->iterations <= SECRETS_ITERATIONS_MAX_COUNT &&
	    (usual_r->hash[0] == '\0' || passhash_wrong(usual_r->hash) == NULL))
		return true;
	usual_default(usual_r);
	return false;
}

static bool is(const struct usual_class *class, uint32_t iterations, const char *hash)
{
	return class->iterations == iterations && strcmp(class->hash, hash) == 0;
}

static void count_one(struct usual_class *classes, uint32_t iterations, const char *hash)
{
	size_t i = 0;

	while (i < USUAL_CLASSES_COUNT && classes[i].users != 0 && !is(&classes[i], iterations, hash))
		i++;
	if (i == USUAL_CLASSES_COUNT)
		return;
	classes[i].iterations = iterations;
	memcpy(classes[i].hash, hash, strlen(hash) + 1);
	classes[i].users++;
}

void usual_count_add(struct usual_count *count, const struct credentials *record)
{
	int main_hash = credentials_main_hash(record);
	unsigned keys = credentials_keys(record);
	char blank[PASSHASH_OCTETS + 1] = "";

	count->users++;
	count->with_keys += keys != 0;
	if (keys != 0 && !record->chosen)
		count->missing |= SECRETS_ALL_KEYS & ~keys;
	if (main_hash >= 0 && record->keys[main_hash].iterations >= SECRETS_ITERATIONS_COUNT)
		count_one(count->iterations, record->keys[main_hash].iterations, "");
	if (main_hash >= 0 || passhash_blank(record->hash, blank) == 0)
		count_one(count->hashes, 0, blank);
}

/* The class most users are in, when they are more than those in the present one. NULL: no change. */
static const struct usual_class *larger(
    const struct usual_class *classes, uint32_t iterations, const char *hash)
{
	const struct usual_class *most = NULL;
	size_t present = 0;

	for (size_t i = 0; i < USUAL_CLASSES_COUNT && classes[i].users != 0; i++) {
		if (is(&classes[i], iterations, hash))
			present = classes[i].users;
		if (most == NULL || classes[i].users > most->users)
			most = &classes[i];
	}
	return most != NULL && most->users > present ? most : NULL;
}

bool usual_settle(const struct usual_count *count, struct usual *usual)
{
	const struct usual_class *iterations = larger(count->iterations, usual->iterations, ""),
				 *hash = larger(count->hashes, 0, usual->hash);
	unsigned keys = count->users != 0 && count->with_keys == 0 ? 0 : SECRETS_ALL_KEYS & ~count->missing;
	bool changed = iterations != NULL || hash != NULL || keys != usual->keys;

	usual->keys = keys;
	if (iterations != NULL)
		usual->iterations = iterations->iterations;
	if (hash != NULL)
		memcpy(usual->hash, hash->hash, sizeof(usual->hash));
	return changed;
}
