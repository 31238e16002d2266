/* SPDX-License-Identifier: ISC */
/*
 * password: a password from a person at a terminal, or from a program on standard input.
 *
 * For kpopctl. Never from the command line, which others can read.
 */
#ifndef KPOPD_TOOLS_PASSWORD_H
#define KPOPD_TOOLS_PASSWORD_H

#include "sasl/secrets.h"

#define PASSWORD_OCTETS (SECRETS_PASSWORD_OCTETS + 1u)

/*
 * Asks twice without showing what is typed when standard input is a terminal, else takes one line.
 * password_r has PASSWORD_OCTETS; the caller wipes it. 0, or -1 with one line in why_r.
 */
int password_read(const char *user, char *password_r, const char **why_r);

#endif
