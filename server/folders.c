/* SPDX-License-Identifier: ISC */
#include "server/folders.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Ownership goes through a descriptor of the directory itself, never through a name that may have moved. */
static int make(const char *path, mode_t mode, const char *user, char *why_r, size_t size)
{
	const struct passwd *pw = NULL;
	if (geteuid() == 0 && user != NULL && (pw = getpwnam(user)) == NULL) {
		snprintf(why_r, size, "there is no user %s; make it with: useradd --system %s", user, user);
		return -1;
	}
	bool made = mkdir(path, mode) == 0;
	int fd = made || errno == EEXIST ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || (made && fchmod(fd, mode) < 0) ||
	    (pw != NULL && st.st_uid != pw->pw_uid && fchown(fd, pw->pw_uid, pw->pw_gid) < 0)) {
		snprintf(why_r, size, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(fd);
	return 0;
}

int folders_make(const struct config *config, char *why_r, size_t size)
{
	char path[PATH_MAX];
	struct stat st;
	if (stat(config->mail_root, &st) < 0 || !S_ISDIR(st.st_mode)) {
		snprintf(why_r, size, "%s: mail_root %s is not a directory; make it and give it to user %s",
		    config->file, config->mail_root, config->store_user);
		return -1;
	}
	if (make(config->state_dir, 0755, NULL, why_r, size) < 0 ||
	    make(config->run_dir, 0755, NULL, why_r, size) < 0)
		return -1;
	if (make(config_path(config, CONFIG_AUTH_DIR, path), 0700, config->auth_user, why_r, size) < 0 ||
	    make(config_path(config, CONFIG_INDEX_DIR, path), 0700, config->store_user, why_r, size) < 0)
		return -1;
	return make(config_path(config, CONFIG_EMPTY_DIR, path), 0555, NULL, why_r, size);
}
