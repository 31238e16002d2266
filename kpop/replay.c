/* SPDX-License-Identifier: ISC */
#include "replay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

void replay_make(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0)
		close(fd);
}

int64_t replay_since(struct replay *replay)
{
	struct statx st;
	int64_t now = (int64_t)time(NULL);

	if (statx(AT_FDCWD, replay->path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &st) != 0) {
		if (errno != ENOENT)
			return replay->since;
		replay->known = true; /* whatever will be there is a new one */
		replay->dev = 0;
		replay->ino = 0;
		replay->octets = 0;
		return replay->since = now;
	}
	dev_t dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	bool other = replay->known && (dev != replay->dev || (ino_t)st.stx_ino != replay->ino);
	bool cut = replay->known && !other && st.stx_size < replay->octets;
	/* A new file may have the old one's number. */
	if (other || cut)
		replay->since = now;
	if ((st.stx_mask & STATX_BTIME) != 0 && !cut &&
	    (other || (int64_t)st.stx_btime.tv_sec > replay->since))
		replay->since = (int64_t)st.stx_btime.tv_sec;
	replay->known = true;
	replay->dev = dev;
	replay->ino = (ino_t)st.stx_ino;
	replay->octets = st.stx_size;
	return replay->since;
}

void replay_init(struct replay *replay, const char *path)
{
	memset(replay, 0, sizeof(*replay));
	snprintf(replay->path, sizeof(replay->path), "%s", path);
	replay_since(replay);
}
