/* SPDX-License-Identifier: ISC */
#include "tests/store/mbox_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct maildrop_place mbox_place(const char *user)
{
	return (struct maildrop_place){.user = user, .path = user, .format = MAILDROP_MBOX};
}

struct maildrop *mbox_world_open(struct fixture *fixture, const char *user)
{
	struct maildrop_place place = mbox_place(user);
	struct maildrop *maildrop;
	int rc = maildrop_open(fixture->store, &place, &maildrop);
	if (rc != MAILDROP_OK)
		fail_msg("%s cannot be opened: %d, %s", user, rc, fixture->notes);
	return maildrop;
}

const char *mbox_world_listing(struct fixture *fixture, const char *user)
{
	struct maildrop *maildrop = mbox_world_open(fixture, user);
	const char *text = fixture_list(maildrop);
	maildrop_close(&maildrop);
	return text;
}

static int take_uidl(void *arg, uint32_t idx, const struct maildrop_entry *entry)
{
	(void)idx;
	strcpy(arg, entry->uidl);
	return 0;
}

const char *mbox_world_uidl(struct maildrop *maildrop, uint32_t idx)
{
	static char texts[4][MAILDROP_UIDL_OCTETS + 1];
	static unsigned next;
	char *text = texts[next++ % 4];
	assert_int_equal(maildrop_list(maildrop, idx, 1, take_uidl, text), MAILDROP_OK);
	return text;
}

int mbox_world_expunge(struct maildrop *maildrop, const char *which)
{
	uint8_t marks[2] = {0};
	uint32_t left;
	for (; *which != 0; which++)
		marks[(*which - '0') / 8] |= (uint8_t)(1u << (*which - '0') % 8);
	return maildrop_expunge(maildrop, marks, sizeof(marks), &left);
}

const char *mbox_world_file(struct fixture *fixture, const char *user)
{
	static char text[1u << 20];
	int fd = openat(fixture->root, user, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	ssize_t len = read(fd, text, sizeof(text) - 1);
	assert_true(len >= 0);
	text[len] = 0;
	close(fd);
	return text;
}

void mbox_world_append(struct fixture *fixture, const char *user, const char *text)
{
	int fd = openat(fixture->root, user, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

void mbox_world_lose_index(struct fixture *fixture)
{
	char path[128];
	store_close(&fixture->store);
	snprintf(path, sizeof(path), "%s/index", fixture->dir);
	fixture_remove(path);
	assert_int_equal(mkdir(path, 0700), 0);
	fixture_reopen(fixture, 0);
}
