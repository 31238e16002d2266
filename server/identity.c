/* SPDX-License-Identifier: ISC */
#include "server/identity.h"

#include <string.h>

#define HOME "%h/"          /* with what the template begins where users have homes */
#define NO_DOMAIN "default" /* what %d is for a name without an @ */

static bool user_octet(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("._+-=@", c) != NULL);
}

bool identity_user_valid(const char *name, size_t len)
{
	if (len == 0 || len > LIMIT_USER_OCTETS || name[0] == '.' || name[0] == '-' || name[0] == '@')
		return false;
	size_t ats = 0;
	for (size_t i = 0; i < len; i++) {
		if (!user_octet(name[i]))
			return false;
		if (name[i] == '.' && i > 0 && name[i - 1] == '.')
			return false;
		if (name[i] == '@')
			ats++;
	}
	return ats <= 1 && name[len - 1] != '@';
}

/* What a template names: %u, %n, %d, and whether one component names several. */
struct template_use {
	bool user, local, domain, crowded;
};

/* -1: an unknown % or a template that is no relative path. */
static int template_scan(const char *template, struct template_use *use_r)
{
	unsigned in_component = 0;
	*use_r = (struct template_use){0};
	if (template[0] == '\0' || template[0] == '/' || strlen(template) >= PATH_MAX)
		return -1;
	for (const char *p = template; *p != '\0'; p++) {
		if (*p == '/')
			in_component = 0;
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return -1;
		if (*p != '%')
			continue;
		switch (*++p) {
		case 'u':
			use_r->user = true;
			break;
		case 'n':
			use_r->local = true;
			break;
		case 'd':
			use_r->domain = true;
			break;
		default:
			return -1;
		}
		if (++in_component > 1)
			use_r->crowded = true;
	}
	return 0;
}

static bool in_home(const char *template)
{
	return strncmp(template, HOME, sizeof(HOME) - 1) == 0;
}

static bool component_valid(const char *component, size_t len)
{
	return len > 0 && len <= NAME_MAX && !(len == 1 && component[0] == '.') &&
	       !(len == 2 && component[0] == '.' && component[1] == '.');
}

static bool path_valid(const char *path)
{
	for (;;) {
		size_t len = strcspn(path, "/");
		if (!component_valid(path, len))
			return false;
		if (path[len] == '\0')
			return true;
		path += len + 1;
	}
}

struct expansion {
	char *path;
	size_t len;
	bool full;
};

static void append(struct expansion *expansion, const char *text, size_t len)
{
	if (expansion->full || len >= PATH_MAX - expansion->len) {
		expansion->full = true;
		return;
	}
	memcpy(expansion->path + expansion->len, text, len);
	expansion->len += len;
	expansion->path[expansion->len] = '\0';
}

int identity_maildir(const char *maildir_template, const char *user, char *path_r)
{
	struct template_use use;
	struct expansion expansion = {.path = path_r};
	const char *at = strchr(user, '@');
	size_t local_len = at != NULL ? (size_t)(at - user) : strlen(user);
	const char *domain = at != NULL ? at + 1 : NO_DOMAIN;

	if (in_home(maildir_template))
		maildir_template += sizeof(HOME) - 1;
	if (template_scan(maildir_template, &use) != 0)
		return -1;
	/* alice and alice@default are two users and must never share a path. */
	if (!use.user && at != NULL && strcmp(domain, NO_DOMAIN) == 0)
		return -1;
	path_r[0] = '\0';
	for (const char *p = maildir_template; *p != '\0'; p++) {
		if (*p != '%')
			append(&expansion, p, 1);
		else if (*++p == 'u')
			append(&expansion, user, strlen(user));
		else if (*p == 'n')
			append(&expansion, user, local_len);
		else
			append(&expansion, domain, strlen(domain));
	}
	return expansion.full || !path_valid(path_r) ? -1 : 0;
}

enum spool_lock identity_spool_lock(const char *name)
{
	static const struct {
		const char *name;
		enum spool_lock lock;
	} locks[] = {
	    {"fcntl", SPOOL_LOCK_FCNTL}, {"dotlock", SPOOL_LOCK_DOTLOCK}, {"flock", SPOOL_LOCK_FLOCK}};
	for (size_t i = 0; i < sizeof(locks) / sizeof(locks[0]); i++)
		if (strcmp(name, locks[i].name) == 0)
			return locks[i].lock;
	return SPOOL_LOCK_NONE;
}

int identity_place(
    const struct config *config, const char *user, char *path_r, struct maildrop_place *place_r)
{
	bool mbox = config->spool != NULL;
	*place_r = (struct maildrop_place){
	    .user = user, .path = path_r, .format = mbox ? MAILDROP_MBOX : MAILDROP_MAILDIR};
	for (size_t i = 0; mbox && i < SPOOL_LOCKS_COUNT && config->spool_locks[i] != NULL; i++)
		place_r->spool_locks[i] = identity_spool_lock(config->spool_locks[i]);
	return identity_maildir(mbox ? config->spool : config->maildir, user, path_r);
}

bool identity_in_homes(const struct config *config)
{
	return in_home(config->spool != NULL ? config->spool : config->maildir);
}

static bool names_user(const char *component)
{
	for (size_t i = 0, len = strcspn(component, "/"); i + 1 < len; i++)
		if (component[i] == '%' && (component[i + 1] == 'u' || component[i + 1] == 'n'))
			return true;
	return false;
}

size_t identity_own_len(const struct config *config, const char *path)
{
	const char *template = config->spool != NULL ? config->spool : config->maildir;
	size_t len = strcspn(path, "/");
	if (in_home(template))
		return len;
	/* A name has no slash in it, so the path has as many components. */
	while (!names_user(template) && path[len] == '/') {
		template += strcspn(template, "/") + 1;
		len += 1 + strcspn(path + len + 1, "/");
	}
	return len;
}

bool identity_template_valid(const char *maildir_template)
{
	char path[PATH_MAX];
	struct template_use use;

	/* A home is one user's alone. */
	if (in_home(maildir_template))
		return identity_maildir(maildir_template, "u@d", path) == 0;
	if (template_scan(maildir_template, &use) != 0)
		return false;
	/* Two users, two paths: %n and %d run together would make one of "ab"@"c" and "a"@"bc". */
	if (!use.user && !(use.local && use.domain && !use.crowded))
		return false;
	return identity_maildir(maildir_template, "u@d", path) == 0;
}
