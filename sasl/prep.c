/* SPDX-License-Identifier: ISC */
#include "prep.h"

#include <stdbool.h>
#include <string.h>

#include <openssl/crypto.h>
#include <stringprep.h>

static bool printable_ascii(const char *in, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (in[i] < ' ' || in[i] > '~')
			return false;
	return true;
}

static int prepare(const char *in, size_t len, char *out, size_t size, Stringprep_profile_flags flags)
{
	int rc;

	if (len >= size)
		return PREP_TOO_LONG;
	if (len == 0 || memchr(in, '\0', len) != NULL)
		return PREP_REFUSED;
	memcpy(out, in, len);
	out[len] = '\0';
	if (printable_ascii(in, len))
		return PREP_OK;
	rc = stringprep(out, size, flags, stringprep_saslprep);
	/* Characters that are mapped to nothing may have been all there were. */
	if (rc == STRINGPREP_OK && out[0] != '\0')
		return PREP_OK;
	OPENSSL_cleanse(out, size);
	return rc == STRINGPREP_TOO_SMALL_BUFFER ? PREP_TOO_LONG : PREP_REFUSED;
}

int prep(const char *in, size_t len, char *out, size_t size)
{
	return prepare(in, len, out, size, STRINGPREP_NO_UNASSIGNED);
}

int prep_query(const char *in, size_t len, char *out, size_t size)
{
	return prepare(in, len, out, size, 0);
}
