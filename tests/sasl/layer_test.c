/* SPDX-License-Identifier: ISC */
/* Our layer against MIT's own gss_wrap and gss_unwrap, in contexts made with tickets of a real KDC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>

#include "sasl/layer.h"
#include "sasl/layer_export.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char realm[] = "/tmp/kpopd-layer-XXXXXX";
static gss_cred_id_t acceptor;

static const krb5_enctype enctypes[] = {ENCTYPE_AES128_CTS_HMAC_SHA1_96, ENCTYPE_AES256_CTS_HMAC_SHA1_96,
    ENCTYPE_AES128_CTS_HMAC_SHA256_128, ENCTYPE_AES256_CTS_HMAC_SHA384_192};
static const enum layer_kind kinds[] = {LAYER_INTEGRITY, LAYER_CONFIDENTIALITY};

static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int run(const char *format, ...)
{
	char command[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return system(command);
}

static int realm_sh(const char *verb, const char *rest)
{
	const char *source = getenv("KPOPD_SRCDIR");

	return run("%s/tests/system/realm.sh %s %s %s >&2", source != NULL ? source : ".", verb, realm, rest);
}

static int setup(void **state)
{
	char text[512];
	gss_key_value_element_desc elements[] = {{"keytab", text}, {"rcache", "none:"}};
	gss_key_value_set_desc store = {.count = 2, .elements = elements};
	gss_OID_set_desc mechanisms = {.count = 1, .elements = (gss_OID)(uintptr_t)gss_mech_krb5};
	OM_uint32 minor;

	(void)state;
	if (mkdtemp(realm) == NULL || realm_sh("start", "") != 0)
		return -1;
	snprintf(text, sizeof(text), "%s/krb5.conf", realm);
	setenv("KRB5_CONFIG", text, 1);
	snprintf(text, sizeof(text), "FILE:%s/cc", realm);
	setenv("KRB5CCNAME", text, 1);
	/* The KDC gives session keys of enctypes that the service has. */
	snprintf(text, sizeof(text),
	    "pop/four %s/four.keytab aes128-cts-hmac-sha1-96:normal,aes256-cts-hmac-sha1-96:normal,"
	    "aes128-cts-hmac-sha256-128:normal,aes256-cts-hmac-sha384-192:normal",
	    realm);
	if (realm_sh("service", text) != 0 || run("echo alice-krb | kinit alice > /dev/null") != 0)
		return -1;
	snprintf(text, sizeof(text), "FILE:%s/four.keytab", realm);
	return gss_acquire_cred_from(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &mechanisms, GSS_C_ACCEPT,
		   &store, &acceptor, NULL, NULL) == GSS_S_COMPLETE
		   ? 0
		   : -1;
}

static int teardown(void **state)
{
	OM_uint32 minor;

	(void)state;
	gss_release_cred(&minor, &acceptor);
	realm_sh("stop", "");
	return run("rm -rf %s", realm) == 0 ? 0 : -1;
}

/* A client's context, and what the server's became. */
struct pair {
	gss_ctx_id_t client;
	enum layer_kind kind;
	uint8_t exported[LAYER_EXPORTED_OCTETS];
	size_t exported_len;
	struct layer *layer;
};

#define FLAGS (GSS_C_MUTUAL_FLAG | GSS_C_SEQUENCE_FLAG | GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG)

static gss_cred_id_t client_credential(krb5_enctype enctype)
{
	gss_OID_set_desc mechanisms = {.count = 1, .elements = (gss_OID)(uintptr_t)gss_mech_krb5};
	gss_cred_id_t credential = GSS_C_NO_CREDENTIAL;
	OM_uint32 minor;

	assert_int_equal(gss_acquire_cred(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &mechanisms,
			     GSS_C_INITIATE, &credential, NULL, NULL),
	    GSS_S_COMPLETE);
	assert_int_equal(gss_krb5_set_allowable_enctypes(&minor, credential, 1, &enctype), GSS_S_COMPLETE);
	return credential;
}

