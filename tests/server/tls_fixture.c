/* SPDX-License-Identifier: ISC */
#include "tests/server/tls_fixture.h"

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

static char dir[64];

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(99);
}

const char *fixture_dir(void)
{
	if (dir[0] == '\0') {
		snprintf(dir, sizeof(dir), "/tmp/kpopd-test-XXXXXX");
		must(mkdtemp(dir) != NULL && chmod(dir, 0755) == 0, "mkdtemp");
	}
	return dir;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *place)
{
	(void)st;
	(void)type;
	(void)place;
	return remove(path);
}

void fixture_remove(void)
{
	if (dir[0] != '\0')
		nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	dir[0] = '\0';
}

const char *fixture_path(const char *name)
{
	static char paths[4][PATH_MAX];
	static unsigned turn;

	turn = (turn + 1) % 4;
	snprintf(paths[turn], sizeof(paths[turn]), "%s/%s", fixture_dir(), name);
	return paths[turn];
}

void fixture_text(const char *name, const char *text, unsigned mode)
{
	FILE *file = fopen(fixture_path(name), "w");

	must(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0, name);
	must(chmod(fixture_path(name), mode) == 0, name);
}

static EVP_PKEY *new_key(enum fixture_key kind)
{
	switch (kind) {
	case FIXTURE_RSA:
		return EVP_RSA_gen(2048u);
	case FIXTURE_RSA_WEAK:
		return EVP_RSA_gen(1024u);
	case FIXTURE_ECDSA:
		return EVP_EC_gen("P-256");
	case FIXTURE_ED25519:
		break;
	}
	return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

static X509 *new_certificate(EVP_PKEY *key, long seconds, const EVP_MD *digest)
{
	X509 *certificate = X509_new();
	X509_NAME *name = NULL;

	must(certificate != NULL, "X509_new");
	name = X509_get_subject_name(certificate);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -864000);
	X509_gmtime_adj(X509_getm_notAfter(certificate), seconds);
	X509_set_issuer_name(certificate, name);
	X509_set_pubkey(certificate, key);
	must(X509_sign(certificate, key, digest) > 0, "X509_sign");
	return certificate;
}

void fixture_pair(const char *name, enum fixture_key kind, long seconds, const char *passphrase)
{
	char file_name[128];
	EVP_PKEY *key = new_key(kind);
	X509 *certificate = new_certificate(key, seconds, kind == FIXTURE_ED25519 ? NULL : EVP_sha256());
	FILE *file = NULL;

	snprintf(file_name, sizeof(file_name), "%s.crt", name);
	file = fopen(fixture_path(file_name), "w");
	must(file != NULL && PEM_write_X509(file, certificate) == 1 && fclose(file) == 0, file_name);
	snprintf(file_name, sizeof(file_name), "%s.key", name);
	file = fopen(fixture_path(file_name), "w");
	must(file != NULL &&
		 PEM_write_PKCS8PrivateKey(file, key, passphrase == NULL ? NULL : EVP_aes_128_cbc(), NULL, 0,
		     NULL, (void *)(size_t)passphrase) == 1 &&
		 fclose(file) == 0,
	    file_name);
	must(chmod(fixture_path(file_name), 0600) == 0, file_name);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

void fixture_sockets(int pair_r[2])
{
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair_r) == 0, "socketpair");
}

SSL_CTX *fixture_client(int lowest, int highest)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	must(context != NULL, "SSL_CTX_new");
	SSL_CTX_set_security_level(context, 0);
	SSL_CTX_set_min_proto_version(context, lowest);
	SSL_CTX_set_max_proto_version(context, highest);
	return context;
}
