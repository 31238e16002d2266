/* SPDX-License-Identifier: ISC */
/* The mechanism GSSAPI against a real KDC, with the stock client and with a client of our own that
 * misbehaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_krb5.h>

#include "tests/sasl/gss_client.h"
#include "tests/sasl/world.h"

static const struct saslx_connection clear;

static void stock_client_logs_in(void **state)
{
	static const struct {
		const char *sentence, *authzid;
		bool initial;
		enum saslx_outcome want;
	} rows[] = {
	    {"as the ticket's user", "alice", true, SASLX_DONE},
	    {"without initial response", "alice", false, SASLX_DONE},
	    {"without authorisation identity", "", true, SASLX_DONE},
	    {"to act as another user", "bob", true, SASLX_DONE},
	};

	(void)state;
	assert_true(saslx_usable("GSSAPI"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct talk talk = world_talk("GSSAPI", rows[i].authzid, "", "", rows[i].initial);

		if (talk.outcome != rows[i].want)
			fail_msg("%s: %d, %s", rows[i].sentence, (int)talk.outcome, talk.why);
		assert_string_equal(talk.user, "alice@KPOPD.TEST");
		assert_string_equal(talk.authzid, rows[i].authzid);
	}
}

#define CHOICE(text) text, sizeof(text) - 1

static void choices(void **state)
{
	static const struct {
		const char *sentence, *choice;
		size_t len;
		enum saslx_outcome want;
		const char *authzid;
	} rows[] = {
	    {"no name", CHOICE("\1\0\0\0"), SASLX_DONE, ""},
	    {"a name", CHOICE("\1\0\0\0alice"), SASLX_DONE, "alice"},
	    {"a name and a NUL", CHOICE("\1\0\0\0alice\0"), SASLX_DONE, "alice"},
	    {"a NUL alone", CHOICE("\1\0\0\0\0"), SASLX_DONE, ""},
	    {"two NULs", CHOICE("\1\0\0\0alice\0\0"), SASLX_REFUSED, ""},
	    {"a NUL within", CHOICE("\1\0\0\0ali\0ce"), SASLX_REFUSED, ""},
	    {"more after the NUL", CHOICE("\1\0\0\0alice\0x"), SASLX_REFUSED, ""},
	    {"another name", CHOICE("\1\0\0\0bob"), SASLX_DONE, "bob"},
	    {"with the realm", CHOICE("\1\0\0\0alice@KPOPD.TEST"), SASLX_DONE, "alice@KPOPD.TEST"},
	    {"a name nobody can have", CHOICE("\1\0\0\0../x"), SASLX_REFUSED, ""},
	    {"no layer bit", CHOICE("\0\0\0\0alice"), SASLX_REFUSED, ""},
	    {"integrity", CHOICE("\2\0\0\0alice"), SASLX_REFUSED, ""},
	    {"integrity with a size", CHOICE("\2\0\377\377alice"), SASLX_REFUSED, ""},
	    {"confidentiality", CHOICE("\4\0\377\377alice"), SASLX_REFUSED, ""},
	    {"two bits", CHOICE("\3\0\0\0alice"), SASLX_REFUSED, ""},
	    {"all bits", CHOICE("\377\377\377\377alice"), SASLX_REFUSED, ""},
	    {"a size without a layer, as s-nail sends it", CHOICE("\1\0\377\377alice"), SASLX_DONE, "alice"},
	    {"three octets", CHOICE("\1\0\0"), SASLX_REFUSED, ""},
	    {"nothing", CHOICE(""), SASLX_REFUSED, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gss_client client;
		struct saslx *server = gss_client_until_offer(&client, &clear, GSS_C_MUTUAL_FLAG);
		gss_buffer_desc wrapped = GSS_C_EMPTY_BUFFER;
		OM_uint32 minor;

		gss_client_wrap(&client, rows[i].choice, rows[i].len, &wrapped);
		if (saslx_step(server, wrapped.value, wrapped.length) != rows[i].want)
			fail_msg("%s: %s", rows[i].sentence, saslx_why(server));
		if (rows[i].want == SASLX_DONE)
			assert_string_equal(saslx_identity(server)->authzid, rows[i].authzid);
		gss_release_buffer(&minor, &wrapped);
		gss_client_end(&client);
		saslx_free(&server);
	}
}

/* Choice tokens cut short, with octets after them, changed, not wrapped, or the server's own sent back. */
static void damaged_choices_are_refused(void **state)
{
	struct gss_client client;
	struct saslx *server = gss_client_until_offer(&client, &clear, GSS_C_MUTUAL_FLAG);
	gss_buffer_desc wrapped = GSS_C_EMPTY_BUFFER;
	size_t offer_len, len;
	const void *challenge;
	char offer[256];
	OM_uint32 minor;

	(void)state;
	challenge = saslx_challenge(server, &offer_len);
	assert_true(offer_len < sizeof(offer));
	memcpy(offer, challenge, offer_len);
	assert_int_equal(saslx_step(server, offer, offer_len), SASLX_REFUSED);
	saslx_free(&server);
	gss_client_wrap(&client, "\1\0\0\0alice", 9, &wrapped);
	len = wrapped.length;
	gss_release_buffer(&minor, &wrapped);
	gss_client_end(&client);
	for (size_t cut = 0; cut < 2 * len + 2; cut++) {
		uint8_t bytes[512];

		server = gss_client_until_offer(&client, &clear, GSS_C_MUTUAL_FLAG);
		gss_client_wrap(&client, "\1\0\0\0alice", 9, &wrapped);
		memcpy(bytes, wrapped.value, wrapped.length);
		bytes[wrapped.length] = 0;
		if (cut < len)
			assert_int_equal(saslx_step(server, bytes, cut), SASLX_REFUSED);
		else if (cut < 2 * len) {
			bytes[cut - len] ^= 0x11;
			assert_int_equal(saslx_step(server, bytes, len), SASLX_REFUSED);
		} else
			assert_int_equal(
			    saslx_step(server, cut == 2 * len ? (const void *)bytes : "\1\0\0\0alice",
				cut == 2 * len ? len + 1 : 9),
			    SASLX_REFUSED);
		gss_release_buffer(&minor, &wrapped);
		gss_client_end(&client);
		saslx_free(&server);
	}
}

