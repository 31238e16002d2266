/* SPDX-License-Identifier: ISC */
/*
 * mbox_delivery: one message appended to an mbox.
 *
 * It is gathered first, as it will lie there, in memory or, when it is large, in a file without a name; so
 * the mbox is locked only while it is appended, never while its sender is waited for. "From " lines are
 * quoted the way that can be undone: '>' before them, and before those that are quoted already.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "mbox_private.h"

#define BUFFER_OCTETS 65536u
#define HEAD_OCTETS 1024u /* of the message, where its Return-Path is looked for */
#define MEMORY_OCTETS (UINT64_C(16) << 20)

static const char from_text[] = "From ";

struct mbox_delivery {
	const struct store *store;
	struct mbox_file file;
	int home;
	int fd; /* what is gathered */
	bool in_memory, failed;
	uint64_t gathered;
	char head[HEAD_OCTETS];
	size_t head_len;
	/* The line: its beginning is held back until it is known not to be a "From " line. */
	bool decided;
	uint64_t held_quotes;
	size_t held_from;
	char last;
	size_t len;
	char buffer[BUFFER_OCTETS];
};

/* ---- gathering ---- */

static bool write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t put = write(fd, p, len);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		p += put;
		len -= (size_t)put;
	}
	return true;
}

/* What is in memory moves to a file when it grows large; where there is no room for one it stays. */
static void move_to_file(struct mbox_delivery *delivery)
{
	char buf[4096];
	int fd = mbox_unnamed_file(delivery->home);
	uint64_t at = 0;
	delivery->in_memory = false;
	while (fd >= 0 && at < delivery->gathered) {
		ssize_t got = pread(delivery->fd, buf, sizeof(buf), (off_t)at);
		if (got <= 0 || !write_all(fd, buf, (size_t)got)) {
			close(fd);
			fd = -1;
			break;
		}
		at += (uint64_t)got;
	}
	if (fd >= 0) {
		close(delivery->fd);
		delivery->fd = fd;
	}
}

static void write_out(struct mbox_delivery *delivery)
{
	if (delivery->in_memory && delivery->home >= 0 && delivery->gathered > MEMORY_OCTETS)
		move_to_file(delivery);
	if (!delivery->failed && !write_all(delivery->fd, delivery->buffer, delivery->len))
		delivery->failed = true;
	delivery->gathered += delivery->len;
	delivery->len = 0;
}

static void put(struct mbox_delivery *delivery, const char *p, size_t len)
{
	if (len > 0)
		delivery->last = p[len - 1];
	while (len > 0) {
		size_t some = BUFFER_OCTETS - delivery->len;
		some = some < len ? some : len;
		memcpy(delivery->buffer + delivery->len, p, some);
		delivery->len += some;
		p += some;
		len -= some;
		if (delivery->len == BUFFER_OCTETS)
			write_out(delivery);
	}
}

static void put_held(struct mbox_delivery *delivery)
{
	for (; delivery->held_quotes > 0; delivery->held_quotes--)
		put(delivery, ">", 1);
	put(delivery, from_text, delivery->held_from);
	delivery->held_from = 0;
	delivery->decided = true;
}

/* One octet of a line of which nothing has been put yet. Whether it was taken. */
static bool hold(struct mbox_delivery *delivery, char c)
{
	if (c == '>' && delivery->held_from == 0) {
		delivery->held_quotes++;
		return true;
	}
	if (c != from_text[delivery->held_from]) {
		put_held(delivery);
		return false;
	}
	if (++delivery->held_from == sizeof(from_text) - 1) {
		put(delivery, ">", 1);
		put_held(delivery);
	}
	return true;
}

static void add(struct mbox_delivery *delivery, const char *p, size_t len)
{
	while (len > 0) {
		if (!delivery->decided && hold(delivery, *p)) {
			p++;
			len--;
			continue;
		}
		const char *lf = memchr(p, '\n', len);
		size_t some = lf == NULL ? len : (size_t)(lf + 1 - p);
		put(delivery, p, some);
		delivery->decided = lf == NULL;
		p += some;
		len -= some;
	}
}

int mbox_delivery_write(struct mbox_delivery *delivery, const void *buf, size_t len)
{
	size_t some = HEAD_OCTETS - delivery->head_len;
	some = some < len ? some : len;
	memcpy(delivery->head + delivery->head_len, buf, some);
	delivery->head_len += some;
	add(delivery, buf, len);
	return delivery->failed ? MAILDROP_TEMP : MAILDROP_OK;
}

/* ---- appending ---- */

