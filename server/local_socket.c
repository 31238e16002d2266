/* SPDX-License-Identifier: ISC */
#include "server/local_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 128 };

/* Always -1. */
static int refuse(const struct listener_config *config, char *why_r, size_t size, const char *why)
{
	snprintf(why_r, size, "listener %s: %s: %s", config->name, config->path, why);
	return -1;
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	return address;
}

/* Where anybody may write, anybody may put a socket of his own in its place, and be given the mail. */
int local_socket_check(const struct listener_config *config, char *why_r, size_t size)
{
	char folder[PATH_MAX];
	struct stat st;
	snprintf(
	    folder, sizeof folder, "%.*s", (int)(strrchr(config->path, '/') - config->path), config->path);
	if (stat(folder[0] != '\0' ? folder : "/", &st) < 0)
		return refuse(
		    config, why_r, size, errno == ENOENT ? "make the directory first" : strerror(errno));
	if ((st.st_mode & S_IWOTH) != 0)
		return refuse(config, why_r, size, "anybody may write to that directory; choose another");
	return 0;
}

/* Whether the file there is a socket that nobody listens on. */
static bool is_left_over(const struct sockaddr_un *address)
{
	struct stat st;
	if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool refused = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 &&
		       errno == ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return refused;
}

static int bind_there(int fd, const struct sockaddr_un *address)
{
	/* Nobody may connect before it has the owner and mode it is to have. */
	mode_t mask = umask(0177);
	int result = bind(fd, (const struct sockaddr *)address, sizeof *address);
	if (result < 0 && errno == EADDRINUSE && is_left_over(address) && unlink(address->sun_path) == 0)
		result = bind(fd, (const struct sockaddr *)address, sizeof *address);
	umask(mask);
	return result;
}

static int find_owner(
    const struct listener_config *config, uid_t *uid_r, gid_t *gid_r, char *why_r, size_t size)
{
	const struct passwd *user = config->path_owner == NULL ? NULL : getpwnam(config->path_owner);
	if (config->path_owner != NULL && user == NULL)
		return refuse(
		    config, why_r, size, "path_owner: there is no such user; make it, or name another");
	const struct group *group = config->path_group == NULL ? NULL : getgrnam(config->path_group);
	if (config->path_group != NULL && group == NULL)
		return refuse(
		    config, why_r, size, "path_group: there is no such group; make it, or name another");
	*uid_r = user != NULL ? user->pw_uid : geteuid();
	*gid_r = group != NULL ? group->gr_gid : getegid();
	return 0;
}

int local_socket_check_owner(const struct listener_config *config, char *why_r, size_t size)
{
	uid_t uid;
	gid_t gid;
	return find_owner(config, &uid, &gid, why_r, size);
}

/* file is a descriptor of the socket's file. */
static int own(
    const struct listener_config *config, int file, struct local_socket *socket_r, char *why_r, size_t size)
{
	char name[64];
	struct stat st;
	uid_t uid;
	gid_t gid;
	if (fstat(file, &st) < 0 || !S_ISSOCK(st.st_mode))
		return refuse(config, why_r, size, "something else is there now");
	if (find_owner(config, &uid, &gid, why_r, size) < 0)
		return -1;
	/* Root that may change owners, but nothing that is not its own: so it is made our own first. */
	mode_t mode = (mode_t)strtoul(config->path_mode, NULL, 8);
	bool ours = st.st_uid == geteuid();
	snprintf(name, sizeof name, "/proc/self/fd/%d", file);
	if ((st.st_mode & 0777) != mode &&
	    ((!ours && fchownat(file, "", geteuid(), (gid_t)-1, AT_EMPTY_PATH) < 0) || chmod(name, mode) < 0))
		return refuse(config, why_r, size, strerror(errno));
	if (fstat(file, &st) < 0 ||
	    ((st.st_uid != uid || st.st_gid != gid) && fchownat(file, "", uid, gid, AT_EMPTY_PATH) < 0))
		return refuse(config, why_r, size,
		    errno == EPERM ? "path_owner and path_group need root, or a group that is ours"
				   : strerror(errno));
	*socket_r = (struct local_socket){.device = st.st_dev, .inode = st.st_ino};
	snprintf(socket_r->path, sizeof socket_r->path, "%s", config->path);
	return 0;
}

int local_socket_own(
    const struct listener_config *config, struct local_socket *socket_r, char *why_r, size_t size)
{
	int file = open(config->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (file < 0)
		return refuse(config, why_r, size, strerror(errno));
	int result = own(config, file, socket_r, why_r, size);
	close(file);
	return result;
}

int local_socket_open(
    const struct listener_config *config, struct local_socket *socket_r, char *why_r, size_t size)
{
	struct sockaddr_un address = address_of(config->path);
	if (local_socket_check(config, why_r, size) < 0)
		return -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind_there(fd, &address) < 0) {
		refuse(config, why_r, size,
		    errno == EADDRINUSE ? "something is there already; end what listens there, or remove it"
					: strerror(errno));
	} else if (local_socket_own(config, socket_r, why_r, size) < 0) {
		unlink(config->path);
	} else if (listen(fd, LISTEN_BACKLOG) < 0) {
		refuse(config, why_r, size, strerror(errno));
		unlink(config->path);
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

bool local_socket_there(const struct local_socket *socket)
{
	struct stat st;
	return lstat(socket->path, &st) == 0 && st.st_dev == socket->device && st.st_ino == socket->inode;
}

void local_socket_remove(const struct local_socket *socket)
{
	if (local_socket_there(socket))
		unlink(socket->path);
}
