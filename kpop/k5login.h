/* SPDX-License-Identifier: ISC */
/*
 * k5login: whether a principal may act as a user of this system, by the user's own .k5login (krb5_kuserok).
 *
 * For the checker, one process a question: the file may lie on a disk that does not answer, or be a FIFO,
 * and the user's name is looked up wherever the system looks.
 */
#ifndef KPOPD_KPOP_K5LOGIN_H
#define KPOPD_KPOP_K5LOGIN_H

#include <stddef.h>

enum k5login_verdict {
	K5LOGIN_UNAVAILABLE = 0, /* the home directory is closed to us, or the library fails */
	K5LOGIN_YES,
	K5LOGIN_NO,
};

/* user is a name of passwd(5). why_r gets one line for the log. May take long. */
enum k5login_verdict k5login_check(const char *user, const char *principal, char *why_r, size_t size);

#endif
