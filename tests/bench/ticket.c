/* SPDX-License-Identifier: ISC */
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/ticket.h"

struct ticket {
	krb5_context krb5;
	krb5_ccache memory; /* the user's tickets, service ticket included: no file, no KDC while measuring */
	krb5_creds *creds;
	gss_cred_id_t cred;
	gss_name_t target;
};

struct proof {
	struct ticket *ticket;
	krb5_auth_context auth;
	gss_ctx_id_t context;
};

static int krb5_trouble(krb5_context krb5, krb5_error_code code, const char *what)
{
	const char *text = krb5_get_error_message(krb5, code);
	fprintf(stderr, "load: %s: %s\n", what, text);
	krb5_free_error_message(krb5, text);
	return -1;
}

static int gss_trouble(OM_uint32 minor, const char *what)
{
	OM_uint32 more = 0, ignored;
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	gss_display_status(&ignored, minor, GSS_C_MECH_CODE, GSS_C_NO_OID, &more, &text);
	fprintf(stderr, "load: %s: %.*s\n", what, (int)text.length, (const char *)text.value);
	gss_release_buffer(&ignored, &text);
	return -1;
}

/* Copies the file's tickets to memory and adds the service ticket. */
static krb5_error_code fetch(struct ticket *ticket, const char *ccache, const char *host, const char **what_r)
{
	krb5_context krb5 = ticket->krb5;
	krb5_ccache file = NULL;
	krb5_creds want = {0};
	krb5_error_code code;

	*what_r = ccache;
	if ((code = krb5_cc_resolve(krb5, ccache, &file)) != 0 ||
	    (code = krb5_cc_get_principal(krb5, file, &want.client)) != 0)
		goto out;
	if ((code = krb5_cc_new_unique(krb5, "MEMORY", NULL, &ticket->memory)) != 0 ||
	    (code = krb5_cc_initialize(krb5, ticket->memory, want.client)) != 0 ||
	    (code = krb5_cc_copy_creds(krb5, file, ticket->memory)) != 0)
		goto out;
	*what_r = "service ticket for pop";
	if ((code = krb5_sname_to_principal(krb5, host, "pop", KRB5_NT_SRV_HST, &want.server)) != 0)
		goto out;
	code = krb5_get_credentials(krb5, 0, ticket->memory, &want, &ticket->creds);
out:
	krb5_free_cred_contents(krb5, &want);
	if (file)
		krb5_cc_close(krb5, file);
	return code;
}

static int acquire(struct ticket *ticket, const char *host)
{
	char *name = NULL, service[300];
	OM_uint32 major, minor;
	if (krb5_cc_get_full_name(ticket->krb5, ticket->memory, &name) != 0)
		return -1;
	gss_key_value_element_desc element = {.key = "ccache", .value = name};
	gss_key_value_set_desc from = {.count = 1, .elements = &element};
	major = gss_acquire_cred_from(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, GSS_C_NO_OID_SET,
	    GSS_C_INITIATE, &from, &ticket->cred, NULL, NULL);
	krb5_free_string(ticket->krb5, name);
	if (major != GSS_S_COMPLETE)
		return gss_trouble(minor, "GSS-API credentials");
	int len = snprintf(service, sizeof(service), "pop@%s", host);
	gss_buffer_desc text = {.length = (size_t)len, .value = service};
	major = gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE, &ticket->target);
	return major == GSS_S_COMPLETE ? 0 : gss_trouble(minor, "GSS-API name");
}

struct ticket *ticket_new(const char *ccache, const char *host)
{
	const char *what = "Kerberos";
	struct ticket *ticket = calloc(1, sizeof(*ticket));
	if (!ticket || krb5_init_context(&ticket->krb5) != 0) {
		fputs("load: no Kerberos context: is KRB5_CONFIG right?\n", stderr);
		exit(1);
	}
	krb5_error_code code = fetch(ticket, ccache, host, &what);
	if (code != 0) {
		krb5_trouble(ticket->krb5, code, what);
		exit(1);
	}
	if (acquire(ticket, host) < 0)
		exit(1);
	return ticket;
}

void ticket_free(struct ticket **ticket)
{
	OM_uint32 ignored;
	struct ticket *t = *ticket;
	if (!t)
		return;
	gss_release_name(&ignored, &t->target);
	gss_release_cred(&ignored, &t->cred);
	krb5_free_creds(t->krb5, t->creds);
	krb5_cc_destroy(t->krb5, t->memory);
	krb5_free_context(t->krb5);
	free(t);
	*ticket = NULL;
}

struct proof *proof_new(struct ticket *ticket)
{
	struct proof *proof = calloc(1, sizeof(*proof));
	if (proof) {
		proof->ticket = ticket;
		proof->context = GSS_C_NO_CONTEXT;
	}
	return proof;
}

void proof_free(struct proof **proof)
{
	OM_uint32 ignored;
	struct proof *p = *proof;
	if (!p)
		return;
	if (p->auth)
		krb5_auth_con_free(p->ticket->krb5, p->auth);
	gss_delete_sec_context(&ignored, &p->context, GSS_C_NO_BUFFER);
	free(p);
	*proof = NULL;
}

