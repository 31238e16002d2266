/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "server/pop3_commands.h"
#include "server/session_private.h"

bool session_marked(const struct session *session, uint32_t idx)
{
	return session->marks != NULL && (session->marks[idx / 8] >> (idx % 8) & 1) != 0;
}

static size_t marks_len(const struct session *session)
{
	return (session->count + 7u) / 8u;
}

static uint32_t left_count(const struct session *session)
{
	return session->count - session->marked_count;
}

static unsigned long long left_octets(const struct session *session)
{
	return session->octets - session->marked_octets;
}

enum outcome session_store_gone(struct session *session)
{
	session_refuse(session, REFUSAL_TEMP, "%s",
	    session->taken ? "another login has taken this maildrop over"
			   : "the maildrop cannot be reached now");
	return session_last_words(session);
}

/* Asks the store about one message, or about a row of them. */
static enum outcome errand(
    struct session *session, enum drop_errand what, enum list_kind kind, uint32_t idx, uint32_t count)
{
	struct msg_writer w = {.buf = session->request_fixed, .size = sizeof session->request_fixed};
	bool fetch = what == ERRAND_RETR || what == ERRAND_TOP;
	if (!session->maildrop)
		return session_store_gone(session);
	if (!fetch)
		msg_put_u8(&w, (uint8_t)kind);
	msg_put_u32(&w, idx);
	if (!fetch)
		msg_put_u32(&w, count);
	session->errand = what;
	session->idx = idx;
	session->wanted = count;
	session->phase = PHASE_STORE;
	return session_ask_store(
	    session, fetch ? MSG_FRONT_FETCH : MSG_FRONT_LIST, session->request_fixed, w.len);
}

/* The message an argument names; false: it is not there, and the client was told. */
static bool find(struct session *session, uint32_t msgno, uint32_t *idx_r)
{
	*idx_r = msgno - 1;
	if (msgno > session->count)
		session_err(session, "no such message, only %u in the maildrop", session->count);
	else if (session_marked(session, *idx_r))
		session_err(session, "message %u is marked as deleted", msgno);
	else
		return true;
	return false;
}

enum outcome session_cmd_stat(struct session *session, const struct pop3_args *args)
{
	(void)args;
	session_ok(session, "%u %llu", left_count(session), left_octets(session));
	return OUTCOME_INPUT;
}

static enum outcome list(struct session *session, const struct pop3_args *args, enum list_kind kind)
{
	uint32_t idx;
	if (args->msgno == 0)
		return multiline_list(session, kind);
	if (!find(session, args->msgno, &idx))
		return OUTCOME_INPUT;
	return errand(session, kind == LIST_UIDLS ? ERRAND_UIDL : ERRAND_LIST, kind, idx, 1);
}

enum outcome session_cmd_list(struct session *session, const struct pop3_args *args)
{
	return list(session, args, LIST_OCTETS);
}

enum outcome session_cmd_uidl(struct session *session, const struct pop3_args *args)
{
	return list(session, args, LIST_UIDLS);
}

enum outcome session_cmd_retr(struct session *session, const struct pop3_args *args)
{
	uint32_t idx;
	if (!find(session, args->msgno, &idx))
		return OUTCOME_INPUT;
	return errand(session, ERRAND_RETR, LIST_OCTETS, idx, WIRE_WHOLE);
}

enum outcome session_cmd_top(struct session *session, const struct pop3_args *args)
{
	uint32_t idx;
	if (!find(session, args->msgno, &idx))
		return OUTCOME_INPUT;
	return errand(session, ERRAND_TOP, LIST_OCTETS, idx, args->lines);
}

/* Marks a message whose size is known: STAT must leave it out from now on. */
static enum outcome mark(struct session *session, uint32_t idx, uint64_t octets)
{
	if (session->marks == NULL)
		session->marks = calloc(1, marks_len(session));
	if (session->marks == NULL || octets > left_octets(session)) {
		session_refuse(session, REFUSAL_TEMP, "message %u cannot be marked now", idx + 1);
		return OUTCOME_INPUT;
	}
	session->marks[idx / 8] = (uint8_t)(session->marks[idx / 8] | 1u << (idx % 8));
	session->marked_count++;
	session->marked_octets += octets;
	session_ok(session, "message %u marked", idx + 1);
	return OUTCOME_INPUT;
}

