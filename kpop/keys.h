/* SPDX-License-Identifier: ISC */
/*
 * keys: the part of a keytab that KPOP may use, copied into memory. Private to apreq.
 *
 * Only keys of the services we are, and only AES: a ticket of another service of this host, or one of a
 * weak enctype, then finds no key at all.
 */
#ifndef KPOPD_KPOP_KEYS_H
#define KPOPD_KPOP_KEYS_H

#include <krb5.h>
#include <stdbool.h>
#include <stddef.h>

struct keys {
	krb5_keytab keytab; /* MEMORY: */
	unsigned count;
	const int *enctypes; /* not ours */
	char inventory[320]; /* "wanted … in KEYTAB, which has …", for the log */
};

/* keys is zeroed; enctypes as in struct kpop_config. KPOP_OK, KPOP_NO_KEYTAB, KPOP_TEMP; why_r gets one line
 * unless KPOP_OK. keys_clear in any case. */
int keys_load(struct keys *keys, krb5_context context, const char *keytab, const char *const *services,
    const int *enctypes, char *why_r, size_t size);
void keys_clear(struct keys *keys, krb5_context context);

/* Whether a key of exactly this principal is ours: service, host and realm. */
bool keys_serve(const struct keys *keys, krb5_context context, krb5_const_principal server);
/* Of those we take: unless the site named some of them, AES in any form (RFC 3962, RFC 8009). */
bool keys_strong(const struct keys *keys, krb5_enctype enctype);

#endif
