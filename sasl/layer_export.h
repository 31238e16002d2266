/* SPDX-License-Identifier: ISC */
/*
 * layer_export: what a GSS context of Kerberos is, in the octets layer.h reads.
 *
 * For gssapi.c, in the process that has the keytab, so that another can apply the layer. Of the context only
 * one key, two numbers and what was agreed on leave this process.
 */
#ifndef KPOPD_SASL_LAYER_EXPORT_H
#define KPOPD_SASL_LAYER_EXPORT_H

#include <stddef.h>
#include <stdint.h>

#include <gssapi/gssapi.h>

#include "layer.h"

/*
 * Ends the context, whatever comes of it. taken: how many Wrap tokens of the client it has unwrapped.
 * client_max: the largest token the client takes, LAYER_CLIENT_OCTETS to LAYER_CLIENT_MAX_OCTETS.
 * octets_r has LAYER_EXPORTED_OCTETS, which the caller wipes. Returns how many there are, or 0: not a context
 * that a layer can be made of (RFC 4121 with an AES key), or the library failed.
 */
size_t layer_export(
    gss_ctx_id_t *context, enum layer_kind kind, size_t client_max, uint64_t taken, uint8_t *octets_secret_r);

#endif
