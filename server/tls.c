/* SPDX-License-Identifier: ISC */
#include "server/tls.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "server/limits.h"
#include "server/tls_binding.h"

/* TLS 1.2: forward secrecy and AEAD only, so neither CBC padding nor static RSA can be asked for. */
static const char ciphers_tls12[] = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL";
static const char groups[] = "X25519:P-256:P-384";
static const char alpn_pop3[] = "pop3";

const char *tls_error_text(char *text_r, size_t size)
{
	unsigned long code = ERR_get_error();
	const char *reason = ERR_reason_error_string(code);

	if (reason != NULL)
		snprintf(text_r, size, "%s", reason);
	else if (ERR_SYSTEM_ERROR(code))
		snprintf(text_r, size, "%s", strerror(ERR_GET_REASON(code)));
	else
		snprintf(text_r, size, "%s", code == 0 ? "no reason given" : "unknown error");
	ERR_clear_error();
	return text_r;
}

/*
 * A client that names protocols and not ours was meant for another server, and somebody in the middle sent
 * it here: RFC 7301 section 3.2 ends such a handshake. The list was checked by OpenSSL, but a wrong length
 * here would cost too much to trust that.
 */
static int choose_protocol(SSL *ssl, const unsigned char **out_r, unsigned char *len_r,
    const unsigned char *list, unsigned int size, void *unused)
{
	(void)ssl;
	(void)unused;
	for (unsigned int at = 0; at < size; at += 1u + list[at]) {
		if (list[at] > size - at - 1u)
			break;
		if (list[at] == sizeof(alpn_pop3) - 1 && memcmp(list + at + 1, alpn_pop3, list[at]) == 0) {
			*out_r = list + at + 1;
			*len_r = list[at];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Nobody sits at the terminal of a server: an encrypted key is an error, not a question. */
static int no_passphrase(char *buf, int size, int writing, void *asked)
{
	(void)buf;
	(void)size;
	(void)writing;
	if (asked != NULL)
		*(bool *)asked = true;
	return -1;
}

static bool set_policy(SSL_CTX *context)
{
	SSL_CTX_set_security_level(context, 2);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
					 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_clear_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_ENABLE_KTLS);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
	/* Off together with NO_TICKET: TLS 1.3 would otherwise remember every session in memory. */
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
	/* Octets beyond the current record stay in the kernel, where readiness can be seen. */
	SSL_CTX_set_read_ahead(context, 0);
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
	SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
	return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
	       SSL_CTX_set_cipher_list(context, ciphers_tls12) == 1 &&
	       SSL_CTX_set1_groups_list(context, groups) == 1 && SSL_CTX_set_num_tickets(context, 0) == 1 &&
	       SSL_CTX_set_max_early_data(context, 0) == 1 &&
	       SSL_CTX_set_recv_max_early_data(context, 0) == 1;
}

/* what is "certificate" or "key". forbidden: mode bits that other users of the machine must not have. */
static bool file_sound(const char *what, const char *path, mode_t forbidden, char *why_r, size_t size)
{
	struct stat st;

	if (stat(path, &st) != 0)
		snprintf(why_r, size, "%s %s: %s: give the file of the %s in PEM form", what, path,
		    strerror(errno), what);
	else if (!S_ISREG(st.st_mode))
		snprintf(why_r, size, "%s %s: not a regular file: give the file of the %s in PEM form", what,
		    path, what);
	else if ((st.st_mode & forbidden) != 0)
		snprintf(why_r, size, "%s %s: open to every user of this machine: run chmod o-rw on it", what,
		    path);
	else
		return true;
	return false;
}

static EVP_PKEY *read_key(const char *path, char *why_r, size_t size)
{
	char reason[160];
	bool asked = false;
	EVP_PKEY *key = NULL;
	FILE *file = fopen(path, "re");

	if (file == NULL) {
		snprintf(why_r, size, "key %s: %s: make it readable for the user that starts kpopd", path,
		    strerror(errno));
		return NULL;
	}
	key = PEM_read_PrivateKey(file, NULL, no_passphrase, &asked);
	fclose(file);
	if (key == NULL && asked)
		snprintf(
		    why_r, size, "key %s: needs a passphrase: store it without one (openssl pkey)", path);
	else if (key == NULL)
		snprintf(why_r, size, "key %s: %s: give a private key in PEM form", path,
		    tls_error_text(reason, sizeof(reason)));
	ERR_clear_error();
	return key;
}

static bool load_certificate(SSL_CTX *context, const char *path, char *why_r, size_t size)
{
	char reason[160];

	if (!file_sound("certificate", path, S_IWOTH, why_r, size))
		return false;
	/* An expired certificate is served: clients decide, and a server that stays down helps nobody. */
	if (SSL_CTX_use_certificate_chain_file(context, path) == 1)
		return true;
	snprintf(why_r, size, "certificate %s: %s: give the certificate, then its chain, in PEM form", path,
	    tls_error_text(reason, sizeof(reason)));
	return false;
}

static bool load_key(SSL_CTX *context, const char *path, const char *certificate, char *why_r, size_t size)
{
	char reason[160];
	EVP_PKEY *key = NULL;
	bool ok = false;

	if (!file_sound("key", path, S_IROTH | S_IWOTH, why_r, size))
		return false;
	key = read_key(path, why_r, size);
	if (key == NULL)
		return false;
	if (X509_check_private_key(SSL_CTX_get0_certificate(context), key) != 1)
		snprintf(why_r, size, "key %s: does not belong to certificate %s: give the pair", path,
		    certificate);
	else if (SSL_CTX_use_PrivateKey(context, key) != 1)
		snprintf(why_r, size, "key %s: %s: use RSA of 2048 bits or more, ECDSA or Ed25519", path,
		    tls_error_text(reason, sizeof(reason)));
	else
		ok = true;
	EVP_PKEY_free(key);
	ERR_clear_error();
	return ok;
}

SSL_CTX *tls_context_new(const char *certificate, const char *key, char *why_r, size_t size)
{
	char reason[160];
	SSL_CTX *context = NULL;

	/* The policy is this file's alone: neither the system's openssl.cnf nor OPENSSL_CONF has a say. */
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	ERR_clear_error();
	context = SSL_CTX_new(TLS_server_method());
	if (context == NULL || !set_policy(context)) {
		snprintf(why_r, size, "certificate %s: OpenSSL cannot start TLS: %s", certificate,
		    tls_error_text(reason, sizeof(reason)));
	} else if (load_certificate(context, certificate, why_r, size) &&
		   load_key(context, key, certificate, why_r, size)) {
		if (tls_binding_prepare(context) == 0)
			return context;
		snprintf(why_r, size, "certificate %s: no memory", certificate);
	}
	SSL_CTX_free(context);
	return NULL;
}
