/* SPDX-License-Identifier: ISC */
/* CRAM-MD5 and APOP: digests by hand, strictness, timestamps that serve once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "tests/sasl/world.h"

#define MESSAGE(text) text, sizeof(text) - 1

static struct world world;

static const char *const mechanisms[] = {"CRAM-MD5", NULL};

static int setup(void **state)
{
	(void)state;
	return world_start(&world, mechanisms, NULL, NULL);
}

static int teardown(void **state)
{
	(void)state;
	world_stop(&world);
	return 0;
}

static void cram_md5_is_strict(void **state)
{
	static const char good[] = "0123456789abcdef0123456789abcdef";
	static const struct {
		const char *sentence, *response;
		size_t len;
	} rows[] = {
	    {"empty", MESSAGE("")},
	    {"no user", MESSAGE(" 0123456789abcdef0123456789abcdef")},
	    {"upper case", MESSAGE("alice 0123456789ABCDEF0123456789abcdef")},
	    {"31 digits", MESSAGE("alice 123456789abcdef0123456789abcdef")},
	    {"33 digits", MESSAGE("alice 00123456789abcdef0123456789abcdef")},
	    {"octets after it", MESSAGE("alice 0123456789abcdef0123456789abcdef ")},
	    {"a NUL after it", MESSAGE("alice 0123456789abcdef0123456789abcdef\0")},
	    {"a NUL in the user", MESSAGE("al\0ice 0123456789abcdef0123456789abcdef")},
	    {"only wrong", MESSAGE("alice 0123456789abcdef0123456789abcdef")},
	};

	(void)state;
	assert_int_equal(strlen(good), 32);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct saslx *server = saslx_new(&(struct saslx_connection){.tls = true});

		assert_int_equal(saslx_start(server, "CRAM-MD5", NULL, 0), SASLX_MORE);
		if (saslx_step(server, rows[i].response, rows[i].len) != SASLX_REFUSED)
			fail_msg("%s: not refused", rows[i].sentence);
		saslx_free(&server);
	}
}

static void hex_md5(const char *a, const char *b, char *hex_r)
{
	unsigned char md5[16];
	char text[1024];

	snprintf(text, sizeof(text), "%s%s", a, b);
	EVP_Digest(text, strlen(text), md5, NULL, EVP_md5(), NULL);
	for (size_t i = 0; i < sizeof(md5); i++)
		snprintf(hex_r + 2 * i, 3, "%02x", md5[i]);
}

static void hex_hmac_md5(const char *key, const void *text, size_t len, char *hex_r)
{
	unsigned char mac[16];

	HMAC(EVP_md5(), key, (int)strlen(key), text, len, mac, NULL);
	for (size_t i = 0; i < sizeof(mac); i++)
		snprintf(hex_r + 2 * i, 3, "%02x", mac[i]);
}

/* RFC 2195 section 2, first its example, then the same digest for a challenge of ours. */
static void cram_md5_by_hand(void **state)
{
	static const char example[] = "<1896.697170952@postoffice.reston.mci.net>";
	char seen[50][128], response[64], hex[33];

	(void)state;
	hex_hmac_md5("tanstaaftanstaaf", example, sizeof(example) - 1, hex);
	assert_string_equal(hex, "b913a602c7eda7a495b4e6e7334d3890");
	for (size_t i = 0; i < 50; i++) {
		struct saslx *server = saslx_new(&(struct saslx_connection){.tls = true});
		const char *challenge;
		size_t len;

		assert_int_equal(saslx_start(server, "CRAM-MD5", NULL, 0), SASLX_MORE);
		challenge = saslx_challenge(server, &len);
		snprintf(seen[i], sizeof(seen[i]), "%.*s", (int)len, challenge);
		assert_non_null(strstr(seen[i], "@localhost>"));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(seen[i], seen[j]);
		hex_hmac_md5(ALICE_PASSWORD, challenge, len, hex);
		snprintf(response, sizeof(response), "alice %s", hex);
		assert_int_equal(saslx_step(server, response, strlen(response)), SASLX_DONE);
		assert_string_equal(world_user(server), "alice");
		saslx_free(&server);
	}
}

/* RFC 1939 section 7, before the same digest is made for timestamps of ours. */
static void apop_example_of_the_rfc(void **state)
{
	char hex[33];

	(void)state;
	hex_md5("<1896.697170952@dbc.mtview.ca.us>", "tanstaaf", hex);
	assert_string_equal(hex, "c4c9334bac560ecc979e58001b3e22fb");
}

static void apop_logs_in_once(void **state)
{
	static const struct {
		const char *sentence, *user, *password;
		bool upper, longer;
		enum saslx_outcome want;
	} rows[] = {
	    {"right", "alice", ALICE_PASSWORD, false, false, SASLX_DONE},
	    {"wrong", "alice", "x", false, false, SASLX_REFUSED},
	    {"no password kept", "bob", BOB_PASSWORD, false, false, SASLX_REFUSED},
	    {"unknown", "carol", "x", false, false, SASLX_REFUSED},
	    {"upper case", "alice", ALICE_PASSWORD, true, false, SASLX_REFUSED},
	    {"octets after it", "alice", ALICE_PASSWORD, false, true, SASLX_REFUSED},
	    {"hostile name", "../\n", ALICE_PASSWORD, false, false, SASLX_REFUSED},
	};
	char seen[sizeof(rows) / sizeof(rows[0])][400];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct saslx *server = saslx_new(&(struct saslx_connection){.tls = false});
		const char *timestamp = saslx_apop_begin(server);
		char digest[40];

		assert_non_null(timestamp);
		assert_true(timestamp[0] == '<' && strstr(timestamp, "@localhost>") != NULL);
		snprintf(seen[i], sizeof(seen[i]), "%s", timestamp);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(seen[i], seen[j]);
		hex_md5(timestamp, rows[i].password, digest);
		if (rows[i].upper)
			for (char *at = digest; *at != '\0'; at++)
				*at = (char)(*at >= 'a' ? *at - 32 : *at);
		if (rows[i].longer)
			strcat(digest, "0");
		if (saslx_apop(server, rows[i].user, digest) != rows[i].want)
			fail_msg("%s: %s", rows[i].sentence, saslx_why(server));
		assert_string_equal(world_user(server), rows[i].want == SASLX_DONE ? rows[i].user : "");
		assert_int_equal(saslx_apop(server, rows[i].user, digest), SASLX_ERROR);
		saslx_free(&server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cram_md5_is_strict),
	    cmocka_unit_test(cram_md5_by_hand),
	    cmocka_unit_test(apop_example_of_the_rfc),
	    cmocka_unit_test(apop_logs_in_once),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
