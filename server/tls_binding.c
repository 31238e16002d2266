/* SPDX-License-Identifier: ISC */
#include "server/tls_binding.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#define EXPORTER_OCTETS 32u /* RFC 9266 section 2 */

_Static_assert(EVP_MAX_MD_SIZE <= SASLX_BINDING_OCTETS, "room for any digest");

struct end_point {
	unsigned len; /* 0: none */
	uint8_t octets[EVP_MAX_MD_SIZE];
};

static void end_point_free(
    void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long argument, void *more)
{
	(void)parent;
	(void)data;
	(void)index;
	(void)argument;
	(void)more;
	free(pointer);
}

static int end_point_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, end_point_free);
	return index;
}

/* RFC 5929 section 4.1. NULL: the certificate's signature has no digest of its own, as with Ed25519. */
static const EVP_MD *end_point_digest(X509 *certificate)
{
	int digest = NID_undef;

	if (X509_get_signature_info(certificate, &digest, NULL, NULL, NULL) != 1 || digest == NID_undef)
		return NULL;
	if (digest == NID_md5 || digest == NID_sha1 || digest == NID_md5_sha1)
		return EVP_sha256();
	return EVP_get_digestbynid(digest);
}

int tls_binding_prepare(SSL_CTX *context)
{
	struct end_point *end_point = calloc(1, sizeof(*end_point));
	X509 *certificate = SSL_CTX_get0_certificate(context);
	const EVP_MD *digest = certificate != NULL ? end_point_digest(certificate) : NULL;

	if (end_point == NULL || SSL_CTX_set_ex_data(context, end_point_index(), end_point) != 1) {
		free(end_point);
		return -1;
	}
	if (digest == NULL || X509_digest(certificate, digest, end_point->octets, &end_point->len) != 1)
		end_point->len = 0;
	ERR_clear_error();
	return 0;
}

static size_t exporter(SSL *ssl, uint8_t *value_r)
{
	static const char label[] = "EXPORTER-Channel-Binding";

	if (SSL_version(ssl) != TLS1_3_VERSION || SSL_export_keying_material(ssl, value_r, EXPORTER_OCTETS,
						      label, sizeof(label) - 1, NULL, 0, 0) != 1)
		return 0;
	return EXPORTER_OCTETS;
}

static size_t end_point(const SSL *ssl, uint8_t *value_r)
{
	const struct end_point *prepared = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), end_point_index());

	if (prepared == NULL)
		return 0;
	memcpy(value_r, prepared->octets, prepared->len);
	return prepared->len;
}

/* In a full handshake the client's Finished is the first of the two. */
static size_t unique(SSL *ssl, uint8_t *value_r)
{
	size_t len;

	if (SSL_version(ssl) != TLS1_2_VERSION || SSL_get_extms_support(ssl) != 1 || SSL_session_reused(ssl))
		return 0;
	len = SSL_get_peer_finished(ssl, value_r, SASLX_BINDING_OCTETS);
	return len <= SASLX_BINDING_OCTETS ? len : 0;
}

size_t tls_binding(SSL *ssl, enum saslx_binding_type type, uint8_t value_r[SASLX_BINDING_OCTETS])
{
	size_t len = 0;

	ERR_clear_error();
	switch (type) {
	case SASLX_TLS_EXPORTER:
		len = exporter(ssl, value_r);
		break;
	case SASLX_TLS_SERVER_END_POINT:
		len = end_point(ssl, value_r);
		break;
	case SASLX_TLS_UNIQUE:
		len = unique(ssl, value_r);
		break;
	}
	ERR_clear_error();
	return len;
}
