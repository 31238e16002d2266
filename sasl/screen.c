/* SPDX-License-Identifier: ISC */
#include "screen.h"

#include <string.h>
#include <strings.h>

#include "exchange.h"
#include "gs2header.h"

enum screen_kind screen_kind(const char *mechanism)
{
	static const struct {
		const char *name;
		enum screen_kind kind;
	} kinds[] = {
	    {"GSSAPI", SCREEN_GSSAPI},
	    {"GS2-KRB5", SCREEN_GS2},
	    {"GS2-KRB5-PLUS", SCREEN_GS2},
	    {"SCRAM-SHA-1", SCREEN_SCRAM},
	    {"SCRAM-SHA-1-PLUS", SCREEN_SCRAM},
	    {"SCRAM-SHA-256", SCREEN_SCRAM},
	    {"SCRAM-SHA-256-PLUS", SCREEN_SCRAM},
	    {"SCRAM-SHA-512", SCREEN_SCRAM},
	    {"SCRAM-SHA-512-PLUS", SCREEN_SCRAM},
	    {"CRAM-MD5", SCREEN_CRAM_MD5},
	    {"PLAIN", SCREEN_PLAIN},
	    {"LOGIN", SCREEN_LOGIN},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcasecmp(mechanism, kinds[i].name) == 0)
			return kinds[i].kind;
	return SCREEN_OTHER;
}

bool screen_digest(const char *digest, size_t len)
{
	if (len != SCREEN_DIGEST_OCTETS)
		return false;
	for (size_t i = 0; i < len; i++)
		if (memchr("0123456789abcdef", digest[i], 16) == NULL)
			return false;
	return true;
}

/* RFC 2195 section 2: user SP digest; a user's name may have spaces. */
static const char *screen_cram(const char *message, size_t len)
{
	if (len < 1 + 1 + SCREEN_DIGEST_OCTETS || len > SASLX_USER_OCTETS + 1 + SCREEN_DIGEST_OCTETS)
		return "a CRAM-MD5 response of impossible length";
	if (message[len - SCREEN_DIGEST_OCTETS - 1] != ' ')
		return "a CRAM-MD5 response without a space before its digest";
	if (!screen_digest(message + len - SCREEN_DIGEST_OCTETS, SCREEN_DIGEST_OCTETS))
		return "a CRAM-MD5 digest that is not 32 lower-case hexadecimal digits";
	return NULL;
}

/* RFC 5802 section 7: no flag F there. The stock plug-in takes names of bindings and users as they come. */
static const char *screen_scram(unsigned step, const char *message, size_t len)
{
	struct gs2header header;
	const char *wrong = step == 0 ? gs2header_parse(message, len, &header) : NULL;

	if (wrong == NULL && step == 0 && header.nonstandard)
		return "a SCRAM message that does not begin as one";
	return wrong;
}

const char *screen_message(enum screen_kind kind, unsigned step, const char *message, size_t len)
{
	if (kind != SCREEN_GSSAPI && kind != SCREEN_GS2 && kind != SCREEN_OTHER) {
		if (len > SCREEN_MESSAGE_OCTETS)
			return "a message too long for its mechanism";
		/* PLAIN alone has NULs, two of them, and counts them itself. */
		if (kind != SCREEN_PLAIN && memchr(message, '\0', len) != NULL)
			return "a NUL in a message";
	}
	switch (kind) {
	case SCREEN_CRAM_MD5:
		return screen_cram(message, len);
	case SCREEN_SCRAM:
		return screen_scram(step, message, len);
	case SCREEN_GSSAPI:
	case SCREEN_GS2:
	case SCREEN_PLAIN:
	case SCREEN_LOGIN:
	case SCREEN_OTHER:
		break;
	}
	return NULL;
}
