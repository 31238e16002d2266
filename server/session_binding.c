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

/* But for what an attempt before has spent. */
static bool can_bind(const struct session *session, const struct mechanism *mechanism)
{
	return policy(session, mechanism) != SASLX_BINDING_OFF && session->binding_count > 0;
}

bool session_binding_allowed(const struct session *session, const struct mechanism *mechanism)
{
	if (mechanism->plus)
		return can_bind(session, mechanism) && !session->binding_spent;
	if (mechanism->end_point && policy(session, mechanism) == SASLX_BINDING_REQUIRE)
		return find(session, SASLX_TLS_SERVER_END_POINT) != NULL;
	/* Where it is required the plain name is of no use, with TLS or without (RFC 5801 section 5). */
	return !mechanism->binds || policy(session, mechanism) != SASLX_BINDING_REQUIRE;
}

bool session_binding_spent(const struct session *session, const struct mechanism *mechanism)
{
	return mechanism->plus && session->binding_spent && can_bind(session, mechanism);
}

/*
 * The exporter's value serves one attempt a connection (RFC 9266 section 4.1). Which type the client has
 * chosen is in a message that is not for us to read.
 */
void session_binding_use(struct session *session, const struct mechanism *mechanism)
{
	if (mechanism->plus && find(session, SASLX_TLS_EXPORTER) != NULL)
		session->binding_spent = true;
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

/* As bits: what a client of this mechanism was told it could bind to, even if that is spent now. */
static uint8_t offered(const struct session *session, const struct mechanism *mechanism)
{
	const struct mechanism *plus = mechanism->plus ? mechanism : plus_form(session, mechanism->name);
	uint8_t bits = 0;
	for (size_t i = 0; plus != NULL && can_bind(session, plus) && i < session->binding_count; i++)
		bits |= (uint8_t)(1u << session->bindings[i].type);
	return bits;
}

static void put(struct msg_writer *w, const struct saslx_binding *binding)
{
	msg_put_u8(w, (uint8_t)binding->type);
	msg_put_u8(w, (uint8_t)binding->len);
	msg_put_bytes(w, binding->octets, binding->len);
}

void session_put_bindings(const struct session *session, uint8_t mechanism, struct msg_writer *w)
{
	const struct mechanism *about = mechanism < session->config->mechanism_count
					    ? mechanism_find(session->config->mechanisms[mechanism])
					    : NULL;
	const struct saslx_binding *end_point = find(session, SASLX_TLS_SERVER_END_POINT);
	msg_put_u8(w, about != NULL && about->binds ? offered(session, about) : 0);
	if (about != NULL && about->plus) {
		msg_put_u8(w, (uint8_t)session->binding_count);
		for (size_t i = 0; i < session->binding_count; i++)
			put(w, &session->bindings[i]);
	} else if (about != NULL && about->end_point && end_point != NULL &&
		   policy(session, about) != SASLX_BINDING_OFF) {
		msg_put_u8(w, 1);
		put(w, end_point);
	} else {
		msg_put_u8(w, 0);
	}
}
