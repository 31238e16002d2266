/* SPDX-License-Identifier: ISC */
/*
 * session_private: what the modules of a session share; nobody else includes it.
 *
 * session.c owns the life of a session and routes inputs; pop3_commands.c has the table;
 * session_auth.c logs in, session_binding.c ties that to the TLS connection; session_kpop.c does so before
 * the greeting; session_drop.c serves the mail; multiline.c sends long answers. A function that returns an
 * outcome has written its reply.
 */
#ifndef KPOPD_SERVER_SESSION_PRIVATE_H
#define KPOPD_SERVER_SESSION_PRIVATE_H

#include "server/auth_token.h"
#include "server/mechanism.h"
#include "server/policy.h"
#include "server/pop3_parse.h"
#include "server/pop3_reply.h"
#include "server/session.h"
#include "store/wire.h"

enum phase {
	PHASE_HANDSHAKE = 0, /* KPOP: sendauth, before the greeting */
	PHASE_GREETING,      /* waits for APOP's timestamp */
	PHASE_AUTHORIZATION,
	PHASE_TOKEN,    /* takes a base64 line of AUTH */
	PHASE_AUTH,     /* waits for auth */
	PHASE_STARTTLS, /* waits for the caller's handshake */
	PHASE_OPENING,  /* waits for the store to open the maildrop */
	PHASE_TRANSACTION,
	PHASE_STORE,  /* waits for an answer of the store in TRANSACTION */
	PHASE_UPDATE, /* waits for the store to remove what was marked */
	PHASE_CLOSED,
	PHASE_COUNT
};

/* What the answer of the store is for. */
enum drop_errand { ERRAND_LIST = 0, ERRAND_UIDL, ERRAND_DELE, ERRAND_LISTING, ERRAND_RETR, ERRAND_TOP };

enum stream_kind { STREAM_NONE = 0, STREAM_OCTETS, STREAM_LISTING, STREAM_MESSAGE };

struct octets_stream {
	uint8_t *octets;
	size_t len, at;
	enum outcome after;
};

/* LIST and UIDL without argument: one piece of entries, and where it lies in the whole. */
struct listing_stream {
	enum list_kind kind;
	uint8_t *entries;
	size_t len, at;
	uint32_t idx; /* of the entry at at */
	uint32_t end; /* idx behind the piece */
	bool begun;   /* the first line is written */
};

struct message_stream {
	int fd;
	uint64_t at, end;         /* in fd */
	int64_t mtime_nsecs;      /* as long as nobody writes to it; 0: somebody may */
	uint64_t announced, sent; /* octets, without stuffed dots as far as they can be told apart */
	struct wire_encoder encoder;
	struct wire_count
	    count;   /* when dots are stuffed, what is sent cannot be counted, only what is read */
	bool whole;  /* RETR */
	bool direct; /* stored as it is sent: read it straight into the output */
	bool counted;
};

/* The fields of a session, by who writes them. */
struct session {
	struct session_params params;
	const struct config *config;
	enum phase phase;
	enum outcome outcome; /* of the last call */
	bool tls, lingers;
	bool broken; /* something did not fit or did not work: the end */
	struct session_output *out;
	uint64_t now, since, began, authorization_until;

	/* input */
	bool discarding;            /* the line was too long; its end has not come yet */
	const char *discarding_why; /* what to say then; NULL: that it was too long */
	unsigned bad_commands, auth_failures;
	unsigned unbound; /* attempts without channel binding where it is required */

	/* requests */
	struct session_request request;
	uint8_t *request_octets; /* owned; wiped */
	size_t request_size;
	uint8_t request_fixed[16];

	/* login */
	bool conversing;
	uint8_t mechanism; /* of the conversation: index into config->mechanisms, or MECHANISM_ */
	bool apop_ready;   /* the greeting showed a timestamp, and its conversation is open */
	struct saslx_binding bindings[SASLX_BINDINGS_COUNT]; /* of this TLS connection */
	size_t binding_count;
	bool binding_spent; /* one that serves once may have been used */
	bool user_given;    /* USER was the command before */
	bool initial;       /* the token is an initial response */
	bool first;         /* the mechanism has not had its first message */
	struct auth_token token;
	struct sendauth *sendauth;
	bool versions_right;              /* KPOP: the client waits for Kerberos' answer, not for text */
	char user[LIMIT_USER_OCTETS + 1]; /* of USER, then of auth's answer */
	char login[24];                   /* how: for the summary */
	struct layer *layer;              /* agreed on, but not begun yet */
	char layer_name[64];              /* "": none */

	/* maildrop */
	bool maildrop, logged_in;
	struct policy policy; /* once logged in */
	bool taken;           /* another login has the maildrop now */
	enum drop_errand errand;
	uint32_t idx, wanted; /* of the errand: entries asked for, or TOP's lines */
	uint32_t count, marked_count;
	uint64_t octets, marked_octets;
	uint8_t *marks;     /* one bit a message; NULL: none yet */
	uint8_t *fetched;   /* likewise, of RETR, for a user whose mail goes when it is fetched */
	uint32_t known_idx; /* known_octets is this message's size; UINT32_MAX: none */
	uint64_t known_octets;

