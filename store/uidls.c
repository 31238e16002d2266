/* SPDX-License-Identifier: ISC */
#include "uidls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "sorter.h"
#include "uidl.h"
#include "uidls_line.h"

#define READ_OCTETS 32768u
#define GROUP_COUNT (1u << 17) /* lines of one unique part that are looked at */

/* ---- the file ---- */

static int open_file(const struct mailbox *mailbox, int *fd_r)
{
	struct stat st;
	*fd_r = -1;
	if (mailbox->home < 0)
		return MAILDROP_GONE;
	int fd = beneath_open(mailbox->home, UIDLS_NAME, O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return MAILDROP_GONE;
	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		fd = -1;
		errno = EINVAL;
	}
	if (fd < 0) {
		int error = errno;
		store_note(mailbox->store, UIDLS_NAME ": cannot be read: %s", strerror(error));
		/* What is no file is as good as none. One that we may not read must not be passed over. */
		if (error == ELOOP || error == EINVAL || error == ENXIO)
			return MAILDROP_GONE;
		return beneath_error(error) == MAILDROP_PERM ? MAILDROP_PERM : MAILDROP_TEMP;
	}
	*fd_r = fd;
	return MAILDROP_OK;
}

struct reader {
	uidls_fn *fn;
	void *arg;
	uint32_t count;
	bool damaged, stopped;
};

static void take_line(struct reader *reader, const char *text, size_t len)
{
	char name[RECORD_NAME_OCTETS];
	struct uidls_line line = {.order = ++reader->count};
	if (len == 0 || (len == sizeof(UIDLS_HEADER) - 2 && memcmp(text, UIDLS_HEADER, len) == 0))
		return;
	if (len > UIDLS_LINE_OCTETS || !uidls_line_parse(text, len, &line, name))
		reader->damaged = true;
	else
		reader->stopped = reader->fn(reader->arg, &line) != 0;
	if (reader->count == UIDLS_LINES_COUNT)
		reader->stopped = reader->damaged = true;
}

/* Takes whole lines from buf; returns what is left, moved to its beginning. */
static size_t take_lines(struct reader *reader, char *buf, size_t len)
{
	char *from = buf;
	char *end = buf + len;
	char *line_end;
	while (!reader->stopped && (line_end = memchr(from, '\n', (size_t)(end - from))) != NULL) {
		take_line(reader, from, (size_t)(line_end - from));
		from = line_end + 1;
	}
	size_t left = (size_t)(end - from);
	memmove(buf, from, left);
	return left;
}

