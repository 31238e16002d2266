/* SPDX-License-Identifier: ISC */
/*
 * uidls_line: one line of kpopd.uidl as text. For uidls.c and uidls_writer.c.
 */
#ifndef KPOPD_STORE_UIDLS_LINE_H
#define KPOPD_STORE_UIDLS_LINE_H

#include "uidls.h"

#define UIDLS_HEADER "kpopd.uidl 1\n"
/* Kind, digest, UIDL, length, a name of which every octet may need three, checksum, and what is between; and
 * a NUL while it is made. */
#define UIDLS_LINE_OCTETS \
	(2u + 33u + MAILDROP_UIDL_OCTETS + 1u + 4u + 3u * RECORD_NAME_OCTETS + 1u + 8u + 1u + 1u)

/* With its end of line. Returns its length; out_r has UIDLS_LINE_OCTETS. */
size_t uidls_line_format(const struct uidls_line *line, char *out_r);
/* Without its end of line. The views of line_r point into text and into name_r, which has RECORD_NAME_OCTETS.
 */
bool uidls_line_parse(const char *text, size_t len, struct uidls_line *line_r, char *name_r);

#endif
