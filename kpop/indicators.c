/* SPDX-License-Identifier: ISC */
#include "indicators.h"

#include <stdbool.h>
#include <string.h>

#include "der.h"

#define AD_CAMMAC 96                   /* RFC 7751 section 3 */
#define AD_AUTHENTICATION_INDICATOR 97 /* RFC 8129 section 3 */
#define USAGE_CAMMAC 64                /* RFC 7751 section 3.3 */

enum { CONTAINERS_COUNT = 8 };

/* [number] Verifier-MAC, of which only the Checksum matters: the key is the ticket's. */
static bool take_seal(struct der *fields, unsigned number, krb5_checksum *seal_r)
{
	struct der verifier = der_take_field(fields, number, DER_SEQUENCE);
	der_skip_field(&verifier, 0);
	der_skip_field(&verifier, 1);
	der_skip_field(&verifier, 2);
	struct der checksum = der_take_field(&verifier, 3, DER_SEQUENCE);
	int64_t type = der_take_integer(&checksum, 0);
	struct der octets = der_take_field(&checksum, 1, DER_OCTETS);

	*seal_r = (krb5_checksum){.checksum_type = (krb5_cksumtype)type,
	    .length = (unsigned)octets.left,
	    .contents = (krb5_octet *)(uintptr_t)octets.at};
	return !fields->bad && !verifier.bad && !checksum.bad && type >= INT32_MIN && type <= INT32_MAX;
}

int indicators_open(const void *octets, size_t len, struct cammac *cammac_r)
{
	struct der der = {octets, len, false};
	struct der fields = der_take(&der, DER_SEQUENCE);
	struct der elements = der_take(&fields, DER_FIELD + 0);

	*cammac_r = (struct cammac){.elements = elements.at, .elements_len = elements.left};
	der_skip_field(&fields, 1);
	return !der.bad && der.left == 0 && !elements.bad && take_seal(&fields, 2, &cammac_r->seal) ? 0 : -1;
}

void indicators_add(struct kpop_indicators *indicators, const void *octets, size_t len)
{
	struct der der = {octets, len, false};
	struct der strings = der_take(&der, DER_SEQUENCE);
	size_t count = 0;

	while (indicators->list[count] != NULL)
		count++;
	while (!strings.bad && strings.left > 0 && count < KPOP_INDICATORS_COUNT) {
		struct der string = der_take(&strings, DER_UTF8);
		if (string.bad || string.left == 0 || string.left > KPOP_INDICATOR_OCTETS ||
		    memchr(string.at, '\0', string.left) != NULL)
			continue;
		memcpy(indicators->text[count], string.at, string.left);
		indicators->text[count][string.left] = '\0';
		indicators->list[count] = indicators->text[count];
		count++;
	}
}

/* A checksum without a key is no seal: anybody can make one. */
static bool sealed(krb5_context context, const krb5_keyblock *key, const struct cammac *cammac)
{
	const krb5_data elements = {
	    .data = (char *)(uintptr_t)cammac->elements, .length = (unsigned)cammac->elements_len};
	krb5_boolean valid = 0;

	return krb5_c_is_keyed_cksum(cammac->seal.checksum_type) != 0 &&
	       krb5_c_verify_checksum(context, key, USAGE_CAMMAC, &elements, &cammac->seal, &valid) == 0 &&
	       valid != 0;
}

static void take_elements(
    krb5_context context, const struct cammac *cammac, struct kpop_indicators *indicators)
{
	/* To the library it is a list like the one of AD-IF-RELEVANT. */
	const krb5_authdata container = {.ad_type = KRB5_AUTHDATA_IF_RELEVANT,
	    .length = (unsigned)cammac->elements_len,
	    .contents = (krb5_octet *)(uintptr_t)cammac->elements};
	krb5_authdata **elements = NULL;

	if (krb5_decode_authdata_container(context, KRB5_AUTHDATA_IF_RELEVANT, &container, &elements) != 0)
		return;
	for (krb5_authdata **at = elements; at != NULL && *at != NULL; at++)
		if ((*at)->ad_type == AD_AUTHENTICATION_INDICATOR)
			indicators_add(indicators, (*at)->contents, (*at)->length);
	krb5_free_authdata(context, elements);
}

void indicators_read(
    krb5_context context, krb5_keytab keytab, const krb5_ticket *ticket, struct kpop_indicators *indicators_r)
{
	krb5_authdata **containers = NULL;
	krb5_keytab_entry entry = {0};
	struct cammac cammac;

	memset(indicators_r, 0, sizeof *indicators_r);
	if (ticket->enc_part2->authorization_data == NULL ||
	    krb5_find_authdata(
		context, ticket->enc_part2->authorization_data, NULL, AD_CAMMAC, &containers) != 0 ||
	    containers == NULL)
		return;
	if (krb5_kt_get_entry(context, keytab, ticket->server, ticket->enc_part.kvno,
		ticket->enc_part.enctype, &entry) == 0) {
		for (unsigned i = 0; i < CONTAINERS_COUNT && containers[i] != NULL; i++)
			if (indicators_open(containers[i]->contents, containers[i]->length, &cammac) == 0 &&
			    sealed(context, &entry.key, &cammac))
				take_elements(context, &cammac, indicators_r);
		krb5_free_keytab_entry_contents(context, &entry);
	}
	krb5_free_authdata(context, containers);
}
