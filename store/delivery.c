/* SPDX-License-Identifier: ISC */
/*
 * delivery: one message into a Maildir: written under tmp/, synced, then moved to new/ in one step.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "beneath.h"
#include "maildrop.h"
#include "mbox.h"
#include "store.h"

#define NAME_TRIES_COUNT 8
#define BUFFER_OCTETS 65536u

struct delivery {
	struct mbox_delivery *mbox;                /* NULL: into a Maildir */
	int tmp, new;                              /* directories */
	int fd;                                    /* -1: ended */
	char name[MAILDROP_UIDL_OCTETS + 1];       /* under tmp/ */
	char final[MAILDROP_UIDL_OCTETS + 1 + 24]; /* under new/: with its length, as Maildir++ has it */
	uint64_t octets;
	size_t len;
	bool failed;
	uint8_t buffer[BUFFER_OCTETS];
};

/* As root: whoever owns the directory above owns what is in it. */
static int give_to_owner_of(int dir, int fd)
{
	struct stat st;
	if (geteuid() != 0)
		return 0;
	return fstat(dir, &st) != 0 ? -1 : fchown(fd, st.st_uid, st.st_gid);
}

/* Opens a directory, making it when it is missing. -1 and errno. */
static int make_dir(int parent, const char *name)
{
	int fd = beneath_open(parent, name, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	bool made = mkdirat(parent, name, 0700) == 0;
	if (!made && errno != EEXIST)
		return -1;
	fd = beneath_open(parent, name, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0 && made && (give_to_owner_of(parent, fd) != 0 || fsync(parent) != 0)) {
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* Walks path from root, making what is missing. -1 and errno. */
static int make_path(int root, const char *path)
{
	char copy[PATH_MAX];
	if (strlen(path) >= sizeof(copy)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(copy, path);
	int dir = fcntl(root, F_DUPFD_CLOEXEC, 0);
	char *rest = copy;
	for (char *name; dir >= 0 && (name = strsep(&rest, "/")) != NULL;) {
		if (*name == 0)
			continue;
		int next = make_dir(dir, name);
		int error = errno;
		close(dir);
		errno = error;
		dir = next;
	}
	return dir;
}

/* Our host's name, of characters that every Maildir program leaves alone. */
static void host_name(char *host_r, size_t size)
{
	if (gethostname(host_r, size) != 0)
		snprintf(host_r, size, "localhost");
	host_r[size - 1] = 0;
	for (char *p = host_r; *p != 0; p++)
		if (*p <= 0x20 || *p >= 0x7f || *p == '/' || *p == ':' || *p == ',')
			*p = '_';
}

/*
 * Unique on this host as long as its clock does not go back; cut to what can be a UIDL. The microseconds have
 * all their digits, because messages of one second are listed in the order of their names.
 */
static void make_name(char name_r[MAILDROP_UIDL_OCTETS + 1])
{
	static atomic_uint counter;
	struct timespec now;
	char host[HOST_NAME_MAX + 1];
	clock_gettime(CLOCK_REALTIME, &now);
	host_name(host, sizeof(host));
	int len = snprintf(name_r, MAILDROP_UIDL_OCTETS + 1, "%lld.M%06ldP%dQ%u.", (long long)now.tv_sec,
	    now.tv_nsec / 1000, (int)getpid(), atomic_fetch_add(&counter, 1) + 1);
	size_t room = MAILDROP_UIDL_OCTETS - (size_t)len;
	snprintf(name_r + len, room + 1, "%.*s", (int)room, host);
}

static int open_file(struct delivery *delivery)
{
	for (int tries = 0; tries < NAME_TRIES_COUNT; tries++) {
		make_name(delivery->name);
		delivery->fd = beneath_open(delivery->tmp, delivery->name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		if (delivery->fd >= 0 || errno != EEXIST)
			break;
	}
	return delivery->fd < 0 ? -1 : give_to_owner_of(delivery->tmp, delivery->fd);
}

static int begin(struct delivery *delivery, int root, const char *path)
{
	int maildir = make_path(root, path);
	if (maildir < 0)
		return -1;
	delivery->tmp = make_dir(maildir, "tmp");
	if (delivery->tmp >= 0)
		delivery->new = make_dir(maildir, "new");
	/* Nothing is put there, but without it this is no Maildir to others. */
	int cur = delivery->new < 0 ? -1 : make_dir(maildir, "cur");
	int error = errno;
	close(maildir);
	if (cur >= 0)
		close(cur);
	errno = error;
	return cur < 0 ? -1 : open_file(delivery);
}

/* The directories above the file are made as those of a Maildir are. */
static int begin_mbox(struct delivery *delivery, struct store *store, const struct maildrop_place *place)
{
	char above[PATH_MAX];
	const char *slash = strrchr(place->path, '/');
	size_t len = slash == NULL ? 0 : (size_t)(slash - place->path);
	if (len >= sizeof(above))
		return MAILDROP_PERM;
	memcpy(above, place->path, len);
	above[len] = 0;
	int dir = make_path(store->root, above);
	if (dir < 0) {
		store_note(store, "%s: cannot deliver: %s", place->path, strerror(errno));
		return beneath_error(errno) == MAILDROP_PERM ? MAILDROP_PERM : MAILDROP_TEMP;
	}
	close(dir);
	return mbox_delivery_begin(store, place, &delivery->mbox);
}

int delivery_begin(struct store *store, const struct maildrop_place *place, struct delivery **delivery_r)
{
	*delivery_r = NULL;
	struct delivery *delivery = malloc(sizeof(*delivery));
	if (delivery == NULL)
		return MAILDROP_TEMP;
	delivery->mbox = NULL;
	delivery->tmp = delivery->new = delivery->fd = -1;
	delivery->len = 0;
	delivery->octets = 0;
	delivery->failed = false;
	if (place->format == MAILDROP_MBOX) {
		int rc = begin_mbox(delivery, store, place);
		if (rc != MAILDROP_OK)
			delivery_abort(&delivery);
		*delivery_r = delivery;
		return rc;
	}
	if (begin(delivery, store->root, place->path) != 0) {
		int error = errno;
		store_note(store, "%s: cannot deliver: %s", place->path, strerror(error));
		delivery_abort(&delivery);
		int rc = beneath_error(error);
		return rc == MAILDROP_PERM ? rc : MAILDROP_TEMP;
	}
	*delivery_r = delivery;
	return MAILDROP_OK;
}

static void write_out(struct delivery *delivery, const uint8_t *p, size_t len)
{
	while (len > 0 && !delivery->failed) {
		ssize_t put = write(delivery->fd, p, len);
		if (put < 0 && errno == EINTR)
			continue;
		delivery->failed = put <= 0;
		if (put > 0) {
			p += put;
			len -= (size_t)put;
		}
	}
}

int delivery_write(struct delivery *delivery, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	if (delivery->mbox != NULL)
		return mbox_delivery_write(delivery->mbox, buf, len);
	delivery->octets += len;
	if (len == 0)
		return delivery->failed ? MAILDROP_TEMP : MAILDROP_OK;
	if (len > BUFFER_OCTETS - delivery->len) {
		write_out(delivery, delivery->buffer, delivery->len);
		delivery->len = 0;
	}
	if (len > BUFFER_OCTETS) {
		write_out(delivery, p, len);
	} else {
		memcpy(delivery->buffer + delivery->len, p, len);
		delivery->len += len;
	}
	return delivery->failed ? MAILDROP_TEMP : MAILDROP_OK;
}

/* Never over an existing file. Some file servers know only the older way. */
static int move_to_new(const struct delivery *delivery)
{
	if (renameat2(delivery->tmp, delivery->name, delivery->new, delivery->final, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (linkat(delivery->tmp, delivery->name, delivery->new, delivery->final, 0) != 0)
		return -1;
	unlinkat(delivery->tmp, delivery->name, 0);
	return 0;
}

static int commit(struct delivery *delivery)
{
	write_out(delivery, delivery->buffer, delivery->len);
	/* Whoever counts need not look at the file. */
	snprintf(delivery->final, sizeof(delivery->final), "%s,S=%" PRIu64, delivery->name, delivery->octets);
	if (delivery->failed || fsync(delivery->fd) != 0 || move_to_new(delivery) != 0)
		return MAILDROP_TEMP;
	if (fsync(delivery->new) == 0)
		return MAILDROP_OK;
	/* Whoever gave us the message will try again: take this one back. */
	unlinkat(delivery->new, delivery->final, 0);
	return MAILDROP_TEMP;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

int delivery_commit(struct delivery **delivery)
{
	int rc = (*delivery)->mbox != NULL ? mbox_delivery_commit(&(*delivery)->mbox) : commit(*delivery);
	int error = errno;
	delivery_abort(delivery);
	errno = error;
	return rc;
}

void delivery_abort(struct delivery **delivery)
{
	struct delivery *gone = *delivery;
	*delivery = NULL;
	if (gone == NULL)
		return;
	mbox_delivery_abort(&gone->mbox);
	/* After a commit there is nothing under this name in tmp/ any more. */
	if (gone->fd >= 0)
		unlinkat(gone->tmp, gone->name, 0);
	close_fd(gone->fd);
	close_fd(gone->new);
	close_fd(gone->tmp);
	free(gone);
}
