/* SPDX-License-Identifier: ISC */
/*
 * The library's questions about one exchange: who is this name, does this password fit, may this user
 * act for that one.
 */
#include "attempt.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "library.h"

void attempt_explain(struct saslx *exchange, bool trouble, const char *format, ...)
{
	va_list args;

	if (trouble)
		exchange->trouble = true;
	if (exchange->why[0] != '\0')
		return;
	va_start(args, format);
	vsnprintf(exchange->why, sizeof(exchange->why), format, args);
	va_end(args);
	for (char *at = exchange->why; *at != '\0'; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
}

bool attempt_user(const char *name, size_t len, char *user_r)
{
	const struct saslx_config *config = &library_get()->config;

	if (len == 0 || len > SASLX_USER_OCTETS || memchr(name, '\0', len) != NULL ||
	    config->canonical(config->arg, name, len, user_r) != 0)
		return false;
	return true;
}

/* len 0 means that in is a string. out has room for out_max octets and a NUL in the library's buffer. */
static int canon_user(sasl_conn_t *conn, void *context, const char *in, unsigned len, unsigned flags,
    const char *user_realm, char *out, unsigned out_max, unsigned *out_len)
{
	struct saslx *exchange = context;
	char user[SASLX_USER_OCTETS + 1];

	(void)conn;
	(void)flags;
	(void)user_realm;
	if (len == 0)
		len = (unsigned)strnlen(in, SASLX_USER_OCTETS + 1);
	if (attempt_user(in, len, user) && strlen(user) < out_max) {
		len = (unsigned)strlen(user);
	} else {
		/*
		 * A name nobody can have goes the way of one that nobody has, step by step, to the same end.
		 * And the stock LOGIN loses the password's memory when a name fails here.
		 */
		attempt_explain(exchange, false, "a name that cannot be a user's");
		len = (unsigned)snprintf(user, sizeof(user), "%s", ATTEMPT_NOBODY);
	}
	if (len >= out_max)
		return SASL_BUFOVER;
	memcpy(out, user, len + 1);
	*out_len = len;
	return SASL_OK;
}

/* Leaves the question for somebody else; the step fails, and its messages are said again later. */
static void put_question(
    struct saslx *exchange, const char *source, const char *user, const char *password_secret, unsigned len)
{
	snprintf(exchange->question_user, sizeof(exchange->question_user), "%s", user);
	if (password_secret != exchange->question_secret) {
		memcpy(exchange->question_secret, password_secret, len);
		exchange->question_secret[len] = '\0';
	}
	exchange->question = (struct saslx_question){
	    .source = source, .user = exchange->question_user, .password_secret = exchange->question_secret};
	exchange->passwords.asked = true;
}

static bool same_question(
    const struct saslx *exchange, const char *user, const char *password_secret, unsigned len)
{
	return strcmp(user, exchange->question_user) == 0 && len == strlen(exchange->question_secret) &&
	       CRYPTO_memcmp(password_secret, exchange->question_secret, len) == 0;
}

static int check_secrets(struct saslx *exchange, const char *user, const char *password_secret, unsigned len)
{
	int rc = secrets_verify(library_get()->config.secrets, user, password_secret, len);

	if (rc == SECRETS_TEMP) {
		attempt_explain(exchange, false, "the secrets cannot be read: %s", strerror(errno));
		exchange->passwords.unavailable = true;
	}
	return rc;
}

/* Asks the sources in their order, from the first that has not said no. */
static int checkpass(sasl_conn_t *conn, void *context, const char *user, const char *password_secret,
    unsigned len, struct propctx *propctx)
{
	struct saslx *exchange = context;
	const struct saslx_config *config = &library_get()->config;
	const char *const *sources = library_sources();

	(void)conn;
	(void)propctx;
	if (exchange->passwords.right)
		return same_question(exchange, user, password_secret, len) ? SASL_OK : SASL_BADAUTH;
	for (; sources[exchange->passwords.source] != NULL; exchange->passwords.source++) {
		const char *source = sources[exchange->passwords.source];

		if (strcmp(source, LIBRARY_SECRETS) != 0) {
			/* A name that is nobody's, or a password that no string can be, is asked of nobody.
			 */
			if (strcmp(user, ATTEMPT_NOBODY) == 0 || len == 0 || len > SECRETS_PASSWORD_OCTETS ||
			    memchr(password_secret, '\0', len) != NULL)
				continue;
			put_question(exchange, source, user, password_secret, len);
			return SASL_BADAUTH;
		}
		if (config->secrets == NULL)
			continue;
		if (check_secrets(exchange, user, password_secret, len) == SECRETS_OK)
			return SASL_OK;
	}
	if (exchange->passwords.unavailable)
		attempt_explain(exchange, true, "a place where passwords are checked did not answer");
	else
		attempt_explain(exchange, false, "wrong password, or no such user");
	return SASL_BADAUTH;
}

/* Who may act as whom is for the server to say, when the exchange is over. */
static int proxy_policy(sasl_conn_t *conn, void *context, const char *requested, unsigned requested_len,
    const char *user, unsigned user_len, const char *realm, unsigned realm_len, struct propctx *propctx)
{
	(void)conn;
	(void)context;
	(void)requested;
	(void)requested_len;
	(void)user;
	(void)user_len;
	(void)realm;
	(void)realm_len;
	(void)propctx;
	return SASL_OK;
}

/*
 * What the library says while an exchange runs is kept for saslx_why. When our check has refused a
 * password, or left it for others, it still looks for another way to check it and complains that there is
 * none: the reason is noted by then, and the complaint is dropped.
 */
static int log_line(void *context, int level, const char *message)
{
	struct saslx *exchange = context;

	if (level != SASL_LOG_NONE && level <= SASL_LOG_WARN && message != NULL && !exchange->passwords.asked)
		attempt_explain(exchange, false, "%s", message);
	return SASL_OK;
}

void attempt_set_callbacks(struct saslx *exchange)
{
	const sasl_callback_t callbacks[ATTEMPT_CALLBACKS_COUNT] = {
	    {SASL_CB_GETOPT, LIBRARY_CALLBACK(library_getopt), NULL},
	    {SASL_CB_LOG, LIBRARY_CALLBACK(log_line), exchange},
	    {SASL_CB_CANON_USER, LIBRARY_CALLBACK(canon_user), exchange},
	    {SASL_CB_SERVER_USERDB_CHECKPASS, LIBRARY_CALLBACK(checkpass), exchange},
	    {SASL_CB_PROXY_POLICY, LIBRARY_CALLBACK(proxy_policy), exchange},
	    {SASL_CB_LIST_END, NULL, NULL},
	};

	memcpy(exchange->callbacks, callbacks, sizeof(callbacks));
}

struct saslx *attempt_of(const sasl_utils_t *utils)
{
	sasl_callback_ft proc = NULL;
	void *context = NULL;

	if (utils->getcallback(utils->conn, SASL_CB_CANON_USER, &proc, &context) != SASL_OK ||
	    proc != LIBRARY_CALLBACK(canon_user))
		return NULL;
	return context;
}
