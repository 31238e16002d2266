/* SPDX-License-Identifier: ISC */
/* Password hashes of other programs: which are taken, which passwords fit, what they cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "sasl/passhash.h"

/* Of "sesam", made by doveadm pw, htpasswd, mkpasswd and openssl passwd. */
static const struct {
	const char *sentence, *text, *name, *cost;
} taken[] = {
    {"doveadm BLF-CRYPT", "$2y$05$WfCCPKrotX2Qc71xqnGaKebR0YVLc04CVRBZ/jD4rFkZERhhd24zG", "bcrypt", "cost 5"},
    {"doveadm SHA512-CRYPT",
	"$6$W1Y7YlzkYfmyXtS9$/0TuEYcQLoqX1.x4yjiwgY/"
	"ihbcGyI5szTu1F9.6rub.EFjf9xK7ydbno5LFl3vs8kgCnVWJyOGr1SI3UbUvY/",
	"sha512crypt", "5000 rounds"},
    {"doveadm SHA256-CRYPT with rounds",
	"$5$rounds=6000$WuaTlD0UrzzrG2KD$aG3DuLDYhiyCi1mlvkdoY3P6yNYqe.41HxHknNd.hLC", "sha256crypt",
	"6000 rounds"},
    {"doveadm ARGON2ID",
	"$argon2id$v=19$m=65536,t=3,p=1$0FZheVTVy25Q5euJnCyz1g$5voMl9dToodyMftK5Ril1tciZEc2F+NxiV3q4P1Lm6s",
	"argon2id", "65536 KiB, 3 passes"},
    {"doveadm ARGON2I",
	"$argon2i$v=19$m=32768,t=4,p=1$r6KwMYL/9NIsi5nB61OEHg$kFgyRWWF+U572hlUXspWo65ghOHIK2v+x4Pq5h1gvSw",
	"argon2i", "32768 KiB, 4 passes"},
    {"doveadm PBKDF2", "{PBKDF2}$1$V8Mbf6Lm21zstEMu$5000$0a54a1b27243afaab627414ed6cfc1788f274405",
	"pbkdf2-sha1", "5000 rounds"},
    {"htpasswd -B", "$2y$05$3j8yatGrp0DETqRO4I8HTO8vInUIu/URCIGeamln0NiNITe0PfO1u", "bcrypt", "cost 5"},
    {"htpasswd -5",
	"$6$44oAwwzW8ABpETgu$vpprDd6UC/"
	"9kSjoe9flXFfHSpNN9c5yYy3KixQBoNX8WuAGf65ghtVtm.k6wfHbUiGcpCjtUQtbviqPX9qEnV0",
	"sha512crypt", "5000 rounds"},
    {"htpasswd -2", "$5$eehieGkAcaB.RBoZ$NQ9Zf7QHGi11803fyaIdJk2v5jBkjI1TmKEFyt/cN6B", "sha256crypt",
	"5000 rounds"},
    {"bcrypt as OpenBSD says it", "$2b$05$jEw3FJvfWHr/OwsPnT0TUOmgkPVvqCTykZ.IaVdIii8z0uCeC.fPC", "bcrypt",
	"cost 5"},
    {"bcrypt as it was said", "$2a$05$soH1WvchOJr7Pgorjp.oIea5IJqyGpyKqLA/QPfwMeh84dtFlFxlC", "bcrypt",
	"cost 5"},
    {"Argon2 of four lanes",
	"$argon2id$v=19$m=4096,t=2,p=4$c2FsdHNhbHQ$GStRtE8qONpG2E7jpD80uR1Awoj7v1bHq/Y6XaasKsU", "argon2id",
	"4096 KiB, 2 passes"},
    {"openssl passwd -6",
	"$6$a.b/c$KUC5UOSU78WWzUqP.nh9AYcxNFqpeenbecnIl.BSNThNLfAeUo6f3I0.leWrhjWa9uxHZJEPlHVfma1nzjGlB/",
	"sha512crypt", "5000 rounds"},
    {"yescrypt, Debian's own", "$y$j9T$0123456789abcdefghijk.$wwqpiN/HTF/XnsMgOxMpWV38L5Fd3u5G/K65b6Fbmq5",
	"yescrypt", "16384 KiB"},
    {"yescrypt, less", "$y$j75$0123456789abcdefghijk.$grQkr0M4XY6I9UGRzlnx72nvih.udmriNxOlAfIwn/8",
	"yescrypt", "1024 KiB"},
};

