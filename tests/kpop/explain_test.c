/* SPDX-License-Identifier: ISC */
/* Real tickets of a real KDC, against keytabs that do not fit them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "kpop/explain.h"
#include "kpop/replay.h"
#include "tests/kpop/kdc.h"

static const char *const services[] = {"pop", "pop3", NULL};
static char cache[64], made_keytab[64];
static time_t offset_secs;

time_t __real_time(time_t *time_r);
time_t __wrap_time(time_t *time_r);
time_t __wrap_time(time_t *time_r)
{
	time_t now = __real_time(NULL) + offset_secs;
	if (time_r != NULL)
		*time_r = now;
	return now;
}

static int start(void **state)
{
	if (kdc_start(state) != 0)
		return -1;
	snprintf(cache, sizeof(cache), "%s/replay", kdc_dir());
	snprintf(made_keytab, sizeof(made_keytab), "%s/made.keytab", kdc_dir());
	replay_make(cache);
	return 0;
}

static struct explain *open_explain(const char *keytab)
{
	const struct explain_config config = {.keytab = keytab, .replay_cache = cache, .services = services};
	struct explain *explain = explain_open(&config);
	assert_non_null(explain);
	return explain;
}

/* What is said of an AP-REQ for service, made by a client whose clock is off by skew, with this keytab. */
static const char *said(const char *keytab, const char *service, int skew_secs)
{
	static char text[EXPLAIN_TEXT_OCTETS];
	struct explain *explain = open_explain(keytab);
	krb5_creds creds = kdc_creds(service);
	creds.times.starttime -= 10000; /* for the client's own library only */
	creds.times.endtime += 10000;
	assert_int_equal(
	    krb5_set_real_time(kdc_context(), (krb5_timestamp)__real_time(NULL) + skew_secs, 0), 0);
	krb5_data request = kdc_request(&creds, 0, NULL);
	assert_int_equal(krb5_set_real_time(kdc_context(), (krb5_timestamp)__real_time(NULL), 0), 0);
	explain_ticket(explain, request.data, request.length, text);
	krb5_free_data_contents(kdc_context(), &request);
	krb5_free_cred_contents(kdc_context(), &creds);
	explain_close(&explain);
	assert_null(explain);
	return text;
}

static void assert_says(const char *sentence, const char *text, const char *const *words)
{
	for (; *words != NULL; words++)
		if (strstr(text, *words) == NULL)
			fail_msg("%s: no '%s' in '%s'", sentence, *words, text);
	for (const char *p = text; *p != '\0'; p++)
		if (*p < 0x20 || *p >= 0x7f || *p == '=')
			fail_msg("%s: octet %d in '%s'", sentence, *p, text);
}

static void test_whole_keytab(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *service;
		int skew_secs, offset_secs;
		const char *words[4];
	} rows[] = {
	    {"nothing is wrong", "pop/localhost", 0, 0,
		{"ticket for pop/localhost@KPOPD.TEST kvno 1 aes256-cts-hmac-sha1-96: of alice@KPOPD.TEST; "
		 "it is "
		 "ours and in time"}},
	    {"another service", "imap/localhost", 0, 0,
		{"ticket for imap/localhost@KPOPD.TEST", "not a service of ours (pop/HOST, pop3/HOST)"}},
	    {"a service of one component", "krbtgt/KPOPD.TEST", 0, 0, {"not a service of ours"}},
	    {"a clock ahead", "pop/localhost", 400, 0,
		{"clock is ", " s ahead of ours, and 300 s are borne", "NTP"}},
	    {"a clock behind", "pop/localhost", -400, 0, {"clock is ", " s behind ours"}},
	    {"our own clock behind", "pop/localhost", 0, -1000, {"clock is ", " s ahead of ours"}},
	    {"an expired ticket", "pop/localhost", 7200, 7200,
		{"of alice@KPOPD.TEST; it expired 3", " s ago: the client needs a new one (kinit)"}},
	    {"a ticket of tomorrow", "pop/localhost", -1000, -1000,
		{"it is not valid for another ", "KDC's clock"}},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		offset_secs = rows[i].offset_secs;
		assert_says(
		    rows[i].sentence, said(kdc_keytab(), rows[i].service, rows[i].skew_secs), rows[i].words);
		offset_secs = 0;
	}
}

/* The ticket is for pop/localhost, kvno 1, AES-256. */
static void test_other_keytabs(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *has;
		krb5_enctype enctype;
		krb5_kvno kvno;
		const char *words[4];
	} rows[] = {
	    {"another key of this number", "pop/localhost", ENCTYPE_AES256_CTS_HMAC_SHA1_96, 1,
		{"has a key of this number, but it does not open the ticket", "ktadd -k "}},
	    {"only a newer key", "pop/localhost", ENCTYPE_AES256_CTS_HMAC_SHA1_96, 7,
		{"has kvno 7 aes256-cts-hmac-sha1-96; the ticket is of a key that is gone", "kinit"}},
	    {"another enctype of this number", "pop/localhost", ENCTYPE_AES128_CTS_HMAC_SHA256_128, 1,
		{"has kvno 1 aes128-cts-hmac-sha256-128; ktadd -k ", "with the enctypes the KDC uses"}},
	    {"another host", "pop/mail.example.org", ENCTYPE_AES256_CTS_HMAC_SHA1_96, 1,
		{"has no key of it, but of pop/mail.example.org@KPOPD.TEST; the client calls this host by "
		 "another "
		 "name"}},
	    {"another realm", "pop/localhost@OTHER.TEST", ENCTYPE_AES256_CTS_HMAC_SHA1_96, 1,
		{"has no key of it, but of pop/localhost@OTHER.TEST; the realm is another"}},
	    {"another service alone", "host/localhost", ENCTYPE_AES256_CTS_HMAC_SHA1_96, 1,
		{"has no key of it, but of host/localhost@KPOPD.TEST; ktadd -k ", "that principal"}},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		kdc_make_keytab(made_keytab, rows[i].has, rows[i].enctype, rows[i].kvno);
		assert_says(rows[i].sentence, said(made_keytab, "pop/localhost", 0), rows[i].words);
	}
	assert_int_equal(unlink(made_keytab), 0);
	static const char *const none[] = {"not found; ktadd -k ", NULL};
	assert_says("no keytab", said(made_keytab, "pop/localhost", 0), none);
}

