/* SPDX-License-Identifier: ISC */
/*
 * exchange: a narrow door to Cyrus SASL: init, new, start, step, free.
 *
 * For the auth role. The library reads no system configuration, loads only the plug-ins we name, and
 * gets its secrets from secrets.h. One exchange is one attempt: after an outcome that ends it, free it
 * and make another (an object that failed is never used again). The library is not thread-safe: one
 * thread a process. RFC 4422, 4616, 4752, 5034, 5802, 7677, 2195; APOP is RFC 1939 section 7.
 */
#ifndef KPOPD_SASL_EXCHANGE_H
#define KPOPD_SASL_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "secrets.h"

#define SASLX_TOKEN_OCTETS 65536u /* one client token, decoded: Active Directory tickets with large PACs */
#define SASLX_STEPS_COUNT 8       /* no mechanism of ours needs more */
#define SASLX_USER_OCTETS 255

enum saslx_outcome {
	SASLX_ERROR = 0, /* ours: no memory, library trouble, secrets unreadable */
	SASLX_MORE,      /* send the challenge, take a response */
	SASLX_DONE,      /* see saslx_user; nothing more to send */
	SASLX_REFUSED,   /* credentials, replay, protocol violation, authorisation: the client's fault */
	SASLX_UNKNOWN,   /* no such mechanism here */
};

/* What it points to stays the caller's, and must stay until saslx_done. */
struct saslx_config {
	struct secrets *secrets;    /* may be NULL: no password mechanisms work */
	const char *plugin_dir;     /* stock plug-ins: scram, plain, login, crammd5 only are loaded from it */
	const char *const *plugins; /* a site's own plug-in files, absolute, NULL-terminated; may be NULL */
	const char *const *mechanisms; /* names we may serve, NULL-terminated */
	const char *service;           /* "pop" */
	const char *const *services;   /* acceptor names for GSSAPI: "pop", "pop3", NULL */
	const char
	    *keytab; /* path; strong keys of services are copied to memory in saslx_init; NULL: no GSSAPI */
	const char *replay_cache; /* path of a file2: replay cache */
	const char *host;         /* our name, for challenges */
	/*
	 * A Kerberos principal, as krb5_unparse_name quotes it, to the local user: 0 and the name in user_r
	 * (SASLX_USER_OCTETS + 1 octets), or -1 when nobody here has it.
	 */
	int (*principal_to_user)(void *arg, const char *principal, char *user_r);
	/* Whether name may be a user's: the one place that knows. */
	bool (*user_valid)(void *arg, const char *name, size_t len);
	void (*note)(void *arg,
	    const char *text); /* one printable line for the log: why GSSAPI refused, what the library said */
	void *arg;
};

/* Once a process, after fork, before its sandbox. why_r gets one line on failure. 0 or -1. */
int saslx_init(const struct saslx_config *config, char *why_r, size_t size);
void saslx_done(void);
/* Whether the mechanism can work now: plug-in loaded, key in the keytab, secrets given. Also for "APOP". */
bool saslx_usable(const char *mechanism);

struct saslx;
/* tls: the connection is encrypted. NULL: no memory. */
struct saslx *saslx_new(bool tls);
void saslx_free(struct saslx **exchange);

/* initial NULL: the client sent no initial response (an empty one has len 0 and is not NULL). */
enum saslx_outcome saslx_start(
    struct saslx *exchange, const char *mechanism, const void *initial, size_t len);
enum saslx_outcome saslx_step(struct saslx *exchange, const void *response, size_t len);
/* After SASLX_MORE: what to send, valid until the next call. */
const void *saslx_challenge(const struct saslx *exchange, size_t *len_r);
/* After SASLX_DONE: the authorised user, canonical, NUL-terminated; lives as long as the exchange. */
const char *saslx_user(const struct saslx *exchange);
/* After SASLX_REFUSED or SASLX_ERROR: one printable line for the log, never for the wire. */
const char *saslx_why(const struct saslx *exchange);

/* USER and PASS: one step, same outcomes. */
enum saslx_outcome saslx_password(
    struct saslx *exchange, const char *user, const void *password_secret, size_t len);
/* APOP: a fresh timestamp "<…@host>" for the greeting (NUL-terminated, lives as long as the exchange), then
 * the digest. */
const char *saslx_apop_begin(struct saslx *exchange);
enum saslx_outcome saslx_apop(struct saslx *exchange, const char *user, const char *digest);

#endif