	/* long answers */
	enum stream_kind stream;
	struct octets_stream octets_stream;
	struct listing_stream listing;
	struct message_stream message;

	/* for the summary */
	uint32_t retr_count, top_count, removed_count;
	uint64_t retr_octets;
	char summary[640];
};

/* The ends of each public call: a new call begins; the one place an outcome leaves by. */
void session_enter(struct session *session, struct session_output *out, uint64_t now);
enum outcome session_leave(struct session *session, enum outcome outcome);
/* A call that comes when it has nothing to do: nothing changes, and no request is sent twice. */
enum outcome session_unmoved(struct session *session);

/* Replies; see pop3_reply.h. What does not fit breaks the session. */
void session_ok(struct session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
void session_err(struct session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
void session_refuse(struct session *session, enum refusal refusal, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void session_line(struct session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A client's mistake: before login a few of them end the session. */
enum outcome session_bad(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Closes, and waits for the client to read why. */
enum outcome session_last_words(struct session *session);
void session_greet(struct session *session, const char *timestamp, size_t len);
enum outcome session_take_command(struct session *session, const uint8_t *buf, size_t len);

/* Requests. A session keeps a copy of body until its next call; set aliases octets that live as long. */
enum outcome session_ask_auth(struct session *session, enum msg_type type, const void *head, size_t head_len,
    const void *body, size_t len);
enum outcome session_ask_store(struct session *session, enum msg_type type, const void *body, size_t len);

/* session_auth.c */
bool session_plaintext_allowed(const struct session *session);
bool session_user_allowed(const struct session *session);
bool session_user_works(const struct session *session); /* what CAPA shows */
bool session_mechanism_allowed(const struct session *session, size_t mechanism);
enum outcome session_start(struct session *session, uint8_t mechanism, const void *initial, size_t len);
void session_forget_login(struct session *session);
enum outcome session_long_auth(struct session *session, const uint8_t *buf, size_t len, size_t *used_r);
enum outcome session_token_input(struct session *session, const uint8_t *buf, size_t len, size_t *used_r);
enum outcome session_auth_answer(struct session *session, const struct msg *msg);
enum outcome session_auth_given_up(struct session *session);
enum outcome session_login_refused(struct session *session, enum refusal refusal);

/*
 * session_binding.c. A client binds under the name with -PLUS, but those of Cyrus SASL leave that out of the
 * name: then the flag of their first message counts.
 */
/* Whether CAPA shows a mechanism, for what can be, and by the site's policy must be, bound to here. */
bool session_binding_shown(const struct session *session, const struct mechanism *mechanism);
/* Whether AUTH takes it. */
bool session_binding_taken(const struct session *session, const struct mechanism *mechanism);
/* Whether it would, if not for an attempt before it on this connection. */
bool session_binding_spent(const struct session *session, const struct mechanism *mechanism);
/* The client's first message is there. false: it has not bound, and must have. */
bool session_binding_first(
    struct session *session, const struct mechanism *mechanism, const uint8_t *message, size_t len);
/* What START says of bindings: at most SESSION_BINDINGS_OCTETS. */
#define SESSION_BINDINGS_OCTETS (2u + SASLX_BINDINGS_COUNT * (2u + SASLX_BINDING_OCTETS))
void session_put_bindings(const struct session *session, uint8_t mechanism, struct msg_writer *w);

/* session_kpop.c */
enum outcome session_kpop_input(struct session *session, const uint8_t *buf, size_t len, size_t *used_r);
enum outcome session_kpop_accepted(struct session *session, const uint8_t *answer, size_t len);
enum outcome session_kpop_refused(
    struct session *session, enum refusal refusal, const uint8_t *error, size_t len);
enum outcome session_kpop_silence(struct session *session);

/* session_drop.c */
enum outcome session_open_answer(struct session *session, const struct msg *msg);
enum outcome session_drop_answer(struct session *session, const struct msg *msg);
enum outcome session_commit(struct session *session);
enum outcome session_commit_answer(struct session *session, const struct msg *msg);
enum outcome session_store_given_up(struct session *session);
bool session_marked(const struct session *session, uint32_t idx);
/* RETR has sent a message to its end. */
void session_fetched(struct session *session, uint32_t idx);
/* The maildrop is lost: says so, and closes. */
enum outcome session_store_gone(struct session *session);

/* multiline.c */
/* octets are the session's to wipe and free from here on; the outcome is after once they are written. */
enum outcome multiline_octets(struct session *session, uint8_t *octets, size_t len, enum outcome after);
enum outcome multiline_list(struct session *session, enum list_kind kind);
enum outcome multiline_listed(struct session *session, struct msg_reader *body, uint32_t idx, uint32_t count);
/* A piece of entries is well formed: count of them and nothing else. */
bool multiline_entries_valid(enum list_kind kind, const uint8_t *entries, size_t len, uint32_t count);
enum outcome multiline_message(struct session *session, const struct msg *msg);
enum outcome multiline_fill(struct session *session);
void multiline_clear(struct session *session);

#endif
