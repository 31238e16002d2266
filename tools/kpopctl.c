/* SPDX-License-Identifier: ISC */
/*
 * kpopctl: the users of a kpopd, their passwords and their mail, from the command line; kpopctl(8).
 */
#include "tools/kpopctl.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "tools/expire.h"
#include "tools/index.h"
#include "tools/map.h"
#include "tools/uidl.h"
#include "tools/user.h"

static const struct noun {
	const char *name;
	int (*main)(int argc, char **argv); /* gets all that was typed; returns the exit status */
	kpopctl_usage_fn *usage;
} nouns[] = {
    {"user", user_main, user_usage},
    {"map", map_main, map_usage},
    {"expire", expire_main, expire_usage},
    {"uidl", uidl_main, uidl_usage},
    {"index", index_main, index_usage},
};

#define NOUNS_COUNT (sizeof(nouns) / sizeof(nouns[0]))

int kpopctl_fail(const char *format, ...)
{
	va_list args;

	fputs("kpopctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return EXIT_FAILURE;
}

static void print_usage(FILE *out, kpopctl_usage_fn *usage)
{
	fputs("usage:\n", out);
	usage(out);
	fputs("  -c, --config FILE  the server's configuration (default " KPOPCTL_CONFIG ")\n"
	      "  -V, --version      print the version\n",
	    out);
}

int kpopctl_misused(kpopctl_usage_fn *usage)
{
	print_usage(stderr, usage);
	kpopctl_fail("the command line is none of these"); /* last, where it is seen */
	return EX_USAGE;
}

int kpopctl_help(kpopctl_usage_fn *usage)
{
	print_usage(stdout, usage);
	return EXIT_SUCCESS;
}

int kpopctl_version(void)
{
	puts("kpopctl " KPOPD_VERSION);
	return EXIT_SUCCESS;
}

struct config *kpopctl_config(const char *path)
{
	char why[1024];
	struct config *config = config_read(path, why, sizeof(why));

	if (config == NULL)
		kpopctl_fail("%s", why);
	return config;
}

/* Options may stand anywhere, so the noun is the first word that is one, and no file's name. */
static const struct noun *find_noun(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0) {
			i++;
			continue;
		}
		for (size_t n = 0; n < NOUNS_COUNT; n++)
			if (strcmp(argv[i], nouns[n].name) == 0)
				return &nouns[n];
	}
	return NULL;
}

static void all_usages(FILE *out)
{
	for (size_t n = 0; n < NOUNS_COUNT; n++)
		nouns[n].usage(out);
}

/* Nothing is asked for but the program itself. */
static int without_noun(int argc, char **argv)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		if (c == 'V')
			return kpopctl_version();
		if (c == 'h')
			return kpopctl_help(all_usages);
		if (c == '?')
			break;
	}
	if (optind >= argc)
		return kpopctl_misused(all_usages);
	print_usage(stderr, all_usages);
	kpopctl_fail("there is no command '%s'", argv[optind]);
	return EX_USAGE;
}

int main(int argc, char **argv)
{
	const struct noun *noun = find_noun(argc, argv);

	return noun != NULL ? noun->main(argc, argv) : without_noun(argc, argv);
}
