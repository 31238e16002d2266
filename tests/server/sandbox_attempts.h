/* SPDX-License-Identifier: ISC */
/*
 * sandbox_attempts: things a role does, and things somebody who took it over would like to do.
 */
#ifndef KPOPD_TESTS_SERVER_SANDBOX_ATTEMPTS_H
#define KPOPD_TESTS_SERVER_SANDBOX_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <openssl/ssl.h>

/* What was opened before the sandbox. */
struct scene {
	SSL_CTX *server, *client;
	int listener;  /* with one connection waiting */
	int connected; /* one of ours */
	int fresh;     /* a TCP socket not yet connected */
	int code;      /* a file that may be run */
	int pair[2];   /* a non-blocking stream pair */
};

/* 0: it worked; else an errno. */
typedef int attempt_fn(struct scene *scene);

struct attempt {
	const char *sentence;
	attempt_fn *run;
	/* FRONT_PARENT, FRONT, AUTH, STORE_PARENT, STORE, CHECKER_PARENT, CHECKER, USERS_PARENT, LMTP_PARENT,
	 * LMTP, DELIVERER_PARENT, DELIVERER: a(llowed), d(enied), k(illed) */
	const char *want;
	int abi;        /* of Landlock that this row needs */
	bool sanitizer; /* also true of a build with sanitizers */
};

extern const struct attempt attempts[];
extern const size_t attempt_count;

#endif
