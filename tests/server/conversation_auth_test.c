/* SPDX-License-Identifier: ISC */
/*
 * What auth makes of the messages of a front, which may be hostile: real secrets, the real libraries, and
 * every START and step that is in the table of messages or just beside it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/conversation.h"
#include "server/mechanism.h"
#include "tests/sasl/world.h"

enum { SCRAM = 0, CRAM, PLAIN, LOGIN, MECHANISMS_COUNT };
static char *mechanisms[] = {"SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN", NULL};
static struct world world;
static struct config config;
static struct auth token = {.config = &config}, password = {.config = &config, .password = true};

/* A START as a front would write it; what is not said is what an honest front says. */
struct start {
	uint8_t protocol, tls, mechanism, has_initial;
	uint8_t offered, bindings; /* how many it says there are */
	const char *initial;
	size_t len;
	size_t cut; /* octets missing at the end of the fixed part */
};

/* In memory of its own, exactly as long, so that a read beyond it is seen. */
static struct msg start_message(const struct start *start)
{
	uint8_t *buf = malloc(64 + start->len);
	assert_non_null(buf);
	struct msg_writer w = {buf, 64 + start->len, 0, false};
	struct peer peer = {.address = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}, .port = 4};
	msg_put_u64(&w, 0x1234);
	msg_put_u8(&w, start->protocol);
	msg_put_u8(&w, start->tls);
	msg_put_u8(&w, start->mechanism);
	msg_put_u8(&w, start->has_initial);
	msg_put_peer(&w, &peer);
	msg_put_u8(&w, start->offered);
	msg_put_u8(&w, start->bindings);
	msg_put_bytes(&w, start->initial, start->len);
	w.len -= start->cut;
	uint8_t *exact = malloc(w.len);
	assert_non_null(exact);
	memcpy(exact, buf, w.len);
	free(buf);
	return (struct msg){.type = MSG_FRONT_START, .body = exact, .len = w.len, .fd = -1};
}

static struct conversation *begin(struct auth *auth, const struct start *start, struct reply *reply_r)
{
	struct msg msg = start_message(start);
	struct conversation *c = conversation_start(auth, &msg, reply_r);
	/* Nothing of the message may be needed later: auth wipes it. */
	memset((void *)(uintptr_t)msg.body, 0xA5, msg.len);
	free((void *)(uintptr_t)msg.body);
	return c;
}

static void step(struct conversation *c, const char *octets, size_t len, struct reply *reply_r)
{
	uint8_t *exact = malloc(len + (len == 0));
	assert_non_null(exact);
	if (len != 0)
		memcpy(exact, octets, len);
	conversation_step(c, exact, len, reply_r);
	free(exact);
}

#define SIXTY_FIVE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0"
#define TEXT(s) .initial = (s), .len = sizeof(s) - 1
#define INITIAL(s) .has_initial = 1, TEXT(s)

