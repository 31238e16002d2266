/* SPDX-License-Identifier: ISC */
/*
 * uidl_template: a UIDL as another server makes it of what it knows of a message, in the notation of
 * Dovecot's pop3_uidl_format: %u the UID, %v the UIDVALIDITY, %f the file's name, %g its GUID, %m the MD5 of
 * its header, also as %{uid}, %{uidvalidity}, %{filename}, %{guid}, %{md5}; before the letter a width, padded
 * when it begins with 0, and X for hexadecimal, L and U for small and capital letters, R for reversed.
 *
 * Pure code. For kpopctl.
 */
#ifndef KPOPD_TOOLS_UIDL_TEMPLATE_H
#define KPOPD_TOOLS_UIDL_TEMPLATE_H

#include <stdint.h>

#include "store/maildrop.h"

#define TEMPLATE_DOVECOT "%08Xu%08Xv" /* Dovecot's default */
#define TEMPLATE_CYRUS "%v.%u"
#define TEMPLATE_UW "%08Xv%08Xu"
#define TEMPLATE_POPA3D "%m"
#define TEMPLATE_WIDTH_OCTETS 70u

struct template_values {
	uint32_t uid, uidvalidity;
	const char *filename, *guid, *md5; /* NULL: this source does not know it */
};

/* NULL: sound; else why not, in a few words. */
const char *template_check(const char *template);
/* uidl_r has MAILDROP_UIDL_OCTETS + 1. NULL, or why there is none: something is not known, or it is none. */
const char *template_expand(const char *template, const struct template_values *values, char *uidl_r);

#endif
