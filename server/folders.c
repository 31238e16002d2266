/* SPDX-License-Identifier: ISC */
#include "server/folders.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/check.h"
#include "server/identity.h"

static int know_user(const char *user, char *why_r, size_t size)
{
	if (getpwnam(user) != NULL)
		return 0;
	snprintf(why_r, size, "there is no user %s; make it with: useradd --system %s", user, user);
	return -1;
}

/* Tried as that user, so that access lists count, too; the folders above are passed with our own rights. */
static bool may_enter(const char *path, const struct passwd *user)
{
	int above = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	setfsgid(user->pw_gid);
	setfsuid(user->pw_uid);
	int fd = openat(above, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	setfsuid(geteuid());
	setfsgid(getegid());
	if (above >= 0)
		close(above);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int check_mail_root(const struct config *config, char *why_r, size_t size)
{
	bool system = config->mail_users == MAIL_USERS_SYSTEM;
	struct stat st;
	if (system && identity_in_homes(config))
		return 0;
	if (stat(config->mail_root, &st) < 0 || !S_ISDIR(st.st_mode)) {
		snprintf(why_r, size, "%s: mail_root %s is not a directory; make it and give it to user %s",
		    config->file, config->mail_root, system ? "root" : config->store_user);
		return -1;
	}
	const struct passwd *pw = geteuid() == 0 && !system ? getpwnam(config->store_user) : NULL;
	if (pw != NULL && !may_enter(config->mail_root, pw)) {
		snprintf(why_r, size, "%s: mail_root %s is closed to user %s; chown it to that user",
		    config->file, config->mail_root, config->store_user);
		return -1;
	}
	return 0;
}

int folders_check(const struct config *config, char *why_r, size_t size)
{
	if (geteuid() == 0 && (know_user(config->front_user, why_r, size) < 0 ||
				  know_user(config->auth_user, why_r, size) < 0 ||
				  know_user(config->store_user, why_r, size) < 0 ||
				  (check_needed(config) && know_user(config->checker_user, why_r, size) < 0)))
		return -1;
	if (config->mail_users == MAIL_USERS_SYSTEM && geteuid() != 0) {
		snprintf(why_r, size,
		    "%s: mail_users = system: only root can become each user; start kpopd as root, or set "
		    "mail_users = virtual",
		    config->file);
		return -1;
	}
	return check_mail_root(config, why_r, size);
}

/* Ownership goes through a descriptor of the directory itself, never through a name that may have moved. */
static int make(const char *key, const char *path, mode_t mode, const char *user, char *why_r, size_t size)
{
	const struct passwd *pw = NULL;
	if (geteuid() == 0 && user != NULL && know_user(user, why_r, size) < 0)
		return -1;
	if (geteuid() == 0 && user != NULL)
		pw = getpwnam(user);
	bool made = mkdir(path, mode) == 0;
	int fd = made || errno == EEXIST ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || (made && fchmod(fd, mode) < 0) ||
	    (pw != NULL && st.st_uid != pw->pw_uid && fchown(fd, pw->pw_uid, pw->pw_gid) < 0)) {
		snprintf(why_r, size, "%s: %s; %s, or name another place with %s in kpopd.conf", path,
		    strerror(errno),
		    errno == ENOENT ? "make the directory above it"
				    : "make it a directory that is ours to use",
		    key);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(fd);
	return 0;
}

/*
 * Root's, and the group's of those who become users: for each they make a directory there that is his. Users
 * pass through to their own; nobody but root and the group can make, remove or list what is there.
 */
static int make_users(const struct config *config, char *why_r, size_t size)
{
	enum { MODE = 0771 };
	char path[PATH_MAX];
	config_path(config, CONFIG_USERS_DIR, path);
	if (make("state_dir", path, 0700, NULL, why_r, size) < 0)
		return -1;
	const struct passwd *pw = getpwnam(config->store_user);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int result =
	    pw != NULL && fd >= 0 && fchown(fd, 0, pw->pw_gid) == 0 && fchmod(fd, MODE) == 0 ? 0 : -1;
	if (result < 0)
		snprintf(why_r, size, "%s: %s; it must be root's", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return result;
}

int folders_make(const struct config *config, char *why_r, size_t size)
{
	char path[PATH_MAX];
	if (folders_check(config, why_r, size) < 0 ||
	    make("state_dir", config->state_dir, 0755, NULL, why_r, size) < 0 ||
	    make("run_dir", config->run_dir, 0755, NULL, why_r, size) < 0)
		return -1;
	if (make("state_dir", config_path(config, CONFIG_AUTH_DIR, path), 0700, config->auth_user, why_r,
		size) < 0 ||
	    make("state_dir", config_path(config, CONFIG_INDEX_DIR, path), 0700, config->store_user, why_r,
		size) < 0)
		return -1;
	if (config->spool != NULL && make("state_dir", config_path(config, CONFIG_HOMES_DIR, path), 0700,
					 config->store_user, why_r, size) < 0)
		return -1;
	if (config->mail_users == MAIL_USERS_SYSTEM && make_users(config, why_r, size) < 0)
		return -1;
	/* Root's: what the checker reads there it cannot change. */
	if (check_needed(config) &&
	    make("state_dir", config_path(config, CONFIG_CHECK_DIR, path), 0755, NULL, why_r, size) < 0)
		return -1;
	return make("state_dir", config_path(config, CONFIG_EMPTY_DIR, path), 0555, NULL, why_r, size);
}
