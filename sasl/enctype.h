/* SPDX-License-Identifier: ISC */
/*
 * enctype: the four AES enctypes of Kerberos (RFC 3962, RFC 8009), on libcrypto.
 *
 * For layer.c, which seals a session's every octet: libcrypto uses what the processor has for AES and SHA,
 * and costs a fifth of what libkrb5's own primitives do. Pure: no file, no context of Kerberos. Keys are of
 * one usage (RFC 3961 section 3) and one purpose; who made them frees them, which wipes.
 */
#ifndef KPOPD_SASL_ENCTYPE_H
#define KPOPD_SASL_ENCTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENCTYPE_KEY_OCTETS 32u /* at most */
#define ENCTYPE_MAC_OCTETS 24u /* at most */
#define ENCTYPE_CONFOUNDER_OCTETS 16u

struct enctype {
	int number;
	const char *name; /* as Kerberos' programs show it */
	size_t key_octets, mac_octets;
	/* For enctype.c. */
	const char *cipher, *cts, *digest;
	bool sha2;
	size_t mac_key_octets;
};

/* NULL: not one of the four. */
const struct enctype *enctype_find(int number);

/* What is derived of a key: to seal, or to sign. */
struct enctype_keys;
/* key_secret has enctype->key_octets. NULL: no memory, or libcrypto failed. */
struct enctype_keys *enctype_seal_keys(
    const struct enctype *enctype, const uint8_t *key_secret, uint32_t usage);
struct enctype_keys *enctype_sign_keys(
    const struct enctype *enctype, const uint8_t *key_secret, uint32_t usage);
void enctype_keys_free(struct enctype_keys **keys);

/*
 * In place: the first ENCTYPE_CONFOUNDER_OCTETS of octets are room for the confounder, which is made here.
 * len counts them; more must follow. mac_r has mac_octets. 0, or -1: libcrypto failed.
 */
int enctype_seal(const struct enctype_keys *keys, uint8_t *octets, size_t len, uint8_t *mac_r);
/* The reverse; -1 also when the MAC is not the one of these octets, which then are void. */
int enctype_unseal(const struct enctype_keys *keys, uint8_t *octets, size_t len, const uint8_t *mac);

/* The checksum of text and what follows it. 0 or -1 (for verify also: it is another one). */
int enctype_sign(const struct enctype_keys *keys, const uint8_t *text, size_t len, const uint8_t *tail,
    size_t tail_len, uint8_t *mac_r);
int enctype_verify(const struct enctype_keys *keys, const uint8_t *text, size_t len, const uint8_t *tail,
    size_t tail_len, const uint8_t *mac);

#endif
