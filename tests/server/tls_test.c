/* SPDX-License-Identifier: ISC */
/* The TLS policy, asked by a real client over a socket pair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <openssl/err.h>

#include "server/tls.h"
#include "tests/server/tls_fixture.h"

enum { DAY_SECS = 86400 };

static SSL_CTX *server_context(const char *name)
{
	char certificate[64], key[64], why[256] = "";
	SSL_CTX *context = NULL;

	snprintf(certificate, sizeof(certificate), "%s.crt", name);
	snprintf(key, sizeof(key), "%s.key", name);
	context = tls_context_new(fixture_path(certificate), fixture_path(key), why, sizeof(why));
	if (context == NULL)
		fail_msg("%s", why);
	return context;
}

struct meeting {
	SSL_CTX *client_context;
	SSL *client, *server;
	int client_alert; /* what the client was told, or -1 */
};

static void alert_seen(const SSL *ssl, int where, int value)
{
	struct meeting *meeting = SSL_get_app_data(ssl);

	if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
		meeting->client_alert = value & 0xff;
}

static void meet(struct meeting *meeting, SSL_CTX *server, SSL_CTX *client)
{
	int pair[2];

	fixture_sockets(pair);
	meeting->client_context = client;
	meeting->client = SSL_new(client);
	meeting->server = SSL_new(server);
	meeting->client_alert = -1;
	SSL_set_app_data(meeting->client, meeting);
	SSL_set_info_callback(meeting->client, alert_seen);
	SSL_set_fd(meeting->client, pair[0]);
	SSL_set_fd(meeting->server, pair[1]);
	SSL_set_connect_state(meeting->client);
	SSL_set_accept_state(meeting->server);
}

/* Both sides in turn; whether both finished. */
static bool shake_hands(struct meeting *meeting)
{
	int client = 0, server = 0;

	for (int turn = 0; turn < 20 && (client != 1 || server != 1); turn++) {
		ERR_clear_error();
		client = SSL_do_handshake(meeting->client);
		ERR_clear_error();
		server = SSL_do_handshake(meeting->server);
	}
	return client == 1 && server == 1;
}

static void part(struct meeting *meeting)
{
	close(SSL_get_fd(meeting->client));
	close(SSL_get_fd(meeting->server));
	SSL_free(meeting->client);
	SSL_free(meeting->server);
	SSL_CTX_free(meeting->client_context);
	ERR_clear_error();
}

struct version_row {
	const char *sentence;
	int version;
	const char *ciphers; /* of the client, for TLS 1.2 and below */
	bool want;
};

