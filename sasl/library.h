/* SPDX-License-Identifier: ISC */
/*
 * library: Cyrus SASL as this process set it up, once: its options, its plug-ins, what can work.
 *
 * For the modules of this folder; exchange.h has the public part. One per process.
 */
#ifndef KPOPD_SASL_LIBRARY_H
#define KPOPD_SASL_LIBRARY_H

#include <stdbool.h>

#include <sasl/sasl.h>

#include "acceptor.h"
#include "exchange.h"

struct library {
	bool ready;
	struct saslx_config config;
	char *mech_list;           /* config.mechanisms, as the library wants them */
	char *search_path;         /* the folders of plug-ins, likewise */
	char host[256];            /* config.host, never empty */
	struct acceptor *acceptor; /* NULL: GSSAPI cannot work */
	char why[256];             /* the library's last complaint while it starts */
};

struct library *library_get(void);
/* Where passwords are checked, in order; never NULL. */
const char *const *library_sources(void);
#define LIBRARY_SECRETS "secrets" /* the source that is ours */
/* Whether there is anything to check a password with. */
bool library_passwords(void);
/* Answers the library's questions for options; also serves as callback of one exchange. */
int library_getopt(void *context, const char *plugin, const char *option, const char **result, unsigned *len);

/* Registers the plug-ins of this folder. A code of libsasl. */
int auxprop_register(void);
int gssapi_register(void);
int gs2_register(void);
int seed_register(void);

#define SEED_MECHANISM "KPOPD-SEED" /* never available; see seed.c */

#define LIBRARY_CALLBACK(fn) ((int (*)(void))(void (*)(void))(fn))

#endif