static enum saslx_outcome first_token(const void *token, size_t len)
{
	struct saslx *server = saslx_new(&(struct saslx_connection){.tls = false});
	enum saslx_outcome outcome = saslx_start(server, "GSSAPI", token, len);

	saslx_free(&server);
	return outcome;
}

static void damaged_first_tokens_are_refused(void **state)
{
	struct gss_client client;
	uint8_t *bytes;
	size_t len;

	(void)state;
	gss_client_begin(&client, "pop@localhost", 0);
	len = client.token.length;
	bytes = malloc(len + 16);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(first_token(client.token.value, cut), SASLX_REFUSED);
	for (size_t more = 1; more < 16; more++) {
		memcpy(bytes, client.token.value, len);
		memset(bytes + len, 0, more);
		assert_int_equal(first_token(bytes, len + more), SASLX_REFUSED);
	}
	/* Every octet of the framing and the start of the AP-REQ, where a change must matter. */
	for (size_t at = 0; at < 17; at++) {
		memcpy(bytes, client.token.value, len);
		bytes[at] ^= 0x04;
		if (first_token(bytes, len) != SASLX_REFUSED)
			fail_msg("a change of octet %zu is not noticed", at);
	}
	for (size_t at = 17; at < len; at += 7) {
		memcpy(bytes, client.token.value, len);
		bytes[at] ^= 0x80;
		first_token(bytes, len); /* some fields bind nothing; what counts is that we live */
	}
	free(bytes);
	gss_client_end(&client);
}

