/* SPDX-License-Identifier: ISC */
/*
 * kpopctl: the users of a kpopd and their passwords, from the command line; kpopctl(8).
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "sasl/secrets.h"
#include "server/config.h"
#include "server/folders.h"
#include "server/identity.h"
#include "tools/password.h"

struct command {
	const char *noun, *verb, *arguments, *help;
	bool named, plain; /* takes NAME; takes -p */
	int (*run)(const struct config *config, const char *user, bool plain);
};

static int user_add(const struct config *config, const char *user, bool plain);
static int user_passwd(const struct config *config, const char *user, bool plain);
static int user_del(const struct config *config, const char *user, bool plain);
static int user_list(const struct config *config, const char *user, bool plain);

static const struct command commands[] = {
    {"user", "add", "[-p] NAME", "add a user; the password is asked for, or a line of standard input", true,
	true, user_add},
    {"user", "passwd", "[-p] NAME", "change a user's password", true, true, user_passwd},
    {"user", "del", "NAME", "remove a user", true, false, user_del},
    {"user", "list", "", "list the users, each with what is stored: keys, or keys+password", false, false,
	user_list},
};

#define COMMANDS_COUNT (sizeof(commands) / sizeof(commands[0]))

static int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int fail(const char *format, ...)
{
	va_list args;

	fputs("kpopctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return EXIT_FAILURE;
}

static void usage(FILE *out)
{
	for (size_t i = 0; i < COMMANDS_COUNT; i++)
		fprintf(out, "%s kpopctl [-c FILE] %s %s%s%s\n            %s\n", i == 0 ? "usage:" : "      ",
		    commands[i].noun, commands[i].verb, commands[i].arguments[0] != '\0' ? " " : "",
		    commands[i].arguments, commands[i].help);
	fputs("  -c, --config FILE  the server's configuration (default " KPOPD_SYSCONFDIR
	      "/kpopd/kpopd.conf)\n"
	      "  -p, --plain        keep the password itself too, as CRAM-MD5 and APOP need it\n"
	      "  -V, --version      print the version\n",
	    out);
}

static int trouble(const struct config *config, const char *path)
{
	int error = errno;

	if (error == ENOENT)
		return fail("%s: %s; \"kpopctl user add\" makes it", path, strerror(error));
	if (error == EIO)
		return fail(
		    "%s: %s, or no file of ours; put back a copy, or remove it and add the users again", path,
		    strerror(error));
	if (error == EACCES || error == EPERM)
		return fail(
		    "%s: %s; run kpopctl as root or as user %s", path, strerror(error), config->auth_user);
	return fail("%s: %s", path, strerror(error));
}

/* For writing: the folder may not be there yet when users are added before the server's first start. */
static struct secrets *open_secrets(const struct config *config, bool writer)
{
	char dir[PATH_MAX], path[PATH_MAX], why[512];
	struct secrets *secrets = NULL;
	struct stat st;

	config_path(config, CONFIG_AUTH_DIR, dir);
	if (writer && stat(dir, &st) < 0 && errno == ENOENT && folders_make(config, why, sizeof(why)) < 0) {
		fail("%s", why);
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
		return fail(
		    "%s is there already; to change the password: kpopctl user passwd %s", user, user);
	case SECRETS_NO_USER:
		return fail("no user %s", user);
	case SECRETS_INVALID:
		return fail("a password has 1 to %d octets", SECRETS_PASSWORD_OCTETS);
	default:
		return trouble(config, config_path(config, CONFIG_SECRETS, path));
	}
}

typedef int store_fn(struct secrets *secrets, const char *user, const char *password_secret, bool plain);

static int store(const struct config *config, const char *user, bool plain, store_fn *fn)
{
	char password_secret[PASSWORD_OCTETS];
	struct secrets *secrets = open_secrets(config, true);
	const char *why;
	int status;

	if (secrets == NULL)
		return EXIT_FAILURE;
	if (password_read(user, password_secret, &why) < 0) {
		status = fail("%s; nothing was changed", why);
	} else {
		status = report(config, fn(secrets, user, password_secret, plain), user);
		explicit_bzero(password_secret, sizeof(password_secret));
	}
	secrets_close(&secrets);
	return status;
}

static int user_add(const struct config *config, const char *user, bool plain)
{
	return store(config, user, plain, secrets_add);
}

static int user_passwd(const struct config *config, const char *user, bool plain)
{
	return store(config, user, plain, secrets_set);
}

static int user_del(const struct config *config, const char *user, bool plain)
{
	struct secrets *secrets = open_secrets(config, true);
	int status;

	(void)plain;
	if (secrets == NULL)
		return EXIT_FAILURE;
	status = report(config, secrets_delete(secrets, user), user);
	secrets_close(&secrets);
	return status;
}

static int print_user(void *arg, const char *user, bool plain)
{
	(void)arg;
	printf("%s\t%s\n", user, plain ? "keys+password" : "keys");
	return 0;
}

static int user_list(const struct config *config, const char *user, bool plain)
{
	struct secrets *secrets = open_secrets(config, false);
	int status;

	(void)user;
	(void)plain;
	if (secrets == NULL)
		return EXIT_FAILURE;
	status = report(config, secrets_list(secrets, print_user, NULL), "");
	secrets_close(&secrets);
	if (fflush(stdout) != 0 || ferror(stdout))
		status = fail("standard output: %s", strerror(errno));
	return status;
}

struct options {
	const char *config;
	bool plain;
	char *words[3]; /* noun, verb, NAME */
	int word_count;
};

static struct options options_read(int argc, char **argv)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"plain", no_argument, NULL, 'p'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	struct options read = {.config = KPOPD_SYSCONFDIR "/kpopd/kpopd.conf"};
	int c;

	while ((c = getopt_long(argc, argv, "c:phV", options, NULL)) != -1)
		switch (c) {
		case 'c':
			read.config = optarg;
			break;
		case 'p':
			read.plain = true;
			break;
		case 'V':
			puts("kpopctl " KPOPD_VERSION);
			exit(EXIT_SUCCESS);
		case 'h':
			usage(stdout);
			exit(EXIT_SUCCESS);
		default:
			usage(stderr);
			exit(EX_USAGE);
		}
	for (; optind < argc; optind++, read.word_count++)
		if (read.word_count < 3)
			read.words[read.word_count] = argv[optind];
	return read;
}

static const struct command *find(const struct options *options)
{
	for (size_t i = 0; options->word_count >= 2 && i < COMMANDS_COUNT; i++)
		if (strcmp(options->words[0], commands[i].noun) == 0 &&
		    strcmp(options->words[1], commands[i].verb) == 0 &&
		    options->word_count == (commands[i].named ? 3 : 2) &&
		    (!options->plain || commands[i].plain))
			return &commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	struct options options = options_read(argc, argv);
	const struct command *command = find(&options);
	struct config *config;
	char why[1024];
	int status;

	if (command == NULL) {
		usage(stderr);
		return EX_USAGE;
	}
	/* The server would never ask for such a name. */
	if (command->named && !identity_user_valid(options.words[2], strlen(options.words[2])))
		return fail("%s cannot be a user's name: letters, digits and ._+-=@, beginning with a "
			    "letter, digit, _, + or =",
		    options.words[2]);
	config = config_read(options.config, why, sizeof(why));
	if (config == NULL)
		return fail("%s", why);
	status = command->run(config, options.words[2], options.plain);
	config_free(&config);
	return status;
}
