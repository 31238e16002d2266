/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <malloc.h>
#include <cmocka.h>

#include "kpop/sendauth.h"

#define SENDAUTH "\0\0\0\x13KRB5_SENDAUTH_V1.0\0"
#define APPLICATION "\0\0\0\x09KPOPV1.0\0"
#define BOTH SENDAUTH APPLICATION
#define TICKET           \
	"\0\0\0\x06\x6e" \
	"hello"
#define EARLY "USER alice\r\nPASS hej\r\nSTAT\r\n"

/* All events of an input, in order, as letters; '.' would be SENDAUTH_MORE, which depends on the split. */
static const char letters[] = ".VbsA4TxG";

struct row {
	const char *sentence, *input;
	size_t len;
	const char *events;
	const char *apreq; /* NULL: none */
	size_t left;       /* octets behind the last that was taken */
};
#define IN(text) text, sizeof(text) - 1

static const struct row rows[] = {
    {"nothing", IN(""), "", NULL, 0},
    {"a whole handshake", IN(BOTH TICKET), "VA",
	"\x6e"
	"hello",
	0},
    {"the first commands right behind it stay", IN(BOTH TICKET EARLY), "VA",
	"\x6e"
	"hello",
	sizeof(EARLY) - 1},
    {"only the versions", IN(BOTH), "V", NULL, 0},
    {"an AP-REQ that is not whole",
	IN(BOTH "\0\0\0\x06\x6e"
		"hell"),
	"V", NULL, 0},
    {"the shortest AP-REQ", IN(BOTH "\0\0\0\x01Z" EARLY), "VA", "Z", sizeof(EARLY) - 1},
    {"an empty AP-REQ", IN(BOTH "\0\0\0\0" EARLY), "VG", NULL, sizeof(EARLY) - 1},
    {"an AP-REQ of 64 KiB and one", IN(BOTH "\0\1\0\1" EARLY), "VG", NULL, sizeof(EARLY) - 1},
    {"an AP-REQ of 2^31 - 1", IN(BOTH "\x7f\xff\xff\xff" EARLY), "VG", NULL, sizeof(EARLY) - 1},
    {"an AP-REQ of -1", IN(BOTH "\xff\xff\xff\xff" EARLY), "VG", NULL, sizeof(EARLY) - 1},
    {"another version of sendauth", IN("\0\0\0\x13KRB5_SENDAUTH_V2.0\0" APPLICATION), "b", NULL, 13},
    {"a version without its NUL", IN("\0\0\0\x12KRB5_SENDAUTH_V1.0" APPLICATION), "b", NULL, 13},
    {"a version with something else for its NUL", IN("\0\0\0\x13KRB5_SENDAUTH_V1.0!" APPLICATION), "b", NULL,
	13},
    {"a version with more behind its NUL", IN("\0\0\0\x14KRB5_SENDAUTH_V1.0\0!"), "b", NULL, 0},
    {"a version of one octet", IN("\0\0\0\x01K"), "b", NULL, 0},
    {"an empty version", IN("\0\0\0\0" APPLICATION), "G", NULL, 17},
    {"a version too long to look at", IN("\0\0\0\x41KRB5"), "G", NULL, 8},
    {"another application", IN(SENDAUTH "\0\0\0\x09KCMDV0.2\0" TICKET), "s", NULL, 10},
    {"the application of Kerberos 4", IN(SENDAUTH "\0\0\0\x09KPOPV0.1\0"), "s", NULL, 0},
    {"an application without its NUL", IN(SENDAUTH "\0\0\0\x08KPOPV1.0" TICKET), "s", NULL, 10},
    {"an empty application", IN(SENDAUTH "\0\0\0\0"), "G", NULL, 0},
    {"an application of -1", IN(SENDAUTH "\xff\xff\xff\xff"), "G", NULL, 0},
    {"an application of 2^31 - 1", IN(SENDAUTH "\x7f\xff\xff\xff"), "G", NULL, 0},
    {"a version of 2^31 - 1", IN("\x7f\xff\xff\xff"), "G", NULL, 4},
    {"a version of -1", IN("\xff\xff\xff\xff"), "G", NULL, 4},
    {"a version of 64 KiB", IN("\0\1\0\0"), "G", NULL, 4},
    {"Kerberos 4", IN("AUTHV0.1KPOPV0.1"), "4", NULL, 16},
    {"Kerberos 4 by Eudora", IN("AUTHV0.1JUSTJUNK"), "4", NULL, 16},
    {"TLS 1.3", IN("\x16\x03\x01\x02\x00\x01\x00"), "T", NULL, 7},
    {"a TLS record of no version", IN("\x16\x02\x01\x02"), "G", NULL, 4},
    {"fetchmail without a ticket", IN("QUIT\r\n"), "x", NULL, 6},
    {"a POP3 client", IN("CAPA\r\n"), "x", NULL, 6},
    {"a browser", IN("GET / HTTP/1.1\r\n"), "x", NULL, 16},
    {"almost Kerberos 4", IN("AUTz"), "x", NULL, 4},
    {"somebody at a keyboard", IN("\r\n"), "x", NULL, 2},
    {"one letter", IN("q"), "x", NULL, 1},
    {"an old SSL hello", IN("\x80\x2e\x01\x03"), "G", NULL, 4},
    {"one octet that is nothing", IN("\xff"), "G", NULL, 1},
};

