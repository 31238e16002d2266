/* SPDX-License-Identifier: ISC */
#include "password.h"

#include <errno.h>
#include <krb5.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "apreq.h"
#include "keys.h"

#define SERVERS_COUNT 8u
/* The ticket serves for one proof that takes a moment. */
#define TICKET_SECS 300
#define ERRNO_MOST 4096

struct password {
	const struct password_config *config;
	krb5_context context;
	struct keys keys;
	krb5_principal servers[SERVERS_COUNT]; /* those whose keys we hold, once each */
	size_t server_count;
	char *realm;
};

/* One check. */
struct attempt {
	struct password *password;
	krb5_principal client;
	krb5_get_init_creds_opt *options;
	krb5_creds creds;
	char *why;
	size_t size;
};

static __attribute__((format(printf, 2, 3))) void say(struct attempt *attempt, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(attempt->why, attempt->size, format, args);
	va_end(args);
	for (char *at = attempt->why; *at != '\0'; at++) /* a KDC's text may be in it */
		if (*at < ' ' || *at > '~')
			*at = '?';
}

static void say_code(struct attempt *attempt, const char *what, krb5_error_code code)
{
	const char *text = krb5_get_error_message(attempt->password->context, code);

	say(attempt, "%s: %s", what, text);
	krb5_free_error_message(attempt->password->context, text);
}

/* ---- opening ---- */

static bool have_server(const struct password *password, krb5_const_principal server)
{
	for (size_t i = 0; i < password->server_count; i++)
		if (krb5_principal_compare(password->context, password->servers[i], server))
			return true;
	return false;
}

static krb5_error_code list_servers(struct password *password)
{
	krb5_context context = password->context;
	krb5_kt_cursor cursor;
	krb5_keytab_entry entry;
	krb5_error_code code = krb5_kt_start_seq_get(context, password->keys.keytab, &cursor);

	if (code != 0)
		return code;
	while (krb5_kt_next_entry(context, password->keys.keytab, &entry, &cursor) == 0) {
		if (password->server_count < SERVERS_COUNT && !have_server(password, entry.principal) &&
		    krb5_copy_principal(
			context, entry.principal, &password->servers[password->server_count]) == 0)
			password->server_count++;
		krb5_free_keytab_entry_contents(context, &entry);
	}
	krb5_kt_end_seq_get(context, password->keys.keytab, &cursor);
	return 0;
}

static int name_client(struct attempt *attempt, const char *user);

/* The library loads its modules with the first request that is made: here, for all processes to come. */
static void load_modules(struct password *password)
{
	char why[128];
	struct attempt attempt = {.password = password, .why = why, .size = sizeof(why)};
	krb5_init_creds_context request = NULL;

	if (name_client(&attempt, "nobody") == 0 &&
	    krb5_init_creds_init(password->context, attempt.client, NULL, NULL, 0, NULL, &request) == 0)
		krb5_init_creds_free(password->context, request);
	krb5_free_principal(password->context, attempt.client);
}

static int open_realm(struct password *password, char *why_r, size_t size)
{
	krb5_error_code code = krb5_init_context(&password->context);

	if (code == 0 && password->config->realm != NULL)
		code = krb5_set_default_realm(password->context, password->config->realm);
	if (code == 0)
		code = krb5_get_default_realm(password->context, &password->realm);
	if (code == 0)
		return 0;
	const char *text = krb5_get_error_message(password->context, code);
	snprintf(why_r, size, "%s; name the realm in krb5.conf or kpopd.conf", text);
	krb5_free_error_message(password->context, text);
	return -1;
}

int password_open(
    struct password **password_r, const struct password_config *config, char *why_r, size_t size)
{
	struct password *password = calloc(1, sizeof(*password));

