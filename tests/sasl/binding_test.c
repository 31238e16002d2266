/* SPDX-License-Identifier: ISC */
/* What a client's first message says of channel binding, and whether it may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sasl/binding.h"
#include "sasl/gs2header.h"

#define TEXT(text) text, sizeof(text) - 1
#define TYPE_32 "abcdefghijklmnopqrstuvwxyz.-0123"
#define NAME_50 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwx"
#define NAME_255 NAME_50 NAME_50 NAME_50 NAME_50 NAME_50 "abcde"

/* In a room of its own size, so that a sanitizer sees a read past the end. */
static const char *parse(const char *message, size_t len, struct gs2header *header_r)
{
	char *exact = malloc(len > 0 ? len : 1);
	const char *wrong;

	memcpy(exact, message, len);
	wrong = gs2header_parse(exact, len, header_r);
	free(exact);
	return wrong;
}

static void sound_headers(void **state)
{
	static const struct {
		const char *message;
		size_t len;
		bool nonstandard;
		enum gs2_flag flag;
		const char *type, *authzid;
		size_t start, end;
	} rows[] = {
	    {TEXT("n,,"), false, GS2_UNABLE, "", "", 0, 3},
	    {TEXT("y,,"), false, GS2_UNASKED, "", "", 0, 3},
	    {TEXT("n,,n=alice,r=x"), false, GS2_UNABLE, "", "", 0, 3},
	    {TEXT("n,,\x01\x00\x6e"), false, GS2_UNABLE, "", "", 0, 3},
	    {TEXT("p=tls-exporter,,x"), false, GS2_BOUND, "tls-exporter", "", 0, 16},
	    {TEXT("p=tls-unique,a=bob,x"), false, GS2_BOUND, "tls-unique", "bob", 0, 19},
	    {TEXT("p=A.b-9,,"), false, GS2_BOUND, "A.b-9", "", 0, 9},
	    {TEXT("p=" TYPE_32 ",,"), false, GS2_BOUND, TYPE_32, "", 0, 36},
	    {TEXT("F,n,,x"), true, GS2_UNABLE, "", "", 2, 5},
	    {TEXT("F,p=tls-unique,a=bob,"), true, GS2_BOUND, "tls-unique", "bob", 2, 21},
	    {TEXT("n,a=a=2Cb=3Dc,"), false, GS2_UNABLE, "", "a,b=c", 0, 14},
	    {TEXT("n,a==3D=3D=2C=2C,"), false, GS2_UNABLE, "", "==,,", 0, 17},
	    {TEXT("y,a=\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80,"), false, GS2_UNASKED, "",
		"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 0, 14},
	    {TEXT("n,a=a,a=b,"), false, GS2_UNABLE, "", "a", 0, 6},
	    {TEXT("n,a=" NAME_255 ","), false, GS2_UNABLE, "", NAME_255, 0, 260},
	};
	struct gs2header header;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *wrong = parse(rows[i].message, rows[i].len, &header);

		if (wrong != NULL)
			fail_msg("%s: %s", rows[i].message, wrong);
		assert_int_equal(header.nonstandard, rows[i].nonstandard);
		assert_int_equal(header.flag, rows[i].flag);
		assert_string_equal(header.type, rows[i].type);
		assert_string_equal(header.authzid, rows[i].authzid);
		assert_int_equal(header.start, rows[i].start);
		assert_int_equal(header.end, rows[i].end);
	}
}

