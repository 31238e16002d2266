/* SPDX-License-Identifier: ISC */
#include "tests/kpop/kdc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <limits.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/kdc_test.XXXXXX";
static char keytab[64];
static krb5_context context; /* the client's */

static int realm(const char *verb)
{
	char command[PATH_MAX + 128];
	snprintf(command, sizeof(command), "bash %s/tests/system/realm.sh %s %s >&2", getenv("KPOPD_SRCDIR"),
	    verb, dir);
	return system(command);
}

int kdc_start(void **state)
{
	(void)state;
	char conf[64];
	if (mkdtemp(dir) == NULL || realm("start") != 0)
		return -1;
	snprintf(conf, sizeof(conf), "%s/krb5.conf", dir);
	snprintf(keytab, sizeof(keytab), "%s/krb5.keytab", dir);
	return setenv("KRB5_CONFIG", conf, 1) != 0 || krb5_init_context(&context) != 0 ? -1 : 0;
}

const char *kdc_dir(void)
{
	return dir;
}

const char *kdc_keytab(void)
{
	return keytab;
}

krb5_context kdc_context(void)
{
	return context;
}

int kdc_stop(void **state)
{
	(void)state;
	char command[64];
	krb5_free_context(context);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return realm("stop") != 0 || system(command) != 0 ? -1 : 0;
}

krb5_creds kdc_creds(const char *service)
{
	krb5_creds creds;
	krb5_principal alice;
	krb5_get_init_creds_opt *options;
	assert_int_equal(krb5_parse_name(context, "alice", &alice), 0);
	assert_int_equal(krb5_get_init_creds_opt_alloc(context, &options), 0);
	krb5_error_code code = krb5_get_init_creds_password(
	    context, &creds, alice, "alice-krb", NULL, NULL, 0, service, options);
	if (code != 0)
		fail_msg("%s: %s", service, krb5_get_error_message(context, code));
	krb5_get_init_creds_opt_free(context, options);
	krb5_free_principal(context, alice);
	return creds;
}

krb5_data kdc_request(krb5_creds *creds, krb5_flags options, krb5_auth_context *auth_r)
{
	krb5_auth_context auth = NULL;
	krb5_data request;
	assert_int_equal(krb5_mk_req_extended(context, &auth, options, NULL, creds, &request), 0);
	if (auth_r != NULL)
		*auth_r = auth;
	else
		krb5_auth_con_free(context, auth);
	return request;
}

void kdc_make_keytab(const char *path, const char *service, krb5_enctype enctype, krb5_kvno kvno)
{
	krb5_keytab file;
	krb5_keytab_entry entry = {.vno = kvno};
	char name[128];

	unlink(path);
	snprintf(name, sizeof(name), "WRFILE:%s", path);
	assert_int_equal(krb5_kt_resolve(context, name, &file), 0);
	assert_int_equal(krb5_parse_name(context, service, &entry.principal), 0);
	assert_int_equal(krb5_c_make_random_key(context, enctype, &entry.key), 0);
	assert_int_equal(krb5_kt_add_entry(context, file, &entry), 0);
	krb5_free_keytab_entry_contents(context, &entry);
	krb5_kt_close(context, file);
}
