/* SPDX-License-Identifier: ISC */
/*
 * arrived: how old a message is, for whoever removes old mail: never older than it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "beneath.h"
#include "maildir_private.h"
#include "snapshot.h"

#define LOOK_TRIES_COUNT 4

/* The digits at the beginning of a name; INT64_MIN: it has none. */
static int64_t name_secs(const char *name, size_t len)
{
	int64_t secs = 0;
	size_t i = 0;
	for (; i < len && name[i] >= '0' && name[i] <= '9'; i++)
		if (__builtin_mul_overflow(secs, INT64_C(10), &secs) ||
		    __builtin_add_overflow(secs, (int64_t)(name[i] - '0'), &secs))
			return INT64_MAX; /* of a time to come */
	return i > 0 ? secs : INT64_MIN;
}

int maildir_arrived(struct mailbox *mailbox, const struct record *record, int64_t *secs_r)
{
	struct maildir *maildir = (struct maildir *)mailbox;
	char name[RECORD_NAME_OCTETS + 1];
	struct stat st;
	int dir;
	int rc = maildir_part(maildir, record->part, &dir);
	if (rc != MAILDROP_OK)
		return rc;
	memcpy(name, record->name, record->name_len);
	name[record->name_len] = 0;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return beneath_error(errno);
	if (st.st_ino != record->inode)
		return MAILDROP_GONE;
	int64_t named = name_secs(name, record->unique_len);
	*secs_r = named > st.st_mtim.tv_sec ? named : st.st_mtim.tv_sec;
	return MAILDROP_OK;
}

int maildrop_arrived(struct maildrop *maildrop, uint32_t idx, int64_t *secs_r)
{
	struct mailbox *mailbox = maildrop->mailbox;
	struct found found;
	if (maildrop->ended)
		return MAILDROP_TEMP;
	int rc = snapshot_get(maildrop, idx, &found);
	if (rc == MAILDROP_OK && mailbox->ops->arrived == NULL)
		rc = MAILDROP_PERM;
	for (int tries = 0; rc == MAILDROP_OK && tries < LOOK_TRIES_COUNT; tries++) {
		rc = mailbox->ops->arrived(mailbox, &found.record, secs_r);
		if (rc != MAILDROP_GONE)
			return rc;
		/* Another program may have renamed it. */
		rc = snapshot_relook(maildrop, &found);
	}
	return rc == MAILDROP_OK ? MAILDROP_GONE : rc;
}
