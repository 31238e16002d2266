/* SPDX-License-Identifier: ISC */
#include "layer_export.h"

#include <string.h>

#include <gssapi/gssapi_krb5.h>

#include "enctype.h"

#define LUCID_VERSION 1u
#define PROTOCOL_RFC4121 1u

static uint8_t *put(uint8_t *at, size_t octets, uint64_t value)
{
	for (size_t i = octets; i-- > 0;) {
		at[i] = (uint8_t)value;
		value >>= 8;
	}
	return at + octets;
}

static size_t write_out(const gss_krb5_lucid_context_v1_t *lucid, enum layer_kind kind, size_t client_max,
    uint64_t taken, uint8_t *octets_secret_r)
{
	const gss_krb5_cfx_keydata_t *keys = &lucid->cfx_kd;
	/* RFC 4121 section 2: the acceptor's subkey when it asserted one. */
	const gss_krb5_lucid_key_t *key =
	    keys->have_acceptor_subkey ? &keys->acceptor_subkey : &keys->ctx_key;
	const struct enctype *enctype = enctype_find((int)key->type);
	uint8_t *at = octets_secret_r;

	if (lucid->version != LUCID_VERSION || lucid->protocol != PROTOCOL_RFC4121 || lucid->initiate ||
	    enctype == NULL || key->length != enctype->key_octets)
		return 0;
	at = put(at, 1, 1);
	at = put(at, 1, (uint64_t)kind);
	at = put(at, 1, key->type);
	at = put(at, 1, keys->have_acceptor_subkey != 0);
	at = put(at, 4, client_max);
	at = put(at, 8, lucid->send_seq);
	/* The library tells where the client began; what has come since it keeps to itself. */
	at = put(at, 8, lucid->recv_seq + taken);
	memcpy(at, key->data, enctype->key_octets);
	return (size_t)(at - octets_secret_r) + enctype->key_octets;
}

size_t layer_export(
    gss_ctx_id_t *context, enum layer_kind kind, size_t client_max, uint64_t taken, uint8_t *octets_secret_r)
{
	OM_uint32 major, minor;
	void *lucid = NULL;
	size_t len = 0;

	major = gss_krb5_export_lucid_sec_context(&minor, context, LUCID_VERSION, &lucid);
	if (major == GSS_S_COMPLETE && lucid != NULL) {
		len = write_out(lucid, kind, client_max, taken, octets_secret_r);
		gss_krb5_free_lucid_sec_context(&minor, lucid); /* wipes the keys */
	}
	gss_delete_sec_context(&minor, context, GSS_C_NO_BUFFER);
	return len;
}
