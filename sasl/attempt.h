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
#include "screen.h"

#define ATTEMPT_WHY_OCTETS 512
#define ATTEMPT_CALLBACKS_COUNT 6
#define ATTEMPT_TIMESTAMP_OCTETS 384

enum attempt_state { ATTEMPT_NEW = 0, ATTEMPT_RUNNING, ATTEMPT_APOP, ATTEMPT_ENDED };

struct saslx {
	enum attempt_state state;
	sasl_conn_t *conn; /* NULL once the exchange has ended */
	sasl_callback_t callbacks[ATTEMPT_CALLBACKS_COUNT];
	enum screen_kind kind;
	unsigned steps;
	const char *challenge; /* the library's; valid until the next step */
	size_t challenge_len;
	bool seeded;
	bool trouble; /* what failed was ours */
	char user[SASLX_USER_OCTETS + 1];
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
/* Whether a name may be a user's, and fits user_r (SASLX_USER_OCTETS + 1), into which it is copied. */
bool attempt_user(const char *name, size_t len, char *user_r);

#endif
