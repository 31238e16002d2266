/* SPDX-License-Identifier: ISC */
#include "tools/users.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sasl/credentials.h"
#include "server/folders.h"
#include "server/names.h"
#include "tools/kpopctl.h"
#include "tools/password.h"

static int trouble(const struct config *config, const char *path)
{
	int error = errno;

	if (error == ENOENT)
		return kpopctl_fail("%s: %s; \"kpopctl user add\" makes it", path, strerror(error));
	if (error == EIO)
		return kpopctl_fail(
		    "%s: %s, or no file of ours; put back a copy, or remove it and add the users again", path,
		    strerror(error));
	if (error == EACCES || error == EPERM)
		return kpopctl_fail(
		    "%s: %s; run kpopctl as root or as user %s", path, strerror(error), config->auth_user);
	return kpopctl_fail("%s: %s", path, strerror(error));
}

/* For writing: the folder may not be there yet when users are added before the server's first start. */
static struct secrets *open_secrets(const struct config *config, bool writer)
{
	char dir[PATH_MAX], path[PATH_MAX], why[512];
	struct secrets *secrets = NULL;
	struct stat st;

	config_path(config, CONFIG_AUTH_DIR, dir);
	if (writer && stat(dir, &st) < 0 && errno == ENOENT && folders_make(config, why, sizeof(why)) < 0) {
		kpopctl_fail("%s", why);
		return NULL;
	}
	if (secrets_open(&secrets, config_path(config, CONFIG_SECRETS, path), writer) != SECRETS_OK)
		trouble(config, path);
	return secrets;
}

static int report(const struct config *config, int rc, const char *user)
{
	char path[PATH_MAX];

	switch (rc) {
	case SECRETS_OK:
		return EXIT_SUCCESS;
	case SECRETS_EXISTS:
		return kpopctl_fail(
		    "%s is there already; to change the password: kpopctl user passwd %s", user, user);
	case SECRETS_NO_USER:
		return kpopctl_fail("no user %s", user);
	case SECRETS_INVALID:
		return kpopctl_fail("a password has 1 to %d octets", SECRETS_PASSWORD_OCTETS);
	case SECRETS_UNPREPARED:
		return kpopctl_fail("the password is not UTF-8, or has characters that no password may have "
				    "(RFC 4013), such as control characters");
	default:
		return trouble(config, config_path(config, CONFIG_SECRETS, path));
	}
}

static int store(const struct config *config, const struct options *options, enum secrets_entering how)
{
	char password_secret[PASSWORD_OCTETS];
	struct secrets *secrets = open_secrets(config, true);
	const char *why;
	int status;

	if (secrets == NULL)
		return EXIT_FAILURE;
	if (password_read(options->operand, password_secret, &why) < 0) {
		status = kpopctl_fail("%s; nothing was changed", why);
	} else {
		status = report(config,
		    secrets_enter(secrets, options->operand, password_secret, &options->forms, how),
		    options->operand);
		explicit_bzero(password_secret, sizeof(password_secret));
	}
	secrets_close(&secrets);
	return status;
}

/* Which keys all users have; before there is a file, all of them. */
static unsigned common_keys(const struct config *config)
{
	char path[PATH_MAX];
	struct secrets *secrets;
	unsigned keys = SECRETS_ALL_KEYS;

	if (secrets_open(&secrets, config_path(config, CONFIG_SECRETS, path), false) == SECRETS_OK)
		keys = secrets_keys(secrets);
	secrets_close(&secrets);
	return keys;
}

/* What the server offers may change with its users. */
static int changing(const struct config *config, const struct options *options,
    int (*change)(const struct config *config, const struct options *options))
{
	unsigned before = common_keys(config), after;
	int status = change(config, options);

	after = common_keys(config);
	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++)
		if (((before ^ after) & 1u << hash) != 0)
			fprintf(stderr,
			    "kpopctl: SCRAM-%s will %s offered from the server's next reload: %s\n",
			    scramkeys_name((enum scram_hash)hash),
			    (after & 1u << hash) != 0 ? "be" : "no longer be",
			    (after & 1u << hash) != 0 ? "all users have keys for it"
						      : "not all users have keys for it");
	return status;
}

static int add(const struct config *config, const struct options *options)
{
	return store(config, options, SECRETS_ADD);
}

static int passwd(const struct config *config, const struct options *options)
{
	return store(config, options, SECRETS_REPLACE);
}

static int del(const struct config *config, const struct options *options)
{
	struct secrets *secrets = open_secrets(config, true);
	int status;

	if (secrets == NULL)
		return EXIT_FAILURE;
	status = report(config, secrets_delete(secrets, options->operand), options->operand);
	secrets_close(&secrets);
	return status;
}

