/* SPDX-License-Identifier: ISC */
#include "explain.h"

#include <errno.h>
#include <krb5.h>
#include <profile.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keys.h"
#include "replay.h"
#include "ticket.h"
#include "unseal.h"

#define ENTRIES_COUNT 1024u /* of a keytab that are known; more are no server's */
#define NAMED_COUNT 4u      /* of them in a line */
#define NAME_OCTETS 160u    /* of a principal in a line */
#define LOOKS_COUNT 20u     /* into tickets, each second */

struct entry {
	char *name; /* as krb5_unparse_name quotes it */
	krb5_kvno kvno;
	krb5_enctype enctype;
};

struct explain {
	krb5_context context;
	const char *const *services;
	char *keytab;      /* its path */
	char trouble[160]; /* why it could not be read; "" */
	struct entry *entries;
	size_t count;
	struct keys keys; /* of our services, strong ones */
	struct replay replay;
	long skew_secs; /* that the library bears */
	time_t second;  /* in which looks were made */
	unsigned looks;
};

/* What is told, and what it is told about. */
struct subject {
	struct explain *explain;
	struct ticket ticket;
	char name[NAME_OCTETS]; /* whom it is for */
	char *text;
};

static void append(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(char *text, const char *format, ...)
{
	size_t len = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + len, EXPLAIN_TEXT_OCTETS - len, format, args);
	va_end(args);
}

/* Names in it are the client's: none may look like another field of a line, or move a cursor. */
static void make_printable(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f || *text == '=')
			*text = '?';
}

/* ---- the keytab ---- */

static krb5_error_code add_entry(struct explain *explain, const krb5_keytab_entry *from)
{
	struct entry *entries = reallocarray(explain->entries, explain->count + 1, sizeof(*entries));
	char *name;

	if (entries == NULL)
		return ENOMEM;
	explain->entries = entries;
	krb5_error_code code = krb5_unparse_name(explain->context, from->principal, &name);
	if (code == 0)
		entries[explain->count++] = (struct entry){name, from->vno, from->key.enctype};
	return code;
}

static krb5_error_code read_entries(struct explain *explain, krb5_keytab keytab)
{
	krb5_kt_cursor cursor;
	krb5_keytab_entry entry;
	krb5_error_code code = krb5_kt_start_seq_get(explain->context, keytab, &cursor);

	if (code != 0)
		return code;
	while (explain->count < ENTRIES_COUNT &&
	       (code = krb5_kt_next_entry(explain->context, keytab, &entry, &cursor)) == 0) {
		code = add_entry(explain, &entry);
		krb5_free_keytab_entry_contents(explain->context, &entry);
		if (code != 0)
			break;
	}
	krb5_kt_end_seq_get(explain->context, keytab, &cursor);
	return code == KRB5_KT_END ? 0 : code;
}

static void read_keytab(struct explain *explain, const int *enctypes)
{
	char why[512];
	krb5_keytab keytab = NULL;
	krb5_error_code code = krb5_kt_resolve(explain->context, explain->keytab, &keytab);

	if (code == 0)
		code = read_entries(explain, keytab);
	if (keytab != NULL)
		krb5_kt_close(explain->context, keytab);
	if (code != 0) {
		const char *text = krb5_get_error_message(explain->context, code);
		snprintf(explain->trouble, sizeof(explain->trouble), "%s", text);
		krb5_free_error_message(explain->context, text);
	}
	/* Without a key nothing can be looked into. */
	(void)keys_load(
	    &explain->keys, explain->context, explain->keytab, explain->services, enctypes, why, sizeof(why));
}

/* As the library reads it; its default is 300. */
static long configured_skew(krb5_context context)
{
	profile_t profile = NULL;
	int secs = 300;

	if (krb5_get_profile(context, &profile) == 0) {
		if (profile_get_integer(profile, "libdefaults", "clockskew", NULL, 300, &secs) != 0)
			secs = 300;
		profile_release(profile);
	}
	return secs;
}

