/* SPDX-License-Identifier: ISC */
/*
 * prep: one form for what people type in several (SASLprep, RFC 4013).
 *
 * For names and passwords before they are stored or compared. Pure functions over UTF-8. Plain ASCII
 * without control characters comes out as it went in; of anything else the library may leave a copy
 * in freed memory.
 */
#ifndef KPOPD_SASL_PREP_H
#define KPOPD_SASL_PREP_H

#include <stddef.h>

enum prep_err {
	PREP_OK = 0,
	PREP_REFUSED = -1,  /* no UTF-8, empty, a NUL, or characters RFC 4013 section 2 forbids */
	PREP_TOO_LONG = -2, /* what came out, or what went in, has no room with its NUL */
};

/*
 * The len octets of in, prepared as a stored string (RFC 3454 section 7: characters that Unicode 3.2 did
 * not have are refused), NUL-terminated in out, which has size octets. On failure out is wiped.
 */
int prep(const char *in, size_t len, char *out, size_t size);
/* The same as a query: characters that Unicode 3.2 did not have are left as they are. */
int prep_query(const char *in, size_t len, char *out, size_t size);

#endif
