/* SPDX-License-Identifier: ISC */
#include "mbox_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "beneath.h"

#define BUFFER_OCTETS 65536u
#define DIGEST_OCTETS 32u
#define REMOVED_OCTETS 65536u /* as much of what is removed as tells whether it is still there */
#define FORMAT 1u

/* Then the tail, then the ids; in host order, for home never leaves its host. */
struct head {
	char magic[8];
	uint32_t format, id_count;
	uint64_t from, old_length, tail_length;
	uint8_t tail_digest[DIGEST_OCTETS], removed_digest[DIGEST_OCTETS], ids_digest[DIGEST_OCTETS];
	uint8_t digest[DIGEST_OCTETS]; /* of all before */
};
_Static_assert(sizeof(struct head) == 168, "no padding");
_Static_assert(sizeof(struct mbox_id) == 24, "no padding");
static const char magic[8] = "kpopmbox";

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- octets ---- */

static int fail(int error)
{
	errno = error;
	return MAILDROP_TEMP;
}

static int write_at(int fd, const void *buf, size_t len, uint64_t offset)
{
	const char *p = buf;
	while (len > 0) {
		ssize_t put = pwrite(fd, p, len, (off_t)offset);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put == 0 ? fail(EIO) : MAILDROP_TEMP;
		p += put;
		offset += (uint64_t)put;
		len -= (size_t)put;
	}
	return MAILDROP_OK;
}

