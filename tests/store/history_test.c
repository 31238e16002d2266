/* SPDX-License-Identifier: ISC */
/*
 * What a client remembers, over any history: random sequences of deliveries, renames, removals, copies,
 * sessions, processes killed, indexes lost, damaged, restored from a backup, and Maildirs moved to another
 * host. A model knows each message by its file; after each session it compares what it has seen of its UIDL.
 *
 * KPOPD_HISTORY_COUNT is the number of histories (each from a seed of its own), KPOPD_HISTORY_SEED the first
 * seed.
 */
#include "tests/store/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lmdb.h>

#include "store/snapshot.h"
#include "tests/store/faults.h"

#define HISTORIES_COUNT 12
#define STEPS_COUNT 60
#define FILES_COUNT 512
#define LOOK_TRIES_COUNT 4

/* One message. Copies of one content under one unique part cannot be told apart by anybody: they are of one
 * kind. */
struct file {
	bool alive;
	int kind;
	ino_t inode;
	char part[4], name[128], unique[64];
	char content[256], uidl[MAILDROP_UIDL_OCTETS + 1];
};

struct sight {
	char uidl[MAILDROP_UIDL_OCTETS + 1];
	int kind;
};

struct number {
	uint64_t generation;
	uint32_t uid;
	int kind;
};

/* What has happened; shared with processes of our own, which may die of what lies in the index. */
struct world {
	struct file files[FILES_COUNT];
	struct sight sights[4 * FILES_COUNT];
	struct number numbers[16 * FILES_COUNT];
	unsigned file_count, sight_count, number_count, kinds;
	bool dirty;   /* a name was shared or used anew since the last session */
	bool unknown; /* the index knows nothing for sure until the next session */
	bool damaged; /* the index may kill its reader */
};

static struct fixture *f;
static struct world *world;
static unsigned seed, step, boots, backups;
static time_t now;
static bool in_child, backup_damaged;
static const char *doing;
static int calls_left; /* of a session that is going to die */

#define EXIT_WRONG 99

#define CHECK(condition, ...)                                                               \
	do {                                                                                \
		if (!(condition)) {                                                         \
			print_error("seed %u, step %u, after \"%s\": ", seed, step, doing); \
			if (in_child) {                                                     \
				print_error(__VA_ARGS__);                                   \
				_exit(EXIT_WRONG);                                          \
			}                                                                   \
			fail_msg(__VA_ARGS__);                                              \
		}                                                                           \
	} while (0)

static unsigned chance(unsigned count)
{
	return (unsigned)rand() % count;
}

static void path_of(const struct file *file, char *path_r)
{
	snprintf(path_r, 256, "alice/Maildir/%s/%s", file->part, file->name);
}

/* Writes the file anew, under its name; each file is a little younger than the one before. */
static void put(struct file *file)
{
	char path[256];
	struct stat st;
	path_of(file, path);
	fixture_write(f, "alice/Maildir/tmp/x", file->content);
	const struct timespec times[2] = {{.tv_sec = now}, {.tv_sec = now}};
	now++;
	assert_int_equal(utimensat(f->root, "alice/Maildir/tmp/x", times, 0), 0);
	assert_int_equal(renameat(f->root, "alice/Maildir/tmp/x", f->root, path), 0);
	assert_int_equal(fstatat(f->root, path, &st, 0), 0);
	file->inode = st.st_ino;
	file->alive = true;
}

static struct file *new_file(void)
{
	if (world->file_count == FILES_COUNT)
		return NULL;
	struct file *file = &world->files[world->file_count++];
	*file = (struct file){.kind = (int)++world->kinds};
	return file;
}

static void new_content(struct file *file)
{
	int len = snprintf(file->content, sizeof(file->content), "token %u\n", world->file_count);
	for (unsigned i = chance(40); i > 0; i--)
		len += snprintf(
		    file->content + len, sizeof(file->content) - (size_t)len, "%s", chance(2) ? ".\n" : "ab");
}

