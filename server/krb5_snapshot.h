/* SPDX-License-Identifier: ISC */
/*
 * krb5_snapshot: the site's krb5.conf as one file of ours, that auth can still read in its sandbox.
 *
 * For master, at each generation. The Kerberos library looks at its configuration again while it runs and
 * fails every login when it no longer can; so auth gets a copy in its own directory, with what the file
 * includes copied in. A change of krb5.conf takes effect on SIGHUP.
 */
#ifndef KPOPD_SERVER_KRB5_SNAPSHOT_H
#define KPOPD_SERVER_KRB5_SNAPSHOT_H

#include <stddef.h>

/*
 * Copies the file at from, with its include and includedir directives followed, to the file at to, which
 * it replaces as a whole. A missing from gives an empty snapshot. 0, or -1 and one line in why_r.
 */
int krb5_snapshot(const char *from, const char *to, char *why_r, size_t size);

#endif
