/* SPDX-License-Identifier: ISC */
/*
 * The mechanism GSSAPI (RFC 4752), server side, as a plug-in of the library: contexts of Kerberos 5
 * only, on MIT's GSS-API.
 *
 * The stock plug-in is not used: it is offered without a key, looks at GSS_ERROR only, so that replayed
 * and reordered tokens pass, and takes other mechanisms' tokens. Here any status but COMPLETE, and
 * CONTINUE while the context is made, is a refusal.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>
#include <openssl/crypto.h>

#include "attempt.h"
#include "library.h"

/* RFC 4752 section 3.3: the layers, as bits of one octet; then the largest message, three octets. */
#define LAYER_NONE 1u
#define CHOICE_OCTETS 4u
#define PRINCIPAL_OCTETS 1024u

enum state { MAKING_CONTEXT = 0, LAST_TOKEN_SENT, LAYERS_OFFERED, OVER };

struct conversation {
	enum state state;
	gss_ctx_id_t context;
	gss_buffer_desc sent; /* what the library sends now; held until the next step */
	uint8_t offered;      /* LAYER_ bits */
	char user[SASLX_USER_OCTETS + 1];
	char principal[PRINCIPAL_OCTETS];
};

static int mech_new(void *glob_context, sasl_server_params_t *sparams, const char *challenge,
    unsigned challen, void **conn_context)
{
	(void)glob_context;
	(void)sparams;
	(void)challenge;
	(void)challen;
	*conn_context = calloc(1, sizeof(struct conversation));
	return *conn_context == NULL ? SASL_NOMEM : SASL_OK;
}

static void mech_dispose(void *conn_context, const sasl_utils_t *utils)
{
	struct conversation *conversation = conn_context;
	OM_uint32 minor;

	(void)utils;
	if (conversation == NULL)
		return;
	gss_release_buffer(&minor, &conversation->sent);
	gss_delete_sec_context(&minor, &conversation->context, GSS_C_NO_BUFFER);
	OPENSSL_cleanse(conversation, sizeof(*conversation));
	free(conversation);
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

static int fail_status(
    struct saslx *exchange, const char *what, OM_uint32 major, OM_uint32 minor, const char *hint)
{
	gss_buffer_desc routine = GSS_C_EMPTY_BUFFER, mechanism = GSS_C_EMPTY_BUFFER;
	OM_uint32 ignored, more = 0;

	gss_display_status(&ignored, major, GSS_C_GSS_CODE, gss_mech_krb5, &more, &routine);
	more = 0;
	gss_display_status(&ignored, minor, GSS_C_MECH_CODE, gss_mech_krb5, &more, &mechanism);
	attempt_explain(exchange, is_ours(minor), "GSSAPI: %s: %.*s: %.*s%s%s", what, (int)routine.length,
	    routine.value == NULL ? "" : (const char *)routine.value, (int)mechanism.length,
	    mechanism.value == NULL ? "" : (const char *)mechanism.value, hint != NULL ? "; " : "",
	    hint != NULL ? hint : "");
	gss_release_buffer(&ignored, &routine);
	gss_release_buffer(&ignored, &mechanism);
	return SASL_BADAUTH;
}

static int fail(struct saslx *exchange, const char *why)
{
	attempt_explain(exchange, false, "GSSAPI: %s", why);
	return SASL_BADAUTH;
}

/* The name as krb5_unparse_name writes it. NULL, or what is wrong. */
static const char *take_principal(struct conversation *conversation, gss_name_t source)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	gss_OID type = GSS_C_NO_OID;
	OM_uint32 minor;
	const char *wrong = NULL;

	if (source == GSS_C_NO_NAME || gss_display_name(&minor, source, &text, &type) != GSS_S_COMPLETE)
		return "the client has no name";
	if (gss_oid_equal(type, GSS_C_NT_ANONYMOUS))
		wrong = "the client is anonymous";
	else if (text.length == 0 || text.length >= sizeof(conversation->principal) ||
		 memchr(text.value, '\0', text.length) != NULL)
		wrong = "the client's principal is too long, or has a NUL in it";
	else
		memcpy(conversation->principal, text.value, text.length); /* the rest is zero */
	gss_release_buffer(&minor, &text);
	return wrong;
}

/* Tickets for other services cannot be opened with our keys, unless an account's names share one key. */
static bool for_our_service(gss_ctx_id_t context)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	gss_name_t target = GSS_C_NO_NAME;
	OM_uint32 minor;
	bool ours = gss_inquire_context(&minor, context, NULL, &target, NULL, NULL, NULL, NULL, NULL) ==
			GSS_S_COMPLETE &&
		    gss_display_name(&minor, target, &text, NULL) == GSS_S_COMPLETE &&
		    acceptor_is_service(library_get()->acceptor, text.value, text.length);

	gss_release_buffer(&minor, &text);
	gss_release_name(&minor, &target);
	return ours;
}

