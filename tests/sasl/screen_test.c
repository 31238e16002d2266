/* SPDX-License-Identifier: ISC */
/* What is refused before any library sees it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sasl/acceptor.h"
#include "sasl/screen.h"

#define TEXT(text) text, sizeof(text) - 1

static void messages(void **state)
{
	static char long_message[SCREEN_MESSAGE_OCTETS + 1];
	static const struct {
		const char *sentence;
		enum screen_kind kind;
		unsigned step;
		const char *message;
		size_t len;
		bool want;
	} rows[] = {
	    {"PLAIN has NULs", SCREEN_PLAIN, 0, TEXT("\0alice\0x"), true},
	    {"PLAIN, as long as any", SCREEN_PLAIN, 0, long_message, SCREEN_MESSAGE_OCTETS, true},
	    {"PLAIN, longer", SCREEN_PLAIN, 0, long_message, SCREEN_MESSAGE_OCTETS + 1, false},
	    {"LOGIN has none", SCREEN_LOGIN, 0, TEXT("alice\0"), false},
	    {"LOGIN, empty", SCREEN_LOGIN, 0, TEXT(""), true},
	    {"a ticket is long", SCREEN_GSSAPI, 0, long_message, SCREEN_MESSAGE_OCTETS + 1, true},
	    {"so may be what we do not know", SCREEN_OTHER, 0, long_message, SCREEN_MESSAGE_OCTETS + 1, true},
	    {"SCRAM without binding", SCREEN_SCRAM, 0, TEXT("n,,n=alice,r=x"), true},
	    {"SCRAM, the client could bind", SCREEN_SCRAM, 0, TEXT("y,,n=alice,r=x"), true},
	    {"SCRAM, the client binds", SCREEN_SCRAM, 0, TEXT("p=tls-exporter,,n=alice,r=x"), true},
	    {"SCRAM, the client binds to a colon", SCREEN_SCRAM, 0, TEXT("p=tls:exporter,,n=alice,r=x"),
		false},
	    {"SCRAM, to act as another", SCREEN_SCRAM, 0, TEXT("n,a=bob,n=alice,r=x"), true},
	    {"SCRAM, to act as nobody", SCREEN_SCRAM, 0, TEXT("n,a=,n=alice,r=x"), false},
	    {"SCRAM, GS2's flag", SCREEN_SCRAM, 0, TEXT("F,n,,n=alice,r=x"), false},
	    {"SCRAM, one octet", SCREEN_SCRAM, 0, TEXT("n"), false},
	    {"SCRAM, nothing", SCREEN_SCRAM, 0, TEXT(""), false},
	    {"SCRAM, a proof", SCREEN_SCRAM, 1, TEXT("c=biws,r=x,p=y"), true},
	    {"SCRAM, the last, empty", SCREEN_SCRAM, 2, TEXT(""), true},
	    {"CRAM-MD5", SCREEN_CRAM_MD5, 0, TEXT("tim b913a602c7eda7a495b4e6e7334d3890"), true},
	    {"CRAM-MD5, a space in the name", SCREEN_CRAM_MD5, 0,
		TEXT("t m b913a602c7eda7a495b4e6e7334d3890"), true},
	    {"CRAM-MD5, capitals", SCREEN_CRAM_MD5, 0, TEXT("tim B913A602C7EDA7A495B4E6E7334D3890"), false},
	    {"CRAM-MD5, no space", SCREEN_CRAM_MD5, 0, TEXT("timmb913a602c7eda7a495b4e6e7334d3890"), false},
	    {"CRAM-MD5, no hexadecimal digit", SCREEN_CRAM_MD5, 0,
		TEXT("tim b913a602c7eda7a495b4e6e7334d389g"), false},
	};

	(void)state;
	memset(long_message, 'a', sizeof(long_message));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *wrong = screen_message(rows[i].kind, rows[i].step, rows[i].message, rows[i].len);

		if ((wrong == NULL) != rows[i].want)
			fail_msg("%s: %s", rows[i].sentence, wrong == NULL ? "passes" : wrong);
	}
}

static void kinds(void **state)
{
	(void)state;
	assert_int_equal(screen_kind("scram-sha-256"), SCREEN_SCRAM);
	assert_int_equal(screen_kind("SCRAM-SHA-256-PLUS"), SCREEN_SCRAM);
	assert_int_equal(screen_kind("SCRAM-SHA-224"), SCREEN_OTHER);
	assert_int_equal(screen_kind("gs2-krb5-plus"), SCREEN_GS2);
	assert_int_equal(screen_kind("GSSAPI"), SCREEN_GSSAPI);
	assert_int_equal(screen_kind(""), SCREEN_OTHER);
}

/* A token of any size, and how it is framed. */
static size_t put_length(uint8_t *at, size_t len)
{
	if (len < 0x80) {
		at[0] = (uint8_t)len;
		return 1;
	}
	if (len < 0x100) {
		at[0] = 0x81;
		at[1] = (uint8_t)len;
		return 2;
	}
	at[0] = 0x82;
	at[1] = (uint8_t)(len >> 8);
	at[2] = (uint8_t)len;
	return 3;
}

