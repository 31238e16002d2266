/* SPDX-License-Identifier: ISC */
/*
 * ticket: the Kerberos side of the load generator.
 *
 * A user's service ticket is fetched once, into memory; after that every session makes its own AP-REQ or
 * GSS-API context from it without a KDC. One thread.
 */
#ifndef KPOPD_TESTS_BENCH_TICKET_H
#define KPOPD_TESTS_BENCH_TICKET_H

#include <stddef.h>

/* One user's ticket for pop/host. Ends the program with a message when it cannot be had. */
struct ticket;
struct ticket *ticket_new(const char *ccache, const char *host);
void ticket_free(struct ticket **ticket);

/* One session's use of a ticket. NULL: no memory. */
struct proof;
struct proof *proof_new(struct ticket *ticket);
void proof_free(struct proof **proof);

/* All return the octets written to out, or -1: an error, told on standard error. */
int proof_apreq(struct proof *proof, void *out, size_t size);
/* 0 when rep is the server's proof that it has the key, else -1. */
int proof_aprep(struct proof *proof, const void *rep, size_t len);
/* The next token of the context; 0 octets once it is established and nothing more is to be said. */
int proof_gss_token(struct proof *proof, const void *in, size_t len, void *out, size_t size);
/* RFC 4752: takes the server's wrapped offer, answers with a layer (1 none, 4 confidentiality) and the user
 * to be. */
int proof_gss_choice(
    struct proof *proof, int layer, const void *in, size_t len, const char *user, void *out, size_t size);
/* What is said and heard in the layer of confidentiality. */
int proof_gss_seal(struct proof *proof, const void *in, size_t len, void *out, size_t size);
int proof_gss_unseal(struct proof *proof, const void *in, size_t len, void *out, size_t size);

#endif