int users_add(const struct config *config, const struct options *options)
{
	return changing(config, options, add);
}

int users_passwd(const struct config *config, const struct options *options)
{
	return changing(config, options, passwd);
}

int users_del(const struct config *config, const struct options *options)
{
	return changing(config, options, del);
}

/* "SCRAM-SHA-256,password", in the order of a record. */
static int print_user(void *arg, const char *user, const struct credentials *record)
{
	const char *comma = "";

	if (!names_is_canonical(arg, user))
		fprintf(stderr,
		    "kpopctl: %s is no user's name by this configuration, and nobody logs in by it; see "
		    "\"kpopctl map --name %s\"\n",
		    user, user);
	printf("%s\t", user);
	if (record == NULL) {
		puts("damaged");
		return 0;
	}
	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++)
		if (record->keys[hash].iterations != 0) {
			printf("%sSCRAM-%s", comma, scramkeys_name((enum scram_hash)hash));
			comma = ",";
		}
	if (record->hash[0] != '\0') {
		printf("%s%s", comma, passhash_name(record->hash));
		comma = ",";
	}
	printf("%s\n", record->plain ? ",password" : "");
	return 0;
}

static int flushed(int status)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		return kpopctl_fail("standard output: %s", strerror(errno));
	return status;
}

int users_list(const struct config *config, const struct options *options)
{
	struct secrets *secrets = open_secrets(config, false);
	int status;

	(void)options;
	if (secrets == NULL)
		return EXIT_FAILURE;
	status = report(config, secrets_list(secrets, print_user, (void *)(uintptr_t)config), "");
	secrets_close(&secrets);
	return flushed(status);
}

static void print_forms(const struct credentials *record)
{
	char cost[PASSHASH_OCTETS + 1];

	for (int hash = 0; hash < SCRAM_HASH_COUNT; hash++)
		if (record->keys[hash].iterations != 0)
			printf("SCRAM-%s\tkeys, %u iterations\n", scramkeys_name((enum scram_hash)hash),
			    (unsigned)record->keys[hash].iterations);
	if (passhash_cost(record->hash, cost) == 0)
		printf("%s\thash, %s\n", passhash_name(record->hash), cost);
	if (record->plain)
		puts("password\tkept");
}

static void print_mechanisms(const struct credentials *record)
{
	fputs("logs in by\tPLAIN LOGIN USER", stdout);
	for (int hash = SCRAM_HASH_COUNT - 1; hash >= 0; hash--)
		if (record->keys[hash].iterations != 0)
			printf(" SCRAM-%s", scramkeys_name((enum scram_hash)hash));
	puts(record->plain ? " CRAM-MD5 APOP" : "");
}

bool users_stored(const struct config *config, const char *name)
{
	char path[PATH_MAX];
	struct secrets *secrets = NULL;
	struct credentials record;
	int rc;

	if (secrets_open(&secrets, config_path(config, CONFIG_SECRETS, path), false) != SECRETS_OK)
		return false;
	rc = secrets_get(secrets, name, &record);
	explicit_bzero(&record, sizeof(record));
	secrets_close(&secrets);
	return rc == SECRETS_OK || (rc == SECRETS_TEMP && errno == EBADMSG);
}

int users_show(const struct config *config, const struct options *options)
{
	struct secrets *secrets = open_secrets(config, false);
	struct credentials record;
	int rc, status;

	if (secrets == NULL)
		return EXIT_FAILURE;
	rc = secrets_get(secrets, options->operand, &record);
	if (rc == SECRETS_OK) {
		print_forms(&record);
		print_mechanisms(&record);
	}
	if (rc == SECRETS_TEMP && errno == EBADMSG)
		status = kpopctl_fail("the entry of %s is damaged; to make it anew: kpopctl user passwd %s",
		    options->operand, options->operand);
	else
		status = report(config, rc, options->operand);
	credentials_clear(&record);
	secrets_close(&secrets);
	return flushed(status);
}

static struct secrets *open_for_import(const struct config *config, bool writer)
{
	char path[PATH_MAX];

	if (!writer && access(config_path(config, CONFIG_SECRETS, path), F_OK) < 0 && errno == ENOENT)
		return NULL;
	return open_secrets(config, writer);
}

static int import_users(const struct config *config, const struct options *options)
{
	struct import_options import = options->import;

	import.forms = options->forms;
	import.open = open_for_import;
	import.config = config;
	return flushed(import_run(options->operand, &import));
}

int users_import(const struct config *config, const struct options *options)
{
	return changing(config, options, import_users);
}