static const struct row {
	const char *sentence;
	bool password;
	struct start start;
	enum reply_kind want;
	enum refusal refusal;
	const char *user; /* REPLY_DONE */
} rows[] = {
    {"a protocol that does not exist", false, {.protocol = PROTOCOL_COUNT, .mechanism = CRAM}, REPLY_BAD, 0,
	NULL},
    {"TLS neither on nor off", false, {.tls = 2, .mechanism = CRAM}, REPLY_BAD, 0, NULL},
    {"an initial response neither there nor not", false, {.has_initial = 2, .mechanism = CRAM}, REPLY_BAD, 0,
	NULL},
    {"more bindings than there are kinds", false, {.bindings = SASLX_BINDINGS_COUNT + 1, .mechanism = CRAM},
	REPLY_BAD, 0, NULL},
    {"a binding that is not there", false, {.bindings = 1, .mechanism = CRAM}, REPLY_BAD, 0, NULL},
    {"a binding of a kind there is not", false, {.bindings = 1, .mechanism = SCRAM, TEXT("\3\1x")}, REPLY_BAD,
	0, NULL},
    {"a binding longer than any", false, {.bindings = 1, .mechanism = SCRAM, TEXT("\0\101" SIXTY_FIVE)},
	REPLY_BAD, 0, NULL},
    {"a binding longer than the message", false, {.bindings = 1, .mechanism = SCRAM, TEXT("\0\2x")},
	REPLY_BAD, 0, NULL},
    {"two bindings, one of them there", false, {.bindings = 2, .mechanism = SCRAM, TEXT("\0\1x")}, REPLY_BAD,
	0, NULL},
    {"a binding nobody asks about", false, {.bindings = 1, .mechanism = SCRAM, TEXT("\0\1x")}, REPLY_MORE, 0,
	NULL},
    {"a START one octet short", false, {.mechanism = CRAM, .cut = 1}, REPLY_BAD, 0, NULL},
    {"a START of one octet", false, {.mechanism = CRAM, .cut = 31}, REPLY_BAD, 0, NULL},
    {"a mechanism behind the list", false, {.mechanism = MECHANISMS_COUNT}, REPLY_BAD, 0, NULL},
    {"the last number before the special ones", false, {.mechanism = 0xEF}, REPLY_BAD, 0, NULL},
    {"a special number that is none", true, {.mechanism = 0xF3}, REPLY_BAD, 0, NULL},
    {"the last number", true, {.mechanism = 0xFF}, REPLY_BAD, 0, NULL},
    {"a password mechanism at a token process", false,
	{.mechanism = PLAIN, INITIAL("\0alice\0" ALICE_PASSWORD)}, REPLY_BAD, 0, NULL},
    {"USER and PASS at a token process", false,
	{.mechanism = MECHANISM_USERPASS, TEXT("alice\0" ALICE_PASSWORD)}, REPLY_BAD, 0, NULL},
    {"a token mechanism at a password process", true, {.mechanism = SCRAM}, REPLY_BAD, 0, NULL},
    {"APOP at a password process", true, {.mechanism = MECHANISM_APOP}, REPLY_BAD, 0, NULL},
    {"KPOP at a password process", true, {.mechanism = MECHANISM_KPOP, TEXT("x")}, REPLY_BAD, 0, NULL},
    {"KPOP without a keytab", false, {.protocol = PROTOCOL_KPOP, .mechanism = MECHANISM_KPOP, TEXT("x")},
	REPLY_REFUSED, REFUSAL_PERM, NULL},
    {"PLAIN", true, {.mechanism = PLAIN, .tls = 1, INITIAL("\0alice\0" ALICE_PASSWORD)}, REPLY_DONE, 0,
	"alice"},
    {"PLAIN, wrong password", true, {.mechanism = PLAIN, .tls = 1, INITIAL("\0alice\0" BOB_PASSWORD)},
	REPLY_REFUSED, REFUSAL_AUTH, NULL},
    {"PLAIN, to act as another", true, {.mechanism = PLAIN, .tls = 1, INITIAL("bob\0alice\0" ALICE_PASSWORD)},
	REPLY_REFUSED, REFUSAL_AUTH, NULL},
    {"PLAIN, a password and more", true,
	{.mechanism = PLAIN, .tls = 1, INITIAL("\0alice\0" ALICE_PASSWORD "\0")}, REPLY_REFUSED, REFUSAL_AUTH,
	NULL},
    {"PLAIN, an empty initial response", true, {.mechanism = PLAIN, .tls = 1, .has_initial = 1},
	REPLY_REFUSED, REFUSAL_AUTH, NULL},
    {"PLAIN without one asks for it", true, {.mechanism = PLAIN, .tls = 1}, REPLY_MORE, 0, NULL},
    {"USER and PASS", true, {.mechanism = MECHANISM_USERPASS, TEXT("alice\0" ALICE_PASSWORD)}, REPLY_DONE, 0,
	"alice"},
    {"USER and PASS of one who has hashed keys only", true,
	{.mechanism = MECHANISM_USERPASS, TEXT("bob\0" BOB_PASSWORD)}, REPLY_DONE, 0, "bob"},
    {"USER and PASS of nobody", true, {.mechanism = MECHANISM_USERPASS, TEXT("nobody\0x")}, REPLY_REFUSED,
	REFUSAL_AUTH, NULL},
    {"no NUL between name and password", true, {.mechanism = MECHANISM_USERPASS, TEXT("alice")},
	REPLY_REFUSED, REFUSAL_AUTH, NULL},
    {"nothing at all", true, {.mechanism = MECHANISM_USERPASS}, REPLY_REFUSED, REFUSAL_AUTH, NULL},
    {"only the NUL", true, {.mechanism = MECHANISM_USERPASS, TEXT("\0")}, REPLY_REFUSED, REFUSAL_AUTH, NULL},
    {"an empty password", true, {.mechanism = MECHANISM_USERPASS, TEXT("alice\0")}, REPLY_REFUSED,
	REFUSAL_AUTH, NULL},
    {"an empty name", true, {.mechanism = MECHANISM_USERPASS, TEXT("\0" ALICE_PASSWORD)}, REPLY_REFUSED,
	REFUSAL_AUTH, NULL},
    {"a NUL in the password", true, {.mechanism = MECHANISM_USERPASS, TEXT("alice\0" ALICE_PASSWORD "\0x")},
	REPLY_REFUSED, REFUSAL_AUTH, NULL},
    {"a name of a path", true, {.mechanism = MECHANISM_USERPASS, TEXT("../alice\0" ALICE_PASSWORD)},
	REPLY_REFUSED, REFUSAL_AUTH, NULL},
    {"a format as a name", true, {.mechanism = MECHANISM_USERPASS, TEXT("%n%s%99999d\0%n%s%99999d")},
	REPLY_REFUSED, REFUSAL_AUTH, NULL},
    {"CRAM-MD5 with an initial response", false, {.mechanism = CRAM, INITIAL("alice 0")}, REPLY_REFUSED,
	REFUSAL_AUTH, NULL},
};

