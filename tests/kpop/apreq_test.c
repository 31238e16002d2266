/* SPDX-License-Identifier: ISC */
/* Real tickets of a real KDC: realm.sh starts one for this program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <krb5.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "kpop/apreq.h"
#include "kpop/replay.h"
#include "kpop/sendauth.h"
#include "tests/kpop/kdc.h"

enum { CODE_REPEAT = 34, CODE_NOT_US = 35, CODE_SKEW = 37, CODE_MSG_TYPE = 40, CODE_GENERIC = 60 };

static char cache[64];
static const char *const services[] = {"pop", "pop3", NULL};
static krb5_context context; /* the client's */
static struct kpop_result result;

static int start_realm(void **state)
{
	if (kdc_start(state) != 0)
		return -1;
	context = kdc_context();
	snprintf(cache, sizeof(cache), "%s/replay", kdc_dir());
	return 0;
}

static struct kpop *open_kpop(const char *with_keytab, const char *with_cache)
{
	struct kpop_config config = {.keytab = with_keytab, .replay_cache = with_cache, .services = services};
	struct kpop *kpop;
	char why[512];
	if (kpop_open(&kpop, &config, why, sizeof(why)) != KPOP_OK)
		fail_msg("%s", why);
	return kpop;
}

/* The KRB-ERROR in the reply: its code, and text in text_r. */
static int error_code(char *text_r, size_t size)
{
	krb5_error *error;
	krb5_data data = {.data = (char *)result.reply + 4, .length = (unsigned)(result.reply_len - 4)};
	assert_true(result.reply_len > 4);
	assert_true(result.reply[0] == 0 && result.reply[1] == 0);
	assert_int_equal((size_t)result.reply[2] << 8 | result.reply[3], result.reply_len - 4);
	assert_int_equal(krb5_rd_error(context, &data, &error), 0);
	int code = (int)error->error;
	/* Clients print the text as a C string. */
	assert_true(error->text.length > 1 && error->text.data[error->text.length - 1] == '\0');
	snprintf(text_r, size, "%s", error->text.data);
	krb5_free_error(context, error);
	return code;
}

static void assert_refused(const char *sentence, int got, int want, int code, const char *why)
{
	char text[256];
	if (got != want || result.principal[0] != '\0' || error_code(text, sizeof(text)) != code ||
	    strstr(result.why, why) == NULL || strchr(result.why, '\n') != NULL)
		fail_msg("%s: result %d, '%s', '%s'", sentence, got, text, result.why);
}

static void test_accepts(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *service;
		krb5_flags options;
	} rows[] = {
	    {"fetchmail: pop, mutual", "pop/localhost", AP_OPTS_MUTUAL_REQUIRED},
	    {"Heimdal's push: pop, not mutual", "pop/localhost", 0},
	    {"Emacs: pop3, mutual", "pop3/localhost", AP_OPTS_MUTUAL_REQUIRED},
	};
	static const uint8_t zero[4];
	struct kpop *kpop = open_kpop(kdc_keytab(), cache);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		krb5_auth_context auth;
		krb5_creds creds = kdc_creds(rows[i].service);
		krb5_data request = kdc_request(&creds, rows[i].options, &auth);
		if (kpop_accept(kpop, request.data, request.length, &result) != KPOP_OK)
			fail_msg("%s: %s", rows[i].sentence, result.why);
		assert_string_equal(result.principal, "alice@KPOPD.TEST");
		assert_true(result.reply_len >= 4);
		assert_memory_equal(result.reply, zero, 4);
		if (rows[i].options == 0) {
			assert_int_equal(result.reply_len, 4);
		} else { /* and we prove who we are */
			krb5_ap_rep_enc_part *part;
			krb5_data rep = {
			    .data = (char *)result.reply + 8, .length = (unsigned)(result.reply_len - 8)};
			assert_int_equal((size_t)result.reply[6] << 8 | result.reply[7], rep.length);
			assert_int_equal(krb5_rd_rep(context, auth, &rep, &part), 0);
			krb5_free_ap_rep_enc_part(context, part);
		}
		krb5_free_data_contents(context, &request);
		krb5_auth_con_free(context, auth);
		krb5_free_cred_contents(context, &creds);
	}
	kpop_close(&kpop);
	assert_null(kpop);
}

