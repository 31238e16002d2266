/* SPDX-License-Identifier: ISC */
#include "server/mechanism.h"

#include <strings.h>

static const struct mechanism mechanisms[] = {
    {.name = "GSSAPI", .end_point = true, .kerberos = true},
    {.name = "GS2-KRB5", .binds = true, .kerberos = true},
    {.name = "GS2-KRB5-PLUS", .binds = true, .plus = true, .kerberos = true},
    {.name = "SCRAM-SHA-1", .binds = true},
    {.name = "SCRAM-SHA-1-PLUS", .binds = true, .plus = true},
    {.name = "SCRAM-SHA-224", .binds = true},
    {.name = "SCRAM-SHA-224-PLUS", .binds = true, .plus = true},
    {.name = "SCRAM-SHA-256", .binds = true},
    {.name = "SCRAM-SHA-256-PLUS", .binds = true, .plus = true},
    {.name = "SCRAM-SHA-384", .binds = true},
    {.name = "SCRAM-SHA-384-PLUS", .binds = true, .plus = true},
    {.name = "SCRAM-SHA-512", .binds = true},
    {.name = "SCRAM-SHA-512-PLUS", .binds = true, .plus = true},
    {.name = "CRAM-MD5", .server_first = true},
    {.name = "PLAIN", .plaintext = true, .may_block = true},
    /* Its draft lets the server speak first, but clients do send the name at once, and that does no harm. */
    {.name = "LOGIN", .plaintext = true, .may_block = true},
};

static const struct mechanism cautious = {.name = NULL, .plaintext = true, .may_block = true};

const struct mechanism *mechanism_find(const char *name)
{
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++)
		if (strcasecmp(mechanisms[i].name, name) == 0)
			return &mechanisms[i];
	return &cautious;
}