/* Both contexts, the server's still whole. */
static void contexts(krb5_enctype enctype, OM_uint32 flags, gss_ctx_id_t *client_r, gss_ctx_id_t *server_r)
{
	gss_buffer_desc name = {.length = 8, .value = (void *)(uintptr_t) "pop@four"};
	gss_buffer_desc there = GSS_C_EMPTY_BUFFER, back = GSS_C_EMPTY_BUFFER;
	gss_cred_id_t credential = client_credential(enctype);
	gss_name_t target = GSS_C_NO_NAME;
	OM_uint32 minor, major;

	*client_r = *server_r = GSS_C_NO_CONTEXT;
	assert_int_equal(gss_import_name(&minor, &name, GSS_C_NT_HOSTBASED_SERVICE, &target), GSS_S_COMPLETE);
	major = gss_init_sec_context(&minor, credential, client_r, target, (gss_OID)gss_mech_krb5, flags, 0,
	    GSS_C_NO_CHANNEL_BINDINGS, GSS_C_NO_BUFFER, NULL, &there, NULL, NULL);
	assert_false(GSS_ERROR(major));
	assert_int_equal(gss_accept_sec_context(&minor, server_r, acceptor, &there, GSS_C_NO_CHANNEL_BINDINGS,
			     NULL, NULL, &back, NULL, NULL, NULL),
	    GSS_S_COMPLETE);
	gss_release_buffer(&minor, &there);
	if (major == GSS_S_CONTINUE_NEEDED)
		assert_int_equal(
		    gss_init_sec_context(&minor, credential, client_r, target, (gss_OID)gss_mech_krb5, flags,
			0, GSS_C_NO_CHANNEL_BINDINGS, &back, NULL, &there, NULL, NULL),
		    GSS_S_COMPLETE);
	gss_release_buffer(&minor, &there);
	gss_release_buffer(&minor, &back);
	gss_release_name(&minor, &target);
	gss_release_cred(&minor, &credential);
}

static gss_buffer_desc wrap(gss_ctx_id_t context, bool sealed, const void *plain, size_t len)
{
	gss_buffer_desc in = {.length = len, .value = (void *)(uintptr_t)plain};
	gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor;
	int conf = 0;

	assert_int_equal(
	    gss_wrap(&minor, context, sealed, GSS_C_QOP_DEFAULT, &in, &conf, &token), GSS_S_COMPLETE);
	assert_int_equal(conf, sealed);
	return token;
}

static gss_buffer_desc client_wrap(const struct pair *pair, const void *plain, size_t len)
{
	return wrap(pair->client, pair->kind == LAYER_CONFIDENTIALITY, plain, len);
}

static void pass(gss_ctx_id_t from, gss_ctx_id_t to)
{
	gss_buffer_desc token = wrap(from, false, "\1\2\3\4", 4), plain = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor;

	assert_int_equal(gss_unwrap(&minor, to, &token, &plain, NULL, NULL), GSS_S_COMPLETE);
	gss_release_buffer(&minor, &token);
	gss_release_buffer(&minor, &plain);
}

/* As in a login: the offer goes out, the choice comes in, then the context is exported. */
static void begin(
    struct pair *pair, krb5_enctype enctype, enum layer_kind kind, OM_uint32 flags, size_t client_max)
{
	gss_ctx_id_t server;

	memset(pair, 0, sizeof(*pair));
	pair->kind = kind;
	contexts(enctype, flags, &pair->client, &server);
	pass(server, pair->client);
	pass(pair->client, server);
	pair->exported_len = layer_export(&server, kind, client_max, 1, pair->exported);
	assert_int_not_equal(pair->exported_len, 0);
	assert_true(pair->exported_len <= LAYER_EXPORTED_OCTETS);
	assert_null(server);
	pair->layer = layer_import(pair->exported, pair->exported_len);
	assert_non_null(pair->layer);
}

static void again(struct pair *pair)
{
	layer_free(&pair->layer);
	pair->layer = layer_import(pair->exported, pair->exported_len);
	assert_non_null(pair->layer);
}

static void end(struct pair *pair)
{
	OM_uint32 minor;

	layer_free(&pair->layer);
	gss_delete_sec_context(&minor, &pair->client, GSS_C_NO_BUFFER);
}

/* Takes a copy of exactly its size apart, so that a sanitizer sees every octet too far. */
static enum layer_err take(
    struct layer *layer, const void *token, size_t len, uint8_t *plain_r, size_t *len_r)
{
	uint8_t *copy = malloc(len + (len == 0));
	size_t at;
	enum layer_err err;

	if (len > 0)
		memcpy(copy, token, len);
	err = layer_unwrap(layer, copy, len, &at, len_r);
	assert_true(at + *len_r <= len);
	if (err == LAYER_OK)
		memcpy(plain_r, copy + at, *len_r);
	else
		assert_int_equal(*len_r, 0);
	free(copy);
	return err;
}

