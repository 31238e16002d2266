/* SPDX-License-Identifier: ISC */
#include "tools/user.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "server/identity.h"
#include "server/names.h"
#include "tools/users.h"

/* An option's short letter, or its number when it has none, is also its bit in struct command. */
enum {
	OPTION_FORMAT = 1,
	OPTION_ITERATIONS,
	OPTION_KEEP_GOING,
	OPTION_KEEP_REALM,
	OPTION_KEYS,
	OPTION_NO_WRITE,
	OPTION_PLAIN,
	OPTION_REALM,
	OPTION_REPLACE
};
#define BIT(option) (1u << (option))
#define FORMS (BIT(OPTION_PLAIN) | BIT(OPTION_KEYS) | BIT(OPTION_ITERATIONS))
#define IMPORTS                                                                                          \
	(FORMS | BIT(OPTION_FORMAT) | BIT(OPTION_REALM) | BIT(OPTION_KEEP_REALM) | BIT(OPTION_REPLACE) | \
	    BIT(OPTION_KEEP_GOING) | BIT(OPTION_NO_WRITE))

/* A stored user may have a name that no client can mean any more. */
enum operand { OPERAND_NONE = 0, OPERAND_USER, OPERAND_STORED, OPERAND_FILE };

static const struct command {
	const char *verb, *arguments, *help;
	enum operand operand;
	unsigned takes;
	int (*run)(const struct config *config, const struct options *options);
} commands[] = {
    {"add", "[-p] [--keys LIST] [--iterations N] NAME",
	"add a user; the password is asked for, or a line of standard input", OPERAND_USER, FORMS, users_add},
    {"passwd", "[-p] [--keys LIST] [--iterations N] NAME", "change a user's password", OPERAND_USER, FORMS,
	users_passwd},
    {"del", "NAME", "remove a user", OPERAND_STORED, 0, users_del},
    {"list", "", "list the users, each with what is stored", OPERAND_NONE, 0, users_list},
    {"show", "NAME", "say what is stored of a user, and what that is good for", OPERAND_STORED, 0,
	users_show},
    {"import", "[OPTION...] FILE|-", "add users of another server's file", OPERAND_FILE, IMPORTS,
	users_import},
};

#define COMMANDS_COUNT (sizeof(commands) / sizeof(commands[0]))

void user_usage(FILE *out)
{
	for (size_t i = 0; i < COMMANDS_COUNT; i++)
		fprintf(out, "       kpopctl [-c FILE] user %s%s%s\n            %s\n", commands[i].verb,
		    commands[i].arguments[0] != '\0' ? " " : "", commands[i].arguments, commands[i].help);
	fputs("         -p, --plain        keep the password itself too, as CRAM-MD5 and APOP need it\n"
	      "         --keys LIST        SCRAM keys to make, of SHA-1, SHA-256, SHA-512 (default: all)\n"
	      "         --iterations N     for these keys (default: as most users have, at first 4096)\n"
	      "         --format F         of the import: sasldb, dovecot, htpasswd (default: what it looks "
	      "like)\n"
	      "         --realm R          take only this realm's entries of a sasldb\n"
	      "         --keep-realm       name the users of a sasldb NAME@REALM\n"
	      "         --replace          import users who are there already, too\n"
	      "         --keep-going       import what can be, whatever cannot\n"
	      "         -n, --dry-run      only say what an import would do\n",
	    out);
}

static int misused(const char *why)
{
	kpopctl_fail("%s", why);
	exit(EX_USAGE);
}

/* "SHA-1,SCRAM-SHA-256" as bits. 0: not such names. */
static unsigned find_keys(const char *text)
{
	unsigned keys = 0;
	enum scram_hash hash;
	char name[16];

	for (;; text++) {
		size_t len = strcspn(text, ",");

		if (len >= sizeof(name))
			return 0;
		memcpy(name, text, len);
		name[len] = '\0';
		if (scramkeys_find(strncmp(name, "SCRAM-", 6) == 0 ? name + 6 : name, &hash) < 0)
			return 0;
		keys |= 1u << hash;
		text += len;
		if (*text == '\0')
			return keys;
	}
}

static uint32_t read_iterations(const char *text)
{
	char *end;
	unsigned long long count = strtoull(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || count < SECRETS_ITERATIONS_COUNT ||
	    count > SECRETS_ITERATIONS_MAX_COUNT)
		misused("--iterations takes 4096 to 1000000");
	return (uint32_t)count;
}

static unsigned read_keys(const char *text)
{
	unsigned keys = find_keys(text);

	if (keys == 0)
		misused("--keys takes a list of SHA-1, SHA-256 and SHA-512, with commas between");
	return keys;
}

