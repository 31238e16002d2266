/* SPDX-License-Identifier: ISC */
/*
 * Sorting what does not fit into memory, digests however the octets come, and names that were made to cost
 * much.
 */
#include "tests/store/fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "store/digest.h"
#include "store/sorter.h"
#include "store/store.h"
#include "tests/store/faults.h"

/* ---- the sorter ---- */

struct thing {
	uint32_t len, number;
};

static int by_number(const void *a, const void *b)
{
	uint32_t a_number = ((const struct thing *)a)->number;
	uint32_t b_number = ((const struct thing *)b)->number;
	return (a_number > b_number) - (a_number < b_number);
}

static const struct sort_row {
	const char *sentence;
	uint32_t count, len;
	bool in_memory;
} sort_rows[] = {
    {"nothing", 0, 0, false},
    {"one thing", 1, 8, false},
    {"one run", 5000, 60, false},
    {"many runs", 30000, 90, false},
    {"many runs of the largest things", 2500, SORTER_ITEM_OCTETS, false},
    {"memory only", 50000, 90, true},
};

/* Each number once, in an order of chance; each thing filled with its number. */
static void add_things(struct sorter *sorter, const struct sort_row *row)
{
	uint8_t octets[SORTER_ITEM_OCTETS];
	uint64_t step = 7919; /* prime to every count */
	for (uint64_t i = 0; i < row->count; i++) {
		struct thing thing = {.number = (uint32_t)(i * step % row->count)};
		uint32_t len = row->len == SORTER_ITEM_OCTETS ? row->len : 8 + thing.number % (row->len - 7);
		thing.len = len;
		memset(octets, (int)(thing.number % 251), len);
		memcpy(octets, &thing, sizeof(thing));
		assert_true(sorter_add(sorter, octets, len));
	}
	assert_int_equal(sorter_count(sorter), row->count);
}

static void check_things(struct sorter *sorter, const struct sort_row *row)
{
	const uint8_t *item;
	uint32_t number = 0;
	while ((item = sorter_next(sorter)) != NULL) {
		struct thing thing;
		memcpy(&thing, item, sizeof(thing));
		if (thing.number != number++)
			fail_msg("%s: %u at %u", row->sentence, thing.number, number - 1);
		for (uint32_t i = sizeof(thing); i < thing.len; i++)
			if (item[i] != thing.number % 251)
				fail_msg("%s: octet %u of %u", row->sentence, i, thing.number);
	}
	assert_int_equal(number, row->count);
	assert_false(sorter_failed(sorter));
}

static void test_sorts(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(sort_rows) / sizeof(*sort_rows); i++) {
		const struct sort_row *row = &sort_rows[i];
		struct sorter *sorter = sorter_new(row->in_memory ? NULL : f->store->index, by_number);
		add_things(sorter, row);
		for (int again = 0; again < 2; again++) {
			assert_true(sorter_sort(sorter));
			check_things(sorter, row);
		}
		sorter_free(&sorter);
		assert_null(sorter);
	}
}

static void test_sorter_has_a_bound(void **state)
{
	(void)state;
	struct sorter *sorter = sorter_new(NULL, by_number);
	uint8_t octets[SORTER_ITEM_OCTETS] = {0};
	uint32_t count = 0;
	while (count < 1000000 && sorter_add(sorter, octets, sizeof(octets)))
		count++;
	assert_in_range(count, 50000, 70000);
	assert_true(sorter_failed(sorter));
	assert_false(sorter_sort(sorter));
	assert_null(sorter_next(sorter));
	sorter_free(&sorter);
}

/* ---- digests ---- */

static void digest_of(const uint8_t *octets, size_t len, size_t piece, uint8_t *digest_r)
{
	struct digest digest = {0};
	for (size_t at = 0; at < len; at += piece)
		digest_add(&digest, octets + at, len - at < piece ? len - at : piece);
	digest_done(&digest, digest_r);
}

