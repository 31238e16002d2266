/* SPDX-License-Identifier: ISC */
#include "exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>

#include "attempt.h"
#include "library.h"

/* What the library takes for the strength of a TLS connection; it is compared with nothing of ours. */
#define TLS_STRENGTH_BITS 128u

/* No layers, no anonymous users; whether plain passwords may pass is for the server to say. */
static int set_properties(sasl_conn_t *conn, bool tls)
{
	static const sasl_security_properties_t properties = {.security_flags = SASL_SEC_NOANONYMOUS};
	const sasl_ssf_t strength = tls ? TLS_STRENGTH_BITS : 0;
	int rc = sasl_setprop(conn, SASL_SEC_PROPS, &properties);

	return rc == SASL_OK ? sasl_setprop(conn, SASL_SSF_EXTERNAL, &strength) : rc;
}

struct saslx *saslx_new(bool tls)
{
	const struct library *library = library_get();
	struct saslx *exchange;

	if (!library->ready || (exchange = calloc(1, sizeof(*exchange))) == NULL)
		return NULL;
	attempt_set_callbacks(exchange);
	if (sasl_server_new(library->config.service, library->host, NULL, NULL, NULL, exchange->callbacks, 0,
		&exchange->conn) != SASL_OK ||
	    set_properties(exchange->conn, tls) != SASL_OK)
		saslx_free(&exchange);
	return exchange;
}

void saslx_free(struct saslx **exchange)
{
	if (*exchange == NULL)
		return;
	if ((*exchange)->conn != NULL)
		sasl_dispose(&(*exchange)->conn);
	OPENSSL_cleanse(*exchange, sizeof(**exchange));
	free(*exchange);
	*exchange = NULL;
}

/* A connection object that has given its answer is never used again. */
static enum saslx_outcome end(struct saslx *exchange, enum saslx_outcome outcome)
{
	exchange->state = ATTEMPT_ENDED;
	exchange->challenge = NULL;
	exchange->challenge_len = 0;
	if (exchange->conn != NULL)
		sasl_dispose(&exchange->conn);
	if (outcome != SASLX_DONE)
		exchange->user[0] = '\0';
	return outcome;
}

static enum saslx_outcome refuse(struct saslx *exchange, const char *why)
{
	attempt_explain(exchange, false, "%s", why);
	return end(exchange, SASLX_REFUSED);
}

static enum saslx_outcome misused(struct saslx *exchange)
{
	attempt_explain(exchange, true, "an exchange was used out of turn");
	return end(exchange, SASLX_ERROR);
}

/* Both names the library ends with passed canon_user; they are looked at once more, and must be one. */
static enum saslx_outcome succeed(struct saslx *exchange)
{
	const void *user = NULL, *authenticated = NULL;

	if (sasl_getprop(exchange->conn, SASL_USERNAME, &user) != SASL_OK || user == NULL ||
	    sasl_getprop(exchange->conn, SASL_AUTHUSER, &authenticated) != SASL_OK || authenticated == NULL) {
		attempt_explain(exchange, true, "the mechanism succeeded without a user");
		return end(exchange, SASLX_ERROR);
	}
	if (strcmp(user, authenticated) != 0)
		return refuse(exchange, "the authorised user is not the authenticated one");
	if (!attempt_user(user, strlen(user), exchange->user))
		return refuse(exchange, "the mechanism gave a name that cannot be a user's");
	return end(exchange, SASLX_DONE);
}

static enum saslx_outcome conclude(struct saslx *exchange, int rc)
{
	if (exchange->trouble || rc == SASL_NOMEM) {
		attempt_explain(exchange, true, "no memory");
		return end(exchange, SASLX_ERROR);
	}
	if (rc == SASL_OK)
		return succeed(exchange);
	if (rc == SASL_CONTINUE)
		return SASLX_MORE;
	/* This code also ends the library's search for another way to check a password we refused. */
	if (rc == SASL_NOMECH && exchange->why[0] == '\0') {
		attempt_explain(exchange, false, "no such mechanism");
		return end(exchange, SASLX_UNKNOWN);
	}
	return refuse(exchange, sasl_errdetail(exchange->conn));
}