	*password_r = NULL;
	snprintf(why_r, size, "no memory");
	if (password == NULL)
		return -1;
	password->config = config;
	if (open_realm(password, why_r, size) < 0 ||
	    keys_load(&password->keys, password->context, config->keytab, config->services, NULL, why_r,
		size) != KPOP_OK ||
	    list_servers(password) != 0) {
		password_close(&password);
		return -1;
	}
	load_modules(password);
	*password_r = password;
	return 0;
}

void password_close(struct password **password)
{
	struct password *p = *password;

	if (p == NULL)
		return;
	if (p->context != NULL) {
		for (size_t i = 0; i < p->server_count; i++)
			krb5_free_principal(p->context, p->servers[i]);
		if (p->realm != NULL)
			krb5_free_default_realm(p->context, p->realm);
		keys_clear(&p->keys, p->context);
		krb5_free_context(p->context);
	}
	free(p);
	*password = NULL;
}

/* ---- one check ---- */

/* The realm as it is configured, or NULL: a name of another domain is nobody's here. */
static const char *realm_of(const struct password *password, const char *domain)
{
	for (const char *const *realm = password->config->realms; *realm != NULL; realm++)
		if (strcasecmp(domain, *realm) == 0)
			return *realm;
	return NULL;
}

/* A name is one component, whatever its octets are: nothing in it is quoted, split or expanded. */
static int name_client(struct attempt *attempt, const char *user)
{
	const struct password *password = attempt->password;
	const char *at = strrchr(user, '@');
	size_t len = at != NULL ? (size_t)(at - user) : strlen(user);
	const char *realm = at != NULL ? realm_of(password, at + 1) : password->realm;

	if (realm == NULL || len == 0) {
		say(attempt, "the domain of the name is none of kerberos_realms");
		return -1;
	}
	if (krb5_build_principal_ext(password->context, &attempt->client, (unsigned)strlen(realm), realm,
		(unsigned)len, user, 0) == 0)
		return 0;
	say(attempt, "no memory");
	return -1;
}

static krb5_error_code set_options(struct attempt *attempt)
{
	krb5_context context = attempt->password->context;
	const char *armor = attempt->password->config->armor_cache;
	krb5_get_init_creds_opt *options;
	krb5_error_code code = krb5_get_init_creds_opt_alloc(context, &attempt->options);

	if (code != 0)
		return code;
	options = attempt->options;
	krb5_get_init_creds_opt_set_tkt_life(options, TICKET_SECS);
	krb5_get_init_creds_opt_set_renew_life(options, 0);
	krb5_get_init_creds_opt_set_forwardable(options, 0);
	krb5_get_init_creds_opt_set_proxiable(options, 0);
	krb5_get_init_creds_opt_set_canonicalize(options, 0);
	krb5_get_init_creds_opt_set_change_password_prompt(options, 0);
	if (armor != NULL)
		code = krb5_get_init_creds_opt_set_fast_ccache_name(context, options, armor);
	if (code == 0 && armor != NULL)
		code = krb5_get_init_creds_opt_set_fast_flags(context, options, KRB5_FAST_REQUIRED);
	return code;
}

/*
 * What a KDC's refusal means. Whatever depends on the user is a refusal, so that the answer tells nobody who
 * exists; only what would have happened to anybody is trouble of ours.
 */
static enum password_verdict verdict_of(krb5_error_code code)
{
	switch (code) {
	case KRB5KDC_ERR_KEY_EXP:
	case KRB5KDC_ERR_NAME_EXP:
		return PASSWORD_EXPIRED;
	case KRB5KDC_ERR_CLIENT_REVOKED:
	case KRB5KDC_ERR_CLIENT_NOTYET:
		return PASSWORD_LOCKED;
	case KRB5_KDC_UNREACH:
	case KRB5_REALM_UNKNOWN:
	case KRB5_REALM_CANT_RESOLVE:
	case KRB5_CONFIG_CANTOPEN:
	case KRB5_CONFIG_BADFORMAT:
	case KRB5KDC_ERR_SVC_UNAVAILABLE:
	case KRB5KRB_ERR_GENERIC:
	case KRB5KRB_AP_ERR_SKEW:
	case KRB5_KDCREP_SKEW:
	case KRB5_KDCREP_MODIFIED:
	/* Of the cache that armors requests, which comes before the user. */
	case KRB5KRB_AP_ERR_TKT_EXPIRED:
	case KRB5_FCC_NOFILE:
	case KRB5_FCC_PERM:
	case KRB5_CC_NOTFOUND:
	case KRB5_CC_FORMAT:
	case KRB5_CC_IO:
	case KRB5_CC_END:
	case KRB5_ERR_FAST_REQUIRED:
	case KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN:
		return PASSWORD_UNAVAILABLE;
	default:
		return code > 0 && code < ERRNO_MOST ? PASSWORD_UNAVAILABLE : PASSWORD_WRONG;
	}
}

