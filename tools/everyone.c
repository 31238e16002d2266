/* SPDX-License-Identifier: ISC */
#include "tools/everyone.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/identity.h"
#include "server/names.h"
#include "store/beneath.h"

#define NO_DOMAIN "default"
#define LOCK_SUFFIX ".lock" /* of mbox files, by other programs */

/* What %u, %n and %d stand for in the path so far; NULL: nothing yet. */
enum { USER, LOCAL_PART, DOMAIN_PART, VALUES_COUNT };
struct values {
	const char *of[VALUES_COUNT];
	size_t len[VALUES_COUNT];
};

/* One walk: the path so far, and where in the template it goes on. */
struct walk {
	const struct everyone *everyone;
	const char *template;
	bool file; /* what the template ends with is a file */
	char path[PATH_MAX];
	size_t len;
};

static int walk_directory(struct walk *walk, int dir, const char *template, const struct values *values);

/* ---- a name against a component ---- */

struct match {
	struct walk *walk;
	int dir;
	const char *rest; /* of the template, behind the component */
};

static int matched(const struct match *match, const struct values *values);

/* Whether pattern begins with a %: which of values it is. */
static int value_of(const char *pattern)
{
	static const char keys[] = "und";
	return (int)(strchr(keys, pattern[1]) - keys);
}

/*
 * Tries all there is to try: which of "%n" and "%d" in "%n%d" takes how much is only known when the user they
 * make has this path. Components that name one thing, as nearly all do, have one way.
 */
static int match_name(
    const struct match *match, const char *pattern, const char *name, const struct values *values)
{
	while (*pattern != '\0' && *pattern != '/' && *pattern != '%')
		if (*pattern++ != *name++)
			return 0;
	if (*pattern != '%')
		return *name == '\0' ? matched(match, values) : 0;
	int which = value_of(pattern);
	const char *behind = pattern + 2;
	if (values->of[which] != NULL) {
		size_t len = values->len[which];
		return strncmp(name, values->of[which], len) == 0 && strlen(name) >= len
			   ? match_name(match, behind, name + len, values)
			   : 0;
	}
	bool last = *behind == '\0' || *behind == '/';
	size_t all = strlen(name);
	int result = 0;
	for (size_t len = last ? all : 1; result == 0 && len > 0 && len <= all; len++) {
		struct values more = *values;
		more.of[which] = name;
		more.len[which] = len;
		result = match_name(match, behind, name + len, &more);
	}
	return result;
}

/* ---- a whole path ---- */

static bool is(const struct values *values, int which, const char *text, size_t len)
{
	return values->len[which] == len && memcmp(values->of[which], text, len) == 0;
}

/* What %n and %d must be, where they are, in the path of user. */
static bool agrees(const struct values *values, const char *user)
{
	const char *at = strchr(user, '@'), *domain = at != NULL ? at + 1 : NO_DOMAIN;
	size_t len = at != NULL ? (size_t)(at - user) : strlen(user);
	return (values->of[LOCAL_PART] == NULL || is(values, LOCAL_PART, user, len)) &&
	       (values->of[DOMAIN_PART] == NULL || is(values, DOMAIN_PART, domain, strlen(domain)));
}

/* false: these values are no user's. */
static bool user_of(const struct values *values, char user_r[LIMIT_USER_OCTETS + 1])
{
	int which = values->of[USER] != NULL ? USER : LOCAL_PART, len;
	if (values->of[which] == NULL)
		return false;
	if (which == USER || values->of[DOMAIN_PART] == NULL ||
	    is(values, DOMAIN_PART, NO_DOMAIN, sizeof(NO_DOMAIN) - 1))
		len = snprintf(
		    user_r, LIMIT_USER_OCTETS + 1, "%.*s", (int)values->len[which], values->of[which]);
	else
		len = snprintf(user_r, LIMIT_USER_OCTETS + 1, "%.*s@%.*s", (int)values->len[LOCAL_PART],
		    values->of[LOCAL_PART], (int)values->len[DOMAIN_PART], values->of[DOMAIN_PART]);
	return len > 0 && (size_t)len <= LIMIT_USER_OCTETS && agrees(values, user_r);
}

static bool is_lock(const char *path)
{
	size_t len = strlen(path), suffix = sizeof(LOCK_SUFFIX) - 1;
	return len > suffix && strcmp(path + len - suffix, LOCK_SUFFIX) == 0;
}

