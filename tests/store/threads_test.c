/* SPDX-License-Identifier: ISC */
/*
 * Several processes with several threads each, deliveries, flag changes and QUITs all at once, and now and
 * then the index taken away. Each message that was delivered is listed until a QUIT has removed it, and
 * never again.
 */
#include "tests/store/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/store/faults.h"

enum { USERS_COUNT = 5, PROCESSES_COUNT = 3, THREADS_COUNT = 4, ROUNDS_COUNT = 60 };

/* Shared by all processes. */
struct ledger {
	atomic_uint delivered[USERS_COUNT], removed[USERS_COUNT];
	atomic_uint wrong, sessions, in_use;
};

static struct ledger *ledger;
static struct fixture *current;

struct seen {
	uint32_t count, uid;
	uint64_t octets;
};

static int see(void *arg, uint32_t idx, const struct maildrop_entry *entry)
{
	struct seen *seen = arg;
	if (idx != seen->count++ || entry->uid <= seen->uid)
		atomic_fetch_add(&ledger->wrong, 1);
	seen->uid = entry->uid;
	seen->octets += entry->octets;
	return 0;
}

static void check(bool right)
{
	if (!right)
		atomic_fetch_add(&ledger->wrong, 1);
}

static void one_session(unsigned user, unsigned *seed)
{
	char name[16], path[32];
	struct maildrop *m;
	struct seen seen = {0};
	snprintf(name, sizeof(name), "user%u", user);
	snprintf(path, sizeof(path), "user%u/Maildir", user);
	int rc = maildrop_open(current->store, &(struct maildrop_place){.user = name, .path = path}, &m);
	if (rc == MAILDROP_IN_USE) {
		atomic_fetch_add(&ledger->in_use, 1);
		return;
	}
	check(rc == MAILDROP_OK);
	if (rc != MAILDROP_OK)
		return;
	atomic_fetch_add(&ledger->sessions, 1);
	rc = maildrop_list(m, 0, UINT32_MAX, see, &seen);
	check(rc == MAILDROP_OK && seen.count == maildrop_count(m) && seen.octets == maildrop_octets(m));
	if (seen.count > 0) {
		struct maildrop_message message;
		uint32_t idx = (uint32_t)rand_r(seed) % seen.count;
		rc = maildrop_fetch(m, idx, &message);
		check(rc == MAILDROP_OK);
		if (rc == MAILDROP_OK)
			close(message.fd);
		uint8_t marks[4096] = {0};
		marks[idx / 8] |= (uint8_t)(1 << idx % 8);
		if (rand_r(seed) % 2) {
			rc = maildrop_expunge(m, marks, sizeof(marks), &(uint32_t){0});
			check(rc == MAILDROP_OK);
			atomic_fetch_add(&ledger->removed[user], rc == MAILDROP_OK);
		}
	}
	maildrop_close(&m);
}

static void one_delivery(unsigned user)
{
	char path[32];
	struct delivery *delivery;
	snprintf(path, sizeof(path), "user%u/Maildir", user);
	bool good = delivery_begin(current->store, &(struct maildrop_place){.user = "x", .path = path},
			&delivery) == MAILDROP_OK &&
		    delivery_write(delivery, "A: b\n\nbody\n", 11) == MAILDROP_OK &&
		    delivery_commit(&delivery) == MAILDROP_OK;
	check(good);
	atomic_fetch_add(&ledger->delivered[user], good);
}

/* As an IMAP server does: one message from new/ to cur/, with a flag. */
static void one_rename(unsigned user)
{
	char path[32], from[300], to[320];
	snprintf(path, sizeof(path), "user%u/Maildir/new", user);
	int fd = openat(current->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.') {
			snprintf(from, sizeof(from), "%s/%s", path, entry->d_name);
			snprintf(to, sizeof(to), "user%u/Maildir/cur/%s:2,S", user, entry->d_name);
			renameat(current->root, from, current->root, to);
			break;
		}
	if (dir != NULL)
		closedir(dir);
}

static void take_away(const char *path)
{
	unlink(path);
}

static void *work(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	for (int i = 0; i < ROUNDS_COUNT; i++) {
		unsigned user = (unsigned)rand_r(&seed) % USERS_COUNT;
		int what = rand_r(&seed) % 100;
		if (what < 60)
			one_session(user, &seed);
		else if (what < 80)
			one_delivery(user);
		else if (what < 98)
			one_rename(user);
		else
			fixture_environments(current, take_away);
	}
	return NULL;
}

static void process(unsigned number)
{
	pthread_t threads[THREADS_COUNT];
	fixture_reopen(current, 65536);
	for (unsigned i = 0; i < THREADS_COUNT; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)(number * 100 + i + 1)) != 0)
			_exit(1);
	for (unsigned i = 0; i < THREADS_COUNT; i++)
		pthread_join(threads[i], NULL);
	store_close(&current->store);
	_exit(0);
}

static void test_all_at_once(void **state)
{
	current = *state;
	ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(ledger != MAP_FAILED);
	for (unsigned i = 0; i < USERS_COUNT; i++) {
		char name[16];
		snprintf(name, sizeof(name), "user%u", i);
		fixture_maildir(current, name);
	}
	store_close(&current->store);
	for (unsigned i = 0; i < PROCESSES_COUNT; i++)
		if (fork() == 0)
			process(i + 1);
	for (unsigned i = 0; i < PROCESSES_COUNT; i++) {
		int status;
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	fixture_reopen(current, 0);
	assert_int_equal(ledger->wrong, 0);
	assert_true(ledger->sessions > 0);
	for (unsigned i = 0; i < USERS_COUNT; i++) {
		char name[16];
		snprintf(name, sizeof(name), "user%u", i);
		struct maildrop *m = fixture_open(current, name);
		assert_int_equal(maildrop_count(m), ledger->delivered[i] - ledger->removed[i]);
		fixture_list(m);
		maildrop_close(&m);
	}
	munmap(ledger, sizeof(*ledger));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_all_at_once, fixture_setup, fixture_teardown),
	};
	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