static void test_file_prefix(void **state)
{
	(void)state;
	char name[80];
	snprintf(name, sizeof(name), "FILE:%s", kdc_keytab());
	struct kpop *kpop = open_kpop(name, cache);
	kpop_close(&kpop);
}

/* Accepted once; whoever sends it again, to whichever process and after whatever restart, is refused. */
static void test_replay(void **state)
{
	(void)state;
	struct kpop *kpop = open_kpop(kdc_keytab(), cache), *other = open_kpop(kdc_keytab(), cache);
	krb5_creds creds = kdc_creds("pop/localhost");
	krb5_data request = kdc_request(&creds, AP_OPTS_MUTUAL_REQUIRED, NULL);

	assert_int_equal(kpop_accept(kpop, request.data, request.length, &result), KPOP_OK);
	assert_refused("the same acceptor", kpop_accept(kpop, request.data, request.length, &result),
	    KPOP_REFUSED, CODE_REPEAT, "replay");
	assert_refused("another acceptor", kpop_accept(other, request.data, request.length, &result),
	    KPOP_REFUSED, CODE_REPEAT, "replay");
	pid_t child = fork();
	if (child == 0) {
		struct kpop_config config = {
		    .keytab = kdc_keytab(), .replay_cache = cache, .services = services};
		char why[512];
		int got = kpop_open(&kpop, &config, why, sizeof(why));
		_exit(got != KPOP_OK                                                             ? 1
		      : kpop_accept(kpop, request.data, request.length, &result) == KPOP_REFUSED ? 7
												 : 2);
	}
	int status;
	assert_true(waitpid(child, &status, 0) == child && WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	kpop_close(&kpop);
	kpop = open_kpop(kdc_keytab(), cache);
	assert_refused("after a restart", kpop_accept(kpop, request.data, request.length, &result),
	    KPOP_REFUSED, CODE_REPEAT, "replay");
	/* The ticket itself is good for another login. */
	krb5_free_data_contents(context, &request);
	request = kdc_request(&creds, 0, NULL);
	assert_int_equal(kpop_accept(kpop, request.data, request.length, &result), KPOP_OK);

	krb5_free_data_contents(context, &request);
	krb5_free_cred_contents(context, &creds);
	kpop_close(&kpop);
	kpop_close(&other);
}

static void test_other_services(void **state)
{
	(void)state;
	static const char *const names[] = {"imap/localhost", "krbtgt/KPOPD.TEST"};
	struct kpop *kpop = open_kpop(kdc_keytab(), cache);
	for (size_t i = 0; i < 2; i++) {
		krb5_creds creds = kdc_creds(names[i]);
		krb5_data request = kdc_request(&creds, AP_OPTS_MUTUAL_REQUIRED, NULL);
		int got = kpop_accept(kpop, request.data, request.length, &result);
		assert_refused(names[i], got, KPOP_REFUSED, CODE_NOT_US, "");
		krb5_free_data_contents(context, &request);
		krb5_free_cred_contents(context, &creds);
	}
	kpop_close(&kpop);
}

static void test_services_of_the_site(void **state)
{
	(void)state;
	static const char *const only_pop[] = {"pop", NULL};
	struct kpop_config config = {.keytab = kdc_keytab(), .replay_cache = cache, .services = only_pop};
	struct kpop *kpop;
	char why[512];
	assert_int_equal(kpop_open(&kpop, &config, why, sizeof(why)), KPOP_OK);
	krb5_creds creds = kdc_creds("pop3/localhost");
	krb5_data request = kdc_request(&creds, 0, NULL);
	int got = kpop_accept(kpop, request.data, request.length, &result);
	assert_refused("pop3 where only pop is wanted", got, KPOP_REFUSED, CODE_NOT_US, "");
	krb5_free_data_contents(context, &request);
	krb5_free_cred_contents(context, &creds);
	kpop_close(&kpop);
}

static void test_skew(void **state)
{
	(void)state;
	static const struct {
		const char *sentence;
		int secs;
		const char *side;
	} rows[] = {{"a clock far ahead", 400, "ahead of"}, {"a clock far behind", -400, "behind"}};
	struct kpop *kpop = open_kpop(kdc_keytab(), cache);
	krb5_creds creds = kdc_creds("pop/localhost");
	creds.times.starttime -= 1000; /* for the client's own library only */
	for (size_t i = 0; i < 2; i++) {
		char text[256];
		long secs;
		assert_int_equal(
		    krb5_set_real_time(context, (krb5_timestamp)time(NULL) + rows[i].secs, 0), 0);
		krb5_data request = kdc_request(&creds, 0, NULL);
		int got = kpop_accept(kpop, request.data, request.length, &result);
		assert_int_equal(krb5_set_real_time(context, (krb5_timestamp)time(NULL), 0), 0);
		assert_refused(rows[i].sentence, got, KPOP_REFUSED, CODE_SKEW, "clock skew");
		error_code(text, sizeof(text)); /* the user is told how far */
		assert_int_equal(sscanf(strstr(text, "clock is "), "clock is %ld", &secs), 1);
		assert_true(secs >= 395 && secs <= 405 && strstr(text, rows[i].side) != NULL);
		krb5_free_data_contents(context, &request);
	}
	krb5_free_cred_contents(context, &creds);
	kpop_close(&kpop);
}

/* When the cache was lost, what it had seen must not come back. */
static void test_lost_cache(void **state)
{
	(void)state;
	char path[80];
	snprintf(path, sizeof(path), "%s/new", kdc_dir());
	krb5_creds creds = kdc_creds("pop/localhost");
	creds.times.starttime -= 1000;
	assert_int_equal(krb5_set_real_time(context, (krb5_timestamp)time(NULL) - 30, 0), 0);
	krb5_data request = kdc_request(&creds, 0, NULL);
	assert_int_equal(krb5_set_real_time(context, (krb5_timestamp)time(NULL), 0), 0);
	struct kpop *kpop = open_kpop(kdc_keytab(), path);
	replay_make(path);
	assert_refused("from before the cache", kpop_accept(kpop, request.data, request.length, &result),
	    KPOP_REFUSED, CODE_SKEW, "older than the replay cache");
	krb5_free_data_contents(context, &request);
	/* The client's clock counts from the beginning of a second, the cache's from when it was made. */
	sleep(1);
	assert_int_equal(krb5_set_real_time(context, (krb5_timestamp)time(NULL), 0), 0);
	request = kdc_request(&creds, 0, NULL);
	assert_int_equal(kpop_accept(kpop, request.data, request.length, &result), KPOP_OK);
	/* Deleted while we run: what it had seen is refused by its age. */
	sleep(2);
	assert_int_equal(unlink(path), 0);
	assert_refused("from before the cache was deleted",
	    kpop_accept(kpop, request.data, request.length, &result), KPOP_REFUSED, CODE_SKEW,
	    "older than the replay cache");
	krb5_free_data_contents(context, &request);
	krb5_free_cred_contents(context, &creds);
	kpop_close(&kpop);
	unlink(path);
}

static void test_cache_trouble(void **state)
{
	(void)state;
	char missing[80];
	snprintf(missing, sizeof(missing), "%s/none/replay", kdc_dir());
	const char *const paths[] = {missing, kdc_dir(), "/dev/full"};
	krb5_creds creds = kdc_creds("pop/localhost");
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		krb5_data request = kdc_request(&creds, AP_OPTS_MUTUAL_REQUIRED, NULL);
		struct kpop *kpop = open_kpop(kdc_keytab(), paths[i]);
		int got = kpop_accept(kpop, request.data, request.length, &result);
		assert_refused(paths[i], got, KPOP_TEMP, CODE_GENERIC, "replay cache");
		kpop_close(&kpop);
		/* Our trouble was not the client's: the same request is good where the cache works. */
		kpop = open_kpop(kdc_keytab(), cache);
		assert_int_equal(kpop_accept(kpop, request.data, request.length, &result), KPOP_OK);
		kpop_close(&kpop);
		krb5_free_data_contents(context, &request);
	}
	krb5_free_cred_contents(context, &creds);
}

