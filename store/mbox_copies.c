/* SPDX-License-Identifier: ISC */
#include "mbox_copies.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "maildrop.h"

#define SEEN_SIZE 256u
#define BUFFER_OCTETS 16384u

/* A digest's first octets are as good as a hash of it. */
struct copies_seen {
	uint64_t key; /* 0: free */
	uint32_t highest;
};

static int compare(const void *a, const void *b)
{
	return mbox_id_compare(a, b);
}

static bool add_gone(struct mbox_copies *copies, size_t *size, const struct mbox_id *id)
{
	if (copies->gone_count == *size) {
		size_t larger = *size == 0 ? 16 : *size * 2;
		struct mbox_id *gone = reallocarray(copies->gone, larger, sizeof(*gone));
		if (gone == NULL)
			return false;
		copies->gone = gone;
		*size = larger;
	}
	copies->gone[copies->gone_count++] = *id;
	return true;
}

/* Whole lines; one that makes no sense, as a crash may leave it, counts for nothing. Returns what is left. */
static size_t take_lines(struct mbox_copies *copies, size_t *size, char *text, size_t len, bool *failed)
{
	char *from = text;
	char *lf;
	while ((lf = memchr(from, '\n', len - (size_t)(from - text))) != NULL) {
		struct mbox_id id;
		/* An ordinal of 1 is written, too. */
		size_t line = (size_t)(lf - from);
		if (line > 2 && memcmp(lf - 2, ".1", 2) == 0 && line == 2 * MBOX_DIGEST_OCTETS + 2)
			line -= 2;
		if (mbox_id_parse(from, line, &id) && copies->gone_count < COPIES_COUNT &&
		    !add_gone(copies, size, &id))
			*failed = true;
		from = lf + 1;
	}
	size_t left = len - (size_t)(from - text);
	memmove(text, from, left);
	return left;
}

static int read_gone(struct mbox_copies *copies, int fd)
{
	char text[BUFFER_OCTETS];
	size_t len = 0;
	size_t size = 0;
	bool failed = false;
	for (;;) {
		ssize_t got = read(fd, text + len, sizeof(text) - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || failed)
			return MAILDROP_TEMP;
		if (got == 0)
			return MAILDROP_OK;
		len = take_lines(copies, &size, text, len + (size_t)got, &failed);
		if (len == sizeof(text))
			len = 0;
	}
}

int mbox_copies_load(struct mbox_copies *copies, int home)
{
	struct stat st;
	*copies = (struct mbox_copies){0};
	int fd = beneath_open(home, COPIES_NAME, O_RDONLY, 0);
	if (fd < 0)
		return errno == ENOENT ? MAILDROP_OK : beneath_error(errno);
	int rc = fstat(fd, &st) != 0 ? MAILDROP_TEMP : MAILDROP_OK;
	if (rc == MAILDROP_OK)
		rc = S_ISREG(st.st_mode) ? read_gone(copies, fd) : MAILDROP_PERM;
	close(fd);
	if (copies->gone_count > 1)
		qsort(copies->gone, copies->gone_count, sizeof(*copies->gone), compare);
	return rc;
}

void mbox_copies_clear(struct mbox_copies *copies)
{
	free(copies->gone);
	free(copies->seen);
	*copies = (struct mbox_copies){0};
}

static uint64_t key_of(const struct mbox_id *id)
{
	uint64_t key;
	memcpy(&key, id->digest, sizeof(key));
	return key == 0 ? 1 : key;
}

static struct copies_seen *find(struct copies_seen *seen, size_t size, uint64_t key)
{
	size_t at = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (size - 1);
	while (seen[at].key != 0 && seen[at].key != key)
		at = (at + 1) & (size - 1);
	return &seen[at];
}

static bool grow(struct mbox_copies *copies)
{
	size_t size = copies->seen_size == 0 ? SEEN_SIZE : copies->seen_size * 2;
	struct copies_seen *seen = calloc(size, sizeof(*seen));
	if (seen == NULL)
		return false;
	for (size_t i = 0; i < copies->seen_size; i++)
		if (copies->seen[i].key != 0)
			*find(seen, size, copies->seen[i].key) = copies->seen[i];
	free(copies->seen);
	copies->seen = seen;
	copies->seen_size = size;
	return true;
}

static bool is_gone(const struct mbox_copies *copies, const struct mbox_id *id)
{
	return copies->gone_count > 0 &&
	       bsearch(id, copies->gone, copies->gone_count, sizeof(*id), compare) != NULL;
}

bool mbox_copies_next(struct mbox_copies *copies, struct mbox_id *id)
{
	if (copies->seen_count >= copies->seen_size / 4 * 3 && !grow(copies))
		return false;
	struct copies_seen *seen = find(copies->seen, copies->seen_size, key_of(id));
	if (seen->key == 0) {
		seen->key = key_of(id);
		copies->seen_count++;
	}
	id->ordinal = seen->highest;
	do
		id->ordinal++;
	while (is_gone(copies, id));
	seen->highest = id->ordinal;
	return true;
}

uint32_t mbox_copies_highest(const struct mbox_copies *copies, const struct mbox_id *id)
{
	return copies->seen_size == 0 ? 0 : find(copies->seen, copies->seen_size, key_of(id))->highest;
}

static bool write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t put = write(fd, text, len);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		text += put;
		len -= (size_t)put;
	}
	return true;
}

static bool append(int fd, const struct mbox_copies *copies, const struct mbox_id *ids, size_t count)
{
	char text[BUFFER_OCTETS];
	/* What a crash left of a line ends here. */
	size_t len = 0;
	text[len++] = '\n';
	for (size_t i = 0; i < count; i++) {
		if (is_gone(copies, &ids[i]))
			continue;
		if (sizeof(text) - len < MBOX_NAME_SIZE + 3) {
			if (!write_all(fd, text, len))
				return false;
			len = 0;
		}
		len += mbox_id_name(&ids[i], text + len);
		if (ids[i].ordinal == 1) {
			text[len++] = '.';
			text[len++] = '1';
		}
		text[len++] = '\n';
	}
	return write_all(fd, text, len);
}

bool mbox_copies_remember(int home, const struct mbox_copies *copies, const struct mbox_id *ids, size_t count)
{
	if (count == 0)
		return true;
	int fd = beneath_open(home, COPIES_NAME, O_WRONLY | O_APPEND | O_CREAT, 0600);
	if (fd < 0)
		return false;
	bool done = append(fd, copies, ids, count) && fsync(fd) == 0 && fsync(home) == 0;
	int error = errno;
	close(fd);
	errno = error;
	return done;
}