static void fill(uint8_t *octets, size_t len)
{
	for (size_t i = 0; i < len; i++)
		octets[i] = (uint8_t)(i * 31 + len);
}

static void client_to_us(struct pair *pair, size_t len)
{
	static uint8_t plain[LAYER_RECEIVE_OCTETS], got[LAYER_RECEIVE_OCTETS];
	gss_buffer_desc token;
	OM_uint32 minor;
	size_t got_len;

	fill(plain, len);
	token = client_wrap(pair, plain, len);
	assert_int_equal(take(pair->layer, token.value, token.length, got, &got_len), LAYER_OK);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, plain, len);
	gss_release_buffer(&minor, &token);
}

static void us_to_client(struct pair *pair, size_t len, size_t size)
{
	static uint8_t plain[70000];
	uint8_t *token = malloc(size);
	gss_buffer_desc in = {.value = token}, got = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor;
	int conf = -1;

	fill(plain, len);
	assert_int_equal(layer_wrap(pair->layer, plain, len, token, size, &in.length), LAYER_OK);
	assert_true(in.length <= size);
	assert_int_equal(gss_unwrap(&minor, pair->client, &in, &got, &conf, NULL), GSS_S_COMPLETE);
	assert_int_equal(conf, pair->kind == LAYER_CONFIDENTIALITY);
	assert_int_equal(got.length, len);
	assert_memory_equal(got.value, plain, len);
	if (got.length > 0)
		gss_release_buffer(&minor, &got);
	else
		free(got.value); /* MIT's release passes over an empty buffer */
	free(token);
}

static void every_size_passes_both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(enctypes) * COUNT(kinds); i++) {
		struct pair pair;
		size_t most;

		begin(&pair, enctypes[i / 2], kinds[i % 2], FLAGS, 65536);
		most = layer_wrap_limit(pair.layer, LAYER_RECEIVE_OCTETS);
		for (size_t len = 0; len <= 300; len++) {
			client_to_us(&pair, len);
			us_to_client(&pair, len, len + LAYER_OVERHEAD_OCTETS);
		}
		for (size_t len = 301; len < most; len += 997)
			client_to_us(&pair, len);
		client_to_us(&pair, most); /* as large as we say we take */
		most = layer_wrap_limit(pair.layer, 65536);
		us_to_client(&pair, most, 65536);
		end(&pair);
	}
}

/* Without mutual authentication the acceptor asserts no subkey: the session's or the client's is used. */
static void keys_without_acceptor_subkey(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(enctypes) * COUNT(kinds); i++) {
		struct pair pair;

		begin(&pair, enctypes[i / 2], kinds[i % 2], FLAGS & ~(OM_uint32)GSS_C_MUTUAL_FLAG, 65536);
		assert_int_equal(pair.exported[3], 0);
		for (size_t len = 0; len < 100; len++) {
			client_to_us(&pair, len);
			us_to_client(&pair, len, 500);
		}
		end(&pair);
	}
}

/* What we think fits is what MIT thinks fits, for every kind and enctype. */
static void limits_are_those_of_gss_wrap_size_limit(void **state)
{
	static const size_t sizes[] = {LAYER_CLIENT_OCTETS, 257, 1000, 4096, 65535, 65536};

	(void)state;
	for (size_t i = 0; i < COUNT(enctypes) * COUNT(kinds); i++) {
		for (size_t s = 0; s < COUNT(sizes); s++) {
			uint8_t token[65536];
			struct pair pair;
			OM_uint32 minor, most = 0;
			size_t limit, len;

			begin(&pair, enctypes[i / 2], kinds[i % 2], FLAGS, sizes[s]);
			assert_int_equal(gss_wrap_size_limit(&minor, pair.client, i % 2 == 1,
					     GSS_C_QOP_DEFAULT, (OM_uint32)sizes[s], &most),
			    GSS_S_COMPLETE);
			limit = layer_wrap_limit(pair.layer, 1 << 20);
			assert_int_equal(limit, most);
			assert_int_equal(limit, layer_wrap_limit(pair.layer, sizes[s]));
			us_to_client(&pair, limit, sizes[s]);
			assert_int_equal(
			    layer_wrap(pair.layer, token, limit + 1, token, sizes[s], &len), LAYER_ERROR);
			assert_int_equal(layer_wrap_limit(pair.layer, 20), 0);
			end(&pair);
		}
	}
}