static void test_starts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct row *row = &rows[i];
		struct reply reply = {.kind = REPLY_BAD};
		struct conversation *c = begin(row->password ? &password : &token, &row->start, &reply);
		if (reply.kind != row->want ||
		    (row->want == REPLY_REFUSED && reply.refusal != row->refusal) ||
		    (row->user != NULL && strcmp(conversation_user(c), row->user) != 0))
			fail_msg("%s: kind %d, refusal %d, not %d and %d (%s)", row->sentence, reply.kind,
			    reply.refusal, row->want, row->refusal, c != NULL ? conversation_why(c) : "");
		assert_true((c == NULL) == (row->want == REPLY_BAD));
		if (c != NULL) {
			assert_non_null(strstr(conversation_text(c), "session=0000000000001234 "));
			assert_null(strstr(conversation_text(c), ALICE_PASSWORD));
			/* Whatever ended a conversation, a step behind the end is outside the table. */
			if (row->want != REPLY_MORE) {
				step(c, "alice", 5, &reply);
				assert_int_equal(reply.kind, REPLY_BAD);
			}
			if (row->want != REPLY_DONE)
				assert_string_equal(conversation_user(c), "");
		}
		conversation_free(&c);
		assert_null(c);
	}
}

/* What a site does not offer, no front can have. */
static void test_not_offered(void **state)
{
	(void)state;
	struct reply reply;
	const struct start by_name = {.mechanism = MECHANISM_USERPASS, TEXT("alice\0" ALICE_PASSWORD)};
	const struct start by_digest = {.mechanism = MECHANISM_APOP};
	config.user_pass = config.apop = false;
	assert_null(begin(&password, &by_name, &reply));
	assert_int_equal(reply.kind, REPLY_BAD);
	assert_null(begin(&token, &by_digest, &reply));
	assert_int_equal(reply.kind, REPLY_BAD);
	config.user_pass = config.apop = true;
	config.mechanism_count = PLAIN;
	const struct start plain = {.mechanism = PLAIN, .tls = 1, INITIAL("\0alice\0" ALICE_PASSWORD)};
	assert_null(begin(&password, &plain, &reply));
	config.mechanism_count = MECHANISMS_COUNT;
}

static void hex(const uint8_t *octets, size_t len, char *text_r)
{
	for (size_t i = 0; i < len; i++)
		sprintf(text_r + 2 * i, "%02x", octets[i]);
}

static void digest_of(const struct reply *stamp, const char *secret, char text_r[33])
{
	uint8_t octets[16];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_DigestInit_ex(ctx, EVP_md5(), NULL);
	EVP_DigestUpdate(ctx, stamp->octets, stamp->len);
	EVP_DigestUpdate(ctx, secret, strlen(secret));
	EVP_DigestFinal_ex(ctx, octets, NULL);
	EVP_MD_CTX_free(ctx);
	hex(octets, sizeof octets, text_r);
}