static struct file *any_file(void)
{
	unsigned first = chance(FILES_COUNT);
	for (unsigned i = 0; i < world->file_count; i++)
		if (world->files[(first + i) % world->file_count].alive)
			return &world->files[(first + i) % world->file_count];
	return NULL;
}

static void set_flags(struct file *file)
{
	static const char *const flags[] = {"", ",S=12", ":2,", ":2,S", ":2,RS", ",S=12:2,S", ",W=7:2,F"};
	strcpy(file->name, file->unique);
	strcat(file->name, flags[chance(7)]);
}

static bool name_free(const struct file *wanted)
{
	for (unsigned i = 0; i < world->file_count; i++)
		if (&world->files[i] != wanted && world->files[i].alive &&
		    strcmp(world->files[i].part, wanted->part) == 0 &&
		    strcmp(world->files[i].name, wanted->name) == 0)
			return false;
	return true;
}

/* ---- a session, and what must be so ---- */

struct seen {
	char uidl[MAILDROP_UIDL_OCTETS + 1];
	uint64_t octets;
	uint32_t uid;
	struct file *file;
};
static struct seen seen[FILES_COUNT], sorted[FILES_COUNT];

static int keep(void *arg, uint32_t idx, const struct maildrop_entry *entry)
{
	(void)arg;
	strcpy(seen[idx].uidl, entry->uidl);
	seen[idx].octets = entry->octets;
	seen[idx].uid = entry->uid;
	return 0;
}

static uint64_t octets_of(const char *content)
{
	uint64_t octets = strlen(content);
	for (const char *at = content; (at = strchr(at, '\n')) != NULL; at++)
		octets++;
	return octets + (octets > 0 && content[strlen(content) - 1] != '\n' ? 2 : 0);
}

/* Which file this is; false: the store has noticed itself that it was another one. */
static bool identify(struct maildrop *m, uint32_t idx)
{
	struct maildrop_message message;
	struct stat st;
	char text[256] = "";
	int rc = maildrop_fetch(m, idx, &message);
	if (rc == MAILDROP_TEMP)
		return false;
	CHECK(rc == MAILDROP_OK, "message %u cannot be read: %d", idx, rc);
	assert_int_equal(fstat(message.fd, &st), 0);
	assert_true(pread(message.fd, text, sizeof(text) - 1, 0) >= 0);
	close(message.fd);
	seen[idx].file = NULL;
	for (unsigned i = 0; i < world->file_count; i++)
		if (world->files[i].alive && world->files[i].inode == st.st_ino &&
		    strcmp(world->files[i].content, text) == 0)
			seen[idx].file = &world->files[i];
	CHECK(seen[idx].file != NULL, "message %u is none of ours: %s", idx, text);
	CHECK(seen[idx].octets == octets_of(text), "message %u has %llu octets", idx,
	    (unsigned long long)seen[idx].octets);
	return true;
}

static bool unlike_any(const struct file *file)
{
	for (unsigned i = 0; i < world->file_count; i++)
		if (&world->files[i] != file && world->files[i].kind == file->kind)
			return false;
	return true;
}

static void check_uidl(const struct seen *one)
{
	struct file *file = one->file;
	unsigned i = 0;
	while (i < world->sight_count && strcmp(world->sights[i].uidl, one->uidl) != 0)
		i++;
	if (i == world->sight_count && world->sight_count < sizeof(world->sights) / sizeof(*world->sights)) {
		strcpy(world->sights[i].uidl, one->uidl);
		world->sights[i].kind = file->kind;
		world->sight_count++;
	}
	CHECK(i == sizeof(world->sights) / sizeof(*world->sights) || world->sights[i].kind == file->kind,
	    "%s/%s has the UIDL of another: %s", file->part, file->name, one->uidl);
	CHECK(file->uidl[0] == 0 || strcmp(file->uidl, one->uidl) == 0 || !unlike_any(file),
	    "%s/%s had UIDL %s, has %s", file->part, file->name, file->uidl, one->uidl);
	strcpy(file->uidl, one->uidl);
}

