/* SPDX-License-Identifier: ISC */
/*
 * layer: the security layer of GSSAPI (RFC 4752 section 3.3) once it is agreed on: Wrap tokens of Kerberos
 * (RFC 4121 section 4.2.6.2), made and taken.
 *
 * For the front, which has no keytab, no files and no GSS context: only the octets that layer_export.h made
 * of one in the process that has them. Owns the keys.
 * No function here reads or writes a socket; how records are framed is the caller's.
 *
 * The exported form, integers in network order, nothing behind the key:
 *   u8 version 1, u8 enum layer_kind, u8 enctype, u8 1: the acceptor's subkey, u32 the client's maximum,
 *   u64 number of the next token we send, u64 number of the next one we take, the key.
 */
#ifndef KPOPD_SASL_LAYER_H
#define KPOPD_SASL_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is negotiated; the values are the bits of RFC 4752 section 3.3. */
enum layer_kind { LAYER_NONE = 0, LAYER_INTEGRITY = 2, LAYER_CONFIDENTIALITY = 4 };

/*
 * The largest token a client may send, which we announce: one command is at most 512 octets, so this holds
 * every sane pipeline, and a stranger's record costs no more memory than a TLS record does.
 */
#define LAYER_RECEIVE_OCTETS 16384u
/* What a client must be able to take: less than this is mostly token and hardly text. */
#define LAYER_CLIENT_OCTETS 256u
/* Three octets say how much a client takes. */
#define LAYER_CLIENT_MAX_OCTETS 0xffffffu
/* Token header, confounder, the header again, the longest MAC. */
#define LAYER_OVERHEAD_OCTETS (16u + 16u + 16u + 24u)

#define LAYER_KEY_OCTETS 32u
#define LAYER_EXPORTED_OCTETS (4u + 4u + 8u + 8u + LAYER_KEY_OCTETS)

enum layer_err {
	LAYER_OK = 0,
	LAYER_BAD = -1,   /* not a token the client's side of this layer can have made: end the connection */
	LAYER_ORDER = -2, /* replayed, reordered, or one before it is missing: likewise */
	LAYER_ERROR = -3, /* ours: no memory, or the primitives failed */
};

struct layer;
/* NULL: not what layer_export made, or no memory. The octets stay the caller's to wipe. */
struct layer *layer_import(const void *octets_secret, size_t len);
void layer_free(struct layer **layer);

/* "confidentiality aes256-cts-hmac-sha1-96"; lives as long as the layer. */
const char *layer_description(const struct layer *layer);

/*
 * Takes a token apart in place: len octets at token. After LAYER_OK what it carried lies *plain_at_r octets
 * from there, *len_r of them (0 is sound). After anything else the layer is void. RFC 4121 section 4.2.
 */
enum layer_err layer_unwrap(
    struct layer *layer, uint8_t *token, size_t len, size_t *plain_at_r, size_t *plain_len_r);

/* How many octets fit into a token that is no longer than size, or than what the client takes. 0: none. */
size_t layer_wrap_limit(const struct layer *layer, size_t size);
/*
 * Makes the next token of len octets; at most layer_wrap_limit(size). token_r has room for size octets, and
 * may not overlap plain.
 */
enum layer_err layer_wrap(
    struct layer *layer, const void *plain, size_t len, uint8_t *token_r, size_t size, size_t *token_len_r);

#endif
