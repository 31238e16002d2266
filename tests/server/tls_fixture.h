/* SPDX-License-Identifier: ISC */
/*
 * tls_fixture: real certificates in a directory of the test's own, and a client's end of TLS.
 */
#ifndef KPOPD_TESTS_SERVER_TLS_FIXTURE_H
#define KPOPD_TESTS_SERVER_TLS_FIXTURE_H

#include <stddef.h>
#include <openssl/ssl.h>

enum fixture_key { FIXTURE_RSA, FIXTURE_RSA_WEAK, FIXTURE_ECDSA, FIXTURE_ED25519 };

/* A new empty directory, 0755, removed with all in it by fixture_remove. */
const char *fixture_dir(void);
void fixture_remove(void);
/* DIR/name; one of four rotating buffers. */
const char *fixture_path(const char *name);
/* Writes text to DIR/name with mode. */
void fixture_text(const char *name, const char *text, unsigned mode);
/* Writes DIR/name.crt (self-signed, valid until now + seconds) and DIR/name.key. passphrase may be NULL. */
void fixture_pair(const char *name, enum fixture_key kind, long seconds, const char *passphrase);
/* A non-blocking socket pair. */
void fixture_sockets(int pair_r[2]);
/* A client that asks for these versions (0: any) and checks no certificate. */
SSL_CTX *fixture_client(int lowest, int highest);

#endif
