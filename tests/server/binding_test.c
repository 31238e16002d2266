/* SPDX-License-Identifier: ISC */
/* What a connection can be bound to, as its other end computes it, and who must be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "server/binding_policy.h"
#include "server/tls_binding.h"

/* ---- certificates ---- */

enum padding { PLAIN = 0, PSS };

static EVP_PKEY *make_key(const char *kind)
{
	EVP_PKEY *key = strcmp(kind, "RSA") == 0  ? EVP_RSA_gen(2048)
			: strcmp(kind, "EC") == 0 ? EVP_EC_gen("P-256")
						  : EVP_PKEY_Q_keygen(NULL, NULL, kind);
	assert_non_null(key);
	return key;
}

static X509 *make_certificate(EVP_PKEY *key, const EVP_MD *digest, enum padding padding)
{
	X509 *made = X509_new();
	X509_NAME *name = X509_get_subject_name(made);
	EVP_MD_CTX *signer = EVP_MD_CTX_new();
	EVP_PKEY_CTX *options;

	X509_set_version(made, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
	X509_gmtime_adj(X509_getm_notBefore(made), -60);
	X509_gmtime_adj(X509_getm_notAfter(made), 86400);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
	X509_set_issuer_name(made, name);
	assert_int_equal(X509_set_pubkey(made, key), 1);
	assert_int_equal(EVP_DigestSignInit(signer, &options, digest, NULL, key), 1);
	if (padding == PSS)
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING), 1);
	assert_true(X509_sign_ctx(made, signer) > 0);
	EVP_MD_CTX_free(signer);
	return made;
}

static SSL_CTX *make_server(EVP_PKEY *key, X509 *certificate)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	SSL_CTX_set_security_level(context, 0); /* of certificates that are of yesterday */
	assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
	assert_int_equal(tls_binding_prepare(context), 0);
	return context;
}

/* RFC 5929 section 4.1, and what has no digest there. */
static void test_end_points(void **state)
{
	static const struct {
		const char *sentence, *key, *digest;
		enum padding padding;
		const char *want; /* NULL: none */
	} rows[] = {
	    {"SHA-256", "RSA", "SHA256", PLAIN, "SHA256"},
	    {"SHA-384", "EC", "SHA384", PLAIN, "SHA384"},
	    {"SHA-512", "RSA", "SHA512", PLAIN, "SHA512"},
	    {"SHA-224", "RSA", "SHA224", PLAIN, "SHA224"},
	    {"SHA-1 is too weak to be used", "RSA", "SHA1", PLAIN, "SHA256"},
	    {"MD5 too", "RSA", "MD5", PLAIN, "SHA256"},
	    {"ECDSA with SHA-256", "EC", "SHA256", PLAIN, "SHA256"},
	    {"RSA-PSS names its digest in its parameters", "RSA", "SHA512", PSS, "SHA512"},
	    {"Ed25519 has none that could be named", "ED25519", NULL, PLAIN, NULL},
	    {"nor has Ed448", "ED448", NULL, PLAIN, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const EVP_MD *digest = rows[i].digest != NULL ? EVP_get_digestbyname(rows[i].digest) : NULL;
		EVP_PKEY *key = make_key(rows[i].key);
		X509 *certificate = make_certificate(key, digest, rows[i].padding);
		SSL_CTX *context = make_server(key, certificate);
		SSL *ssl = SSL_new(context);
		uint8_t got[SASLX_BINDING_OCTETS], want[EVP_MAX_MD_SIZE];
		unsigned char *der = NULL;
		int der_len = i2d_X509(certificate, &der);
		unsigned want_len = 0;

		if (rows[i].want != NULL)
			EVP_Digest(
			    der, (size_t)der_len, want, &want_len, EVP_get_digestbyname(rows[i].want), NULL);
		size_t len = tls_binding(ssl, SASLX_TLS_SERVER_END_POINT, got);
		if (len != want_len || memcmp(got, want, len) != 0)
			fail_msg("%s: %zu octets", rows[i].sentence, len);
		OPENSSL_free(der);
		SSL_free(ssl);
		SSL_CTX_free(context);
		X509_free(certificate);
		EVP_PKEY_free(key);
	}
}

/* ---- connections ---- */

struct meeting {
	SSL *client, *server;
};

static void meet(struct meeting *meeting, SSL_CTX *client, SSL_CTX *server, SSL_SESSION *session)
{
	BIO *near, *far;

	assert_int_equal(BIO_new_bio_pair(&near, 0, &far, 0), 1);
	meeting->client = SSL_new(client);
	meeting->server = SSL_new(server);
	SSL_set_bio(meeting->client, near, near);
	SSL_set_bio(meeting->server, far, far);
	SSL_set_connect_state(meeting->client);
	SSL_set_accept_state(meeting->server);
	if (session != NULL)
		assert_int_equal(SSL_set_session(meeting->client, session), 1);
	for (int i = 0; i < 10; i++) {
		SSL_do_handshake(meeting->client);
		SSL_do_handshake(meeting->server);
	}
	assert_true(SSL_is_init_finished(meeting->client) && SSL_is_init_finished(meeting->server));
}

static void part(struct meeting *meeting)
{
	SSL_free(meeting->client);
	SSL_free(meeting->server);
}

static SSL_CTX *make_client(int version, uint64_t options)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_min_proto_version(context, version);
	SSL_CTX_set_max_proto_version(context, version);
	SSL_CTX_set_options(context, options);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT);
	return context;
}

