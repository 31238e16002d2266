/* SPDX-License-Identifier: ISC */
#include "acceptor.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>

#define TEXT_OCTETS 400u
#define NAMES_COUNT 6u /* of a keytab's principals named in a log line */

struct acceptor {
	krb5_context ctx;
	krb5_keytab keys; /* in memory; lives while the credential uses it by name */
	char keys_name[64];
	gss_cred_id_t credential;
	char *replay_cache;
	const char *const *services;
	const int *enctypes;
	char text[TEXT_OCTETS];
};

/* A line that takes what fits. */
static void append(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void append(char *text, size_t size, const char *format, ...)
{
	size_t len = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + len, size - len, format, args);
	va_end(args);
}

bool acceptor_enctype_strong(const struct acceptor *acceptor, int enctype)
{
	static const int strong[] = {ENCTYPE_AES256_CTS_HMAC_SHA1_96, ENCTYPE_AES128_CTS_HMAC_SHA1_96,
	    ENCTYPE_AES256_CTS_HMAC_SHA384_192, ENCTYPE_AES128_CTS_HMAC_SHA256_128, 0};

	const int *one = acceptor != NULL && acceptor->enctypes != NULL ? acceptor->enctypes : strong;

	for (; *one != 0; one++)
		if (*one == enctype)
			return true;
	return false;
}

static bool is_ours(const struct acceptor *acceptor, krb5_const_principal principal)
{
	const krb5_data *service = principal->length == 2 ? &principal->data[0] : NULL;

	for (size_t i = 0; service != NULL && acceptor->services[i] != NULL; i++)
		if (service->length == strlen(acceptor->services[i]) &&
		    memcmp(service->data, acceptor->services[i], service->length) == 0)
			return true;
	return false;
}

/* What a keytab has, as a log line wants it: names once each, and how it ends when there are many. */
struct inventory {
	char last[256];
	char names[TEXT_OCTETS];
	unsigned count, usable;
};

static void list_entry(
    struct acceptor *acceptor, const krb5_keytab_entry *entry, bool strong, struct inventory *seen)
{
	char *name = NULL;

	if (krb5_unparse_name(acceptor->ctx, entry->principal, &name) != 0)
		return;
	if (strcmp(seen->last, name) != 0) {
		if (seen->count < NAMES_COUNT)
			append(seen->names, sizeof(seen->names), "%s%s kvno %u%s",
			    seen->count > 0 ? ", " : "", name, (unsigned)entry->vno,
			    strong ? "" : " (weak enctype)");
		else if (seen->count == NAMES_COUNT)
			append(seen->names, sizeof(seen->names), ", …");
		seen->count++;
		snprintf(seen->last, sizeof(seen->last), "%s", name);
	}
	krb5_free_unparsed_name(acceptor->ctx, name);
}

static krb5_error_code copy_keys(struct acceptor *acceptor, krb5_keytab keytab, struct inventory *seen)
{
	krb5_keytab_entry entry;
	krb5_kt_cursor cursor;
	krb5_error_code rc = krb5_kt_start_seq_get(acceptor->ctx, keytab, &cursor);

	if (rc != 0)
		return rc;
	while ((rc = krb5_kt_next_entry(acceptor->ctx, keytab, &entry, &cursor)) == 0) {
		bool strong = acceptor_enctype_strong(acceptor, entry.key.enctype);

		list_entry(acceptor, &entry, strong, seen);
		if (strong && is_ours(acceptor, entry.principal)) {
			rc = krb5_kt_add_entry(acceptor->ctx, acceptor->keys, &entry);
			seen->usable++;
		}
		krb5_free_keytab_entry_contents(acceptor->ctx, &entry);
		if (rc != 0)
			break;
	}
	krb5_kt_end_seq_get(acceptor->ctx, keytab, &cursor);
	return rc == KRB5_KT_END ? 0 : rc;
}

static void explain(krb5_context ctx, krb5_error_code rc, const char *keytab, char *why_r, size_t size)
{
	const char *text = krb5_get_error_message(ctx, rc);

	snprintf(why_r, size, "GSSAPI is not offered: keytab %s: %s", keytab, text);
	krb5_free_error_message(ctx, text);
}

static int load_keys(struct acceptor *acceptor, const char *name, char *why_r, size_t size)
{
	struct inventory seen = {.count = 0};
	krb5_keytab keytab = NULL;
	krb5_error_code rc;

	snprintf(
	    acceptor->keys_name, sizeof(acceptor->keys_name), "MEMORY:kpopd-acceptor-%p", (void *)acceptor);
	rc = krb5_kt_resolve(acceptor->ctx, acceptor->keys_name, &acceptor->keys);
	if (rc == 0)
		rc = krb5_kt_resolve(acceptor->ctx, name, &keytab);
	if (rc == 0)
		rc = copy_keys(acceptor, keytab, &seen);
	if (keytab != NULL)
		krb5_kt_close(acceptor->ctx, keytab);
	append(acceptor->text, sizeof(acceptor->text), "accepted are tickets for");
	for (size_t i = 0; acceptor->services[i] != NULL; i++)
		append(acceptor->text, sizeof(acceptor->text), "%s %s/HOST", i > 0 ? "," : "",
		    acceptor->services[i]);
	append(acceptor->text, sizeof(acceptor->text), "; keytab %s has %s", name,
	    seen.count > 0 ? seen.names : "no keys");
	if (rc != 0) {
		explain(acceptor->ctx, rc, name, why_r, size);
		return -1;
	}
	if (seen.usable == 0) {
		snprintf(
		    why_r, size, "GSSAPI is not offered: no AES key of these services; %s", acceptor->text);
		return -1;
	}
	return 0;
}

