/* SPDX-License-Identifier: ISC */
/*
 * The index broken in every way there is. LMDB may kill a process that reads a damaged file: the reader
 * here is a process of its own, as the store role's are, and what must hold is that it never says anything
 * wrong, and that after it died the next ones set the environment aside and are right.
 */
#include "tests/store/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lmdb.h>

#include "tests/store/faults.h"

#define MESSAGES_COUNT 60
#define FLIPS_COUNT 250
#define EXIT_RIGHT 0
#define EXIT_GAVE_UP 3
#define EXIT_WRONG 4

static char want[8192];

static int setup(void **state)
{
	int rc = fixture_setup(state);
	struct fixture *f = *state;
	fixture_maildir(f, "alice");
	want[0] = 0;
	for (int i = 10; i < 10 + MESSAGES_COUNT; i++) {
		char path[64];
		snprintf(path, sizeof(path), "alice/Maildir/%s/17%d.M1P1.host", i % 2 ? "new" : "cur", i);
		fixture_write(f, path, "x\n");
		snprintf(want + strlen(want), sizeof(want) - strlen(want), "3 17%d.M1P1.host\n", i);
	}
	assert_string_equal(fixture_listing(f, "alice"), want);
	return rc;
}

struct text {
	char octets[8192];
	size_t len;
};

static int append(void *arg, uint32_t idx, const struct maildrop_entry *entry)
{
	struct text *text = arg;
	(void)idx;
	text->len += (size_t)snprintf(text->octets + text->len, sizeof(text->octets) - text->len, "%llu %s\n",
	    (unsigned long long)entry->octets, entry->uidl);
	return text->len >= sizeof(text->octets);
}

/* A session: what it says must be right, or it must say that it cannot. */
static void session(struct fixture *f)
{
	struct maildrop *m;
	struct text text = {.len = 0};
	if (maildrop_open(f->store, &(struct maildrop_place){.user = "alice", .path = "alice/Maildir"}, &m) !=
	    MAILDROP_OK)
		_exit(EXIT_GAVE_UP);
	int rc = maildrop_list(m, 0, UINT32_MAX, append, &text);
	uint32_t count = maildrop_count(m);
	maildrop_close(&m);
	if (rc != MAILDROP_OK)
		_exit(EXIT_GAVE_UP);
	_exit(count == MESSAGES_COUNT && strcmp(text.octets, want) == 0 ? EXIT_RIGHT : EXIT_WRONG);
}

static void quiet_session(struct fixture *f)
{
	struct rlimit no_core = {0};
	setrlimit(RLIMIT_CORE, &no_core);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	signal(SIGABRT, SIG_DFL);
	alarm(20);
	session(f);
}

/* Sessions until one is right; a few may die or give up, none may be wrong. Returns how many died. */
static unsigned recover(struct fixture *f, const char *what)
{
	unsigned died = 0;
	for (int tries = 0; tries < 4; tries++) {
		int status = fixture_fork(f, quiet_session);
		if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_RIGHT)
			return died;
		if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_WRONG)
			fail_msg("%s: a wrong listing", what);
		died += WIFSIGNALED(status) || WEXITSTATUS(status) != EXIT_GAVE_UP;
	}
	fail_msg("%s: no right listing in four sessions", what);
	return died;
}

static void write_at(const char *path, off_t at, const void *buf, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, buf, len, at), (ssize_t)len);
	close(fd);
}

static off_t size_of(const char *path)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

static void scramble(const char *path)
{
	for (off_t at = 0; at < size_of(path); at += 4) {
		int chance = rand();
		write_at(path, at, &chance, sizeof(chance));
	}
}

static void scramble_pages(const char *path)
{
	for (off_t at = 8192; at < size_of(path); at += 4) {
		int chance = rand();
		write_at(path, at, &chance, sizeof(chance));
	}
}

static void empty(const char *path)
{
	assert_int_equal(truncate(path, 0), 0);
}

static void cut_meta(const char *path)
{
	assert_int_equal(truncate(path, 100), 0);
}

static void cut_pages(const char *path)
{
	assert_int_equal(truncate(path, 8192), 0);
}

static void cut_half(const char *path)
{
	assert_int_equal(truncate(path, size_of(path) / 8192 * 4096), 0);
}

static void zero(const char *path)
{
	off_t size = size_of(path);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(truncate(path, size), 0);
}