static void check_number(const struct maildrop *m, const struct seen *one)
{
	for (unsigned i = 0; i < world->number_count; i++) {
		if (world->numbers[i].generation != m->drop.generation || world->numbers[i].uid != one->uid)
			continue;
		CHECK(
		    world->numbers[i].kind == one->file->kind, "UID %u stands for another message", one->uid);
		return;
	}
	if (world->number_count < sizeof(world->numbers) / sizeof(*world->numbers))
		world->numbers[world->number_count++] =
		    (struct number){m->drop.generation, one->uid, one->file->kind};
}

static int by_uidl(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->uidl, ((const struct seen *)b)->uidl);
}

static bool check_session(struct maildrop *m)
{
	uint32_t count = maildrop_count(m);
	uint32_t alive = 0;
	for (unsigned i = 0; i < world->file_count; i++)
		alive += world->files[i].alive;
	CHECK(count == alive, "%u messages, not %u", count, alive);
	/* So it is told when the index turns out to be damaged. */
	if (maildrop_list(m, 0, UINT32_MAX, keep, NULL) != MAILDROP_OK)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		if (!identify(m, i))
			return false;
		CHECK(i == 0 || seen[i].uid > seen[i - 1].uid, "UID %u behind %u", seen[i].uid,
		    seen[i - 1].uid);
	}
	for (uint32_t i = 0; i < count; i++) {
		check_uidl(&seen[i]);
		check_number(m, &seen[i]);
	}
	memcpy(sorted, seen, count * sizeof(*seen));
	qsort(sorted, count, sizeof(*sorted), by_uidl);
	for (uint32_t i = 1; i < count; i++)
		CHECK(strcmp(sorted[i - 1].uidl, sorted[i].uidl) != 0, "twice: %s", sorted[i].uidl);
	CHECK(m->indexed, "without an index");
	world->dirty = world->unknown = false;
	return true;
}

static struct maildrop *look(void)
{
	for (int tries = 0; tries < LOOK_TRIES_COUNT; tries++) {
		struct maildrop *m = fixture_open(f, "alice");
		if (check_session(m))
			return m;
		maildrop_close(&m);
	}
	CHECK(false, "no session is right");
	return NULL;
}

static void die_quietly(void)
{
	const struct rlimit no_core = {0};
	in_child = true;
	setrlimit(RLIMIT_CORE, &no_core);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	signal(SIGABRT, SIG_DFL);
	if (getenv("KPOPD_HISTORY_VERBOSE") == NULL)
		assert_non_null(freopen("/dev/null", "w", stderr));
	alarm(30);
}

static void (*step_in_child)(void);

static void child(struct fixture *fixture)
{
	(void)fixture;
	die_quietly();
	step_in_child();
}

/* What a process that died has removed is gone. */
static void count_alive(void)
{
	for (unsigned i = 0; i < world->file_count; i++) {
		char path[256];
		path_of(&world->files[i], path);
		world->files[i].alive = world->files[i].alive && fixture_exists(f, path);
	}
}

/* Where the index may kill its reader: in processes of our own, until one is right. */
static void survive(void (*fn)(void))
{
	if (!world->damaged) {
		fn();
		return;
	}
	step_in_child = fn;
	for (int tries = 0; tries < LOOK_TRIES_COUNT; tries++) {
		int status = fixture_fork(f, child);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			return;
		CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_WRONG, "wrong after damage");
		count_alive();
	}
	CHECK(false, "no session survives");
}

static void just_look(void)
{
	struct maildrop *m = look();
	maildrop_close(&m);
}

static void look_and_leave(void)
{
	survive(just_look);
}

/* Before something is lost that could not be known but from the index. */
static void look_if_dirty(void)
{
	if (world->dirty)
		look_and_leave();
	world->unknown = true;
}

/* Before something happens that could not be known but by the index. */
static void look_if_unknown(void)
{
	if (world->unknown)
		look_and_leave();
}