static void damaged_tokens_are_refused(void **state)
{
	static const char text[] = "DELE 1\r\nQUIT\r\n";

	(void)state;
	for (size_t i = 0; i < COUNT(enctypes) * COUNT(kinds); i++) {
		uint8_t bytes[256], plain[256];
		gss_buffer_desc token;
		OM_uint32 minor;
		struct pair pair;
		size_t len;

		begin(&pair, enctypes[i / 2], kinds[i % 2], FLAGS, 65536);
		token = client_wrap(&pair, text, sizeof(text));
		for (size_t at = 0; at < token.length; at++) {
			for (unsigned bit = 0; bit < 8; bit++) {
				memcpy(bytes, token.value, token.length);
				bytes[at] ^= (uint8_t)(1u << bit);
				again(&pair);
				if (take(pair.layer, bytes, token.length, plain, &len) == LAYER_OK)
					fail_msg("bit %u of octet %zu is not looked at", bit, at);
			}
		}
		for (len = 0; len < token.length; len++) {
			size_t got;

			again(&pair);
			assert_int_not_equal(take(pair.layer, token.value, len, plain, &got), LAYER_OK);
		}
		memset(bytes, 0, sizeof(bytes));
		memcpy(bytes, token.value, token.length);
		for (size_t more = 1; more < 40; more++) {
			again(&pair);
			assert_int_not_equal(
			    take(pair.layer, bytes, token.length + more, plain, &len), LAYER_OK);
		}
		again(&pair);
		assert_int_equal(take(pair.layer, token.value, token.length, plain, &len), LAYER_OK);
		gss_release_buffer(&minor, &token);
		end(&pair);
	}
}

static void tokens_come_once_and_in_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(enctypes) * COUNT(kinds); i++) {
		gss_buffer_desc tokens[3];
		uint8_t plain[256];
		OM_uint32 minor;
		struct pair pair;
		size_t len;

		begin(&pair, enctypes[i / 2], kinds[i % 2], FLAGS, 65536);
		for (size_t t = 0; t < 3; t++)
			tokens[t] = client_wrap(&pair, "NOOP\r\n", 6);
		assert_int_equal(take(pair.layer, tokens[0].value, tokens[0].length, plain, &len), LAYER_OK);
		assert_int_equal(
		    take(pair.layer, tokens[0].value, tokens[0].length, plain, &len), LAYER_ORDER);
		assert_int_equal(
		    take(pair.layer, tokens[2].value, tokens[2].length, plain, &len), LAYER_ORDER);
		assert_int_equal(take(pair.layer, tokens[1].value, tokens[1].length, plain, &len), LAYER_OK);
		for (size_t t = 0; t < 3; t++)
			gss_release_buffer(&minor, &tokens[t]);
		end(&pair);
	}
}

/* The number of a later token in the header of an earlier one, and other lies that the order hides. */
static void numbers_cannot_be_changed(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(enctypes) * COUNT(kinds); i++) {
		gss_buffer_desc first, second;
		uint8_t plain[256];
		OM_uint32 minor;
		struct pair pair;
		size_t len;

		begin(&pair, enctypes[i / 2], kinds[i % 2], FLAGS, 65536);
		first = client_wrap(&pair, "NOOP\r\n", 6);
		second = client_wrap(&pair, "QUIT\r\n", 6);
		memcpy((uint8_t *)second.value + 8, (uint8_t *)first.value + 8, 8);
		assert_int_equal(take(pair.layer, second.value, second.length, plain, &len), LAYER_BAD);
		gss_release_buffer(&minor, &first);
		gss_release_buffer(&minor, &second);
		end(&pair);
	}
}

/* Our own tokens sent back, another session's, and those of the other kind. */
static void tokens_of_others_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(enctypes) * COUNT(kinds); i++) {
		uint8_t token[512], plain[512];
		gss_buffer_desc other;
		struct pair pair, stranger;
		OM_uint32 minor;
		size_t len, got;

		begin(&pair, enctypes[i / 2], kinds[i % 2], FLAGS, 65536);
		begin(&stranger, enctypes[i / 2], kinds[i % 2], FLAGS, 65536);
		assert_int_equal(layer_wrap(pair.layer, "QUIT\r\n", 6, token, sizeof(token), &len), LAYER_OK);
		memcpy(token + 8, pair.exported + 16, 8);
		assert_int_equal(take(pair.layer, token, len, plain, &got), LAYER_BAD);
		token[2] &= (uint8_t)~1u; /* as if the client had sent it */
		assert_int_equal(take(pair.layer, token, len, plain, &got), LAYER_BAD);
		other = client_wrap(&stranger, "QUIT\r\n", 6);
		memcpy((uint8_t *)other.value + 8, pair.exported + 16, 8);
		assert_int_equal(take(pair.layer, other.value, other.length, plain, &got), LAYER_BAD);
		gss_release_buffer(&minor, &other);
		other = wrap(pair.client, pair.kind != LAYER_CONFIDENTIALITY, "QUIT\r\n", 6);
		assert_int_equal(take(pair.layer, other.value, other.length, plain, &got), LAYER_BAD);
		gss_release_buffer(&minor, &other);
		end(&stranger);
		end(&pair);
	}
}

