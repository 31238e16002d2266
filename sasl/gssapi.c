/* SPDX-License-Identifier: ISC */
/*
 * The mechanism GSSAPI (RFC 4752), server side, as a plug-in of the library: contexts of Kerberos 5
 * only, on MIT's GSS-API.
 *
 * The stock plug-in is not used: it is offered without a key, looks at GSS_ERROR only, so that replayed
 * and reordered tokens pass, and takes other mechanisms' tokens. Here any status but COMPLETE, and
 * CONTINUE while the context is made, is a refusal.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <gssapi/gssapi.h>
#include <openssl/crypto.h>

#include "context.h"
#include "layer_export.h"
#include "library.h"

/* RFC 4752 section 3.3: the layers, as bits of one octet; then the largest message, three octets. */
#define CHOICE_OCTETS 4u
_Static_assert((int)LAYER_INTEGRITY == (int)SASLX_LAYER_INTEGRITY &&
		   (int)LAYER_CONFIDENTIALITY == (int)SASLX_LAYER_CONFIDENTIALITY,
    "layers have the same bits everywhere");
_Static_assert(LAYER_EXPORTED_OCTETS <= SASLX_LAYER_OCTETS, "a layer fits where it is left");

enum state { MAKING_CONTEXT = 0, LAST_TOKEN_SENT, LAYERS_OFFERED, OVER };

struct conversation {
	enum state state;
	struct context context;
	uint8_t offered; /* SASLX_LAYER_ bits */
};

static int mech_new(void *glob_context, sasl_server_params_t *sparams, const char *challenge,
    unsigned challen, void **conn_context)
{
	struct conversation *conversation = calloc(1, sizeof(*conversation));

	(void)glob_context;
	(void)sparams;
	(void)challenge;
	(void)challen;
	*conn_context = conversation;
	if (conversation == NULL)
		return SASL_NOMEM;
	conversation->context.mechanism = "GSSAPI";
	return SASL_OK;
}

static void mech_dispose(void *conn_context, const sasl_utils_t *utils)
{
	struct conversation *conversation = conn_context;

	(void)utils;
	if (conversation == NULL)
		return;
	context_clear(&conversation->context);
	OPENSSL_cleanse(conversation, sizeof(*conversation));
	free(conversation);
}

/*
 * The layers this exchange may have: those the connection allows and this context can give. Section 3.1: a
 * client that wants one asks for mutual authentication and for sequence, and for confidentiality if that is
 * what it wants.
 */
static uint8_t layers(const struct context *context, const struct saslx_connection *connection)
{
	const OM_uint32 integrity = GSS_C_MUTUAL_FLAG | GSS_C_SEQUENCE_FLAG | GSS_C_INTEG_FLAG;
	unsigned able = SASLX_LAYER_NONE;

	if ((context->flags & integrity) == integrity) {
		able |= SASLX_LAYER_INTEGRITY;
		if ((context->flags & GSS_C_CONF_FLAG) != 0)
			able |= SASLX_LAYER_CONFIDENTIALITY;
	}
	/* RFC 5034 section 4 allows a layer inside TLS; it would protect what is protected. */
	if (connection->tls || connection->layers == 0)
		return SASLX_LAYER_NONE;
	return (uint8_t)(connection->layers & able);
}

static int offer_layers(
    struct conversation *conversation, struct saslx *exchange, const char **out, unsigned *out_len)
{
	uint8_t offer[CHOICE_OCTETS] = {0}; /* section 3.3: a size of 0 where there is no layer */
	gss_buffer_desc plain = {.length = sizeof(offer), .value = offer};
	OM_uint32 major, minor;

	conversation->offered = layers(&conversation->context, &exchange->connection);
	if (conversation->offered == 0)
		return context_fail(&conversation->context, exchange,
		    "the client asked Kerberos for none of the security layers that are allowed here; "
		    "it needs TLS, or 'none' in gssapi_layers");
	offer[0] = conversation->offered;
	if (conversation->offered != SASLX_LAYER_NONE) {
		offer[2] = LAYER_RECEIVE_OCTETS >> 8;
		offer[3] = LAYER_RECEIVE_OCTETS & 0xff;
	}
	gss_release_buffer(&minor, &conversation->context.sent);
	major = gss_wrap(&minor, conversation->context.handle, 0, GSS_C_QOP_DEFAULT, &plain, NULL,
	    &conversation->context.sent);
	if (major != GSS_S_COMPLETE)
		return context_fail_status(&conversation->context, exchange,
		    "the offer of layers cannot be wrapped", major, minor, NULL);
	conversation->state = LAYERS_OFFERED;
	*out = conversation->context.sent.value;
	*out_len = (unsigned)conversation->context.sent.length;
	return SASL_CONTINUE;
}

