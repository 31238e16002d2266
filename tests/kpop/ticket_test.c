/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kpop/ticket.h"

/* An AP-REQ written by hand: pop/mx, realm R, kvno 3, AES-256; the sealed parts are four octets each. */
#define SEALED_KVNO 0x30, 0x0f, 0xa0, 3, 2, 1, 18, 0xa1, 3, 2, 1, 3, 0xa2, 3, 4, 1, 0xaa
#define SEALED 0x30, 0x0a, 0xa0, 3, 2, 1, 18, 0xa2, 3, 4, 1, 0xbb
#define NAME 0x30, 0x12, 0xa0, 3, 2, 1, 3, 0xa1, 0x0b, 0x30, 9, 0x1b, 3, 'p', 'o', 'p', 0x1b, 2, 'm', 'x'
#define TICKET                                                                                         \
	0x61, 0x35, 0x30, 0x33, 0xa0, 3, 2, 1, 5, 0xa1, 3, 0x1b, 1, 'R', 0xa2, 0x14, NAME, 0xa3, 0x11, \
	    SEALED_KVNO
#define APREQ                                                                                            \
	0x6e, 0x5c, 0x30, 0x5a, 0xa0, 3, 2, 1, 5, 0xa1, 3, 2, 1, 14, 0xa2, 7, 3, 5, 0, 0, 0, 0, 0, 0xa3, \
	    0x37, TICKET, 0xa4, 0x0c, SEALED
#define KRB5_OID 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02

static const uint8_t apreq[] = {APREQ};
static const uint8_t framed[] = {0x60, sizeof(apreq) + 13, KRB5_OID, 1, 0, APREQ};
static const uint8_t gs2[] = {'n', ',', ',', 1, 0, APREQ};
static const uint8_t gs2_bound[] = {'p', '=', 't', 'l', 's', ',', 'a', '=', 'b', ',', 1, 0, APREQ};
static const uint8_t gs2_nonstandard[] = {
    'F', ',', 'y', ',', ',', 0x60, sizeof(apreq) + 13, KRB5_OID, 1, 0, APREQ};
static const uint8_t other_oid[] = {0x60, 10, 0x06, 6, 0x2b, 6, 1, 5, 5, 2, 0, 0};
static const uint8_t ap_rep[] = {0x60, 15, KRB5_OID, 2, 0, 0x6f, 0};
static const uint8_t no_apreq[] = {0x60, 15, KRB5_OID, 1, 0, 0x6f, 0};
static const uint8_t text[] = {'Q', 'U', 'I', 'T', '\r', '\n'};
static const uint8_t header_alone[] = {'n', ',', ','};
static const uint8_t header_endless[] = {'n', ',', 'a', '=', 'b'};

static void test_forms(void **state)
{
	(void)state;
	static const struct {
		const char *sentence;
		const uint8_t *octets;
		size_t len;
		int want;
	} rows[] = {
	    {"an AP-REQ", apreq, sizeof(apreq), TICKET_OK},
	    {"one in a frame", framed, sizeof(framed), TICKET_OK},
	    {"one behind a header of GS2, which begins like an AP-REQ", gs2, sizeof(gs2), TICKET_OK},
	    {"one behind a header with binding and name", gs2_bound, sizeof(gs2_bound), TICKET_OK},
	    {"one in a frame behind a nonstandard header", gs2_nonstandard, sizeof(gs2_nonstandard),
		TICKET_OK},
	    {"SPNEGO", other_oid, sizeof(other_oid), TICKET_MECHANISM},
	    {"an AP-REP's token", ap_rep, sizeof(ap_rep), TICKET_KIND},
	    {"an AP-REQ's token without an AP-REQ", no_apreq, sizeof(no_apreq), TICKET_KIND},
	    {"a line of POP3", text, sizeof(text), TICKET_NONE},
	    {"nothing", text, 0, TICKET_NONE},
	    {"a header and nothing", header_alone, sizeof(header_alone), TICKET_KIND},
	    {"a header without an end", header_endless, sizeof(header_endless), TICKET_BROKEN},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ticket ticket;
		int got = ticket_read(rows[i].octets, rows[i].len, &ticket);
		if (got != rows[i].want || (ticket_err_text(got)[0] == '\0') != (got == TICKET_OK))
			fail_msg("%s: %d", rows[i].sentence, got);
		if (got != TICKET_OK)
			continue;
		if (ticket.component_count != 2 || ticket.components[1].len != 2 ||
		    memcmp(ticket.components[1].octets, "mx", 2) != 0 || ticket.realm.len != 1 ||
		    !ticket.part.has_kvno || ticket.part.kvno != 3 || ticket.part.enctype != 18 ||
		    ticket.part.cipher.len != 1 || ticket.part.cipher.octets[0] != 0xaa ||
		    ticket.authenticator.has_kvno || ticket.authenticator.cipher.octets[0] != 0xbb)
			fail_msg("%s: read wrongly", rows[i].sentence);
	}
}

