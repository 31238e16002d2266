/* SPDX-License-Identifier: ISC */
#include "layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "enctype.h"

/* RFC 4121 section 4.2.6.2: where the fields of a Wrap token's header are. */
#define HEADER_OCTETS 16u
enum { AT_FLAGS = 2, AT_FILLER = 3, AT_EC = 4, AT_RRC = 6, AT_SEQUENCE = 8 };
/* Section 4.2.2; flags we do not know must be passed over. */
enum { SENT_BY_ACCEPTOR = 1, SEALED = 2, ACCEPTOR_SUBKEY = 4, KNOWN_FLAGS = 7 };
/* Section 2: what Wrap tokens of either side are keyed for, sealed or not. */
enum { USAGE_ACCEPTOR_SEAL = 22, USAGE_INITIATOR_SEAL = 24 };

#define EXPORT_VERSION 1u
#define EXPORT_HEAD_OCTETS (LAYER_EXPORTED_OCTETS - LAYER_KEY_OCTETS)

struct layer {
	enum layer_kind kind;
	const struct enctype *by;
	struct enctype_keys *ours, *theirs; /* for tokens we make, and for those we take */
	uint8_t subkey_flag;
	size_t client_max;
	uint64_t send_number, receive_number;
	char description[64];
};

static uint64_t get(const uint8_t *at, size_t octets)
{
	uint64_t value = 0;

	for (size_t i = 0; i < octets; i++)
		value = value << 8 | at[i];
	return value;
}

static void put(uint8_t *at, size_t octets, uint64_t value)
{
	while (octets-- > 0) {
		at[octets] = (uint8_t)value;
		value >>= 8;
	}
}

/* Everything but the key. */
static struct layer *import_head(const uint8_t *at, size_t len)
{
	const struct enctype *by = len > EXPORT_HEAD_OCTETS ? enctype_find(at[2]) : NULL;
	uint64_t client_max = len > EXPORT_HEAD_OCTETS ? get(at + 4, 4) : 0;
	struct layer *layer;

	if (by == NULL || at[0] != EXPORT_VERSION || len != EXPORT_HEAD_OCTETS + by->key_octets ||
	    (at[1] != LAYER_INTEGRITY && at[1] != LAYER_CONFIDENTIALITY) || at[3] > 1 ||
	    client_max < LAYER_CLIENT_OCTETS || client_max > LAYER_CLIENT_MAX_OCTETS ||
	    (layer = calloc(1, sizeof(*layer))) == NULL)
		return NULL;
	layer->kind = (enum layer_kind)at[1];
	layer->by = by;
	layer->subkey_flag = at[3] != 0 ? ACCEPTOR_SUBKEY : 0;
	layer->client_max = (size_t)client_max;
	layer->send_number = get(at + 8, 8);
	layer->receive_number = get(at + 16, 8);
	return layer;
}

struct layer *layer_import(const void *octets_secret, size_t len)
{
	const uint8_t *at = octets_secret, *key_secret = at + EXPORT_HEAD_OCTETS;
	struct layer *layer = import_head(at, len);
	bool sealed;

	if (layer == NULL)
		return NULL;
	sealed = layer->kind == LAYER_CONFIDENTIALITY;
	layer->ours = sealed ? enctype_seal_keys(layer->by, key_secret, USAGE_ACCEPTOR_SEAL)
			     : enctype_sign_keys(layer->by, key_secret, USAGE_ACCEPTOR_SEAL);
	layer->theirs = sealed ? enctype_seal_keys(layer->by, key_secret, USAGE_INITIATOR_SEAL)
			       : enctype_sign_keys(layer->by, key_secret, USAGE_INITIATOR_SEAL);
	if (layer->ours == NULL || layer->theirs == NULL) {
		layer_free(&layer);
		return NULL;
	}
	snprintf(layer->description, sizeof(layer->description), "%s %s",
	    sealed ? "confidentiality" : "integrity", layer->by->name);
	return layer;
}

void layer_free(struct layer **layer)
{
	if (*layer == NULL)
		return;
	enctype_keys_free(&(*layer)->ours);
	enctype_keys_free(&(*layer)->theirs);
	OPENSSL_cleanse(*layer, sizeof(**layer));
	free(*layer);
	*layer = NULL;
}

const char *layer_description(const struct layer *layer)
{
	return layer->description;
}

/* What a token has besides what it carries. */
static size_t overhead(const struct layer *layer)
{
	size_t sealing = layer->kind == LAYER_CONFIDENTIALITY ? ENCTYPE_CONFOUNDER_OCTETS + HEADER_OCTETS : 0;

	return HEADER_OCTETS + sealing + layer->by->mac_octets;
}

static void reverse(uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len / 2; i++) {
		uint8_t octet = at[i];

		at[i] = at[len - 1 - i];
		at[len - 1 - i] = octet;
	}
}

/* Section 4.2.5: what was rotated to the right comes back to the left, by any count. */
static void unrotate(uint8_t *at, size_t len, size_t count)
{
	if (len == 0 || (count %= len) == 0)
		return;
	reverse(at, count);
	reverse(at + count, len - count);
	reverse(at, len);
}

/*
 * The header must be the one of the next token of the other side. The flag for sealing is part of it: with
 * confidentiality agreed on, what was not sealed is nobody's (RFC 4752 section 3.3 has all of it sealed).
 */
static enum layer_err check_header(const struct layer *layer, const uint8_t *header)
{
	uint8_t sealed = layer->kind == LAYER_CONFIDENTIALITY ? SEALED : 0;

