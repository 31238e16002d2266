/* SPDX-License-Identifier: ISC */
#include "server/account.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRY_OCTETS 65536u /* of passwd(5): a name service may have long comments */
#define NOBODY_UID 65534u   /* whose files belong to nobody in particular */

static __attribute__((format(printf, 4, 5))) int no(
    char *why_r, size_t size, int err, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(why_r, size, format, args);
	va_end(args);
	return err;
}

/* What the entry that was looked up last points into. */
static char room[ENTRY_OCTETS];

static int look_up(const char *name, struct passwd *entry_r, char *why_r, size_t size)
{
	struct passwd *found;
	int error;
	do
		error = getpwnam_r(name, entry_r, room, sizeof room, &found);
	while (error == EINTR);
	if (error != 0)
		return no(
		    why_r, size, ACCOUNT_TEMP, "account %s cannot be looked up: %s", name, strerror(error));
	if (found == NULL)
		return no(why_r, size, ACCOUNT_NONE, "there is no account %s", name);
	return ACCOUNT_OK;
}

/* Our own roles' users have secrets or other people's state. */
static struct {
	bool known;
	size_t count;
	uid_t uids[4];
} roles;

static void know_roles(const struct config *config)
{
	const char *const names[] = {
	    config->front_user, config->auth_user, config->store_user, config->checker_user};
	_Static_assert(
	    sizeof names / sizeof names[0] == sizeof roles.uids / sizeof roles.uids[0], "all of them");
	if (roles.known)
		return;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct passwd entry, *found = NULL;
		if (getpwnam_r(names[i], &entry, room, sizeof room, &found) == 0 && found != NULL)
			roles.uids[roles.count++] = entry.pw_uid;
	}
	roles.known = true;
}

static bool is_role(uid_t uid)
{
	for (size_t i = 0; i < roles.count; i++)
		if (roles.uids[i] == uid)
			return true;
	return false;
}

void account_prepare(const struct config *config)
{
	static gid_t groups[IDS_GROUPS_COUNT];
	int count = IDS_GROUPS_COUNT;
	know_roles(config);
	(void)getgrouplist(config->store_user, 0, groups, &count);
}

static int check(
    const struct config *config, const struct passwd *entry, const char *user, char *why_r, size_t size)
{
	/* Two names of one account would have two states, two locks, two histories. */
	if (strcmp(entry->pw_name, user) != 0)
		return no(why_r, size, ACCOUNT_REFUSED, "account %s is called %.255s by the name service",
		    user, entry->pw_name);
	if (entry->pw_uid == 0 || entry->pw_uid < config->first_uid)
		return no(why_r, size, ACCOUNT_REFUSED,
		    "account %s has uid %u, which is below first_uid (%u)%s", user, (unsigned)entry->pw_uid,
		    config->first_uid, entry->pw_uid == 0 ? ", and root's mail is never served" : "");
	if (entry->pw_uid == NOBODY_UID || entry->pw_uid == (uid_t)-1)
		return no(why_r, size, ACCOUNT_REFUSED, "account %s has uid %u, which is nobody's", user,
		    (unsigned)entry->pw_uid);
	if (entry->pw_gid == 0 || entry->pw_gid == (gid_t)-1)
		return no(why_r, size, ACCOUNT_REFUSED, "account %s has the group of root", user);
	if (entry->pw_dir == NULL || entry->pw_dir[0] != '/' || strlen(entry->pw_dir) >= PATH_MAX)
		return no(why_r, size, ACCOUNT_REFUSED,
		    "account %s has no home directory: its path must be absolute", user);
	if (is_role(entry->pw_uid))
		return no(why_r, size, ACCOUNT_REFUSED, "account %s is one of kpopd's own users", user);
	return ACCOUNT_OK;
}

/* Never root's, whatever the account is a member of. */
static void leave_group_of_root(struct ids *ids)
{
	int kept = 0;
	for (int i = 0; i < ids->group_count; i++)
		if (ids->groups[i] != 0)
			ids->groups[kept++] = ids->groups[i];
	ids->group_count = kept;
}