struct explain *explain_open(const struct explain_config *config)
{
	struct explain *explain = calloc(1, sizeof(*explain));

	if (explain == NULL)
		return NULL;
	explain->services = config->services;
	explain->keytab = strdup(config->keytab);
	if (explain->keytab == NULL || krb5_init_context(&explain->context) != 0) {
		explain_close(&explain);
		return NULL;
	}
	explain->skew_secs = configured_skew(explain->context);
	replay_init(&explain->replay, config->replay_cache);
	read_keytab(explain, config->enctypes);
	return explain;
}

void explain_close(struct explain **explain)
{
	struct explain *e = *explain;

	*explain = NULL;
	if (e == NULL)
		return;
	if (e->context != NULL) {
		for (size_t i = 0; i < e->count; i++)
			krb5_free_unparsed_name(e->context, e->entries[i].name);
		keys_clear(&e->keys, e->context);
		krb5_free_context(e->context);
	}
	free(e->entries);
	free(e->keytab);
	free(e);
}

/* ---- what the keytab has for it ---- */

static const char *enctype_name(krb5_enctype enctype, char *text_r, size_t size)
{
	static const char prefix[] = "DEPRECATED:"; /* the line says so in its own words */

	if (krb5_enctype_to_name(enctype, FALSE, text_r, size) != 0)
		snprintf(text_r, size, "enctype %d", (int)enctype);
	return strncmp(text_r, prefix, sizeof(prefix) - 1) == 0 ? text_r + sizeof(prefix) - 1 : text_r;
}

static bool is_first(const struct explain *explain, size_t i)
{
	return i == 0 || strcmp(explain->entries[i].name, explain->entries[i - 1].name) != 0;
}

/* The principals of the keytab, for one that it does not have. */
static void list_names(const struct subject *subject)
{
	const struct explain *explain = subject->explain;
	unsigned named = 0;

	for (size_t i = 0; i < explain->count; i++)
		if (is_first(explain, i) && named++ < NAMED_COUNT)
			append(subject->text, "%s %.100s", named == 1 ? "" : ",", explain->entries[i].name);
	if (named > NAMED_COUNT)
		append(subject->text, " and %u more", named - NAMED_COUNT);
	if (named == 0)
		append(subject->text, " nothing");
}

/* The keys it has of the ticket's service. */
static void list_keys(const struct subject *subject)
{
	const struct explain *explain = subject->explain;
	char enctype[64];
	unsigned named = 0;

	for (size_t i = explain->count; i-- > 0;) /* the newest come last */
		if (strcmp(explain->entries[i].name, subject->name) == 0 && named++ < NAMED_COUNT)
			append(subject->text, "%s kvno %u %s", named == 1 ? "" : ",",
			    (unsigned)explain->entries[i].kvno,
			    enctype_name(explain->entries[i].enctype, enctype, sizeof(enctype)));
	if (named > NAMED_COUNT)
		append(subject->text, " and %u more", named - NAMED_COUNT);
}

/* How far the keytab can follow the ticket. */
struct match {
	bool name, kvno, key;
	krb5_kvno newest;
};

static struct match match_entries(const struct subject *subject)
{
	const struct explain *explain = subject->explain;
	const struct ticket_sealed *part = &subject->ticket.part;
	struct match match = {.name = false};

	for (size_t i = 0; i < explain->count; i++) {
		const struct entry *entry = &explain->entries[i];
		/* A keytab may have kept but the low octet of a number. */
		bool kvno = !part->has_kvno || entry->kvno == part->kvno ||
			    (entry->kvno < 256 && entry->kvno == (part->kvno & 0xff));

		if (strcmp(entry->name, subject->name) != 0)
			continue;
		match.name = true;
		match.kvno = match.kvno || kvno;
		match.key = match.key || (kvno && entry->enctype == part->enctype);
		if (entry->kvno > match.newest)
			match.newest = entry->kvno;
	}
	return match;
}

