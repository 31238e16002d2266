/* SPDX-License-Identifier: ISC */
#include "exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>

#include "attempt.h"
#include "binding.h"
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

/* A new object of the library's, for the attempt or for its second go. */
static bool connect_library(struct saslx *exchange)
{
	const struct library *library = library_get();

	if (exchange->conn != NULL)
		sasl_dispose(&exchange->conn);
	return sasl_server_new(library->config.service, library->host, NULL, NULL, NULL, exchange->callbacks,
		   0, &exchange->conn) == SASL_OK &&
	       set_properties(exchange->conn, exchange->connection.tls) == SASL_OK;
}

struct saslx *saslx_new(const struct saslx_connection *connection)
{
	struct saslx *exchange;

	if (!library_get()->ready || (exchange = calloc(1, sizeof(*exchange))) == NULL)
		return NULL;
	exchange->connection = *connection;
	attempt_set_callbacks(exchange);
	if (!connect_library(exchange))
		saslx_free(&exchange);
	return exchange;
}

void saslx_free(struct saslx **exchange)
{
	if (*exchange == NULL)
		return;
	if ((*exchange)->conn != NULL)
		sasl_dispose(&(*exchange)->conn);
	recital_free(&(*exchange)->recital);
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
	recital_free(&exchange->recital);
	OPENSSL_cleanse(exchange->question_secret, sizeof(exchange->question_secret));
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

/* The names the library ends with passed canon_user; they are looked at once more. */
static enum saslx_outcome succeed(struct saslx *exchange)
{
	struct saslx_identity *identity = &exchange->identity;
	const void *acts_as = NULL, *user = NULL;

	if (sasl_getprop(exchange->conn, SASL_USERNAME, &acts_as) != SASL_OK || acts_as == NULL ||
	    sasl_getprop(exchange->conn, SASL_AUTHUSER, &user) != SASL_OK || user == NULL) {
		attempt_explain(exchange, true, "the mechanism succeeded without a user");
		return end(exchange, SASLX_ERROR);
	}
	*identity = (struct saslx_identity){.name = exchange->user,
	    .authzid = exchange->authzid,
	    .binding = exchange->binding.name,
	    .indicators = exchange->indicators};
	if (exchange->principal[0] != '\0') {
		identity->kerberos = true;
		identity->name = exchange->principal;
		return end(exchange, SASLX_DONE);
	}
	if (!attempt_user(user, strlen(user), exchange->user))
		return refuse(exchange, "the mechanism gave a name that cannot be a user's");
	if (strcmp(acts_as, user) != 0 && !attempt_user(acts_as, strlen(acts_as), exchange->authzid))
		return refuse(exchange, "the client wants to act as a name that cannot be a user's");
	return end(exchange, SASLX_DONE);
}

/* Somebody else has the word; the library's object is of no more use. */
static enum saslx_outcome ask(struct saslx *exchange)
{
	exchange->state = ATTEMPT_ASKING;
	exchange->passwords.asked = false;
	exchange->challenge = NULL;
	exchange->challenge_len = 0;
	sasl_dispose(&exchange->conn);
	return SASLX_ASK;
}

static enum saslx_outcome conclude(struct saslx *exchange, int rc)
{
	if (exchange->trouble || rc == SASL_NOMEM) {
		attempt_explain(exchange, true, "no memory");
		return end(exchange, SASLX_ERROR);
	}
	if (exchange->passwords.asked)
		return ask(exchange);
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

/* Only what shows a password is said twice. */
static bool keep(struct saslx *exchange, const void *message, size_t len)
{
	if (exchange->kind != SCREEN_PLAIN && exchange->kind != SCREEN_LOGIN &&
	    exchange->kind != SCREEN_OTHER)
		return true;
	if (exchange->recital == NULL)
		exchange->recital = recital_new();
	return exchange->recital != NULL && recital_add(exchange->recital, message, len);
}

/* The mechanism's first step; message NULL: without an initial response. */
static int start_library(struct saslx *exchange, const void *message, size_t len)
{
	const char *challenge = NULL;
	unsigned challenge_len = 0;
	int rc;

	if (!seed_connection(exchange)) {
		attempt_explain(exchange, true, "no random octets for the library");
		return SASL_FAIL;
	}
	exchange->state = ATTEMPT_RUNNING;
	rc = sasl_server_start(exchange->conn, exchange->mechanism, message,
	    message == NULL ? 0 : (unsigned)len, &challenge, &challenge_len);
	exchange->challenge = challenge;
	exchange->challenge_len = challenge == NULL ? 0 : challenge_len;
	return rc;
}

static int step_library(struct saslx *exchange, const void *message, size_t len)
{
	const char *challenge = NULL;
	unsigned challenge_len = 0;
	int rc = sasl_server_step(exchange->conn, message, (unsigned)len, &challenge, &challenge_len);

	exchange->challenge = challenge;
	exchange->challenge_len = challenge == NULL ? 0 : challenge_len;
	return rc;
}

/*
 * The first message of these mechanisms says what the client has bound to. The library compares with what
 * it is told here; the stock SCRAM goes through a null pointer when it was told nothing. NULL, or why not.
 */
static const char *bind_connection(struct saslx *exchange, const char *message, size_t len)
{
	const struct saslx_binding *chosen;
	struct gs2header header;
	const char *wrong = gs2header_parse(message, len, &header);

	if (wrong == NULL)
		wrong = binding_choose(
		    &exchange->connection, binding_is_plus(exchange->mechanism), &header, &chosen);
	if (wrong != NULL || chosen == NULL)
		return wrong;
	exchange->binding = (sasl_channel_binding_t){
	    .name = binding_name(chosen->type), .len = chosen->len, .data = chosen->octets};
	return sasl_setprop(exchange->conn, SASL_CHANNEL_BINDING, &exchange->binding) == SASL_OK
		   ? NULL
		   : "the library does not take the channel binding";
}

static enum saslx_outcome begin(struct saslx *exchange, const void *message, size_t len)
{
	const char *why;

	if (message != NULL && (why = screen(exchange, message, len)) != NULL)
		return refuse(exchange, why);
	if ((exchange->kind == SCREEN_SCRAM || exchange->kind == SCREEN_GS2) &&
	    (why = bind_connection(exchange, message, len)) != NULL)
		return refuse(exchange, why);
	if (!keep(exchange, message, len)) {
		attempt_explain(exchange, true, "no memory");
		return end(exchange, SASLX_ERROR);
	}
	return conclude(exchange, start_library(exchange, message, len));
}

/* Those whose first message says what the rest depends on; without one, they are asked for it here. */
static bool client_first(enum screen_kind kind)
{
	return kind == SCREEN_GSSAPI || kind == SCREEN_GS2 || kind == SCREEN_SCRAM || kind == SCREEN_PLAIN;
}

enum saslx_outcome saslx_start(struct saslx *exchange, const char *mechanism, const void *initial, size_t len)
{
	if (exchange->state != ATTEMPT_NEW)
		return misused(exchange);
	if (!saslx_usable(mechanism) || strcasecmp(mechanism, "APOP") == 0 ||
	    strlen(mechanism) >= sizeof(exchange->mechanism)) {
		attempt_explain(exchange, false, "no such mechanism");
		return end(exchange, SASLX_UNKNOWN);
	}
	strcpy(exchange->mechanism, mechanism);
	exchange->kind = screen_kind(mechanism);
	if (initial == NULL && client_first(exchange->kind)) {
		exchange->state = ATTEMPT_WAITING;
		return SASLX_MORE; /* an empty challenge, RFC 4422 section 5 */
	}
	return begin(exchange, initial, len);
}

enum saslx_outcome saslx_step(struct saslx *exchange, const void *response, size_t len)
{
	const char *why;

	if (response == NULL) {
		response = "";
		len = 0;
	}
	if (exchange->state == ATTEMPT_WAITING)
		return begin(exchange, response, len);
	if (exchange->state != ATTEMPT_RUNNING)
		return misused(exchange);
	if ((why = screen(exchange, response, len)) != NULL)
		return refuse(exchange, why);
	if (!keep(exchange, response, len)) {
		attempt_explain(exchange, true, "no memory");
		return end(exchange, SASLX_ERROR);
	}
	return conclude(exchange, step_library(exchange, response, len));
}

const void *saslx_challenge(const struct saslx *exchange, size_t *len_r)
{
	*len_r = exchange->challenge_len;
	return exchange->challenge == NULL ? "" : exchange->challenge;
}

const struct saslx_identity *saslx_identity(const struct saslx *exchange)
{
	return &exchange->identity;
}

const struct saslx_layer *saslx_layer(const struct saslx *exchange)
{
	return exchange->layer.kind != 0 ? &exchange->layer : NULL;
}

const char *saslx_why(const struct saslx *exchange)
{
	return exchange->why[0] != '\0' ? exchange->why : "no reason is known";
}

/* ---- USER and PASS, and passwords that are checked elsewhere ---- */

/*
 * A name that cannot be a user's is hashed for all the same, so that an answer's time tells nothing; no
 * record has the empty name.
 */
static enum saslx_outcome spend(struct saslx *exchange, const char *why)
{
	static const char wrong[] = "x";
	struct secrets *secrets = library_get()->config.secrets;

	if (secrets != NULL && secrets_verify(secrets, "", wrong, sizeof(wrong) - 1) == SECRETS_TEMP) {
		attempt_explain(exchange, true, "the secrets cannot be read: %s", strerror(errno));
		return end(exchange, SASLX_ERROR);
	}
	return refuse(exchange, why);
}

static enum saslx_outcome check_password(
    struct saslx *exchange, const char *user, const char *password_secret, size_t len)
{
	exchange->state = ATTEMPT_RUNNING;
	return conclude(exchange,
	    sasl_checkpass(exchange->conn, user, (unsigned)strlen(user), password_secret, (unsigned)len));
}

enum saslx_outcome saslx_password(
    struct saslx *exchange, const char *user, const void *password_secret, size_t len)
{
	char name[SASLX_USER_OCTETS + 1];

	if (exchange->state != ATTEMPT_NEW)
		return misused(exchange);
	if (!library_passwords()) {
		attempt_explain(exchange, false, "there is nothing to check passwords with");
		return end(exchange, SASLX_UNKNOWN);
	}
	if (!attempt_user(user, strnlen(user, SASLX_USER_OCTETS + 1), name))
		return spend(exchange, "a name that cannot be a user's");
	/* The library takes a length of 0 for a string's. */
	if (len == 0 || len > SECRETS_PASSWORD_OCTETS)
		return spend(exchange, "a password that is empty or too long");
	return check_password(exchange, name, password_secret, len);
}

const struct saslx_question *saslx_question(const struct saslx *exchange)
{
	return &exchange->question;
}

/* The same messages once more; the check of the password now knows what it did not. */
static enum saslx_outcome recite(struct saslx *exchange)
{
	const struct recital_message *message = recital_get(exchange->recital, 0);
	int rc = start_library(exchange, message->octets_secret, message->len);

	for (size_t i = 1; rc == SASL_CONTINUE && (message = recital_get(exchange->recital, i)) != NULL; i++)
		rc = step_library(exchange, message->octets_secret, message->len);
	return conclude(exchange, rc);
}

enum saslx_outcome saslx_answer(struct saslx *exchange, enum saslx_verdict verdict)
{
	if (exchange->state != ATTEMPT_ASKING)
		return misused(exchange);
	exchange->passwords.right = verdict == SASLX_RIGHT;
	if (verdict == SASLX_UNAVAILABLE)
		exchange->passwords.unavailable = true;
	if (verdict != SASLX_RIGHT)
		exchange->passwords.source++;
	exchange->seeded = false;
	if (!connect_library(exchange)) {
		attempt_explain(exchange, true, "no memory");
		return end(exchange, SASLX_ERROR);
	}
	if (exchange->recital != NULL)
		return recite(exchange);
	return check_password(
	    exchange, exchange->question_user, exchange->question_secret, strlen(exchange->question_secret));
}