/* The same octets under the object identifiers of other mechanisms. */
static void other_mechanisms_are_refused(void **state)
{
	static const struct {
		const char *sentence, *token;
		size_t len;
	} rows[] = {
	    {"SPNEGO", CHOICE("\x60\x10\x06\x06\x2b\x06\x01\x05\x05\x02\xa0\x06\x30\x04\xa0\x02\x30\x00")},
	    {"IAKERB", CHOICE("\x60\x0d\x06\x06\x2b\x06\x01\x05\x02\x05\x05\x01\x6e\x01\x00")},
	    {"Microsoft's mistyped Kerberos",
		CHOICE("\x60\x0f\x06\x09\x2a\x86\x48\x82\xf7\x12\x01\x02\x02\x01\x00\x6e\x00")},
	    {"Kerberos, not an AP-REQ",
		CHOICE("\x60\x0f\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x02\x00\x6f\x00")},
	    {"Kerberos, AP-REQ of no octets",
		CHOICE("\x60\x0f\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01\x00\x6e\x00")},
	    {"a length of lengths", CHOICE("\x60\xff\xff\xff\xff\xff")},
	    {"an endless length", CHOICE("\x60\x84\xff\xff\xff\xff\x06\x09")},
	    {"an indefinite length",
		CHOICE("\x60\x80\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01\x00\x6e\x00\x00")},
	    {"a bare AP-REQ", CHOICE("\x6e\x82\x01\x00\x30\x82")},
	    {"NTLM", CHOICE("NTLMSSP\0\1\0\0\0\0\0\0\0")},
	    {"nothing", CHOICE("")},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (first_token(rows[i].token, rows[i].len) != SASLX_REFUSED)
			fail_msg("%s: not refused", rows[i].sentence);
}

static void tickets_of_other_services_are_refused(void **state)
{
	static const struct {
		const char *service;
		enum saslx_outcome want;
	} rows[] = {
	    {"pop@localhost", SASLX_MORE},
	    {"pop3@localhost", SASLX_MORE},
	    {"imap@localhost", SASLX_REFUSED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct saslx *server = saslx_new(&(struct saslx_connection){.tls = false});
		struct gss_client client;

		gss_client_begin(&client, rows[i].service, GSS_C_MUTUAL_FLAG);
		if (saslx_start(server, "GSSAPI", client.token.value, client.token.length) != rows[i].want)
			fail_msg("%s: %s", rows[i].service, saslx_why(server));
		if (rows[i].want == SASLX_REFUSED)
			assert_non_null(strstr(saslx_why(server), "the ticket is not accepted"));
		gss_client_end(&client);
		saslx_free(&server);
	}
}

static void a_token_serves_once(void **state)
{
	struct gss_client client;

	(void)state;
	gss_client_begin(&client, "pop@localhost", 0);
	assert_int_equal(first_token(client.token.value, client.token.length), SASLX_MORE);
	assert_int_equal(first_token(client.token.value, client.token.length), SASLX_REFUSED);
	gss_client_end(&client);
}

static void a_token_after_the_last_is_refused(void **state)
{
	struct saslx *server = saslx_new(&(struct saslx_connection){.tls = false});
	struct gss_client client;

	(void)state;
	gss_client_begin(&client, "pop@localhost", GSS_C_MUTUAL_FLAG);
	assert_int_equal(saslx_start(server, "GSSAPI", client.token.value, client.token.length), SASLX_MORE);
	assert_int_equal(saslx_step(server, client.token.value, client.token.length), SASLX_REFUSED);
	gss_client_end(&client);
	saslx_free(&server);
}

/* Whether an instance is a user here is not for this folder to say. */
static void a_principal_is_told_as_it_is(void **state)
{
	struct talk talk;

	(void)state;
	gss_realm_use("admin");
	talk = world_talk("GSSAPI", "alice", "", "", true);
	gss_realm_use("alice");
	assert_int_equal(talk.outcome, SASLX_DONE);
	assert_string_equal(talk.user, "alice/admin@KPOPD.TEST");
	assert_string_equal(talk.authzid, "alice");
}

static void abandoned_exchanges_leave_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		struct gss_client client;
		struct saslx *server =
		    gss_client_until_offer(&client, &clear, i % 2 == 0 ? GSS_C_MUTUAL_FLAG : 0);

		gss_client_end(&client);
		saslx_free(&server);
		assert_int_equal(world_talk("GSSAPI", "alice", "", "", true).outcome, SASLX_DONE);
	}
}