static void remove_it(const char *path)
{
	assert_int_equal(unlink(path), 0);
}

static void make_dir(const char *path)
{
	remove_it(path);
	assert_int_equal(mkdir(path, 0700), 0);
}

static void make_text(const char *path)
{
	write_at(path, 0, "This is no database.\n", 21);
}

static void forbid(const char *path)
{
	assert_int_equal(chmod(path, 0), 0);
}

static const struct damage_row {
	const char *sentence;
	void (*damage)(const char *path);
} damage_rows[] = {
    {"scrambled from end to end", scramble},
    {"all but its first pages scrambled", scramble_pages},
    {"empty", empty},
    {"cut within the first page", cut_meta},
    {"cut after the first pages", cut_pages},
    {"cut in half", cut_half},
    {"all zero", zero},
    {"removed", remove_it},
    {"a directory", make_dir},
    {"text", make_text},
    {"not to be opened", forbid},
};

static void test_damage(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(damage_rows) / sizeof(*damage_rows); i++) {
		store_close(&f->store);
		assert_int_equal(fixture_environments(f, damage_rows[i].damage), 1);
		fixture_reopen(f, 0);
		recover(f, damage_rows[i].sentence);
		/* And then all is as it was: the next login writes nothing. */
		faults.writes = 0;
		assert_string_equal(fixture_listing(f, "alice"), want);
		assert_int_equal(faults.writes, 0);
	}
}

static unsigned char *saved;
static size_t saved_len;
static char saved_path[256];

static void save(const char *path)
{
	saved_len = (size_t)size_of(path);
	saved = malloc(saved_len);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, saved, saved_len), (ssize_t)saved_len);
	close(fd);
	strcpy(saved_path, path);
}

/* The environment as it was saved, but for one octet; or cut after len. */
static void put_back(struct fixture *f, size_t len, size_t at, unsigned char octet)
{
	store_close(&f->store);
	int fd = open(saved_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, saved, len), (ssize_t)len);
	if (at < len)
		assert_int_equal(pwrite(fd, &octet, 1, (off_t)at), 1);
	close(fd);
	fixture_reopen(f, 0);
}

/* KPOPD_FLIPS_COUNT octets, at random, changed one at a time. */
static void test_flips(void **state)
{
	struct fixture *f = *state;
	const char *count_text = getenv("KPOPD_FLIPS_COUNT");
	unsigned count = count_text == NULL ? FLIPS_COUNT : (unsigned)strtoul(count_text, NULL, 10);
	unsigned died = 0;
	store_close(&f->store);
	fixture_environments(f, save);
	srand(1109);
	for (unsigned i = 0; i < count; i++) {
		char what[64];
		size_t at = (size_t)rand() % saved_len;
		unsigned char octet = (unsigned char)(saved[at] ^ (1 + rand() % 255));
		snprintf(what, sizeof(what), "octet %zu changed to %u", at, octet);
		put_back(f, saved_len, at, octet);
		died += recover(f, what);
	}
	free(saved);
	print_message("# %u of %u readers died of it\n", died, count);
}

/* Cut after each 4 KiB, and a little before and behind. */
static void test_cuts(void **state)
{
	struct fixture *f = *state;
	unsigned died = 0;
	unsigned count = 0;
	store_close(&f->store);
	fixture_environments(f, save);
	for (size_t len = 0; len < saved_len; len += 4096) {
		for (size_t more = 0; more < 3; more++, count++) {
			char what[64];
			size_t cut = len + (size_t[]){0, 1, 4095}[more];
			snprintf(what, sizeof(what), "cut after %zu of %zu octets", cut, saved_len);
			put_back(f, cut < saved_len ? cut : saved_len - 1, SIZE_MAX, 0);
			died += recover(f, what);
		}
	}
	free(saved);
	print_message("# %u of %u readers died of it\n", died, count);
}

/* Records as another version would write them: of another length, or of another number within. */
static const struct version_row {
	const char *sentence;
	size_t drop_len, record_len;
} version_rows[] = {
    {"an older version, of shorter records", 104, 70},
    {"a newer one, of longer records", 200, 400},
    {"one of records as long", 0, 0},
};
static const struct version_row *version;

