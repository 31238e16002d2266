/* SPDX-License-Identifier: ISC */
#include "tests/fuzz/stack_client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <krb5.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gssapi/gssapi_krb5.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "server/base64.h"
#include "tests/sasl/world.h"

static char realm[] = "/tmp/kpopd-stack-XXXXXX";
static char keytab[64];
static krb5_context krb5;
static krb5_creds *ticket;
static int lifeline; /* closes when this process ends */
static pid_t watcher;

static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int run(const char *format, ...)
{
	char command[512];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof command, format, args);
	va_end(args);
	return system(command);
}

static bool get_ticket(void)
{
	krb5_creds wanted = {0};
	krb5_ccache cache = NULL;
	bool got = krb5_init_context(&krb5) == 0 && krb5_cc_default(krb5, &cache) == 0 &&
		   krb5_cc_get_principal(krb5, cache, &wanted.client) == 0 &&
		   krb5_parse_name(krb5, "pop/localhost", &wanted.server) == 0 &&
		   krb5_get_credentials(krb5, 0, cache, &wanted, &ticket) == 0;
	krb5_free_cred_contents(krb5, &wanted);
	if (cache != NULL)
		krb5_cc_close(krb5, cache);
	return got;
}

static const char *source_dir(void)
{
	const char *source = getenv("KPOPD_SRCDIR");
	return source != NULL ? source : ".";
}

/* Ends the realm when this process ends, however it does: a fuzzer's end is mostly a crash. */
static bool watch(void)
{
	int pipe_ends[2];
	char octet;
	if (pipe2(pipe_ends, O_CLOEXEC) < 0 || (watcher = fork()) < 0)
		return false;
	lifeline = pipe_ends[1];
	if (watcher != 0) {
		close(pipe_ends[0]);
		return true;
	}
	setsid();
	close(pipe_ends[1]);
	while (read(pipe_ends[0], &octet, 1) < 0)
		continue;
	run("%s/tests/system/realm.sh stop %s >&2; rm -rf %s", source_dir(), realm, realm);
	_exit(0);
}

const char *stack_realm_begin(void)
{
	char text[128];
	if (mkdtemp(realm) == NULL || !watch() ||
	    run("%s/tests/system/realm.sh start %s >&2", source_dir(), realm) != 0)
		return NULL;
	snprintf(text, sizeof text, "%s/krb5.conf", realm);
	setenv("KRB5_CONFIG", text, 1);
	snprintf(text, sizeof text, "FILE:%s/cc", realm);
	setenv("KRB5CCNAME", text, 1);
	snprintf(keytab, sizeof keytab, "%s/krb5.keytab", realm);
	if (run("echo alice-krb | kinit alice > /dev/null") != 0 || !get_ticket())
		return NULL;
	return keytab;
}

void stack_realm_end(void)
{
	krb5_free_creds(krb5, ticket);
	krb5_free_context(krb5);
	close(lifeline);
	waitpid(watcher, NULL, 0);
}

/* Appends behind used octets; returns how many there are then, 0: they do not fit. */
static size_t append(uint8_t *token_r, size_t used, const void *octets, size_t len)
{
	if (len > TOKEN_OCTETS - used)
		return 0;
	if (len > 0)
		memcpy(token_r + used, octets, len);
	return used + len;
}

static size_t put(uint8_t *token_r, const void *octets, size_t len)
{
	return append(token_r, 0, octets, len);
}

/* ---- Kerberos ---- */

static bool context_step(
    struct stack_client *client, uint8_t flags, gss_channel_bindings_t bindings, gss_buffer_t token_r)
{
	static gss_name_t target;
	gss_buffer_desc name = {.length = 13, .value = (char[]){"pop@localhost"}};
	gss_buffer_desc challenge = {.length = client->challenge_len, .value = client->challenge};
	OM_uint32 minor, wanted = (flags & 1) != 0 ? GSS_C_MUTUAL_FLAG : 0;
	if (target == NULL)
		gss_import_name(&minor, &name, GSS_C_NT_HOSTBASED_SERVICE, &target);
	wanted |= GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG | GSS_C_SEQUENCE_FLAG;
	bool first = client->context == GSS_C_NO_CONTEXT;
	OM_uint32 major = gss_init_sec_context(&minor, GSS_C_NO_CREDENTIAL, &client->context, target,
	    (gss_OID)(uintptr_t)gss_mech_krb5, wanted, 0, bindings, first ? GSS_C_NO_BUFFER : &challenge,
	    NULL, token_r, NULL, NULL);
	return !GSS_ERROR(major);
}

