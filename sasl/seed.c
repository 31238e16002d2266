/* SPDX-License-Identifier: ISC */
/*
 * A plug-in that serves no client: it seeds the library's random numbers, from which the stock SCRAM
 * and CRAM-MD5 make their nonces.
 *
 * The library opens /dev/urandom for each connection. In the server's sandbox there is none, and then
 * it makes do with the process id and the time. When it asks a mechanism whether it is available it
 * hands over what the numbers of this connection come from; that is before the first is drawn.
 */
#include <sasl/saslutil.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "attempt.h"
#include "library.h"

#define SEED_OCTETS 6u /* three numbers of 16 bits: all the library keeps */

static int seed(void *glob_context, sasl_server_params_t *sparams, void **conn_context)
{
	struct saslx *exchange = attempt_of(sparams->utils);
	char octets[SEED_OCTETS];

	(void)glob_context;
	(void)conn_context;
	if (exchange != NULL && RAND_bytes((unsigned char *)octets, sizeof(octets)) == 1) {
		sasl_randseed(sparams->utils->rpool, octets, sizeof(octets));
		exchange->seeded = true;
	}
	OPENSSL_cleanse(octets, sizeof(octets));
	return SASL_NOMECH;
}

static int plug_init(
    const sasl_utils_t *utils, int max_version, int *out_version, sasl_server_plug_t **plugs, int *count)
{
	static sasl_server_plug_t plug = {.mech_name = SEED_MECHANISM, .mech_avail = seed};

	(void)utils;
	if (max_version < SASL_SERVER_PLUG_VERSION)
		return SASL_BADVERS;
	*out_version = SASL_SERVER_PLUG_VERSION;
	*plugs = &plug;
	*count = 1;
	return SASL_OK;
}

int seed_register(void)
{
	return sasl_server_add_plugin("kpopd-seed", plug_init);
}

bool seed_connection(struct saslx *exchange)
{
	const char *list;

	exchange->seeded = false;
	sasl_listmech(exchange->conn, NULL, "", " ", "", &list, NULL, NULL);
	return exchange->seeded;
}
