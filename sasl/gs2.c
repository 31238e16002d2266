/* SPDX-License-Identifier: ISC */
/*
 * The mechanism GS2-KRB5 (RFC 5801), server side, as a plug-in of the library, on the same keys and with
 * the same checks as GSSAPI. The library takes GS2-KRB5-PLUS for it too.
 *
 * The stock plug-in is not used: it brings other mechanisms along, cannot tell services apart, and lets a
 * client pass that has not bound its header. Our GSS-API takes such a client as well, and only says so by a
 * flag, which is looked at here.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <openssl/crypto.h>

#include "context.h"
#include "gs2header.h"
#include "library.h"

/* Tag, length, and the object identifier of Kerberos: RFC 2743 section 3.1. */
#define FRAME_HEAD_OCTETS (1u + 5u + 11u)
/* Header and binding, as both sides know them. */
#define BOUND_OCTETS (1024u + SASLX_BINDING_OCTETS)

enum state { MAKING_CONTEXT = 0, LAST_TOKEN_SENT, OVER };

struct conversation {
	enum state state;
	bool begun;
	struct context context;
	struct gs2header header;
	uint8_t bound[BOUND_OCTETS];
	size_t bound_len;
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
	conversation->context.mechanism = "GS2-KRB5";
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

/* RFC 5801 section 5.1: the header, and what it names. exchange.c has looked whether the two may be. */
static const char *bind_header(struct conversation *conversation, const sasl_channel_binding_t *binding,
    const char *message, sasl_out_params_t *oparams)
{
	const struct gs2header *header = &conversation->header;
	size_t len = header->end - header->start, binding_len = binding != NULL ? binding->len : 0;

	if ((header->flag == GS2_BOUND) != (binding != NULL) ||
	    (binding != NULL && strcmp(binding->name, header->type) != 0))
		return "no channel binding of the client's type";
	if (binding_len > SASLX_BINDING_OCTETS || len > sizeof(conversation->bound) - binding_len)
		return "the header is too long";
	memcpy(conversation->bound, message + header->start, len);
	if (binding != NULL)
		memcpy(conversation->bound + len, binding->data, binding_len);
	conversation->bound_len = len + binding_len;
	oparams->cbindingdisp = binding != NULL ? SASL_CB_DISP_USED : SASL_CB_DISP_NONE;
	oparams->cbindingname = header->type;
	return NULL;
}

static size_t put_length(uint8_t *at, size_t len)
{
	size_t octets = len < 0x80 ? 0 : len < 0x100 ? 1 : len < 0x10000 ? 2 : 3, used = 0;

	if (octets == 0) {
		at[used++] = (uint8_t)len;
		return used;
	}
	at[used++] = (uint8_t)(0x80 | octets);
	for (size_t i = octets; i > 0; i--)
		at[used++] = (uint8_t)(len >> 8 * (i - 1));
	return used;
}

/* The client leaves out how GSS-API frames a first token; len_r octets, to be freed. NULL: no memory. */
static uint8_t *frame(const char *token, size_t len, size_t *len_r)
{
	static const uint8_t kerberos[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02};
	uint8_t *framed = malloc(FRAME_HEAD_OCTETS + len);
	size_t used = 0;

	if (framed == NULL)
		return NULL;
	framed[used++] = 0x60;
	used += put_length(framed + used, sizeof(kerberos) + len);
	memcpy(framed + used, kerberos, sizeof(kerberos));
	memcpy(framed + used + sizeof(kerberos), token, len);
	*len_r = used + sizeof(kerberos) + len;
	return framed;
}

static int accept_token(
    struct conversation *conversation, struct saslx *exchange, const void *token, size_t len)
{
	struct gss_channel_bindings_struct bindings = {
	    .application_data = {.length = conversation->bound_len, .value = conversation->bound}};

	return context_accept(&conversation->context, exchange, token, len, &bindings);
}

static int accept_first(struct conversation *conversation, const sasl_server_params_t *sparams,
    struct saslx *exchange, const char *message, size_t len, sasl_out_params_t *oparams)
{
	const char *wrong = gs2header_parse(message, len, &conversation->header), *token;
	uint8_t *framed;
	int rc;

