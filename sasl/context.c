/* SPDX-License-Identifier: ISC */
#include "context.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>
#include <openssl/crypto.h>

#include "binding.h"
#include "library.h"

void context_clear(struct context *context)
{
	OM_uint32 minor;

	gss_release_buffer(&minor, &context->sent);
	gss_delete_sec_context(&minor, &context->handle, GSS_C_NO_BUFFER);
	OPENSSL_cleanse(context, sizeof(*context));
}

/* What a client cannot bring about: our replay cache, our memory, our configuration. */
static bool is_ours(OM_uint32 minor)
{
	switch ((krb5_error_code)minor) {
	case ENOMEM:
	case EACCES:
	case EPERM:
	case EROFS:
	case ENOENT:
	case ENOSPC:
	case EDQUOT:
	case EIO:
	case EMFILE:
	case ENFILE:
	case EISDIR:
	case ENOTDIR:
	case KRB5_RC_IO:
	case KRB5_RC_IO_PERM:
	case KRB5_RC_IO_IO:
	case KRB5_RC_IO_SPACE:
	case KRB5_RC_IO_UNKNOWN:
	case KRB5_RC_IO_MALLOC:
	case KRB5_CONFIG_CANTOPEN:
	case KRB5_CONFIG_BADFORMAT:
		return true;
	default:
		return false;
	}
}

int context_fail_status(const struct context *context, struct saslx *exchange, const char *what,
    OM_uint32 major, OM_uint32 minor, const char *hint)
{
	gss_buffer_desc routine = GSS_C_EMPTY_BUFFER, mechanism = GSS_C_EMPTY_BUFFER;
	OM_uint32 ignored, more = 0;

	/* GSS_S_FAILURE has a text that only says to look at the other one. */
	if (GSS_ROUTINE_ERROR(major) != GSS_S_FAILURE || minor == 0)
		gss_display_status(&ignored, major, GSS_C_GSS_CODE, gss_mech_krb5, &more, &routine);
	more = 0;
	gss_display_status(&ignored, minor, GSS_C_MECH_CODE, gss_mech_krb5, &more, &mechanism);
	attempt_explain(exchange, is_ours(minor), "%s: %s: %.*s%s%.*s%s%s", context->mechanism, what,
	    (int)routine.length, routine.value == NULL ? "" : (const char *)routine.value,
	    routine.value == NULL ? "" : ": ", (int)mechanism.length,
	    mechanism.value == NULL ? "" : (const char *)mechanism.value, hint != NULL ? "; " : "",
	    hint != NULL ? hint : "");
	gss_release_buffer(&ignored, &routine);
	gss_release_buffer(&ignored, &mechanism);
	return SASL_BADAUTH;
}

int context_fail(const struct context *context, struct saslx *exchange, const char *why)
{
	attempt_explain(exchange, false, "%s: %s", context->mechanism, why);
	return SASL_BADAUTH;
}

/* The name as krb5_unparse_name writes it. NULL, or what is wrong. */
static const char *take_principal(struct context *context, gss_name_t source)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	gss_OID type = GSS_C_NO_OID;
	OM_uint32 minor;
	const char *wrong = NULL;

	if (source == GSS_C_NO_NAME || gss_display_name(&minor, source, &text, &type) != GSS_S_COMPLETE)
		return "the client has no name";
	if (gss_oid_equal(type, GSS_C_NT_ANONYMOUS))
		wrong = "the client is anonymous";
	else if (text.length == 0 || text.length >= sizeof(context->principal) ||
		 memchr(text.value, '\0', text.length) != NULL)
		wrong = "the client's principal is too long, or has a NUL in it";
	else
		memcpy(context->principal, text.value, text.length); /* the rest is zero */
	gss_release_buffer(&minor, &text);
	return wrong;
}

