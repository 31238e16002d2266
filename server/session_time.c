/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "server/session_private.h"

uint64_t session_deadline(const struct session *session)
{
	const struct config *config = session->config;
	switch (session->phase) {
	case PHASE_HANDSHAKE:
		return session->began + config->kpop_handshake_secs * UINT64_C(1000);
	case PHASE_GREETING:
	case PHASE_AUTH:
		return session->since + LIMIT_AUTH_WAIT_MSECS;
	case PHASE_AUTHORIZATION:
	case PHASE_TOKEN:
	case PHASE_STARTTLS:
		return session->authorization_until;
	case PHASE_OPENING:
	case PHASE_STORE:
	case PHASE_UPDATE:
		return session->since + LIMIT_STORE_WAIT_MSECS;
	case PHASE_TRANSACTION:
		if (session->stream != STREAM_NONE)
			return UINT64_MAX;
		return session->since + config->idle_secs * UINT64_C(1000);
	case PHASE_CLOSED:
	case PHASE_COUNT:
		break;
	}
	return UINT64_MAX;
}

enum outcome session_expired(struct session *session, struct session_output *out, uint64_t now_msecs)
{
	if (now_msecs < session_deadline(session))
		return session_unmoved(session);
	session_enter(session, out, now_msecs);
	switch (session->phase) {
	case PHASE_HANDSHAKE:
		return session_leave(session, session_kpop_silence(session));
	case PHASE_GREETING:
	case PHASE_AUTH:
		session->conversing = false;
		session->apop_ready = false;
		return session_leave(session, session_auth_given_up(session));
	case PHASE_OPENING:
	case PHASE_STORE:
	case PHASE_UPDATE:
		session->maildrop = false;
		return session_leave(session, session_store_given_up(session));
	default:
		/* RFC 1939 section 3: no UPDATE, and not a word. */
		return session_leave(session, OUTCOME_DROP);
	}
}

const char *session_summary(const struct session *session)
{
	/* The one thing a const session writes: the text it hands out. */
	struct session *s = (struct session *)(uintptr_t)session;
	if (!session->logged_in) {
		int len = snprintf(s->summary, sizeof s->summary, "login=none refused=%u bad=%u",
		    session->auth_failures, session->bad_commands);
		if (session->unbound > 0)
			snprintf(s->summary + len, sizeof s->summary - (size_t)len, " unbound=%u",
			    session->unbound);
		return session->summary;
	}
	snprintf(s->summary, sizeof s->summary,
	    "user=%s auth=%s%s%s%s messages=%u retr=%u/%llu top=%u dele=%u", session->user, session->login,
	    session->layer_name[0] != 0 ? " layer=\"" : "", session->layer_name,
	    session->layer_name[0] != 0 ? "\"" : "", session->count, session->retr_count,
	    (unsigned long long)session->retr_octets, session->top_count, session->removed_count);
	return session->summary;
}
