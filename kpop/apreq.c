/* SPDX-License-Identifier: ISC */
#include "apreq.h"

#include <errno.h>
#include <krb5.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "indicators.h"
#include "keys.h"
#include "replay.h"
#include "sendauth.h"
#include "ticket.h"

#define LENGTH_OCTETS 4u
#define TEXT_OCTETS 200u   /* of a KRB-ERROR; with the rest of it, far below KPOP_REPLY_OCTETS */
#define GENERIC_CODE 60    /* KRB_ERR_GENERIC, RFC 4120 section 7.5.9 */
#define PROTOCOL_CODES 128 /* those that can travel; the library's own lie above */

struct kpop {
	krb5_context context;
	struct keys keys;
	struct replay replay;
	krb5_principal error_server; /* a KRB-ERROR must name somebody */
};

/* One AP-REQ. */
struct request {
	struct kpop *kpop;
	krb5_auth_context auth;
	krb5_ticket *ticket;
	krb5_flags options;
	struct kpop_result *result;
};

static __attribute__((format(printf, 2, 3))) void say(struct kpop_result *result, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(result->why, sizeof(result->why), format, args);
	va_end(args);
	for (char *p = result->why; *p != '\0'; p++) /* names in it are the client's */
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
}

/* There is no call for it: the library takes the name of the replay cache from the environment alone. */
static int name_cache(const char *path)
{
	char name[PATH_MAX + 8];
	int len = snprintf(name, sizeof(name), "file2:%s", path);
	return len > 0 && (size_t)len < sizeof(name) && setenv("KRB5RCACHENAME", name, 1) == 0 ? 0 : -1;
}

int kpop_open(struct kpop **kpop_r, const struct kpop_config *config, char *why_r, size_t size)
{
	struct kpop *kpop = calloc(1, sizeof(*kpop));
	int result = KPOP_TEMP;

	*kpop_r = NULL;
	if (kpop == NULL || name_cache(config->replay_cache) != 0) {
		snprintf(why_r, size, "Kerberos: no memory");
		goto out;
	}
	krb5_error_code code = krb5_init_context(&kpop->context);
	if (code != 0) {
		const char *text = krb5_get_error_message(NULL, code);
		snprintf(why_r, size, "Kerberos: %s; look at krb5.conf", text);
		krb5_free_error_message(NULL, text);
		goto out;
	}
	result = keys_load(
	    &kpop->keys, kpop->context, config->keytab, config->services, config->enctypes, why_r, size);
	if (result != KPOP_OK)
		goto out;
	result = krb5_parse_name(kpop->context, "pop/????", &kpop->error_server) == 0 ? KPOP_OK : KPOP_TEMP;
	if (result != KPOP_OK)
		snprintf(why_r, size, "Kerberos: no memory, or no default realm in krb5.conf");
	replay_init(&kpop->replay, config->replay_cache);
out:
	if (result == KPOP_OK)
		*kpop_r = kpop;
	else
		kpop_close(&kpop);
	return result;
}

void kpop_close(struct kpop **kpop)
{
	if (*kpop == NULL)
		return;
	if ((*kpop)->context != NULL) {
		krb5_free_principal((*kpop)->context, (*kpop)->error_server);
		keys_clear(&(*kpop)->keys, (*kpop)->context);
		krb5_free_context((*kpop)->context);
	}
	free(*kpop);
	*kpop = NULL;
}

/* len32 and the octets themselves, behind what is there. -1: no room. */
static int put_frame(struct kpop_result *result, const krb5_data *data)
{
	size_t len = data != NULL ? data->length : 0;
	uint8_t *at = result->reply + result->reply_len;

	if (len > sizeof(result->reply) - LENGTH_OCTETS - result->reply_len)
		return -1;
	for (unsigned i = 0; i < LENGTH_OCTETS; i++)
		at[i] = (uint8_t)(len >> (24 - 8 * i));
	if (len > 0)
		memcpy(at + LENGTH_OCTETS, data->data, len);
	result->reply_len += LENGTH_OCTETS + len;
	return 0;
}

static int protocol_code(krb5_error_code code)
{
	krb5_error_code offset = code - ERROR_TABLE_BASE_krb5;
	return offset > 0 && offset < PROTOCOL_CODES ? offset : GENERIC_CODE;
}

