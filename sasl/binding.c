/* SPDX-License-Identifier: ISC */
#include "binding.h"

#include <string.h>
#include <strings.h>

static const char *const names[SASLX_BINDINGS_COUNT] = {
    [SASLX_TLS_EXPORTER] = "tls-exporter",
    [SASLX_TLS_SERVER_END_POINT] = "tls-server-end-point",
    [SASLX_TLS_UNIQUE] = "tls-unique",
};

const char *binding_name(enum saslx_binding_type type)
{
	return names[type];
}

bool binding_is_plus(const char *mechanism)
{
	static const char plus[] = "-PLUS";
	size_t len = strlen(mechanism);

	return len > sizeof(plus) - 1 && strcasecmp(mechanism + len - (sizeof(plus) - 1), plus) == 0;
}

const struct saslx_binding *binding_find(
    const struct saslx_connection *connection, enum saslx_binding_type type)
{
	for (size_t i = 0; i < connection->binding_count; i++)
		if (connection->bindings[i].type == type && connection->bindings[i].len > 0)
			return &connection->bindings[i];
	return NULL;
}

static const char *choose_type(
    const struct saslx_connection *connection, const char *type, const struct saslx_binding **chosen_r)
{
	for (size_t i = 0; i < SASLX_BINDINGS_COUNT; i++)
		if (strcmp(type, names[i]) == 0)
			*chosen_r = binding_find(connection, (enum saslx_binding_type)i);
	return *chosen_r != NULL ? NULL : "the client has bound to something this connection does not have";
}

const char *binding_choose(const struct saslx_connection *connection, bool plus,
    const struct gs2header *header, const struct saslx_binding **chosen_r)
{
	*chosen_r = NULL;
	if (header->flag == GS2_BOUND) {
		if (connection->binding_policy == SASLX_BINDING_OFF)
			return "channel binding is off here";
		/* Under either name: clients of Cyrus SASL bind, but leave -PLUS out of the mechanism's. */
		return choose_type(connection, header->type, chosen_r);
	}
	if (plus)
		return "the client has not bound, but under a name with -PLUS";
	if (connection->binding_policy == SASLX_BINDING_REQUIRE)
		return "channel binding is required here";
	/* It was told: somebody between us and the client has changed what it was told. */
	if (header->flag == GS2_UNASKED && connection->binding_policy != SASLX_BINDING_OFF &&
	    connection->bindings_offered != 0)
		return "the client was made to think that channel binding is not offered here";
	return NULL;
}