static const struct version_row version_rows[] = {
    {"TLS 1.3 is spoken", TLS1_3_VERSION, "ALL", true},
    {"TLS 1.2 is spoken", TLS1_2_VERSION, "ALL", true},
    {"TLS 1.1 is refused", TLS1_1_VERSION, "ALL:@SECLEVEL=0", false},
    {"TLS 1.0 is refused", TLS1_VERSION, "ALL:@SECLEVEL=0", false},
    {"a CBC cipher is refused", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA", false},
    {"a static RSA cipher is refused", TLS1_2_VERSION, "AES128-GCM-SHA256", false},
    {"a cipher without a server's key is refused", TLS1_2_VERSION, "aNULL:@SECLEVEL=0", false},
    {"AES-128-GCM with ECDHE is taken", TLS1_2_VERSION,
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256", true},
};

static void test_versions_and_ciphers(void **state)
{
	static const char *const names[] = {"ecdsa", "rsa"};

	(void)state;
	for (size_t n = 0; n < 2; n++) {
		SSL_CTX *server = server_context(names[n]);

		for (size_t i = 0; i < sizeof(version_rows) / sizeof(version_rows[0]); i++) {
			const struct version_row *row = &version_rows[i];
			SSL_CTX *client = fixture_client(row->version, row->version);
			struct meeting meeting;

			SSL_CTX_set_cipher_list(client, row->ciphers);
			meet(&meeting, server, client);
			if (shake_hands(&meeting) != row->want)
				fail_msg("%s (%s)", row->sentence, names[n]);
			if (row->want && SSL_version(meeting.client) != row->version)
				fail_msg("%s (%s): another version", row->sentence, names[n]);
			part(&meeting);
		}
		SSL_CTX_free(server);
	}
}

struct alpn_row {
	const char *sentence;
	const char *offer; /* lengths and names, as on the wire; NULL: no extension */
	const char *want;  /* the protocol chosen; NULL: none */
	int want_alert;    /* -1: the handshake succeeds */
};

static const struct alpn_row alpn_rows[] = {
    {"no list is accepted", NULL, NULL, -1},
    {"pop3 is chosen", "\x04pop3", "pop3", -1},
    {"pop3 is found behind another", "\x04imap\x04pop3", "pop3", -1},
    {"http/1.1 alone ends the handshake", "\x08http/1.1", NULL, 120},
    {"a longer name is another", "\x05pop3s", NULL, 120},
    {"a shorter name is another", "\x03pop", NULL, 120},
    {"names are compared by octets", "\x04POP3", NULL, 120},
};

static void test_alpn(void **state)
{
	SSL_CTX *server = server_context("ecdsa");

	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		for (size_t i = 0; i < sizeof(alpn_rows) / sizeof(alpn_rows[0]); i++) {
			const struct alpn_row *row = &alpn_rows[i];
			SSL_CTX *client = fixture_client(version, version);
			const unsigned char *chosen = NULL;
			unsigned int len = 0;
			struct meeting meeting;

			if (row->offer != NULL)
				SSL_CTX_set_alpn_protos(
				    client, (const unsigned char *)row->offer, (unsigned)strlen(row->offer));
			meet(&meeting, server, client);
			if (shake_hands(&meeting) != (row->want_alert < 0) ||
			    meeting.client_alert != row->want_alert)
				fail_msg("%s: alert %d", row->sentence, meeting.client_alert);
			SSL_get0_alpn_selected(meeting.client, &chosen, &len);
			if (len != (row->want == NULL ? 0 : strlen(row->want)) ||
			    (len > 0 && memcmp(chosen, row->want, len) != 0))
				fail_msg("%s: chosen %.*s", row->sentence, (int)len, (const char *)chosen);
			part(&meeting);
		}
	}
	SSL_CTX_free(server);
}

/* Everything the server may send by itself reaches the client before this returns. */
static void settle(struct meeting *meeting)
{
	char octet;

	SSL_write(meeting->server, "+", 1);
	SSL_read(meeting->client, &octet, 1);
	ERR_clear_error();
}

static void test_nothing_is_remembered(void **state)
{
	SSL_CTX *server = server_context("ecdsa");

	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		SSL_SESSION *session = NULL;
		struct meeting meeting;

		meet(&meeting, server, fixture_client(version, version));
		assert_true(shake_hands(&meeting));
		settle(&meeting);
		session = SSL_get1_session(meeting.client);
		assert_false(SSL_SESSION_has_ticket(session));
		assert_int_equal(SSL_SESSION_get_max_early_data(session), 0);
		assert_int_equal(SSL_get_current_compression(meeting.client) == NULL, 1);
		assert_int_equal(SSL_CTX_sess_number(server), 0);
		part(&meeting);

		meet(&meeting, server, fixture_client(version, version));
		SSL_set_session(meeting.client, session);
		assert_true(shake_hands(&meeting));
		assert_false(SSL_session_reused(meeting.client));
		part(&meeting);
		SSL_SESSION_free(session);
	}
	SSL_CTX_free(server);
}

static void test_no_renegotiation(void **state)
{
	SSL_CTX *server = server_context("ecdsa");
	unsigned char before[64], after[64];
	struct meeting meeting;
	size_t len;
	char octet;

	(void)state;
	meet(&meeting, server, fixture_client(TLS1_2_VERSION, TLS1_2_VERSION));
	assert_true(shake_hands(&meeting));
	len = SSL_get_finished(meeting.server, before, sizeof(before));
	assert_int_equal(SSL_renegotiate(meeting.client), 1);
	for (int turn = 0; turn < 5; turn++) {
		SSL_do_handshake(meeting.client);
		SSL_read(meeting.server, &octet, 1);
	}
	assert_int_equal(meeting.client_alert, SSL_AD_NO_RENEGOTIATION);
	assert_int_equal(SSL_get_finished(meeting.server, after, sizeof(after)), len);
	assert_memory_equal(before, after, len);
	part(&meeting);
	SSL_CTX_free(server);
}