struct got {
	char events[8];
	size_t count, taken;
};

/* Feeds one piece until it is taken or the handshake is over. */
static enum sendauth_event feed(struct sendauth *sendauth, const char *buf, size_t len, struct got *got)
{
	enum sendauth_event event = SENDAUTH_MORE;
	while (len > 0) {
		size_t used = SIZE_MAX;
		/* A copy of exactly this size: a read past it is the sanitizer's. */
		char *copy = malloc(len);
		memcpy(copy, buf, len);
		event = sendauth_feed(sendauth, copy, len, &used);
		free(copy);
		assert_true(used <= len);
		buf += used;
		len -= used;
		got->taken += used;
		if (event == SENDAUTH_MORE) {
			assert_int_equal(len, 0);
			break;
		}
		assert_true(got->count < sizeof(got->events) - 1);
		got->events[got->count++] = letters[event];
		if (event != SENDAUTH_VERSIONS_OK)
			break;
	}
	return event;
}

static bool over(enum sendauth_event event)
{
	return event != SENDAUTH_MORE && event != SENDAUTH_VERSIONS_OK;
}

/* step 0: cut at first; else pieces of that many octets. */
static void check(const struct row *row, size_t first, size_t step)
{
	struct sendauth *sendauth = sendauth_new();
	struct got got = {0};
	size_t at = 0, apreq_len = SIZE_MAX;
	enum sendauth_event event = SENDAUTH_MORE;

	while (at < row->len && !over(event)) {
		size_t len = step != 0 ? step : at == 0 && first > 0 ? first : row->len - at;
		if (len > row->len - at)
			len = row->len - at;
		event = feed(sendauth, row->input + at, len, &got);
		at += len;
	}
	const uint8_t *apreq = sendauth_apreq(sendauth, &apreq_len);
	bool same = row->apreq == NULL
			? apreq_len == 0
			: apreq_len == strlen(row->apreq) && memcmp(apreq, row->apreq, apreq_len) == 0;
	/* In the very first octets the count of those taken depends on the split; nothing behind them may be.
	 */
	bool left = row->left == row->len ? got.taken < 4 : row->len - got.taken == row->left;
	if (strcmp(got.events, row->events) != 0 || !same || !left)
		fail_msg("%s, cut at %zu, %zu: events %s, %zu taken", row->sentence, first, step, got.events,
		    got.taken);
	if (over(event)) {
		size_t used = SIZE_MAX;
		assert_int_equal(sendauth_feed(sendauth, "x", 1, &used), event);
		assert_int_equal(used, 0);
	}
	sendauth_free(&sendauth);
	assert_null(sendauth);
}

static void test_rows_at_every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t first = 0; first <= rows[i].len; first++)
			check(&rows[i], first, 0);
		for (size_t step = 1; step <= 5; step++)
			check(&rows[i], 0, step);
	}
}

static void test_largest(void **state)
{
	(void)state;
	static char input[sizeof(BOTH) - 1 + 4 + SENDAUTH_APREQ_OCTETS + 1] = BOTH "\0\1\0\0";
	struct row row = {"the largest AP-REQ", input, sizeof(input), "VA", NULL, 1};
	static char apreq[SENDAUTH_APREQ_OCTETS + 1];

	memset(apreq, 'a', SENDAUTH_APREQ_OCTETS);
	memcpy(input + sizeof(BOTH) - 1 + 4, apreq, SENDAUTH_APREQ_OCTETS);
	row.apreq = apreq;
	check(&row, 0, 0);
	check(&row, 0, 1460);
	check(&row, 0, 1);
}

/* A length that is refused costs no memory, and one that is not costs what it says. */
static void test_memory(void **state)
{
	(void)state;
	static const struct {
		const char *length;
		size_t most;
	} lengths[] = {{"\xff\xff\xff\xff", 4096}, {"\x7f\xff\xff\xff", 4096}, {"\0\1\0\1", 4096},
	    {"\0\1\0\0", 65536 + 4096}};
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct sendauth *sendauth = sendauth_new();
		size_t used;
		struct mallinfo2 before = mallinfo2();
		assert_int_equal(
		    sendauth_feed(sendauth, BOTH, sizeof(BOTH) - 1, &used), SENDAUTH_VERSIONS_OK);
		sendauth_feed(sendauth, lengths[i].length, 4, &used);
		struct mallinfo2 after = mallinfo2();
		assert_true(
		    after.uordblks + after.hblkhd <= before.uordblks + before.hblkhd + lengths[i].most);
		sendauth_free(&sendauth);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows_at_every_split),
	    cmocka_unit_test(test_largest),
	    cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