	if (wrong == NULL)
		wrong = bind_header(conversation, sparams->cbinding, message, oparams);
	if (wrong != NULL)
		return context_fail(&conversation->context, exchange, wrong);
	conversation->begun = true;
	token = message + conversation->header.end;
	len -= conversation->header.end;
	if (conversation->header.nonstandard)
		return accept_token(conversation, exchange, token, len);
	framed = frame(token, len, &len);
	if (framed == NULL)
		return SASL_NOMEM;
	rc = accept_token(conversation, exchange, framed, len);
	free(framed);
	return rc;
}

static int finish(struct conversation *conversation, sasl_server_params_t *sparams, struct saslx *exchange,
    sasl_out_params_t *oparams)
{
	const char *authzid = conversation->header.authzid;

	conversation->state = OVER;
	return context_finish(&conversation->context, exchange, sparams, authzid, strlen(authzid), oparams);
}

static int step_accept(struct conversation *conversation, sasl_server_params_t *sparams,
    struct saslx *exchange, const char *in, size_t len, const char **out, unsigned *out_len,
    sasl_out_params_t *oparams)
{
	struct context *context = &conversation->context;
	int rc = conversation->begun ? accept_token(conversation, exchange, in, len)
				     : accept_first(conversation, sparams, exchange, in, len, oparams);

	*out = context->sent.value == NULL ? "" : context->sent.value;
	*out_len = (unsigned)context->sent.length;
	if (rc != SASL_OK)
		return rc;
	/* Without bindings of its own a client is accepted by GSS-API, and its header by nobody. */
	if ((context->flags & GSS_C_CHANNEL_BOUND_FLAG) == 0)
		return context_fail(context, exchange, "the client's ticket is not bound to its header");
	if ((context->flags & GSS_C_MUTUAL_FLAG) == 0)
		return context_fail(context, exchange, "the client does not ask who we are");
	/* RFC 5034 section 4: nothing goes with +OK, so our last token is a challenge, answered by nothing.
	 */
	conversation->state = LAST_TOKEN_SENT;
	return SASL_CONTINUE;
}

static int mech_step(void *conn_context, sasl_server_params_t *sparams, const char *in, unsigned in_len,
    const char **out, unsigned *out_len, sasl_out_params_t *oparams)
{
	struct conversation *conversation = conn_context;
	struct saslx *exchange = attempt_of(sparams->utils);

	*out = NULL;
	*out_len = 0;
	if (conversation == NULL || exchange == NULL || library_get()->acceptor == NULL ||
	    in_len > SASLX_TOKEN_OCTETS)
		return SASL_BADPARAM;
	switch (conversation->state) {
	case MAKING_CONTEXT:
		return step_accept(conversation, sparams, exchange, in, in_len, out, out_len, oparams);
	case LAST_TOKEN_SENT:
		if (in_len != 0)
			return context_fail(
			    &conversation->context, exchange, "a token after the context was made");
		return finish(conversation, sparams, exchange, oparams);
	case OVER:
		break;
	}
	return SASL_BADPARAM;
}

static int plug_init(
    const sasl_utils_t *utils, int max_version, int *out_version, sasl_server_plug_t **plugs, int *count)
{
	static sasl_server_plug_t plug = {
	    .mech_name = "GS2-KRB5",
	    .max_ssf = 0,
	    .security_flags =
		SASL_SEC_NOPLAINTEXT | SASL_SEC_NOACTIVE | SASL_SEC_NOANONYMOUS | SASL_SEC_MUTUAL_AUTH,
	    .features = SASL_FEAT_WANT_CLIENT_FIRST | SASL_FEAT_ALLOWS_PROXY | SASL_FEAT_CHANNEL_BINDING,
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

int gs2_register(void)
{
	return sasl_server_add_plugin("kpopd-gs2", plug_init);
}