/*
 * A ticket for one of our services, which only the true KDC can have made: it decrypts with the key that it
 * shares with us. Several keys may be there, some of them stale or of another realm.
 */
static enum password_verdict prove_kdc(struct attempt *attempt)
{
	struct password *password = attempt->password;
	krb5_verify_init_creds_opt options;
	krb5_error_code code = KRB5_KT_NOTFOUND;

	krb5_verify_init_creds_opt_init(&options);
	krb5_verify_init_creds_opt_set_ap_req_nofail(&options, 1);
	for (size_t i = 0; i < password->server_count && code != 0 && code != KRB5_KDC_UNREACH; i++)
		code = krb5_verify_init_creds(password->context, &attempt->creds, password->servers[i],
		    password->keys.keytab, NULL, &options);
	if (code == 0) {
		say(attempt, "right");
		return PASSWORD_RIGHT;
	}
	say_code(attempt, "the password fits, but that the KDC is ours could not be proven", code);
	return PASSWORD_UNAVAILABLE;
}

static enum password_verdict ask_kdc(struct attempt *attempt, const char *password_secret)
{
	krb5_context context = attempt->password->context;
	krb5_error_code code = set_options(attempt);

	if (code != 0) {
		say_code(attempt, "the request could not be made", code);
		return PASSWORD_UNAVAILABLE;
	}
	code = krb5_get_init_creds_password(context, &attempt->creds, attempt->client, password_secret, NULL,
	    NULL, 0, NULL, attempt->options);
	if (code != 0) {
		say_code(attempt, "the KDC", code);
		return verdict_of(code);
	}
	if (!krb5_principal_compare(context, attempt->creds.client, attempt->client)) {
		say(attempt, "the KDC: the ticket is another principal's");
		return PASSWORD_UNAVAILABLE;
	}
	return prove_kdc(attempt);
}

static enum password_verdict put_principal(struct attempt *attempt, char *principal_r, size_t size)
{
	char *name = NULL;
	bool fits =
	    krb5_unparse_name(attempt->password->context, attempt->client, &name) == 0 && strlen(name) < size;

	if (fits)
		strcpy(principal_r, name);
	else
		say(attempt, "no memory, or a name that is too long");
	krb5_free_unparsed_name(attempt->password->context, name);
	return fits ? PASSWORD_RIGHT : PASSWORD_UNAVAILABLE;
}

enum password_verdict password_check(struct password *password, const char *user, const char *password_secret,
    char *principal_r, size_t size, char *why_r, size_t why_size)
{
	struct attempt attempt = {.password = password, .why = why_r, .size = why_size};
	enum password_verdict verdict = PASSWORD_WRONG;

	principal_r[0] = '\0';
	if (name_client(&attempt, user) == 0)
		verdict = ask_kdc(&attempt, password_secret);
	if (verdict == PASSWORD_RIGHT)
		verdict = put_principal(&attempt, principal_r, size);
	krb5_get_init_creds_opt_free(password->context, attempt.options);
	krb5_free_cred_contents(password->context, &attempt.creds);
	krb5_free_principal(password->context, attempt.client);
	return verdict;
}