static size_t gssapi(struct stack_client *client, uint8_t flags, uint8_t token_r[TOKEN_OCTETS])
{
	gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor;
	size_t len = context_step(client, flags, GSS_C_NO_CHANNEL_BINDINGS, &token)
			 ? put(token_r, token.value, token.length)
			 : 0;
	gss_release_buffer(&minor, &token);
	return len;
}

/* The token behind "60 length 06 length identifier"; its frame is always long enough for two octets. */
static size_t gs2(struct stack_client *client, uint8_t token_r[TOKEN_OCTETS])
{
	static char header[] = "n,,";
	struct gss_channel_bindings_struct bindings = {
	    .application_data = {.length = sizeof header - 1, .value = header}};
	gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor;
	size_t len = 0;
	if (context_step(client, 1, &bindings, &token) && token.length > 15) {
		const uint8_t *at = token.value;
		size_t frame = (at[1] < 0x80 ? 2u : 2u + (at[1] & 0x7f)) + 11;
		len = put(token_r, header, sizeof header - 1);
		len = append(token_r, len, at + frame, token.length - frame);
	}
	gss_release_buffer(&minor, &token);
	return len;
}

static size_t choice(struct stack_client *client, uint8_t layer, uint8_t token_r[TOKEN_OCTETS])
{
	gss_buffer_desc offer = {.length = client->challenge_len, .value = client->challenge};
	gss_buffer_desc plain = GSS_C_EMPTY_BUFFER, wrapped = GSS_C_EMPTY_BUFFER;
	uint8_t text[4] = {layer, 0, layer == 1 ? 0 : 0x10, 0};
	gss_buffer_desc chosen = {.length = sizeof text, .value = text};
	OM_uint32 minor;
	size_t len = 0;
	if (client->context == GSS_C_NO_CONTEXT)
		return 0;
	gss_unwrap(&minor, client->context, &offer, &plain, NULL, NULL);
	if (gss_wrap(&minor, client->context, 0, GSS_C_QOP_DEFAULT, &chosen, NULL, &wrapped) ==
	    GSS_S_COMPLETE)
		len = put(token_r, wrapped.value, wrapped.length);
	client->layer = layer > 1;
	gss_release_buffer(&minor, &plain);
	gss_release_buffer(&minor, &wrapped);
	return len;
}

size_t stack_record(struct stack_client *client, const void *text, size_t len, uint8_t record_r[TOKEN_OCTETS])
{
	gss_buffer_desc plain = {.length = len, .value = (void *)(uintptr_t)text};
	gss_buffer_desc wrapped = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor;
	size_t record_len = 0;
	if (client->context == GSS_C_NO_CONTEXT || len > TOKEN_OCTETS / 2)
		return 0;
	if (gss_wrap(&minor, client->context, client->layer, GSS_C_QOP_DEFAULT, &plain, NULL, &wrapped) ==
	    GSS_S_COMPLETE) {
		uint32_t head = htonl((uint32_t)wrapped.length);
		memcpy(record_r, &head, sizeof head);
		record_len = append(record_r, sizeof head, wrapped.value, wrapped.length);
	}
	gss_release_buffer(&minor, &wrapped);
	return record_len;
}

static size_t apreq(uint8_t flags, uint8_t token_r[TOKEN_OCTETS])
{
	krb5_auth_context auth = NULL;
	krb5_data out = {0};
	size_t len = 0;
	if (krb5_mk_req_extended(
		krb5, &auth, (flags & 1) != 0 ? AP_OPTS_MUTUAL_REQUIRED : 0, NULL, ticket, &out) == 0)
		len = put(token_r, out.data, out.length);
	krb5_free_data_contents(krb5, &out);
	krb5_auth_con_free(krb5, auth);
	return len;
}

/* ---- passwords ---- */

static size_t cram(const struct stack_client *client, uint8_t token_r[TOKEN_OCTETS])
{
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	char text[64] = "alice ";
	HMAC(EVP_md5(), ALICE_PASSWORD, (int)strlen(ALICE_PASSWORD), client->challenge, client->challenge_len,
	    mac, &len);
	for (unsigned i = 0; i < len; i++)
		sprintf(text + 6 + 2 * i, "%02x", mac[i]);
	return put(token_r, text, strlen(text));
}