/* A KDC that has a newer key than the keytab: its numbers go up. */
static void test_newer_key(void **state)
{
	(void)state;
	static const char *const words[] = {"kvno 2 aes256", "has kvno 1 aes",
	    "the KDC has a newer key: ktadd -k ", "pop3/localhost@KPOPD.TEST", NULL};
	char command[256];
	snprintf(command, sizeof(command),
	    "KRB5_KDC_PROFILE=%s/kdc.conf PATH=$PATH:/usr/sbin kadmin.local -r KPOPD.TEST cpw -randkey "
	    "-keepold "
	    "pop3/localhost >&2",
	    kdc_dir());
	assert_int_equal(system(command), 0);
	assert_says("a newer key", said(kdc_keytab(), "pop3/localhost", 0), words);
}

static void test_weak(void **state)
{
	(void)state;
	static const char *const words[] = {"ticket for pop/weak@KPOPD.TEST kvno 1 arcfour-hmac: too weak",
	    "AES keys at the KDC", "then ktadd -k ", NULL};
	char command[512], keytab[80];
	snprintf(keytab, sizeof(keytab), "%s/weak.keytab", kdc_dir());
	snprintf(command, sizeof(command),
	    "bash %s/tests/system/realm.sh service %s pop/weak %s arcfour-hmac:normal >&2",
	    getenv("KPOPD_SRCDIR"), kdc_dir(), keytab);
	assert_int_equal(system(command), 0);
	assert_says("a weak enctype", said(keytab, "pop/weak", 0), words);
}

/* Names are the client's to choose, as far as its KDC lets it. */
static void test_hostile(void **state)
{
	(void)state;
	struct explain *explain = open_explain(kdc_keytab());
	krb5_creds creds = kdc_creds("pop/localhost");
	krb5_data request = kdc_request(&creds, 0, NULL);
	char text[EXPLAIN_TEXT_OCTETS];
	char *bad = malloc(request.length);
	static const char *const nothing[] = {NULL};

	assert_non_null(bad);
	for (unsigned i = 0; i < request.length; i++)
		for (int value = 0; value < 256; value += i < 150 ? 5 : 85) {
			memcpy(bad, request.data, request.length);
			bad[i] = (char)value;
			explain_ticket(explain, bad, request.length, text);
			assert_true(strlen(text) > 0 && strlen(text) < sizeof(text));
			assert_says("one octet is another", text, nothing);
		}
	for (unsigned len = 0; len < request.length; len++) {
		explain_ticket(explain, request.data, len, text);
		assert_true(strstr(text, "cut short") != NULL || strstr(text, "no Kerberos 5") != NULL);
	}
	free(bad);
	krb5_free_data_contents(kdc_context(), &request);
	krb5_free_cred_contents(kdc_context(), &creds);
	explain_close(&explain);
}

static void test_fresh(void **state)
{
	(void)state;
	krb5_creds creds = kdc_creds("pop/localhost");
	krb5_data old = kdc_request(&creds, 0, NULL);
	char other[80];

	snprintf(other, sizeof(other), "%s/fresh", kdc_dir());
	sleep(2);
	replay_make(other);
	const struct explain_config config = {
	    .keytab = kdc_keytab(), .replay_cache = other, .services = services};
	struct explain *explain = explain_open(&config);
	assert_non_null(explain);
	krb5_data young = kdc_request(&creds, 0, NULL);
	assert_true(explain_fresh(explain, young.data, young.length));
	assert_false(explain_fresh(explain, old.data, old.length));
	assert_false(explain_fresh(explain, old.data, old.length - 1));
	/* Hours later the library would refuse it by itself: nobody looks any more. */
	offset_secs = 4000;
	assert_true(explain_fresh(explain, old.data, old.length));
	offset_secs = 0;
	/* Deleted and made anew, perhaps in the same place on the disk. */
	sleep(2);
	assert_int_equal(unlink(other), 0);
	replay_make(other);
	assert_false(explain_fresh(explain, young.data, young.length));
	explain_close(&explain);
	krb5_free_data_contents(kdc_context(), &old);
	krb5_free_data_contents(kdc_context(), &young);
	krb5_free_cred_contents(kdc_context(), &creds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_whole_keytab),
	    cmocka_unit_test(test_other_keytabs),
	    cmocka_unit_test(test_newer_key),
	    cmocka_unit_test(test_weak),
	    cmocka_unit_test(test_hostile),
	    cmocka_unit_test(test_fresh),
	};
	return cmocka_run_group_tests(tests, start, kdc_stop);
}
