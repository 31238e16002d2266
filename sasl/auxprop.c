/* SPDX-License-Identifier: ISC */
/*
 * The library's auxiliary properties, from our secrets: this is how the stock SCRAM and CRAM-MD5 get at
 * a user's keys. Users we do not have get an answer of the same shape.
 */
#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>

#include "attempt.h"
#include "library.h"

#define PROPERTY_KEYS "*authPassword"     /* SCRAM keys, RFC 5803 */
#define PROPERTY_PASSWORD "*userPassword" /* the password itself */

static bool asked(const struct propval *values, const char *name)
{
	for (; values != NULL && values->name != NULL; values++)
		if (strcmp(values->name, name) == 0)
			return true;
	return false;
}

static int set(sasl_server_params_t *sparams, const char *name, const char *value_secret)
{
	return sparams->utils->prop_set(sparams->propctx, name, value_secret, -1) == SASL_OK ? SECRETS_OK
											     : SECRETS_TEMP;
}

static int give_keys(sasl_server_params_t *sparams, struct secrets *secrets, const char *user)
{
	char values_secret[SCRAM_HASH_COUNT][SECRETS_VALUE_OCTETS];
	int rc = secrets_scram(secrets, user, values_secret);

	/* Without a name it is one more value of the same property. */
	for (int hash = 0; rc == SECRETS_OK && hash < SCRAM_HASH_COUNT; hash++)
		rc = set(sparams, hash == 0 ? PROPERTY_KEYS : NULL, values_secret[hash]);
	OPENSSL_cleanse(values_secret, sizeof(values_secret));
	return rc;
}

static int give_password(sasl_server_params_t *sparams, struct secrets *secrets, const char *user)
{
	char value_secret[SECRETS_VALUE_OCTETS];
	int rc = secrets_plain(secrets, user, value_secret);

	if (rc == SECRETS_OK)
		rc = set(sparams, PROPERTY_PASSWORD, value_secret);
	OPENSSL_cleanse(value_secret, sizeof(value_secret));
	return rc;
}

/*
 * SCRAM asks for both properties and, given the password, would derive keys anew with a salt of this
 * process: who asks for keys gets keys.
 */
static int lookup(
    void *glob_context, sasl_server_params_t *sparams, unsigned flags, const char *user, unsigned len)
{
	struct saslx *exchange = attempt_of(sparams->utils);
	struct secrets *secrets = library_get()->config.secrets;
	const struct propval *values = sparams->utils->prop_get(sparams->propctx);
	char name[SASLX_USER_OCTETS + 1];
	int rc = SECRETS_OK;

	(void)glob_context;
	/* Our properties are of the authenticated user, not of the one to act as. */
	if ((flags & SASL_AUXPROP_AUTHZID) != 0 || exchange == NULL || secrets == NULL)
		return SASL_OK;
	/* The name comes from canon_user, and may be the one that is nobody's. */
	if (len > SASLX_USER_OCTETS)
		return SASL_BADPROT;
	memcpy(name, user, len);
	name[len] = '\0';
	if (asked(values, PROPERTY_KEYS))
		rc = give_keys(sparams, secrets, name);
	else if (asked(values, PROPERTY_PASSWORD))
		rc = give_password(sparams, secrets, name);
	if (rc == SECRETS_OK)
		return SASL_OK;
	attempt_explain(exchange, true, "the secrets cannot be read: %s", strerror(errno));
	return SASL_FAIL;
}

static int auxprop_init(const sasl_utils_t *utils, int max_version, int *out_version,
    sasl_auxprop_plug_t **plug, const char *plugname)
{
	static char name[] = "kpopd";
	static sasl_auxprop_plug_t ours = {.auxprop_lookup = lookup, .name = name};

	(void)utils;
	(void)plugname;
	if (max_version < SASL_AUXPROP_PLUG_VERSION)
		return SASL_BADVERS;
	*out_version = SASL_AUXPROP_PLUG_VERSION;
	*plug = &ours;
	return SASL_OK;
}

int auxprop_register(void)
{
	return sasl_auxprop_add_plugin("kpopd", auxprop_init);
}
