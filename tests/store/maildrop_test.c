/* SPDX-License-Identifier: ISC */
#include "tests/store/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_smoke(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	fixture_write(f, "alice/Maildir/new/1700000002.M1P1.host", "A: b\n\nx\n");
	fixture_write(f, "alice/Maildir/cur/1700000001.M1P1.host,S=5:2,S", "A: b\r\n\r\nx\r\n");
	struct maildrop *m = fixture_open(f, "alice");
	assert_int_equal(maildrop_count(m), 2);
	assert_string_equal(fixture_list(m), "11 1700000001.M1P1.host\n11 1700000002.M1P1.host\n");
	int rc;
	assert_string_equal(fixture_fetch(m, 1, &rc), "A: b\n\nx\n");
	uint8_t marks = 1;
	assert_int_equal(maildrop_expunge(m, &marks, 1), 0);
	maildrop_close(&m);
	assert_string_equal(fixture_listing(f, "alice"), "11 1700000002.M1P1.host\n");
	struct delivery *d;
	assert_int_equal(delivery_begin(f->store, "bob/Maildir", &d), 0);
	assert_int_equal(delivery_write(d, "x\n", 2), 0);
	assert_int_equal(delivery_commit(&d), 0);
	printf("# %s", fixture_listing(f, "bob"));
	assert_string_equal(f->notes, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_smoke, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_smoke, fixture_setup_unindexed, fixture_teardown),
	};
	return cmocka_run_group_tests_name("maildrop", tests, NULL, NULL);
}
