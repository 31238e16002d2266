/* SPDX-License-Identifier: ISC */
/*
 * Sessions that share a maildrop: each goes on seeing what it saw first, whatever the others remove, others
 * deliver or rename, the index loses, and whoever is killed.
 */
#include "tests/store/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/index.h"
#include "store/lock.h"
#include "tests/store/faults.h"

#define NEW(name) "alice/Maildir/new/" name
#define CUR(name) "alice/Maildir/cur/" name

static const char all[] = "3 1.a\n3 2.b\n3 3.c\n3 4.d\n";

static int setup(void **state)
{
	int rc = fixture_setup(state);
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	fixture_write(f, NEW("1.a"), "1\n");
	fixture_write(f, NEW("2.b"), "2\n");
	fixture_write(f, CUR("3.c:2,S"), "3\n");
	fixture_write(f, CUR("4.d:2,S"), "4\n");
	return rc;
}

static int setup_unindexed(void **state)
{
	setup(state);
	struct fixture *f = *state;
	f->indexed = false;
	fixture_reopen(f, 0);
	return 0;
}

static int open_for(struct fixture *f, enum maildrop_lock lock, struct maildrop **m_r)
{
	const struct maildrop_place place = {.user = "alice", .path = "alice/Maildir", .lock = lock};
	return maildrop_open(f->store, &place, m_r);
}

static struct maildrop *share(struct fixture *f)
{
	struct maildrop *m;
	assert_int_equal(open_for(f, MAILDROP_SHARED, &m), MAILDROP_OK);
	return m;
}

static void lists(struct maildrop *m, const char *want)
{
	assert_string_equal(fixture_list(m), want);
	assert_int_equal(maildrop_count(m), strlen(want) / 6);
	assert_int_equal(maildrop_octets(m), strlen(want) / 2);
}

static void quit(struct maildrop **m, uint8_t marks)
{
	uint32_t left;
	assert_int_equal(maildrop_expunge(*m, &marks, 1, &left), MAILDROP_OK);
	maildrop_close(m);
}

/* What the index knows; count is UINT32_MAX when it knows nothing. */
static struct drop known(struct fixture *f)
{
	struct drop drop = {.count = UINT32_MAX};
	struct index_env *env = index_take(f->store->index, "alice");
	assert_non_null(env);
	if (index_drop(env, "alice", &drop) != INDEX_OK)
		drop.count = UINT32_MAX;
	index_release(&env);
	return drop;
}

static void test_snapshots(void **state)
{
	struct fixture *f = *state;
	struct maildrop *first = share(f), *second = share(f), *m;
	assert_int_equal(open_for(f, MAILDROP_EXCLUSIVE, &m), MAILDROP_IN_USE);
	assert_int_equal(open_for(f, MAILDROP_TAKEOVER, &m), MAILDROP_IN_USE);
	lists(first, all);
	lists(second, all);
	quit(&first, 1 | 4);
	lists(second, all);
	struct maildrop *third = share(f);
	lists(third, "3 2.b\n3 4.d\n");
	fixture_write(f, NEW("5.e"), "5\n");
	struct maildrop *fourth = share(f);
	lists(fourth, "3 2.b\n3 4.d\n3 5.e\n");
	quit(&fourth, 1);
	lists(second, all);
	lists(third, "3 2.b\n3 4.d\n");
	int rc;
	assert_null(fixture_fetch(second, 0, &rc));
	assert_int_equal(rc, MAILDROP_GONE);
	assert_string_equal(fixture_fetch(second, 3, &rc), "4\n");
	assert_null(fixture_fetch(third, 0, &rc));
	assert_string_equal(fixture_fetch(third, 1, &rc), "4\n");
	quit(&second, 15);
	lists(third, "3 2.b\n3 4.d\n");
	quit(&third, 3);
	assert_string_equal(fixture_listing(f, "alice"), "3 5.e\n");
}

static void test_marked_records_go(void **state)
{
	struct fixture *f = *state;
	struct maildrop *first = share(f), *second = share(f);
	quit(&first, 3);
	assert_int_equal(known(f).marked, 2);
	assert_int_equal(known(f).count, 2);
	lists(second, all);
	quit(&second, 4);
	assert_int_equal(known(f).marked, 3);
	struct maildrop *alone = share(f);
	assert_int_equal(known(f).marked, 0);
	assert_int_equal(known(f).epoch, 0);
	lists(alone, "3 4.d\n");
	maildrop_close(&alone);
	assert_int_equal(f->notes_count, 0);
}