static void test_truncated(void **state)
{
	(void)state;
	struct kpop *kpop = open_kpop(kdc_keytab(), cache);
	krb5_creds creds = kdc_creds("pop/localhost");
	krb5_data request = kdc_request(&creds, AP_OPTS_MUTUAL_REQUIRED, NULL);
	for (unsigned len = 0; len < request.length; len++) {
		char text[256];
		char *copy =
		    malloc(len + (len == 0)); /* of exactly this size: a read past it is the sanitizer's */
		assert_non_null(copy);
		memcpy(copy, request.data, len);
		assert_int_equal(kpop_accept(kpop, copy, len, &result), KPOP_REFUSED);
		assert_true(error_code(text, sizeof(text)) != CODE_REPEAT && result.why[0] != '\0');
		free(copy);
	}
	assert_int_equal(kpop_accept(kpop, request.data, request.length, &result), KPOP_OK);
	krb5_free_data_contents(context, &request);
	krb5_free_cred_contents(context, &creds);
	kpop_close(&kpop);
}

/* No change of a bit makes somebody else of alice; and in what is encrypted, none is accepted. */
static void test_flipped(void **state)
{
	(void)state;
	struct kpop *kpop = open_kpop(kdc_keytab(), cache);
	krb5_creds creds = kdc_creds("pop/localhost");
	unsigned accepted = 0, tried = 0;
	for (unsigned at = 0;; at++, tried++) {
		krb5_data request = kdc_request(&creds, AP_OPTS_MUTUAL_REQUIRED, NULL);
		if (at >= request.length) {
			krb5_free_data_contents(context, &request);
			break;
		}
		request.data[at] = (char)(request.data[at] ^ (1 << (at % 8)));
		int got = kpop_accept(kpop, request.data, request.length, &result);
		assert_int_not_equal(got, KPOP_TEMP);
		if (got == KPOP_OK) {
			assert_string_equal(result.principal, "alice@KPOPD.TEST");
			accepted++;
		} else {
			assert_string_equal(result.principal, "");
			assert_true(result.why[0] != '\0' && result.reply_len > 4);
		}
		krb5_free_data_contents(context, &request);
	}
	/* Options, names and key numbers outside of the encryption: a few dozen octets. */
	assert_true(tried > 400 && accepted < 40);
	krb5_free_cred_contents(context, &creds);
	kpop_close(&kpop);
}

