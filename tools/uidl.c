/* SPDX-License-Identifier: ISC */
#include "tools/uidl.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "server/folders.h"
#include "server/limits.h"
#include "server/names.h"
#include "tools/moving.h"
#include "tools/uidl_template.h"

#define TOP_LINES_MAX 1000000u
#define WHY_OCTETS (PATH_MAX + 256u)

/* An option's short letter, or its number when it has none, is also its bit in struct command. */
enum {
	OPTION_AGAINST = 1,
	OPTION_ALL,
	OPTION_AUTH,
	OPTION_CA_FILE,
	OPTION_CLEAR,
	OPTION_DIGEST,
	OPTION_FORMAT,
	OPTION_FULL,
	OPTION_KEEP_GOING,
	OPTION_LIST_ONLY,
	OPTION_LOGIN,
	OPTION_NEW,
	OPTION_NEW_LOGIN,
	OPTION_NEW_PASSWORD_FILE,
	OPTION_NO_WRITE,
	OPTION_PASSWORD_FILE,
	OPTION_TOP,
	OPTION_UIDL_FORMAT
};
#define BIT(option) (1u << (option))
#define THERE                                                                             \
	(BIT(OPTION_AUTH) | BIT(OPTION_CA_FILE) | BIT(OPTION_CLEAR) | BIT(OPTION_LOGIN) | \
	    BIT(OPTION_PASSWORD_FILE))
#define IMPORTS                                                                                          \
	(THERE | BIT(OPTION_ALL) | BIT(OPTION_FORMAT) | BIT(OPTION_UIDL_FORMAT) | BIT(OPTION_NO_WRITE) | \
	    BIT(OPTION_KEEP_GOING))
#define VERIFIES                                                                                    \
	(THERE | BIT(OPTION_AGAINST) | BIT(OPTION_FULL) | BIT(OPTION_LIST_ONLY) | BIT(OPTION_TOP) | \
	    BIT(OPTION_NEW) | BIT(OPTION_NEW_LOGIN) | BIT(OPTION_NEW_PASSWORD_FILE))

/* What was typed: the words, and which options are among them. */
struct typed {
	struct moving_options options;
	const char *config, *list;
	unsigned given;
	const char *words[4]; /* noun, verb, user or source, source */
	int word_count;
	char secret[MOVING_SECRET_OCTETS], new_secret[MOVING_SECRET_OCTETS];
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"dry-run", no_argument, NULL, 'n'},
    {"against", required_argument, NULL, OPTION_AGAINST},
    {"all", required_argument, NULL, OPTION_ALL},
    {"auth", required_argument, NULL, OPTION_AUTH},
    {"ca-file", required_argument, NULL, OPTION_CA_FILE},
    {"clear", no_argument, NULL, OPTION_CLEAR},
    {"digest", no_argument, NULL, OPTION_DIGEST},
    {"format", required_argument, NULL, OPTION_FORMAT},
    {"full", no_argument, NULL, OPTION_FULL},
    {"keep-going", no_argument, NULL, OPTION_KEEP_GOING},
    {"list-only", no_argument, NULL, OPTION_LIST_ONLY},
    {"login", required_argument, NULL, OPTION_LOGIN},
    {"new", required_argument, NULL, OPTION_NEW},
    {"new-login", required_argument, NULL, OPTION_NEW_LOGIN},
    {"new-password-file", required_argument, NULL, OPTION_NEW_PASSWORD_FILE},
    {"password-file", required_argument, NULL, OPTION_PASSWORD_FILE},
    {"top", required_argument, NULL, OPTION_TOP},
    {"uidl-format", required_argument, NULL, OPTION_UIDL_FORMAT},
    {NULL, 0, NULL, 0},
};

void uidl_usage(FILE *out)
{
	fputs(
	    "       kpopctl [-c FILE] uidl import [OPTION...] USER SOURCE\n"
	    "       kpopctl [-c FILE] uidl import [OPTION...] --all LIST [SOURCE]\n"
	    "            give messages the UIDLs that another server gave them, of a file or of pop3://HOST\n"
	    "       kpopctl [-c FILE] uidl export [--digest] USER\n"
	    "            print a user's messages and their UIDLs, as import reads it\n"
	    "       kpopctl [-c FILE] uidl verify --against URL [OPTION...] USER\n"
	    "            say whether clients of another server would notice if they came here now\n"
	    "         --format F         of a file: list, dovecot, courier, cyrus, mbox, uw, popa3d, x-uidl\n"
	    "         --uidl-format T    how that server makes a UIDL, as Dovecot's pop3_uidl_format says "
	    "it\n"
	    "         --keep-going       import what is sound, whatever is not\n"
	    "         -n, --dry-run      only say what an import would do\n"
	    "         --login NAME       at that server; %u, %n, %d are the user's (default: %u)\n"
	    "         --password-file F  the password, in the file's first line; - is standard input\n"
	    "         --auth MECHANISM   by which to log in there (default: the best it has)\n"
	    "         --ca-file FILE     authorities for its certificate (default: the system's)\n"
	    "         --clear            without TLS, with the password in clear text\n"
	    "         --top N, --full, --list-only\n"
	    "                            compare N lines of each message (default: 10), all of it, or none\n"
	    "         --new URL          ask this server by POP3, too (default: read its store)\n"
	    "         --new-login NAME, --new-password-file F\n"
	    "                            for that (default: as at the other one)\n"
	    "         --digest           name messages by their content, not by their files\n",
	    out);
}