/* RFC 4121 section 4.2.5: Windows rotates by 28, and any count must do, even beyond the token's end. */
static void rotated_tokens_are_turned_back(void **state)
{
	static const size_t counts[] = {1, 2, 12, 16, 24, 27, 28, 29, 40, 63, 64, 65, 1000, 32768, 65535};

	(void)state;
	for (size_t i = 0; i < COUNT(enctypes) * COUNT(kinds); i++) {
		struct pair pair;

		begin(&pair, enctypes[i / 2], kinds[i % 2], FLAGS, 65536);
		for (size_t c = 0; c < COUNT(counts); c++) {
			gss_buffer_desc token = client_wrap(&pair, "NOOP\r\n", 6);
			uint8_t bytes[256], plain[256], *from = token.value;
			size_t body = token.length - 16, rrc = (size_t)(from[6] << 8 | from[7]), got;
			OM_uint32 minor;

			memcpy(bytes, from, 16);
			for (size_t at = 0; at < body; at++)
				bytes[16 + (at + counts[c]) % body] = from[16 + at];
			rrc += counts[c];
			if (rrc > 65535)
				rrc -= 65535 / body * body;
			bytes[6] = (uint8_t)(rrc >> 8);
			bytes[7] = (uint8_t)rrc;
			assert_int_equal(take(pair.layer, bytes, token.length, plain, &got), LAYER_OK);
			assert_int_equal(got, 6);
			assert_memory_equal(plain, "NOOP\r\n", 6);
			gss_release_buffer(&minor, &token);
		}
		end(&pair);
	}
}

/* A sealed token as MIT never makes one: with ec octets of filling, and ec_copy in the header's copy. */
static size_t filled(const struct pair *pair, const char *text, size_t ec, size_t ec_copy, uint8_t *token_r)
{
	uint8_t inner[512] = {0};
	size_t len = strlen(text), inner_len, cipher_len;
	krb5_keyblock key = {.enctype = pair->exported[2],
	    .length = (unsigned)(pair->exported_len - 24),
	    .contents = (uint8_t *)(uintptr_t)pair->exported + 24};
	krb5_data plain = {.data = (char *)inner};
	krb5_enc_data cipher = {.ciphertext = {.data = (char *)token_r + 16}};

	memset(token_r, 0, 16);
	memcpy(token_r, "\5\4\6\377", 4);
	token_r[5] = (uint8_t)ec_copy;
	memcpy(token_r + 8, pair->exported + 16, 8);
	memcpy(inner, text, len);
	memcpy(inner + len + ec, token_r, 16);
	token_r[5] = (uint8_t)ec;
	inner_len = len + ec + 16;
	plain.length = (unsigned)inner_len;
	assert_int_equal(krb5_c_encrypt_length(NULL, key.enctype, inner_len, &cipher_len), 0);
	cipher.ciphertext.length = (unsigned)cipher_len;
	assert_int_equal(krb5_c_encrypt(NULL, &key, 24, NULL, &plain, &cipher), 0);
	return 16 + cipher_len;
}

