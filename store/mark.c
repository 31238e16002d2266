/* SPDX-License-Identifier: ISC */
#include "mark.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "lock.h"

#define FORMAT "uid %016llx %08x\n"
#define MARK_OCTETS 30
#define MARK_AT 32 /* behind the time of the last login (login.h) */

/* Locks of this kind belong to the open file: closing another one lets none go. */
static int open_mark(int home, int flags)
{
	struct stat st;
	int fd = home < 0 ? -1 : beneath_open(home, LOCK_NAME, flags, 0);
	if (fd < 0 || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)))
		return fd;
	close(fd);
	return -1;
}

bool mark_read(int home, struct mark *mark_r)
{
	char text[MARK_OCTETS + 1] = "";
	char again[MARK_OCTETS + 1];
	unsigned long long generation = 0;
	unsigned next_uid = 0;
	int fd = open_mark(home, O_RDONLY);
	if (fd < 0)
		return false;
	bool read_all = pread(fd, text, MARK_OCTETS, MARK_AT) == MARK_OCTETS;
	close(fd);
	if (!read_all || sscanf(text, "uid %16llx %8x", &generation, &next_uid) != 2)
		return false;
	snprintf(again, sizeof(again), FORMAT, generation, next_uid);
	*mark_r = (struct mark){.generation = generation, .next_uid = next_uid};
	return strcmp(text, again) == 0;
}

void mark_write(int home, const struct mark *mark)
{
	char text[MARK_OCTETS + 1];
	int fd = open_mark(home, O_WRONLY);
	if (fd < 0)
		return;
	snprintf(text, sizeof(text), FORMAT, (unsigned long long)mark->generation, mark->next_uid);
	/* One write of a few octets: there is no half of it. */
	(void)!pwrite(fd, text, MARK_OCTETS, MARK_AT);
	close(fd);
}