static void test_apop(void **state)
{
	(void)state;
	static const struct {
		const char *sentence, *name, *secret, *more;
		enum reply_kind want;
	} steps[] = {
	    {"the right digest", "alice", ALICE_PASSWORD, "", REPLY_DONE},
	    {"another password's", "alice", BOB_PASSWORD, "", REPLY_REFUSED},
	    {"one whose password is not kept", "bob", BOB_PASSWORD, "", REPLY_REFUSED},
	    {"nobody's", "nobody", "x", "", REPLY_REFUSED},
	    {"the right digest and an octet", "alice", ALICE_PASSWORD, "0", REPLY_REFUSED},
	    {"the right digest and many", "alice", ALICE_PASSWORD, "0000000000000000000000000000000000000000",
		REPLY_REFUSED},
	    {"an empty name", "", ALICE_PASSWORD, "", REPLY_REFUSED},
	};
	const struct start start = {.mechanism = MECHANISM_APOP};
	char stamp[300] = "";
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		struct reply reply;
		char text[400], digest[33];
		struct conversation *c = begin(&token, &start, &reply);
		assert_int_equal(reply.kind, REPLY_MORE);
		assert_true(reply.len < sizeof stamp &&
			    (strlen(stamp) != reply.len || memcmp(stamp, reply.octets, reply.len) != 0));
		snprintf(stamp, sizeof stamp, "%.*s", (int)reply.len, (const char *)reply.octets);
		digest_of(&reply, steps[i].secret, digest);
		size_t len =
		    (size_t)snprintf(text, sizeof text, "%s%c%s%s", steps[i].name, 0, digest, steps[i].more);
		step(c, text, len, &reply);
		if (reply.kind != steps[i].want)
			fail_msg("%s: %d (%s)", steps[i].sentence, reply.kind, conversation_why(c));
		/* A timestamp serves once. */
		step(c, text, len, &reply);
		assert_int_equal(reply.kind, REPLY_BAD);
		conversation_free(&c);
	}
}

static void test_cram(void **state)
{
	(void)state;
	const struct start start = {.mechanism = CRAM};
	for (int good = 0; good <= 1; good++) {
		struct reply reply;
		uint8_t mac[EVP_MAX_MD_SIZE];
		unsigned mac_len;
		char text[100] = "alice ";
		struct conversation *c = begin(&token, &start, &reply);
		assert_int_equal(reply.kind, REPLY_MORE);
		const char *secret = good != 0 ? ALICE_PASSWORD : BOB_PASSWORD;
		HMAC(EVP_md5(), secret, (int)strlen(secret), reply.octets, reply.len, mac, &mac_len);
		hex(mac, mac_len, text + 6);
		step(c, text, strlen(text), &reply);
		assert_int_equal(reply.kind, good != 0 ? REPLY_DONE : REPLY_REFUSED);
		assert_string_equal(conversation_user(c), good != 0 ? "alice" : "");
		step(c, text, strlen(text), &reply);
		assert_int_equal(reply.kind, REPLY_BAD);
		conversation_free(&c);
	}
}

/* Two users' conversations, step by step in turns: neither becomes the other. */
static void test_in_turns(void **state)
{
	(void)state;
	struct reply one, two;
	const struct start start = {.mechanism = MECHANISM_APOP}, login = {.mechanism = LOGIN, .tls = 1};
	char text[100], digest[33];
	struct conversation *a = begin(&token, &start, &one), *b = begin(&password, &login, &two);
	digest_of(&one, ALICE_PASSWORD, digest);
	step(b, "bob", 3, &two);
	assert_int_equal(two.kind, REPLY_MORE);
	size_t len = (size_t)snprintf(text, sizeof text, "alice%c%s", 0, digest);
	step(a, text, len, &one);
	step(b, BOB_PASSWORD, strlen(BOB_PASSWORD), &two);
	assert_int_equal(one.kind, REPLY_DONE);
	assert_int_equal(two.kind, REPLY_DONE);
	assert_string_equal(conversation_user(a), "alice");
	assert_string_equal(conversation_user(b), "bob");
	conversation_free(&a);
	conversation_free(&b);
}