struct file_row {
	const char *sentence;
	const char *certificate, *key;
	const char *want; /* NULL: accepted; else why must contain this, and the name of the file at fault */
	const char *fault;
};

static const struct file_row file_rows[] = {
    {"an ECDSA pair", "ecdsa.crt", "ecdsa.key", NULL, NULL},
    {"an RSA pair", "rsa.crt", "rsa.key", NULL, NULL},
    {"an Ed25519 pair", "ed25519.crt", "ed25519.key", NULL, NULL},
    {"an expired certificate is still served", "expired.crt", "expired.key", NULL, NULL},
    {"no certificate", "absent.crt", "ecdsa.key", "No such file", "absent.crt"},
    {"no key", "ecdsa.crt", "absent.key", "No such file", "absent.key"},
    {"a key of the same kind of another certificate", "ecdsa.crt", "other.key", "does not belong",
	"other.key"},
    {"a key of another kind", "ecdsa.crt", "rsa.key", "does not belong", "rsa.key"},
    {"a key with a passphrase asks nobody", "locked.crt", "locked.key", "passphrase", "locked.key"},
    {"a weak key", "weak.crt", "weak.key", "key too small", "weak.crt"},
    {"text that is no certificate", "text", "ecdsa.key", "PEM", "text"},
    {"an empty certificate", "empty", "ecdsa.key", "PEM", "empty"},
    {"text that is no key", "ecdsa.crt", "text", "PEM", "text"},
    {"the files exchanged", "ecdsa.key", "ecdsa.crt", "PEM", "ecdsa.key"},
    {"a directory", ".", "ecdsa.key", "regular file", "."},
    {"a FIFO does not make us wait", "fifo", "ecdsa.key", "regular file", "fifo"},
    {"a key that everybody may read", "ecdsa.crt", "open.key", "chmod", "open.key"},
};

static void test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(file_rows) / sizeof(file_rows[0]); i++) {
		const struct file_row *row = &file_rows[i];
		char why[256] = "";
		SSL_CTX *context =
		    tls_context_new(fixture_path(row->certificate), fixture_path(row->key), why, sizeof(why));

		if ((context == NULL) != (row->want != NULL))
			fail_msg("%s: %s", row->sentence, why);
		if (row->want != NULL && (strstr(why, row->want) == NULL || strstr(why, row->fault) == NULL ||
					     strchr(why, '\n') != NULL))
			fail_msg("%s: said \"%s\"", row->sentence, why);
		SSL_CTX_free(context);
	}
}

/* A configuration file that would allow TLS 1.0 must not be read. */
static int setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	fixture_pair("ecdsa", FIXTURE_ECDSA, DAY_SECS, NULL);
	fixture_pair("other", FIXTURE_ECDSA, DAY_SECS, NULL);
	fixture_pair("open", FIXTURE_ECDSA, DAY_SECS, NULL);
	fixture_pair("rsa", FIXTURE_RSA, DAY_SECS, NULL);
	fixture_pair("weak", FIXTURE_RSA_WEAK, DAY_SECS, NULL);
	fixture_pair("ed25519", FIXTURE_ED25519, DAY_SECS, NULL);
	fixture_pair("expired", FIXTURE_ECDSA, -DAY_SECS, NULL);
	fixture_pair("locked", FIXTURE_ECDSA, DAY_SECS, "sesame");
	fixture_text("text", "not PEM\n", 0600);
	fixture_text("empty", "", 0600);
	return chmod(fixture_path("open.key"), 0644) == 0 && mkfifo(fixture_path("fifo"), 0600) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	fixture_remove();
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_files),
	    cmocka_unit_test(test_versions_and_ciphers),
	    cmocka_unit_test(test_alpn),
	    cmocka_unit_test(test_nothing_is_remembered),
	    cmocka_unit_test(test_no_renegotiation),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