static void test_digest(void **state)
{
	(void)state;
	uint8_t octets[3000], want[CONTENT_DIGEST_OCTETS], got[CONTENT_DIGEST_OCTETS];
	srand(5);
	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (uint8_t)(i > 1000 && i < 2000 ? 0 : rand());
	digest_of(octets, sizeof(octets), sizeof(octets), want);
	assert_true(digest_known(want));
	for (size_t piece = 1; piece < 40; piece++) {
		digest_of(octets, sizeof(octets), piece, got);
		assert_memory_equal(got, want, sizeof(want));
	}
	/* Holes are zeros. */
	struct digest digest = {0};
	digest_add(&digest, octets, 1001);
	digest_add_zeros(&digest, 998);
	digest_add_zeros(&digest, 0);
	digest_add(&digest, octets + 1999, sizeof(octets) - 1999);
	digest_done(&digest, got);
	assert_memory_equal(got, want, sizeof(want));
	/* Each bit counts, and so does the length. */
	for (size_t i = 0; i < sizeof(octets) * 8; i++) {
		octets[i / 8] ^= (uint8_t)(1u << (i % 8));
		digest_of(octets, sizeof(octets), sizeof(octets), got);
		octets[i / 8] ^= (uint8_t)(1u << (i % 8));
		assert_memory_not_equal(got, want, sizeof(want));
	}
	for (size_t len = 0; len < sizeof(octets); len++) {
		digest_of(octets, len, len + 1, got);
		assert_true(digest_known(got));
		assert_memory_not_equal(got, want, sizeof(want));
	}
}

/* What lies in kpopd.uidl must be found again by every version. */
static void test_digest_stays(void **state)
{
	(void)state;
	static const char text[] = "Subject: for ever\n\nand a day\n";
	char hex[2 * CONTENT_DIGEST_OCTETS + 1];
	uint8_t digest[CONTENT_DIGEST_OCTETS];
	digest_of((const uint8_t *)text, sizeof(text) - 1, 7, digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	assert_string_equal(hex, "1109a5f6aea620e4e9120b30bc72057b");
}

/* ---- names made to cost much ---- */

#define NAMES_COUNT 1500 /* or KPOPD_NAMES_COUNT */

static int names_count = NAMES_COUNT;

static void name_of_chance(char *name, int number)
{
	for (int i = 0; i < 200; i++)
		name[i] = (char)('a' + rand() % 26);
	sprintf(name + 200, "%d", number);
}

static void name_long_alike(char *name, int number)
{
	memset(name, 'a', 200);
	sprintf(name + 200, "%d", number);
}

static void name_shared(char *name, int number)
{
	sprintf(name, "1700000000.M1P1.host,%d", number);
}

static void name_rising(char *name, int number)
{
	sprintf(name, "%0200d", number);
}

static const struct name_row {
	const char *sentence;
	void (*make)(char *name, int number);
	bool same;
} name_rows[] = {
    {"names that differ in their last octets", name_long_alike, false},
    {"one unique part for all", name_shared, false},
    {"one unique part and one content for all", name_shared, true},
    {"names in order", name_rising, false},
};

static long cpu_msecs(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

/* What a first login and one with a single new message cost. */
static long cost(struct fixture *f, const char *user, void (*make)(char *, int), bool same)
{
	fixture_maildir(f, user);
	for (int i = 0; i < names_count; i++) {
		char name[256], path[400], text[64];
		make(name, i);
		snprintf(path, sizeof(path), "%s/Maildir/cur/%s", user, name);
		snprintf(text, sizeof(text), "Subject: %d\n\n", same ? 0 : i);
		fixture_write(f, path, text);
	}
	long began = cpu_msecs();
	struct maildrop *m = fixture_open(f, user);
	assert_int_equal(maildrop_count(m), names_count);
	maildrop_close(&m);
	char path[400];
	snprintf(path, sizeof(path), "%s/Maildir/new/1700000000.M1P1.host,new", user);
	fixture_write(f, path, "Subject: new\n\n");
	m = fixture_open(f, user);
	assert_int_equal(maildrop_count(m), names_count + 1);
	maildrop_close(&m);
	return cpu_msecs() - began;
}

static void test_names(void **state)
{
	struct fixture *f = *state;
	if (getenv("KPOPD_NAMES_COUNT") != NULL)
		names_count = atoi(getenv("KPOPD_NAMES_COUNT"));
	srand(6);
	long chance = cost(f, "alice", name_of_chance, false);
	print_message("# names of chance: %ld ms\n", chance);
	for (size_t i = 0; i < sizeof(name_rows) / sizeof(*name_rows); i++) {
		char user[16];
		snprintf(user, sizeof(user), "user%zu", i);
		long took = cost(f, user, name_rows[i].make, name_rows[i].same);
		print_message("# %s: %ld ms\n", name_rows[i].sentence, took);
		if (took > 2 * chance + 100)
			fail_msg("%s: %ld ms instead of %ld", name_rows[i].sentence, took, chance);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_sorts, fixture_setup, fixture_teardown),
	    cmocka_unit_test(test_sorter_has_a_bound),
	    cmocka_unit_test(test_digest),
	    cmocka_unit_test(test_digest_stays),
	    cmocka_unit_test_setup_teardown(test_names, fixture_setup, fixture_teardown),
	};
	return cmocka_run_group_tests_name("sorter", tests, NULL, NULL);
}