/* The client shows text to its user. Nothing of it is secret: no names of ours, no reasons of ours. */
static void put_error(struct request *request, krb5_error_code code, const char *text)
{
	struct kpop *kpop = request->kpop;
	krb5_data encoded = {0};
	krb5_error error = {.error = (krb5_ui_4)protocol_code(code), .server = kpop->error_server};

	request->result->reply_len = 0;
	krb5_us_timeofday(kpop->context, &error.stime, &error.susec);
	error.text.data = (char *)(uintptr_t)text;
	error.text.length = (unsigned)strlen(text) + 1; /* clients print it as a C string */
	if (krb5_mk_error(kpop->context, &error, &encoded) == 0) {
		if (put_frame(request->result, &encoded) != 0)
			request->result->reply_len = 0;
		krb5_free_data_contents(kpop->context, &encoded);
	}
}

static int refuse(struct request *request, krb5_error_code code, const char *text)
{
	put_error(request, code, text);
	return KPOP_REFUSED;
}

/* The world's errors come as numbers of errno, the replay cache's under names of their own. */
static bool is_ours(krb5_error_code code)
{
	switch (code) {
	case KRB5_RC_MALLOC:
	case KRB5_RC_IO:
	case KRB5_RC_IO_EOF:
	case KRB5_RC_IO_MALLOC:
	case KRB5_RC_IO_PERM:
	case KRB5_RC_IO_IO:
	case KRB5_RC_IO_UNKNOWN:
	case KRB5_RC_IO_SPACE:
	case KRB5_RC_UNKNOWN:
	case KRB5_RC_TYPE_NOTFOUND:
	case KRB5_RC_PARSE:
		return true;
	default:
		return code > 0 && code < 4096;
	}
}

/* How far the client's clock is ahead of ours, if it told us. */
static int read_skew(struct request *request, long *secs_r)
{
	krb5_authenticator *authenticator = NULL;

	if (krb5_auth_con_getauthenticator(request->kpop->context, request->auth, &authenticator) != 0 ||
	    authenticator == NULL)
		return -1;
	*secs_r = (long)((int64_t)(uint32_t)authenticator->ctime - (int64_t)time(NULL));
	krb5_free_authenticator(request->kpop->context, authenticator);
	return 0;
}

static int refuse_skew(struct request *request, const char *because)
{
	char text[TEXT_OCTETS];
	long secs;

	if (read_skew(request, &secs) != 0) {
		say(request->result, "%s", because);
		return refuse(request, KRB5KRB_AP_ERR_SKEW, "Clock skew too great");
	}
	say(request->result, "%s", because);
	snprintf(text, sizeof(text), "Clock skew too great: your clock is %ld seconds %s the server's",
	    secs < 0 ? -secs : secs, secs < 0 ? "behind" : "ahead of");
	return refuse(request, KRB5KRB_AP_ERR_SKEW, text);
}

static bool is_about_keys(krb5_error_code code)
{
	return code == KRB5KRB_AP_ERR_NOT_US || code == KRB5KRB_AP_WRONG_PRINC ||
	       code == KRB5KRB_AP_ERR_NOKEY || code == KRB5KRB_AP_ERR_BADKEYVER || code == KRB5_KT_NOTFOUND ||
	       code == KRB5_KT_KVNONOTFOUND || code == KRB5KRB_AP_ERR_BAD_INTEGRITY ||
	       code == KRB5_NO_TKT_SUPPLIED || code == KRB5_BAD_ENCTYPE || code == KRB5_NOPERM_ETYPE;
}

/* krb5_rd_req refused. */
static int refuse_request(struct request *request, krb5_error_code code)
{
	krb5_context context = request->kpop->context;
	const char *detail = krb5_get_error_message(context, code);
	int result = KPOP_REFUSED;

	if (code == KRB5KRB_AP_ERR_SKEW) {
		result = refuse_skew(request, "clock skew too great");
	} else if (is_ours(code)) {
		say(request->result,
		    "replay cache or library: %s; see that the cache's folder can be written", detail);
		put_error(request, GENERIC_CODE, "The server has trouble of its own; try again later");
		result = KPOP_TEMP;
	} else if (is_about_keys(code)) {
		say(request->result, "%s", detail);
		put_error(request, KRB5KRB_AP_ERR_NOT_US, "The ticket isn't for us");
	} else {
		say(request->result, "%s", detail);
		krb5_clear_error_message(context);
		const char *plain = krb5_get_error_message(context, code);
		put_error(request, code, plain);
		krb5_free_error_message(context, plain);
	}
	krb5_free_error_message(context, detail);
	return result;
}