/* Exactly len octets. */
static int read_at(mbox_read_fn *read, void *arg, void *buf, size_t len, uint64_t offset)
{
	char *p = buf;
	while (len > 0) {
		ssize_t got = read(arg, p, len, offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got == 0 ? fail(EIO) : MAILDROP_TEMP;
		p += got;
		offset += (uint64_t)got;
		len -= (size_t)got;
	}
	return MAILDROP_OK;
}

static ssize_t read_journal(void *arg, void *buf, size_t len, uint64_t offset)
{
	const struct mbox_journal *journal = arg;
	return pread(journal->fd, buf, len, (off_t)offset);
}

ssize_t mbox_journal_read_tail(void *arg, void *buf, size_t len, uint64_t offset)
{
	const struct mbox_journal *journal = arg;
	if (offset >= journal->tail_length)
		return 0;
	return read_journal(
	    arg, buf, (size_t)smaller(len, journal->tail_length - offset), sizeof(struct head) + offset);
}

static int digest_range(
    mbox_read_fn *read, void *arg, uint64_t from, uint64_t len, uint8_t digest_r[DIGEST_OCTETS])
{
	uint8_t buf[BUFFER_OCTETS];
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool good = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
	int rc = good ? MAILDROP_OK : fail(ENOMEM);
	while (rc == MAILDROP_OK && len > 0) {
		size_t some = (size_t)smaller(len, sizeof(buf));
		rc = read_at(read, arg, buf, some, from);
		if (rc == MAILDROP_OK && EVP_DigestUpdate(md, buf, some) != 1)
			rc = fail(ENOMEM);
		from += some;
		len -= some;
	}
	if (rc == MAILDROP_OK && EVP_DigestFinal_ex(md, digest_r, NULL) != 1)
		rc = fail(ENOMEM);
	int error = errno;
	EVP_MD_CTX_free(md);
	errno = error;
	return rc;
}

static bool digest_octets(const void *buf, size_t len, uint8_t digest_r[DIGEST_OCTETS])
{
	return EVP_Digest(buf, len, digest_r, NULL, EVP_sha256(), NULL) == 1;
}

static uint64_t new_length(const struct mbox_journal *journal)
{
	return journal->from + journal->tail_length;
}

/* What lies behind the file's new end, as long as it has not been cut. */
static int digest_removed(
    const struct mbox_journal *journal, struct mbox *mbox, uint8_t digest_r[DIGEST_OCTETS])
{
	uint64_t from = new_length(journal);
	return digest_range(
	    mbox_file_read, &mbox->file, from, smaller(journal->old_length - from, REMOVED_OCTETS), digest_r);
}

/* ---- writing ---- */

int mbox_journal_begin(struct mbox_journal *journal, int home, uint64_t from)
{
	*journal = (struct mbox_journal){.home = home, .from = from};
	journal->fd = beneath_open(home, JOURNAL_NEW_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);
	return journal->fd < 0 ? MAILDROP_TEMP : MAILDROP_OK;
}

int mbox_journal_add(struct mbox_journal *journal, mbox_read_fn *read, void *arg, uint64_t from, uint64_t end)
{
	uint8_t buf[BUFFER_OCTETS];
	int rc = MAILDROP_OK;
	while (rc == MAILDROP_OK && from < end) {
		size_t some = (size_t)smaller(end - from, sizeof(buf));
		rc = read_at(read, arg, buf, some, from);
		if (rc == MAILDROP_OK)
			rc = write_at(journal->fd, buf, some, sizeof(struct head) + journal->tail_length);
		journal->tail_length += some;
		from += some;
	}
	return rc;
}

int mbox_journal_commit(struct mbox_journal *journal, struct mbox *mbox, uint64_t old_length,
    const struct mbox_id *ids, uint32_t id_count)
{
	struct head head = {.format = FORMAT, .id_count = id_count, .from = journal->from};
	memcpy(head.magic, magic, sizeof(magic));
	journal->old_length = head.old_length = old_length;
	journal->id_count = id_count;
	head.tail_length = journal->tail_length;
	int rc = digest_range(mbox_journal_read_tail, journal, 0, journal->tail_length, journal->tail_digest);
	if (rc == MAILDROP_OK)
		rc = digest_removed(journal, mbox, journal->removed_digest);
	memcpy(head.tail_digest, journal->tail_digest, DIGEST_OCTETS);
	memcpy(head.removed_digest, journal->removed_digest, DIGEST_OCTETS);
	if (rc == MAILDROP_OK && (!digest_octets(ids, id_count * sizeof(*ids), head.ids_digest) ||
				     !digest_octets(&head, offsetof(struct head, digest), head.digest)))
		rc = fail(ENOMEM);
	if (rc == MAILDROP_OK)
		rc = write_at(journal->fd, ids, id_count * sizeof(*ids), sizeof(head) + journal->tail_length);
	if (rc == MAILDROP_OK)
		rc = write_at(journal->fd, &head, sizeof(head), 0);
	if (rc == MAILDROP_OK &&
	    (fsync(journal->fd) != 0 ||
		renameat(journal->home, JOURNAL_NEW_NAME, journal->home, JOURNAL_NAME) != 0 ||
		fsync(journal->home) != 0))
		rc = MAILDROP_TEMP;
	return rc;
}

void mbox_journal_end(struct mbox_journal *journal)
{
	int error = errno;
	if (journal->fd >= 0) {
		close(journal->fd);
		unlinkat(journal->home, JOURNAL_NEW_NAME, 0);
	}
	journal->fd = -1;
	errno = error;
}

/* ---- doing it ---- */

/* Over what is there, then safe on disk, before anything that tells that it was done. */
static int overwrite(struct mbox_journal *journal, struct mbox *mbox)
{
	uint8_t buf[BUFFER_OCTETS];
	int rc = MAILDROP_OK;
	for (uint64_t at = 0; rc == MAILDROP_OK && at < journal->tail_length;) {
		size_t some = (size_t)smaller(journal->tail_length - at, sizeof(buf));
		rc = read_at(mbox_journal_read_tail, journal, buf, some, at);
		if (rc == MAILDROP_OK && !mbox_file_write(&mbox->file, buf, some, journal->from + at))
			rc = MAILDROP_TEMP;
		at += some;
	}
	if (rc == MAILDROP_OK && journal->tail_length > 0 && fsync(mbox->file.fd) != 0)
		rc = MAILDROP_TEMP;
	return rc;
}

/* Which copies were removed; until that is remembered, those that stay may have other UIDLs. */
static bool remember(struct mbox_journal *journal)
{
	size_t len = journal->id_count * sizeof(struct mbox_id);
	struct mbox_copies copies = {0};
	if (journal->id_count == 0)
		return true;
	struct mbox_id *ids = malloc(len);
	bool done = ids != NULL &&
		    read_at(read_journal, journal, ids, len, sizeof(struct head) + journal->tail_length) ==
			MAILDROP_OK &&
		    mbox_copies_load(&copies, journal->home) == MAILDROP_OK &&
		    mbox_copies_remember(journal->home, &copies, ids, journal->id_count);
	int error = errno;
	mbox_copies_clear(&copies);
	free(ids);
	errno = error;
	return done;
}

/* The mail is as it should be, and safe. A journal that stays does no harm: it is found to be done. */
static void finish(struct mbox_journal *journal, struct mbox *mbox)
{
	if (!remember(journal) || unlinkat(journal->home, JOURNAL_NAME, 0) != 0 || fsync(journal->home) != 0)
		store_note(mbox->mailbox.store, "%s: the journal cannot be removed: %s", mbox->file.name,
		    strerror(errno));
}

int mbox_journal_apply(struct mbox_journal *journal, struct mbox *mbox)
{
	int rc = overwrite(journal, mbox);
	if (rc == MAILDROP_OK && (ftruncate(mbox->file.fd, (off_t)new_length(journal)) != 0 ||
				     fsync(mbox->file.fd) != 0 || fstat(mbox->file.fd, &mbox->file.st) != 0))
		rc = MAILDROP_TEMP;
	if (rc == MAILDROP_OK)
		finish(journal, mbox);
	return rc;
}

/* ---- recovering ---- */

bool mbox_journal_exists(int home)
{
	struct stat st;
	return fstatat(home, JOURNAL_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
	       fstatat(home, JOURNAL_NEW_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool sensible(const struct head *head, uint64_t size)
{
	uint64_t rest = size - sizeof(*head);
	uint8_t digest[DIGEST_OCTETS];
	return memcmp(head->magic, magic, sizeof(magic)) == 0 && head->format == FORMAT &&
	       digest_octets(head, offsetof(struct head, digest), digest) &&
	       memcmp(digest, head->digest, sizeof(digest)) == 0 && head->tail_length <= rest &&
	       rest - head->tail_length == head->id_count * sizeof(struct mbox_id) &&
	       head->from <= head->old_length && head->tail_length < head->old_length - head->from;
}

/* MAILDROP_PERM: it is damaged. */
static int check(struct mbox_journal *journal)
{
	struct head head;
	struct stat st;
	uint8_t digest[DIGEST_OCTETS];
	if (fstat(journal->fd, &st) != 0)
		return MAILDROP_TEMP;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < sizeof(head))
		return MAILDROP_PERM;
	int rc = read_at(read_journal, journal, &head, sizeof(head), 0);
	if (rc != MAILDROP_OK)
		return rc;
	if (!sensible(&head, (uint64_t)st.st_size))
		return MAILDROP_PERM;
	journal->from = head.from;
	journal->old_length = head.old_length;
	journal->tail_length = head.tail_length;
	journal->id_count = head.id_count;
	memcpy(journal->tail_digest, head.tail_digest, DIGEST_OCTETS);
	memcpy(journal->removed_digest, head.removed_digest, DIGEST_OCTETS);
	rc = digest_range(mbox_journal_read_tail, journal, 0, head.tail_length, digest);
	if (rc == MAILDROP_OK && memcmp(digest, head.tail_digest, DIGEST_OCTETS) != 0)
		rc = MAILDROP_PERM;
	if (rc == MAILDROP_OK)
		rc = digest_range(read_journal, journal, sizeof(head) + head.tail_length,
		    head.id_count * sizeof(struct mbox_id), digest);
	if (rc == MAILDROP_OK && memcmp(digest, head.ids_digest, DIGEST_OCTETS) != 0)
		rc = MAILDROP_PERM;
	return rc;
}

/* Others have delivered since: what they appended is kept, too. */
static int extend(struct mbox_journal *journal, struct mbox *mbox, uint64_t length)
{
	size_t len = journal->id_count * sizeof(struct mbox_id);
	struct mbox_id *ids = malloc(len + 1);
	struct mbox_journal longer;
	if (ids == NULL)
		return fail(ENOMEM);
	int rc = read_at(read_journal, journal, ids, len, sizeof(struct head) + journal->tail_length);
	if (rc == MAILDROP_OK)
		rc = mbox_journal_begin(&longer, journal->home, journal->from);
	if (rc == MAILDROP_OK) {
		rc = mbox_journal_add(&longer, mbox_journal_read_tail, journal, 0, journal->tail_length);
		if (rc == MAILDROP_OK)
			rc = mbox_journal_add(
			    &longer, mbox_file_read, &mbox->file, journal->old_length, length);
		if (rc == MAILDROP_OK)
			rc = mbox_journal_commit(&longer, mbox, length, ids, journal->id_count);
		if (rc == MAILDROP_OK)
			rc = mbox_journal_apply(&longer, mbox);
		mbox_journal_end(&longer);
	}
	free(ids);
	return rc;
}

static int redo(struct mbox_journal *journal, struct mbox *mbox)
{
	uint64_t length = (uint64_t)mbox->file.st.st_size;
	uint8_t digest[DIGEST_OCTETS];
	if (length >= journal->old_length) {
		int rc = digest_removed(journal, mbox, digest);
		if (rc != MAILDROP_OK)
			return rc;
		if (memcmp(digest, journal->removed_digest, DIGEST_OCTETS) == 0)
			return length == journal->old_length ? mbox_journal_apply(journal, mbox)
							     : extend(journal, mbox, length);
	}
	if (length >= new_length(journal)) {
		int rc =
		    digest_range(mbox_file_read, &mbox->file, journal->from, journal->tail_length, digest);
		if (rc != MAILDROP_OK)
			return rc;
		if (memcmp(digest, journal->tail_digest, DIGEST_OCTETS) == 0) {
			/* It was cut; is that safe? */
			if (fsync(mbox->file.fd) != 0)
				return MAILDROP_TEMP;
			finish(journal, mbox);
			return MAILDROP_OK;
		}
	}
	store_note(mbox->mailbox.store,
	    "%s: rewritten by another program before a crash was mended: looking for lost messages",
	    mbox->file.name);
	int rc = mbox_salvage(mbox, journal);
	if (rc == MAILDROP_OK)
		finish(journal, mbox);
	return rc;
}

static int recover(struct mbox_journal *journal, struct mbox *mbox)
{
	int rc = check(journal);
	if (rc == MAILDROP_OK) {
		store_note(
		    mbox->mailbox.store, "%s: finishing a removal that was interrupted", mbox->file.name);
		rc = redo(journal, mbox);
	} else if (rc == MAILDROP_PERM) {
		store_note(mbox->mailbox.store, "%s: its journal is damaged, and set aside as %s",
		    mbox->file.name, JOURNAL_BAD_NAME);
		rc = renameat(journal->home, JOURNAL_NAME, journal->home, JOURNAL_BAD_NAME) == 0
			 ? MAILDROP_OK
			 : MAILDROP_TEMP;
	}
	return rc;
}

int mbox_journal_recover(struct mbox *mbox)
{
	struct mbox_journal journal = {.home = mbox->mailbox.home};
	journal.fd = beneath_open(journal.home, JOURNAL_NAME, O_RDONLY, 0);
	if (journal.fd < 0 && errno == ENOENT)
		return MAILDROP_OK;
	if (journal.fd < 0)
		return MAILDROP_TEMP;
	errno = EROFS;
	int rc = mbox->file.read_only ? MAILDROP_TEMP : recover(&journal, mbox);
	if (rc != MAILDROP_OK)
		store_note(mbox->mailbox.store, "%s: an interrupted removal cannot be finished: %s",
		    mbox->file.name, strerror(errno));
	mbox_journal_end(&journal);
	return rc;
}
