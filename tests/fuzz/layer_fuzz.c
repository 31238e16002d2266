/* SPDX-License-Identifier: ISC */
/*
 * Tokens of a stranger, and of a client that has the key and lies. The first octet says which layer and what
 * comes: 0 the octets of an export, 1 a token, 2 a header and what is sealed or signed behind it, 3 a text
 * of ours.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <krb5.h>

#include "sasl/layer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADER = 16, USAGE = 24, EXPORT_HEAD = 24, WRAPPED = 70000, CLIENT_MAX = 0xff00 };

static const struct {
	krb5_enctype enctype;
	uint8_t key_octets;
} keys[] = {{17, 16}, {18, 32}, {19, 16}, {20, 32}};

static size_t make_export(uint8_t which, uint8_t *octets_r)
{
	memset(octets_r, 0x2a, LAYER_EXPORTED_OCTETS);
	memset(octets_r, 0, EXPORT_HEAD);
	octets_r[0] = 1;
	octets_r[1] = (which & 4) != 0 ? LAYER_CONFIDENTIALITY : LAYER_INTEGRITY;
	octets_r[2] = (uint8_t)keys[which & 3].enctype;
	octets_r[3] = which >> 3 & 1;
	octets_r[6] = CLIENT_MAX >> 8;
	return EXPORT_HEAD + (size_t)keys[which & 3].key_octets;
}

static void unwrap(struct layer *layer, const uint8_t *token, size_t len)
{
	uint8_t *copy = malloc(len + (len == 0));
	size_t at, plain_len;

	if (copy == NULL)
		abort();
	if (len > 0)
		memcpy(copy, token, len);
	if (layer_unwrap(layer, copy, len, &at, &plain_len) != LAYER_OK) {
		if (plain_len != 0)
			abort();
	} else if (at + plain_len > len || at < HEADER) {
		abort();
	}
	free(copy);
}

/* The header as it comes, and a seal or a checksum that fits what comes behind it. */
static void lie(struct layer *layer, const uint8_t *exported, const uint8_t *data, size_t len)
{
	static uint8_t token[WRAPPED];
	krb5_keyblock key = {.enctype = exported[2],
	    .length = keys[(exported[2] - 17) & 3].key_octets,
	    .contents = (uint8_t *)(uintptr_t)exported + EXPORT_HEAD};
	krb5_data plain = {.data = (char *)(uintptr_t)data + HEADER, .length = (unsigned)(len - HEADER)};
	krb5_enc_data cipher = {.ciphertext = {.data = (char *)token + HEADER}};
	size_t cipher_len;

	if (len < HEADER || len > LAYER_RECEIVE_OCTETS)
		return;
	memcpy(token, data, HEADER);
	if (exported[1] == LAYER_CONFIDENTIALITY) {
		krb5_c_encrypt_length(NULL, key.enctype, plain.length, &cipher_len);
		cipher.ciphertext.length = (unsigned)cipher_len;
		if (krb5_c_encrypt(NULL, &key, USAGE, NULL, &plain, &cipher) != 0)
			abort();
		unwrap(layer, token, HEADER + cipher_len);
	} else {
		krb5_checksum sum;

		memcpy(token, data + HEADER, plain.length);
		memcpy(token + plain.length, data, HEADER);
		memset(token + plain.length + 4, 0, 4); /* EC and RRC */
		plain = (krb5_data){.data = (char *)token, .length = (unsigned)len};
		if (krb5_c_make_checksum(NULL, 0, &key, USAGE, &plain, &sum) != 0)
			abort();
		memcpy(token, data, len);
		memcpy(token + len, sum.contents, sum.length);
		unwrap(layer, token, len + sum.length);
		krb5_free_checksum_contents(NULL, &sum);
	}
}

static void wrap(struct layer *layer, const uint8_t *data, size_t len)
{
	static uint8_t token[WRAPPED];
	size_t token_len, limit = layer_wrap_limit(layer, sizeof(token));

	if (layer_wrap(layer, data, len, token, sizeof(token), &token_len) !=
	    (len <= limit ? LAYER_OK : LAYER_ERROR))
		abort();
	if (len <= limit && token_len != len + CLIENT_MAX - limit)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t exported[LAYER_EXPORTED_OCTETS];
	struct layer *layer;
	size_t len;

	if (size == 0)
		return 0;
	len = make_export(data[0] >> 2 & 15, exported);
	layer = (data[0] & 3) == 0 ? layer_import(data + 1, size - 1) : layer_import(exported, len);
	if (layer == NULL)
		return 0;
	switch (data[0] & 3) {
	case 1:
		unwrap(layer, data + 1, size - 1);
		break;
	case 2:
		lie(layer, exported, data + 1, size - 1);
		break;
	case 3:
		wrap(layer, data + 1, size - 1);
		break;
	default:
		break;
	}
	layer_free(&layer);
	return 0;
}