/* A cache that cannot be written is our fault, and no one logs in past it. */
static void no_replay_cache_is_an_error(void **state)
{
	struct saslx *server = saslx_new(&(struct saslx_connection){.tls = false});
	struct gss_client client;
	char path[160];

	(void)state;
	snprintf(path, sizeof(path), "%s/replay", gss_world.dir);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	gss_client_begin(&client, "pop@localhost", 0);
	assert_int_equal(saslx_start(server, "GSSAPI", client.token.value, client.token.length), SASLX_ERROR);
	gss_client_end(&client);
	saslx_free(&server);
	assert_int_equal(rmdir(path), 0);
}

static void no_kdc_is_needed(void **state)
{
	char text[512];

	(void)state;
	assert_int_equal(world_talk("GSSAPI", "alice", "", "", true).outcome, SASLX_DONE);
	snprintf(text, sizeof(text), "stop %s", gss_realm);
	assert_int_equal(gss_realm_sh(text), 0);
	assert_int_equal(world_talk("GSSAPI", "alice", "", "", true).outcome, SASLX_DONE);
}

/* Each ends this process's library and starts it anew. */
static void keytabs_without_a_usable_key(void **state)
{
	static const struct {
		const char *sentence, *make, *noted;
	} rows[] = {
	    {"missing", "true", "not found"},
	    {"empty", ": > %s", "GSSAPI is not offered"},
	    {"garbage", "echo garbage > %s", "GSSAPI is not offered"},
	    {"another service", "$R/realm.sh service $D imap/other %s", "imap/other@KPOPD.TEST"},
	    {"a weak key", "$R/realm.sh service $D pop/weak %s arcfour-hmac:normal", "weak enctype"},
	    {"a user named like us", "$R/realm.sh service $D pop %s", "pop@KPOPD.TEST"},
	};
	const char *source = getenv("KPOPD_SRCDIR");
	char path[160], make[256], dir[512];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/tests/system", source != NULL ? source : ".");
	setenv("R", dir, 1);
	setenv("D", gss_realm, 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *where = strstr(rows[i].make, "%s");

		world_stop(&gss_world);
		snprintf(path, sizeof(path), "%s/%zu.keytab", gss_realm, i);
		if (where == NULL)
			snprintf(make, sizeof(make), "%s", rows[i].make);
		else
			snprintf(make, sizeof(make), "%.*s%s%s", (int)(where - rows[i].make), rows[i].make,
			    path, where + 2);
		assert_int_equal(gss_realm_run("%s", make), 0);
		assert_int_equal(world_start(&gss_world, gss_mechanisms, path, NULL), 0);
		if (saslx_usable("GSSAPI") || strstr(gss_world.noted, rows[i].noted) == NULL)
			fail_msg("%s: %s", rows[i].sentence, gss_world.noted);
		assert_int_equal(world_talk("PLAIN", "", "alice", ALICE_PASSWORD, true).outcome, SASLX_DONE);
		assert_int_equal(first_token("", 0), SASLX_UNKNOWN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(stock_client_logs_in),
	    cmocka_unit_test(choices),
	    cmocka_unit_test(damaged_choices_are_refused),
	    cmocka_unit_test(damaged_first_tokens_are_refused),
	    cmocka_unit_test(other_mechanisms_are_refused),
	    cmocka_unit_test(tickets_of_other_services_are_refused),
	    cmocka_unit_test(a_token_serves_once),
	    cmocka_unit_test(a_token_after_the_last_is_refused),
	    cmocka_unit_test(a_principal_is_told_as_it_is),
	    cmocka_unit_test(abandoned_exchanges_leave_nothing),
	    cmocka_unit_test(no_replay_cache_is_an_error),
	    cmocka_unit_test(no_kdc_is_needed),
	    cmocka_unit_test(keytabs_without_a_usable_key),
	};

	return cmocka_run_group_tests(tests, gss_realm_setup, gss_realm_teardown);
}