/* Steps of every length up to the largest message, to every mechanism: an answer of the table, or the end. */
static void test_any_step(void **state)
{
	(void)state;
	static char octets[SASLX_TOKEN_OCTETS];
	static const size_t lens[] = {0, 1, 15, 16, 255, 256, 257, 4096, SASLX_TOKEN_OCTETS};
	static const uint8_t all[] = {SCRAM, CRAM, PLAIN, LOGIN, MECHANISM_APOP};
	for (size_t m = 0; m < sizeof all; m++)
		for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++)
			for (int fill = 0; fill < 256; fill += 51) {
				struct reply reply;
				const struct start start = {.mechanism = all[m], .tls = 1};
				bool blocks = all[m] == PLAIN || all[m] == LOGIN;
				struct conversation *c = begin(blocks ? &password : &token, &start, &reply);
				memset(octets, fill, sizeof octets);
				for (int n = 0; reply.kind == REPLY_MORE; n++) {
					assert_true(reply.len <= SASLX_TOKEN_OCTETS && n < 10);
					step(c, octets, lens[i], &reply);
				}
				assert_int_equal(reply.kind, REPLY_REFUSED);
				assert_true(
				    strlen(conversation_why(c)) > 0 && strlen(conversation_text(c)) > 0);
				conversation_free(&c);
			}
}

/* The name somebody claims cannot make fields of a line in the log. */
static void test_log(void **state)
{
	(void)state;
	struct reply reply;
	const struct start start = {.mechanism = MECHANISM_USERPASS, TEXT("a peer=6.6.6.6\n\"\x7f\xff:\0x")};
	struct conversation *c = begin(&password, &start, &reply);
	assert_non_null(strstr(conversation_text(c), " tried=a?peer?6.6.6.6?????"));
	conversation_free(&c);
}

/* Nor can a name in a reason. */
static void test_why(void **state)
{
	(void)state;
	struct reply reply;
	const struct start start = {.mechanism = PLAIN, .tls = 1, INITIAL("bob\0user=root\0" BOB_PASSWORD)};
	struct conversation *c = begin(&password, &start, &reply);
	assert_int_equal(reply.kind, REPLY_REFUSED);
	assert_null(strchr(conversation_why(c), '='));
	assert_non_null(strstr(conversation_why(c), "user?root"));
	conversation_free(&c);
}

/* Whose password is tried is known with every way to say it, or guessing would not count for that user. */
static void test_tried(void **state)
{
	(void)state;
	static const struct {
		const char *sentence;
		struct start start;
		const char *steps[3];
	} ways[] = {
	    {"LOGIN", {.mechanism = LOGIN, .tls = 1}, {"alice", BOB_PASSWORD}},
	    {"LOGIN, the name at once", {.mechanism = LOGIN, .tls = 1, INITIAL("alice")}, {BOB_PASSWORD}},
	    {"LOGIN, nothing at once", {.mechanism = LOGIN, .tls = 1, INITIAL("")}, {"alice", BOB_PASSWORD}},
	};
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		struct reply reply;
		struct conversation *c = begin(&password, &ways[i].start, &reply);
		for (int n = 0; ways[i].steps[n] != NULL && reply.kind == REPLY_MORE; n++)
			step(c, ways[i].steps[n], strlen(ways[i].steps[n]), &reply);
		if (reply.kind != REPLY_REFUSED || strstr(conversation_text(c), " tried=alice") == NULL)
			fail_msg("%s: kind %d, %s", ways[i].sentence, reply.kind, conversation_text(c));
		conversation_free(&c);
	}
}

/* In another process, as kpopctl does it. */
static int add_user(const char *name, const char *secret)
{
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		struct secrets *secrets;
		_exit(secrets_open(&secrets, world.path, true) != SECRETS_OK ||
		      secrets_add(secrets, name, secret, false) != SECRETS_OK);
	}
	return child > 0 && waitpid(child, &status, 0) == child && status == 0 ? 0 : -1;
}

static int group_setup(void **state)
{
	static const char *const served[] = {"SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN", NULL};
	(void)state;
	setenv("KRB5_CONFIG", "/dev/null", 1);
	config = (struct config){
	    .mechanisms = mechanisms, .mechanism_count = MECHANISMS_COUNT, .user_pass = true, .apop = true};
	return world_start(&world, served, NULL, NULL) == 0 && add_user("user=root", BOB_PASSWORD) == 0 ? 0
													: -1;
}

static int group_teardown(void **state)
{
	(void)state;
	world_stop(&world);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_starts),
	    cmocka_unit_test(test_not_offered),
	    cmocka_unit_test(test_apop),
	    cmocka_unit_test(test_cram),
	    cmocka_unit_test(test_in_turns),
	    cmocka_unit_test(test_any_step),
	    cmocka_unit_test(test_log),
	    cmocka_unit_test(test_why),
	    cmocka_unit_test(test_tried),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
