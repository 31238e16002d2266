/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "digest.h"
#include "maildir_private.h"
#include "wire.h"

#define READ_OCTETS 65536u
#define SPARSE_OCTETS (1u << 20) /* smaller files are read, holes and all */

static struct maildir *maildir_of(struct mailbox *mailbox)
{
	return (struct maildir *)mailbox;
}

/* The record's name with the NUL that the kernel wants; name_r has RECORD_NAME_OCTETS + 1. */
static void name_of(const struct record *record, char *name_r)
{
	memcpy(name_r, record->name, record->name_len);
	name_r[record->name_len] = 0;
}

/* Opens a message for reading; anything that is not one is MAILDROP_PERM. */
static int open_message(struct maildir *maildir, const struct record *record, int *fd_r, struct stat *st_r)
{
	char name[RECORD_NAME_OCTETS + 1];
	int dir;
	int rc = maildir_part(maildir, record->part, &dir);
	if (rc != MAILDROP_OK)
		return rc;
	name_of(record, name);
	int fd = beneath_open(dir, name, O_RDONLY, 0);
	if (fd < 0)
		return beneath_error(errno);
	if (fstat(fd, st_r) != 0)
		rc = MAILDROP_TEMP;
	else if (!S_ISREG(st_r->st_mode) || st_r->st_uid != maildir->owner)
		rc = MAILDROP_PERM;
	if (rc != MAILDROP_OK) {
		close(fd);
		return rc;
	}
	*fd_r = fd;
	return MAILDROP_OK;
}

/* How many octets from at on are a hole: reading them would cost the time their absence saved in space. */
static uint64_t hole_at(int fd, const struct stat *st, uint64_t at)
{
	uint64_t length = (uint64_t)st->st_size;
	if (length < SPARSE_OCTETS || (uint64_t)st->st_blocks * 512 >= length)
		return 0;
	off_t data = lseek(fd, (off_t)at, SEEK_DATA);
	bool to_the_end = data < 0 && errno == ENXIO;
	lseek(fd, 0, SEEK_SET);
	if (to_the_end)
		return length - at;
	return data < 0 || (uint64_t)data > length ? 0 : (uint64_t)data - at;
}

/* After the first zero the others change nothing but the sum. */
static void count_zeros(struct wire_count *count, uint64_t len)
{
	if (len == 0)
		return;
	wire_count_add(count, "", 1);
	count->octets += len - 1;
}

/*
 * Reads the whole file and fills in length, octets, digest, flags, inode and time. false: it changed
 * meanwhile, or cannot be read.
 */
static bool read_whole(int fd, const struct stat *st, struct record *record)
{
	uint8_t buf[READ_OCTETS];
	uint64_t length = (uint64_t)st->st_size;
	uint64_t seen = 0;
	struct wire_count count = {0};
	struct digest digest = {0};
	while (seen < length) {
		uint64_t hole = hole_at(fd, st, seen);
		count_zeros(&count, hole);
		digest_add_zeros(&digest, hole);
		seen += hole;
		size_t want = length - seen < sizeof(buf) ? (size_t)(length - seen) : sizeof(buf);
		if (want == 0)
			break;
		ssize_t got = pread(fd, buf, want, (off_t)seen);
		if (got < 0 && errno == EINTR)
			continue;
		/* Shorter than it said: it is being written to, or the disk is bad. */
		if (got <= 0)
			return false;
		wire_count_add(&count, buf, (size_t)got);
		digest_add(&digest, buf, (size_t)got);
		seen += (uint64_t)got;
	}
	unsigned flags;
	record->octets = wire_count_done(&count, &flags);
	digest_done(&digest, record->digest);
	record->length = length;
	record->flags = (uint8_t)flags;
	record->inode = st->st_ino;
	record->mtime_nsecs = beneath_nsecs(st->st_mtim);
	return true;
}

int maildir_measure(struct mailbox *mailbox, struct record *record)
{
	struct stat st;
	int fd;
	int rc = open_message(maildir_of(mailbox), record, &fd, &st);
	if (rc == MAILDROP_OK) {
		if (!read_whole(fd, &st, record)) {
			mailbox_note(mailbox, record, "cannot be read whole; left out for now");
			rc = MAILDROP_GONE;
		}
		close(fd);
	} else if (rc == MAILDROP_PERM) {
		mailbox_note(mailbox, record, "not a file of the Maildir's owner; left out");
		rc = MAILDROP_GONE;
	}
	return rc;
}