/* The session key's enctype is the last arc of an object identifier that comes with the key. */
static bool session_key_strong(gss_ctx_id_t context)
{
	gss_buffer_set_t set = GSS_C_NO_BUFFER_SET;
	OM_uint32 minor;
	bool strong = false;

	if (gss_inquire_sec_context_by_oid(&minor, context, GSS_C_INQ_SSPI_SESSION_KEY, &set) ==
		GSS_S_COMPLETE &&
	    set != GSS_C_NO_BUFFER_SET && set->count >= 2 && set->elements[1].length > 0) {
		const uint8_t *oid = set->elements[1].value;

		/* The arcs of strong ones are below 128, so one octet each. */
		strong = acceptor_enctype_strong(oid[set->elements[1].length - 1]);
		OPENSSL_cleanse(set->elements[0].value, set->elements[0].length);
	}
	gss_release_buffer_set(&minor, &set);
	return strong;
}

/* The layers this exchange may have. There are none yet: the front would have to apply them. */
static uint8_t layers(const sasl_server_params_t *sparams)
{
	(void)sparams;
	return LAYER_NONE;
}

static int offer_layers(struct conversation *conversation, const sasl_server_params_t *sparams,
    struct saslx *exchange, const char **out, unsigned *out_len)
{
	uint8_t offer[CHOICE_OCTETS] = {0}; /* section 3.3: a size of 0 where there is no layer */
	gss_buffer_desc plain = {.length = sizeof(offer), .value = offer};
	OM_uint32 major, minor;

	conversation->offered = layers(sparams);
	offer[0] = conversation->offered;
	gss_release_buffer(&minor, &conversation->sent);
	major =
	    gss_wrap(&minor, conversation->context, 0, GSS_C_QOP_DEFAULT, &plain, NULL, &conversation->sent);
	if (major != GSS_S_COMPLETE)
		return fail_status(exchange, "the offer of layers cannot be wrapped", major, minor, NULL);
	conversation->state = LAYERS_OFFERED;
	*out = conversation->sent.value;
	*out_len = (unsigned)conversation->sent.length;
	return SASL_CONTINUE;
}

/* The context is made: whose is it? */
static int check_context(struct conversation *conversation, struct saslx *exchange, gss_name_t source,
    gss_OID mechanism, OM_uint32 flags)
{
	const struct saslx_config *config = &library_get()->config;
	const char *wrong;

	if (conversation->context == GSS_C_NO_CONTEXT || mechanism == GSS_C_NO_OID ||
	    !gss_oid_equal(mechanism, gss_mech_krb5))
		return fail(exchange, "a context that is not Kerberos'");
	if ((flags & GSS_C_ANON_FLAG) != 0)
		return fail(exchange, "the client is anonymous");
	if ((wrong = take_principal(conversation, source)) != NULL)
		return fail(exchange, wrong);
	if (!for_our_service(conversation->context))
		return fail(exchange, "the ticket is for another service");
	if (!session_key_strong(conversation->context))
		return fail(exchange, "the session key is of a weak enctype");
	if (config->principal_to_user(config->arg, conversation->principal, conversation->user) != 0) {
		attempt_explain(exchange, false, "GSSAPI: %s is no user here", conversation->principal);
		return SASL_BADAUTH;
	}
	return SASL_OK;
}

static int step_accept(struct conversation *conversation, sasl_server_params_t *sparams,
    struct saslx *exchange, gss_buffer_t token, const char **out, unsigned *out_len)
{
	const struct acceptor *acceptor = library_get()->acceptor;
	gss_name_t source = GSS_C_NO_NAME;
	gss_OID mechanism = GSS_C_NO_OID;
	OM_uint32 major, minor, ignored, flags = 0;
	int rc;

	if (conversation->context == GSS_C_NO_CONTEXT && !acceptor_token_framed(token->value, token->length))
		return fail(exchange, "the first token is not a Kerberos AP-REQ framed for GSS-API");
	gss_release_buffer(&ignored, &conversation->sent);
	major = gss_accept_sec_context(&minor, &conversation->context, acceptor_credential(acceptor), token,
	    GSS_C_NO_CHANNEL_BINDINGS, &source, &mechanism, &conversation->sent, &flags, NULL, NULL);
	*out = conversation->sent.value == NULL ? "" : conversation->sent.value;
	*out_len = (unsigned)conversation->sent.length;
	if (major == GSS_S_CONTINUE_NEEDED && conversation->context != GSS_C_NO_CONTEXT)
		rc = SASL_CONTINUE;
	else if (major != GSS_S_COMPLETE)
		rc = fail_status(
		    exchange, "the ticket is not accepted", major, minor, acceptor_keys(acceptor));
	else if ((rc = check_context(conversation, exchange, source, mechanism, flags)) != SASL_OK)
		;
	else if (conversation->sent.length == 0)
		rc = offer_layers(conversation, sparams, exchange, out, out_len);
	else {
		conversation->state = LAST_TOKEN_SENT;
		rc = SASL_CONTINUE;
	}
	gss_release_name(&ignored, &source);
	return rc;
}

