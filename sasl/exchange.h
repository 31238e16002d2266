/* SPDX-License-Identifier: ISC */
/*
 * exchange: a narrow door to Cyrus SASL: init, new, start, step, free.
 *
 * For the auth role. The library reads no system configuration, loads only the plug-ins we name, and
 * gets its secrets from secrets.h. One exchange is one attempt: after an outcome that ends it, free it
 * and make another (an object that failed is never used again). The library is not thread-safe: one
 * thread a process. RFC 4422, 4616, 4752, 5034, 5801, 5802, 7677, 2195; APOP is RFC 1939 section 7.
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

#define SASLX_PRINCIPAL_OCTETS 1023
#define SASLX_INDICATORS_COUNT 8 /* of a ticket, as many as we look at */
#define SASLX_INDICATOR_OCTETS 63
#define SASLX_BINDINGS_COUNT 3
#define SASLX_BINDING_OCTETS 64 /* a digest of the certificate is the longest */
#define SASLX_LAYER_OCTETS 256  /* an exported layer: keys, numbers, flags */

enum saslx_outcome {
	SASLX_ERROR = 0, /* ours: no memory, library trouble, secrets unreadable */
	SASLX_MORE,      /* send the challenge, take a response */
	SASLX_ASK,       /* the password is to be checked elsewhere: saslx_question, then saslx_answer */
	SASLX_DONE,      /* see saslx_identity; nothing more to send */
	SASLX_REFUSED,   /* credentials, replay, protocol violation: the client's fault */
	SASLX_UNKNOWN,   /* no such mechanism here */
};

/* The security layers of RFC 4752 section 3.3, as its bits. */
enum saslx_layers { SASLX_LAYER_NONE = 1, SASLX_LAYER_INTEGRITY = 2, SASLX_LAYER_CONFIDENTIALITY = 4 };

/* What ties an authentication to its TLS connection: RFC 9266, RFC 5929 sections 4 and 3. */
enum saslx_binding_type { SASLX_TLS_EXPORTER = 0, SASLX_TLS_SERVER_END_POINT, SASLX_TLS_UNIQUE };
struct saslx_binding {
	enum saslx_binding_type type;
	size_t len;
	uint8_t octets[SASLX_BINDING_OCTETS];
};
/* Whether a client must, may or cannot bind. */
enum saslx_binding_policy { SASLX_BINDING_OFF = 0, SASLX_BINDING_ALLOW, SASLX_BINDING_REQUIRE };

/* What an exchange must know of the connection it is held on. */
struct saslx_connection {
	bool tls;
	unsigned layers; /* enum saslx_layers: those GSSAPI may offer here; 0: none */
	enum saslx_binding_policy binding_policy;
	unsigned bindings_offered; /* bit 1 << type: a client here could bind so, and was told of -PLUS */
	struct saslx_binding bindings[SASLX_BINDINGS_COUNT]; /* those that may be used now */
	size_t binding_count;
};

/* Who a client has proved to be, and whom it wants to be. Whether it may is for the server to say. */
struct saslx_identity {
	bool kerberos;       /* name is a principal, as krb5_unparse_name quotes it; else a user's name */
	const char *name;    /* never empty */
	const char *authzid; /* "": nobody else */
	const char *binding; /* to what of its connection, "tls-exporter"; NULL: it is not bound */
	const char *const *indicators; /* how a Kerberos client proved it to the KDC; NULL-terminated */
};

/* A security layer that was agreed on, for who holds the connection: layer.h reads it. */
struct saslx_layer {
	enum saslx_layers kind;
	size_t len;
	uint8_t octets_secret[SASLX_LAYER_OCTETS];
};

/* A password that we cannot check by ourselves. */
struct saslx_question {
	const char *source; /* of config->passwords */
	const char *user;
	const char *password_secret;
};
enum saslx_verdict { SASLX_WRONG = 0, SASLX_RIGHT, SASLX_UNAVAILABLE };

/* What it points to stays the caller's, and must stay until saslx_done. */
struct saslx_config {
	struct secrets *secrets; /* may be NULL: no mechanisms with stored keys work */
	/*
	 * Where passwords are checked, in this order, NULL-terminated: "secrets" here, any other is asked
	 * (SASLX_ASK). NULL: in the secrets.
	 */
	const char *const *passwords;
	const char *plugin_dir;     /* stock plug-ins: scram, plain, login, crammd5 only are loaded from it */
	const char *const *plugins; /* a site's own plug-in files, absolute, NULL-terminated; may be NULL */
	const char *const *mechanisms; /* names we may serve, NULL-terminated */
	const char *service;           /* "pop" */
	const char *const *services;   /* acceptor names for GSSAPI: "pop", "pop3", NULL */
	const int *enctypes;           /* their numbers (RFC 3961 section 8), ended by 0; NULL: AES */
	const char
	    *keytab; /* path; strong keys of services are copied to memory in saslx_init; NULL: no GSSAPI */
	const char *replay_cache; /* path of a file2: replay cache */
	const char *host;         /* our name, for challenges */
	/*
	 * The user a client means by name, in user_r (SASLX_USER_OCTETS + 1); of a user's own name, the same.
	 * 0, or -1: nobody can have it. The one place that knows.
	 */
	int (*canonical)(void *arg, const char *name, size_t len, char *user_r);
	void (*note)(void *arg,
	    const char *text); /* one printable line for the log: why GSSAPI refused, what the library said */
	void *arg;
};

/* Once a process, after fork, before its sandbox. why_r gets one line on failure. 0 or -1. */
int saslx_init(const struct saslx_config *config, char *why_r, size_t size);
void saslx_done(void);
/* Whether the mechanism can work now: plug-in loaded, key in the keytab, secrets given. Also for "APOP". */
bool saslx_usable(const char *mechanism);
/*
 * Whether it would be honest to offer it: usable, and there is a secrets file, if it needs one. A client that
 * tries all the same hears that the trouble is ours. Also for "USER", the passwords of USER and PASS.
 */
bool saslx_works(const char *mechanism);

struct saslx;
/* connection is copied. NULL: no memory. */
struct saslx *saslx_new(const struct saslx_connection *connection);
void saslx_free(struct saslx **exchange);

/* initial NULL: the client sent no initial response (an empty one has len 0 and is not NULL). */
enum saslx_outcome saslx_start(
    struct saslx *exchange, const char *mechanism, const void *initial, size_t len);
enum saslx_outcome saslx_step(struct saslx *exchange, const void *response, size_t len);
/* After SASLX_MORE: what to send, valid until the next call. */
const void *saslx_challenge(const struct saslx *exchange, size_t *len_r);
/* After SASLX_ASK; lives until saslx_answer, which goes on with what the source said. */
const struct saslx_question *saslx_question(const struct saslx *exchange);
enum saslx_outcome saslx_answer(struct saslx *exchange, enum saslx_verdict verdict);
/* After SASLX_DONE; lives as long as the exchange. */
const struct saslx_identity *saslx_identity(const struct saslx *exchange);
/* After SASLX_DONE: the layer from now on, or NULL. */
const struct saslx_layer *saslx_layer(const struct saslx *exchange);
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
