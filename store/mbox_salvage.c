/* SPDX-License-Identifier: ISC */
/*
 * mbox_salvage: what a crash left half rewritten was rewritten by another program before it could be mended.
 * Where that program put what, nobody knows; so nothing is overwritten, and what is missing is appended.
 */
#include <errno.h>
#include <unistd.h>

#include "mbox_journal.h"

#define BUFFER_OCTETS 65536u

struct salvage {
	struct mbox *mbox;
	struct mbox_journal *journal;
	struct mbox_copies present;
	uint64_t end; /* where the next message goes */
};

static int seen(void *arg, const struct mbox_entry *entry)
{
	(void)arg, (void)entry;
	return 0;
}

/* An empty line must stand before a message. */
static int end_with_empty_line(struct salvage *salvage)
{
	struct mbox_file *file = &salvage->mbox->file;
	char last[3] = "\n\n";
	size_t want = salvage->end < 3 ? (size_t)salvage->end : 3;
	if (want > 0 && mbox_file_read(file, last, want, salvage->end - want) != (ssize_t)want)
		return MAILDROP_TEMP;
	size_t missing = mbox_from_gap(last, want);
	if (missing > 0 && !mbox_file_write(file, "\n\n", missing, salvage->end))
		return MAILDROP_TEMP;
	salvage->end += missing;
	return MAILDROP_OK;
}

static int append(struct salvage *salvage, uint64_t from, uint64_t end)
{
	char buf[BUFFER_OCTETS];
	int rc = end_with_empty_line(salvage);
	while (rc == MAILDROP_OK && from < end) {
		size_t some = end - from < sizeof(buf) ? (size_t)(end - from) : sizeof(buf);
		ssize_t got = mbox_journal_read_tail(salvage->journal, buf, some, from);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || !mbox_file_write(&salvage->mbox->file, buf, (size_t)got, salvage->end))
			return MAILDROP_TEMP;
		from += (uint64_t)got;
		salvage->end += (uint64_t)got;
	}
	return rc;
}

static int append_missing(void *arg, const struct mbox_entry *entry)
{
	struct salvage *salvage = arg;
	if (mbox_copies_highest(&salvage->present, &entry->id) >= entry->id.ordinal)
		return 0;
	return append(salvage, entry->message.start, entry->message.end);
}

int mbox_salvage(struct mbox *mbox, struct mbox_journal *journal)
{
	struct salvage salvage = {.mbox = mbox, .journal = journal, .end = (uint64_t)mbox->file.st.st_size};
	struct mbox_copies tail = {0};
	struct mbox_walk walk = {mbox_file_read, &mbox->file, &salvage.present, seen, NULL, 0, 0};
	int rc = mbox_walk(&walk);
	if (rc == MAILDROP_OK) {
		walk = (struct mbox_walk){
		    mbox_journal_read_tail, journal, &tail, append_missing, &salvage, 0, 0};
		rc = mbox_walk(&walk);
	}
	if (rc == MAILDROP_OK && fsync(mbox->file.fd) != 0)
		rc = MAILDROP_TEMP;
	/* Half a message is worse than none: the journal has it whole, for the next try. */
	if (rc != MAILDROP_OK) {
		int error = errno;
		if (ftruncate(mbox->file.fd, mbox->file.st.st_size) != 0)
			rc = MAILDROP_TEMP;
		errno = error;
	}
	mbox_copies_clear(&salvage.present);
	mbox_copies_clear(&tail);
	return rc;
}
