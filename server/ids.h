/* SPDX-License-Identifier: ISC */
/*
 * ids: taking a user's ids, groups and nothing else, and making sure of it.
 *
 * For sandbox (a role's user) and account (a user whose mail is served or delivered). The one place that
 * changes who a process is.
 */
#ifndef KPOPD_SERVER_IDS_H
#define KPOPD_SERVER_IDS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IDS_GROUPS_COUNT 1024

struct ids {
	uid_t uid;
	gid_t gid, groups[IDS_GROUPS_COUNT];
	int group_count;
};

#define IDS_CAPABILITY(number) (UINT64_C(1) << (number))

/*
 * Groups, ids, then every capability from every set but those of keep; asked of the kernel, and without keep
 * tried: a drop that can be undone is none. Not dumpable afterwards. The caller is root, or has CAP_SETUID
 * and CAP_SETGID. 0, or -1 and one line in why_r: then the process is neither the one nor the other, and
 * must exit.
 */
int ids_take(const struct ids *ids, uint64_t keep, char *why_r, size_t size);
/* Drops what capabilities there are but those of keep, for one who stays who he is. 0, or -1 as above. */
int ids_drop_capabilities(uint64_t keep, char *why_r, size_t size);

#endif