static int copy_out(const void *data, size_t len, void *out, size_t size)
{
	if (len > size) {
		fprintf(stderr, "load: a token of %zu octets is too large\n", len);
		return -1;
	}
	if (len > 0) /* a token of nothing has no address, which memcpy() must not see */
		memcpy(out, data, len);
	return (int)len;
}

int proof_apreq(struct proof *proof, void *out, size_t size)
{
	krb5_context krb5 = proof->ticket->krb5;
	krb5_data request = {0};
	krb5_error_code code = krb5_mk_req_extended(
	    krb5, &proof->auth, AP_OPTS_MUTUAL_REQUIRED, NULL, proof->ticket->creds, &request);
	if (code != 0)
		return krb5_trouble(krb5, code, "krb5_mk_req_extended");
	int len = copy_out(request.data, request.length, out, size);
	krb5_free_data_contents(krb5, &request);
	return len;
}

int proof_aprep(struct proof *proof, const void *rep, size_t len)
{
	krb5_context krb5 = proof->ticket->krb5;
	krb5_data in = {.length = (unsigned)len, .data = (char *)(uintptr_t)rep};
	krb5_ap_rep_enc_part *part = NULL;
	krb5_error_code code = krb5_rd_rep(krb5, proof->auth, &in, &part);
	if (code != 0)
		return krb5_trouble(krb5, code, "krb5_rd_rep");
	krb5_free_ap_rep_enc_part(krb5, part);
	return 0;
}

int proof_gss_token(struct proof *proof, const void *in, size_t len, void *out, size_t size)
{
	gss_buffer_desc input = {.length = len, .value = (void *)(uintptr_t)in}, output = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor, ignored;
	OM_uint32 major = gss_init_sec_context(&minor, proof->ticket->cred, &proof->context,
	    proof->ticket->target, (gss_OID)(uintptr_t)gss_mech_krb5,
	    GSS_C_MUTUAL_FLAG | GSS_C_SEQUENCE_FLAG | GSS_C_INTEG_FLAG | GSS_C_CONF_FLAG, 0,
	    GSS_C_NO_CHANNEL_BINDINGS, &input, NULL, &output, NULL, NULL);
	if (major != GSS_S_COMPLETE && major != GSS_S_CONTINUE_NEEDED)
		return gss_trouble(minor, "gss_init_sec_context");
	int made = copy_out(output.value, output.length, out, size);
	gss_release_buffer(&ignored, &output);
	return made;
}

int proof_gss_choice(
    struct proof *proof, int layer, const void *in, size_t len, const char *user, void *out, size_t size)
{
	gss_buffer_desc wrapped = {.length = len, .value = (void *)(uintptr_t)in};
	gss_buffer_desc offer = GSS_C_EMPTY_BUFFER, answer = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor, ignored;
	uint8_t choice[4 + 256] = {(uint8_t)layer, 0, 0, 0}; /* no security layer, so no buffer */
	size_t user_len = strnlen(user, sizeof(choice) - 4);

	if (gss_unwrap(&minor, proof->context, &wrapped, &offer, NULL, NULL) != GSS_S_COMPLETE)
		return gss_trouble(minor, "gss_unwrap");
	int sound = offer.length == 4 && (((const uint8_t *)offer.value)[0] & layer) != 0;
	gss_release_buffer(&ignored, &offer);
	if (!sound) {
		fputs("load: the server does not offer the security layer that is wanted\n", stderr);
		return -1;
	}
	if (layer != 1)
		memset(choice + 2, 0xff, 2);
	memcpy(choice + 4, user, user_len);
	gss_buffer_desc text = {.length = 4 + user_len, .value = choice};
	if (gss_wrap(&minor, proof->context, 0, GSS_C_QOP_DEFAULT, &text, NULL, &answer) != GSS_S_COMPLETE)
		return gss_trouble(minor, "gss_wrap");
	int made = copy_out(answer.value, answer.length, out, size);
	gss_release_buffer(&ignored, &answer);
	return made;
}

int proof_gss_seal(struct proof *proof, const void *in, size_t len, void *out, size_t size)
{
	gss_buffer_desc text = {.length = len, .value = (void *)(uintptr_t)in}, token = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor, ignored;
	if (gss_wrap(&minor, proof->context, 1, GSS_C_QOP_DEFAULT, &text, NULL, &token) != GSS_S_COMPLETE)
		return gss_trouble(minor, "gss_wrap");
	int made = copy_out(token.value, token.length, out, size);
	gss_release_buffer(&ignored, &token);
	return made;
}

int proof_gss_unseal(struct proof *proof, const void *in, size_t len, void *out, size_t size)
{
	gss_buffer_desc token = {.length = len, .value = (void *)(uintptr_t)in}, text = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor, ignored;
	int sealed = 0;
	if (gss_unwrap(&minor, proof->context, &token, &text, &sealed, NULL) != GSS_S_COMPLETE)
		return gss_trouble(minor, "gss_unwrap");
	int made = sealed ? copy_out(text.value, text.length, out, size) : -1;
	gss_release_buffer(&ignored, &text);
	return made;
}