static void test_cut_and_spoilt(void **state)
{
	(void)state;
	struct ticket ticket;
	uint8_t bad[sizeof(framed)];
	for (size_t len = 0; len < sizeof(framed); len++) {
		memcpy(bad, framed, len);
		assert_int_not_equal(ticket_read(bad, len, &ticket), TICKET_OK);
	}
	for (size_t at = 0; at < sizeof(framed); at++)
		for (int value = 0; value < 256; value++) {
			memcpy(bad, framed, sizeof(framed));
			bad[at] = (uint8_t)value;
			if (ticket_read(bad, sizeof(bad), &ticket) != TICKET_OK)
				continue;
			/* Whatever was taken lies inside. */
			assert_true(ticket.part.cipher.octets >= bad &&
				    ticket.part.cipher.octets + ticket.part.cipher.len <= bad + sizeof(bad));
			assert_in_range(ticket.component_count, 1, TICKET_COMPONENTS_COUNT);
		}
}

static void test_whole(void **state)
{
	(void)state;
	uint8_t longer[sizeof(apreq) + 1] = {APREQ};
	assert_true(ticket_whole(apreq, sizeof(apreq)));
	assert_false(ticket_whole(longer, sizeof(longer)));
	assert_false(ticket_whole(apreq, sizeof(apreq) - 1));
	assert_false(ticket_whole(framed, sizeof(framed)));
	assert_false(ticket_whole(apreq, 0));
}

#define AUTHENTICATOR(...)                                                                               \
	0x62, 40, 0x30, 38, 0xa0, 3, 2, 1, 5, 0xa1, 3, 0x1b, 1, 'R', 0xa2, 2, 0x30, 0, 0xa4, 3, 2, 1, 9, \
	    0xa5, 17, 0x18, 15, __VA_ARGS__

static void test_time(void **state)
{
	(void)state;
	static const struct {
		const char *sentence;
		char when[16];
		int64_t want; /* -1: none */
	} rows[] = {
	    {"a time", "20261122014237Z", 1795311757},
	    {"the last second of a 32-bit clock, and one more", "20380119031408Z", INT64_C(0x80000000)},
	    {"a time without Z", "202611220142370", -1},
	    {"letters", "2026112201423xZ", -1},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t octets[] = {AUTHENTICATOR(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)};
		int64_t got = -1;
		memcpy(octets + sizeof(octets) - 15, rows[i].when, 15);
		if (ticket_authenticator_time(octets, sizeof(octets), &got) != (rows[i].want < 0 ? -1 : 0) ||
		    got != rows[i].want)
			fail_msg("%s: %lld", rows[i].sentence, (long long)got);
		assert_int_equal(ticket_authenticator_time(octets, sizeof(octets) - 1, &got), -1);
	}
	int64_t secs;
	assert_int_equal(ticket_authenticator_time(apreq, sizeof(apreq), &secs), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_forms),
	    cmocka_unit_test(test_cut_and_spoilt),
	    cmocka_unit_test(test_whole),
	    cmocka_unit_test(test_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
