/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "server/hearsay.h"

/* A message and its length; NULs inside count. */
#define M(text)                       \
	{                             \
		text, sizeof text - 1 \
	}

struct message {
	const char *octets;
	size_t len;
};

static const struct {
	const char *sentence, *mechanism;
	struct message messages[3];
	const char *decides; /* a 'd' for each message that may be a guess, a '-' for others */
	const char *user;
	const char *secret; /* of the last message; NULL: none is seen */
} rows[] = {
    {"PLAIN says all at once", "PLAIN", {M("\0alice\0sesam")}, "d", "alice", "sesam"},
    {"whoever is to be acted for is not who is guessed at", "plain", {M("bob\0alice\0sesam")}, "d", "alice",
	"sesam"},
    {"PLAIN without its NULs says nothing, and may still decide", "PLAIN", {M("alice")}, "d", "", NULL},
    {"with one of them neither", "PLAIN", {M("\0alice")}, "d", "", NULL},
    {"a third one belongs to the password", "PLAIN", {M("\0alice\0se\0sam")}, "d", "alice", "se\0sam"},
    {"an empty message", "PLAIN", {M("")}, "d", "", NULL},
    {"LOGIN says one after the other", "LOGIN", {M("alice"), M("sesam")}, "-d", "alice", "sesam"},
    {"an empty password is one", "LOGIN", {M("alice"), M("")}, "-d", "alice", ""},
    {"USER and PASS", "USER", {M("alice\0sesam")}, "d", "alice", "sesam"},
    {"a password may hold anything", "USER", {M("alice\0\xff\r \0x")}, "d", "alice", "\xff\r \0x"},
    {"no NUL, nobody", "USER", {M("alice")}, "d", "", NULL},
    {"APOP's digest is no password", "APOP", {M("alice\0c4c9334bac560ecc979e58001b3e22fb")}, "d", "alice",
	NULL},
    {"CRAM-MD5 has its name before the last space", "CRAM-MD5",
	{M("al ice b913a602c7eda7a495b4e6e7334d3890")}, "d", "al ice", NULL},
    {"without a space there is none", "CRAM-MD5", {M("alice")}, "d", "", NULL},
    {"SCRAM says the name first, and decides over the proof", "SCRAM-SHA-256",
	{M("n,,n=alice,r=abc"), M("c=biws,r=abcdef,p=AAAA")}, "-d", "alice", NULL},
    {"what comes behind the server's proof is no guess", "SCRAM-SHA-256",
	{M("n,,n=alice,r=abc"), M("c=biws,r=abcdef,p=AAAA"), M("")}, "-d-", "alice", NULL},
    {"a name with a comma and an equals sign", "SCRAM-SHA-1", {M("y,a=bob,n=a=2Cb=3Dc,r=x")}, "-", "a,b=c",
	NULL},
    {"a bound one", "SCRAM-SHA-512-PLUS", {M("p=tls-exporter,,n=alice,r=x")}, "-", "alice", NULL},
    {"a field of the future before it", "SCRAM-SHA-1", {M("n,,m=x,n=alice,r=x")}, "-", "alice", NULL},
    {"a broken escape is taken as it is", "SCRAM-SHA-1", {M("n,,n=a=2,r=x")}, "-", "a=2", NULL},
    {"no name at all", "SCRAM-SHA-1", {M("n,,r=x,")}, "-", "", NULL},
    {"a name that does not end", "SCRAM-SHA-1", {M("n,,n=alice")}, "-", "", NULL},
    {"a NUL in a name: it is nobody's", "SCRAM-SHA-1", {M("n,,n=al\0ice,r=x")}, "-", "", NULL},
    {"tickets cannot be guessed", "GSSAPI", {M("x"), M("y")}, "--", "", NULL},
    {"nor bound ones", "GS2-KRB5-PLUS", {M("x"), M("y")}, "--", "", NULL},
    {"nor those of KPOP", "KPOP", {M("x"), M("alice")}, "--", "", NULL},
    {"of a site's own mechanism anything may be one", "X-SITE", {M("alice"), M("sesam")}, "dd", "", NULL},
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct hearsay heard = {.kind = hearsay_kind(rows[i].mechanism)};
		for (size_t n = 0; rows[i].decides[n] != '\0'; n++) {
			const struct message *message = &rows[i].messages[n];
			bool decides = hearsay_take(&heard, (const uint8_t *)message->octets, message->len);
			if (decides != (rows[i].decides[n] == 'd'))
				fail_msg("%s: message %zu", rows[i].sentence, n + 1);
		}
		const char *secret = rows[i].secret;
		bool same =
		    strcmp(heard.user, rows[i].user) == 0 && (heard.secret != NULL) == (secret != NULL);
		/* A secret with NULs inside is longer than its first string. */
		if (same && secret != NULL)
			same = heard.secret_len >= strlen(secret) &&
			       memcmp(heard.secret, secret, heard.secret_len) == 0;
		if (!same)
			fail_msg("%s: user '%s', %zu octets of a secret", rows[i].sentence, heard.user,
			    heard.secret_len);
	}
}

/* A name as long as one may be, and one octet more. */
static void test_lengths(void **state)
{
	(void)state;
	char text[LIMIT_USER_OCTETS + 16];
	for (size_t len = LIMIT_USER_OCTETS - 1; len <= LIMIT_USER_OCTETS + 1; len++) {
		size_t want = len <= LIMIT_USER_OCTETS ? len : 0;
		struct hearsay login = {.kind = HEARSAY_LOGIN}, scram = {.kind = HEARSAY_SCRAM},
			       user = {.kind = HEARSAY_USERPASS};
		memset(text, 'a', sizeof text);
		hearsay_take(&login, (const uint8_t *)text, len);
		assert_int_equal(strlen(login.user), want);
		text[len] = '\0';
		hearsay_take(&user, (const uint8_t *)text, len + 2);
		assert_int_equal(strlen(user.user), want);
		memcpy(text, "n,,n=", 5);
		memset(text + 5, 'a', len);
		memcpy(text + 5 + len, ",r=x", 4);
		hearsay_take(&scram, (const uint8_t *)text, len + 9);
		assert_int_equal(strlen(scram.user), want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_lengths)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