/* ---- what may happen ---- */

static void deliver(void)
{
	struct file *file = new_file();
	if (file == NULL)
		return;
	unsigned form = chance(10);
	const char *middle = form == 0 ? "_odd name_" : form == 1 ? ".\xc3\xa4." : ".M1P1.host.";
	snprintf(file->unique, sizeof(file->unique), "17%06u%s%u", chance(1000000), middle, world->kinds);
	strcpy(file->part, chance(3) ? "new" : "cur");
	set_flags(file);
	new_content(file);
	const struct file *other = any_file();
	if (chance(4) == 0 && other != NULL)
		strcpy(file->content, other->content);
	put(file);
}

static void copy_name(void)
{
	look_if_unknown();
	struct file *of = any_file();
	struct file *file = of == NULL ? NULL : new_file();
	if (file == NULL)
		return;
	strcpy(file->unique, of->unique);
	strcpy(file->part, chance(2) ? "new" : "cur");
	set_flags(file);
	if (chance(3) == 0)
		strcpy(file->content, of->content);
	else
		new_content(file);
	for (unsigned i = 0; i + 1 < world->file_count; i++)
		if (strcmp(world->files[i].unique, file->unique) == 0 &&
		    strcmp(world->files[i].content, file->content) == 0)
			file->kind = world->files[i].kind;
	if (!name_free(file)) {
		world->file_count--;
		return;
	}
	put(file);
	world->dirty = true;
}

static void rename_file(void)
{
	char from[256], to[256];
	struct file *file = any_file();
	if (file == NULL)
		return;
	struct file moved = *file;
	path_of(file, from);
	set_flags(&moved);
	strcpy(moved.part, "cur");
	for (unsigned i = 0; i < world->file_count; i++)
		if (world->files[i].alive && strcmp(world->files[i].part, "cur") == 0 &&
		    strcmp(world->files[i].name, moved.name) == 0)
			return;
	path_of(&moved, to);
	assert_int_equal(renameat(f->root, from, f->root, to), 0);
	*file = moved;
}

static void remove_by_others(void)
{
	char path[256];
	struct file *file = any_file();
	if (file == NULL)
		return;
	path_of(file, path);
	assert_int_equal(unlinkat(f->root, path, 0), 0);
	file->alive = false;
}

/* By a tool that writes anew what is there already. */
static void replace_by_same(void)
{
	struct file *file = any_file();
	if (file != NULL)
		put(file);
}

static void replace_by_another(void)
{
	look_if_unknown();
	struct file *of = any_file();
	struct file *file = of == NULL ? NULL : new_file();
	if (file == NULL)
		return;
	strcpy(file->unique, of->unique);
	strcpy(file->part, of->part);
	strcpy(file->name, of->name);
	new_content(file);
	of->alive = false;
	put(file);
	world->dirty = true;
}

static void remove_some(void)
{
	struct maildrop *m = look();
	uint8_t marks[FILES_COUNT / 8] = {0};
	uint32_t count = maildrop_count(m);
	uint32_t left;
	assert_int_equal(maildrop_list(m, 0, UINT32_MAX, keep, NULL), MAILDROP_OK);
	for (uint32_t i = 0; i < count; i++) {
		assert_true(identify(m, i));
		if (chance(6) != 0)
			continue;
		marks[i / 8] |= (uint8_t)(1u << (i % 8));
		seen[i].file->alive = false;
	}
	CHECK(maildrop_expunge(m, marks, (count + 7) / 8, &left) == MAILDROP_OK, "%u not removed", left);
	maildrop_close(&m);
}

/* Others rename while a session is open. */
static void session_with_renames(void)
{
	struct maildrop *m = look();
	for (unsigned i = chance(5); i > 0; i--)
		rename_file();
	uint32_t count = maildrop_count(m);
	for (uint32_t i = 0; i < count; i++)
		CHECK(identify(m, i), "message %u has changed", i);
	maildrop_close(&m);
}

