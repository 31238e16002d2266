/* SPDX-License-Identifier: ISC */
#include "k5login.h"

#include <errno.h>
#include <krb5.h>
#include <limits.h>
#include <profile.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where the library looks for user's file. false: nowhere, since the system does not know the user. */
static bool find_file(krb5_context context, const char *user, char path_r[PATH_MAX])
{
	profile_t profile = NULL;
	char *directory = NULL;
	int len = -1;

	if (krb5_get_profile(context, &profile) == 0)
		profile_get_string(profile, "libdefaults", "k5login_directory", NULL, NULL, &directory);
	if (directory != NULL) {
		len = snprintf(path_r, PATH_MAX, "%s/%s", directory, user);
	} else {
		const struct passwd *entry = getpwnam(user);
		if (entry != NULL)
			len = snprintf(path_r, PATH_MAX, "%s/.k5login", entry->pw_dir);
	}
	if (directory != NULL)
		profile_release_string(directory);
	if (profile != NULL)
		profile_release(profile);
	return len > 0 && len < PATH_MAX;
}

/*
 * The library takes a file that it cannot see for one that is not there, and would go on to the realm's
 * rules: a user's own list, behind a closed door, would be passed over.
 */
static bool closed(krb5_context context, const char *user)
{
	char path[PATH_MAX];

	return find_file(context, user, path) && access(path, F_OK) != 0 && errno != ENOENT;
}

enum k5login_verdict k5login_check(const char *user, const char *principal, char *why_r, size_t size)
{
	krb5_context context = NULL;
	krb5_principal parsed = NULL;
	enum k5login_verdict verdict = K5LOGIN_UNAVAILABLE;

	snprintf(why_r, size, "the Kerberos library does not start, or does not take the principal");
	if (krb5_init_context(&context) != 0)
		return verdict;
	if (krb5_parse_name(context, principal, &parsed) == 0) {
		if (closed(context, user)) {
			snprintf(why_r, size, ".k5login of %s: %s", user, strerror(errno));
		} else if (krb5_kuserok(context, parsed, user)) {
			snprintf(why_r, size, "allowed");
			verdict = K5LOGIN_YES;
		} else {
			snprintf(why_r, size, ".k5login of %s does not name the principal", user);
			verdict = K5LOGIN_NO;
		}
	}
	krb5_free_principal(context, parsed);
	krb5_free_context(context);
	return verdict;
}