static bool octets_are(struct ticket_octets octets, const char *text, size_t len)
{
	return octets.len == len && memcmp(octets.octets, text, len) == 0;
}

static bool is_service(const struct subject *subject)
{
	const struct ticket *ticket = &subject->ticket;

	for (const char *const *service = subject->explain->services; *service != NULL; service++)
		if (ticket->component_count == 2 &&
		    octets_are(ticket->components[0], *service, strlen(*service)))
			return true;
	return false;
}

/* Another principal of the keytab with the same first component and host, or only the same component. */
static bool has_like(const struct subject *subject, bool same_host)
{
	const char *at = strrchr(subject->name, '@'), *slash = strchr(subject->name, '/');
	const char *end = same_host ? at : slash;

	if (at == NULL || slash == NULL || slash > at)
		return false;
	for (size_t i = 0; i < subject->explain->count; i++)
		if (strncmp(subject->explain->entries[i].name, subject->name,
			(size_t)(end + 1 - subject->name)) == 0)
			return true;
	return false;
}

static void advise_missing_name(const struct subject *subject)
{
	const char *keytab = subject->explain->keytab;

	if (subject->explain->trouble[0] != '\0')
		append(subject->text, "keytab: %s", subject->explain->trouble);
	else {
		append(subject->text, "keytab %s has no key of it, but of", keytab);
		list_names(subject);
	}
	if (has_like(subject, true))
		append(subject->text, "; the realm is another: whose is this host? (krb5.conf of the client, "
				      "domain_realm)");
	else if (has_like(subject, false))
		append(subject->text,
		    "; the client calls this host by another name: correct its configuration or DNS, or "
		    "ktadd -k "
		    "%s that principal",
		    keytab);
	else
		append(subject->text, "; ktadd -k %s that principal", keytab);
}

static void advise_missing_kvno(const struct subject *subject, const struct match *match)
{
	append(subject->text, "keytab %s has", subject->explain->keytab);
	list_keys(subject);
	if (subject->ticket.part.kvno > match->newest)
		append(subject->text, "; the KDC has a newer key: ktadd -k %s %s", subject->explain->keytab,
		    subject->name);
	else
		append(subject->text,
		    "; the ticket is of a key that is gone: the client needs a new ticket (kdestroy, "
		    "kinit)");
}

static void advise_missing_enctype(const struct subject *subject)
{
	append(subject->text, "keytab %s has", subject->explain->keytab);
	list_keys(subject);
	append(subject->text, "; ktadd -k %s %s with the enctypes the KDC uses", subject->explain->keytab,
	    subject->name);
}

/* ---- a look inside ---- */

static void advise_times(const struct subject *subject, const struct unsealed *inside)
{
	int64_t now = (int64_t)time(NULL), skew = subject->explain->skew_secs, ahead = inside->made - now;
	char enctype[64], *text = subject->text;

	if (!inside->authenticated)
		append(text, "the authenticator does not belong to the ticket");
	else if (ahead > skew || ahead < -skew)
		append(text,
		    "the client's clock is %lld s %s ours, and %lld s are borne: set it, or ours, by NTP",
		    (long long)(ahead < 0 ? -ahead : ahead), ahead < 0 ? "behind" : "ahead of",
		    (long long)skew);
	else if (inside->ends < now) /* the skew is borne by some mechanisms alone */
		append(text, "it expired %lld s ago: the client needs a new one (kinit)",
		    (long long)(now - inside->ends));
	else if (inside->starts - skew > now)
		append(text, "it is not valid for another %lld s: compare the KDC's clock with ours",
		    (long long)(inside->starts - now));
	else if (!keys_strong(&subject->explain->keys, inside->session_enctype))
		append(text,
		    "its session key is %s, too weak: let the KDC give AES session keys for this service "
		    "(kadmin: "
		    "setstr %s session_enctypes aes256-cts,aes128-cts)",
		    enctype_name(inside->session_enctype, enctype, sizeof(enctype)), subject->name);
	else
		append(text, "it is ours and in time");
}

