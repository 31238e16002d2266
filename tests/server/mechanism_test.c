/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "server/mechanism.h"

static void test_rows(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *name;
		bool known, plaintext, may_block, server_first;
	} rows[] = {
	    {"a ticket shows no password and waits for nobody", "GSSAPI", true, false, false, false},
	    {"GS2 is as GSSAPI", "GS2-KRB5-PLUS", true, false, false, false},
	    {"SCRAM shows no password", "SCRAM-SHA-256", true, false, false, false},
	    {"case does not matter", "scram-sha-1", true, false, false, false},
	    {"CRAM-MD5 begins with the server's challenge", "CRAM-MD5", true, false, false, true},
	    {"PLAIN shows the password and may cost a hash", "PLAIN", true, true, true, false},
	    {"LOGIN too, and clients do send the name at once", "LOGIN", true, true, true, false},
	    {"a site's own plug-in is trusted with nothing", "X-SITE", false, true, true, false},
	    {"a prefix is not the mechanism", "PLAI", false, true, true, false},
	    {"nor is an empty name", "", false, true, true, false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct mechanism *got = mechanism_find(rows[i].name);
		if (got == NULL || (got->name != NULL) != rows[i].known ||
		    got->plaintext != rows[i].plaintext || got->may_block != rows[i].may_block ||
		    got->server_first != rows[i].server_first)
			fail_msg("%s", rows[i].sentence);
	}
}

static void test_binding(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *name;
		bool binds, plus, end_point;
	} rows[] = {
	    {"GSSAPI is bound to certificates, on request", "GSSAPI", false, false, true},
	    {"GS2 says whether it is bound", "GS2-KRB5", true, false, false},
	    {"with -PLUS it must be", "gs2-krb5-plus", true, true, false},
	    {"SCRAM likewise", "SCRAM-SHA-512", true, false, false},
	    {"with -PLUS too", "SCRAM-SHA-512-PLUS", true, true, false},
	    {"CRAM-MD5 knows nothing of it", "CRAM-MD5", false, false, false},
	    {"nor do we of a site's plug-in, whatever its name", "X-SITE-PLUS", false, false, false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct mechanism *got = mechanism_find(rows[i].name);
		if (got->binds != rows[i].binds || got->plus != rows[i].plus ||
		    got->end_point != rows[i].end_point)
			fail_msg("%s", rows[i].sentence);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_binding)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