enum outcome session_cmd_dele(struct session *session, const struct pop3_args *args)
{
	uint32_t idx;
	if (!find(session, args->msgno, &idx))
		return OUTCOME_INPUT;
	if (session->known_idx == idx)
		return mark(session, idx, session->known_octets);
	return errand(session, ERRAND_DELE, LIST_OCTETS, idx, 1);
}

/* RFC 2449 section 6.7, EXPIRE 0: QUIT removes it. Without memory it stays. */
void session_fetched(struct session *session, uint32_t idx)
{
	if (session->policy.expire_days != 0)
		return;
	if (session->fetched == NULL)
		session->fetched = calloc(1, marks_len(session));
	if (session->fetched != NULL)
		session->fetched[idx / 8] = (uint8_t)(session->fetched[idx / 8] | 1u << (idx % 8));
}

/* From here on what was fetched is as if it had been marked. */
static void mark_fetched(struct session *session)
{
	if (session->fetched == NULL)
		return;
	for (uint32_t idx = 0; idx < session->count; idx++)
		if ((session->fetched[idx / 8] >> (idx % 8) & 1) != 0 && !session_marked(session, idx))
			session->marked_count++;
	for (size_t i = 0; session->marks != NULL && i < marks_len(session); i++)
		session->fetched[i] |= session->marks[i];
	free(session->marks);
	session->marks = session->fetched;
	session->fetched = NULL;
}

/* Forgets what was fetched, too: whoever takes all back wants nothing removed. */
enum outcome session_cmd_rset(struct session *session, const struct pop3_args *args)
{
	(void)args;
	free(session->marks);
	free(session->fetched);
	session->marks = session->fetched = NULL;
	session->marked_count = 0;
	session->marked_octets = 0;
	session_ok(session, "%u messages (%llu octets)", session->count, left_octets(session));
	return OUTCOME_INPUT;
}

/* RFC 2449 section 8.1.1: never in answer to USER, which opens nothing. */
static enum outcome too_early(struct session *session, uint32_t wait_secs)
{
	session->phase = PHASE_AUTHORIZATION;
	session_refuse(
	    session, REFUSAL_EARLY, "the last login was too recent; log in again in %u seconds", wait_secs);
	return OUTCOME_INPUT;
}

/* Who he is, he has proved: it is the maildrop that he must be told of. */
static enum outcome not_opened(struct session *session, enum refusal refusal)
{
	session->phase = PHASE_AUTHORIZATION;
	session->conversing = false;
	if (refusal == REFUSAL_IN_USE)
		session_refuse(session, refusal, "another session has this maildrop");
	else if (refusal == REFUSAL_PERM)
		session_refuse(session, refusal, "the maildrop cannot be opened; tell the administrator");
	else
		session_refuse(session, REFUSAL_TEMP, "the maildrop cannot be opened now; try again later");
	return OUTCOME_INPUT;
}

/* A login ends: the maildrop is open, or it is not. */
enum outcome session_open_answer(struct session *session, const struct msg *msg)
{
	struct msg_reader r = {.buf = msg->body, .len = msg->len};
	if (msg->type == MSG_STORE_REFUSED) {
		uint8_t refusal = msg_get_u8(&r);
		session->maildrop = false;
		if (refusal == REFUSAL_EARLY)
			return too_early(session, msg_get_u32(&r));
		return not_opened(session, (enum refusal)refusal);
	}
	session->count = msg_get_u32(&r);
	session->octets = msg_get_u64(&r);
	if (msg->type != MSG_STORE_OPENED || !msg_end(&r) || session->count > MAILDROP_MESSAGES_COUNT)
		return session_store_given_up(session);
	session->phase = PHASE_TRANSACTION;
	session->logged_in = true;
	policy_of(session->config, session->user, &session->policy);
	session->since = session->now;
	session_ok(session, "%u messages (%llu octets)", session->count, left_octets(session));
	return session->layer != NULL ? OUTCOME_LAYER : OUTCOME_INPUT;
}

/* The answer to LIST or UIDL with argument, or to a DELE that did not know the size. */
static enum outcome one_listed(struct session *session, struct msg_reader *body)
{
	size_t len;
	const uint8_t *entry = msg_get_rest(body, &len);
	enum list_kind kind = session->errand == ERRAND_UIDL ? LIST_UIDLS : LIST_OCTETS;
	if (!multiline_entries_valid(kind, entry, len, 1))
		return session_store_given_up(session);
	session->phase = PHASE_TRANSACTION;
	if (kind == LIST_UIDLS) {
		session_ok(session, "%u %.*s", session->idx + 1, (int)entry[0], (const char *)entry + 1);
		return OUTCOME_INPUT;
	}
	struct msg_reader r = {.buf = entry, .len = len};
	session->known_octets = msg_get_u64(&r);
	session->known_idx = session->idx;
	if (session->errand == ERRAND_DELE)
		return mark(session, session->idx, session->known_octets);
	session_ok(session, "%u %llu", session->idx + 1, (unsigned long long)session->known_octets);
	return OUTCOME_INPUT;
}

