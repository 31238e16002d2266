/* SPDX-License-Identifier: ISC */
#include "tests/store/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/store/faults.h"

static void take_note(void *arg, const char *text)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct fixture *fixture = arg;
	pthread_mutex_lock(&lock);
	size_t len = strlen(fixture->notes);
	fixture->notes_count++;
	snprintf(fixture->notes + len, sizeof(fixture->notes) - len, "%s\n", text);
	pthread_mutex_unlock(&lock);
}

void fixture_reopen(struct fixture *fixture, size_t map_octets)
{
	char index_dir[PATH_MAX];
	snprintf(index_dir, sizeof(index_dir), "%s/index", fixture->dir);
	store_close(&fixture->store);
	struct store_config config = {.mail_root = fixture->root,
	    .homes = fixture->homes,
	    .index_dir = fixture->indexed ? index_dir : NULL,
	    .index_map_octets = map_octets,
	    .boot_id = fixture->boot_id,
	    .note = take_note,
	    .note_arg = fixture};
	assert_int_equal(store_open(&fixture->store, &config), MAILDROP_OK);
}

static int setup(void **state, bool indexed)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	assert_non_null(fixture);
	snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/kpopd-store.XXXXXX");
	assert_non_null(mkdtemp(fixture->dir));
	int dir = open(fixture->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0 && mkdirat(dir, "root", 0700) == 0 && mkdirat(dir, "index", 0700) == 0);
	fixture->root = openat(dir, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fixture->root >= 0 && mkdirat(dir, "homes", 0700) == 0);
	fixture->homes = openat(dir, "homes", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fixture->homes >= 0);
	close(dir);
	fixture->indexed = indexed;
	faults = (struct faults){.clock_secs = 10};
	fixture_reopen(fixture, 0);
	fixture->notes_count = 0;
	fixture->notes[0] = 0;
	*state = fixture;
	return 0;
}

int fixture_setup(void **state)
{
	return setup(state, true);
}

int fixture_setup_unindexed(void **state)
{
	return setup(state, false);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void fixture_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;
	store_close(&fixture->store);
	close(fixture->root);
	close(fixture->homes);
	fixture_remove(fixture->dir);
	free(fixture);
	return 0;
}

void fixture_mkdir(struct fixture *fixture, const char *path)
{
	assert_true(mkdirat(fixture->root, path, 0700) == 0 || errno == EEXIST);
}

void fixture_maildir(struct fixture *fixture, const char *user)
{
	static const char *const parts[] = {"", "/Maildir", "/Maildir/tmp", "/Maildir/new", "/Maildir/cur"};
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		char path[PATH_MAX];
		snprintf(path, sizeof(path), "%s%s", user, parts[i]);
		fixture_mkdir(fixture, path);
	}
}

void fixture_write(struct fixture *fixture, const char *path, const char *text)
{
	int fd = openat(fixture->root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

bool fixture_exists(struct fixture *fixture, const char *path)
{
	struct stat st;
	return fstatat(fixture->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

struct maildrop *fixture_open(struct fixture *fixture, const char *user)
{
	char path[PATH_MAX];
	struct maildrop *maildrop;
	snprintf(path, sizeof(path), "%s/Maildir", user);
	assert_int_equal(
	    maildrop_open(fixture->store, &(struct maildrop_place){.user = user, .path = path}, &maildrop),
	    MAILDROP_OK);
	return maildrop;
}

struct listing {
	char *text;
	size_t len, size;
	uint32_t uid, idx;
};

static int list_one(void *arg, uint32_t idx, const struct maildrop_entry *entry)
{
	struct listing *listing = arg;
	assert_int_equal(idx, listing->idx++);
	assert_true(entry->uid > listing->uid);
	listing->uid = entry->uid;
	listing->len += (size_t)snprintf(listing->text + listing->len, listing->size - listing->len,
	    "%llu %s\n", (unsigned long long)entry->octets, entry->uidl);
	assert_true(listing->len < listing->size);
	return 0;
}

const char *fixture_list(struct maildrop *maildrop)
{
	static char text[1 << 20];
	struct listing listing = {.text = text, .size = sizeof(text)};
	text[0] = 0;
	assert_int_equal(maildrop_list(maildrop, 0, UINT32_MAX, list_one, &listing), MAILDROP_OK);
	assert_int_equal(listing.idx, maildrop_count(maildrop));
	return text;
}

const char *fixture_listing(struct fixture *fixture, const char *user)
{
	struct maildrop *maildrop = fixture_open(fixture, user);
	const char *text = fixture_list(maildrop);
	maildrop_close(&maildrop);
	return text;
}

const char *fixture_fetch(struct maildrop *maildrop, uint32_t idx, int *rc_r)
{
	static char text[65536];
	struct maildrop_message message;
	*rc_r = maildrop_fetch(maildrop, idx, &message);
	if (*rc_r != MAILDROP_OK)
		return NULL;
	assert_true(message.length < sizeof(text));
	assert_int_equal(
	    pread(message.fd, text, message.length, (off_t)message.offset), (ssize_t)message.length);
	text[message.length] = 0;
	close(message.fd);
	return text;
}

int fixture_fork(struct fixture *fixture, void (*fn)(struct fixture *fixture))
{
	store_close(&fixture->store);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fixture_reopen(fixture, 0);
		fn(fixture);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	fixture_reopen(fixture, 0);
	return status;
}

unsigned fixture_environments(struct fixture *fixture, void (*fn)(const char *path))
{
	unsigned count = 0;
	for (unsigned i = 0; i < 64; i++) {
		char path[PATH_MAX];
		snprintf(path, sizeof(path), "%s/index/%02u.mdb", fixture->dir, i);
		if (access(path, F_OK) != 0)
			continue;
		count++;
		if (fn != NULL)
			fn(path);
	}
	return count;
}