static int step_accept(struct conversation *conversation, struct saslx *exchange, const char *token,
    unsigned len, const char **out, unsigned *out_len)
{
	struct context *context = &conversation->context;
	int rc = context_accept_end_point(context, exchange, token, len);

	*out = context->sent.value == NULL ? "" : context->sent.value;
	*out_len = (unsigned)context->sent.length;
	if (rc != SASL_OK)
		return rc;
	if (context->sent.length == 0)
		return offer_layers(conversation, exchange, out, out_len);
	conversation->state = LAST_TOKEN_SENT;
	return SASL_CONTINUE;
}

/* Leaves the layer with the exchange, and ends the context: the front goes on with it. */
static int export_layer(
    struct conversation *conversation, struct saslx *exchange, uint8_t kind, size_t client_max)
{
	struct saslx_layer *layer = &exchange->layer;

	layer->len = layer_export(
	    &conversation->context.handle, (enum layer_kind)kind, client_max, 1, layer->octets_secret);
	if (layer->len == 0) {
		attempt_explain(exchange, true, "GSSAPI: the security layer cannot be exported");
		return SASL_FAIL;
	}
	layer->kind = (enum saslx_layers)kind;
	return SASL_OK;
}

static const char *choice_wrong(const struct conversation *conversation, uint8_t kind, size_t client_max)
{
	if ((kind & (kind - 1u)) != 0 || (kind & conversation->offered) == 0)
		return "the client chose a layer that was not offered, or several";
	/* Without a layer the size should be 0 and means nothing: s-nail always says 65535. */
	if (kind != SASLX_LAYER_NONE && client_max < LAYER_CLIENT_OCTETS)
		return "the client takes too little at a time for a security layer";
	return NULL;
}

/* The client's choice of layer and whom it wants to be: bit, size, then the name to the end. */
static int take_choice(struct conversation *conversation, sasl_server_params_t *sparams,
    struct saslx *exchange, const uint8_t *choice, size_t len, sasl_out_params_t *oparams)
{
	size_t client_max = (size_t)choice[1] << 16 | (size_t)choice[2] << 8 | choice[3];
	size_t name_len = len - CHOICE_OCTETS;
	const char *name = (const char *)choice + CHOICE_OCTETS;
	const char *wrong = choice_wrong(conversation, choice[0], client_max);
	int rc;

	if (wrong != NULL)
		return context_fail(&conversation->context, exchange, wrong);
	/* Older curl counts the end of its string. */
	if (name_len > 0 && name[name_len - 1] == '\0')
		name_len--;
	rc = context_finish(&conversation->context, exchange, sparams, name, name_len, oparams);
	if (rc == SASL_OK && choice[0] != SASLX_LAYER_NONE)
		rc = export_layer(conversation, exchange, choice[0], client_max);
	if (rc == SASL_OK)
		conversation->state = OVER;
	return rc;
}

static int step_choice(struct conversation *conversation, sasl_server_params_t *sparams,
    struct saslx *exchange, gss_buffer_t token, sasl_out_params_t *oparams)
{
	gss_buffer_desc plain = GSS_C_EMPTY_BUFFER;
	OM_uint32 major, minor;
	int rc;

	major = gss_unwrap(&minor, conversation->context.handle, token, &plain, NULL, NULL);
	/* Section 3.3: supplementary bits tell of replay, gaps and disorder, and are failures too. */
	if (major != GSS_S_COMPLETE)
		rc = context_fail_status(&conversation->context, exchange,
		    "the choice of layer cannot be unwrapped", major, minor, NULL);
	else if (plain.length < CHOICE_OCTETS || plain.length > CHOICE_OCTETS + SASLX_USER_OCTETS + 1)
		rc = context_fail(
		    &conversation->context, exchange, "the choice of layer is too short or too long");
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
		return step_accept(conversation, exchange, in, in_len, out, out_len);
	case LAST_TOKEN_SENT:
		/* RFC 4752 section 3.1: the client answers our last token with an empty response. */
		if (in_len != 0)
			return context_fail(
			    &conversation->context, exchange, "a token after the context was made");
		return offer_layers(conversation, exchange, out, out_len);
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