/* What the client's end gives; 0 octets: it is not asked for here. */
static size_t other_end(SSL *client, enum saslx_binding_type type, uint8_t *want_r)
{
	static const char label[] = "EXPORTER-Channel-Binding";

	if (type == SASLX_TLS_UNIQUE)
		return SSL_get_finished(client, want_r, SASLX_BINDING_OCTETS);
	assert_int_equal(SSL_export_keying_material(
			     client, want_r, 32, label, sizeof label - 1, (const unsigned char *)"", 0, 1),
	    1);
	return 32;
}

static void test_connections(void **state)
{
	static const struct {
		const char *sentence;
		int version;
		uint64_t options;
		enum saslx_binding_type type;
		bool want;
	} rows[] = {
	    {"TLS 1.3 has an exporter", TLS1_3_VERSION, 0, SASLX_TLS_EXPORTER, true},
	    {"TLS 1.3 has no Finished to bind to", TLS1_3_VERSION, 0, SASLX_TLS_UNIQUE, false},
	    {"TLS 1.2 has the client's Finished", TLS1_2_VERSION, 0, SASLX_TLS_UNIQUE, true},
	    {"but not without extended master secret", TLS1_2_VERSION, SSL_OP_NO_EXTENDED_MASTER_SECRET,
		SASLX_TLS_UNIQUE, false},
	    {"TLS 1.2 has no exporter here", TLS1_2_VERSION, 0, SASLX_TLS_EXPORTER, false},
	};
	EVP_PKEY *key = make_key("EC");
	X509 *certificate = make_certificate(key, EVP_sha256(), PLAIN);
	SSL_CTX *server = make_server(key, certificate);

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		SSL_CTX *client = make_client(rows[i].version, rows[i].options);
		uint8_t got[SASLX_BINDING_OCTETS] = {0}, again[SASLX_BINDING_OCTETS] = {0},
			want[SASLX_BINDING_OCTETS];
		struct meeting one, other;

		meet(&one, client, server, NULL);
		meet(&other, client, server, NULL);
		size_t len = tls_binding(one.server, rows[i].type, got);
		if ((len > 0) != rows[i].want)
			fail_msg("%s: %zu octets", rows[i].sentence, len);
		if (len > 0) {
			assert_int_equal(len, other_end(one.client, rows[i].type, want));
			assert_memory_equal(got, want, len);
			assert_int_equal(tls_binding(other.server, rows[i].type, again), len);
			assert_memory_not_equal(got, again, len);
		}
		assert_int_equal(tls_binding(one.server, SASLX_TLS_SERVER_END_POINT, got), 32);
		part(&one);
		part(&other);
		SSL_CTX_free(client);
	}
	SSL_CTX_free(server);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

/* Ours resumes nothing; were it to, two connections might share what tls-unique says (RFC 7677 section 4). */
static void test_resumed(void **state)
{
	EVP_PKEY *key = make_key("EC");
	X509 *certificate = make_certificate(key, EVP_sha256(), PLAIN);
	SSL_CTX *server = make_server(key, certificate), *client = make_client(TLS1_2_VERSION, 0);
	uint8_t got[SASLX_BINDING_OCTETS];
	struct meeting one, other;

	(void)state;
	meet(&one, client, server, NULL);
	assert_int_equal(tls_binding(one.server, SASLX_TLS_UNIQUE, got), 12);
	meet(&other, client, server, SSL_get0_session(one.client));
	assert_int_equal(SSL_session_reused(other.server), 1);
	assert_int_equal(tls_binding(other.server, SASLX_TLS_UNIQUE, got), 0);
	assert_int_equal(tls_binding(other.server, SASLX_TLS_SERVER_END_POINT, got), 32);
	part(&one);
	part(&other);
	SSL_CTX_free(server);
	SSL_CTX_free(client);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void test_no_certificate(void **state)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	SSL *ssl = SSL_new(context);
	uint8_t got[SASLX_BINDING_OCTETS];

	(void)state;
	assert_int_equal(tls_binding(ssl, SASLX_TLS_SERVER_END_POINT, got), 0);
	assert_int_equal(tls_binding_prepare(context), 0);
	assert_int_equal(tls_binding(ssl, SASLX_TLS_SERVER_END_POINT, got), 0);
	SSL_free(ssl);
	SSL_CTX_free(context);
}

