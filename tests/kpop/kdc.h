/* SPDX-License-Identifier: ISC */
/*
 * kdc: a realm and its KDC for a test program, in a folder of their own, and tickets from it.
 *
 * For tests of what Kerberos tickets do; whatever goes wrong here fails the test. One a program.
 */
#ifndef KPOPD_TESTS_KPOP_KDC_H
#define KPOPD_TESTS_KPOP_KDC_H

#include <krb5.h>

/* As cmocka's group functions. KRB5_CONFIG is the realm's from then on. */
int kdc_start(void **state);
int kdc_stop(void **state);

const char *kdc_dir(void);
const char *kdc_keytab(void);              /* of pop/localhost, pop3/localhost and imap/localhost */
krb5_context kdc_context(void);            /* a client's */
krb5_creds kdc_creds(const char *service); /* a ticket of alice's; krb5_free_cred_contents */
/* A fresh AP-REQ, as a client of KPOP sends it: no checksum, no subkey. auth_r may be NULL. */
krb5_data kdc_request(krb5_creds *creds, krb5_flags options, krb5_auth_context *auth_r);
/* A keytab with one random key. */
void kdc_make_keytab(const char *path, const char *service, krb5_enctype enctype, krb5_kvno kvno);

#endif
