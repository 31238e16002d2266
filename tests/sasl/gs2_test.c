/* SPDX-License-Identifier: ISC */
/* GS2-KRB5 and GS2-KRB5-PLUS against a real KDC, with a client of our own that may lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_krb5.h>

#include "tests/sasl/world.h"

#define MESSAGE_OCTETS 4096u

static struct world world;
static char realm[] = "/tmp/kpopd-realm-XXXXXX";
static const char *const mechanisms[] = {"GS2-KRB5-PLUS", "GS2-KRB5", NULL};

static int realm_sh(const char *verb)
{
	const char *source = getenv("KPOPD_SRCDIR");
	char command[512];

	snprintf(command, sizeof(command), "%s/tests/system/realm.sh %s %s >&2",
	    source != NULL ? source : ".", verb, realm);
	return system(command);
}

static int setup(void **state)
{
	char text[256], keytab[128];

	(void)state;
	if (mkdtemp(realm) == NULL || realm_sh("start") != 0)
		return -1;
	snprintf(text, sizeof(text), "%s/krb5.conf", realm);
	setenv("KRB5_CONFIG", text, 1);
	snprintf(text, sizeof(text), "FILE:%s/cc", realm);
	setenv("KRB5CCNAME", text, 1);
	if (system("echo alice-krb | kinit alice > /dev/null") != 0)
		return -1;
	snprintf(keytab, sizeof(keytab), "%s/krb5.keytab", realm);
	return world_start(&world, mechanisms, keytab, NULL);
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	world_stop(&world);
	realm_sh("stop");
	snprintf(command, sizeof(command), "rm -rf %s", realm);
	return system(command) == 0 ? 0 : -1;
}

static const struct saslx_binding exporter = {SASLX_TLS_EXPORTER, 32, "an exporter's value, 32 octets "};
static const struct saslx_binding end_point = {SASLX_TLS_SERVER_END_POINT, 5, "point"};

static struct saslx_connection tls(enum saslx_binding_policy policy)
{
	return (struct saslx_connection){.tls = true,
	    .binding_policy = policy,
	    .bindings_offered = policy == SASLX_BINDING_OFF ? 0 : 3,
	    .bindings = {exporter, end_point},
	    .binding_count = 2};
}

struct client {
	gss_ctx_id_t context;
	gss_name_t target;
	uint8_t message[MESSAGE_OCTETS];
	size_t len;
};

/* What a client does: says header, and binds its ticket to bound (NULL: to nothing). */
struct lie {
	const char *header;
	const char *bound;
	size_t bound_len;
	OM_uint32 flags;
	bool framed;   /* leave the token's frame on */
	size_t behind; /* octets after it */
};

static void client_begin(struct client *client, const struct lie *lie)
{
	gss_buffer_desc name = {.length = 13, .value = (void *)(uintptr_t) "pop@localhost"};
	gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
	struct gss_channel_bindings_struct bindings = {
	    .application_data = {.length = lie->bound_len, .value = (void *)(uintptr_t)lie->bound}};
	OM_uint32 minor;
	const uint8_t *at;
	size_t skip;

	memset(client, 0, sizeof(*client));
	assert_int_equal(
	    gss_import_name(&minor, &name, GSS_C_NT_HOSTBASED_SERVICE, &client->target), GSS_S_COMPLETE);
	assert_false(GSS_ERROR(gss_init_sec_context(&minor, GSS_C_NO_CREDENTIAL, &client->context,
	    client->target, (gss_OID)gss_mech_krb5, lie->flags, 0, lie->bound != NULL ? &bindings : NULL,
	    NULL, NULL, &token, NULL, NULL)));
	at = token.value;
	/* Tag and length, then the object identifier. */
	skip = lie->framed ? 0 : 2 + (at[1] >= 0x80 ? at[1] & 0x7fu : 0) + 11;
	client->len = strlen(lie->header);
	memcpy(client->message, lie->header, client->len);
	memcpy(client->message + client->len, at + skip, token.length - skip);
	client->len += token.length - skip + lie->behind;
	gss_release_buffer(&minor, &token);
}

static void client_end(struct client *client)
{
	OM_uint32 minor;

	gss_release_name(&minor, &client->target);
	gss_delete_sec_context(&minor, &client->context, GSS_C_NO_BUFFER);
}

/* The server's last token proves it, and is answered with nothing. */
static enum saslx_outcome client_finish(struct client *client, struct saslx *server)
{
	gss_buffer_desc in, out = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor, flags = 0;

	in.value = (void *)(uintptr_t)saslx_challenge(server, &in.length);
	assert_int_equal(
	    gss_init_sec_context(&minor, GSS_C_NO_CREDENTIAL, &client->context, client->target,
		(gss_OID)gss_mech_krb5, GSS_C_MUTUAL_FLAG, 0, NULL, &in, NULL, &out, &flags, NULL),
	    GSS_S_COMPLETE);
	assert_int_equal(out.length, 0);
	assert_true((flags & GSS_C_MUTUAL_FLAG) != 0);
	return saslx_step(server, "", 0);
}

