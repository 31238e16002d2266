/* SPDX-License-Identifier: ISC */
/*
 * tls: one OpenSSL server context with our policy.
 *
 * For the front's parent, which loads certificate and key before it gives up its rights. TLS 1.2 and 1.3,
 * ECDHE with AEAD only, no renegotiation, no tickets, no session cache, no early data; ALPN "pop3" or none
 * (RFC 8314, RFC 8997, BCP 195).
 */
#ifndef KPOPD_SERVER_TLS_H
#define KPOPD_SERVER_TLS_H

#include <stddef.h>
#include <openssl/ssl.h>

/* NULL on failure; why_r gets one line naming the file and what is wrong. Warns of nothing else. */
SSL_CTX *tls_context_new(const char *certificate, const char *key, char *why_r, size_t size);
/* The reason of the last failed OpenSSL call in this thread, printable; clears the error queue. */
const char *tls_error_text(char *text_r, size_t size);

#endif