static void rewrite_value(MDB_cursor *cursor, MDB_val *k, const MDB_val *v)
{
	char octets[512] = {0};
	bool drop = memchr(k->mv_data, 0, k->mv_size) == (char *)k->mv_data + k->mv_size - 1;
	size_t len = drop ? version->drop_len : version->record_len;
	memcpy(octets, v->mv_data, v->mv_size < sizeof(octets) ? v->mv_size : sizeof(octets));
	/* Its checksums are right, for it; for us they are not. */
	octets[0] = (char)(octets[0] ^ 1);
	MDB_val other = {len > 0 ? len : v->mv_size, octets};
	assert_int_equal(mdb_cursor_put(cursor, k, &other, MDB_CURRENT), 0);
}

static void rewrite(const char *path)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_cursor *cursor;
	MDB_val k, v;
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	assert_int_equal(mdb_cursor_open(txn, dbi, &cursor), 0);
	while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0)
		rewrite_value(cursor, &k, &v);
	mdb_cursor_close(cursor);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

/* Upgrade, and downgrade: one login builds it again, and nobody notices. */
static void test_other_version(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(version_rows) / sizeof(*version_rows); i++) {
		version = &version_rows[i];
		store_close(&f->store);
		assert_int_equal(fixture_environments(f, rewrite), 1);
		fixture_reopen(f, 0);
		f->notes[0] = 0;
		assert_string_equal(fixture_listing(f, "alice"), want);
		if (strstr(f->notes, "; set aside") == NULL)
			fail_msg("%s: %s", version->sentence, f->notes);
		faults.scans = faults.writes = 0;
		fixture_reopen(f, 0);
		assert_string_equal(fixture_listing(f, "alice"), want);
		assert_int_equal(faults.scans + faults.writes, 0);
	}
}

static void die_reading(struct fixture *f)
{
	/* As if LMDB had touched a page that is not there. */
	struct rlimit no_core = {0};
	setrlimit(RLIMIT_CORE, &no_core);
	faults.die_reading = 1;
	session(f);
}

static void test_death_is_noticed(void **state)
{
	struct fixture *f = *state;
	int status = fixture_fork(f, die_reading);
	assert_true(WIFSIGNALED(status));
	f->notes[0] = 0;
	assert_string_equal(fixture_listing(f, "alice"), want);
	assert_non_null(strstr(f->notes, "a process died reading it; set aside"));
	f->notes[0] = 0;
	fixture_reopen(f, 0);
	assert_string_equal(fixture_listing(f, "alice"), want);
	assert_string_equal(f->notes, "");
}

static void hold_and_die(struct fixture *f)
{
	fixture_open(f, "alice");
	kill(getpid(), SIGKILL);
}

/* Killed in the middle of a session, but not inside LMDB: nothing is set aside, no lock is left. */
static void test_kill_is_harmless(void **state)
{
	struct fixture *f = *state;
	assert_true(WIFSIGNALED(fixture_fork(f, hold_and_die)));
	faults.scans = 0;
	assert_string_equal(fixture_listing(f, "alice"), want);
	assert_int_equal(faults.scans, 0);
	assert_string_equal(f->notes, "");
}

static void test_other_boot(void **state)
{
	struct fixture *f = *state;
	faults.scans = 0;
	fixture_reopen(f, 0);
	fixture_listing(f, "alice");
	assert_int_equal(faults.scans, 0);
	f->boot_id = "another";
	fixture_reopen(f, 0);
	assert_int_equal(fixture_environments(f, NULL), 0);
	assert_string_equal(fixture_listing(f, "alice"), want);
	assert_int_equal(faults.scans, 2);
	fixture_reopen(f, 0);
	assert_string_equal(fixture_listing(f, "alice"), want);
	assert_int_equal(faults.scans, 2);
}

/* Set aside by one process while a session of another goes on. */
static void test_set_aside_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct maildrop *m = fixture_open(f, "alice");
	assert_int_equal(fixture_environments(f, remove_it), 1);
	fixture_maildir(f, "bob");
	assert_string_equal(fixture_list(m), want);
	assert_int_equal(maildrop_expunge(m, (const uint8_t[]){1}, 1, &(uint32_t){0}), MAILDROP_OK);
	maildrop_close(&m);
	assert_string_equal(fixture_listing(f, "alice"), strchr(want, '\n') + 1);
	assert_int_equal(fixture_environments(f, NULL), 1);
}

static const int commit_errors[] = {ENOSPC, EIO, EDQUOT, EROFS};