static void unsound_headers(void **state)
{
	static const struct {
		const char *sentence, *message;
		size_t len;
	} rows[] = {
	    {"nothing", TEXT("")},
	    {"a flag alone", TEXT("n")},
	    {"one comma", TEXT("n,")},
	    {"another flag", TEXT("x,,")},
	    {"a capital", TEXT("N,,")},
	    {"a space", TEXT(" n,,")},
	    {"two flags", TEXT("ny,,")},
	    {"p without a name", TEXT("p,,")},
	    {"p with an empty name", TEXT("p=,,")},
	    {"p and no more", TEXT("p=")},
	    {"p and the end", TEXT("p")},
	    {"a name and no comma", TEXT("p=tls-unique")},
	    {"a name that is too long", TEXT("p=" TYPE_32 "x,,")},
	    {"a name with a colon", TEXT("p=tls:unique,,")},
	    {"a name with a NUL", TEXT("p=tls\0unique,,")},
	    {"a name with a space", TEXT("p=tls unique,,")},
	    {"n with a name", TEXT("n=tls-unique,,")},
	    {"F alone", TEXT("F")},
	    {"F without a comma", TEXT("Fn,,")},
	    {"F twice", TEXT("F,F,n,,")},
	    {"F and no flag", TEXT("F,,,")},
	    {"F in small", TEXT("f,n,,")},
	    {"an empty name to act as", TEXT("n,a=,")},
	    {"a name to act as and the end", TEXT("n,a=bob")},
	    {"a, and no more", TEXT("n,a")},
	    {"a without =", TEXT("n,a,")},
	    {"another attribute", TEXT("n,b=bob,")},
	    {"a name to act as without a=", TEXT("n,bob,")},
	    {"a bare =", TEXT("n,a=a=b,")},
	    {"an = at the end", TEXT("n,a=ab=,")},
	    {"half an escape", TEXT("n,a=ab=2,")},
	    {"another escape", TEXT("n,a=ab=41,")},
	    {"an escape in small", TEXT("n,a=ab=2c,")},
	    {"an escape cut by the end", TEXT("n,a==2")},
	    {"a NUL in the name", TEXT("n,a=a\0b,")},
	    {"half a character", TEXT("n,a=\xc3,")},
	    {"a character too long for itself", TEXT("n,a=\xc0\xaf,")},
	    {"a slash in three octets", TEXT("n,a=\xe0\x80\xaf,")},
	    {"half a pair", TEXT("n,a=\xed\xa0\x80,")},
	    {"beyond Unicode", TEXT("n,a=\xf4\x90\x80\x80,")},
	    {"a continuation alone", TEXT("n,a=\x80,")},
	    {"a third octet that is none", TEXT("n,a=\xe2\x82\x41,")},
	    {"Latin-1", TEXT("n,a=\xe9,")},
	    {"a name that is too long", TEXT("n,a=" NAME_255 "x,")},
	    {"a name whose last escape is too much", TEXT("n,a=" NAME_255 "=2C,")},
	};
	struct gs2header header;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (parse(rows[i].message, rows[i].len, &header) == NULL)
			fail_msg("%s passes", rows[i].sentence);
}

/* No message may be read as another when its end is missing. */
static void cut_headers(void **state)
{
	static const char message[] = "F,p=tls-server-end-point,a=al=2Cice=3D\xc3\xa9,";
	struct gs2header header;

	(void)state;
	for (size_t len = 0; len < sizeof(message) - 1; len++)
		assert_non_null(parse(message, len, &header));
	assert_null(parse(message, sizeof(message) - 1, &header));
	assert_string_equal(header.authzid, "al,ice=\xc3\xa9");
}

/* Of the types of this connection, in hexadecimal digits: 1 exporter, 2 end point, 4 unique. */
static struct saslx_connection connection(enum saslx_binding_policy policy, unsigned offered, unsigned have)
{
	struct saslx_connection made = {.tls = true, .binding_policy = policy, .bindings_offered = offered};

	for (unsigned type = 0; type < SASLX_BINDINGS_COUNT; type++)
		if ((have & 1u << type) != 0)
			made.bindings[made.binding_count++] =
			    (struct saslx_binding){.type = (enum saslx_binding_type)type, .len = 1};
	return made;
}

enum { NOTHING = -1, REFUSED = -2 };

