/* SPDX-License-Identifier: ISC */
/*
 * Messages of a client that says anything, to every mechanism. The input: one octet for the mechanism
 * (its high bit: with an initial response), then messages, each after two octets of length.
 *
 * Whoever gets in must have sent a password: there is no KDC, and nonces are not to be guessed.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <krb5.h>

#include "tests/sasl/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const mechanisms[] = {"GSSAPI", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1",
    "SCRAM-SHA-256", "GS2-KRB5", "GS2-KRB5-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512", NULL};
#define MECHANISMS_COUNT 10u

static struct world world;
static char keytab[64];

/* A key nobody else has, so that GSSAPI is offered and every ticket is wrong. */
static void make_keytab(void)
{
	krb5_context ctx;
	krb5_keytab file;
	krb5_keytab_entry entry = {.vno = 1};
	int fd;

	snprintf(keytab, sizeof(keytab), "/tmp/kpopd-fuzz-XXXXXX");
	fd = mkstemp(keytab);
	assert(fd >= 0);
	close(fd);
	unlink(keytab);
	setenv("KRB5_CONFIG", "/dev/null", 1);
	if (krb5_init_context(&ctx) != 0 || krb5_kt_resolve(ctx, keytab, &file) != 0 ||
	    krb5_parse_name(ctx, "pop/localhost@KPOPD.TEST", &entry.principal) != 0 ||
	    krb5_c_make_random_key(ctx, ENCTYPE_AES256_CTS_HMAC_SHA1_96, &entry.key) != 0 ||
	    krb5_kt_add_entry(ctx, file, &entry) != 0)
		abort();
	krb5_free_keytab_entry_contents(ctx, &entry);
	krb5_kt_close(ctx, file);
	krb5_free_context(ctx);
}

static void stop(void)
{
	world_stop(&world);
	unlink(keytab);
}

static void start(void)
{
	static int started;

	if (started++)
		return;
	make_keytab();
	if (world_start(&world, mechanisms, keytab, NULL) < 0 || !saslx_usable("GSSAPI"))
		abort();
	atexit(stop);
}

/* The next message; what is left, when it says it is longer. */
static const uint8_t *take(const uint8_t **data, size_t *size, size_t *len_r)
{
	const uint8_t *message;
	size_t len = *size < 2 ? 0 : (size_t)((*data)[0] << 8 | (*data)[1]);
	size_t head = *size < 2 ? *size : 2;

	message = *data + head;
	*size -= head;
	len = len > *size ? *size : len;
	*data = message + len;
	*size -= len;
	*len_r = len;
	return message;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *whole = data, *message = NULL;
	size_t whole_size = size, len = 0;
	enum saslx_outcome outcome;
	struct saslx *server;
	const char *mechanism;
	bool initial;

	if (size < 1)
		return 0;
	start();
	mechanism = mechanisms[(data[0] & 0x7f) % MECHANISMS_COUNT];
	initial = data[0] & 0x80;
	data++;
	size--;
	server = saslx_new(&(struct saslx_connection){.tls = true,
	    .binding_policy = SASLX_BINDING_ALLOW,
	    .bindings_offered = 1u << SASLX_TLS_EXPORTER,
	    .bindings = {{.type = SASLX_TLS_EXPORTER, .len = 5, .octets = "value"}},
	    .binding_count = 1});
	assert(server != NULL);
	if (initial)
		message = take(&data, &size, &len);
	outcome = saslx_start(server, mechanism, message, len);
	while (outcome == SASLX_MORE) {
		saslx_challenge(server, &len);
		message = take(&data, &size, &len);
		outcome = saslx_step(server, message, len);
	}
	assert(outcome == SASLX_DONE || outcome == SASLX_REFUSED);
	if (outcome == SASLX_DONE) {
		const char *password =
		    strcmp(world_user(server), "alice") == 0 ? ALICE_PASSWORD : BOB_PASSWORD;

		assert(strcmp(mechanism, "PLAIN") == 0 || strcmp(mechanism, "LOGIN") == 0);
		assert(memmem(whole, whole_size, password, strlen(password)) != NULL);
	} else {
		assert(world_user(server)[0] == '\0' && saslx_why(server)[0] != '\0');
	}
	saslx_free(&server);
	return 0;
}
