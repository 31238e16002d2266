/* SPDX-License-Identifier: ISC */
/* What GSSAPI offers and takes at the end of a login: RFC 4752 section 3.3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gssapi/gssapi.h>

#include "sasl/layer.h"
#include "tests/sasl/gss_client.h"

#define INTEGRITY (GSS_C_MUTUAL_FLAG | GSS_C_SEQUENCE_FLAG | GSS_C_INTEG_FLAG)
#define CONFIDENTIALITY (INTEGRITY | GSS_C_CONF_FLAG)

static void offers(void **state)
{
	static const struct {
		const char *sentence;
		bool tls;
		unsigned layers;
		OM_uint32 flags;
		uint8_t want[4];
	} rows[] = {
	    {"none are allowed", false, 0, CONFIDENTIALITY, {1, 0, 0, 0}},
	    {"none are allowed, nothing was asked for", false, 0, 0, {1, 0, 0, 0}},
	    {"all are allowed", false, 7, CONFIDENTIALITY, {7, 0, 64, 0}},
	    {"integrity is allowed", false, 3, CONFIDENTIALITY, {3, 0, 64, 0}},
	    {"confidentiality is demanded", false, 4, CONFIDENTIALITY, {4, 0, 64, 0}},
	    {"integrity was asked for, which MIT takes for both", false, 7, INTEGRITY, {7, 0, 64, 0}},
	    {"sequence was not asked for", false, 7, CONFIDENTIALITY & ~(OM_uint32)GSS_C_SEQUENCE_FLAG,
		{1, 0, 0, 0}},
	    {"mutual authentication was not asked for", false, 7,
		CONFIDENTIALITY & ~(OM_uint32)GSS_C_MUTUAL_FLAG, {1, 0, 0, 0}},
	    {"nothing was asked for", false, 7, 0, {1, 0, 0, 0}},
	    {"inside TLS", true, 7, CONFIDENTIALITY, {1, 0, 0, 0}},
	    {"inside TLS, demanded without", true, 4, CONFIDENTIALITY, {1, 0, 0, 0}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		gss_buffer_desc offer, plain = GSS_C_EMPTY_BUFFER, wrapped = GSS_C_EMPTY_BUFFER;
		struct gss_client client;
		struct saslx *server;
		OM_uint32 minor;
		int conf = 1;

		struct saslx_connection connection =
		    (struct saslx_connection){.tls = rows[i].tls, .layers = rows[i].layers};
		server = gss_client_until_offer(&client, &connection, rows[i].flags);
		offer.value = (void *)(uintptr_t)saslx_challenge(server, &offer.length);
		assert_int_equal(
		    gss_unwrap(&minor, client.context, &offer, &plain, &conf, NULL), GSS_S_COMPLETE);
		assert_int_equal(conf, 0);
		assert_int_equal(plain.length, 4);
		if (memcmp(plain.value, rows[i].want, 4) != 0)
			fail_msg("%s: %d", rows[i].sentence, *(uint8_t *)plain.value);
		gss_client_wrap(&client, "\1\0\0\0", 4, &wrapped);
		assert_int_equal(saslx_step(server, wrapped.value, wrapped.length),
		    (rows[i].want[0] & 1) != 0 ? SASLX_DONE : SASLX_REFUSED);
		assert_null(saslx_layer(server));
		gss_release_buffer(&minor, &plain);
		gss_release_buffer(&minor, &wrapped);
		gss_client_end(&client);
		saslx_free(&server);
	}
}

#define CHOICE(text) text, sizeof(text) - 1

static void take_command(const struct saslx_layer *exported, struct gss_client *client)
{
	gss_buffer_desc plain = {.length = 6, .value = (void *)(uintptr_t) "NOOP\r\n"};
	gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
	struct layer *layer = layer_import(exported->octets_secret, exported->len);
	OM_uint32 minor;
	size_t at, len;

	assert_non_null(layer);
	assert_int_equal(gss_wrap(&minor, client->context, exported->kind == SASLX_LAYER_CONFIDENTIALITY,
			     GSS_C_QOP_DEFAULT, &plain, NULL, &token),
	    GSS_S_COMPLETE);
	assert_int_equal(layer_unwrap(layer, token.value, token.length, &at, &len), LAYER_OK);
	assert_int_equal(len, 6);
	assert_memory_equal((uint8_t *)token.value + at, "NOOP\r\n", 6);
	gss_release_buffer(&minor, &token);
	layer_free(&layer);
}

static void choices_of_a_layer(void **state)
{
	static const struct {
		const char *sentence;
		unsigned layers;
		const char *choice;
		size_t len;
		enum saslx_layers want; /* 0: refused */
	} rows[] = {
	    {"integrity", 7, CHOICE("\2\0\377\377alice"), SASLX_LAYER_INTEGRITY},
	    {"confidentiality", 7, CHOICE("\4\0\377\377"), SASLX_LAYER_CONFIDENTIALITY},
	    {"all a size can say", 7, CHOICE("\4\377\377\377"), SASLX_LAYER_CONFIDENTIALITY},
	    {"as little as we do it for", 7, CHOICE("\4\0\1\0"), SASLX_LAYER_CONFIDENTIALITY},
	    {"one octet less", 7, CHOICE("\4\0\0\377"), 0},
	    {"no size", 7, CHOICE("\2\0\0\0alice"), 0},
	    {"both layers", 7, CHOICE("\6\0\377\377"), 0},
	    {"all", 7, CHOICE("\7\0\377\377"), 0},
	    {"a bit that means nothing", 7, CHOICE("\10\0\377\377"), 0},
	    {"nothing", 7, CHOICE("\0\0\377\377"), 0},
	    {"none where a layer is demanded", 6, CHOICE("\1\0\0\0alice"), 0},
	    {"integrity where confidentiality is demanded", 4, CHOICE("\2\0\377\377"), 0},
	    {"confidentiality where integrity is all there is", 3, CHOICE("\4\0\377\377"), 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		gss_buffer_desc wrapped = GSS_C_EMPTY_BUFFER;
		struct gss_client client;
		struct saslx *server;
		OM_uint32 minor;

		struct saslx_connection connection = (struct saslx_connection){.layers = rows[i].layers};
		server = gss_client_until_offer(&client, &connection, CONFIDENTIALITY);
		gss_client_wrap(&client, rows[i].choice, rows[i].len, &wrapped);
		if (saslx_step(server, wrapped.value, wrapped.length) !=
		    (rows[i].want != 0 ? SASLX_DONE : SASLX_REFUSED))
			fail_msg("%s: %s", rows[i].sentence, saslx_why(server));
		if (rows[i].want != 0) {
			assert_int_equal(saslx_layer(server)->kind, rows[i].want);
			take_command(saslx_layer(server), &client);
		} else {
			assert_null(saslx_layer(server));
		}
		gss_release_buffer(&minor, &wrapped);
		gss_client_end(&client);
		saslx_free(&server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(offers),
	    cmocka_unit_test(choices_of_a_layer),
	};

	return cmocka_run_group_tests(tests, gss_realm_setup, gss_realm_teardown);
}