static int misused(const char *why)
{
	kpopctl_fail("%s", why);
	exit(EX_USAGE);
}

static void hide_typing(bool hide)
{
	static struct termios before;
	struct termios now;

	if (isatty(STDIN_FILENO) == 0)
		return;
	if (hide && tcgetattr(STDIN_FILENO, &before) == 0) {
		now = before;
		now.c_lflag &= ~(tcflag_t)ECHO;
		fputs("Password: ", stderr);
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &now);
	} else if (!hide) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		fputc('\n', stderr);
	}
}

/* Before root is given up: such a file is best readable by nobody else. */
static void read_secret(const char *path, char *secret_r)
{
	bool standard = strcmp(path, "-") == 0;
	FILE *file = standard ? stdin : fopen(path, "re");
	char *got;

	if (file == NULL)
		exit(kpopctl_fail("%s: %s", path, strerror(errno)));
	setvbuf(file, NULL, _IONBF, 0); /* no copy stays behind */
	if (standard)
		hide_typing(true);
	got = fgets(secret_r, MOVING_SECRET_OCTETS, file);
	if (standard)
		hide_typing(false);
	else
		fclose(file);
	if (got == NULL)
		exit(kpopctl_fail("%s: no password in it", path));
	secret_r[strcspn(secret_r, "\r\n")] = '\0';
}

static void set_format(struct moving_options *options, const char *name)
{
	static const struct {
		const char *name;
		enum source_format format;
		const char *template;
	} more[] = {{"uw", SOURCE_MBOX, TEMPLATE_UW}, {"popa3d", SOURCE_MBOX, TEMPLATE_POPA3D},
	    {"qpopper", SOURCE_X_UIDL, NULL}};

	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		if (strcmp(name, more[i].name) == 0) {
			options->format = more[i].format;
			options->template = options->template != NULL ? options->template : more[i].template;
			return;
		}
	if (source_format_find(name, &options->format) != 0)
		misused("--format takes list, dovecot, courier, cyrus, mbox, uw, popa3d or x-uidl");
}

static uint32_t read_lines(const char *text)
{
	char *end;
	unsigned long lines = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || lines > TOP_LINES_MAX)
		misused("--top takes a number of lines, 0 to 1000000");
	return (uint32_t)lines;
}

static const char *checked_url(const char *url)
{
	const char *why = remote_url_check(url);

	if (why != NULL) {
		kpopctl_fail("%s: %s", url, why);
		exit(EX_USAGE);
	}
	return url;
}

static unsigned take_there(int c, struct typed *typed)
{
	struct moving_options *options = &typed->options;

	switch (c) {
	case OPTION_AGAINST:
		options->there.url = checked_url(optarg);
		break;
	case OPTION_AUTH:
		options->there.mechanism = optarg;
		break;
	case OPTION_CA_FILE:
		options->there.ca_file = optarg;
		break;
	case OPTION_CLEAR:
		options->there.clear = true;
		break;
	case OPTION_LOGIN:
		options->there.login = optarg;
		break;
	case OPTION_PASSWORD_FILE:
		read_secret(optarg, typed->secret);
		break;
	case OPTION_NEW:
		options->new_url = checked_url(optarg);
		break;
	case OPTION_NEW_LOGIN:
		options->new_login = optarg;
		break;
	case OPTION_NEW_PASSWORD_FILE:
		read_secret(optarg, typed->new_secret);
		options->new_secret = typed->new_secret;
		break;
	}
	return BIT(c);
}

static unsigned take(int c, struct typed *typed)
{
	struct moving_options *options = &typed->options;
	const char *why;

	switch (c) {
	case 'c':
		typed->config = optarg;
		return 0;
	case 'n':
		options->dry_run = true;
		return BIT(OPTION_NO_WRITE);
	case OPTION_ALL:
		typed->list = optarg;
		break;
	case OPTION_DIGEST:
		options->digest = true;
		break;
	case OPTION_FORMAT:
		set_format(options, optarg);
		break;
	case OPTION_KEEP_GOING:
		options->keep_going = true;
		break;
	case OPTION_FULL:
		options->body_lines = LIKENESS_WHOLE;
		break;
	case OPTION_LIST_ONLY:
		options->list_only = true;
		break;
	case OPTION_TOP:
		options->body_lines = read_lines(optarg);
		break;
	case OPTION_UIDL_FORMAT:
		why = template_check(optarg);
		if (why != NULL)
			misused(why);
		options->template = optarg;
		break;
	default:
		return take_there(c, typed);
	}
	return BIT(c);
}

