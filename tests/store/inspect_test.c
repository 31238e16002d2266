/* SPDX-License-Identifier: ISC */
/* What a person is told of the index: whatever is wrong with it, and nothing else. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/index.h"
#include "store/index_env.h"
#include "store/inspect.h"
#include "store/record.h"
#include "store/store.h"
#include "tests/store/faults.h"
#include "tests/store/fixture.h"

static const struct maildrop_place place = {.user = "alice", .path = "alice/Maildir"};

struct told {
	char text[2048];
	uint32_t last, all;
};

static void tell(void *arg, const char *text)
{
	struct told *told = arg;
	size_t len = strlen(told->text);
	snprintf(told->text + len, sizeof(told->text) - len, "%s\n", text);
}

static void progress(void *arg, uint32_t done, uint32_t all)
{
	struct told *told = arg;
	assert_true(done == told->last + 1 && done <= all);
	told->last = done;
	told->all = all;
}

/* Three messages, and an index that is up to date. */
static int setup(void **state)
{
	fixture_setup(state);
	struct fixture *fixture = *state;
	fixture_maildir(fixture, "alice");
	fixture_write(fixture, "alice/Maildir/new/1.a", "one\n");
	fixture_write(fixture, "alice/Maildir/new/2.b", "two\n.\n");
	fixture_write(fixture, "alice/Maildir/cur/3.c:2,S", "three\r\n");
	fixture_listing(fixture, "alice");
	return 0;
}

/* ---- ways to spoil it ---- */

/* The records as they are, to be changed and put back. */
struct records {
	struct drop drop;
	struct record records[3];
	char text[3][RECORD_NAME_OCTETS + MAILDROP_UIDL_OCTETS];
	unsigned count;
};

static int keep(void *arg, const struct record *record)
{
	struct records *records = arg;
	assert_true(records->count < 3);
	struct record *to = &records->records[records->count];
	*to = *record;
	to->name = memcpy(records->text[records->count], record->name, record->name_len);
	to->uidl = records->text[records->count++] + record->name_len;
	return 0;
}

static void put(struct fixture *fixture, struct records *records, unsigned i, bool gone)
{
	struct index_env *env = index_take(fixture->store->index, "alice");
	const struct record *puts[] = {&records->records[i]};
	const struct index_update update = {.user = "alice",
	    .drop = &records->drop,
	    .puts = puts,
	    .put_count = !gone,
	    .gone = &records->records[i].uid,
	    .gone_count = gone};
	assert_int_equal(index_update(env, &update), INDEX_OK);
	index_release(&env);
}

static void wrong_size(struct fixture *fixture, struct records *records)
{
	records->records[0].octets += 7;
	records->drop.octets += 7;
	put(fixture, records, 0, false);
}

static void wrong_flags(struct fixture *fixture, struct records *records)
{
	records->records[1].flags ^= 2; /* a dot is there, and is not */
	put(fixture, records, 1, false);
}

static void wrong_count(struct fixture *fixture, struct records *records)
{
	records->drop.count--;
	put(fixture, records, 0, false);
}

static void wrong_sum(struct fixture *fixture, struct records *records)
{
	records->drop.octets--;
	put(fixture, records, 0, false);
}

static void wrong_mark(struct fixture *fixture, struct records *records)
{
	records->drop.marked = 4;
	put(fixture, records, 0, false);
}

static void record_lost(struct fixture *fixture, struct records *records)
{
	records->drop.count--;
	records->drop.octets -= records->records[1].octets;
	put(fixture, records, 1, true);
}

static void wrong_place(struct fixture *fixture, struct records *records)
{
	records->records[2].part = MAILDIR_NEW;
	put(fixture, records, 2, false);
}

static void wrong_file(struct fixture *fixture, struct records *records)
{
	records->records[2].inode++;
	put(fixture, records, 2, false);
}

