/* SPDX-License-Identifier: ISC */
/*
 * layer_peer: the client's end of a security layer (RFC 4121), without a KDC: for tests and fuzz targets
 * that need both ends of sasl/layer.h. Any step that fails aborts.
 */
#ifndef KPOPD_TESTS_SASL_LAYER_PEER_H
#define KPOPD_TESTS_SASL_LAYER_PEER_H

#include <stddef.h>
#include <stdint.h>

#include "sasl/layer.h"

#define LAYER_PEER_TEXT_OCTETS 70000u

struct layer_peer {
	enum layer_kind kind;
	int enctype;
	uint64_t sent, taken; /* numbers of the next tokens */
};

/* The server's end; the peer's is *peer_r. enctype: 17 to 20. */
struct layer *layer_peer_begin(
    struct layer_peer *peer_r, enum layer_kind kind, int enctype, size_t client_max);
/* The next token of the client behind its length: octets_r has len + 4 + LAYER_OVERHEAD_OCTETS. */
size_t layer_peer_record(struct layer_peer *peer, const void *text, size_t len, uint8_t *octets_r);
/* What the server's next token holds; text_r has len octets. */
size_t layer_peer_take(struct layer_peer *peer, const uint8_t *token, size_t len, uint8_t *text_r);

#endif