static void test_exclusive_takes_them_along(void **state)
{
	struct fixture *f = *state;
	struct maildrop *first = share(f), *second = share(f);
	quit(&first, 3);
	maildrop_close(&second);
	assert_int_equal(known(f).marked, 2);
	assert_string_equal(fixture_listing(f, "alice"), "3 3.c\n3 4.d\n");
	assert_int_equal(known(f).marked, 0);
}

/* Others remove, rename and deliver; a login among sessions must leave them what they list. */
static void test_others(void **state)
{
	struct fixture *f = *state;
	struct maildrop *first = share(f);
	int rc;
	unlinkat(f->root, NEW("1.a"), 0);
	renameat(f->root, NEW("2.b"), f->root, CUR("2.b:2,RS"));
	fixture_write(f, NEW("0.z"), "0\n");
	struct maildrop *second = share(f);
	lists(first, all);
	lists(second, "3 2.b\n3 3.c\n3 4.d\n3 0.z\n");
	assert_null(fixture_fetch(first, 0, &rc));
	assert_int_equal(rc, MAILDROP_GONE);
	assert_string_equal(fixture_fetch(first, 1, &rc), "2\n");
	assert_string_equal(fixture_fetch(second, 0, &rc), "2\n");
	/* It comes back: a message like any other, under the UIDL it had. */
	fixture_write(f, NEW("1.a"), "1\n");
	struct maildrop *third = share(f);
	lists(third, "3 2.b\n3 3.c\n3 4.d\n3 0.z\n3 1.a\n");
	lists(first, all);
	lists(second, "3 2.b\n3 3.c\n3 4.d\n3 0.z\n");
	quit(&first, 2);
	lists(third, "3 2.b\n3 3.c\n3 4.d\n3 0.z\n3 1.a\n");
	quit(&second, 2);
	quit(&third, 4);
	assert_string_equal(fixture_listing(f, "alice"), "3 0.z\n3 1.a\n");
}

static void take_away(const char *path)
{
	unlink(path);
}

static void test_index_lost(void **state)
{
	struct fixture *f = *state;
	struct maildrop *first = share(f);
	assert_true(fixture_environments(f, take_away) > 0);
	/* What there is now was begun among others: it is not for the index. */
	struct maildrop *second = share(f);
	lists(second, all);
	quit(&second, 1);
	lists(first, all);
	quit(&first, 2);
	assert_string_equal(fixture_listing(f, "alice"), "3 3.c\n3 4.d\n");
}

static void test_one_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct maildrop *first = share(f), *second;
	struct lock lock;
	int home = openat(f->root, "alice/Maildir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(lock_take(&lock, home, true), MAILDROP_OK);
	assert_int_equal(lock_index_begin(&lock, 0), MAILDROP_OK);
	/* Somebody else takes his snapshot just now. */
	assert_int_equal(open_for(f, MAILDROP_SHARED, &second), MAILDROP_IN_USE);
	assert_null(second);
	/* A QUIT waits for a moment only, and then leaves the index to the next login. */
	quit(&first, 1);
	lock_index_end(&lock);
	second = share(f);
	lists(second, "3 2.b\n3 3.c\n3 4.d\n");
	maildrop_close(&second);
	lock_drop(&lock);
	close(home);
}

static void test_wanted(void **state)
{
	struct fixture *f = *state;
	const struct maildrop_place place = {
	    .user = "alice", .path = "alice/Maildir", .lock = MAILDROP_TAKEOVER};
	const struct maildrop_place nowhere = {.user = "bob", .path = "bob/Maildir"};
	struct maildrop *m, *next;
	struct maildrop_wish *wish, *other;
	assert_int_equal(open_for(f, MAILDROP_TAKEOVER, &m), MAILDROP_OK);
	assert_false(maildrop_wanted(m));
	assert_int_equal(maildrop_wish(f->store, &place, &wish), MAILDROP_OK);
	assert_int_equal(maildrop_wish(f->store, &place, &other), MAILDROP_IN_USE);
	assert_null(other);
	assert_int_equal(open_for(f, MAILDROP_TAKEOVER, &next), MAILDROP_IN_USE);
	assert_true(maildrop_wanted(m));
	maildrop_close(&m);
	assert_int_equal(open_for(f, MAILDROP_TAKEOVER, &next), MAILDROP_OK);
	maildrop_wish_end(&wish);
	assert_null(wish);
	assert_false(maildrop_wanted(next));
	maildrop_close(&next);
	assert_int_equal(maildrop_wish(f->store, &nowhere, &wish), MAILDROP_GONE);
	assert_int_equal(maildrop_open(f->store, &nowhere, &m), MAILDROP_OK);
	assert_false(maildrop_wanted(m));
	maildrop_close(&m);
}

