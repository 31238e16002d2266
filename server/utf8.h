/* SPDX-License-Identifier: ISC */
/*
 * utf8: whether octets are text (RFC 3629). Pure.
 */
#ifndef KPOPD_SERVER_UTF8_H
#define KPOPD_SERVER_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Well-formed, without a NUL or other control characters (U+0000 to U+001F, U+007F to U+009F). */
bool utf8_printable(const char *text, size_t len);

#endif