/* ---- policy ---- */

static struct network network(const char *text)
{
	struct network parsed;

	assert_int_equal(network_parse(text, &parsed), 0);
	return parsed;
}

static void test_policy(void **state)
{
	static char *scram[] = {"SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", NULL}, *all[] = {NULL};
	struct network office[] = {network("10.0.0.0/8"), network("2001:db8::/32")},
		       host[] = {network("10.1.2.3")};
	struct channel_binding_rule rules[] = {
	    {.name = "host", .mechanisms = all, .networks = {host, 1}, .policy = SASLX_BINDING_OFF},
	    {.name = "scram", .mechanisms = scram, .networks = {office, 2}, .policy = SASLX_BINDING_REQUIRE},
	    {.name = "rest", .mechanisms = scram, .networks = {NULL, 0}, .policy = SASLX_BINDING_OFF},
	};
	const struct config with = {.channel_binding = SASLX_BINDING_ALLOW,
	    .channel_binding_rules = rules,
	    .channel_binding_rule_count = 3,
	    .gssapi_channel_binding = SASLX_BINDING_REQUIRE};
	const struct config without = {.channel_binding = SASLX_BINDING_REQUIRE};
	const struct {
		const char *sentence;
		const struct config *config;
		const char *mechanism, *peer;
		enum saslx_binding_policy want;
	} rows[] = {
	    {"without rules, what holds everywhere", &without, "SCRAM-SHA-256", "192.0.2.1",
		SASLX_BINDING_REQUIRE},
	    {"for the name with -PLUS as well", &without, "GS2-KRB5-PLUS", "::1", SASLX_BINDING_REQUIRE},
	    {"what cannot bind is not concerned", &without, "PLAIN", "192.0.2.1", SASLX_BINDING_OFF},
	    {"nor is CRAM-MD5", &without, "CRAM-MD5", "192.0.2.1", SASLX_BINDING_OFF},
	    {"nor what we do not know", &without, "X-SITE-PLUS", "192.0.2.1", SASLX_BINDING_OFF},
	    {"GSSAPI has a key of its own", &without, "GSSAPI", "192.0.2.1", SASLX_BINDING_OFF},
	    {"which no rule changes", &with, "GSSAPI", "10.1.2.3", SASLX_BINDING_REQUIRE},
	    {"a rule for the network and the mechanism", &with, "SCRAM-SHA-1", "10.9.9.9",
		SASLX_BINDING_REQUIRE},
	    {"named without -PLUS, it is for both", &with, "SCRAM-SHA-1-PLUS", "10.9.9.9",
		SASLX_BINDING_REQUIRE},
	    {"named with it, too", &with, "SCRAM-SHA-256", "10.9.9.9", SASLX_BINDING_REQUIRE},
	    {"in small letters", &with, "scram-sha-256-plus", "10.9.9.9", SASLX_BINDING_REQUIRE},
	    {"IPv6", &with, "SCRAM-SHA-1", "2001:db8::7", SASLX_BINDING_REQUIRE},
	    {"the first that fits holds", &with, "SCRAM-SHA-1", "10.1.2.3", SASLX_BINDING_OFF},
	    {"a rule for all mechanisms", &with, "GS2-KRB5", "10.1.2.3", SASLX_BINDING_OFF},
	    {"a rule for all networks", &with, "SCRAM-SHA-1", "192.0.2.1", SASLX_BINDING_OFF},
	    {"no rule fits the mechanism", &with, "SCRAM-SHA-512", "10.9.9.9", SASLX_BINDING_ALLOW},
	    {"a longer name is another mechanism", &with, "SCRAM-SHA-224", "10.9.9.9", SASLX_BINDING_ALLOW},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct network at = network(rows[i].peer);
		struct peer peer = {.port = 1};

		memcpy(peer.address, at.address, sizeof peer.address);
		if (binding_policy(rows[i].config, rows[i].mechanism, &peer) != rows[i].want)
			fail_msg("%s", rows[i].sentence);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_end_points),
	    cmocka_unit_test(test_connections),
	    cmocka_unit_test(test_resumed),
	    cmocka_unit_test(test_no_certificate),
	    cmocka_unit_test(test_policy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