/* Tickets for other services cannot be opened with our keys, unless an account's names share one key. */
static const char *check_service(gss_ctx_id_t handle)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	gss_name_t target = GSS_C_NO_NAME;
	OM_uint32 minor;
	OM_uint32 major = gss_inquire_context(&minor, handle, NULL, &target, NULL, NULL, NULL, NULL, NULL);
	const char *wrong = "the ticket is for another service";

	/* In the few minutes for which clocks may differ a context is made of it all the same. */
	if (major == GSS_S_CONTEXT_EXPIRED)
		wrong = "the ticket has expired";
	else if (major == GSS_S_COMPLETE && gss_display_name(&minor, target, &text, NULL) == GSS_S_COMPLETE &&
		 acceptor_is_service(library_get()->acceptor, text.value, text.length))
		wrong = NULL;

	gss_release_buffer(&minor, &text);
	gss_release_name(&minor, &target);
	return wrong;
}

/* The session key's enctype is the last arc of an object identifier that comes with the key. */
static bool session_key_strong(gss_ctx_id_t handle)
{
	gss_buffer_set_t set = GSS_C_NO_BUFFER_SET;
	OM_uint32 minor;
	bool strong = false;

	if (gss_inquire_sec_context_by_oid(&minor, handle, GSS_C_INQ_SSPI_SESSION_KEY, &set) ==
		GSS_S_COMPLETE &&
	    set != GSS_C_NO_BUFFER_SET && set->count >= 2 && set->elements[1].length > 0) {
		const uint8_t *oid = set->elements[1].value;

		/* The arcs of strong ones are below 128, so one octet each. */
		strong = acceptor_enctype_strong(library_get()->acceptor, oid[set->elements[1].length - 1]);
		OPENSSL_cleanse(set->elements[0].value, set->elements[0].length);
	}
	gss_release_buffer_set(&minor, &set);
	return strong;
}

/*
 * How the client proved itself to its KDC (RFC 8129). The library gives those that the KDC sealed for us, and
 * one too long or too many is left out: a ticket with fewer opens less, never more.
 */
static void take_indicators(struct context *context, gss_name_t source)
{
	static const char attribute[] = "auth-indicators";
	gss_buffer_desc name = {.length = sizeof(attribute) - 1, .value = (void *)(uintptr_t)attribute};
	int more = -1;

	memset(context->indicators, 0, sizeof(context->indicators));
	for (size_t count = 0; more != 0 && count < SASLX_INDICATORS_COUNT;) {
		gss_buffer_desc value = GSS_C_EMPTY_BUFFER, shown = GSS_C_EMPTY_BUFFER;
		OM_uint32 minor, major;
		int authenticated = 0, complete = 0;

		major = gss_get_name_attribute(
		    &minor, source, &name, &authenticated, &complete, &value, &shown, &more);
		if (major != GSS_S_COMPLETE)
			more = 0;
		else if (authenticated && value.length > 0 && value.length <= SASLX_INDICATOR_OCTETS &&
			 memchr(value.value, '\0', value.length) == NULL)
			memcpy(context->indicators[count++], value.value, value.length);
		gss_release_buffer(&minor, &value);
		gss_release_buffer(&minor, &shown);
	}
}

/* The context is made: whose is it? */
static int check(struct context *context, struct saslx *exchange, gss_name_t source, gss_OID mechanism)
{
	const char *wrong;

	if (context->handle == GSS_C_NO_CONTEXT || mechanism == GSS_C_NO_OID ||
	    !gss_oid_equal(mechanism, gss_mech_krb5))
		return context_fail(context, exchange, "a context that is not Kerberos'");
	if ((context->flags & GSS_C_ANON_FLAG) != 0)
		return context_fail(context, exchange, "the client is anonymous");
	if ((wrong = take_principal(context, source)) != NULL)
		return context_fail(context, exchange, wrong);
	if ((wrong = check_service(context->handle)) != NULL)
		return context_fail(context, exchange, wrong);
	if (!session_key_strong(context->handle))
		return context_fail(context, exchange, "the session key is of a weak enctype");
	take_indicators(context, source);
	return SASL_OK;
}