static enum import_format read_format(const char *text)
{
	enum import_format format;

	if (import_format_find(text, &format) < 0)
		misused("--format takes sasldb, dovecot or htpasswd");
	return format;
}

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"plain", no_argument, NULL, 'p'},
    {"dry-run", no_argument, NULL, 'n'},
    {"format", required_argument, NULL, OPTION_FORMAT},
    {"iterations", required_argument, NULL, OPTION_ITERATIONS},
    {"keep-going", no_argument, NULL, OPTION_KEEP_GOING},
    {"keep-realm", no_argument, NULL, OPTION_KEEP_REALM},
    {"keys", required_argument, NULL, OPTION_KEYS},
    {"realm", required_argument, NULL, OPTION_REALM},
    {"replace", no_argument, NULL, OPTION_REPLACE},
    {NULL, 0, NULL, 0},
};

/* What was typed: the words, and which options are among them. */
struct typed {
	struct options options;
	unsigned given;
	char *words[3]; /* noun, verb, operand */
	int word_count;
};

static unsigned take_common(int c, struct options *options)
{
	switch (c) {
	case 'c':
		options->config = optarg;
		return 0;
	case 'p':
		options->forms.plain = true;
		return BIT(OPTION_PLAIN);
	case 'n':
		options->import.dry_run = true;
		return BIT(OPTION_NO_WRITE);
	case OPTION_ITERATIONS:
		options->forms.iterations = read_iterations(optarg);
		break;
	case OPTION_KEYS:
		options->forms.keys = read_keys(optarg);
		options->forms.chosen = true;
		break;
	case OPTION_FORMAT:
		options->import.format = read_format(optarg);
		break;
	case OPTION_REALM:
		options->import.realm = optarg;
		break;
	case OPTION_KEEP_REALM:
		options->import.keep_realm = true;
		break;
	case OPTION_REPLACE:
		options->import.replace = true;
		break;
	case OPTION_KEEP_GOING:
		options->import.keep_going = true;
		break;
	}
	return BIT(c);
}

static struct typed read_typed(int argc, char **argv)
{
	struct typed typed = {
	    .options = {.config = KPOPCTL_CONFIG, .operand = "", .forms = {.keys = SECRETS_ALL_KEYS}}};
	int c;

	while ((c = getopt_long(argc, argv, "c:pnhV", long_options, NULL)) != -1) {
		switch (c) {
		case 'V':
			exit(kpopctl_version());
		case 'h':
			exit(kpopctl_help(user_usage));
		case '?':
			exit(kpopctl_misused(user_usage));
		}
		typed.given |= take_common(c, &typed.options);
	}
	for (; optind < argc; optind++, typed.word_count++)
		if (typed.word_count < 3)
			typed.words[typed.word_count] = argv[optind];
	if (typed.word_count > 2)
		typed.options.operand = typed.words[2];
	return typed;
}

static const struct command *find(const struct typed *typed)
{
	for (size_t i = 0;
	     typed->word_count >= 2 && strcmp(typed->words[0], "user") == 0 && i < COMMANDS_COUNT; i++)
		if (strcmp(typed->words[1], commands[i].verb) == 0 &&
		    typed->word_count == (commands[i].operand != OPERAND_NONE ? 3 : 2) &&
		    (typed->given & ~commands[i].takes) == 0)
			return &commands[i];
	return NULL;
}

/* The server asks for users by their own names, whatever clients call them; so users are stored so. */
static int take_user(const struct config *config, enum operand kind, const char **operand)
{
	static char user[LIMIT_USER_OCTETS + 1];
	const char *why, *name = *operand;

	if (kind == OPERAND_STORED && identity_user_valid(name, strlen(name)) && users_stored(config, name))
		return EXIT_SUCCESS;
	if (names_canonical(config, name, strlen(name), user, &why) != 0)
		return kpopctl_fail("%s cannot be a user's name: %s", name, why);
	if (strcmp(user, name) != 0)
		fprintf(stderr, "kpopctl: %s is the user %s\n", name, user);
	*operand = user;
	return EXIT_SUCCESS;
}

int user_main(int argc, char **argv)
{
	struct typed typed = read_typed(argc, argv);
	const struct command *command = find(&typed);
	struct config *config;
	int status;

	if (command == NULL)
		return kpopctl_misused(user_usage);
	config = kpopctl_config(typed.options.config);
	if (config == NULL)
		return EXIT_FAILURE;
	status = command->operand == OPERAND_USER || command->operand == OPERAND_STORED
		     ? take_user(config, command->operand, &typed.options.operand)
		     : EXIT_SUCCESS;
	if (status == EXIT_SUCCESS)
		status = command->run(config, &typed.options);
	config_free(&config);
	return status;
}
