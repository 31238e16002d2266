/* SPDX-License-Identifier: ISC */
/*
 * mbox_copy: a message for a client: copied out of the mbox, so that nobody's rewriting changes what is sent.
 *
 * The copy is a sealed piece of memory, or for a large message a file without a name in home.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "beneath.h"
#include "mbox_private.h"

#define MEMORY_OCTETS (UINT64_C(16) << 20)
#define NAME_TRIES_COUNT 8

struct copy {
	int fd;      /* written */
	int read_fd; /* read; of memory it is the same */
	bool failed;
	uint64_t length;
};

static bool copy_to_memory(struct copy *copy)
{
	copy->fd = copy->read_fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return copy->fd >= 0;
}

/* read_fd_r may be NULL. */
static int make_unnamed(int home, int flags, int *read_fd_r)
{
	static atomic_uint counter;
	char name[64];
	int fd = -1;
	for (int tries = 0; tries < NAME_TRIES_COUNT; tries++) {
		snprintf(
		    name, sizeof(name), "kpopd.copy.%d.%u", (int)getpid(), atomic_fetch_add(&counter, 1));
		fd = beneath_open(home, name, flags | O_CREAT | O_EXCL, 0600);
		if (fd >= 0 || errno != EEXIST)
			break;
	}
	if (fd < 0)
		return -1;
	if (read_fd_r != NULL)
		*read_fd_r = beneath_open(home, name, O_RDONLY, 0);
	int error = errno;
	unlinkat(home, name, 0);
	errno = error;
	return fd;
}

int mbox_unnamed_file(int home)
{
	return make_unnamed(home, O_RDWR, NULL);
}

static bool copy_to_file(struct copy *copy, int home)
{
	copy->fd = make_unnamed(home, O_WRONLY, &copy->read_fd);
	return copy->fd >= 0 && copy->read_fd >= 0;
}

static void close_copy(struct copy *copy)
{
	int error = errno;
	if (copy->fd >= 0)
		close(copy->fd);
	if (copy->read_fd >= 0 && copy->read_fd != copy->fd)
		close(copy->read_fd);
	copy->fd = copy->read_fd = -1;
	errno = error;
}

static void take_piece(void *arg, enum mbox_piece piece, const void *buf, size_t len)
{
	struct copy *copy = arg;
	const char *p = buf;
	if (piece == MBOX_FROM)
		return;
	copy->length += len;
	while (len > 0 && !copy->failed) {
		ssize_t put = write(copy->fd, p, len);
		if (put < 0 && errno == EINTR)
			continue;
		copy->failed = put <= 0;
		if (put > 0) {
			p += put;
			len -= (size_t)put;
		}
	}
}

/* Nobody writes to it any more; the descriptor that is left is the client's. */
static bool seal(struct copy *copy)
{
	if (copy->fd == copy->read_fd) {
		if (fcntl(copy->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
		    0)
			return false;
	} else {
		close(copy->fd);
	}
	copy->fd = -1;
	return true;
}

static int copy_message(
    struct mbox *mbox, const struct record *record, struct copy *copy, struct maildrop_message *message_r)
{
	struct mbox_entry entry;
	int rc = mbox_read_message(mbox, record, take_piece, copy, &entry);
	if (rc != MAILDROP_OK)
		return rc;
	if (copy->failed)
		return MAILDROP_TEMP;
	if (entry.octets != record->octets || entry.message.length != record->length ||
	    copy->length != record->length) {
		mailbox_note(&mbox->mailbox, record, "changed since it was counted");
		return MAILDROP_TEMP;
	}
	if (!seal(copy))
		return MAILDROP_TEMP;
	*message_r = (struct maildrop_message){
	    .fd = copy->read_fd, .length = record->length, .octets = record->octets, .flags = entry.flags};
	copy->read_fd = -1;
	return MAILDROP_OK;
}

static int fetch_to(struct mbox *mbox, const struct record *record, bool to_file, bool *no_room_r,
    struct maildrop_message *message_r)
{
	struct copy copy = {.fd = -1, .read_fd = -1};
	bool made = to_file ? copy_to_file(&copy, mbox->mailbox.home) : copy_to_memory(&copy);
	int rc = made ? copy_message(mbox, record, &copy, message_r) : MAILDROP_TEMP;
	*no_room_r = to_file && (!made || copy.failed);
	close_copy(&copy);
	return rc;
}

int mbox_fetch(struct mailbox *mailbox, const struct record *record, struct maildrop_message *message_r)
{
	struct mbox *mbox = (struct mbox *)mailbox;
	bool no_room;
	int rc = mbox_enter(mbox, MBOX_WAIT_MSECS);
	if (rc != MAILDROP_OK)
		return rc == MAILDROP_IN_USE || rc == MAILDROP_PERM ? MAILDROP_TEMP : rc;
	rc = fetch_to(mbox, record, record->length > MEMORY_OCTETS, &no_room, message_r);
	/* A full disk shall keep nobody from reading his mail. */
	if (rc == MAILDROP_TEMP && no_room)
		rc = fetch_to(mbox, record, false, &no_room, message_r);
	int error = errno;
	mbox_file_leave(&mbox->file);
	errno = error;
	return rc;
}