static size_t scram_first(struct stack_client *client, uint8_t token_r[TOKEN_OCTETS])
{
	static unsigned counter;
	char text[80];
	snprintf(client->scram_first, sizeof client->scram_first, "n=alice,r=client%u", counter++);
	return put(token_r, text, (size_t)snprintf(text, sizeof text, "n,,%s", client->scram_first));
}

/* Of one salt, over and over: the derivation is slow on purpose. */
static const uint8_t *salted_password(const char *salt, int count)
{
	static char known[128];
	static uint8_t salted_secret[32], octets[128];
	size_t len = strcspn(salt, ",");
	if (len == 0 || len >= sizeof known)
		return NULL;
	if (strlen(known) != len || memcmp(known, salt, len) != 0) {
		int salt_len = EVP_DecodeBlock(octets, (const uint8_t *)salt, (int)len);
		if (salt_len <= 2 || count < 1 || count > 100000)
			return NULL;
		salt_len -= (salt[len - 1] == '=') + (salt[len - 2] == '=');
		PKCS5_PBKDF2_HMAC(ALICE_PASSWORD, (int)strlen(ALICE_PASSWORD), octets, salt_len, count,
		    EVP_sha256(), 32, salted_secret);
		snprintf(known, sizeof known, "%.*s", (int)len, salt);
	}
	return salted_secret;
}

/* SCRAM-SHA-256's; to any other hash it is a wrong one. */
static size_t scram_last(const struct stack_client *client, uint8_t token_r[TOKEN_OCTETS])
{
	char server[512], text[1024], whole[1700];
	uint8_t key[32], stored[32], signature[32], proof[48];
	unsigned len = 32;
	snprintf(server, sizeof server, "%.*s", (int)client->challenge_len, (const char *)client->challenge);
	const char *nonce = strncmp(server, "r=", 2) == 0 ? server + 2 : NULL;
	const char *salt = strstr(server, ",s="), *count = strstr(server, ",i=");
	const uint8_t *salted = nonce != NULL && salt != NULL && count != NULL
				    ? salted_password(salt + 3, atoi(count + 3))
				    : NULL;
	if (salted == NULL)
		return 0;
	int used = snprintf(text, sizeof text, "c=biws,r=%.*s", (int)strcspn(nonce, ","), nonce);
	snprintf(whole, sizeof whole, "%s,%s,%s", client->scram_first, server, text);
	HMAC(EVP_sha256(), salted, 32, (const uint8_t *)"Client Key", 10, key, &len);
	EVP_Digest(key, 32, stored, &len, EVP_sha256(), NULL);
	HMAC(EVP_sha256(), stored, 32, (const uint8_t *)whole, strlen(whole), signature, &len);
	for (size_t i = 0; i < 32; i++)
		key[i] ^= signature[i];
	size_t proof_len = base64_encode(key, 32, proof);
	used += snprintf(text + used, sizeof text - (size_t)used, ",p=%.*s", (int)proof_len, (char *)proof);
	return put(token_r, text, (size_t)used);
}

static size_t plain(uint8_t token_r[TOKEN_OCTETS])
{
	static const char text[] = "\0alice\0" ALICE_PASSWORD;
	return put(token_r, text, sizeof text - 1);
}

size_t stack_token(
    struct stack_client *client, enum token_kind kind, uint8_t flags, uint8_t token_r[TOKEN_OCTETS])
{
	switch (kind) {
	case TOKEN_GSSAPI:
		return gssapi(client, flags, token_r);
	case TOKEN_CHOICE:
		return choice(client, flags, token_r);
	case TOKEN_GS2:
		return gs2(client, token_r);
	case TOKEN_CRAM:
		return cram(client, token_r);
	case TOKEN_SCRAM_FIRST:
		return scram_first(client, token_r);
	case TOKEN_SCRAM_LAST:
		return scram_last(client, token_r);
	case TOKEN_PLAIN:
		return plain(token_r);
	case TOKEN_APREQ:
		return apreq(flags, token_r);
	case TOKEN_KIND_COUNT:
		break;
	}
	return 0;
}

void stack_client_clear(struct stack_client *client)
{
	OM_uint32 minor;
	gss_delete_sec_context(&minor, &client->context, GSS_C_NO_BUFFER);
	*client = (struct stack_client){.layer = false};
}
