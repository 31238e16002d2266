/* SPDX-License-Identifier: ISC */
/*
 * attempt: one exchange from within: what exchange.c, the callbacks and our plug-ins share.
 */
#ifndef KPOPD_SASL_ATTEMPT_H
#define KPOPD_SASL_ATTEMPT_H

#include <stdbool.h>
#include <stddef.h>

#include <sasl/sasl.h>
#include <sasl/saslplug.h>

#include "exchange.h"
#include "recital.h"
#include "screen.h"

#define ATTEMPT_WHY_OCTETS 512
#define ATTEMPT_CALLBACKS_COUNT 6
#define ATTEMPT_TIMESTAMP_OCTETS 384
#define ATTEMPT_MECHANISM_OCTETS 32

/* Stands for a name nobody can have: attempt_user refuses it, and so does kpopctl. */
#define ATTEMPT_NOBODY "."

enum attempt_state {
	ATTEMPT_NEW = 0,
	ATTEMPT_WAITING, /* for the client's first message, which the mechanism begins with */
	ATTEMPT_RUNNING,
	ATTEMPT_APOP,
	ATTEMPT_ASKING, /* somebody else is checking the password */
	ATTEMPT_ENDED
};

struct saslx {
	enum attempt_state state;
	struct saslx_connection connection;
	char mechanism[ATTEMPT_MECHANISM_OCTETS];
	sasl_channel_binding_t binding; /* the library keeps a pointer to it */
	sasl_conn_t *conn;              /* NULL once the exchange has ended */
	sasl_callback_t callbacks[ATTEMPT_CALLBACKS_COUNT];
	enum screen_kind kind;
	unsigned steps;
	const char *challenge; /* the library's; valid until the next step */
	size_t challenge_len;
	bool seeded;
	bool trouble;            /* what failed was ours */
	struct recital *recital; /* NULL: none kept */
	struct {
		size_t source;    /* index into config->passwords: those before it have said no */
		bool right;       /* this one said yes */
		bool asked;       /* this one is to be asked now */
		bool unavailable; /* one of those before could not be asked */
	} passwords;
	struct saslx_question question;
	char question_user[SASLX_USER_OCTETS + 1];
	char question_secret[SECRETS_PASSWORD_OCTETS + 1];
	/* Who it is: a mechanism of Kerberos' fills in the principal, the library has the others' names. */
	char principal[SASLX_PRINCIPAL_OCTETS + 1];
	char user[SASLX_USER_OCTETS + 1];
	char authzid[SASLX_USER_OCTETS + 1];
	char indicator_text[SASLX_INDICATORS_COUNT][SASLX_INDICATOR_OCTETS + 1];
	const char *indicators[SASLX_INDICATORS_COUNT + 1];
	struct saslx_identity identity;
	struct saslx_layer layer; /* kind 0: none */
	char why[ATTEMPT_WHY_OCTETS];
	char timestamp[ATTEMPT_TIMESTAMP_OCTETS];
};

/* Notes why this attempt fails, unless something noted it before. trouble: the fault is ours. */
void attempt_explain(struct saslx *exchange, bool trouble, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The attempt a plug-in is called for. NULL: not one of ours. */
struct saslx *attempt_of(const sasl_utils_t *utils);
/* Seeds the random numbers of this exchange's connection, before anything draws one. false: it failed. */
bool seed_connection(struct saslx *exchange);
/* Sets exchange->callbacks. */
void attempt_set_callbacks(struct saslx *exchange);
/* Whether a name may mean a user, who then is in user_r (SASLX_USER_OCTETS + 1). */
bool attempt_user(const char *name, size_t len, char *user_r);

#endif
