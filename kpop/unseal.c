/* SPDX-License-Identifier: ISC */
#include "unseal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

krb5_error_code unseal_server(krb5_context context, const struct ticket *ticket, krb5_principal *server_r)
{
	krb5_data parts[TICKET_COMPONENTS_COUNT];
	krb5_principal_data server = {.magic = KV5M_PRINCIPAL,
	    .realm = {.data = (char *)(uintptr_t)ticket->realm.octets, .length = (unsigned)ticket->realm.len},
	    .data = parts,
	    .length = (krb5_int32)ticket->component_count,
	    .type = KRB5_NT_SRV_HST};

	for (unsigned i = 0; i < ticket->component_count; i++)
		parts[i] = (krb5_data){.data = (char *)(uintptr_t)ticket->components[i].octets,
		    .length = (unsigned)ticket->components[i].len};
	return krb5_copy_principal(context, &server, server_r);
}

/* A ticket of the library's own memory, which frees it. NULL: no memory. */
static krb5_ticket *make_ticket(krb5_context context, const struct ticket *from)
{
	const struct ticket_sealed *part = &from->part;
	krb5_ticket *ticket = calloc(1, sizeof(*ticket));

	if (ticket == NULL)
		return NULL;
	ticket->enc_part.enctype = part->enctype;
	ticket->enc_part.kvno = part->has_kvno ? part->kvno : 0;
	ticket->enc_part.ciphertext.data = malloc(part->cipher.len + 1);
	if (ticket->enc_part.ciphertext.data == NULL || unseal_server(context, from, &ticket->server) != 0) {
		free(ticket->enc_part.ciphertext.data);
		free(ticket);
		return NULL;
	}
	memcpy(ticket->enc_part.ciphertext.data, part->cipher.octets, part->cipher.len);
	ticket->enc_part.ciphertext.length = (unsigned)part->cipher.len;
	return ticket;
}

/* 0, or -1: of another key, or broken. */
static int read_authenticator(
    krb5_context context, const krb5_keyblock *key, const struct ticket_sealed *sealed, int64_t *made_r)
{
	krb5_enc_data data = {.enctype = sealed->enctype,
	    .ciphertext = {
		.data = (char *)(uintptr_t)sealed->cipher.octets, .length = (unsigned)sealed->cipher.len}};
	krb5_data plain = {.data = malloc(sealed->cipher.len + 1), .length = (unsigned)sealed->cipher.len};
	int ret = -1;

	if (plain.data == NULL)
		return -1;
	if (krb5_c_decrypt(context, key, KRB5_KEYUSAGE_AP_REQ_AUTH, NULL, &data, &plain) == 0)
		ret = ticket_authenticator_time(plain.data, plain.length, made_r);
	explicit_bzero(plain.data, sealed->cipher.len); /* it may hold a subkey */
	free(plain.data);
	return ret;
}

/* The library's times are 32 bits wide, and mean those up to 2106. */
static int64_t seconds(krb5_timestamp when)
{
	return (int64_t)(uint32_t)when;
}

krb5_error_code unseal(
    krb5_context context, krb5_keytab keytab, const struct ticket *from, struct unsealed *unsealed_r)
{
	krb5_ticket *ticket = make_ticket(context, from);
	char *name = NULL;

	memset(unsealed_r, 0, sizeof(*unsealed_r));
	if (ticket == NULL)
		return ENOMEM;
	krb5_error_code code = krb5_server_decrypt_ticket_keytab(context, keytab, ticket);
	if (code == 0) {
		const krb5_enc_tkt_part *part = ticket->enc_part2;
		unsealed_r->starts =
		    seconds(part->times.starttime != 0 ? part->times.starttime : part->times.authtime);
		unsealed_r->ends = seconds(part->times.endtime);
		unsealed_r->session_enctype = part->session->enctype;
		unsealed_r->authenticated =
		    read_authenticator(context, part->session, &from->authenticator, &unsealed_r->made) == 0;
		if (krb5_unparse_name(context, part->client, &name) == 0)
			snprintf(unsealed_r->client, sizeof(unsealed_r->client), "%s", name);
		krb5_free_unparsed_name(context, name);
	}
	krb5_free_ticket(context, ticket);
	return code;
}