	if (header[0] != 0x05 || header[1] != 0x04 || header[AT_FILLER] != 0xff ||
	    (header[AT_FLAGS] & KNOWN_FLAGS) != (sealed | layer->subkey_flag))
		return LAYER_BAD;
	return get(header + AT_SEQUENCE, 8) == layer->receive_number ? LAYER_OK : LAYER_ORDER;
}

/*
 * Behind the header: confounder, what is carried, EC octets of filling, the header again, MAC. The copy is
 * what vouches for the header, EC included; only the rotation is nobody's.
 */
static enum layer_err unseal(struct layer *layer, uint8_t *token, size_t body, size_t ec, size_t *len_r)
{
	uint8_t *plain = token + HEADER_OCTETS + ENCTYPE_CONFOUNDER_OCTETS, *copy;
	size_t mac = layer->by->mac_octets, len;

	if (body < ENCTYPE_CONFOUNDER_OCTETS + ec + HEADER_OCTETS + mac)
		return LAYER_BAD;
	len = body - ENCTYPE_CONFOUNDER_OCTETS - mac;
	if (enctype_unseal(layer->theirs, token + HEADER_OCTETS, body - mac, plain + len) != 0)
		return LAYER_BAD;
	copy = plain + len - HEADER_OCTETS;
	memcpy(copy + AT_RRC, token + AT_RRC, 2);
	if (CRYPTO_memcmp(copy, token, HEADER_OCTETS) != 0)
		return LAYER_BAD;
	*len_r = len - HEADER_OCTETS - ec;
	return LAYER_OK;
}

/* Behind the header: what is carried, and the checksum of it and of the header with EC and RRC zero. */
static enum layer_err verify(struct layer *layer, uint8_t *token, size_t body, size_t ec, size_t *len_r)
{
	uint8_t header[HEADER_OCTETS], *plain = token + HEADER_OCTETS;

	if (ec != layer->by->mac_octets || body < ec)
		return LAYER_BAD;
	memcpy(header, token, sizeof(header));
	memset(header + AT_EC, 0, 4);
	if (enctype_verify(layer->theirs, plain, body - ec, header, sizeof(header), plain + body - ec) != 0)
		return LAYER_BAD;
	*len_r = body - ec;
	return LAYER_OK;
}

enum layer_err layer_unwrap(
    struct layer *layer, uint8_t *token, size_t len, size_t *plain_at_r, size_t *plain_len_r)
{
	bool sealed = layer->kind == LAYER_CONFIDENTIALITY;
	enum layer_err err;
	size_t body, ec;

	*plain_at_r = *plain_len_r = 0;
	if (len < HEADER_OCTETS || len > LAYER_RECEIVE_OCTETS)
		return LAYER_BAD;
	if ((err = check_header(layer, token)) != LAYER_OK)
		return err;
	body = len - HEADER_OCTETS;
	ec = (size_t)get(token + AT_EC, 2);
	unrotate(token + HEADER_OCTETS, body, (size_t)get(token + AT_RRC, 2));
	err = sealed ? unseal(layer, token, body, ec, plain_len_r)
		     : verify(layer, token, body, ec, plain_len_r);
	if (err != LAYER_OK)
		return err;
	*plain_at_r = HEADER_OCTETS + (sealed ? ENCTYPE_CONFOUNDER_OCTETS : 0);
	layer->receive_number++;
	return LAYER_OK;
}

size_t layer_wrap_limit(const struct layer *layer, size_t size)
{
	size_t most = size < layer->client_max ? size : layer->client_max;

	return most > overhead(layer) ? most - overhead(layer) : 0;
}

static int seal(struct layer *layer, uint8_t *token, size_t len)
{
	uint8_t *plain = token + HEADER_OCTETS + ENCTYPE_CONFOUNDER_OCTETS, *behind = plain + len;

	memcpy(behind, token, HEADER_OCTETS);
	return enctype_seal(layer->ours, token + HEADER_OCTETS,
	    ENCTYPE_CONFOUNDER_OCTETS + len + HEADER_OCTETS, behind + HEADER_OCTETS);
}

static int sign(struct layer *layer, uint8_t *token, size_t len)
{
	uint8_t *plain = token + HEADER_OCTETS;
	int rc = enctype_sign(layer->ours, plain, len, token, HEADER_OCTETS, plain + len);

	put(token + AT_EC, 2, layer->by->mac_octets); /* it was zero for the checksum */
	return rc;
}

enum layer_err layer_wrap(
    struct layer *layer, const void *plain, size_t len, uint8_t *token_r, size_t size, size_t *token_len_r)
{
	bool sealed = layer->kind == LAYER_CONFIDENTIALITY;

	*token_len_r = 0;
	if (len > layer_wrap_limit(layer, size))
		return LAYER_ERROR;
	memset(token_r, 0, HEADER_OCTETS);
	token_r[0] = 0x05;
	token_r[1] = 0x04;
	token_r[AT_FLAGS] = (uint8_t)(SENT_BY_ACCEPTOR | (sealed ? SEALED : 0) | layer->subkey_flag);
	token_r[AT_FILLER] = 0xff;
	put(token_r + AT_SEQUENCE, 8, layer->send_number);
	if (len > 0)
		memcpy(token_r + HEADER_OCTETS + (sealed ? ENCTYPE_CONFOUNDER_OCTETS : 0), plain, len);
	if ((sealed ? seal(layer, token_r, len) : sign(layer, token_r, len)) != 0)
		return LAYER_ERROR;
	layer->send_number++;
	*token_len_r = len + overhead(layer);
	return LAYER_OK;
}
