/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "uidls_line.h"

#define BUFFER_OCTETS 65536u

struct uidls_writer {
	const struct mailbox *mailbox;
	int fd; /* -1: not open yet */
	bool failed, created;
	off_t before, wrote; /* how long the file was, and what it has become longer by us */
	size_t len;
	char buffer[BUFFER_OCTETS];
};

struct uidls_line uidls_line_of(enum uidls_kind kind, const struct record *record, char *uidl_r)
{
	struct uidls_line line = {.kind = kind,
	    .uidl = uidl_r,
	    .name = record->name,
	    .name_len = record->name_len,
	    .unique_len = record->unique_len};
	record_uidl(record, uidl_r);
	line.uidl_len = (uint8_t)strlen(uidl_r);
	memcpy(line.digest, record->digest, CONTENT_DIGEST_OCTETS);
	return line;
}

struct uidls_writer *uidls_writer_new(const struct mailbox *mailbox)
{
	struct uidls_writer *writer = calloc(1, sizeof(*writer));
	if (writer == NULL)
		return NULL;
	writer->mailbox = mailbox;
	writer->fd = -1;
	return writer;
}

static bool fail(struct uidls_writer *writer, const char *doing)
{
	if (!writer->failed)
		store_note(writer->mailbox->store, UIDLS_NAME ": cannot be %s: %s", doing, strerror(errno));
	writer->failed = true;
	return false;
}

/* What root makes belongs to whom the directory belongs to. */
static int own(int fd, int home)
{
	struct stat st;
	if (geteuid() != 0)
		return 0;
	return fstat(home, &st) != 0 ? -1 : fchown(fd, st.st_uid, st.st_gid);
}

/* Ends what was cut before, so that what follows is a line of its own. */
static bool begin(struct uidls_writer *writer, const struct stat *st)
{
	char last = '\n';
	writer->before = st->st_size;
	if (st->st_size > 0 && pread(writer->fd, &last, 1, st->st_size - 1) != 1)
		return false;
	if (last != '\n')
		writer->buffer[writer->len++] = '\n';
	if (st->st_size > 0)
		return true;
	memcpy(writer->buffer, UIDLS_HEADER, sizeof(UIDLS_HEADER) - 1);
	writer->len = sizeof(UIDLS_HEADER) - 1;
	return own(writer->fd, writer->mailbox->home) == 0;
}

static bool open_file(struct uidls_writer *writer)
{
	int home = writer->mailbox->home;
	struct stat st;
	errno = ENOTDIR;
	if (home >= 0)
		writer->fd = beneath_open(home, UIDLS_NAME, O_RDWR | O_APPEND, 0);
	if (home >= 0 && writer->fd < 0 && errno == ENOENT) {
		writer->created = true;
		writer->fd = beneath_open(home, UIDLS_NAME, O_RDWR | O_APPEND | O_CREAT, 0600);
	}
	if (writer->fd < 0 || fstat(writer->fd, &st) != 0)
		return fail(writer, "written");
	errno = EINVAL;
	return (S_ISREG(st.st_mode) && begin(writer, &st)) || fail(writer, "written");
}

static bool flush(struct uidls_writer *writer)
{
	size_t at = 0;
	while (at < writer->len) {
		ssize_t wrote = write(writer->fd, writer->buffer + at, writer->len - at);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			return fail(writer, "written");
		at += (size_t)wrote;
		writer->wrote += wrote;
	}
	writer->len = 0;
	return true;
}

bool uidls_write(struct uidls_writer *writer, const struct uidls_line *line)
{
	if (writer->failed || (writer->fd < 0 && !open_file(writer)))
		return false;
	if (BUFFER_OCTETS - writer->len < UIDLS_LINE_OCTETS && !flush(writer))
		return false;
	writer->len += uidls_line_format(line, writer->buffer + writer->len);
	return true;
}

/* Half of it is of no use to anybody; but nothing that another one has written behind it may go. */
static void take_back(const struct uidls_writer *writer)
{
	struct stat st;
	if (fstat(writer->fd, &st) != 0 || st.st_size != writer->before + writer->wrote ||
	    ftruncate(writer->fd, writer->before) != 0)
		store_note(writer->mailbox->store, UIDLS_NAME ": some lines may be left of what failed");
}

bool uidls_writer_end(struct uidls_writer **writer)
{
	struct uidls_writer *gone = *writer;
	*writer = NULL;
	if (gone == NULL)
		return true;
	if (gone->fd >= 0 && !gone->failed) {
		flush(gone);
		if (!gone->failed &&
		    (fsync(gone->fd) != 0 || (gone->created && fsync(gone->mailbox->home) != 0)))
			fail(gone, "synced");
	}
	bool done = !gone->failed;
	if (!done && gone->fd >= 0)
		take_back(gone);
	if (gone->fd >= 0)
		close(gone->fd);
	free(gone);
	return done;
}

void uidls_writer_abort(struct uidls_writer **writer)
{
	if (*writer != NULL)
		(*writer)->failed = true;
	uidls_writer_end(writer);
}