static int read_lines(int fd, struct reader *reader)
{
	char buf[READ_OCTETS];
	size_t len = 0;
	bool skipping = false; /* within a line too long to be one */
	for (;;) {
		ssize_t got = read(fd, buf + len, sizeof(buf) - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return MAILDROP_TEMP;
		if (got == 0 || reader->stopped)
			break;
		len += (size_t)got;
		const char *line_end = skipping ? memchr(buf, '\n', len) : NULL;
		if (skipping && line_end == NULL) {
			len = 0;
			continue;
		}
		size_t skipped = line_end == NULL ? 0 : (size_t)(line_end + 1 - buf);
		memmove(buf, buf + skipped, len - skipped);
		len = take_lines(reader, buf, len - skipped);
		skipping = len > UIDLS_LINE_OCTETS;
		reader->damaged = reader->damaged || skipping;
		if (skipping)
			len = 0;
	}
	/* A last line without an end was cut, or is just being written. */
	reader->damaged = reader->damaged || len > 0;
	return MAILDROP_OK;
}

int uidls_read(const struct mailbox *mailbox, uidls_fn *fn, void *arg)
{
	struct reader reader = {.fn = fn, .arg = arg};
	int fd;
	int rc = open_file(mailbox, &fd);
	if (rc != MAILDROP_OK)
		return rc;
	rc = read_lines(fd, &reader);
	if (rc != MAILDROP_OK)
		store_note(mailbox->store, UIDLS_NAME ": cannot be read: %s", strerror(errno));
	else if (reader.damaged)
		store_note(mailbox->store, UIDLS_NAME ": some of it is damaged, and passed over");
	close(fd);
	return rc;
}

/* ---- all of it, sorted ---- */

/* A line in a sorter: this, the UIDL, the name. */
struct packed {
	uint32_t order;
	uint8_t kind, uidl_len, name_len, unique_len;
	uint8_t digest[CONTENT_DIGEST_OCTETS];
};

struct uidls {
	struct sorter *by_uidl, *by_unique;
	const struct packed *uidl;   /* where we are in by_uidl */
	const struct packed *unique; /* and in by_unique */
	struct uidls_line *lines;    /* the last unique part's */
	char *texts;
	size_t count, size;
	uint64_t *hashes; /* of what uidl_hash has made, as numbers, sorted */
	size_t hash_count, hash_size;
};

static const char *packed_uidl(const struct packed *packed)
{
	return (const char *)(packed + 1);
}

static const char *packed_name(const struct packed *packed)
{
	return packed_uidl(packed) + packed->uidl_len;
}

static int compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int by_uidl(const void *a_packed, const void *b_packed)
{
	const struct packed *a = a_packed;
	const struct packed *b = b_packed;
	int order = compare_text(packed_uidl(a), a->uidl_len, packed_uidl(b), b->uidl_len);
	return order != 0 ? order : (a->order > b->order) - (a->order < b->order);
}

static int by_unique(const void *a_packed, const void *b_packed)
{
	const struct packed *a = a_packed;
	const struct packed *b = b_packed;
	int order = compare_text(packed_name(a), a->unique_len, packed_name(b), b->unique_len);
	return order != 0 ? order : (a->order > b->order) - (a->order < b->order);
}

static bool add_hash(struct uidls *uidls, const struct uidls_line *line)
{
	uint64_t hash;
	if (!uidl_hash_number(line->uidl, line->uidl_len, &hash))
		return true;
	if (uidls->hash_count == uidls->hash_size) {
		size_t size = uidls->hash_size == 0 ? 64 : uidls->hash_size * 2;
		uint64_t *hashes = reallocarray(uidls->hashes, size, sizeof(*hashes));
		if (hashes == NULL)
			return false;
		uidls->hashes = hashes;
		uidls->hash_size = size;
	}
	uidls->hashes[uidls->hash_count++] = hash;
	return true;
}

static int add_line(void *arg, const struct uidls_line *line)
{
	struct uidls *uidls = arg;
	uint8_t item[sizeof(struct packed) + MAILDROP_UIDL_OCTETS + RECORD_NAME_OCTETS];
	struct packed packed = {.order = line->order,
	    .kind = (uint8_t)line->kind,
	    .uidl_len = line->uidl_len,
	    .name_len = line->name_len,
	    .unique_len = line->unique_len};
	memcpy(packed.digest, line->digest, CONTENT_DIGEST_OCTETS);
	memcpy(item, &packed, sizeof(packed));
	memcpy(item + sizeof(packed), line->uidl, line->uidl_len);
	memcpy(item + sizeof(packed) + line->uidl_len, line->name, line->name_len);
	return !sorter_add(uidls->by_uidl, item, sizeof(packed) + line->uidl_len + line->name_len) ||
	       !add_hash(uidls, line);
}

static int by_number(const void *a_number, const void *b_number)
{
	uint64_t a = *(const uint64_t *)a_number;
	uint64_t b = *(const uint64_t *)b_number;
	return (a > b) - (a < b);
}

/* Whose a UIDL is: the first one's to whom it was given. */
struct owner {
	bool any;
	uint8_t uidl_len, unique_len;
	char uidl[MAILDROP_UIDL_OCTETS], unique[RECORD_NAME_OCTETS];
	uint8_t digest[CONTENT_DIGEST_OCTETS]; /* all zero: no line has said */
};

/* Lines come in order of UIDL, then of their place in the file. */
static bool in_force(struct owner *owner, const struct packed *packed)
{
	const char *uidl = packed_uidl(packed);
	const char *name = packed_name(packed);
	if (!owner->any || compare_text(owner->uidl, owner->uidl_len, uidl, packed->uidl_len) != 0) {
		owner->any = true;
		owner->uidl_len = packed->uidl_len;
		owner->unique_len = packed->unique_len;
		memcpy(owner->uidl, uidl, packed->uidl_len);
		memcpy(owner->unique, name, packed->unique_len);
		memcpy(owner->digest, packed->digest, CONTENT_DIGEST_OCTETS);
		return true;
	}
	if (compare_text(owner->unique, owner->unique_len, name, packed->unique_len) != 0)
		return false;
	if (!digest_known(owner->digest))
		memcpy(owner->digest, packed->digest, CONTENT_DIGEST_OCTETS);
	return !digest_known(packed->digest) ||
	       memcmp(owner->digest, packed->digest, CONTENT_DIGEST_OCTETS) == 0;
}

static bool sort_lines(struct uidls *uidls)
{
	struct owner owner = {.any = false};
	const struct packed *packed;
	if (uidls->hash_count > 1)
		qsort(uidls->hashes, uidls->hash_count, sizeof(*uidls->hashes), by_number);
	if (!sorter_sort(uidls->by_uidl))
		return false;
	while ((packed = sorter_next(uidls->by_uidl)) != NULL)
		if (in_force(&owner, packed) && !sorter_add(uidls->by_unique, packed,
						    sizeof(*packed) + packed->uidl_len + packed->name_len))
			return false;
	if (sorter_failed(uidls->by_uidl) || !sorter_sort(uidls->by_uidl) || !sorter_sort(uidls->by_unique))
		return false;
	uidls->uidl = sorter_next(uidls->by_uidl);
	uidls->unique = sorter_next(uidls->by_unique);
	return true;
}

int uidls_load(const struct mailbox *mailbox, struct uidls **uidls_r)
{
	const struct index *index = mailbox->store->index;
	*uidls_r = NULL;
	struct uidls *uidls = calloc(1, sizeof(*uidls));
	if (uidls == NULL)
		return MAILDROP_TEMP;
	uidls->by_uidl = sorter_new(index, by_uidl);
	uidls->by_unique = sorter_new(index, by_unique);
	int rc = MAILDROP_TEMP;
	if (uidls->by_uidl != NULL && uidls->by_unique != NULL)
		rc = uidls_read(mailbox, add_line, uidls);
	if (rc == MAILDROP_OK && (sorter_failed(uidls->by_uidl) || !sort_lines(uidls)))
		rc = MAILDROP_TEMP;
	if (rc == MAILDROP_OK)
		*uidls_r = uidls;
	else
		uidls_free(&uidls);
	return rc == MAILDROP_GONE ? MAILDROP_OK : rc;
}

void uidls_free(struct uidls **uidls)
{
	struct uidls *gone = *uidls;
	*uidls = NULL;
	if (gone == NULL)
		return;
	sorter_free(&gone->by_uidl);
	sorter_free(&gone->by_unique);
	free(gone->lines);
	free(gone->texts);
	free(gone->hashes);
	free(gone);
}

#define TEXT_OCTETS (MAILDROP_UIDL_OCTETS + RECORD_NAME_OCTETS)

static bool keep_line(struct uidls *uidls, const struct packed *packed)
{
	if (uidls->count == uidls->size) {
		size_t size = uidls->size == 0 ? 4 : uidls->size * 2;
		struct uidls_line *lines = reallocarray(uidls->lines, size, sizeof(*lines));
		if (lines != NULL)
			uidls->lines = lines;
		char *texts = reallocarray(uidls->texts, size, TEXT_OCTETS);
		if (texts != NULL)
			uidls->texts = texts;
		if (lines == NULL || texts == NULL)
			return false;
		uidls->size = size;
	}
	struct uidls_line *line = &uidls->lines[uidls->count];
	*line = (struct uidls_line){.kind = (enum uidls_kind)packed->kind,
	    .order = packed->order,
	    .uidl_len = packed->uidl_len,
	    .name_len = packed->name_len,
	    .unique_len = packed->unique_len};
	memcpy(line->digest, packed->digest, CONTENT_DIGEST_OCTETS);
	memcpy(uidls->texts + uidls->count * TEXT_OCTETS, packed + 1,
	    (size_t)packed->uidl_len + packed->name_len);
	uidls->count++;
	return true;
}

int uidls_of(
    struct uidls *uidls, const char *unique, size_t len, const struct uidls_line **lines_r, size_t *count_r)
{
	int order = -1;
	*lines_r = NULL;
	*count_r = 0;
	if (uidls == NULL)
		return MAILDROP_OK;
	uidls->count = 0;
	while (uidls->unique != NULL && (order = compare_text(packed_name(uidls->unique),
					     uidls->unique->unique_len, unique, len)) <= 0) {
		if (order == 0 && uidls->count < GROUP_COUNT && !keep_line(uidls, uidls->unique))
			return MAILDROP_TEMP;
		uidls->unique = sorter_next(uidls->by_unique);
	}
	/* Only now do the texts stay where they are. */
	for (size_t i = 0; i < uidls->count; i++) {
		uidls->lines[i].uidl = uidls->texts + i * TEXT_OCTETS;
		uidls->lines[i].name = uidls->lines[i].uidl + uidls->lines[i].uidl_len;
	}
	*lines_r = uidls->lines;
	*count_r = uidls->count;
	return sorter_failed(uidls->by_unique) ? MAILDROP_TEMP : MAILDROP_OK;
}

bool uidls_takes(struct uidls *uidls, const char *unique, size_t len)
{
	int order = -1;
	bool taken = false;
	while (uidls != NULL && uidls->uidl != NULL &&
	       (order = compare_text(packed_uidl(uidls->uidl), uidls->uidl->uidl_len, unique, len)) <= 0) {
		taken = order == 0 && (taken || compare_text(packed_name(uidls->uidl),
						    uidls->uidl->unique_len, unique, len) != 0);
		/* Where it is the first is what counts, and that is where we stay: it may be asked again. */
		if (order == 0)
			break;
		uidls->uidl = sorter_next(uidls->by_uidl);
	}
	return taken;
}

bool uidls_takes_hash(const struct uidls *uidls, const char *hash)
{
	uint64_t number;
	return uidls != NULL && uidls->hash_count > 0 && uidl_hash_number(hash, UIDL_HASH_OCTETS, &number) &&
	       bsearch(&number, uidls->hashes, uidls->hash_count, sizeof(number), by_number) != NULL;
}