static void test_commit_fails(void **state)
{
	struct fixture *f = *state;
	fixture_maildir(f, "bob");
	for (size_t i = 0; i < sizeof(commit_errors) / sizeof(*commit_errors); i++) {
		char path[64];
		snprintf(path, sizeof(path), "bob/Maildir/new/%zu.a", i);
		fixture_write(f, path, "x\n");
		faults.commit_errno = commit_errors[i];
		struct maildrop *m = fixture_open(f, "bob");
		assert_int_equal(maildrop_count(m), i + 1);
		assert_non_null(strstr(fixture_list(m), ".a\n"));
		int rc;
		assert_string_equal(fixture_fetch(m, (uint32_t)i, &rc), "x\n");
		maildrop_close(&m);
		faults.commit_errno = 0;
		m = fixture_open(f, "bob");
		assert_int_equal(maildrop_count(m), i + 1);
		maildrop_close(&m);
	}
	assert_string_equal(fixture_listing(f, "alice"), want);
}

static void test_no_index_dir(void **state)
{
	struct fixture *f = *state;
	char path[128];
	store_close(&f->store);
	snprintf(path, sizeof(path), "%s/index", f->dir);
	fixture_remove(path);
	fixture_reopen(f, 0);
	assert_non_null(strstr(f->notes, "no index"));
	assert_string_equal(fixture_listing(f, "alice"), want);
}

/* A map of a few pages must grow, in this process and under another's eyes. */
static void test_map_grows(void **state)
{
	struct fixture *f = *state;
	store_close(&f->store);
	fixture_environments(f, remove_it);
	fixture_reopen(f, 16384);
	assert_string_equal(fixture_listing(f, "alice"), want);
	char path[128];
	for (int i = 0; i < 2000; i++) {
		snprintf(path, sizeof(path), "alice/Maildir/new/18%d.%040d", i, i);
		fixture_write(f, path, "x\n");
	}
	struct fixture other = *f;
	other.store = NULL;
	fixture_reopen(&other, 16384);
	assert_string_equal(fixture_listing(&other, "alice"), fixture_listing(f, "alice"));
	for (int i = 0; i < 4000; i++) {
		snprintf(path, sizeof(path), "alice/Maildir/new/19%d.%040d", i, i);
		fixture_write(f, path, "x\n");
	}
	struct maildrop *m = fixture_open(f, "alice");
	assert_int_equal(maildrop_count(m), MESSAGES_COUNT + 6000);
	maildrop_close(&m);
	faults.scans = 0;
	m = fixture_open(&other, "alice");
	assert_int_equal(maildrop_count(m), MESSAGES_COUNT + 6000);
	assert_int_equal(faults.scans, 0);
	maildrop_close(&m);
	store_close(&other.store);
}

static off_t stopped_octet;
static int stopped_fd;

/* What a process that was stopped in the middle of its work holds. */
static void hold_lock(const char *path)
{
	char use[256];
	snprintf(use, sizeof(use), "%.*s.use", (int)(strlen(path) - 4), path);
	stopped_fd = open(use, O_RDWR | O_CLOEXEC);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = stopped_octet, .l_len = 1};
	assert_int_equal(fcntl(stopped_fd, F_OFD_SETLK, &lock), 0);
}

static void test_stopped_process(void **state)
{
	struct fixture *f = *state;
	fixture_write(f, "alice/Maildir/new/1800.a", "x\n");
	strcat(want, "3 1800.a\n");
	for (stopped_octet = 0; stopped_octet < 2; stopped_octet++) {
		fixture_environments(f, hold_lock);
		fixture_reopen(f, 0);
		f->notes[0] = 0;
		alarm(5);
		assert_string_equal(fixture_listing(f, "alice"), want);
		alarm(0);
		assert_non_null(strstr(f->notes, "index"));
		close(stopped_fd);
		assert_int_equal(fixture_environments(f, NULL), 1);
	}
	fixture_reopen(f, 0);
	f->notes[0] = 0;
	assert_string_equal(fixture_listing(f, "alice"), want);
	assert_string_equal(f->notes, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_damage, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_flips, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_cuts, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_other_version, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_death_is_noticed, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_kill_is_harmless, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_other_boot, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_set_aside_meanwhile, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_commit_fails, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_no_index_dir, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_stopped_process, setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_map_grows, setup, fixture_teardown),
	};
	return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