static void hashes_are_taken_and_verified(void **state)
{
	char cost[PASSHASH_OCTETS + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		const char *wrong = passhash_wrong(taken[i].text);

		if (wrong != NULL)
			fail_msg("%s: %s", taken[i].sentence, wrong);
		assert_string_equal(passhash_name(taken[i].text), taken[i].name);
		assert_int_equal(passhash_cost(taken[i].text, cost), 0);
		assert_string_equal(cost, taken[i].cost);
		if (passhash_verify(taken[i].text, "sesam", 5) != PASSHASH_OK ||
		    passhash_verify(taken[i].text, "sesan", 5) != PASSHASH_DIFFERS ||
		    passhash_verify(taken[i].text, "sesa", 4) != PASSHASH_DIFFERS ||
		    passhash_verify(taken[i].text, "sesame", 6) != PASSHASH_DIFFERS ||
		    passhash_verify(taken[i].text, "", 0) != PASSHASH_DIFFERS)
			fail_msg("%s: the wrong password fits, or the right one does not", taken[i].sentence);
	}
}

/* A hash is all there or none; and which octet is another, the password does not fit. */
static void damaged_hashes_are_not_taken_or_fit_nothing(void **state)
{
	char text[PASSHASH_OCTETS + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		size_t len = strlen(taken[i].text);

		for (size_t cut = 0; cut < len; cut++) {
			memcpy(text, taken[i].text, cut);
			text[cut] = '\0';
			/* What is left of Argon2 may be a shorter digest; the cheap one is tried. */
			if (passhash_wrong(text) == NULL &&
			    (strstr(text, "$argon2") == NULL ||
				(strstr(text, "m=4096,") != NULL &&
				    passhash_verify(text, "sesam", 5) == PASSHASH_OK)))
				fail_msg("%s, cut to %zu octets", taken[i].sentence, cut);
		}
		memcpy(text, taken[i].text, len);
		memcpy(text + len, "$", 2);
		assert_non_null(passhash_wrong(text));
		memcpy(text, taken[i].text, len + 1);
		text[len - 3] = text[len - 3] == 'a' ? 'b' : 'a';
		assert_null(passhash_wrong(text));
		assert_int_equal(passhash_verify(text, "sesam", 5), PASSHASH_DIFFERS);
	}
}

#define DIGEST_86 "lXcccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccx"
#define DIGEST_43 "lXcccccccccccccccccccccccccccccccccccccccxx"
#define DIGEST_53 DIGEST_43 "0123456789"

static const struct {
	const char *sentence, *text, *says; /* NULL: taken */
} bounds[] = {
    {"DES", "HaacVEDPVnWEE", "DES"},
    {"MD5", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "MD5"},
    {"Apache's MD5", "$apr1$JqEcE5lK$F2yWPnZzAPVT4GnFJLRRW/", "MD5"},
    {"NT", "$3$$8846f7eaee8fb117ad06bdd830b7586c", "NT"},
    {"a faulty bcrypt", "$2x$10$" DIGEST_53, "faulty"},
    {"a password", "sesam", "no password hash"},
    {"nothing", "", "no password hash"},
    {"a locked account", "!$6$salt$" DIGEST_86, "no password hash"},
    {"SHA-crypt, as many rounds as may be", "$6$rounds=1000000$salt$" DIGEST_86, NULL},
    {"one more", "$6$rounds=1000001$salt$" DIGEST_86, "cost more"},
    {"a number that wraps", "$6$rounds=4294968296$salt$" DIGEST_86, "malformed"},
    {"a long number", "$6$rounds=99999999999999999999999$salt$" DIGEST_86, "malformed"},
    {"SHA-crypt, as few rounds as may be", "$5$rounds=1000$salt$" DIGEST_43, NULL},
    {"one fewer", "$5$rounds=999$salt$" DIGEST_43, "too few"},
    {"a leading zero", "$5$rounds=05000$salt$" DIGEST_43, "malformed"},
    {"a negative number", "$5$rounds=-1$salt$" DIGEST_43, "malformed"},
    {"a salt of 17", "$5$12345678901234567$" DIGEST_43, "malformed"},
    {"no salt", "$5$$" DIGEST_43, "malformed"},
    {"a space in the salt", "$5$a b$" DIGEST_43, "malformed"},
    {"bcrypt, as dear as may be", "$2b$14$" DIGEST_53, NULL},
    {"dearer", "$2b$15$" DIGEST_53, "cost more"},
    {"much dearer", "$2b$31$" DIGEST_53, "cost more"},
    {"bcrypt too cheap", "$2b$03$" DIGEST_53, "too few"},
    {"bcrypt with three digits", "$2b$100$" DIGEST_53, "malformed"},
    {"yescrypt of 16 MiB", "$y$j9T$0123456789012345678901$" DIGEST_43, NULL},
    {"yescrypt of 256 MiB", "$y$jDT$0123456789012345678901$" DIGEST_43, NULL},
    {"yescrypt of 512 MiB", "$y$jET$0123456789012345678901$" DIGEST_43, "cost more"},
    {"yescrypt of more than there is", "$y$jWW$0123456789012345678901$" DIGEST_43, "cost more"},
    {"yescrypt of nothing", "$y$j..$0123456789012345678901$" DIGEST_43, "too few"},
    {"yescrypt with more to say", "$y$j9T0$0123456789012345678901$" DIGEST_43, "malformed"},
    {"Argon2 of 256 MiB", "$argon2id$v=19$m=262144,t=8,p=1$c2FsdHNhbHRzYWx0$" DIGEST_43, NULL},
    {"of more", "$argon2id$v=19$m=262145,t=1,p=1$c2FsdHNhbHRzYWx0$" DIGEST_43, "cost more"},
    {"in more passes", "$argon2id$v=19$m=262144,t=9,p=1$c2FsdHNhbHRzYWx0$" DIGEST_43, "cost more"},
    {"in many passes", "$argon2id$v=19$m=8,t=4294967295,p=1$c2FsdHNhbHRzYWx0$" DIGEST_43, "cost more"},
    {"in no pass", "$argon2id$v=19$m=65536,t=0,p=1$c2FsdHNhbHRzYWx0$" DIGEST_43, "malformed"},
    {"in many lanes", "$argon2id$v=19$m=65536,t=1,p=65$c2FsdHNhbHRzYWx0$" DIGEST_43, "cost more"},
    {"in more lanes than memory", "$argon2id$v=19$m=64,t=1,p=9$c2FsdHNhbHRzYWx0$" DIGEST_43, "malformed"},
    {"of a version to come", "$argon2id$v=20$m=65536,t=1,p=1$c2FsdHNhbHRzYWx0$" DIGEST_43, "malformed"},
    {"Argon2d", "$argon2d$v=19$m=65536,t=1,p=1$c2FsdHNhbHRzYWx0$" DIGEST_43, "Argon2d"},
    {"PBKDF2, too many rounds", "{PBKDF2}$1$saltsalt$1000001$0123456789012345678901234567890123456789",
	"cost more"},
    {"PBKDF2, too few", "{PBKDF2}$1$saltsalt$999$0123456789012345678901234567890123456789", "too few"},
};

