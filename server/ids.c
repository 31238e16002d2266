/* SPDX-License-Identifier: ISC */
#include "server/ids.h"

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/capability.h>

/* Always -1. */
static int refuse(char *why_r, size_t size, const char *what)
{
	snprintf(why_r, size, "%s: %s", what, strerror(errno));
	return -1;
}

int ids_drop_capabilities(uint64_t keep, char *why_r, size_t size)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct kept[_LINUX_CAPABILITY_U32S_3] = {0};
	struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3] = {0}; /* valgrind knows of one only */
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		kept[i].permitted = kept[i].effective = (uint32_t)(keep >> (32 * i));
	/* A service manager may have given ambient ones, to bind ports. */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, kept) != 0)
		return refuse(why_r, size, "cannot drop capabilities");
	if (syscall(SYS_capget, &header, now) != 0 || memcmp(now, kept, sizeof kept) != 0) {
		snprintf(why_r, size, "capabilities are still there after they were dropped");
		return -1;
	}
	return 0;
}

/* The kernel may give a group more than once where it was set so. */
static bool holds(const gid_t *groups, int count, gid_t group)
{
	for (int i = 0; i < count; i++)
		if (groups[i] == group)
			return true;
	return false;
}

static bool groups_taken(const struct ids *ids)
{
	static gid_t now[IDS_GROUPS_COUNT + 1];
	int count = getgroups(IDS_GROUPS_COUNT + 1, now);
	for (int i = 0; i < count; i++)
		if (!holds(ids->groups, ids->group_count, now[i]))
			return false;
	return count == ids->group_count;
}

static bool ids_taken(const struct ids *ids)
{
	uid_t real, effective, saved;
	gid_t real_group, effective_group, saved_group;
	return getresuid(&real, &effective, &saved) == 0 && real == ids->uid && effective == ids->uid &&
	       saved == ids->uid && getresgid(&real_group, &effective_group, &saved_group) == 0 &&
	       real_group == ids->gid && effective_group == ids->gid && saved_group == ids->gid &&
	       groups_taken(ids);
}

static bool root_again(void)
{
	return setresuid((uid_t)-1, 0, (uid_t)-1) == 0 || setresgid((gid_t)-1, 0, (gid_t)-1) == 0 ||
	       setgroups(0, NULL) == 0;
}

int ids_take(const struct ids *ids, uint64_t keep, char *why_r, size_t size)
{
	/* Without it, the kernel takes all capabilities when root's ids go. */
	if (keep != 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
		return refuse(why_r, size, "cannot keep capabilities");
	if (setgroups((size_t)ids->group_count, ids->groups) != 0 ||
	    setresgid(ids->gid, ids->gid, ids->gid) != 0 || setresuid(ids->uid, ids->uid, ids->uid) != 0)
		return refuse(why_r, size, "cannot change user");
	if (keep != 0 && prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0)
		return refuse(why_r, size, "cannot keep capabilities");
	if (ids_drop_capabilities(keep, why_r, size) != 0)
		return -1;
	/* A change of user undoes it. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return refuse(why_r, size, "dumpable");
	if (ids_taken(ids) && (keep != 0 || !root_again()))
		return 0;
	snprintf(why_r, size, "the rights of root are still there after the change of user");
	return -1;
}