/* Who has logged in, and what he bound to. */
static void assert_alice(struct saslx *server, const char *authzid, const char *header)
{
	assert_true(saslx_identity(server)->kerberos);
	assert_string_equal(saslx_identity(server)->name, "alice@KPOPD.TEST");
	assert_string_equal(saslx_identity(server)->authzid, authzid);
	assert_null(saslx_layer(server));
	if (strstr(header, "p=") == NULL)
		assert_null(saslx_identity(server)->binding);
	else
		assert_non_null(strstr(header, saslx_identity(server)->binding));
}

static void logins(void **state)
{
	const struct saslx_connection clear = {.binding_policy = SASLX_BINDING_ALLOW},
				      off = tls(SASLX_BINDING_OFF), allow = tls(SASLX_BINDING_ALLOW),
				      require = tls(SASLX_BINDING_REQUIRE);
#define EXPORTER "an exporter's value, 32 octets "
#define BOUND(text) .bound = (text), .bound_len = sizeof(text) - 1, .flags = GSS_C_MUTUAL_FLAG
	static const char plain[] = "GS2-KRB5", plus[] = "GS2-KRB5-PLUS";
	const struct {
		const char *sentence, *mechanism;
		const struct saslx_connection *connection;
		struct lie lie;
		enum saslx_outcome want;
		const char *authzid;
	} rows[] = {
	    {"in clear", plain, &clear, {.header = "n,,", BOUND("n,,")}, SASLX_DONE, ""},
	    {"in clear, not asked", plain, &clear, {.header = "y,,", BOUND("y,,")}, SASLX_DONE, ""},
	    {"unable under TLS", plain, &allow, {.header = "n,,", BOUND("n,,")}, SASLX_DONE, ""},
	    {"to act as another", plain, &allow, {.header = "n,a=bob,", BOUND("n,a=bob,")}, SASLX_DONE,
		"bob"},
	    {"to act as a name with a comma", plain, &allow, {.header = "n,a=b=2Cob,", BOUND("n,a=b=2Cob,")},
		SASLX_REFUSED, ""},
	    {"bound to the exporter", plus, &allow,
		{.header = "p=tls-exporter,,", BOUND("p=tls-exporter,," EXPORTER "\0")}, SASLX_DONE, ""},
	    {"bound, without -PLUS", plain, &allow,
		{.header = "p=tls-exporter,,", BOUND("p=tls-exporter,," EXPORTER "\0")}, SASLX_DONE, ""},
	    {"bound to the certificate", plus, &require,
		{.header = "p=tls-server-end-point,a=alice,", BOUND("p=tls-server-end-point,a=alice,point")},
		SASLX_DONE, "alice"},
	    {"framed, with the flag", plus, &require,
		{.header = "F,p=tls-server-end-point,,",
		    BOUND("p=tls-server-end-point,,point"),
		    .framed = true},
		SASLX_DONE, ""},
	    {"framed, without it", plain, &clear, {.header = "n,,", BOUND("n,,"), .framed = true},
		SASLX_REFUSED, ""},
	    {"the flag without a frame", plain, &clear, {.header = "F,n,,", BOUND("n,,")}, SASLX_REFUSED, ""},
	    {"the flag, and bound to it", plain, &clear, {.header = "F,n,,", BOUND("F,n,,"), .framed = true},
		SASLX_REFUSED, ""},
	    {"bound to another value", plus, &allow,
		{.header = "p=tls-server-end-point,,", BOUND("p=tls-server-end-point,,paint")}, SASLX_REFUSED,
		""},
	    {"bound to the value of another type", plus, &allow,
		{.header = "p=tls-exporter,,", BOUND("p=tls-exporter,,point")}, SASLX_REFUSED, ""},
	    {"bound to the header alone", plus, &allow,
		{.header = "p=tls-server-end-point,,", BOUND("p=tls-server-end-point,,")}, SASLX_REFUSED, ""},
	    {"bound to the value alone", plus, &allow, {.header = "p=tls-server-end-point,,", BOUND("point")},
		SASLX_REFUSED, ""},
	    {"bound to another header", plain, &clear, {.header = "n,,", BOUND("y,,")}, SASLX_REFUSED, ""},
	    {"bound to a header with another name", plain, &clear, {.header = "n,a=bob,", BOUND("n,,")},
		SASLX_REFUSED, ""},
	    {"bound to nothing", plain, &clear, {.header = "n,,", .flags = GSS_C_MUTUAL_FLAG}, SASLX_REFUSED,
		""},
	    {"said to be bound, but is not", plus, &allow,
		{.header = "p=tls-server-end-point,,", .flags = GSS_C_MUTUAL_FLAG}, SASLX_REFUSED, ""},
	    {"does not ask who we are", plain, &clear, {.header = "n,,", .bound = "n,,", .bound_len = 3},
		SASLX_REFUSED, ""},
	    {"octets behind", plain, &clear, {.header = "n,,", BOUND("n,,"), .behind = 1}, SASLX_REFUSED, ""},
	    {"a type we do not have here", plus, &allow,
		{.header = "p=tls-unique,,", BOUND("p=tls-unique,,")}, SASLX_REFUSED, ""},
	    {"bound in clear", plus, &clear, {.header = "p=tls-exporter,,", BOUND("p=tls-exporter,,")},
		SASLX_REFUSED, ""},
	    {"unable under -PLUS", plus, &allow, {.header = "n,,", BOUND("n,,")}, SASLX_REFUSED, ""},
	    {"not asked, but was", plain, &allow, {.header = "y,,", BOUND("y,,")}, SASLX_REFUSED, ""},
	    {"not asked, where it is off", plain, &off, {.header = "y,,", BOUND("y,,")}, SASLX_DONE, ""},
	    {"bound, where it is off", plus, &off,
		{.header = "p=tls-server-end-point,,", BOUND("p=tls-server-end-point,,point")}, SASLX_REFUSED,
		""},
	    {"unable, where it is required", plain, &require, {.header = "n,,", BOUND("n,,")}, SASLX_REFUSED,
		""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct saslx *server = saslx_new(rows[i].connection);
		struct client client;
		enum saslx_outcome outcome;

		client_begin(&client, &rows[i].lie);
		if (i % 2 == 0) {
			outcome = saslx_start(server, rows[i].mechanism, client.message, client.len);
		} else {
			assert_int_equal(saslx_start(server, rows[i].mechanism, NULL, 0), SASLX_MORE);
			outcome = saslx_step(server, client.message, client.len);
		}
		if (outcome == SASLX_MORE)
			outcome = client_finish(&client, server);
		if (outcome != rows[i].want)
			fail_msg("%s: %d, %s", rows[i].sentence, (int)outcome, saslx_why(server));
		if (outcome == SASLX_DONE)
			assert_alice(server, rows[i].authzid, rows[i].lie.header);
		client_end(&client);
		saslx_free(&server);
	}
}

static enum saslx_outcome first_message(const void *message, size_t len)
{
	struct saslx *server = saslx_new(&(struct saslx_connection){.binding_policy = SASLX_BINDING_ALLOW});
	enum saslx_outcome outcome = saslx_start(server, "GS2-KRB5", message, len);

	saslx_free(&server);
	return outcome;
}

static void cut_and_changed_messages(void **state)
{
	static const struct lie honest = {.header = "n,a=alice,", BOUND("n,a=alice,")};
	struct client client;
	uint8_t *exact;

	(void)state;
	client_begin(&client, &honest);
	for (size_t len = 0; len < client.len; len++) {
		/* Of its own size each, so that a sanitizer sees a read past the end. */
		exact = malloc(len > 0 ? len : 1);
		memcpy(exact, client.message, len);
		assert_int_equal(first_message(exact, len), SASLX_REFUSED);
		free(exact);
	}
	for (size_t at = 0; at < 16; at++) {
		client.message[at] ^= 0x04;
		assert_int_equal(first_message(client.message, client.len), SASLX_REFUSED);
		client.message[at] ^= 0x04;
	}
	/* Its ticket may have been looked at before its header was found wrong: that is a replay, as the
	 * next. */
	client_end(&client);
	client_begin(&client, &honest);
	assert_int_equal(first_message(client.message, client.len), SASLX_MORE);
	assert_int_equal(first_message(client.message, client.len), SASLX_REFUSED);
	client_end(&client);
}

static void the_last_answer_is_empty(void **state)
{
	static const struct lie honest = {.header = "n,,", BOUND("n,,")};
	struct saslx *server = saslx_new(&(struct saslx_connection){.binding_policy = SASLX_BINDING_ALLOW});
	struct client client;

	(void)state;
	client_begin(&client, &honest);
	assert_int_equal(saslx_start(server, "GS2-KRB5", client.message, client.len), SASLX_MORE);
	assert_int_equal(saslx_step(server, client.message, client.len), SASLX_REFUSED);
	client_end(&client);
	saslx_free(&server);
}

static void stock_client_logs_in(void **state)
{
	(void)state;
	assert_true(saslx_usable("GS2-KRB5") && saslx_usable("gs2-krb5-plus") && !saslx_usable("GSSAPI"));
	for (int initial = 0; initial < 2; initial++) {
		struct talk talk = world_talk("GS2-KRB5", "", "alice", "", initial != 0);

		if (talk.outcome != SASLX_DONE)
			fail_msg("%d, %s", (int)talk.outcome, talk.why);
		assert_string_equal(talk.user, "alice@KPOPD.TEST");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(logins),
	    cmocka_unit_test(cut_and_changed_messages),
	    cmocka_unit_test(the_last_answer_is_empty),
	    cmocka_unit_test(stock_client_logs_in),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