static void what_a_login_may_cost_is_bounded(void **state)
{
	char text[PASSHASH_OCTETS + 10];

	(void)state;
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		const char *wrong = passhash_wrong(bounds[i].text);

		if (bounds[i].says == NULL ? wrong != NULL
					   : wrong == NULL || strstr(wrong, bounds[i].says) == NULL)
			fail_msg("%s: %s", bounds[i].sentence, wrong != NULL ? wrong : "taken");
		if (wrong != NULL) {
			assert_null(passhash_name(bounds[i].text));
			assert_int_equal(passhash_blank(bounds[i].text, text), -1);
			assert_int_equal(passhash_verify(bounds[i].text, "x", 1), PASSHASH_TROUBLE);
		}
	}
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memcpy(text, "$6$", 3);
	assert_non_null(passhash_wrong(text));
}

static double seconds(const char *text)
{
	struct timespec begin, end;
	double best = 1e9, took;

	for (int i = 0; i < 3; i++) {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
		assert_int_equal(passhash_verify(text, "another", 7), PASSHASH_DIFFERS);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
		took = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
		best = took < best ? took : best;
	}
	return best;
}

static void blank_hashes_cost_as_much_and_fit_nothing(void **state)
{
	char blank[PASSHASH_OCTETS + 1], again[PASSHASH_OCTETS + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		double real, made_up;

		assert_int_equal(passhash_blank(taken[i].text, blank), 0);
		if (passhash_wrong(blank) != NULL)
			fail_msg("%s: %s", blank, passhash_wrong(blank));
		assert_int_equal(passhash_blank(blank, again), 0);
		assert_string_equal(again, blank);
		assert_string_equal(passhash_name(blank), taken[i].name);
		assert_int_equal(passhash_verify(blank, "sesam", 5), PASSHASH_DIFFERS);
		real = seconds(taken[i].text);
		made_up = seconds(blank);
		if (real > made_up * 2 || made_up > real * 2)
			fail_msg("%s: %.4f s, made up %.4f s", taken[i].sentence, real, made_up);
	}
	/* The same for all of one cost: salt, hash and the letter of bcrypt do not show. */
	assert_int_equal(passhash_blank("$2a$10$" DIGEST_53, blank), 0);
	assert_int_equal(passhash_blank("$2y$10$" DIGEST_43 "abcdefghij", again), 0);
	assert_string_equal(blank, again);
}

/* crypt(3) takes up to 511; a prepared password may be longer, and is then nobody's. */
static void long_passwords_fit_or_not_but_are_no_trouble(void **state)
{
	char password[4096];

	(void)state;
	memset(password, 'p', sizeof(password));
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		for (size_t len = 255; len <= sizeof(password); len = len * 2 + 1)
			assert_int_equal(passhash_verify(taken[i].text, password, len), PASSHASH_DIFFERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hashes_are_taken_and_verified),
	    cmocka_unit_test(damaged_hashes_are_not_taken_or_fit_nothing),
	    cmocka_unit_test(what_a_login_may_cost_is_bounded),
	    cmocka_unit_test(blank_hashes_cost_as_much_and_fit_nothing),
	    cmocka_unit_test(long_passwords_fit_or_not_but_are_no_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