int account_find(
    const struct config *config, const char *user, struct account *account_r, char *why_r, size_t size)
{
	struct passwd entry;
	if (strchr(user, '@') != NULL)
		return no(why_r, size, ACCOUNT_REFUSED,
		    "%s has a domain, so it is no account of this system; see local_domains in kpopd.conf(5)",
		    user);
	know_roles(config); /* before: it uses the same room */
	int err = look_up(user, &entry, why_r, size);
	if (err == ACCOUNT_OK)
		err = check(config, &entry, user, why_r, size);
	if (err != ACCOUNT_OK)
		return err;
	account_r->ids.uid = entry.pw_uid;
	account_r->ids.gid = entry.pw_gid;
	account_r->ids.group_count = IDS_GROUPS_COUNT;
	snprintf(account_r->name, sizeof account_r->name, "%s", user);
	snprintf(account_r->home, sizeof account_r->home, "%s", entry.pw_dir);
	if (getgrouplist(user, entry.pw_gid, account_r->ids.groups, &account_r->ids.group_count) < 0)
		return no(why_r, size, ACCOUNT_REFUSED, "account %s is in more than %d groups", user,
		    IDS_GROUPS_COUNT);
	leave_group_of_root(&account_r->ids);
	return ACCOUNT_OK;
}

int account_find_store(const struct config *config, struct account *account_r, char *why_r, size_t size)
{
	struct passwd entry;
	int err = look_up(config->store_user, &entry, why_r, size);
	if (err != ACCOUNT_OK)
		return err;
	if (entry.pw_uid == 0 || entry.pw_gid == 0)
		return no(why_r, size, ACCOUNT_REFUSED,
		    "store_user %s has the rights of root: name an ordinary user", config->store_user);
	*account_r = (struct account){.home = "/",
	    .ids = {.uid = entry.pw_uid, .gid = entry.pw_gid, .groups = {entry.pw_gid}, .group_count = 1}};
	snprintf(account_r->name, sizeof account_r->name, "%s", config->store_user);
	return ACCOUNT_OK;
}

int account_become(const struct account *account, char *why_r, size_t size)
{
	char reason[256];
	if (geteuid() == account->ids.uid)
		return ids_drop_capabilities(0, why_r, size);
	if (ids_take(&account->ids, 0, reason, sizeof reason) == 0)
		return 0;
	return no(why_r, size, -1, "account %s: %s", account->name, reason);
}

/* ---- what is made for an account ---- */

/* The file system's ids alone change: they are this thread's, and give no rights over processes. */
struct guise {
	uid_t uid;
	gid_t gid;
};

static bool put_on(uid_t uid, gid_t gid, struct guise *before_r)
{
	before_r->gid = (gid_t)setfsgid(gid);
	before_r->uid = (uid_t)setfsuid(uid);
	/* These say nothing of a failure: the next call tells what the one before did. */
	return (uid_t)setfsuid((uid_t)-1) == uid && (gid_t)setfsgid((gid_t)-1) == gid;
}

/* A store's child may not become a user of the system's own again, and stays who it is about to become. */
static void take_off(const struct guise *before)
{
	int error = errno;
	setfsuid(before->uid);
	setfsgid(before->gid);
	errno = error;
}

/* A descriptor of what was made; -1 and errno. */
static int make_one(int dir, const char *name, bool directory)
{
	if (!directory)
		return openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (mkdirat(dir, name, 0700) != 0)
		return -1;
	return openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int make_as_account(const struct account *account, int dir, const char *name, bool directory)
{
	struct guise before;
	struct stat st;
	int fd = -1;
	if (geteuid() == account->ids.uid)
		return make_one(dir, name, directory);
	if (fstat(dir, &st) != 0)
		return -1;
	bool on = put_on(account->ids.uid, st.st_gid != 0 ? st.st_gid : account->ids.gid, &before);
	errno = EPERM;
	if (on)
		fd = make_one(dir, name, directory);
	take_off(&before);
	return fd;
}

/* Where nobody but root may write. What was made is root's until it is given away, and closed to others. */
static int make_as_root(const struct account *account, int dir, const char *name, bool directory)
{
	struct stat st;
	int fd = make_one(dir, name, directory);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && st.st_uid == 0 && fchown(fd, account->ids.uid, account->ids.gid) == 0)
		return fd;
	close(fd);
	return -1;
}

static int make(const struct account *account, int dir, const char *name, bool directory)
{
	int fd = make_as_account(account, dir, name, directory);
	if (fd < 0 && geteuid() == 0 && (errno == EACCES || errno == EPERM))
		fd = make_as_root(account, dir, name, directory);
	if (fd >= 0)
		close(fd);
	return fd >= 0 || errno == EEXIST ? 0 : -1;
}

int account_make_dir(const struct account *account, int dir, const char *name)
{
	return make(account, dir, name, true);
}

int account_make_file(const struct account *account, int dir, const char *name)
{
	return make(account, dir, name, false);
}
