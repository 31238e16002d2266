/* SPDX-License-Identifier: ISC */
#include <string.h>
#include <strings.h>

#include "server/binding_policy.h"
#include "server/session_private.h"

void session_bind(struct session *session, const struct saslx_binding *bindings, size_t count)
{
	session->binding_count = count < SASLX_BINDINGS_COUNT ? count : SASLX_BINDINGS_COUNT;
	memcpy(session->bindings, bindings, session->binding_count * sizeof *bindings);
	session->binding_spent = false;
}

static const struct saslx_binding *find(const struct session *session, enum saslx_binding_type type)
{
	for (size_t i = 0; i < session->binding_count; i++)
		if (session->bindings[i].type == type)
			return &session->bindings[i];
	return NULL;
}

static enum saslx_binding_policy policy(const struct session *session, const struct mechanism *mechanism)
{
	return binding_policy(session->config, mechanism->name, &session->params.peer);
}

/* The type of a message's flag is auth's to look at; whether there is one, is enough here. */
static bool flagged(const uint8_t *message, size_t len)
{
	if (len >= 2 && memcmp(message, "F,", 2) == 0) {
		message += 2;
		len -= 2;
	}
	return len >= 2 && memcmp(message, "p=", 2) == 0;
}

/* The name with -PLUS of a mechanism of the configuration, if auth can serve it; NULL: it is not there. */
static const struct mechanism *plus_form(const struct session *session, const char *name)
{
	const struct config *config = session->config;
	size_t len = strlen(name);
	for (size_t i = 0; i < config->mechanism_count && i < LIMIT_MECHANISMS_COUNT; i++) {
		const struct mechanism *other = mechanism_find(config->mechanisms[i]);
		if (other->plus && strncasecmp(other->name, name, len) == 0 &&
		    strcasecmp(other->name + len, "-PLUS") == 0)
			return (session->params.offers->mechanisms & UINT32_C(1) << i) != 0 ? other : NULL;
	}
	return NULL;
}

/* Whether a client of this mechanism can bind here, but for what an attempt before it has spent. */
static bool can_bind(const struct session *session, const struct mechanism *mechanism)
{
	return session->binding_count > 0 && policy(session, mechanism) != SASLX_BINDING_OFF &&
	       (mechanism->plus || plus_form(session, mechanism->name) != NULL);
}

/* Required of a mechanism that is not the -PLUS one: by whose name a client may bind nevertheless. */
static bool required(const struct session *session, const struct mechanism *mechanism)
{
	return mechanism->binds && !mechanism->plus && policy(session, mechanism) == SASLX_BINDING_REQUIRE;
}

bool session_binding_shown(const struct session *session, const struct mechanism *mechanism)
{
	if (mechanism->plus)
		return can_bind(session, mechanism) && !session->binding_spent;
	if (mechanism->end_point && policy(session, mechanism) == SASLX_BINDING_REQUIRE)
		return find(session, SASLX_TLS_SERVER_END_POINT) != NULL;
	/* Where it is required the plain name is of no use, with TLS or without (RFC 5801 section 5). */
	return !required(session, mechanism);
}

bool session_binding_taken(const struct session *session, const struct mechanism *mechanism)
{
	if (required(session, mechanism))
		return can_bind(session, mechanism) && !session->binding_spent;
	return session_binding_shown(session, mechanism);
}

bool session_binding_spent(const struct session *session, const struct mechanism *mechanism)
{
	return session->binding_spent && (mechanism->plus || required(session, mechanism)) &&
	       can_bind(session, mechanism);
}

bool session_binding_first(
    struct session *session, const struct mechanism *mechanism, const uint8_t *message, size_t len)
{
	if (!mechanism->binds)
		return true;
	if (!flagged(message, len))
		return !required(session, mechanism);
	/* The exporter's value serves one attempt a connection (RFC 9266 section 4.1). */
	if (find(session, SASLX_TLS_EXPORTER) != NULL)
		session->binding_spent = true;
	return true;
}

/* As bits: what a client of this mechanism was told it could bind to, even if that is spent now. */
static uint8_t offered(const struct session *session)
{
	uint8_t bits = 0;
	for (size_t i = 0; i < session->binding_count; i++)
		bits |= (uint8_t)(1u << session->bindings[i].type);
	return bits;
}

static void put(struct msg_writer *w, const struct saslx_binding *binding)
{
	msg_put_u8(w, (uint8_t)binding->type);
	msg_put_u8(w, (uint8_t)binding->len);
	msg_put_bytes(w, binding->octets, binding->len);
}

static void put_all(const struct session *session, struct msg_writer *w)
{
	size_t count = session->binding_spent ? 0 : session->binding_count;
	msg_put_u8(w, offered(session));
	msg_put_u8(w, (uint8_t)count);
	for (size_t i = 0; i < count; i++)
		put(w, &session->bindings[i]);
}

void session_put_bindings(const struct session *session, uint8_t mechanism, struct msg_writer *w)
{
	const struct mechanism *about = mechanism < session->config->mechanism_count
					    ? mechanism_find(session->config->mechanisms[mechanism])
					    : NULL;
	const struct saslx_binding *end_point = find(session, SASLX_TLS_SERVER_END_POINT);
	if (about != NULL && about->binds && can_bind(session, about)) {
		put_all(session, w);
		return;
	}
	bool wanted = about != NULL && about->end_point && end_point != NULL &&
		      policy(session, about) != SASLX_BINDING_OFF;
	msg_put_u8(w, 0);
	msg_put_u8(w, wanted);
	if (wanted)
		put(w, end_point);
}
