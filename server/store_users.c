/* SPDX-License-Identifier: ISC */
#include "server/store_users.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/child.h"
#include "server/identity.h"
#include "server/ids.h"
#include "server/log.h"
#include "server/role.h"
#include "server/sandbox.h"
#include "server/usermail.h"

enum { WHY_OCTETS = 512, PATHS_COUNT = 16 };

#define TO_BECOME (IDS_CAPABILITY(CAP_SETUID) | IDS_CAPABILITY(CAP_SETGID))

/*
 * Name services and their modules read here, and the mail and the state lie there. Homes may be anywhere:
 * then the whole of the tree stays in reach of whoever has the rights, and each child keeps its user's part.
 */
static size_t list_paths(const struct config *config, struct sandbox_path paths_r[PATHS_COUNT])
{
	static char users[PATH_MAX];
	static const char *const services[] = {"/etc", "/usr/lib", "/usr/lib64", "/usr/share", "/lib",
	    "/lib64", "/run", "/var/run", "/var/lib/sss", "/var/lib/misc", "/var/lib/extrausers", "/dev/null",
	    NULL};
	size_t count = 0;
	if (identity_in_homes(config)) {
		paths_r[count++] = (struct sandbox_path){"/", SANDBOX_WRITE};
		return count;
	}
	paths_r[count++] = (struct sandbox_path){config->mail_root, SANDBOX_WRITE};
	paths_r[count++] = (struct sandbox_path){config_path(config, CONFIG_USERS_DIR, users), SANDBOX_WRITE};
	for (size_t i = 0; services[i] != NULL; i++)
		if (access(services[i], F_OK) == 0)
			paths_r[count++] = (struct sandbox_path){services[i], SANDBOX_READ};
	return count;
}

void store_users_enter(const struct config *config)
{
	char why[WHY_OCTETS];
	struct sandbox_path paths[PATHS_COUNT];
	struct sandbox sandbox = {.role = SANDBOX_USERS_PARENT,
	    .user = config->store_user,
	    .capabilities = TO_BECOME | IDS_CAPABILITY(CAP_KILL),
	    .first_uid = config->first_uid,
	    .paths = paths,
	    .path_count = list_paths(config, paths)};
	if (chdir("/") < 0)
		role_fail("cannot enter the root directory");
	if (sandbox_enter(&sandbox, why, sizeof why) < 0)
		role_fail(why);
	account_prepare(config);
}

void store_users_begin(void)
{
	char why[WHY_OCTETS];
	if (ids_drop_capabilities(TO_BECOME, why, sizeof why) < 0)
		role_fail(why);
}

static int refuse(struct drop *drop, enum account_err err, const char *why)
{
	drop_refuse(drop, err == ACCOUNT_TEMP ? REFUSAL_TEMP : REFUSAL_PERM, why);
	return -1;
}

/* The parent counts who there are of each user, and may say no: by a signal. */
static void ask_parent(uid_t uid, int leash)
{
	uint8_t buf[4];
	struct msg_writer w = {buf, sizeof buf, 0, false};
	struct pollfd fd = {.fd = leash, .events = POLLIN};
	enum leash_word word = LEASH_NOTHING;
	msg_put_u32(&w, uid);
	if (msg_send(leash, MSG_CHILD_BECOMES, buf, w.len, -1) != MSG_OK)
		_exit(1);
	/* A retirement is for those who wait. */
	while (word == LEASH_NOTHING || word == LEASH_RETIRE)
		if (poll(&fd, 1, -1) >= 0)
			word = child_hear(leash, NULL);
	if (word != LEASH_GRANTED)
		_exit(0);
}

/*
 * Where a delivery has to make what is missing of his mail, and what it reads on the way there: beneath the
 * first folder, or his home.
 */
static int reach_missing(const struct config *config, const struct usermail *usermail)
{
	char name[NAME_MAX + 1];
	if (identity_in_homes(config))
		return fcntl(usermail->root, F_DUPFD_CLOEXEC, 0);
	snprintf(name, sizeof name, "%.*s", (int)strcspn(usermail->path, "/"), usermail->path);
	return openat(usermail->root, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

/* From here on, this user's own and what is open already is all there is. */
static int lock_in(
    const struct config *config, const struct usermail *usermail, bool delivery, char *why_r, size_t size)
{
	int fds[USERMAIL_REACH_COUNT + 1];
	size_t count = usermail_reach(usermail, fds);
	int missing = delivery ? reach_missing(config, usermail) : -1;
	if (missing >= 0)
		fds[count++] = missing;
	int result = sandbox_confine(fds, count, why_r, size);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	return result < 0 ? -1 : sandbox_tighten(delivery ? SANDBOX_DELIVERER : SANDBOX_STORE, why_r, size);
}

static enum account_err become(const struct config *config, struct usermail *usermail, bool delivery, int fd,
    int leash, char *why_r, size_t size)
{
	ask_parent(usermail->account.ids.uid, leash);
	enum account_err err = usermail_become(config, usermail, delivery, why_r, size);
	/* What name services have left open was opened with more rights. */
	child_keep((int[]){leash, fd, usermail->root, usermail->homes, usermail->state}, 5);
	/* A name that is served, but cannot be just now. */
	if (err != ACCOUNT_OK)
		return delivery ? ACCOUNT_TEMP : err;
	if (lock_in(config, usermail, delivery, why_r, size) < 0)
		role_fail(why_r);
	if (usermail->trouble[0] != '\0')
		log_warning("%s", usermail->trouble);
	if (msg_send(leash, MSG_CHILD_SETTLED, NULL, 0, -1) != MSG_OK)
		_exit(0);
	return ACCOUNT_OK;
}

enum account_err store_users_deliver(const struct config *config, const char *user, int fd, int leash,
    struct store_config *config_r, char *why_r, size_t size)
{
	static struct usermail usermail;
	enum account_err err = usermail_find(config, user, &usermail, why_r, size);
	if (err == ACCOUNT_OK)
		err = become(config, &usermail, true, fd, leash, why_r, size);
	if (err == ACCOUNT_OK)
		usermail_store_config(&usermail, config_r);
	return err;
}

int store_users_become(
    const struct config *config, struct drop *drop, int leash, struct store_config *config_r)
{
	static struct usermail usermail;
	char why[WHY_OCTETS];
	if (drop_user(drop)[0] == '\0')
		return refuse(drop, ACCOUNT_REFUSED, "auth asked for a maildrop of no sound name");
	enum account_err err = usermail_find(config, drop_user(drop), &usermail, why, sizeof why);
	if (err == ACCOUNT_OK)
		err = become(config, &usermail, false, drop_fd(drop), leash, why, sizeof why);
	if (err != ACCOUNT_OK)
		return refuse(drop, err, why);
	usermail_store_config(&usermail, config_r);
	return 0;
}