static int acquire(struct acceptor *acceptor, char *why_r, size_t size)
{
	gss_key_value_element_desc elements[] = {
	    {"keytab", acceptor->keys_name},
	    {"rcache", acceptor->replay_cache},
	};
	gss_key_value_set_desc store = {
	    .count = acceptor->replay_cache != NULL ? 2 : 1, .elements = elements};
	gss_OID_set_desc mechanisms = {.count = 1, .elements = (gss_OID)(uintptr_t)gss_mech_krb5};
	OM_uint32 major, minor, ignored, more = 0;
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;

	major = gss_acquire_cred_from(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &mechanisms, GSS_C_ACCEPT,
	    &store, &acceptor->credential, NULL, NULL);
	if (major == GSS_S_COMPLETE)
		return 0;
	gss_display_status(&ignored, minor, GSS_C_MECH_CODE, gss_mech_krb5, &more, &text);
	snprintf(why_r, size, "GSSAPI is not offered: no credential: %.*s; %s", (int)text.length,
	    text.value != NULL ? (const char *)text.value : "", acceptor->text);
	gss_release_buffer(&ignored, &text);
	return -1;
}

int acceptor_open(struct acceptor **acceptor_r, const struct saslx_config *config, char *why_r, size_t size)
{
	struct acceptor *acceptor = calloc(1, sizeof(*acceptor));
	krb5_error_code rc;

	*acceptor_r = NULL;
	if (acceptor == NULL) {
		snprintf(why_r, size, "GSSAPI is not offered: no memory");
		return -1;
	}
	acceptor->services = config->services;
	acceptor->enctypes = config->enctypes;
	if (config->replay_cache != NULL &&
	    asprintf(&acceptor->replay_cache, "file2:%s", config->replay_cache) < 0)
		acceptor->replay_cache = NULL;
	rc = krb5_init_context(&acceptor->ctx);
	if (rc != 0)
		explain(NULL, rc, config->keytab, why_r, size);
	if (rc != 0 || load_keys(acceptor, config->keytab, why_r, size) < 0 ||
	    acquire(acceptor, why_r, size) < 0) {
		acceptor_close(&acceptor);
		return -1;
	}
	*acceptor_r = acceptor;
	return 0;
}

void acceptor_close(struct acceptor **acceptor)
{
	OM_uint32 ignored;

	if (*acceptor == NULL)
		return;
	gss_release_cred(&ignored, &(*acceptor)->credential);
	if ((*acceptor)->keys != NULL)
		krb5_kt_close((*acceptor)->ctx, (*acceptor)->keys);
	if ((*acceptor)->ctx != NULL)
		krb5_free_context((*acceptor)->ctx);
	free((*acceptor)->replay_cache);
	free(*acceptor);
	*acceptor = NULL;
}

gss_cred_id_t acceptor_credential(const struct acceptor *acceptor)
{
	return acceptor->credential;
}

bool acceptor_is_service(const struct acceptor *acceptor, const char *name, size_t len)
{
	for (size_t i = 0; acceptor->services[i] != NULL; i++) {
		size_t service_len = strlen(acceptor->services[i]);

		if (len > service_len + 1 && memcmp(name, acceptor->services[i], service_len) == 0 &&
		    name[service_len] == '/')
			return true;
	}
	return false;
}

/* The length octets of DER at at; 0 when they are not sound. Sets what they say. */
static size_t der_length(const uint8_t *at, size_t left, size_t *len_r)
{
	size_t count, len = 0;

	if (left == 0)
		return 0;
	if (at[0] < 0x80) {
		*len_r = at[0];
		return 1;
	}
	count = at[0] & 0x7f;
	if (count == 0 || count > sizeof(uint32_t) || left < 1 + count)
		return 0;
	for (size_t i = 1; i <= count; i++)
		len = len << 8 | at[i];
	*len_r = len;
	return 1 + count;
}

bool acceptor_token_framed(const void *token, size_t len)
{
	/* The object identifier of the mechanism, and the id of a token that holds an AP-REQ and its tag. */
	static const uint8_t head[] = {
	    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x01, 0x00, 0x6e};
	const uint8_t *at = token;
	size_t inner = 0, used;

	if (len < 2 || at[0] != 0x60)
		return false;
	used = der_length(at + 1, len - 1, &inner);
	if (used == 0 || inner != len - 1 - used || inner <= sizeof(head) ||
	    memcmp(at + 1 + used, head, sizeof(head)) != 0)
		return false;
	/* The library would pass over what is behind the AP-REQ. */
	at += 1 + used + sizeof(head);
	len = inner - sizeof(head);
	used = der_length(at, len, &inner);
	return used != 0 && inner == len - used;
}
