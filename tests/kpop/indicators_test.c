/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kpop/indicators.h"

#define USAGE_CAMMAC 64
#define SERVER "pop/localhost@KPOPD.TEST"

static krb5_context context;
static krb5_keyblock key, other_key;
static krb5_keytab keytab;
static krb5_principal server;

/* ---- what a KDC encodes ---- */

struct text {
	uint8_t octets[4096];
	size_t len;
};

static void put(struct text *text, uint8_t tag, const void *octets, size_t len)
{
	assert_true(len < 65536 && text->len + len + 4 <= sizeof text->octets);
	text->octets[text->len++] = tag;
	if (len >= 0x80) {
		text->octets[text->len++] = 0x82;
		text->octets[text->len++] = (uint8_t)(len >> 8);
	}
	text->octets[text->len++] = (uint8_t)len;
	memcpy(text->octets + text->len, octets, len);
	text->len += len;
}

static void put_text(struct text *text, uint8_t tag, const struct text *inner)
{
	put(text, tag, inner->octets, inner->len);
}

/* [number] INTEGER, of two octets. */
static void put_integer(struct text *text, unsigned number, int value)
{
	const uint8_t octets[] = {(uint8_t)((unsigned)value >> 8), (uint8_t)value};
	struct text integer = {.len = 0};
	put(&integer, 0x02, octets, sizeof octets);
	put_text(text, (uint8_t)(0xa0 + number), &integer);
}

static void put_octets(struct text *text, unsigned number, const void *octets, size_t len)
{
	struct text string = {.len = 0};
	put(&string, 0x04, octets, len);
	put_text(text, (uint8_t)(0xa0 + number), &string);
}

/* An element of AuthorizationData. */
static void put_element(struct text *list, int type, const struct text *data)
{
	struct text element = {.len = 0};
	put_integer(&element, 0, type);
	put_octets(&element, 1, data->octets, data->len);
	put_text(list, 0x30, &element);
}

/* SEQUENCE OF UTF8String of "a,b,c". */
static struct text indicators_text(const char *names)
{
	struct text strings = {.len = 0}, sequence = {.len = 0};
	for (const char *p = names;; p++) {
		size_t len = strcspn(p, ",");
		put(&strings, 0x0c, p, len);
		p += len;
		if (*p == '\0')
			break;
	}
	put_text(&sequence, 0x30, &strings);
	return sequence;
}

static struct text elements_text(int type, const char *names)
{
	struct text data = indicators_text(names), list = {.len = 0}, sequence = {.len = 0};
	put_element(&list, type, &data);
	put_text(&sequence, 0x30, &list);
	return sequence;
}

struct seal {
	const krb5_keyblock *key; /* NULL: an unkeyed checksum */
	krb5_keyusage usage;
	unsigned number; /* [1] is the KDC's, [2] the service's */
	bool spoilt;     /* what was sealed is not what is there */
};

static struct text cammac_text(const struct text *elements, const struct seal *seal)
{
	const krb5_data data = {
	    .data = (char *)(uintptr_t)elements->octets, .length = (unsigned)elements->len};
	struct text checksum = {.len = 0}, verifier = {.len = 0}, fields = {.len = 0}, inner,
		    cammac = {.len = 0};
	krb5_checksum mac = {0};

	assert_int_equal(krb5_c_make_checksum(context, seal->key == NULL ? CKSUMTYPE_RSA_MD5 : 0, seal->key,
			     seal->usage, &data, &mac),
	    0);
	put_integer(&checksum, 0, mac.checksum_type);
	put_octets(&checksum, 1, mac.contents, mac.length);
	krb5_free_checksum_contents(context, &mac);
	inner = (struct text){.len = 0};
	put_text(&inner, 0x30, &checksum);
	put_text(&verifier, 0xa3, &inner);
	inner = (struct text){.len = 0};
	put_text(&inner, 0x30, &verifier);
	put_text(&fields, 0xa0, elements);
	if (seal->spoilt)
		fields.octets[fields.len - 1] ^= 1;
	put_text(&fields, (uint8_t)(0xa0 + seal->number), &inner);
	put_text(&cammac, 0x30, &fields);
	return cammac;
}

/* ---- the whole way ---- */