/* behind: octets after the AP-REQ of this size, but inside the frame. */
static size_t frame(uint8_t *token, size_t request, size_t behind)
{
	static const uint8_t head[] = {
	    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x01, 0x00, 0x6e};
	uint8_t length[3];
	size_t length_len = put_length(length, request), at = 1;

	token[0] = 0x60;
	at += put_length(token + at, sizeof(head) + length_len + request + behind);
	memcpy(token + at, head, sizeof(head));
	at += sizeof(head);
	memcpy(token + at, length, length_len);
	at += length_len;
	memset(token + at, 0xa5, request + behind);
	return at + request + behind;
}

static void tokens_are_framed_exactly(void **state)
{
	static const size_t inners[] = {0, 1, 100, 112, 113, 114, 200, 240, 241, 242, 1000, 60000};

	(void)state;
	for (size_t i = 0; i < sizeof(inners) / sizeof(inners[0]); i++) {
		/* Of its own size each, so that a sanitizer sees a read past the end. */
		uint8_t *token = malloc(65536), *exact;
		size_t len = frame(token, inners[i], 0);

		for (size_t cut = 0; cut <= len; cut += cut < 40 || cut + 40 > len ? 1 : 17) {
			exact = malloc(cut + 1);
			memcpy(exact, token, cut);
			assert_int_equal(acceptor_token_framed(exact, cut), cut == len);
			free(exact);
		}
		assert_false(acceptor_token_framed(token, len + 1));
		len = frame(token, inners[i], 1);
		assert_false(acceptor_token_framed(token, len));
		free(token);
	}
}

static void enctypes(void **state)
{
	static const struct {
		const char *sentence;
		int enctype;
		bool want;
	} rows[] = {
	    {"DES", 1, false},
	    {"DES", 3, false},
	    {"triple DES", 16, false},
	    {"AES-128 with SHA-1", 17, true},
	    {"AES-256 with SHA-1", 18, true},
	    {"AES-128 with SHA-2", 19, true},
	    {"AES-256 with SHA-2", 20, true},
	    {"RC4", 23, false},
	    {"RC4 for export", 24, false},
	    {"Camellia", 25, false},
	    {"Camellia", 26, false},
	    {"none", 0, false},
	    {"an unknown one", 21, false},
	    {"a negative one", -17, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (acceptor_enctype_strong(NULL, rows[i].enctype) != rows[i].want)
			fail_msg("%s (%d)", rows[i].sentence, rows[i].enctype);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(messages),
	    cmocka_unit_test(kinds),
	    cmocka_unit_test(tokens_are_framed_exactly),
	    cmocka_unit_test(enctypes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