static void quit(void)
{
	survive(remove_some);
}

static void rename_within(void)
{
	survive(session_with_renames);
}

/* ---- what may be lost ---- */

static void index_path(const char *name, char *path_r)
{
	snprintf(path_r, 256, "%s/%s", f->dir, name);
}

static void lose_index(void)
{
	char path[256];
	look_if_dirty();
	store_close(&f->store);
	index_path("index", path);
	fixture_remove(path);
	assert_int_equal(mkdir(path, 0700), 0);
	fixture_reopen(f, 0);
	world->damaged = false;
}

static void copy_file(const char *from, const char *to)
{
	char buf[65536];
	ssize_t got;
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(in >= 0 && out >= 0);
	while ((got = read(in, buf, sizeof(buf))) > 0)
		assert_int_equal(write(out, buf, (size_t)got), got);
	close(in);
	close(out);
}

static void copy_dir(const char *from, const char *to)
{
	fixture_remove(to);
	assert_int_equal(mkdir(to, 0700), 0);
	DIR *dir = opendir(from);
	assert_non_null(dir);
	const struct dirent *entry;
	while ((entry = readdir(dir)) != NULL) {
		char a[600], b[600];
		snprintf(a, sizeof(a), "%s/%s", from, entry->d_name);
		snprintf(b, sizeof(b), "%s/%s", to, entry->d_name);
		if (entry->d_name[0] != '.')
			copy_file(a, b);
	}
	closedir(dir);
}

static void back_up_index(void)
{
	char from[256], to[256];
	store_close(&f->store);
	index_path("index", from);
	index_path("backup", to);
	copy_dir(from, to);
	backups++;
	backup_damaged = world->damaged;
	fixture_reopen(f, 0);
}

/* Messages that came after the backup are new to it; those that share names must be known by kpopd.uidl. */
static void restore_index(void)
{
	char from[256], to[256];
	if (backups == 0)
		return;
	look_if_dirty();
	store_close(&f->store);
	index_path("backup", from);
	index_path("index", to);
	copy_dir(from, to);
	world->damaged = backup_damaged;
	fixture_reopen(f, 0);
}

static void cut_power(void)
{
	static char boot[32];
	look_if_dirty();
	snprintf(boot, sizeof(boot), "boot-%u", ++boots);
	f->boot_id = boot;
	fixture_reopen(f, 0);
	world->damaged = false;
}

static void flip(const char *path)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	for (unsigned i = 1 + chance(4); i > 0 && st.st_size > 0; i--) {
		unsigned char octet = (unsigned char)rand();
		assert_int_equal(pwrite(fd, &octet, 1, (off_t)(rand() % st.st_size)), 1);
	}
	close(fd);
	if (chance(4) == 0)
		assert_int_equal(truncate(path, st.st_size / 4096 * (int)chance(5) / 5 * 4096), 0);
}

static void damage_index(void)
{
	look_if_dirty();
	store_close(&f->store);
	fixture_environments(f, flip);
	fixture_reopen(f, 0);
	world->damaged = true;
}

static void age_records(const char *path)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	char octets[104] = "as another version would have it";
	char key[] = "alice";
	MDB_val k = {sizeof(key), key};
	MDB_val v = {sizeof(octets), octets};
	assert_int_equal(mdb_env_create(&env), 0);
	if (mdb_env_open(env, path, MDB_NOSUBDIR, 0600) == 0 && mdb_txn_begin(env, NULL, 0, &txn) == 0) {
		assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
		assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
		assert_int_equal(mdb_txn_commit(txn), 0);
	}
	mdb_env_close(env);
}

static void change_format(void)
{
	if (world->damaged)
		return;
	look_if_dirty();
	store_close(&f->store);
	fixture_environments(f, age_records);
	fixture_reopen(f, 0);
}

