/* SPDX-License-Identifier: ISC */
#include "tests/sasl/layer_peer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <krb5.h>

enum { HEADER = 16, ACCEPTOR_SEAL = 22, INITIATOR_SEAL = 24 };

static uint8_t key_octets[LAYER_KEY_OCTETS] = "the key of tests and of nothing";

static void must(bool good)
{
	if (!good)
		abort();
}

static krb5_keyblock key_of(const struct layer_peer *peer)
{
	unsigned len = peer->enctype % 2 == 0 ? 32 : 16;

	return (krb5_keyblock){.enctype = peer->enctype, .length = len, .contents = key_octets};
}

static void put(uint8_t *at, size_t octets, uint64_t value)
{
	while (octets-- > 0) {
		at[octets] = (uint8_t)value;
		value >>= 8;
	}
}

struct layer *layer_peer_begin(
    struct layer_peer *peer_r, enum layer_kind kind, int enctype, size_t client_max)
{
	uint8_t exported[LAYER_EXPORTED_OCTETS] = {1, (uint8_t)kind, (uint8_t)enctype, 1};
	struct layer *layer;
	krb5_keyblock key;

	*peer_r = (struct layer_peer){.kind = kind, .enctype = enctype, .sent = 77, .taken = 0xfffffffe};
	key = key_of(peer_r);
	put(exported + 4, 4, client_max);
	put(exported + 8, 8, peer_r->taken);
	put(exported + 16, 8, peer_r->sent);
	memcpy(exported + 24, key_octets, key.length);
	layer = layer_import(exported, 24 + key.length);
	must(layer != NULL);
	return layer;
}

static size_t seal(const struct layer_peer *peer, uint8_t *token, const void *text, size_t len)
{
	static uint8_t inner[LAYER_PEER_TEXT_OCTETS + HEADER];
	krb5_keyblock key = key_of(peer);
	krb5_data plain = {.data = (char *)inner, .length = (unsigned)(len + HEADER)};
	krb5_enc_data cipher = {.ciphertext = {.data = (char *)token + HEADER}};
	size_t cipher_len;

	if (len > 0)
		memcpy(inner, text, len);
	memcpy(inner + len, token, HEADER);
	must(krb5_c_encrypt_length(NULL, key.enctype, plain.length, &cipher_len) == 0);
	cipher.ciphertext.length = (unsigned)cipher_len;
	must(krb5_c_encrypt(NULL, &key, INITIATOR_SEAL, NULL, &plain, &cipher) == 0);
	return HEADER + cipher_len;
}

static size_t sign(const struct layer_peer *peer, uint8_t *token, const void *text, size_t len)
{
	static uint8_t inner[LAYER_PEER_TEXT_OCTETS + HEADER];
	krb5_keyblock key = key_of(peer);
	krb5_data plain = {.data = (char *)inner, .length = (unsigned)(len + HEADER)};
	krb5_checksum sum;

	if (len > 0)
		memcpy(inner, text, len);
	memcpy(inner + len, token, HEADER);
	must(krb5_c_make_checksum(NULL, 0, &key, INITIATOR_SEAL, &plain, &sum) == 0);
	put(token + 4, 2, sum.length);
	memcpy(token + HEADER, inner, len);
	memcpy(token + HEADER + len, sum.contents, sum.length);
	len += HEADER + sum.length;
	krb5_free_checksum_contents(NULL, &sum);
	return len;
}

size_t layer_peer_record(struct layer_peer *peer, const void *text, size_t len, uint8_t *octets_r)
{
	bool sealed = peer->kind == LAYER_CONFIDENTIALITY;
	uint8_t *token = octets_r + 4;

	must(len <= LAYER_PEER_TEXT_OCTETS);
	memcpy(token, sealed ? "\5\4\6\377\0\0\0\0" : "\5\4\4\377\0\0\0\0", 8);
	put(token + 8, 8, peer->sent++);
	len = sealed ? seal(peer, token, text, len) : sign(peer, token, text, len);
	put(octets_r, 4, len);
	return 4 + len;
}

static size_t unseal(const struct layer_peer *peer, const uint8_t *token, size_t len, uint8_t *text_r)
{
	static uint8_t inner[LAYER_PEER_TEXT_OCTETS];
	krb5_keyblock key = key_of(peer);
	krb5_enc_data cipher = {.enctype = key.enctype,
	    .ciphertext = {.data = (char *)(uintptr_t)token + HEADER, .length = (unsigned)(len - HEADER)}};
	krb5_data plain = {.data = (char *)inner, .length = sizeof(inner)};

	must(len <= sizeof(inner));
	must(krb5_c_decrypt(NULL, &key, ACCEPTOR_SEAL, NULL, &cipher, &plain) == 0);
	must(plain.length >= HEADER && memcmp(inner + plain.length - HEADER, token, HEADER) == 0);
	memcpy(text_r, inner, plain.length - HEADER);
	return plain.length - HEADER;
}

static size_t verify(const struct layer_peer *peer, const uint8_t *token, size_t len, uint8_t *text_r)
{
	static uint8_t inner[LAYER_PEER_TEXT_OCTETS + HEADER];
	size_t mac = (size_t)token[4] << 8 | token[5], text_len = len - HEADER - mac;
	krb5_keyblock key = key_of(peer);
	krb5_data plain = {.data = (char *)inner, .length = (unsigned)(text_len + HEADER)};
	static const krb5_cksumtype types[] = {CKSUMTYPE_HMAC_SHA1_96_AES128, CKSUMTYPE_HMAC_SHA1_96_AES256,
	    CKSUMTYPE_HMAC_SHA256_128_AES128, CKSUMTYPE_HMAC_SHA384_192_AES256};
	krb5_checksum sum = {.checksum_type = types[(peer->enctype - 17) & 3],
	    .length = (unsigned)mac,
	    .contents = (uint8_t *)(uintptr_t)token + len - mac};
	krb5_boolean valid = FALSE;

	must(len <= LAYER_PEER_TEXT_OCTETS && len >= HEADER + mac);
	memcpy(inner, token + HEADER, text_len);
	memcpy(inner + text_len, token, HEADER);
	memset(inner + text_len + 4, 0, 4);
	must(krb5_c_verify_checksum(NULL, &key, ACCEPTOR_SEAL, &plain, &sum, &valid) == 0 && valid);
	memcpy(text_r, inner, text_len);
	return text_len;
}

size_t layer_peer_take(struct layer_peer *peer, const uint8_t *token, size_t len, uint8_t *text_r)
{
	bool sealed = peer->kind == LAYER_CONFIDENTIALITY;
	uint8_t number[8];

	put(number, 8, peer->taken++);
	must(len >= HEADER && token[2] == (sealed ? 7 : 5) && memcmp(token + 8, number, 8) == 0);
	return sealed ? unseal(peer, token, len, text_r) : verify(peer, token, len, text_r);
}