static void filling_is_taken_off(void **state)
{
	static const struct {
		const char *sentence;
		size_t ec, ec_copy;
		enum layer_err want;
	} rows[] = {
	    {"none", 0, 0, LAYER_OK},
	    {"one octet", 1, 1, LAYER_OK},
	    {"a block", 16, 16, LAYER_OK},
	    {"more", 200, 200, LAYER_OK},
	    {"some that the sender did not mean", 3, 0, LAYER_BAD},
	    {"none though the sender had some", 0, 3, LAYER_BAD},
	};

	(void)state;
	for (size_t e = 0; e < COUNT(enctypes); e++) {
		struct pair pair;

		begin(&pair, enctypes[e], LAYER_CONFIDENTIALITY, FLAGS, 65536);
		for (size_t i = 0; i < COUNT(rows); i++) {
			uint8_t token[1024], plain[1024];
			size_t len = filled(&pair, "NOOP\r\n", rows[i].ec, rows[i].ec_copy, token), got;

			again(&pair);
			if (take(pair.layer, token, len, plain, &got) != rows[i].want)
				fail_msg("filling: %s", rows[i].sentence);
			assert_int_equal(got, rows[i].want == LAYER_OK ? 6 : 0);
		}
		end(&pair);
	}
}

static void longer_tokens_than_announced_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(enctypes) * COUNT(kinds); i++) {
		static uint8_t plain[LAYER_RECEIVE_OCTETS];
		gss_buffer_desc token;
		struct pair pair;
		OM_uint32 minor;
		size_t most, got;

		begin(&pair, enctypes[i / 2], kinds[i % 2], FLAGS, 65536);
		most = layer_wrap_limit(pair.layer, LAYER_RECEIVE_OCTETS);
		token = client_wrap(&pair, plain, most + 1);
		assert_int_equal(take(pair.layer, token.value, token.length, plain, &got), LAYER_BAD);
		gss_release_buffer(&minor, &token);
		end(&pair);
	}
}

static void unsound_exports_are_not_imported(void **state)
{
	static const struct {
		const char *sentence;
		size_t at;
		uint8_t octet;
	} rows[] = {
	    {"another version", 0, 2},
	    {"no kind", 1, 0},
	    {"the kind of no layer", 1, 1},
	    {"two kinds", 1, 6},
	    {"an unknown kind", 1, 8},
	    {"RC4", 2, 23},
	    {"triple DES", 2, 16},
	    {"Camellia", 2, 26},
	    {"a shorter key", 2, 17},
	    {"no enctype", 2, 0},
	    {"a strange flag", 3, 2},
	    {"a maximum of more than three octets", 4, 1},
	};
	struct pair pair;

	(void)state;
	begin(&pair, ENCTYPE_AES256_CTS_HMAC_SHA1_96, LAYER_INTEGRITY, FLAGS, 65536);
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint8_t octets[LAYER_EXPORTED_OCTETS];

		memcpy(octets, pair.exported, sizeof(octets));
		octets[rows[i].at] = rows[i].octet;
		if (layer_import(octets, pair.exported_len) != NULL)
			fail_msg("%s is imported", rows[i].sentence);
	}
	for (size_t len = 0; len < pair.exported_len; len++)
		assert_null(layer_import(pair.exported, len));
	memset(pair.exported + 4, 0, 4); /* a maximum below what must fit */
	pair.exported[7] = LAYER_CLIENT_OCTETS - 1;
	assert_null(layer_import(pair.exported, pair.exported_len));
	end(&pair);
}

static void a_layer_says_what_it_is(void **state)
{
	static const struct {
		krb5_enctype enctype;
		enum layer_kind kind;
		const char *want;
	} rows[] = {
	    {ENCTYPE_AES128_CTS_HMAC_SHA1_96, LAYER_INTEGRITY, "integrity aes128-cts-hmac-sha1-96"},
	    {ENCTYPE_AES256_CTS_HMAC_SHA384_192, LAYER_CONFIDENTIALITY,
		"confidentiality aes256-cts-hmac-sha384-192"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pair pair;

		begin(&pair, rows[i].enctype, rows[i].kind, FLAGS, 65536);
		assert_string_equal(layer_description(pair.layer), rows[i].want);
		end(&pair);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_size_passes_both_ways),
	    cmocka_unit_test(keys_without_acceptor_subkey),
	    cmocka_unit_test(limits_are_those_of_gss_wrap_size_limit),
	    cmocka_unit_test(damaged_tokens_are_refused),
	    cmocka_unit_test(tokens_come_once_and_in_order),
	    cmocka_unit_test(numbers_cannot_be_changed),
	    cmocka_unit_test(tokens_of_others_are_refused),
	    cmocka_unit_test(rotated_tokens_are_turned_back),
	    cmocka_unit_test(filling_is_taken_off),
	    cmocka_unit_test(longer_tokens_than_announced_are_refused),
	    cmocka_unit_test(unsound_exports_are_not_imported),
	    cmocka_unit_test(a_layer_says_what_it_is),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