/* What krb5_rd_req leaves to us. 0, or the refusal. */
static int check_ticket(struct request *request)
{
	struct kpop *kpop = request->kpop;
	long secs;

	if (!keys_serve(&kpop->keys, kpop->context, request->ticket->server)) {
		say(request->result, "the ticket is for another service");
		return refuse(request, KRB5KRB_AP_ERR_NOT_US, "The ticket isn't for us");
	}
	if (!keys_strong(&kpop->keys, request->ticket->enc_part2->session->enctype)) {
		say(request->result, "the session key is of a weak enctype");
		return refuse(
		    request, KRB5KDC_ERR_ETYPE_NOSUPP, "The session key's encryption type is too weak");
	}
	int64_t since = replay_since(&kpop->replay);
	if (since != 0 && read_skew(request, &secs) == 0 && (int64_t)time(NULL) + secs < since)
		return refuse_skew(request, "the authenticator is older than the replay cache, which is new");
	return KPOP_OK;
}

static int put_principal(struct request *request)
{
	struct kpop_result *result = request->result;
	char *name = NULL;
	int len = -1;

	if (krb5_unparse_name(request->kpop->context, request->ticket->enc_part2->client, &name) == 0)
		len = snprintf(result->principal, sizeof(result->principal), "%s", name);
	krb5_free_unparsed_name(request->kpop->context, name);
	if (len > 0 && (size_t)len < sizeof(result->principal))
		return KPOP_OK;
	say(result, "the client's name is longer than %u octets", KPOP_PRINCIPAL_OCTETS - 1);
	return refuse(request, KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN, "Your name is too long");
}

/* len32 0, and for a client that wants to be sure of us, an AP-REP. */
static int put_answer(struct request *request)
{
	krb5_context context = request->kpop->context;
	krb5_data encoded = {0};
	int result = KPOP_OK;

	put_frame(request->result, NULL);
	if ((request->options & AP_OPTS_MUTUAL_REQUIRED) == 0)
		return KPOP_OK;
	krb5_error_code code = krb5_mk_rep(context, request->auth, &encoded);
	if (code != 0 || put_frame(request->result, &encoded) != 0) {
		say(request->result, "the answer could not be made: error %d", (int)code);
		put_error(request, GENERIC_CODE, "The server has trouble of its own; try again later");
		result = KPOP_TEMP;
	}
	krb5_free_data_contents(context, &encoded);
	return result;
}

static int accept_request(struct request *request, krb5_data *apreq)
{
	struct kpop *kpop = request->kpop;
	int result;

	krb5_clear_error_message(kpop->context);
	krb5_error_code code = krb5_auth_con_init(kpop->context, &request->auth);
	if (code == 0) /* its time flag, set from birth, makes krb5_rd_req ask the replay cache */
		code = krb5_rd_req(kpop->context, &request->auth, apreq, NULL, kpop->keys.keytab,
		    &request->options, &request->ticket);
	if (code != 0)
		return refuse_request(request, code);
	if ((result = check_ticket(request)) != KPOP_OK || (result = put_principal(request)) != KPOP_OK)
		return result;
	indicators_read(kpop->context, kpop->keys.keytab, request->ticket, &request->result->indicators);
	return put_answer(request);
}

int kpop_accept(struct kpop *kpop, const void *apreq, size_t len, struct kpop_result *result_r)
{
	struct request request = {.kpop = kpop, .result = result_r};
	krb5_data data = {.data = (char *)(uintptr_t)apreq, .length = (unsigned)len};

	memset(result_r, 0, sizeof(*result_r));
	if (len == 0 || len > SENDAUTH_APREQ_OCTETS) {
		say(result_r, "an AP-REQ of %zu octets", len);
		return refuse(&request, KRB5KRB_AP_ERR_MSG_TYPE, "Invalid message type");
	}
	/* The library would pass over what is behind it. */
	if (!ticket_whole(apreq, len)) {
		say(result_r, "no AP-REQ, or not one alone");
		return refuse(&request, KRB5KRB_AP_ERR_MSG_TYPE, "Invalid message type");
	}
	int result = accept_request(&request, &data);
	if (result != KPOP_OK)
		result_r->principal[0] = '\0';
	krb5_free_ticket(kpop->context, request.ticket);
	krb5_auth_con_free(kpop->context, request.auth);
	return result;
}