/* ---- many at once, and some of them are killed ---- */

enum { PROCESSES_COUNT = 4, ROUNDS_COUNT = 150, MESSAGES_COUNT = 4096 };

struct ledger {
	atomic_uint delivered, wrong, sessions, in_use;
	atomic_uchar arrived[MESSAGES_COUNT], marked[MESSAGES_COUNT], removed[MESSAGES_COUNT];
};
static struct ledger *ledger;

static void check(bool right, const char *what)
{
	if (right)
		return;
	if (atomic_fetch_add(&ledger->wrong, 1) == 0)
		fprintf(stderr, "# %s\n", what);
}

static void deliver(struct fixture *f)
{
	unsigned number = atomic_fetch_add(&ledger->delivered, 1);
	char from[64], to[64], text[32];
	if (number >= MESSAGES_COUNT)
		return;
	snprintf(from, sizeof from, "alice/Maildir/tmp/m%u", number);
	snprintf(to, sizeof to, "alice/Maildir/new/m%u", number);
	snprintf(text, sizeof text, "%u\n", number);
	fixture_write(f, from, text);
	check(renameat(f->root, from, f->root, to) == 0, "delivery");
	atomic_store(&ledger->arrived[number], 1);
}

/* The numbers of the messages, by their UIDLs. */
struct view {
	uint32_t count;
	uint16_t numbers[MESSAGES_COUNT];
	uint64_t octets;
};

static int see(void *arg, uint32_t idx, const struct maildrop_entry *entry)
{
	struct view *view = arg;
	check(idx == view->count && entry->uidl[0] == 'm', "listing");
	view->octets += entry->octets;
	view->numbers[view->count++] = (uint16_t)atoi(entry->uidl + 1);
	return view->count == MESSAGES_COUNT;
}

/* Whether it is the same as before, where there was a before. */
static bool look(struct maildrop *m, struct view *view, bool again)
{
	static struct view now;
	now = (struct view){0};
	int rc = maildrop_list(m, 0, UINT32_MAX, see, &now);
	bool same = !again || (now.count == view->count &&
				  memcmp(now.numbers, view->numbers, now.count * sizeof *now.numbers) == 0);
	*view = now;
	return rc == MAILDROP_OK && same && now.count == maildrop_count(m) &&
	       now.octets == maildrop_octets(m);
}

static void fetch(struct maildrop *m, const struct view *view, uint32_t idx)
{
	int rc;
	char text[32];
	const char *got = fixture_fetch(m, idx, &rc);
	unsigned number = view->numbers[idx];
	snprintf(text, sizeof text, "%u\n", number);
	if (got == NULL)
		check(rc == MAILDROP_GONE && ledger->marked[number],
		    "a message is not there that nobody marked");
	else
		check(strcmp(got, text) == 0, "another message's octets");
}

static void rename_one(struct fixture *f, unsigned number)
{
	char from[64], to[80];
	snprintf(from, sizeof from, "alice/Maildir/new/m%u", number);
	snprintf(to, sizeof to, "alice/Maildir/cur/m%u:2,S", number);
	renameat(f->root, from, f->root, to);
}

static void expunge(struct maildrop *m, const struct view *view, unsigned *seed)
{
	uint8_t marks[MESSAGES_COUNT / 8] = {0};
	uint32_t idxs[2];
	for (int i = 0; i < 2; i++) {
		idxs[i] = (uint32_t)rand_r(seed) % view->count;
		marks[idxs[i] / 8] |= (uint8_t)(1 << idxs[i] % 8);
		atomic_store(&ledger->marked[view->numbers[idxs[i]]], 1);
	}
	uint32_t left;
	int rc = maildrop_expunge(m, marks, (view->count + 7) / 8, &left);
	check(rc == MAILDROP_OK, "expunge");
	for (int i = 0; rc == MAILDROP_OK && i < 2; i++)
		atomic_store(&ledger->removed[view->numbers[idxs[i]]], 1);
}