static void test_garbage(void **state)
{
	(void)state;
	static char large[SENDAUTH_APREQ_OCTETS + 1];
	memset(large, 0x6e, sizeof(large));
	static const struct {
		const char *sentence, *octets;
		size_t len;
		int code; /* -1: any */
	} rows[] = {
	    {"nothing", "", 0, CODE_MSG_TYPE},
	    {"a POP3 command", "QUIT\r\n", 6, CODE_MSG_TYPE},
	    {"one zero", "\0", 1, CODE_MSG_TYPE},
	    {"a tag alone", "\x6e", 1, -1},
	    {"an empty AP-REQ", "\x6e\0", 2, -1},
	    {"an endless length", "\x6e\x84\xff\xff\xff\xff", 6, -1},
	    {"an indefinite length", "\x6e\x80\0\0", 4, -1},
	    {"the most that may come", large, sizeof(large) - 1, -1},
	    {"more than may come", large, sizeof(large), CODE_MSG_TYPE},
	};
	struct kpop *kpop = open_kpop(kdc_keytab(), cache);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[256];
		int got = kpop_accept(kpop, rows[i].octets, rows[i].len, &result);
		int code = error_code(text, sizeof(text));
		if (got != KPOP_REFUSED || (rows[i].code >= 0 && code != rows[i].code) ||
		    result.why[0] == '\0')
			fail_msg("%s: %d, code %d, %s", rows[i].sentence, got, code, result.why);
	}
	kpop_close(&kpop);
}

