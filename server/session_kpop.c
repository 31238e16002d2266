/* SPDX-License-Identifier: ISC */
/*
 * KPOP before its greeting. Whatever goes wrong, a line of text comes last: the clients of this port wait
 * for one after a failed handshake and show it, and so do those who came to the wrong port.
 */
#include <stdlib.h>
#include <string.h>

#include "kpop/sendauth.h"
#include "server/mechanism.h"
#include "server/session_private.h"

/* session->sendauth lives exactly as long as the handshake. */
static void handshake_over(struct session *session)
{
	sendauth_free(&session->sendauth);
}

static void say_octet(struct session *session, uint8_t octet)
{
	if (!pop3_reply_raw(session->out, &octet, 1))
		session->broken = true;
}

static enum outcome wrong_port(struct session *session)
{
	handshake_over(session);
	session_refuse(
	    session, REFUSAL_AUTH, "this port is for Kerberized POP (KPOP); for POP3 use port 110 or 995");
	return session_last_words(session);
}

static enum outcome versions_right(struct session *session)
{
	if (session->params.offers->kpop) {
		session->versions_right = true;
		say_octet(session, SENDAUTH_ANSWER_OK);
		return OUTCOME_INPUT;
	}
	handshake_over(session);
	say_octet(session, SENDAUTH_ANSWER_BAD_APPLICATION);
	session_refuse(session, REFUSAL_PERM, "this server has no Kerberos key; tell the administrator");
	return session_last_words(session);
}

static enum outcome version_wrong(struct session *session, uint8_t answer)
{
	handshake_over(session);
	say_octet(session, answer);
	session_refuse(session, REFUSAL_AUTH, "this server speaks KRB5_SENDAUTH_V1.0 with KPOPV1.0");
	return session_last_words(session);
}

static enum outcome kerberos_4(struct session *session)
{
	handshake_over(session);
	session_refuse(session, REFUSAL_AUTH, "Kerberos 4 is not supported; use Kerberos 5");
	return session_last_words(session);
}

static enum outcome ap_req(struct session *session)
{
	size_t len;
	const uint8_t *octets = sendauth_apreq(session->sendauth, &len);
	return session_start(session, MECHANISM_KPOP, octets, len);
}

enum outcome session_kpop_input(struct session *session, const uint8_t *buf, size_t len, size_t *used_r)
{
	switch (sendauth_feed(session->sendauth, buf, len, used_r)) {
	case SENDAUTH_MORE:
		return OUTCOME_MORE_INPUT;
	case SENDAUTH_VERSIONS_OK:
		return versions_right(session);
	case SENDAUTH_APREQ:
		return ap_req(session);
	case SENDAUTH_BAD_VERSION:
		return version_wrong(session, SENDAUTH_ANSWER_BAD_SENDAUTH);
	case SENDAUTH_BAD_SERVICE:
		return version_wrong(session, SENDAUTH_ANSWER_BAD_APPLICATION);
	case SENDAUTH_KRB4:
		return kerberos_4(session);
	case SENDAUTH_TLS:
		return OUTCOME_DROP;
	case SENDAUTH_TEXT:
		return wrong_port(session);
	case SENDAUTH_GARBAGE:
		break;
	}
	/* Where the client expects an answer to an AP-REQ, auth words the refusal: no AP-REQ is a wrong one.
	 */
	return session->versions_right ? session_start(session, MECHANISM_KPOP, "", 0) : wrong_port(session);
}

enum outcome session_kpop_silence(struct session *session)
{
	return wrong_port(session);
}

/*
 * The answer to the AP-REQ and the greeting leave in one piece: in several, delayed acknowledgements make
 * each login some forty milliseconds longer.
 */
enum outcome session_kpop_accepted(struct session *session, const uint8_t *answer, size_t len)
{
	uint8_t line[LIMIT_REPLY_OCTETS];
	struct session_output greeting = {.buf = line, .size = sizeof line}, *out = session->out;
	handshake_over(session);
	session->authorization_until = session->now + session->config->authorization_secs * UINT64_C(1000);
	session->out = &greeting;
	session_greet(session, NULL, 0);
	session->out = out;
	uint8_t *octets = malloc(len + greeting.used);
	if (octets == NULL) {
		session->broken = true;
		return OUTCOME_DROP;
	}
	memcpy(octets, answer, len);
	memcpy(octets + len, line, greeting.used);
	return multiline_octets(session, octets, len + greeting.used, OUTCOME_INPUT);
}

enum outcome session_kpop_refused(
    struct session *session, enum refusal refusal, const uint8_t *error, size_t len)
{
	handshake_over(session);
	session->conversing = false;
	/* Larger than any KRB-ERROR of ours: the line of text will do. */
	if (len > 0 && len + LIMIT_REPLY_OCTETS <= pop3_reply_room(session->out))
		(void)pop3_reply_raw(session->out, error, len);
	if (refusal == REFUSAL_AUTH)
		session_refuse(session, refusal, "Kerberos authentication failed");
	else
		session_refuse(session, refusal == REFUSAL_PERM ? REFUSAL_PERM : REFUSAL_TEMP,
		    "Kerberos authentication cannot be done now");
	return session_last_words(session);
}