static void choices(void **state)
{
	static const struct {
		const char *sentence, *header;
		bool plus;
		enum saslx_binding_policy policy;
		unsigned offered, have;
		int want; /* the type chosen */
	} rows[] = {
	    {"bound to the exporter", "p=tls-exporter,,", true, SASLX_BINDING_ALLOW, 3, 3,
		SASLX_TLS_EXPORTER},
	    {"bound to the certificate", "p=tls-server-end-point,,", true, SASLX_BINDING_ALLOW, 3, 3,
		SASLX_TLS_SERVER_END_POINT},
	    {"bound to the first Finished", "p=tls-unique,,", true, SASLX_BINDING_ALLOW, 6, 6,
		SASLX_TLS_UNIQUE},
	    {"required, and bound", "p=tls-exporter,,", true, SASLX_BINDING_REQUIRE, 3, 3,
		SASLX_TLS_EXPORTER},
	    {"a type of another TLS version", "p=tls-unique,,", true, SASLX_BINDING_ALLOW, 3, 3, REFUSED},
	    {"the other way round", "p=tls-exporter,,", true, SASLX_BINDING_ALLOW, 6, 6, REFUSED},
	    {"an unknown type", "p=tls-something,,", true, SASLX_BINDING_ALLOW, 7, 7, REFUSED},
	    {"a type in capitals", "p=TLS-EXPORTER,,", true, SASLX_BINDING_ALLOW, 7, 7, REFUSED},
	    {"bound without TLS", "p=tls-exporter,,", true, SASLX_BINDING_ALLOW, 0, 0, REFUSED},
	    {"bound where it is off", "p=tls-exporter,,", true, SASLX_BINDING_OFF, 0, 7, REFUSED},
	    {"bound under the plain name", "p=tls-exporter,,", false, SASLX_BINDING_ALLOW, 7, 7,
		SASLX_TLS_EXPORTER},
	    {"required, and bound under the plain name", "p=tls-unique,,", false, SASLX_BINDING_REQUIRE, 7, 7,
		SASLX_TLS_UNIQUE},
	    {"bound under the plain name without a type here", "p=tls-exporter,,", false, SASLX_BINDING_ALLOW,
		0, 0, REFUSED},
	    {"unable", "n,,", false, SASLX_BINDING_ALLOW, 7, 0, NOTHING},
	    {"unable, without TLS", "n,,", false, SASLX_BINDING_ALLOW, 0, 0, NOTHING},
	    {"unable under -PLUS", "n,,", true, SASLX_BINDING_ALLOW, 7, 7, REFUSED},
	    {"unable where it is required", "n,,", false, SASLX_BINDING_REQUIRE, 7, 7, REFUSED},
	    {"unable where it is required and cannot be had", "n,,", false, SASLX_BINDING_REQUIRE, 0, 0,
		REFUSED},
	    {"unable where it is off", "n,,", false, SASLX_BINDING_OFF, 0, 0, NOTHING},
	    {"not asked, and was not", "y,,", false, SASLX_BINDING_ALLOW, 0, 0, NOTHING},
	    {"not asked, but was: a downgrade", "y,,", false, SASLX_BINDING_ALLOW, 1, 0, REFUSED},
	    {"not asked under -PLUS", "y,,", true, SASLX_BINDING_ALLOW, 7, 7, REFUSED},
	    {"not asked where it is required", "y,,", false, SASLX_BINDING_REQUIRE, 0, 0, REFUSED},
	    {"not asked where it is off", "y,,", false, SASLX_BINDING_OFF, 0, 0, NOTHING},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct saslx_connection here = connection(rows[i].policy, rows[i].offered, rows[i].have);
		const struct saslx_binding *chosen;
		struct gs2header header;

		assert_null(parse(rows[i].header, strlen(rows[i].header), &header));
		const char *wrong = binding_choose(&here, rows[i].plus, &header, &chosen);
		int got = wrong != NULL ? REFUSED : chosen == NULL ? NOTHING : (int)chosen->type;
		if (got != rows[i].want)
			fail_msg("%s: %d, %s", rows[i].sentence, got, wrong != NULL ? wrong : "passes");
	}
}

static void names(void **state)
{
	static const struct {
		const char *mechanism;
		bool want;
	} rows[] = {
	    {"SCRAM-SHA-256-PLUS", true},
	    {"gs2-krb5-plus", true},
	    {"SCRAM-SHA-256", false},
	    {"-PLUS", false},
	    {"PLUS", false},
	    {"", false},
	    {"SCRAM-PLUS-1", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(binding_is_plus(rows[i].mechanism), rows[i].want);
	assert_string_equal(binding_name(SASLX_TLS_EXPORTER), "tls-exporter");
	assert_string_equal(binding_name(SASLX_TLS_SERVER_END_POINT), "tls-server-end-point");
	assert_string_equal(binding_name(SASLX_TLS_UNIQUE), "tls-unique");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sound_headers),
	    cmocka_unit_test(unsound_headers),
	    cmocka_unit_test(cut_headers),
	    cmocka_unit_test(choices),
	    cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