/* Whether the file is still as long on the wire as was announced. */
static bool as_announced(const struct record *record, int fd, const struct stat *st)
{
	if ((uint64_t)st->st_size != record->length)
		return false;
	if (st->st_ino == record->inode && beneath_nsecs(st->st_mtim) == record->mtime_nsecs)
		return true;
	struct record now = *record;
	return read_whole(fd, st, &now) && now.octets == record->octets &&
	       memcmp(now.digest, record->digest, sizeof(now.digest)) == 0;
}

int maildir_fetch(struct mailbox *mailbox, const struct record *record, struct maildrop_message *message_r)
{
	struct stat st;
	int fd;
	int rc = open_message(maildir_of(mailbox), record, &fd, &st);
	/* What lies there now may be no message at all. */
	if (rc != MAILDROP_OK)
		return rc == MAILDROP_PERM ? MAILDROP_GONE : rc;
	if (!as_announced(record, fd, &st)) {
		close(fd);
		/* Another one has taken its name; perhaps it has another name itself. */
		if (st.st_ino != record->inode)
			return MAILDROP_GONE;
		mailbox_note(mailbox, record, "changed since it was counted");
		return MAILDROP_TEMP;
	}
	*message_r = (struct maildrop_message){.fd = fd,
	    .length = record->length,
	    .octets = record->octets,
	    .flags = record->flags,
	    .mtime_nsecs = beneath_nsecs(st.st_mtim)};
	return MAILDROP_OK;
}

/* Looks at what is there now under the record's name. */
static int still_there(int dir, const char *name, const struct record *record)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return beneath_error(errno);
	bool same =
	    S_ISREG(st.st_mode) && st.st_ino == record->inode && (uint64_t)st.st_size == record->length;
	return same ? MAILDROP_OK : MAILDROP_GONE;
}

int maildir_remove(struct mailbox *mailbox, const struct record *record)
{
	struct maildir *maildir = maildir_of(mailbox);
	char name[RECORD_NAME_OCTETS + 1];
	int dir;
	int rc = maildir_part(maildir, record->part, &dir);
	if (rc != MAILDROP_OK)
		return rc;
	name_of(record, name);
	rc = still_there(dir, name, record);
	if (rc == MAILDROP_OK && unlinkat(dir, name, 0) != 0)
		rc = beneath_error(errno);
	if (rc == MAILDROP_OK)
		maildir->unlinked[record->part]++;
	return rc;
}

/* Maildir++: ",S=" and the file's length, behind the unique part and before the flags. */
static bool length_in_name(const struct record *record, uint64_t *length_r)
{
	const char *end = record->name + record->name_len;
	const char *p = record->name + record->unique_len;
	while (end - p > 3 && *p == ',' && memcmp(p, ",S=", 3) != 0)
		for (p++; p < end && *p != ',' && *p != ':';)
			p++;
	if (end - p <= 3 || memcmp(p, ",S=", 3) != 0)
		return false;
	uint64_t length = 0;
	const char *digits = p + 3;
	for (p = digits; p < end && *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(length, UINT64_C(10), &length) ||
		    __builtin_add_overflow(length, (uint64_t)(*p - '0'), &length))
			return false;
	*length_r = length;
	return p > digits && length <= INT64_MAX && (p == end || *p == ',' || *p == ':');
}

int maildir_length(struct mailbox *mailbox, struct record *record)
{
	struct maildir *maildir = maildir_of(mailbox);
	char name[RECORD_NAME_OCTETS + 1];
	struct stat st;
	int dir;
	if (length_in_name(record, &record->length))
		return MAILDROP_OK;
	int rc = maildir_part(maildir, (enum maildir_part)record->part, &dir);
	if (rc != MAILDROP_OK)
		return rc;
	name_of(record, name);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return beneath_error(errno);
	if (!S_ISREG(st.st_mode) || st.st_uid != maildir->owner)
		return MAILDROP_GONE;
	record->length = (uint64_t)st.st_size;
	return MAILDROP_OK;
}
