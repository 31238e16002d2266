/* SPDX-License-Identifier: ISC */
#include "keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apreq.h"

bool keys_strong(const struct keys *keys, krb5_enctype enctype)
{
	static const int strong[] = {ENCTYPE_AES256_CTS_HMAC_SHA1_96, ENCTYPE_AES128_CTS_HMAC_SHA1_96,
	    ENCTYPE_AES256_CTS_HMAC_SHA384_192, ENCTYPE_AES128_CTS_HMAC_SHA256_128, 0};
	for (const int *one = keys->enctypes != NULL ? keys->enctypes : strong; *one != 0; one++)
		if (*one == enctype)
			return true;
	return false;
}

static bool is_service(krb5_const_principal principal, const char *const *services)
{
	if (principal->length != 2)
		return false;
	const krb5_data *name = &principal->data[0];
	for (; *services != NULL; services++)
		if (strlen(*services) == name->length && memcmp(*services, name->data, name->length) == 0)
			return true;
	return false;
}

/* Appends; what does not fit is left out, and said so once. */
static void note(struct keys *keys, const char *text)
{
	static const char more[] = ", ...";
	size_t len = strlen(keys->inventory), size = sizeof(keys->inventory);

	if (len + strlen(text) + sizeof(more) <= size)
		strcpy(keys->inventory + len, text);
	else if (len < sizeof(more) || strcmp(keys->inventory + len - (sizeof(more) - 1), more) != 0)
		strcpy(keys->inventory + len, more);
}

static void note_entry(struct keys *keys, krb5_context context, const krb5_keytab_entry *entry, bool first)
{
	char text[256], enctype[64] = "unknown enctype";
	char *name = NULL;

	if (krb5_unparse_name(context, entry->principal, &name) != 0)
		return;
	krb5_enctype_to_name(entry->key.enctype, FALSE, enctype, sizeof(enctype));
	snprintf(text, sizeof(text), "%s %.150s kvno %u %s", first ? ", which has" : ",", name, entry->vno,
	    enctype);
	note(keys, text);
	krb5_free_unparsed_name(context, name);
}

/* What was wanted, and where. */
static void note_wanted(struct keys *keys, const char *keytab, const char *const *services)
{
	char text[128];

	note(keys, "wanted an AES key of ");
	for (size_t i = 0; services[i] != NULL; i++) {
		snprintf(text, sizeof(text), "%s%.64s/HOST", i == 0 ? "" : " or ", services[i]);
		note(keys, text);
	}
	snprintf(text, sizeof(text), " in %.100s", keytab);
	note(keys, text);
}

static krb5_error_code copy_entries(
    struct keys *keys, krb5_context context, krb5_keytab from, const char *const *services)
{
	krb5_kt_cursor cursor;
	krb5_keytab_entry entry;
	bool first = true;
	krb5_error_code code = krb5_kt_start_seq_get(context, from, &cursor);

	if (code != 0)
		return code;
	while ((code = krb5_kt_next_entry(context, from, &entry, &cursor)) == 0) {
		krb5_error_code added = 0;
		note_entry(keys, context, &entry, first);
		first = false;
		if (keys_strong(keys, entry.key.enctype) && is_service(entry.principal, services)) {
			added = krb5_kt_add_entry(context, keys->keytab, &entry);
			keys->count += added == 0;
		}
		krb5_free_keytab_entry_contents(context, &entry);
		if (added != 0) {
			code = added;
			break;
		}
	}
	krb5_kt_end_seq_get(context, from, &cursor);
	if (first)
		note(keys, ", which is empty");
	return code == KRB5_KT_END ? 0 : code;
}

int keys_load(struct keys *keys, krb5_context context, const char *keytab, const char *const *services,
    const int *enctypes, char *why_r, size_t size)
{
	char name[48];
	krb5_keytab from = NULL;
	int result = KPOP_OK;

	/* MEMORY keytabs of one name are one: ours is named after what holds it. */
	snprintf(name, sizeof(name), "MEMORY:kpop-%p", (void *)keys);
	keys->enctypes = enctypes;
	note_wanted(keys, keytab, services);
	krb5_error_code code = krb5_kt_resolve(context, name, &keys->keytab);
	if (code == 0)
		code = krb5_kt_resolve(context, keytab, &from); /* a bare path is FILE: */
	if (code == 0)
		code = copy_entries(keys, context, from, services);
	if (code != 0) {
		const char *text = krb5_get_error_message(context, code);
		snprintf(why_r, size, "keytab: %s; %s", text, keys->inventory);
		krb5_free_error_message(context, text);
		result = code == ENOMEM ? KPOP_TEMP : KPOP_NO_KEYTAB;
	} else if (keys->count == 0) {
		snprintf(why_r, size, "keytab: no usable key; %s", keys->inventory);
		result = KPOP_NO_KEYTAB;
	}
	if (from != NULL)
		krb5_kt_close(context, from);
	return result;
}

void keys_clear(struct keys *keys, krb5_context context)
{
	if (keys->keytab != NULL)
		krb5_kt_close(context, keys->keytab); /* the library wipes the keys of a MEMORY keytab */
	keys->keytab = NULL;
}

bool keys_serve(const struct keys *keys, krb5_context context, krb5_const_principal server)
{
	krb5_keytab_entry entry;

	if (server == NULL || krb5_kt_get_entry(context, keys->keytab, server, 0, 0, &entry) != 0)
		return false;
	krb5_free_keytab_entry_contents(context, &entry);
	return true;
}