/* Whether one more message may go to the mechanism. */
static const char *screen(struct saslx *exchange, const void *message, size_t len)
{
	if (len > SASLX_TOKEN_OCTETS)
		return "a message longer than any token";
	if (exchange->steps >= SASLX_STEPS_COUNT)
		return "more steps than any mechanism has";
	return screen_message(exchange->kind, exchange->steps++, message, len);
}

enum saslx_outcome saslx_start(struct saslx *exchange, const char *mechanism, const void *initial, size_t len)
{
	const char *challenge = NULL, *why = NULL;
	unsigned challenge_len = 0;
	int rc;

	if (exchange->state != ATTEMPT_NEW)
		return misused(exchange);
	if (!saslx_usable(mechanism) || strcasecmp(mechanism, "APOP") == 0) {
		attempt_explain(exchange, false, "no such mechanism");
		return end(exchange, SASLX_UNKNOWN);
	}
	exchange->kind = screen_kind(mechanism);
	if (initial != NULL && (why = screen(exchange, initial, len)) != NULL)
		return refuse(exchange, why);
	if (!seed_connection(exchange)) {
		attempt_explain(exchange, true, "no random octets for the library");
		return end(exchange, SASLX_ERROR);
	}
	exchange->state = ATTEMPT_RUNNING;
	rc = sasl_server_start(exchange->conn, mechanism, initial, initial == NULL ? 0 : (unsigned)len,
	    &challenge, &challenge_len);
	exchange->challenge = challenge;
	exchange->challenge_len = challenge == NULL ? 0 : challenge_len;
	return conclude(exchange, rc);
}

enum saslx_outcome saslx_step(struct saslx *exchange, const void *response, size_t len)
{
	const char *challenge = NULL, *why;
	unsigned challenge_len = 0;
	int rc;

	if (exchange->state != ATTEMPT_RUNNING)
		return misused(exchange);
	if (response == NULL) {
		response = "";
		len = 0;
	}
	if ((why = screen(exchange, response, len)) != NULL)
		return refuse(exchange, why);
	rc = sasl_server_step(exchange->conn, response, (unsigned)len, &challenge, &challenge_len);
	exchange->challenge = challenge;
	exchange->challenge_len = challenge == NULL ? 0 : challenge_len;
	return conclude(exchange, rc);
}

const void *saslx_challenge(const struct saslx *exchange, size_t *len_r)
{
	*len_r = exchange->challenge_len;
	return exchange->challenge == NULL ? "" : exchange->challenge;
}

const char *saslx_user(const struct saslx *exchange)
{
	return exchange->user;
}

const char *saslx_why(const struct saslx *exchange)
{
	return exchange->why[0] != '\0' ? exchange->why : "no reason is known";
}

/*
 * A name that cannot be a user's is hashed for all the same, so that an answer's time tells nothing; no
 * record has the empty name.
 */
static enum saslx_outcome spend(struct saslx *exchange, const char *why)
{
	static const char wrong[] = "x";

	if (secrets_verify(library_get()->config.secrets, "", wrong, sizeof(wrong) - 1) == SECRETS_TEMP) {
		attempt_explain(exchange, true, "the secrets cannot be read: %s", strerror(errno));
		return end(exchange, SASLX_ERROR);
	}
	return refuse(exchange, why);
}

enum saslx_outcome saslx_password(
    struct saslx *exchange, const char *user, const void *password_secret, size_t len)
{
	size_t user_len = strnlen(user, SASLX_USER_OCTETS + 1);
	char name[SASLX_USER_OCTETS + 1];

	if (exchange->state != ATTEMPT_NEW)
		return misused(exchange);
	if (library_get()->config.secrets == NULL) {
		attempt_explain(exchange, false, "there are no secrets to check passwords with");
		return end(exchange, SASLX_UNKNOWN);
	}
	if (!attempt_user(user, user_len, name))
		return spend(exchange, "a name that cannot be a user's");
	/* The library takes a length of 0 for a string's. */
	if (len == 0 || len > SECRETS_PASSWORD_OCTETS)
		return spend(exchange, "a password that is empty or too long");
	exchange->state = ATTEMPT_RUNNING;
	return conclude(exchange,
	    sasl_checkpass(exchange->conn, name, (unsigned)user_len, password_secret, (unsigned)len));
}