static void dying_session(struct fixture *fixture)
{
	struct maildrop *m;
	uint8_t marks[1] = {0};
	uint32_t left;
	die_quietly();
	faults.die_after = calls_left;
	if (maildrop_open(fixture->store, &(struct maildrop_place){.user = "alice", .path = "alice/Maildir"},
		&m) == MAILDROP_OK &&
	    maildrop_count(m) > 3) {
		marks[0] = (uint8_t)(1u << chance(4));
		maildrop_expunge(m, marks, 1, &left);
	}
}

/* Killed at some call within a login or a QUIT. What is gone then is gone. */
static void kill_session(void)
{
	look_if_dirty();
	calls_left = 1 + (int)chance(24);
	fixture_fork(f, dying_session);
	count_alive();
}

/* All files are other ones, in any order, of any time; only kpopd.uidl goes with them. */
static void move_host(void)
{
	char from[256], to[256];
	look_if_dirty();
	lose_index();
	assert_int_equal(renameat(f->root, "alice/Maildir", f->root, "alice/old"), 0);
	fixture_maildir(f, "alice");
	index_path("root/alice/old/kpopd.uidl", from);
	index_path("root/alice/Maildir/kpopd.uidl", to);
	if (access(from, F_OK) == 0)
		copy_file(from, to);
	unsigned first = chance(FILES_COUNT);
	for (unsigned i = 0; i < world->file_count; i++)
		if (world->files[(first + i) % world->file_count].alive)
			put(&world->files[(first + i) % world->file_count]);
	index_path("root/alice/old", from);
	fixture_remove(from);
}

static const struct event {
	const char *sentence;
	unsigned weight;
	void (*happen)(void);
} events[] = {
    {"a delivery", 24, deliver},
    {"a file with the same unique part", 6, copy_name},
    {"a rename", 12, rename_file},
    {"a removal by another program", 6, remove_by_others},
    {"a file written anew", 4, replace_by_same},
    {"another message under the same name", 4, replace_by_another},
    {"a session that removes", 10, quit},
    {"renames within a session", 4, rename_within},
    {"the loss of the index", 3, lose_index},
    {"a backup of the index", 4, back_up_index},
    {"an old index restored", 4, restore_index},
    {"a power cut", 2, cut_power},
    {"damage to the index", 3, damage_index},
    {"an index of another version", 2, change_format},
    {"a session killed", 5, kill_session},
    {"a move to another host", 3, move_host},
};
#define EVENTS_COUNT (sizeof(events) / sizeof(*events))

static const struct event *any_event(void)
{
	unsigned sum = 0;
	for (size_t i = 0; i < EVENTS_COUNT; i++)
		sum += events[i].weight;
	unsigned at = chance(sum);
	size_t i = 0;
	for (; at >= events[i].weight; i++)
		at -= events[i].weight;
	return &events[i];
}

static void run_history(void)
{
	void *state;
	fixture_setup(&state);
	f = state;
	fixture_maildir(f, "alice");
	memset(world, 0, sizeof(*world));
	backups = 0;
	now = 1600000000;
	srand(seed);
	for (step = 1; step <= STEPS_COUNT; step++) {
		const struct event *event = any_event();
		doing = event->sentence;
		if (getenv("KPOPD_HISTORY_VERBOSE") != NULL)
			print_message("# %u: %s\n", step, doing);
		f->notes[0] = 0;
		event->happen();
		if (chance(2) == 0)
			look_and_leave();
	}
	fixture_teardown(&state);
}

static unsigned number_of(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);
	return text == NULL ? otherwise : (unsigned)strtoul(text, NULL, 10);
}

static void test_histories(void **state)
{
	(void)state;
	unsigned first = number_of("KPOPD_HISTORY_SEED", 1);
	unsigned count = number_of("KPOPD_HISTORY_COUNT", HISTORIES_COUNT);
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(world != MAP_FAILED);
	print_message("# seeds %u to %u, %u steps each\n", first, first + count - 1, STEPS_COUNT);
	for (seed = first; seed < first + count; seed++)
		run_history();
	munmap(world, sizeof(*world));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_histories)};
	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