static krb5_authdata authdata_of(int type, const struct text *text)
{
	return (krb5_authdata){.ad_type = type,
	    .length = (unsigned)text->len,
	    .contents = (krb5_octet *)(uintptr_t)text->octets};
}

/* What indicators_read makes of a ticket with this in it, as "a,b". */
static const char *read_ticket(krb5_authdata *first, krb5_authdata *second)
{
	static char joined[1024];
	krb5_authdata *list[] = {first, second, NULL};
	krb5_enc_tkt_part part = {.authorization_data = first != NULL ? list : NULL};
	krb5_ticket ticket = {
	    .server = server, .enc_part = {.enctype = key.enctype, .kvno = 3}, .enc_part2 = &part};
	struct kpop_indicators indicators;

	indicators_read(context, keytab, &ticket, &indicators);
	joined[0] = '\0';
	for (size_t i = 0; indicators.list[i] != NULL; i++) {
		strcat(joined, i == 0 ? "" : ",");
		strcat(joined, indicators.list[i]);
	}
	return joined;
}

#define LONG63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"

static void test_seals(void **state)
{
	(void)state;
	const struct seal sound = {&key, USAGE_CAMMAC, 2, false};
	const struct {
		const char *sentence;
		struct seal seal;
		int container, element;
		const char *names, *want;
	} rows[] = {
	    {"an indicator", sound, 96, 97, "otp", "otp"},
	    {"several", sound, 96, 97, "otp,pkinit,hardened", "otp,pkinit,hardened"},
	    {"more than we look at", sound, 96, 97, "1,2,3,4,5,6,7,8,9", "1,2,3,4,5,6,7,8"},
	    {"the longest", sound, 96, 97, LONG63, LONG63},
	    {"one too long among others", sound, 96, 97, "a," LONG63 "x,b", "a,b"},
	    {"an empty one among others", sound, 96, 97, "a,,b", "a,b"},
	    {"sealed with another key", {&other_key, USAGE_CAMMAC, 2, false}, 96, 97, "otp", ""},
	    {"sealed for another use", {&key, 11, 2, false}, 96, 97, "otp", ""},
	    {"sealed by a checksum without a key", {NULL, USAGE_CAMMAC, 2, false}, 96, 97, "otp", ""},
	    {"changed since it was sealed", {&key, USAGE_CAMMAC, 2, true}, 96, 97, "otp", ""},
	    {"sealed for the KDC alone", {&key, USAGE_CAMMAC, 1, false}, 96, 97, "otp", ""},
	    {"another element in the container", sound, 96, 98, "otp", ""},
	    {"another container", sound, 95, 97, "otp", ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct text elements = elements_text(rows[i].element, rows[i].names);
		struct text cammac = cammac_text(&elements, &rows[i].seal);
		struct text list = {.len = 0}, relevant = {.len = 0};
		put_element(&list, rows[i].container, &cammac);
		put_text(&relevant, 0x30, &list);
		krb5_authdata wrapped = authdata_of(KRB5_AUTHDATA_IF_RELEVANT, &relevant);
		krb5_authdata bare = authdata_of(rows[i].container, &cammac);
		if (strcmp(read_ticket(&wrapped, NULL), rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].sentence, read_ticket(&wrapped, NULL));
		if (strcmp(read_ticket(&bare, NULL), rows[i].want) != 0)
			fail_msg("%s, bare: %s", rows[i].sentence, read_ticket(&bare, NULL));
	}
}

static void test_tickets(void **state)
{
	(void)state;
	const struct seal sound = {&key, USAGE_CAMMAC, 2, false},
			  forged = {&other_key, USAGE_CAMMAC, 2, false};
	struct text names = indicators_text("otp"), elements = elements_text(97, "otp");
	struct text more = elements_text(97, "pkinit"), list = {.len = 0}, relevant = {.len = 0};
	struct text good = cammac_text(&elements, &sound), bad = cammac_text(&elements, &forged);
	struct text second = cammac_text(&more, &sound);
	krb5_authdata good_data = authdata_of(96, &good), bad_data = authdata_of(96, &bad),
		      second_data = authdata_of(96, &second);

	assert_string_equal(read_ticket(NULL, NULL), "");
	assert_string_equal(read_ticket(&good_data, &second_data), "otp,pkinit");
	assert_string_equal(read_ticket(&bad_data, &second_data), "pkinit");

	/* What a client puts into its ticket by itself. */
	put_element(&list, 97, &names);
	put_text(&relevant, 0x30, &list);
	krb5_authdata alone = authdata_of(97, &names),
		      wrapped = authdata_of(KRB5_AUTHDATA_IF_RELEVANT, &relevant);
	assert_string_equal(read_ticket(&alone, NULL), "");
	assert_string_equal(read_ticket(&wrapped, NULL), "");

	/* Cut short anywhere, nothing is read; with something behind it, neither. */
	for (size_t len = 0; len < good.len; len++) {
		krb5_authdata cut = {.ad_type = 96, .length = (unsigned)len, .contents = good.octets};
		assert_string_equal(read_ticket(&cut, NULL), "");
	}
	krb5_authdata longer = {.ad_type = 96, .length = (unsigned)good.len + 1, .contents = good.octets};
	assert_string_equal(read_ticket(&longer, NULL), "");
	/* Nor does any octet change without the seal's breaking, but those that say nothing. */
	for (size_t i = 0; i < good.len; i++) {
		good.octets[i] ^= 0x40;
		const char *got = read_ticket(&good_data, NULL);
		if (got[0] != '\0' && strcmp(got, "otp") != 0)
			fail_msg("octet %zu: %s", i, got);
		good.octets[i] ^= 0x40;
	}
	assert_string_equal(read_ticket(&good_data, NULL), "otp");
}

static void test_strings(void **state)
{
	(void)state;
	static const struct {
		const char *sentence;
		uint8_t octets[16];
		size_t len;
		const char *first; /* NULL: none */
	} rows[] = {
	    {"one", {0x30, 3, 0x0c, 1, 'a'}, 5, "a"},
	    {"nothing", {0}, 0, NULL},
	    {"no sequence", {0x31, 3, 0x0c, 1, 'a'}, 5, NULL},
	    {"another kind of string", {0x30, 3, 0x1b, 1, 'a'}, 5, NULL},
	    {"an empty sequence", {0x30, 0}, 2, NULL},
	    {"a string longer than its sequence", {0x30, 3, 0x0c, 2, 'a', 'b'}, 6, NULL},
	    {"a length without end", {0x30, 0x80, 0x0c, 1, 'a', 0, 0}, 7, NULL},
	    {"a NUL inside", {0x30, 5, 0x0c, 3, 'a', 0, 'b'}, 7, NULL},
	    {"a NUL in the first of two", {0x30, 7, 0x0c, 2, 'a', 0, 0x0c, 1, 'b'}, 9, "b"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct kpop_indicators indicators = {0};
		indicators_add(&indicators, rows[i].octets, rows[i].len);
		if ((indicators.list[0] == NULL) != (rows[i].first == NULL) ||
		    (rows[i].first != NULL && strcmp(indicators.list[0], rows[i].first) != 0))
			fail_msg("%s", rows[i].sentence);
	}
}

static int begin(void **state)
{
	krb5_keytab_entry entry = {.vno = 3};
	(void)state;
	if (krb5_init_context(&context) != 0 || krb5_parse_name(context, SERVER, &server) != 0 ||
	    krb5_kt_resolve(context, "MEMORY:indicators_test", &keytab) != 0 ||
	    krb5_c_make_random_key(context, ENCTYPE_AES256_CTS_HMAC_SHA1_96, &key) != 0 ||
	    krb5_c_make_random_key(context, ENCTYPE_AES256_CTS_HMAC_SHA1_96, &other_key) != 0)
		return -1;
	entry.principal = server;
	entry.key = key;
	return krb5_kt_add_entry(context, keytab, &entry) == 0 ? 0 : -1;
}

static int finish(void **state)
{
	(void)state;
	krb5_kt_close(context, keytab);
	krb5_free_keyblock_contents(context, &key);
	krb5_free_keyblock_contents(context, &other_key);
	krb5_free_principal(context, server);
	krb5_free_context(context);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_seals),
	    cmocka_unit_test(test_tickets),
	    cmocka_unit_test(test_strings),
	};
	return cmocka_run_group_tests(tests, begin, finish);
}