/* The path is a maildrop's if the user it names has just this path. */
static int found(const struct walk *walk, const struct values *values)
{
	char user[LIMIT_USER_OCTETS + 1], path[PATH_MAX];
	if (!user_of(values, user) || !identity_user_valid(user, strlen(user)) ||
	    !names_is_canonical(walk->everyone->config, user) ||
	    identity_maildir(walk->template, user, path) != 0 || strcmp(path, walk->path) != 0)
		return 0;
	return walk->file && is_lock(path) ? 0 : walk->everyone->fn(walk->everyone->arg, user);
}

static void cannot_read(const struct walk *walk)
{
	/* Something else than a directory is nobody's mail; and what is gone by now never was. */
	if (errno != ENOTDIR && errno != ELOOP && errno != ENOENT)
		walk->everyone->note(walk->everyone->arg, walk->len > 0 ? walk->path : ".", errno);
}

/* What is at the end of walk->path, which is name in dir. */
static int matched(const struct match *match, const struct values *values)
{
	struct walk *walk = match->walk;
	const char *name = strrchr(walk->path, '/');
	name = name != NULL ? name + 1 : walk->path;
	if (*match->rest == '\0') {
		struct stat st;
		bool there = fstatat(match->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			     (walk->file ? S_ISREG(st.st_mode) : S_ISDIR(st.st_mode));
		return there ? found(walk, values) : 0;
	}
	int inner = beneath_open(match->dir, name, O_RDONLY | O_DIRECTORY, 0);
	if (inner < 0) {
		cannot_read(walk);
		return 0;
	}
	return walk_directory(walk, inner, match->rest + 1, values);
}

/* One name in dir, against the component at template. */
static int try_name(
    struct walk *walk, int dir, const char *template, const char *name, const struct values *values)
{
	const struct match match = {walk, dir, template + strcspn(template, "/")};
	size_t before = walk->len, len = strlen(name), slash = before > 0;
	if (before + slash + len >= sizeof(walk->path))
		return 0;
	if (slash)
		walk->path[walk->len++] = '/';
	memcpy(walk->path + walk->len, name, len + 1);
	walk->len += len;
	/* The values are views into this level's copy: the path itself is cut and grown. */
	int result = match_name(&match, template, name, values);
	walk->len = before;
	walk->path[before] = '\0';
	return result;
}

static int try_names(struct walk *walk, DIR *dir, const char *template, const struct values *values)
{
	struct dirent *entry;
	int result = 0;
	while (result == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
		char name[NAME_MAX + 1];
		snprintf(name, sizeof(name), "%s", entry->d_name);
		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			result = try_name(walk, dirfd(dir), template, name, values);
	}
	if (entry == NULL && errno != 0)
		cannot_read(walk);
	return result;
}

/* A component without a % needs no reading. */
static int try_plain(struct walk *walk, int dir, const char *template, const struct values *values)
{
	char name[NAME_MAX + 1];
	size_t len = strcspn(template, "/");
	if (len >= sizeof(name))
		return 0;
	memcpy(name, template, len);
	name[len] = '\0';
	return try_name(walk, dir, template, name, values);
}

/* Takes dir over. */
static int walk_directory(struct walk *walk, int dir, const char *template, const struct values *values)
{
	int result = 0;
	if (memchr(template, '%', strcspn(template, "/")) == NULL) {
		result = try_plain(walk, dir, template, values);
		close(dir);
		return result;
	}
	DIR *stream = fdopendir(dir);
	if (stream == NULL) {
		cannot_read(walk);
		close(dir);
		return 0;
	}
	result = try_names(walk, stream, template, values);
	closedir(stream);
	return result;
}

int everyone_walk(const struct everyone *everyone, int root)
{
	const struct config *config = everyone->config;
	struct walk *walk = calloc(1, sizeof(*walk));
	int result = -1, dir = walk != NULL ? openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (walk != NULL && dir >= 0) {
		walk->everyone = everyone;
		walk->file = config->spool != NULL;
		walk->template = walk->file ? config->spool : config->maildir;
		result = walk_directory(walk, dir, walk->template, &(struct values){0});
	} else if (walk != NULL) {
		everyone->note(everyone->arg, config->mail_root, errno);
		result = 0;
	}
	free(walk);
	return result;
}