static void wrong_uidl(struct fixture *fixture, struct records *records)
{
	static const char uidl[] = "another";
	records->records[0].uidl = uidl;
	records->records[0].uidl_len = sizeof(uidl) - 1;
	put(fixture, records, 0, false);
}

static void same_uidl(struct fixture *fixture, struct records *records)
{
	static const char uidl[] = "2.b";
	records->records[0].uidl = uidl;
	records->records[0].uidl_len = sizeof(uidl) - 1;
	put(fixture, records, 0, false);
}

static void stale(struct fixture *fixture, struct records *records)
{
	records->records[0].stale = true;
	records->records[0].octets += 7;
	records->drop.octets += 7;
	put(fixture, records, 0, false);
}

static void overwrite(struct fixture *fixture, const uint8_t *key, size_t len)
{
	struct index_env *env = index_take(fixture->store->index, "alice");
	MDB_val k = {len, (void *)(uintptr_t)key}, v = {5, (char[]){"spoil"}};
	MDB_txn *txn;
	assert_int_equal(mdb_txn_begin(env->mdb, NULL, 0, &txn), 0);
	assert_int_equal(mdb_put(txn, env->dbi, &k, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	index_release(&env);
}

static void damaged_record(struct fixture *fixture, struct records *records)
{
	uint8_t key[RECORD_KEY_OCTETS];
	overwrite(fixture, key, record_key("alice", records->records[1].uid, key));
}

static void damaged_drop(struct fixture *fixture, struct records *records)
{
	uint8_t key[RECORD_KEY_OCTETS];
	(void)records;
	overwrite(fixture, key, record_drop_key("alice", key));
}

static void rewritten(struct fixture *fixture, struct records *records)
{
	struct stat st;
	(void)records;
	assert_int_equal(fstatat(fixture->root, "alice/Maildir/new/1.a", &st, 0), 0);
	int fd = openat(fixture->root, "alice/Maildir/new/1.a", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "eno\n", 4, 0), 4);
	const struct timespec times[2] = {st.st_atim, st.st_mtim};
	assert_int_equal(futimens(fd, times), 0);
	close(fd);
}

static void nothing(struct fixture *fixture, struct records *records)
{
	(void)fixture, (void)records;
}

static void mail_came(struct fixture *fixture, struct records *records)
{
	(void)records;
	fixture_write(fixture, "alice/Maildir/new/4.d", "four\n");
}

static void mail_moved(struct fixture *fixture, struct records *records)
{
	(void)records;
	assert_int_equal(
	    renameat(fixture->root, "alice/Maildir/new/1.a", fixture->root, "alice/Maildir/cur/1.a:2,"), 0);
	assert_int_equal(unlinkat(fixture->root, "alice/Maildir/new/2.b", 0), 0);
}

static void no_mail(struct fixture *fixture, struct records *records)
{
	(void)records;
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/root/alice", fixture->dir);
	fixture_remove(path);
}

static void other_things(struct fixture *fixture, struct records *records)
{
	(void)records;
	fixture_mkdir(fixture, "alice/Maildir/new/5.dir");
	assert_int_equal(symlinkat("1.a", fixture->root, "alice/Maildir/cur/6.link"), 0);
}

static void test_check(void **state)
{
	static const struct {
		const char *sentence;
		void (*spoil)(struct fixture *fixture, struct records *records);
		enum inspect_state state;
		uint32_t messages, changes, differences;
		const char *text;
	} rows[] = {
	    {"nothing is wrong", nothing, INSPECT_CURRENT, 3, 0, 0, ""},
	    {"a size", wrong_size, INSPECT_CURRENT, 3, 0, 1,
		"1.a: has 5 octets (4 stored), the index says 12 (4)\n"},
	    {"a flag", wrong_flags, INSPECT_CURRENT, 3, 0, 1,
		"2.b: what the index says of its line ends and"},
	    {"the count", wrong_count, INSPECT_CURRENT, 3, 0, 1, "it counts 2 messages, and has 3\n"},
	    {"the sum", wrong_sum, INSPECT_CURRENT, 3, 0, 1,
		"it counts 19 octets, and its messages have 20\n"},
	    {"the marks", wrong_mark, INSPECT_CURRENT, 3, 0, 1,
		"it counts 4 messages that are gone, and has 0\n"},
	    {"a record is missing", record_lost, INSPECT_CURRENT, 2, 0, 1, "2.b: is not in the index\n"},
	    {"a place", wrong_place, INSPECT_CURRENT, 3, 0, 1,
		"3.c:2,S: lies in cur under this name, the index has another\n"},
	    {"a file", wrong_file, INSPECT_CURRENT, 3, 0, 2, "3.c:2,S: is not in the index\n"},
	    {"a UIDL", wrong_uidl, INSPECT_CURRENT, 3, 0, 1,
		"1.a: its UIDL is 1.a, the index says another\n"},
	    {"a UIDL twice", same_uidl, INSPECT_CURRENT, 3, 0, 2,
		"messages 1 and 2 have the same UIDL, 2.b\n"},
	    {"a record is damaged", damaged_record, INSPECT_CURRENT, 2, 0, 4,
		"a record is damaged, or of another"},
	    {"the maildrop's record is damaged", damaged_drop, INSPECT_DAMAGED, 0, 0, 1,
		"the record of the maildrop is damaged"},
	    {"the content, of the same size and time", rewritten, INSPECT_CURRENT, 3, 0, 1,
		"1.a: has another content than the index knows, of the same size\n"},
	    {"a record that the next login measures anyway", stale, INSPECT_CURRENT, 3, 0, 0, ""},
	    {"mail has come", mail_came, INSPECT_BEHIND, 3, 1, 0, ""},
	    {"mail was moved, and has gone", mail_moved, INSPECT_BEHIND, 3, 2, 0, ""},
	    {"all mail has gone", no_mail, INSPECT_BEHIND, 3, 3, 0, ""},
	    {"what is no message has come", other_things, INSPECT_BEHIND, 3, 0, 0, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		void *world;
		struct records records = {.count = 0};
		struct inspect_user of;
		struct told told = {.last = 0};
		const struct inspect_teller teller = {tell, progress, &told};
		setup(&world);
		struct fixture *fixture = world;
		struct index_env *env = index_take(fixture->store->index, "alice");
		assert_int_equal(index_drop(env, "alice", &records.drop), INDEX_OK);
		assert_int_equal(index_walk(env, "alice", 1, keep, &records), INDEX_OK);
		index_release(&env);
		rows[i].spoil(fixture, &records);
		fixture_reopen(fixture, 0);
		fixture->notes[0] = 0;
		int rc = inspect_check(fixture->store, &place, &teller, &of);
		if (rc != MAILDROP_OK || of.state != rows[i].state || of.messages != rows[i].messages ||
		    of.changes != rows[i].changes || of.differences != rows[i].differences ||
		    strstr(told.text, rows[i].text) == NULL || (rows[i].text[0] == 0) != (told.text[0] == 0))
			fail_msg("%s: %d, state %d, %u messages, %u changes, %u differences: %s%s",
			    rows[i].sentence, rc, (int)of.state, of.messages, of.changes, of.differences,
			    told.text, fixture->notes);
		/* Looking has mended nothing, set aside nothing. */
		struct inspect_user again;
		told.text[0] = 0;
		told.last = 0;
		assert_int_equal(inspect_check(fixture->store, &place, &teller, &again), MAILDROP_OK);
		assert_int_equal(again.differences, of.differences);
		/* And the next login serves what there is, by the same UIDLs. */
		fixture_reopen(fixture, 0);
		if (rows[i].spoil == nothing)
			assert_string_equal(fixture_listing(fixture, "alice"), "5 1.a\n8 2.b\n7 3.c\n");
		fixture_teardown(&world);
	}
}

static void test_check_session(void **state)
{
	struct fixture *fixture = *state;
	struct inspect_user of;
	struct told told = {.last = 0};
	const struct inspect_teller teller = {tell, NULL, &told};
	struct fixture other = *fixture;

	/* Another process has it open: nobody is kept waiting, and nothing is wrong. */
	other.store = NULL;
	fixture_reopen(&other, 0);
	fixture_reopen(fixture, 0);
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct maildrop *maildrop;
		if (maildrop_open(other.store, &place, &maildrop) != MAILDROP_OK ||
		    write(ready[1], "", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	assert_true(pid > 0);
	close(ready[1]);
	assert_int_equal(read(ready[0], (char[1]){0}, 1), 1);
	close(ready[0]);
	fixture_reopen(fixture, 0);
	assert_int_equal(inspect_check(fixture->store, &place, &teller, &of), MAILDROP_OK);
	assert_int_equal(of.differences, 0);
	assert_int_equal(inspect_forget(fixture->store, &place), MAILDROP_IN_USE);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	store_close(&other.store);
}

static void test_forget(void **state)
{
	struct fixture *fixture = *state;
	struct inspect_user of;
	const struct maildrop_place nobody = {.user = "bob", .path = "bob/Maildir"};
	char before[512];

	snprintf(before, sizeof(before), "%s", fixture_listing(fixture, "alice"));
	assert_int_equal(inspect_forget(fixture->store, &place), MAILDROP_OK);
	assert_int_equal(inspect_forget(fixture->store, &nobody), MAILDROP_GONE);
	fixture_reopen(fixture, 0);
	assert_int_equal(inspect_user(fixture->store, &place, &of), MAILDROP_OK);
	assert_int_equal(of.state, INSPECT_UNKNOWN);
	assert_string_equal(fixture_listing(fixture, "alice"), before);
	fixture_reopen(fixture, 0);
	assert_int_equal(inspect_user(fixture->store, &place, &of), MAILDROP_OK);
	assert_int_equal(of.state, INSPECT_CURRENT);
	assert_true(of.messages == 3 && of.octets == 20);
}

static void sum_envs(struct fixture *fixture, struct inspect_env *sum_r, unsigned *there_r, unsigned *bad_r)
{
	*sum_r = (struct inspect_env){.there = false};
	*there_r = *bad_r = 0;
	assert_int_equal(inspect_env_count(fixture->store), INDEX_ENVS_COUNT);
	for (unsigned i = 0; i < INDEX_ENVS_COUNT; i++) {
		struct inspect_env env;
		inspect_env(fixture->store, i, &env);
		assert_int_equal(atoi(env.name), i);
		*there_r += env.there;
		*bad_r += env.bad;
		sum_r->users += env.users;
		sum_r->messages += env.messages;
		sum_r->octets += env.octets;
		sum_r->damaged += env.damaged;
		if (env.trouble != NULL)
			sum_r->trouble = env.trouble;
		if (env.there && env.trouble == NULL)
			assert_true(env.file_octets > 0 && env.map_octets >= env.used_octets &&
				    env.used_octets > env.free_octets && env.written_secs > 0);
	}
}

static void test_environments(void **state)
{
	struct fixture *fixture = *state;
	struct inspect_env sum;
	unsigned there, bad;

	fixture_maildir(fixture, "bob");
	fixture_maildir(fixture, "carol");
	fixture_write(fixture, "bob/Maildir/new/1.a", "one\n");
	fixture_listing(fixture, "bob");
	fixture_listing(fixture, "carol");
	fixture_reopen(fixture, 0);
	sum_envs(fixture, &sum, &there, &bad);
	assert_true(sum.users == 3 && sum.messages == 4 && sum.octets == 25 && sum.damaged == 0);
	assert_true(sum.trouble == NULL && there >= 1 && there <= 3 && bad == 0);
	assert_true(inspect_boot_secs(fixture->store) > 0);
	struct inspect_user of;
	assert_int_equal(inspect_user(fixture->store, &place, &of), MAILDROP_OK);
	assert_true(of.env[0] >= '0' && of.env[0] <= '6' && strlen(of.env) == 2);

	/* A session goes on with what was set aside. */
	fixture_reopen(fixture, 0);
	struct maildrop *maildrop = fixture_open(fixture, "alice");
	inspect_set_aside(fixture->store);
	assert_string_equal(fixture_list(maildrop), "5 1.a\n8 2.b\n7 3.c\n");
	maildrop_close(&maildrop);
	fixture_reopen(fixture, 0);
	sum_envs(fixture, &sum, &there, &bad);
	assert_true(sum.users == 0 && there == 0 && bad >= 1 && bad <= 3);
	assert_string_equal(fixture_listing(fixture, "alice"), "5 1.a\n8 2.b\n7 3.c\n");
	fixture_reopen(fixture, 0);
	sum_envs(fixture, &sum, &there, &bad);
	assert_true(sum.users == 1 && sum.messages == 3 && there == 1);
}

/* More than one transaction's. */
static void test_many(void **state)
{
	struct fixture *fixture = *state;
	struct inspect_env sum;
	struct inspect_user of;
	struct told told = {.last = 0};
	const struct inspect_teller teller = {tell, progress, &told};
	unsigned there, bad;

	for (int i = 0; i < 5000; i++) {
		char path[64];
		snprintf(path, sizeof(path), "alice/Maildir/new/%d.x", 10000 + i);
		fixture_write(fixture, path, "x\n");
	}
	faults.clock_secs += 10;
	fixture_listing(fixture, "alice");
	fixture_reopen(fixture, 0);
	sum_envs(fixture, &sum, &there, &bad);
	assert_true(sum.messages == 5003 && sum.octets == 20 + 3 * 5000);
	assert_int_equal(inspect_check(fixture->store, &place, &teller, &of), MAILDROP_OK);
	assert_true(of.messages == 5003 && of.differences == 0 && told.last == 5003 && told.all == 5003);
}

static void damage(const char *path)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "no environment", 14), 14);
	close(fd);
}

static void test_no_environment(void **state)
{
	struct fixture *fixture = *state;
	struct inspect_env sum;
	struct inspect_user of;
	unsigned there, bad;

	store_close(&fixture->store);
	fixture_environments(fixture, damage);
	fixture_reopen(fixture, 0);
	sum_envs(fixture, &sum, &there, &bad);
	assert_true(there == 1 && bad == 0 && sum.trouble != NULL && sum.users == 0);
	assert_int_equal(inspect_user(fixture->store, &place, &of), MAILDROP_TEMP);
	sum_envs(fixture, &sum, &there, &bad);
	assert_true(there == 1 && bad == 0);
	assert_string_equal(fixture_listing(fixture, "alice"), "5 1.a\n8 2.b\n7 3.c\n");
}

/* Whoever reads the boot's name may take it for a line. */
static void test_boot(void **state)
{
	struct fixture *fixture = *state;
	struct inspect_user of;
	static const char *const names[] = {"a-boot", "a-boot\n", "a-boot"};

	fixture->boot_id = names[0];
	fixture_reopen(fixture, 0);
	fixture_listing(fixture, "alice");
	for (int i = 0; i < 3; i++) {
		fixture->boot_id = names[i];
		fixture_reopen(fixture, 0);
		assert_int_equal(inspect_user(fixture->store, &place, &of), MAILDROP_OK);
		assert_int_equal(of.state, INSPECT_CURRENT);
	}
	fixture->boot_id = "another";
	fixture_reopen(fixture, 0);
	assert_int_equal(inspect_user(fixture->store, &place, &of), MAILDROP_OK);
	assert_int_equal(of.state, INSPECT_UNKNOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_check),
	    TEST(test_check_session),
	    TEST(test_forget),
	    TEST(test_environments),
	    TEST(test_many),
	    TEST(test_no_environment),
	    TEST(test_boot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
