/* SPDX-License-Identifier: ISC */
/*
 * gss_client: a realm with a KDC of its own, the server side of GSSAPI in this process, and a client of
 * ours that can misbehave.
 */
#ifndef KPOPD_TESTS_SASL_GSS_CLIENT_H
#define KPOPD_TESTS_SASL_GSS_CLIENT_H

#include <gssapi/gssapi.h>

#include "tests/sasl/world.h"

extern struct world gss_world;
extern char gss_realm[];
extern const char *const gss_mechanisms[]; /* what gss_world was started with */

/* For the test group: the realm, tickets of alice and alice/admin, the server side. */
int gss_realm_setup(void **state);
int gss_realm_teardown(void **state);
/* A command of the shell; its exit status. */
int gss_realm_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
int gss_realm_sh(const char *arguments);
/* Whose tickets clients use from now on: "alice" or "admin". */
void gss_realm_use(const char *name);

/* A client's context and the token it sends next. */
struct gss_client {
	gss_ctx_id_t context;
	gss_name_t target;
	OM_uint32 flags;
	gss_buffer_desc token;
};

void gss_client_begin(struct gss_client *client, const char *service, OM_uint32 flags);
void gss_client_step(struct gss_client *client, const void *challenge, size_t len);
void gss_client_end(struct gss_client *client);
/* Not sealed. */
void gss_client_wrap(struct gss_client *client, const void *text, size_t len, gss_buffer_t wrapped);
/* Leads server and client to the point where the offer lies in the server's challenge. */
struct saslx *gss_client_until_offer(
    struct gss_client *client, const struct saslx_connection *connection, OM_uint32 flags);

#endif
