/* SPDX-License-Identifier: ISC */
#include "server/usermail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/identity.h"
#include "store/beneath.h"

#define INDEX_NAME "index" /* in a user's state directory */
#define PASS (O_PATH | O_DIRECTORY | O_CLOEXEC)

static __attribute__((format(printf, 4, 5))) enum account_err no(
    char *why_r, size_t size, enum account_err err, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(why_r, size, format, args);
	va_end(args);
	return err;
}

/* What his own rights do not allow is not better later; all else may be. */
static enum account_err closed(char *why_r, size_t size, const char *what, const char *path)
{
	bool lasting = errno == EACCES || errno == EPERM || errno == ENOTDIR || errno == ELOOP;
	return no(
	    why_r, size, lasting ? ACCOUNT_REFUSED : ACCOUNT_TEMP, "%s %s: %s", what, path, strerror(errno));
}

enum account_err usermail_find(
    const struct config *config, const char *user, struct usermail *usermail_r, char *why_r, size_t size)
{
	usermail_r->system = config->mail_users == MAIL_USERS_SYSTEM;
	usermail_r->stay = !usermail_r->system && geteuid() != 0;
	usermail_r->root = usermail_r->homes = usermail_r->state = -1;
	usermail_r->has_index = false;
	usermail_r->index[0] = usermail_r->trouble[0] = '\0';
	if (identity_place(config, user, usermail_r->path, &usermail_r->place) != 0)
		return no(why_r, size, ACCOUNT_REFUSED, "%s has no sound path by the template \"%s\"", user,
		    config->spool != NULL ? config->spool : config->maildir);
	if (usermail_r->stay)
		return ACCOUNT_OK;
	return (enum account_err)(usermail_r->system
				      ? account_find(config, user, &usermail_r->account, why_r, size)
				      : account_find_store(config, &usermail_r->account, why_r, size));
}

/* ---- before the change of user ---- */

static void note(struct usermail *usermail, const char *what, const char *why)
{
	snprintf(usermail->trouble, sizeof usermail->trouble, "no index for %s: %.120s: %.120s",
	    usermail->account.name, what, why);
}

/* The directory of all users' state. Whoever could write there could take a name before its user comes. */
static int open_users(const struct config *config, struct usermail *usermail)
{
	char path[PATH_MAX];
	struct stat st;
	int fd = open(config_path(config, CONFIG_USERS_DIR, path), PASS | O_NOFOLLOW);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == 0 && (st.st_mode & S_IWOTH) == 0)
		return fd;
	note(usermail, path, fd < 0 ? strerror(errno) : "only root and one group may be able to write there");
	if (fd >= 0)
		close(fd);
	return -1;
}

/* The folder that is to hold the user's own: mail_root, or a folder of all users beneath it. */
static int open_above(const struct config *config, const char *own)
{
	char above[PATH_MAX];
	const char *slash = strrchr(own, '/');
	int root = open(config->mail_root, PASS);
	if (root < 0 || slash == NULL)
		return root;
	snprintf(above, sizeof above, "%.*s", (int)(slash - own), own);
	int fd = beneath_open(root, above, O_PATH | O_DIRECTORY, 0), error = errno;
	close(root);
	errno = error;
	return fd;
}

/* A folder of the user's own beneath mail_root, or his file, which he may not be able to make there himself.
 */
static int make_place(const struct config *config, const struct usermail *usermail)
{
	char own[PATH_MAX];
	size_t len = identity_own_len(config, usermail->path);
	snprintf(own, sizeof own, "%.*s", (int)len, usermail->path);
	int above = open_above(config, own);
	if (above < 0)
		return -1;
	const char *slash = strrchr(own, '/'), *name = slash != NULL ? slash + 1 : own;
	bool file = usermail->path[len] == '\0' && usermail->place.format == MAILDROP_MBOX;
	int result = file ? account_make_file(&usermail->account, above, name)
			  : account_make_dir(&usermail->account, above, name);
	int error = errno;
	close(above);
	errno = error;
	return result;
}

/* ---- after it ---- */

static int open_state(struct usermail *usermail)
{
	const char *name = usermail->account.name;
	struct stat st;
	int fd = beneath_open(usermail->homes, name, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0 && errno != EACCES && errno != ELOOP && errno != ENOTDIR) {
		note(usermail, "his state directory", strerror(errno));
		return -1;
	}
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == usermail->account.ids.uid &&
	    (st.st_mode & (S_IRWXG | S_IRWXO)) == 0)
		return fd;
	note(usermail, "his state directory", "it must be his alone (chown, chmod 0700), or be removed");
	if (fd >= 0)
		close(fd);
	return -1;
}