static enum outcome listed(struct session *session, const struct msg *msg)
{
	struct msg_reader r = {.buf = msg->body, .len = msg->len};
	enum list_kind kind = session->errand == ERRAND_LISTING ? session->listing.kind
			      : session->errand == ERRAND_UIDL  ? LIST_UIDLS
								: LIST_OCTETS;
	uint8_t has_kind = msg_get_u8(&r);
	uint32_t idx = msg_get_u32(&r), count = msg_get_u32(&r);
	if (r.bad || has_kind != kind || idx != session->idx || count == 0 || count > session->wanted)
		return session_store_given_up(session);
	if (session->errand == ERRAND_LISTING)
		return multiline_listed(session, &r, idx, count);
	return one_listed(session, &r);
}

static enum outcome refused(struct session *session, const struct msg *msg)
{
	struct msg_reader r = {.buf = msg->body, .len = msg->len};
	uint8_t refusal = msg_get_u8(&r);
	session->taken = refusal == REFUSAL_TAKEN;
	if (session->taken)
		return session_store_given_up(session);
	if (session->errand == ERRAND_LISTING && session->listing.begun)
		return OUTCOME_DROP; /* half a list looks whole to nobody only if its end is missing */
	session->phase = PHASE_TRANSACTION;
	session->since = session->now;
	if (refusal == REFUSAL_GONE)
		session_refuse(session, REFUSAL_TEMP, "message %u is no longer there", session->idx + 1);
	else
		session_refuse(session, refusal == REFUSAL_PERM ? REFUSAL_PERM : REFUSAL_TEMP,
		    "the maildrop cannot be read now");
	return OUTCOME_INPUT;
}

enum outcome session_drop_answer(struct session *session, const struct msg *msg)
{
	bool fetch = session->errand == ERRAND_RETR || session->errand == ERRAND_TOP;
	session->since = session->now;
	if (msg->type == MSG_STORE_MESSAGE && fetch)
		return multiline_message(session, msg);
	if (msg->type == MSG_STORE_LISTED && !fetch)
		return listed(session, msg);
	if (msg->type == MSG_STORE_REFUSED)
		return refused(session, msg);
	return session_store_given_up(session);
}

/* QUIT goes to the store even with nothing to remove: it may want to know that the session ended well. */
enum outcome session_commit(struct session *session)
{
	session->phase = PHASE_UPDATE;
	mark_fetched(session);
	if (!session->maildrop)
		return session_store_given_up(session);
	bool any = session->marked_count > 0;
	return session_ask_store(
	    session, MSG_FRONT_COMMIT, any ? session->marks : NULL, any ? marks_len(session) : 0);
}

enum outcome session_commit_answer(struct session *session, const struct msg *msg)
{
	struct msg_reader r = {.buf = msg->body, .len = msg->len};
	uint32_t left = msg_get_u32(&r);
	if (msg->type != MSG_STORE_COMMITTED || !msg_end(&r) || left > session->marked_count)
		return session_store_given_up(session);
	session->removed_count = session->marked_count - left;
	if (left > 0) {
		session_refuse(session, REFUSAL_TEMP, "some deleted messages not removed (%u of %u)", left,
		    session->marked_count);
		return session_last_words(session);
	}
	session_ok(session, "%u messages removed, %u left", session->marked_count, left_count(session));
	return OUTCOME_CLOSE;
}

/* The store is gone, too late or not to be understood: what that means depends on what was asked of it. */
enum outcome session_store_given_up(struct session *session)
{
	session->maildrop = false;
	switch (session->phase) {
	case PHASE_OPENING:
		return not_opened(session, REFUSAL_TEMP);
	case PHASE_UPDATE:
		if (session->marked_count == 0) {
			session_ok(session, "goodbye"); /* nothing was to be done, so nothing failed */
			return OUTCOME_CLOSE;
		}
		session_refuse(session, REFUSAL_TEMP, "some deleted messages not removed");
		return session_last_words(session);
	default:
		if (session->errand == ERRAND_LISTING && session->listing.begun)
			return OUTCOME_DROP;
		return session_store_gone(session);
	}
}
