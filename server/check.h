/* SPDX-License-Identifier: ISC */
/*
 * check: the messages of a check that another authority decides, at both ends.
 *
 * For auth, which asks, and the checker, which answers. A question carries the socket of its one answer;
 * whoever waits sets a deadline of his own: a checker that is full or was ended says nothing.
 */
#ifndef KPOPD_SERVER_CHECK_H
#define KPOPD_SERVER_CHECK_H

#include "kpop/apreq.h"
#include "server/config.h"
#include "server/msg.h"

/* Whether somebody but the secrets file knows passwords. */
bool check_passwords_elsewhere(const struct config *config);
/* Whether a map section leaves the word to a .k5login. */
bool check_k5login_needed(const struct config *config);
/* Whether this configuration asks a checker anything. */
bool check_needed(const struct config *config);

/* Who is asked about passwords, as passwords in kpopd.conf names them; not for "secrets". */
enum check_kind check_kind_of(const char *source);

struct check {
	uint64_t session; /* of the front, for the log */
	enum check_kind kind;
	char user[LIMIT_USER_OCTETS + 1];
	char secret[LIMIT_CHECK_OCTETS + 1]; /* the password; for CHECK_K5LOGIN the principal */
};

/* Asks; *answer_r is the socket on which the answer comes, the caller's to close. MSG_OK, MSG_AGAIN, MSG_BAD.
 */
int check_ask(int door, const struct check *check, int *answer_r);
/* What was found. */
struct check_result {
	enum check_verdict verdict;
	char principal[KPOP_PRINCIPAL_OCTETS]; /* whose password it is, as krb5_unparse_name quotes it; or ""
						*/
	char why[LIMIT_CHECK_WHY_OCTETS + 1];  /* one printable line, for the log */
};
/* On that socket. MSG_OK, MSG_AGAIN, MSG_EOF (ended without an answer), MSG_BAD. */
int check_hear(int answer, struct check_result *result_r);

/* On the checker's side: takes a question apart. false: outside the table. The caller wipes *check_r. */
bool check_read(const struct msg *msg, struct check *check_r);
void check_answer(int answer, const struct check_result *result);

#endif