static void open_index(const struct config *config, struct usermail *usermail)
{
	int fd = -1;
	if (mkdirat(usermail->state, INDEX_NAME, 0700) == 0 || errno == EEXIST)
		fd = beneath_open(usermail->state, INDEX_NAME, O_PATH | O_DIRECTORY, 0);
	if (fd < 0) {
		note(usermail, "its directory", strerror(errno));
		return;
	}
	close(fd);
	char users[PATH_MAX];
	int len = snprintf(usermail->index, sizeof usermail->index, "%s/%s/" INDEX_NAME,
	    config_path(config, CONFIG_USERS_DIR, users), usermail->account.name);
	usermail->has_index = len > 0 && (size_t)len < sizeof usermail->index;
}

/* One that may be passed but not read serves, too; but what is made there cannot be synced. */
static int open_root(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 && errno == EACCES ? open(path, PASS) : fd;
}

static enum account_err become_account(
    const struct config *config, struct usermail *usermail, bool delivery, char *why_r, size_t size)
{
	usermail->homes = open_users(config, usermail);
	if (usermail->homes >= 0 &&
	    account_make_dir(&usermail->account, usermail->homes, usermail->account.name) != 0)
		note(usermail, "his state directory cannot be made", strerror(errno));
	bool homes = identity_in_homes(config);
	if (delivery && !homes && make_place(config, usermail) != 0)
		return closed(why_r, size, "cannot make his place in mail_root", config->mail_root);
	if (account_become(&usermail->account, why_r, size) != 0)
		return ACCOUNT_TEMP;
	if (usermail->homes >= 0)
		usermail->state = open_state(usermail);
	if (usermail->state >= 0)
		open_index(config, usermail);
	const char *root = homes ? usermail->account.home : config->mail_root;
	usermail->root = open_root(root);
	return usermail->root >= 0 ? ACCOUNT_OK : closed(why_r, size, homes ? "home" : "mail_root", root);
}

static enum account_err become_store(
    const struct config *config, struct usermail *usermail, char *why_r, size_t size)
{
	char homes[PATH_MAX];
	if (!usermail->stay && account_become(&usermail->account, why_r, size) != 0)
		return ACCOUNT_TEMP;
	usermail->root = open(config->mail_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (usermail->root < 0)
		return closed(why_r, size, "mail_root", config->mail_root);
	if (config->spool != NULL) {
		config_path(config, CONFIG_HOMES_DIR, homes);
		usermail->homes = open(homes, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (usermail->homes < 0)
			return closed(why_r, size, "state directory", homes);
	}
	config_path(config, CONFIG_INDEX_DIR, usermail->index);
	usermail->has_index = access(usermail->index, W_OK) == 0;
	return ACCOUNT_OK;
}

enum account_err usermail_become(
    const struct config *config, struct usermail *usermail, bool delivery, char *why_r, size_t size)
{
	return usermail->system ? become_account(config, usermail, delivery, why_r, size)
				: become_store(config, usermail, why_r, size);
}

void usermail_store_config(const struct usermail *usermail, struct store_config *store_config_r)
{
	*store_config_r = (struct store_config){.mail_root = usermail->root,
	    .index_dir = usermail->has_index ? usermail->index : NULL,
	    .index_of_one = usermail->system,
	    .homes = usermail->system && usermail->state < 0 ? -1 : usermail->homes};
}

/*
 * What is no directory, or behind a symbolic link, the store will not open either. Of an mbox, the folder:
 * locks lie there, and other programs replace it.
 */
static int open_place(const struct usermail *usermail)
{
	char folder[PATH_MAX];
	const char *path = usermail->place.path, *slash = strrchr(path, '/');
	if (usermail->place.format != MAILDROP_MBOX)
		return beneath_open(usermail->root, path, O_PATH | O_DIRECTORY, 0);
	snprintf(folder, sizeof folder, "%.*s", slash != NULL ? (int)(slash - path) : 1,
	    slash != NULL ? path : ".");
	return beneath_open(usermail->root, folder, O_PATH | O_DIRECTORY, 0);
}

size_t usermail_reach(const struct usermail *usermail, int fds_r[USERMAIL_REACH_COUNT])
{
	size_t count = 0;
	int place = open_place(usermail);
	if (place >= 0)
		fds_r[count++] = place;
	int state = usermail->state < 0 ? -1 : fcntl(usermail->state, F_DUPFD_CLOEXEC, 0);
	if (state >= 0)
		fds_r[count++] = state;
	return count;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void usermail_close(struct usermail *usermail)
{
	close_fd(&usermail->root);
	close_fd(&usermail->homes);
	close_fd(&usermail->state);
}
