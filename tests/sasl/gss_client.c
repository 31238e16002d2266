/* SPDX-License-Identifier: ISC */
#include "tests/sasl/gss_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gssapi/gssapi_krb5.h>

struct world gss_world;
char gss_realm[] = "/tmp/kpopd-realm-XXXXXX";
static char keytab[128];

const char *const gss_mechanisms[] = {"GSSAPI", "PLAIN", NULL};

int gss_realm_run(const char *format, ...)
{
	char command[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return system(command);
}

int gss_realm_sh(const char *arguments)
{
	const char *source = getenv("KPOPD_SRCDIR");

	return gss_realm_run("%s/tests/system/realm.sh %s >&2", source != NULL ? source : ".", arguments);
}

void gss_realm_use(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "FILE:%s/cc.%s", gss_realm, name);
	setenv("KRB5CCNAME", path, 1);
}

int gss_realm_setup(void **state)
{
	char text[512];

	(void)state;
	if (mkdtemp(gss_realm) == NULL)
		return -1;
	snprintf(text, sizeof(text), "start %s", gss_realm);
	if (gss_realm_sh(text) != 0)
		return -1;
	snprintf(text, sizeof(text), "%s/krb5.conf", gss_realm);
	setenv("KRB5_CONFIG", text, 1);
	snprintf(keytab, sizeof(keytab), "%s/krb5.keytab", gss_realm);
	snprintf(text, sizeof(text), "user %s alice/admin admin-krb", gss_realm);
	if (gss_realm_sh(text) != 0 ||
	    gss_realm_run("echo alice-krb | kinit -c %s/cc.alice alice > /dev/null", gss_realm) != 0 ||
	    gss_realm_run("echo admin-krb | kinit -c %s/cc.admin alice/admin > /dev/null", gss_realm) != 0)
		return -1;
	gss_realm_use("alice");
	return world_start(&gss_world, gss_mechanisms, keytab, NULL);
}

int gss_realm_teardown(void **state)
{
	char text[512];

	(void)state;
	world_stop(&gss_world);
	snprintf(text, sizeof(text), "stop %s", gss_realm);
	gss_realm_sh(text);
	return gss_realm_run("rm -rf %s", gss_realm) == 0 ? 0 : -1;
}

void gss_client_step(struct gss_client *client, const void *challenge, size_t len)
{
	gss_buffer_desc in = {.length = len, .value = (void *)(uintptr_t)challenge};
	OM_uint32 minor, major;

	gss_release_buffer(&minor, &client->token);
	major = gss_init_sec_context(&minor, GSS_C_NO_CREDENTIAL, &client->context, client->target,
	    (gss_OID)gss_mech_krb5, client->flags, 0, GSS_C_NO_CHANNEL_BINDINGS,
	    challenge == NULL ? GSS_C_NO_BUFFER : &in, NULL, &client->token, NULL, NULL);
	assert_false(GSS_ERROR(major));
}

void gss_client_begin(struct gss_client *client, const char *service, OM_uint32 flags)
{
	gss_buffer_desc name = {.length = strlen(service), .value = (void *)(uintptr_t)service};
	OM_uint32 minor;

	memset(client, 0, sizeof(*client));
	client->flags = flags;
	assert_int_equal(
	    gss_import_name(&minor, &name, GSS_C_NT_HOSTBASED_SERVICE, &client->target), GSS_S_COMPLETE);
	gss_client_step(client, NULL, 0);
}

void gss_client_end(struct gss_client *client)
{
	OM_uint32 minor;

	gss_release_buffer(&minor, &client->token);
	gss_release_name(&minor, &client->target);
	gss_delete_sec_context(&minor, &client->context, GSS_C_NO_BUFFER);
}

void gss_client_wrap(struct gss_client *client, const void *text, size_t len, gss_buffer_t wrapped)
{
	gss_buffer_desc plain = {.length = len, .value = (void *)(uintptr_t)text};
	OM_uint32 minor;

	assert_int_equal(
	    gss_wrap(&minor, client->context, 0, GSS_C_QOP_DEFAULT, &plain, NULL, wrapped), GSS_S_COMPLETE);
}

struct saslx *gss_client_until_offer(
    struct gss_client *client, const struct saslx_connection *connection, OM_uint32 flags)
{
	struct saslx *server = saslx_new(connection);
	const void *challenge;
	size_t len;

	gss_client_begin(client, "pop@localhost", flags);
	assert_int_equal(
	    saslx_start(server, "GSSAPI", client->token.value, client->token.length), SASLX_MORE);
	if ((flags & GSS_C_MUTUAL_FLAG) != 0) {
		challenge = saslx_challenge(server, &len);
		assert_true(len > 0);
		gss_client_step(client, challenge, len);
		assert_int_equal(saslx_step(server, "", 0), SASLX_MORE);
	}
	return server;
}
