/* SPDX-License-Identifier: ISC */
#include "server/keywatch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "server/check.h"
#include "server/mechanism.h"

/* A file that is another one at each look is somebody's loop, not half of something. */
enum { UNSETTLED_COUNT = 4 };

static struct keywatch_state state_now(const struct config *config)
{
	struct keywatch_state now = {.keytab = false};
	struct stat st;
	char secrets[PATH_MAX];
	if (stat(config->keytab, &st) == 0) {
		now.keytab = true;
		now.dev = st.st_dev;
		now.ino = st.st_ino;
		now.mode = st.st_mode;
		now.uid = st.st_uid;
		now.octets = st.st_size;
		now.written = st.st_mtim;
		now.changed = st.st_ctim;
	}
	now.secrets = stat(config_path(config, CONFIG_SECRETS, secrets), &st) == 0;
	return now;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_keytab(const struct keywatch_state *a, const struct keywatch_state *b)
{
	return a->keytab == b->keytab && a->dev == b->dev && a->ino == b->ino && a->mode == b->mode &&
	       a->uid == b->uid && a->octets == b->octets && same_time(&a->written, &b->written) &&
	       same_time(&a->changed, &b->changed);
}

static unsigned difference(const struct keywatch_state *a, const struct keywatch_state *b)
{
	return (a->secrets != b->secrets ? (unsigned)KEYWATCH_SECRETS : 0) |
	       (same_keytab(a, b) ? 0 : (unsigned)KEYWATCH_KEYTAB);
}

void keywatch_init(struct keywatch *watch, const struct config *config)
{
	memset(watch, 0, sizeof *watch);
	watch->config = config;
	watch->taken = watch->seen = state_now(config);
}

unsigned keywatch_look(struct keywatch *watch, bool *soon_r)
{
	struct keywatch_state now = state_now(watch->config);
	bool settled = difference(&now, &watch->seen) == 0;
	*soon_r = false;
	watch->seen = now;
	if (difference(&now, &watch->taken) == 0) {
		watch->unsettled = 0;
		return 0;
	}
	if (!settled && ++watch->unsettled < UNSETTLED_COUNT) {
		*soon_r = true;
		return 0;
	}
	watch->unsettled = 0;
	return difference(&watch->taken, &now);
}

void keywatch_take(struct keywatch *watch)
{
	watch->taken = watch->seen = state_now(watch->config);
}

bool keywatch_moved(const struct keywatch *watch)
{
	struct keywatch_state now = state_now(watch->config);
	return difference(&now, &watch->taken) != 0;
}

/* Appends the names of our mechanisms that cannot do without the secrets file. How many. */
static unsigned list_mechanisms(const struct config *config, char *text, size_t size)
{
	unsigned count = 0;
	for (size_t i = 0; i < config->mechanism_count; i++) {
		size_t len = strlen(text);
		const struct mechanism *mechanism = mechanism_find(config->mechanisms[i]);
		if (!mechanism->kerberos && !(mechanism->plaintext && check_passwords_elsewhere(config)))
			snprintf(
			    text + len, size - len, "%s%s", count++ == 0 ? "" : ", ", config->mechanisms[i]);
	}
	return count;
}

bool keywatch_wants_keytab(const struct config *config)
{
	for (size_t i = 0; i < config->mechanism_count; i++)
		if (mechanism_find(config->mechanisms[i])->kerberos)
			return true;
	for (size_t i = 0; i < config->listener_count; i++)
		if (config->listeners[i].protocol == PROTOCOL_KPOP)
			return true;
	return false;
}

bool keywatch_missing_secrets(const struct config *config, char *text_r, size_t size)
{
	char names[256] = "", path[PATH_MAX];
	struct stat st;
	unsigned count = list_mechanisms(config, names, sizeof names);
	bool user_pass = config->user_pass && !check_passwords_elsewhere(config);
	*text_r = '\0';
	if ((count == 0 && !user_pass) || stat(config_path(config, CONFIG_SECRETS, path), &st) == 0)
		return false;
	snprintf(text_r, size,
	    "secrets %s: %s: no login with a password (%s%s%s) until it is there; make it with kpopctl user "
	    "add",
	    path, strerror(errno), names, count != 0 && user_pass ? ", " : "", user_pass ? "USER" : "");
	return true;
}
