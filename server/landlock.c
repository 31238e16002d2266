/* SPDX-License-Identifier: ISC */
#include "server/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/landlock.h>

/*
 * The interface grows with the kernel, and the header we are built with may be older than the kernel we run
 * on; so what came after the first version is spelt out here.
 */
#define FS_REFER (1ull << 13)     /* version 2 */
#define FS_TRUNCATE (1ull << 14)  /* version 3 */
#define FS_IOCTL_DEV (1ull << 15) /* version 5 */
#define FS_FIRST ((1ull << 13) - 1)
#define NET_BIND_TCP (1ull << 0) /* version 4 */
#define NET_CONNECT_TCP (1ull << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ull << 0) /* version 6 */
#define SCOPE_SIGNAL (1ull << 1)

struct ruleset {
	uint64_t fs, net, scoped;
};

#define READ_RIGHTS ((uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR))
#define WRITE_RIGHTS                                                                                    \
	(READ_RIGHTS | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |                 \
	    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR | \
	    FS_REFER | FS_TRUNCATE)
/* Rights that mean something for a file that is no directory; the kernel refuses others there. */
#define FILE_RIGHTS ((uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE) | FS_TRUNCATE)

int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi > 0 ? (int)abi : 0;
}

/* Everything this kernel can refuse, so that what no rule grants is refused. */
static struct ruleset handled(int abi)
{
	struct ruleset all = {.fs = FS_FIRST};

	/* Version 1 refuses every rename or link between directories, and nothing can grant it. */
	if (abi >= 2)
		all.fs |= FS_REFER;
	if (abi >= 3)
		all.fs |= FS_TRUNCATE;
	if (abi >= 4)
		all.net = NET_BIND_TCP | NET_CONNECT_TCP;
	if (abi >= 5)
		all.fs |= FS_IOCTL_DEV;
	if (abi >= 6)
		all.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
	return all;
}

static size_t ruleset_size(int abi)
{
	if (abi >= 6)
		return sizeof(struct ruleset);
	return abi >= 4 ? offsetof(struct ruleset, scoped) : offsetof(struct ruleset, net);
}

static int grant_beneath(int ruleset, int fd, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {.parent_fd = fd};
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -1;
	rule.allowed_access = S_ISDIR(st.st_mode) ? rights : rights & FILE_RIGHTS;
	return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

static int grant(int ruleset, const struct sandbox_path *path, uint64_t rights)
{
	int fd = open(path->path, O_PATH | O_CLOEXEC), result, saved;

	if (fd < 0)
		return -1;
	result = grant_beneath(ruleset, fd, rights);
	saved = errno;
	close(fd);
	errno = saved;
	return result;
}

/* A new ruleset that grants nothing yet; -1: the kernel has none, -2: failed. */
static int begin(int abi, struct ruleset *all, char *why_r, size_t size)
{
	int ruleset;

	if (abi == 0)
		return -1;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, all, ruleset_size(abi), 0);
	if (ruleset >= 0)
		return ruleset;
	snprintf(why_r, size, "landlock: %s", strerror(errno));
	return -2;
}

int landlock_prepare(const struct sandbox_path *paths, size_t count, bool network, char *why_r, size_t size)
{
	int abi = landlock_abi(), ruleset;
	struct ruleset all = handled(abi);

	if (network)
		all.net &= ~NET_CONNECT_TCP;
	ruleset = begin(abi, &all, why_r, size);
	if (ruleset < 0)
		return ruleset;
	for (size_t i = 0; i < count; i++) {
		uint64_t rights = paths[i].access == SANDBOX_WRITE ? WRITE_RIGHTS : READ_RIGHTS;

		if (grant(ruleset, &paths[i], rights & all.fs) != 0) {
			snprintf(why_r, size, "landlock: %s: %s: it must be there before the role starts",
			    paths[i].path, strerror(errno));
			close(ruleset);
			return -2;
		}
	}
	return ruleset;
}

int landlock_confine(const int *fds, size_t count, char *why_r, size_t size)
{
	int abi = landlock_abi();
	struct ruleset all = handled(abi);
	int ruleset = begin(abi, &all, why_r, size);

	for (size_t i = 0; ruleset >= 0 && i < count; i++)
		if (grant_beneath(ruleset, fds[i], WRITE_RIGHTS & all.fs) != 0) {
			snprintf(why_r, size, "landlock: %s", strerror(errno));
			close(ruleset);
			return -2;
		}
	return ruleset;
}

int landlock_enforce(int ruleset, char *why_r, size_t size)
{
	long result;

	if (ruleset < 0)
		return 0;
	result = syscall(SYS_landlock_restrict_self, ruleset, 0);
	if (result != 0)
		snprintf(why_r, size, "landlock: cannot enforce: %s", strerror(errno));
	close(ruleset);
	return result == 0 ? 0 : -1;
}