int context_accept(struct context *context, struct saslx *exchange, const void *token, size_t len,
    gss_channel_bindings_t bindings)
{
	const struct acceptor *acceptor = library_get()->acceptor;
	gss_buffer_desc in = {.length = len, .value = (void *)(uintptr_t)token};
	gss_name_t source = GSS_C_NO_NAME;
	gss_OID mechanism = GSS_C_NO_OID;
	OM_uint32 major, minor, ignored;
	int rc;

	if (context->handle == GSS_C_NO_CONTEXT && !acceptor_token_framed(token, len))
		return context_fail(
		    context, exchange, "the first token is not a Kerberos AP-REQ framed for GSS-API");
	gss_release_buffer(&ignored, &context->sent);
	major = gss_accept_sec_context(&minor, &context->handle, acceptor_credential(acceptor), &in, bindings,
	    &source, &mechanism, &context->sent, &context->flags, NULL, NULL);
	if (major == GSS_S_CONTINUE_NEEDED && context->handle != GSS_C_NO_CONTEXT)
		rc = SASL_CONTINUE;
	else if (major != GSS_S_COMPLETE)
		rc = context_fail_status(context, exchange, "the ticket is not accepted", major, minor,
		    is_ours(minor) ? "see that the replay cache in state_dir/auth can be written" : NULL);
	else
		rc = check(context, exchange, source, mechanism);
	gss_release_name(&ignored, &source);
	return rc;
}

int context_accept_end_point(struct context *context, struct saslx *exchange, const void *token, size_t len)
{
	static const char prefix[] = "tls-server-end-point:";
	const struct saslx_connection *connection = &exchange->connection;
	const struct saslx_binding *end_point = binding_find(connection, SASLX_TLS_SERVER_END_POINT);
	bool required = connection->binding_policy == SASLX_BINDING_REQUIRE;
	char bound[sizeof(prefix) + SASLX_BINDING_OCTETS];
	struct gss_channel_bindings_struct bindings = {.application_data.value = bound};
	int rc;

	if (end_point == NULL && required)
		return context_fail(context, exchange, "channel binding is required here");
	if (end_point == NULL || connection->binding_policy == SASLX_BINDING_OFF)
		return context_accept(context, exchange, token, len, GSS_C_NO_CHANNEL_BINDINGS);
	memcpy(bound, prefix, sizeof(prefix) - 1);
	memcpy(bound + sizeof(prefix) - 1, end_point->octets, end_point->len);
	bindings.application_data.length = sizeof(prefix) - 1 + end_point->len;
	rc = context_accept(context, exchange, token, len, &bindings);
	if (rc == SASL_OK && required && (context->flags & GSS_C_CHANNEL_BOUND_FLAG) == 0)
		return context_fail(context, exchange, "the client has not bound to this connection");
	if (rc == SASL_OK && (context->flags & GSS_C_CHANNEL_BOUND_FLAG) != 0)
		exchange->binding.name = binding_name(end_point->type);
	return rc;
}

int context_finish(const struct context *context, struct saslx *exchange, sasl_server_params_t *sparams,
    const char *authzid, size_t len, sasl_out_params_t *oparams)
{
	/* The library wants a user's name; who it is, the principal says. */
	static const char placeholder[] = "kerberos";
	int rc;

	if (len > 0 && !attempt_user(authzid, len, exchange->authzid))
		return context_fail(
		    context, exchange, "the client wants to act as a name that cannot be a user's");
	memcpy(exchange->principal, context->principal, sizeof(exchange->principal));
	memcpy(exchange->indicator_text, context->indicators, sizeof(exchange->indicator_text));
	for (size_t i = 0; i < SASLX_INDICATORS_COUNT && exchange->indicator_text[i][0] != '\0'; i++)
		exchange->indicators[i] = exchange->indicator_text[i];
	rc = sparams->canon_user(
	    sparams->utils->conn, placeholder, 0, SASL_CU_AUTHID | SASL_CU_AUTHZID, oparams);
	if (rc != SASL_OK)
		return rc;
	oparams->doneflag = 1;
	oparams->mech_ssf = 0;
	oparams->maxoutbuf = 0;
	oparams->encode_context = NULL;
	oparams->encode = NULL;
	oparams->decode_context = NULL;
	oparams->decode = NULL;
	oparams->param_version = 0;
	return SASL_OK;
}
