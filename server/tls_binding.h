/* SPDX-License-Identifier: ISC */
/*
 * tls_binding: what ties a login to the TLS connection it is made on: values that both ends of this
 * connection, and of no other, can compute.
 *
 * For stream.c and tls.c. RFC 9266 (tls-exporter), RFC 5929 (tls-server-end-point, tls-unique).
 */
#ifndef KPOPD_SERVER_TLS_BINDING_H
#define KPOPD_SERVER_TLS_BINDING_H

#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>

#include "sasl/exchange.h"

/*
 * Once a context, when it has its certificate: computes what does not depend on the connection. 0, or -1: no
 * memory. A certificate that defines no binding is no failure.
 */
int tls_binding_prepare(SSL_CTX *context);

/*
 * The binding of a connection whose handshake is done, or 0: this connection has none of this type.
 *
 * tls-exporter: TLS 1.3. tls-server-end-point: the digest of our certificate, by the digest of its signature
 * but SHA-256 where that is MD5 or SHA-1; none where it is signed without one. tls-unique: the client's
 * Finished message; TLS 1.2 with extended master secret and without resumption only, where no two
 * connections can have the same (RFC 7677 section 4).
 */
size_t tls_binding(SSL *ssl, enum saslx_binding_type type, uint8_t value_r[SASLX_BINDING_OCTETS]);

#endif