/* The client's choice of layer and whom it wants to be: bit, size, then the name to the end. */
static int take_choice(struct conversation *conversation, sasl_server_params_t *sparams,
    struct saslx *exchange, const uint8_t *choice, size_t len, sasl_out_params_t *oparams)
{
	size_t name_len = len - CHOICE_OCTETS;
	const char *name = (const char *)choice + CHOICE_OCTETS;
	int rc;

	if (choice[0] != LAYER_NONE || (choice[0] & conversation->offered) == 0)
		return fail(exchange, "the client chose a layer that was not offered, or several");
	/* Without a layer its size should be 0 and means nothing: s-nail always says 65535. */
	/* Older curl counts the end of its string. */
	if (name_len > 0 && name[name_len - 1] == '\0')
		name_len--;
	if (name_len > 0 &&
	    (name_len != strlen(conversation->user) || memcmp(name, conversation->user, name_len) != 0)) {
		attempt_explain(exchange, false, "GSSAPI: %s, who is %s here, wants to act as another user",
		    conversation->principal, conversation->user);
		return SASL_NOAUTHZ;
	}
	rc = sparams->canon_user(
	    sparams->utils->conn, conversation->user, 0, SASL_CU_AUTHID | SASL_CU_AUTHZID, oparams);
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
	conversation->state = OVER;
	return SASL_OK;
}

static int step_choice(struct conversation *conversation, sasl_server_params_t *sparams,
    struct saslx *exchange, gss_buffer_t token, sasl_out_params_t *oparams)
{
	gss_buffer_desc plain = GSS_C_EMPTY_BUFFER;
	OM_uint32 major, minor;
	int rc;

	major = gss_unwrap(&minor, conversation->context, token, &plain, NULL, NULL);
	/* Section 3.3: supplementary bits tell of replay, gaps and disorder, and are failures too. */
	if (major != GSS_S_COMPLETE)
		rc = fail_status(exchange, "the choice of layer cannot be unwrapped", major, minor, NULL);
	else if (plain.length < CHOICE_OCTETS || plain.length > CHOICE_OCTETS + SASLX_USER_OCTETS + 1)
		rc = fail(exchange, "the choice of layer is too short or too long");
	else
		rc = take_choice(conversation, sparams, exchange, plain.value, plain.length, oparams);
	if (plain.length == 0)
		free(plain.value); /* MIT's release passes over an empty buffer, though it allocated one octet
				    */
	else
		gss_release_buffer(&minor, &plain);
	return rc;
}

static int mech_step(void *conn_context, sasl_server_params_t *sparams, const char *in, unsigned in_len,
    const char **out, unsigned *out_len, sasl_out_params_t *oparams)
{
	struct conversation *conversation = conn_context;
	struct saslx *exchange = attempt_of(sparams->utils);
	gss_buffer_desc token = {.length = in_len, .value = (void *)(uintptr_t)in};

	*out = NULL;
	*out_len = 0;
	if (conversation == NULL || exchange == NULL || library_get()->acceptor == NULL ||
	    in_len > SASLX_TOKEN_OCTETS)
		return SASL_BADPARAM;
	switch (conversation->state) {
	case MAKING_CONTEXT:
		return step_accept(conversation, sparams, exchange, &token, out, out_len);
	case LAST_TOKEN_SENT:
		/* RFC 4752 section 3.1: the client answers our last token with an empty response. */
		if (in_len != 0)
			return fail(exchange, "a token after the context was made");
		return offer_layers(conversation, sparams, exchange, out, out_len);
	case LAYERS_OFFERED:
		return step_choice(conversation, sparams, exchange, &token, oparams);
	case OVER:
		break;
	}
	return SASL_BADPARAM;
}

static int plug_init(
    const sasl_utils_t *utils, int max_version, int *out_version, sasl_server_plug_t **plugs, int *count)
{
	static sasl_server_plug_t plug = {
	    .mech_name = "GSSAPI",
	    .max_ssf = 0,
	    .security_flags =
		SASL_SEC_NOPLAINTEXT | SASL_SEC_NOACTIVE | SASL_SEC_NOANONYMOUS | SASL_SEC_MUTUAL_AUTH,
	    .features = SASL_FEAT_WANT_CLIENT_FIRST | SASL_FEAT_ALLOWS_PROXY,
	    .mech_new = mech_new,
	    .mech_step = mech_step,
	    .mech_dispose = mech_dispose,
	};

	(void)utils;
	if (max_version < SASL_SERVER_PLUG_VERSION)
		return SASL_BADVERS;
	*out_version = SASL_SERVER_PLUG_VERSION;
	*plugs = &plug;
	*count = 1;
	return SASL_OK;
}

int gssapi_register(void)
{
	return sasl_server_add_plugin("kpopd-gssapi", plug_init);
}