static void one_session(struct fixture *f, unsigned *seed)
{
	static struct view view;
	struct maildrop *m;
	int rc = open_for(f, rand_r(seed) % 10 == 0 ? MAILDROP_EXCLUSIVE : MAILDROP_SHARED, &m);
	if (rc == MAILDROP_IN_USE) {
		atomic_fetch_add(&ledger->in_use, 1);
		usleep(1000);
		return;
	}
	check(rc == MAILDROP_OK, "open");
	if (rc != MAILDROP_OK)
		return;
	atomic_fetch_add(&ledger->sessions, 1);
	check(look(m, &view, false), "a first look");
	for (int i = 0; i < 4 && view.count > 0; i++) {
		usleep((unsigned)rand_r(seed) % 2000);
		check(look(m, &view, true), "the view changed");
		fetch(m, &view, (uint32_t)rand_r(seed) % view.count);
		rename_one(f, view.numbers[(uint32_t)rand_r(seed) % view.count]);
	}
	if (view.count > 0 && rand_r(seed) % 2 == 0)
		expunge(m, &view, seed);
	maildrop_close(&m);
}

static void process(struct fixture *f, unsigned seed)
{
	fixture_reopen(f, 0);
	for (int i = 0; i < ROUNDS_COUNT; i++) {
		for (int n = rand_r(&seed) % 3; n > 0; n--)
			deliver(f);
		one_session(f, &seed);
		if (f->indexed && rand_r(&seed) % 100 == 0)
			fixture_environments(f, take_away);
	}
	store_close(&f->store);
	_exit(0);
}

static pid_t begin_process(struct fixture *f, unsigned seed)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		process(f, seed);
	return pid;
}

static bool is_there(struct fixture *f, unsigned number)
{
	char path[64];
	snprintf(path, sizeof path, "alice/Maildir/new/m%u", number);
	bool there = fixture_exists(f, path);
	snprintf(path, sizeof path, "alice/Maildir/cur/m%u:2,S", number);
	return there || fixture_exists(f, path);
}

static void check_all(struct fixture *f)
{
	uint32_t left = 0;
	unsigned delivered = ledger->delivered < MESSAGES_COUNT ? ledger->delivered : MESSAGES_COUNT;
	for (unsigned i = 0; i < delivered; i++) {
		bool there = is_there(f, i);
		check(there || ledger->marked[i] || !ledger->arrived[i], "lost");
		check(!there || !ledger->removed[i], "removed and still there");
		left += there;
	}
	struct maildrop *m = fixture_open(f, "alice");
	static struct view view;
	check(look(m, &view, false), "the last look");
	check(view.count == left, "the last count");
	maildrop_close(&m);
}

static void test_storm(void **state)
{
	struct fixture *f = *state;
	pid_t pids[PROCESSES_COUNT];
	unsigned seed = 4711;
	ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(ledger != MAP_FAILED);
	fixture_maildir(f, "alice");
	for (int i = 0; i < 40; i++)
		deliver(f);
	store_close(&f->store);
	for (unsigned i = 0; i < PROCESSES_COUNT; i++)
		pids[i] = begin_process(f, i + 1);
	/* The last one is killed again and again, at any moment. */
	for (int i = 0; i < 20; i++) {
		usleep((unsigned)rand_r(&seed) % 50000);
		kill(pids[PROCESSES_COUNT - 1], SIGKILL);
		waitpid(pids[PROCESSES_COUNT - 1], NULL, 0);
		pids[PROCESSES_COUNT - 1] = begin_process(f, 100 + (unsigned)i);
	}
	for (int i = 0; i < PROCESSES_COUNT; i++) {
		int status;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	fixture_reopen(f, 0);
	check_all(f);
	assert_int_equal(ledger->wrong, 0);
	assert_true(ledger->sessions > ROUNDS_COUNT);
	munmap(ledger, sizeof(*ledger));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_snapshots, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_marked_records_go, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_exclusive_takes_them_along, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_others, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_index_lost, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_one_at_a_time, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_wanted, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_storm, fixture_setup, fixture_teardown),
	    {"test_snapshots, unindexed", test_snapshots, setup_unindexed, fixture_teardown, NULL},
	    {"test_storm, unindexed", test_storm, fixture_setup_unindexed, fixture_teardown, NULL},
	};
	return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