static void read_typed(int argc, char **argv, struct typed *typed)
{
	int c;

	while ((c = getopt_long(argc, argv, "c:nhV", long_options, NULL)) != -1) {
		if (c == 'V')
			exit(kpopctl_version());
		if (c == 'h')
			exit(kpopctl_help(uidl_usage));
		if (c == '?')
			exit(kpopctl_misused(uidl_usage));
		typed->given |= take(c, typed);
	}
	for (; optind < argc; optind++, typed->word_count++)
		if (typed->word_count < 4)
			typed->words[typed->word_count] = argv[optind];
}

static int with_user(const struct config *config, const struct typed *typed, char *user_r)
{
	const char *why;

	if (names_canonical(config, typed->words[2], strlen(typed->words[2]), user_r, &why) == 0)
		return EXIT_SUCCESS;
	return kpopctl_fail("%s cannot be a user's name: %s", typed->words[2], why);
}

/* A UIDL's format is for files that have numbers, or for none: a server says its UIDLs itself. */
static bool formats_agree(const struct typed *typed)
{
	const struct moving_options *options = &typed->options;

	return options->template == NULL || options->format == SOURCE_DOVECOT ||
	       options->format == SOURCE_CYRUS || options->format == SOURCE_MBOX ||
	       options->format == SOURCE_GUESS;
}

static int import(const struct config *config, const struct typed *typed)
{
	char user[LIMIT_USER_OCTETS + 1], why[WHY_OCTETS];

	if (!formats_agree(typed))
		return kpopctl_fail("--uidl-format is for the formats dovecot, cyrus and mbox");
	if (typed->word_count > 2 && remote_is_address(typed->words[typed->word_count - 1]))
		checked_url(typed->words[typed->word_count - 1]);
	/* One moves in before the server's first start. */
	if (!typed->options.dry_run && folders_make(config, why, sizeof(why)) < 0)
		return kpopctl_fail("%s", why);
	if (typed->list != NULL)
		return moving_import_all(config, &typed->options, typed->list, typed->words[2]);
	if (with_user(config, typed, user) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	return moving_import(config, &typed->options, user, typed->words[3]);
}

static int export(const struct config *config, const struct typed *typed)
{
	char user[LIMIT_USER_OCTETS + 1];

	if (with_user(config, typed, user) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	return moving_export(config, &typed->options, user);
}

static int verify(const struct config *config, const struct typed *typed)
{
	char user[LIMIT_USER_OCTETS + 1];

	if (with_user(config, typed, user) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	return moving_verify(config, &typed->options, user);
}

static const struct command {
	const char *verb;
	unsigned takes, needs;
	int words, most_words;
	int (*run)(const struct config *config, const struct typed *typed);
} commands[] = {
    {"import", IMPORTS, 0, 4, 4, import},
    {"import", IMPORTS, BIT(OPTION_ALL), 2, 3, import},
    {"export", BIT(OPTION_DIGEST), 0, 3, 3, export},
    {"verify", VERIFIES, BIT(OPTION_AGAINST), 3, 3, verify},
};

static const struct command *find(const struct typed *typed)
{
	for (size_t i = 0; typed->word_count >= 2 && strcmp(typed->words[0], "uidl") == 0 &&
			   i < sizeof(commands) / sizeof(commands[0]);
	     i++)
		if (strcmp(typed->words[1], commands[i].verb) == 0 &&
		    typed->word_count >= commands[i].words && typed->word_count <= commands[i].most_words &&
		    (typed->given & ~commands[i].takes) == 0 &&
		    (typed->given & commands[i].needs) == commands[i].needs &&
		    (commands[i].needs != 0 || (typed->given & BIT(OPTION_ALL)) == 0))
			return &commands[i];
	return NULL;
}

int uidl_main(int argc, char **argv)
{
	struct typed typed = {.config = KPOPCTL_CONFIG, .options = {.body_lines = MOVING_TOP_LINES}};
	const struct command *command;
	struct config *config;
	int status = EXIT_FAILURE;

	read_typed(argc, argv, &typed);
	typed.options.there.secret = typed.secret;
	command = find(&typed);
	if (command == NULL)
		return kpopctl_misused(uidl_usage);
	config = kpopctl_config(typed.config);
	if (config != NULL)
		status = command->run(config, &typed);
	config_free(&config);
	explicit_bzero(&typed, sizeof(typed));
	return status;
}