/* A keytab of our own making: one key of service in enctype. */
static void test_keytabs(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *service; /* NULL: an empty keytab; "": none */
		krb5_enctype enctype;
		const char *want[2];
	} rows[] = {
	    {"no keytab", "", 0, {"not found", "wanted an AES key of pop/HOST or pop3/HOST in /tmp/"}},
	    {"an empty keytab", NULL, 0, {"no usable key", "which is empty"}},
	    {"another service", "imap/localhost", ENCTYPE_AES256_CTS_HMAC_SHA1_96,
		{"no usable key", "which has imap/localhost@KPOPD.TEST kvno 3 aes256-cts-hmac-sha1-96"}},
	    {"a weak key", "pop/localhost", ENCTYPE_ARCFOUR_HMAC,
		{"no usable key", "which has pop/localhost@KPOPD.TEST kvno 3 arcfour-hmac"}},
	    {"a service without host", "pop", ENCTYPE_AES256_CTS_HMAC_SHA1_96,
		{"no usable key", "pop@KPOPD.TEST"}},
	    {"a service with an instance", "pop/localhost/x", ENCTYPE_AES256_CTS_HMAC_SHA1_96,
		{"no usable key", "/x@KPOPD.TEST"}},
	    {"a service that begins as ours", "pop4/localhost", ENCTYPE_AES256_CTS_HMAC_SHA1_96,
		{"no usable key", "pop4/"}},
	};
	char path[80], why[512];
	snprintf(path, sizeof(path), "%s/other.keytab", kdc_dir());
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kpop_config config = {.keytab = path, .replay_cache = cache, .services = services};
		struct kpop *kpop;
		unlink(path);
		if (rows[i].service == NULL) {
			FILE *file = fopen(path, "w");
			assert_true(file != NULL && fwrite("\5\2", 1, 2, file) == 2 && fclose(file) == 0);
		} else if (rows[i].service[0] != '\0') {
			kdc_make_keytab(path, rows[i].service, rows[i].enctype, 3);
		}
		int got = kpop_open(&kpop, &config, why, sizeof(why));
		if (got != KPOP_NO_KEYTAB || kpop != NULL || strstr(why, rows[i].want[0]) == NULL ||
		    strstr(why, rows[i].want[1]) == NULL)
			fail_msg("%s: %d %s", rows[i].sentence, got, why);
	}
	unlink(path);
}

/* The KDC has a newer key than the keytab, or another one of the same number. */
static void test_stale_keys(void **state)
{
	(void)state;
	char path[80];
	snprintf(path, sizeof(path), "%s/stale.keytab", kdc_dir());
	krb5_creds creds = kdc_creds("pop/localhost");
	for (krb5_kvno kvno = 1; kvno <= 2; kvno++) {
		kdc_make_keytab(path, "pop/localhost", ENCTYPE_AES256_CTS_HMAC_SHA1_96, kvno);
		struct kpop *kpop = open_kpop(path, cache);
		krb5_data request = kdc_request(&creds, 0, NULL);
		int got = kpop_accept(kpop, request.data, request.length, &result);
		assert_refused("a stale keytab", got, KPOP_REFUSED, CODE_NOT_US, "");
		krb5_free_data_contents(context, &request);
		kpop_close(&kpop);
	}
	krb5_free_cred_contents(context, &creds);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_accepts),
	    cmocka_unit_test(test_file_prefix),
	    cmocka_unit_test(test_replay),
	    cmocka_unit_test(test_other_services),
	    cmocka_unit_test(test_services_of_the_site),
	    cmocka_unit_test(test_skew),
	    cmocka_unit_test(test_lost_cache),
	    cmocka_unit_test(test_cache_trouble),
	    cmocka_unit_test(test_truncated),
	    cmocka_unit_test(test_flipped),
	    cmocka_unit_test(test_garbage),
	    cmocka_unit_test(test_keytabs),
	    cmocka_unit_test(test_stale_keys),
	};
	return cmocka_run_group_tests(tests, start_realm, kdc_stop);
}