/* The envelope sender, as whoever handed us the message wrote it on top. NULL: he did not. */
static const char *find_sender(const struct mbox_delivery *delivery, size_t *len_r)
{
	static const char field[] = "Return-Path:";
	const char *text = delivery->head;
	const char *end = text + delivery->head_len;
	*len_r = 0;
	if (delivery->head_len < sizeof(field) || strncasecmp(text, field, sizeof(field) - 1) != 0)
		return NULL;
	const char *lf = memchr(text, '\n', delivery->head_len);
	text += sizeof(field) - 1;
	end = lf == NULL ? end : lf;
	while (text < end && (*text == ' ' || *text == '<'))
		text++;
	while (text + *len_r < end && strchr("> \r\n", text[*len_r]) == NULL)
		++*len_r;
	return text;
}

/* The octets of a message at the file's end, wherever it was. */
static bool append(struct mbox_delivery *delivery, uint64_t at)
{
	char line[2 + MBOX_FROM_OCTETS];
	char last[3];
	size_t sender_len;
	struct mbox_file *file = &delivery->file;
	size_t want = at < sizeof(last) ? (size_t)at : sizeof(last);
	if (mbox_file_read(file, last, want, at - want) != (ssize_t)want)
		return false;
	size_t len = mbox_from_gap(last, want);
	memcpy(line, "\n\n", len);
	const char *sender = find_sender(delivery, &sender_len);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	len += mbox_from_write(sender, sender_len, now.tv_sec, line + len);
	if (!mbox_file_write(file, line, len, at))
		return false;
	at += len;
	for (uint64_t from = 0; from < delivery->gathered;) {
		ssize_t got = pread(delivery->fd, delivery->buffer, BUFFER_OCTETS, (off_t)from);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || !mbox_file_write(file, delivery->buffer, (size_t)got, at))
			return false;
		from += (uint64_t)got;
		at += (uint64_t)got;
	}
	return true;
}

static int commit(struct mbox_delivery *delivery)
{
	struct mbox_file *file = &delivery->file;
	put_held(delivery);
	if (delivery->last != '\n')
		put(delivery, "\n", 1);
	put(delivery, "\n", 1);
	write_out(delivery);
	if (delivery->failed)
		return MAILDROP_TEMP;
	int rc = mbox_file_enter(file, MBOX_WAIT_MSECS, true);
	if (rc != MAILDROP_OK)
		return rc == MAILDROP_PERM ? rc : MAILDROP_TEMP;
	errno = EROFS;
	if (file->read_only)
		return MAILDROP_TEMP;
	if (append(delivery, (uint64_t)file->st.st_size) && fsync(file->fd) == 0)
		return MAILDROP_OK;
	int error = errno;
	if (ftruncate(file->fd, file->st.st_size) != 0)
		store_note(
		    delivery->store, "%s: half a message stays behind: %s", file->name, strerror(errno));
	errno = error;
	return MAILDROP_TEMP;
}

int mbox_delivery_begin(
    const struct store *store, const struct maildrop_place *place, struct mbox_delivery **delivery_r)
{
	*delivery_r = NULL;
	struct mbox_delivery *delivery = malloc(sizeof(*delivery));
	if (delivery == NULL)
		return MAILDROP_TEMP;
	delivery->store = store;
	delivery->in_memory = true;
	delivery->failed = delivery->decided = false;
	delivery->gathered = delivery->held_quotes = 0;
	delivery->head_len = delivery->held_from = delivery->len = 0;
	delivery->last = '\n';
	delivery->home = mbox_home_open(store, place->user);
	delivery->fd = memfd_create("delivery", MFD_CLOEXEC);
	int rc = mbox_file_open(store, place, &delivery->file);
	struct part_state now;
	if (rc == MAILDROP_OK)
		rc = mbox_file_state(&delivery->file, &now);
	if (rc == MAILDROP_OK && delivery->fd < 0)
		rc = MAILDROP_TEMP;
	if (rc == MAILDROP_OK) {
		*delivery_r = delivery;
		return rc;
	}
	int error = errno;
	store_note(store, "%s: cannot deliver: %s", place->path, strerror(error));
	mbox_delivery_abort(&delivery);
	errno = error;
	return rc == MAILDROP_PERM ? rc : MAILDROP_TEMP;
}

int mbox_delivery_commit(struct mbox_delivery **delivery)
{
	int rc = commit(*delivery);
	int error = errno;
	mbox_delivery_abort(delivery);
	errno = error;
	return rc;
}

void mbox_delivery_abort(struct mbox_delivery **delivery)
{
	struct mbox_delivery *gone = *delivery;
	*delivery = NULL;
	if (gone == NULL)
		return;
	mbox_file_close(&gone->file);
	if (gone->fd >= 0)
		close(gone->fd);
	if (gone->home >= 0)
		close(gone->home);
	free(gone);
}