static void look_inside(const struct subject *subject)
{
	struct explain *explain = subject->explain;
	struct unsealed inside;

	if (unseal(explain->context, explain->keys.keytab, &subject->ticket, &inside) != 0) {
		append(subject->text,
		    "keytab %s has a key of this number, but it does not open the ticket: it is of another "
		    "KDC's "
		    "database; ktadd -k %s %s anew",
		    explain->keytab, explain->keytab, subject->name);
		return;
	}
	append(subject->text, "of %s; ", inside.client);
	advise_times(subject, &inside);
}

/* ---- all of it ---- */

static bool may_look(struct explain *explain)
{
	time_t now = time(NULL);

	if (now != explain->second)
		explain->looks = 0;
	explain->second = now;
	return explain->looks++ < LOOKS_COUNT;
}

/* Whom it is for. 0, or the library's code. */
static krb5_error_code name_server(struct subject *subject)
{
	krb5_context context = subject->explain->context;
	krb5_principal server = NULL;
	char *name = NULL;

	krb5_error_code code = unseal_server(context, &subject->ticket, &server);
	if (code == 0)
		code = krb5_unparse_name(context, server, &name);
	if (code == 0)
		snprintf(subject->name, sizeof(subject->name), "%s", name);
	krb5_free_unparsed_name(context, name);
	krb5_free_principal(context, server);
	return code;
}

static void tell_about(struct subject *subject)
{
	const struct ticket_sealed *part = &subject->ticket.part;
	struct match match = match_entries(subject);
	char enctype[64], kvno[32] = "";

	if (part->has_kvno)
		snprintf(kvno, sizeof(kvno), " kvno %u", part->kvno);
	append(subject->text, "ticket for %s%s %s: ", subject->name, kvno,
	    enctype_name(part->enctype, enctype, sizeof(enctype)));
	if (!is_service(subject)) {
		append(subject->text, "not a service of ours (");
		for (const char *const *service = subject->explain->services; *service != NULL; service++)
			append(subject->text, "%s%s/HOST", service == subject->explain->services ? "" : ", ",
			    *service);
		append(subject->text, "); the client asks for the wrong one, or somebody uses a ticket of "
				      "another server's");
	} else if (!match.name) {
		advise_missing_name(subject);
	} else if (!keys_strong(&subject->explain->keys, part->enctype)) {
		append(subject->text,
		    "too weak; give %s AES keys at the KDC (kadmin: cpw -randkey -keepold -e "
		    "aes256-cts,aes128-cts), "
		    "then ktadd -k %s",
		    subject->name, subject->explain->keytab);
	} else if (!match.kvno) {
		advise_missing_kvno(subject, &match);
	} else if (!match.key) {
		advise_missing_enctype(subject);
	} else if (may_look(subject->explain)) {
		look_inside(subject);
	}
}

void explain_ticket(struct explain *explain, const void *octets, size_t len, char *text_r)
{
	struct subject subject = {.explain = explain, .text = text_r};
	int err = ticket_read(octets, len, &subject.ticket);

	*text_r = '\0';
	if (err != TICKET_OK)
		append(text_r, "%s", ticket_err_text(err));
	else if (name_server(&subject) == 0)
		tell_about(&subject);
	make_printable(text_r);
}

bool explain_fresh(struct explain *explain, const void *octets, size_t len)
{
	int64_t since = replay_since(&explain->replay);
	struct unsealed inside;
	struct ticket ticket;

	/* Whatever is older than this the library refuses by itself. */
	if (since == 0 || (int64_t)time(NULL) - since > explain->skew_secs + 1)
		return true;
	return ticket_read(octets, len, &ticket) == TICKET_OK &&
	       unseal(explain->context, explain->keys.keytab, &ticket, &inside) == 0 &&
	       inside.authenticated && inside.made >= since;
}
