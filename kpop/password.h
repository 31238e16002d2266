/* SPDX-License-Identifier: ISC */
/*
 * password: whether a password is a principal's, by asking a KDC, and being sure that it was the KDC.
 *
 * For the checker, one process a check: a call waits for the network as long as the library cares to, and
 * may be ended with its process at any moment. An answer alone proves nothing, since whoever stands between
 * can give it (RFC 4120 section 3.1.5 ends with the client's own word): with the ticket that came of it, one
 * for a service whose key we hold is asked for, and must decrypt. Without such a key nobody is let in.
 */
#ifndef KPOPD_KPOP_PASSWORD_H
#define KPOPD_KPOP_PASSWORD_H

#include <stddef.h>

struct password_config {
	const char *keytab;          /* with the key that proves the KDC; read once, in password_open */
	const char *const *services; /* first components of the principals whose keys serve */
	const char *realm;           /* of names without '@'; NULL: krb5.conf's default */
	const char *const
	    *realms; /* those that may stand behind '@' in a name, in any case; NULL-terminated */
	const char
	    *armor_cache; /* path of a ticket cache for FAST (RFC 6113), which is then required; or NULL */
};

enum password_verdict {
	PASSWORD_UNAVAILABLE = 0, /* no KDC, or nothing to be sure of it with; try later */
	PASSWORD_RIGHT,
	PASSWORD_WRONG,   /* or no such principal */
	PASSWORD_EXPIRED, /* the password, or the principal */
	PASSWORD_LOCKED,
};

struct password;
/* 0, or -1 and one line in why_r. Needs no network. What it loads, processes forked later have. */
int password_open(
    struct password **password_r, const struct password_config *config, char *why_r, size_t size);
void password_close(struct password **password);
/* principal_r (size octets): on PASSWORD_RIGHT whose it is, as krb5_unparse_name quotes it. why_r (why_size):
 * one line for the log. May take long. */
enum password_verdict password_check(struct password *password, const char *user, const char *password_secret,
    char *principal_r, size_t size, char *why_r, size_t why_size);

#endif
