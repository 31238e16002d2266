/* SPDX-License-Identifier: ISC */
/*
 * stack_client: tokens as an honest client with a real ticket makes them, for stack_fuzz.c to spoil.
 *
 * One realm a process, begun with its KDC by stack_realm_begin; the tickets are alice's.
 */
#ifndef KPOPD_TESTS_FUZZ_STACK_CLIENT_H
#define KPOPD_TESTS_FUZZ_STACK_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gssapi/gssapi.h>

enum token_kind {
	TOKEN_GSSAPI = 0,  /* a context's first token, or the next one for the last challenge */
	TOKEN_CHOICE,      /* GSSAPI's choice of layer, the way the flags say */
	TOKEN_GS2,         /* "n,," and the context's first token without its frame */
	TOKEN_CRAM,        /* alice's answer to the last challenge */
	TOKEN_SCRAM_FIRST, /* alice's first message */
	TOKEN_SCRAM_LAST,  /* and her answer to the last challenge */
	TOKEN_PLAIN,
	TOKEN_APREQ, /* for KPOP, without its length */
	TOKEN_KIND_COUNT
};

#define TOKEN_OCTETS 4096u

struct stack_client {
	gss_ctx_id_t context;
	uint8_t challenge[TOKEN_OCTETS]; /* the last one, decoded */
	size_t challenge_len;
	char scram_first[64];
	bool layer; /* the choice was for one */
};

/* Begins a realm and gets alice's ticket; the name of its keytab. NULL: it could not. */
const char *stack_realm_begin(void);
void stack_realm_end(void);

/* 0: there is none to be made now. flags: the layer for TOKEN_CHOICE; odd: ask for mutual authentication. */
size_t stack_token(
    struct stack_client *client, enum token_kind kind, uint8_t flags, uint8_t token_r[TOKEN_OCTETS]);
/* A record of the layer, as sent. 0: there is no context to wrap it in. */
size_t stack_record(
    struct stack_client *client, const void *text, size_t len, uint8_t record_r[TOKEN_OCTETS]);
void stack_client_clear(struct stack_client *client);

#endif
