/* SPDX-License-Identifier: ISC */
#include "tools/map.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "server/authorize.h"
#include "server/names.h"
#include "tools/kpopctl.h"

enum { INDICATORS_COUNT = 8 };

/* What was typed; NULL where nothing was. */
struct map_query {
	const char *config, *principal, *user, *from, *mechanism;
	const char *name; /* instead of a principal: what a client calls somebody */
	const char *indicators[INDICATORS_COUNT + 1];
};

static int wrong(const char *what, const char *value, const char *advice)
{
	fprintf(stderr, "kpopctl: %s %s: %s\n", what, value, advice);
	return EX_USAGE;
}

static bool read_peer(const char *text, struct peer *peer_r)
{
	*peer_r = (struct peer){0};
	if (inet_pton(AF_INET6, text, peer_r->address) == 1)
		return true;
	peer_r->address[10] = peer_r->address[11] = 0xff;
	return inet_pton(AF_INET, text, peer_r->address + 12) == 1;
}

/* Those that prove a principal; an answer for a misspelt one would be of no use. */
static bool mechanism_known(const char *name)
{
	static const char *const known[] = {
	    "GSSAPI", "GS2-KRB5", "GS2-KRB5-PLUS", "KPOP", "PLAIN", "LOGIN", "USER", NULL};
	const char *const *p = known;
	while (*p != NULL && strcmp(*p, name) != 0)
		p++;
	return *p != NULL;
}

/*
 * The server looks at its own copy of krb5.conf, made when it was started or reloaded: so do we, where it is
 * and we may read it.
 */
static const char *choose_krb5_conf(const struct config *config, char *path_r)
{
	config_path(config, CONFIG_KRB5_SNAPSHOT, path_r);
	const char *chosen = access(path_r, R_OK) == 0 ? path_r : config->krb5_conf;
	setenv("KRB5_CONFIG", chosen, 1);
	return chosen;
}

static void tell(void *arg, const struct map_config *rule, const char *why)
{
	const struct config *config = arg;
	printf("%s:%d: map %s does not apply: %s\n", config->file, rule->line, rule->name, why);
}

/* A user who wants to be another one. */
static int act(const struct config *config, const char *user, const char *wanted,
    const struct circumstances *circumstances)
{
	if (strcmp(user, wanted) == 0)
		return EXIT_SUCCESS;
	const struct proxy_config *proxy = delegation_find(config, user, wanted, circumstances);
	if (proxy == NULL) {
		printf("refused: no proxy lets %s open the maildrop of %s\n", user, wanted);
		return EXIT_FAILURE;
	}
	printf("%s:%d: proxy %s lets %s open the maildrop of %s\n", config->file, proxy->line, proxy->name,
	    user, wanted);
	return EXIT_SUCCESS;
}

static int decide(const struct config *config, const struct map_query *query, const char *wanted,
    const struct circumstances *circumstances)
{
	struct mapping_result result;
	char path[PATH_MAX];
	const char *krb5_conf = choose_krb5_conf(config, path);
	struct mapping *mapping = mapping_new(config);

	if (mapping == NULL) {
		fprintf(stderr, "kpopctl: %s: the Kerberos library does not take it\n", krb5_conf);
		return EXIT_FAILURE;
	}
	mapping_decide(
	    mapping, query->principal, wanted, circumstances, tell, (void *)(uintptr_t)config, &result);
	mapping_free(&mapping);
	if (result.rule != NULL)
		printf("%s: ", config->file);
	printf("%s%s\n", result.kind == MAPPING_REFUSED ? "refused: " : "", result.why);
	if (result.kind == MAPPING_USER && wanted[0] != '\0')
		return act(config, result.user, wanted, circumstances);
	if (result.kind == MAPPING_K5LOGIN && result.user[0] == '\0')
		puts("refused: the client has to name the user (--user)");
	return result.kind == MAPPING_USER || (result.kind == MAPPING_K5LOGIN && result.user[0] != '\0')
		   ? EXIT_SUCCESS
		   : EXIT_FAILURE;
}

static int show_name(const struct config *config, const char *name)
{
	char user[LIMIT_USER_OCTETS + 1];
	const char *why;

	if (names_canonical(config, name, strlen(name), user, &why) != 0) {
		printf("refused: %s\n", why);
		return EXIT_FAILURE;
	}
	puts(user);
	return EXIT_SUCCESS;
}

static int run(const struct config *config, const struct map_query *query)
{
	struct peer peer;
	const struct circumstances circumstances = {.indicators = query->indicators,
	    .peer = &peer,
	    .mechanism = query->mechanism != NULL ? query->mechanism : "GSSAPI"};
	char wanted[LIMIT_USER_OCTETS + 1] = "";
	const char *why;

	if (!read_peer(query->from != NULL ? query->from : "::1", &peer))
		return wrong("--from", query->from, "write a numeric address");
	if (!mechanism_known(circumstances.mechanism))
		return wrong("--mechanism", query->mechanism,
		    "no mechanism that brings a principal; write GSSAPI, GS2-KRB5, GS2-KRB5-PLUS, KPOP, "
		    "PLAIN, "
		    "LOGIN or USER");
	if (query->name != NULL)
		return show_name(config, query->name);
	if (query->user != NULL &&
	    names_canonical(config, query->user, strlen(query->user), wanted, &why) != 0)
		return wrong("--user", query->user, why);
	int status = decide(config, query, wanted, &circumstances);
	if (fflush(stdout) != 0 || ferror(stdout))
		return wrong("standard", "output", "cannot be written");
	return status;
}

void map_usage(FILE *out)
{
	fputs("       kpopctl [-c FILE] map [--user NAME] [--indicator INDICATOR] [--from ADDRESS]\n"
	      "               [--mechanism MECHANISM] PRINCIPAL\n"
	      "            say whose maildrop a Kerberos principal opens, by which rule, and why\n"
	      "       kpopctl [-c FILE] map --name NAME\n"
	      "            say which user a client means by NAME\n",
	    out);
}

/* false: one too many, or none of ours. */
static bool take_option(struct map_query *query, int c)
{
	const char **indicator = query->indicators;

	while (*indicator != NULL)
		indicator++;
	if (c == 'c')
		query->config = optarg;
	else if (c == 'u')
		query->user = optarg;
	else if (c == 'f')
		query->from = optarg;
	else if (c == 'm')
		query->mechanism = optarg;
	else if (c == 'n')
		query->name = optarg;
	else if (c == 'i' && indicator < query->indicators + INDICATORS_COUNT)
		*indicator = optarg;
	else
		return false;
	return true;
}

/* "map PRINCIPAL", or "map --name NAME" and no other option. */
static bool sound(struct map_query *query, int words, char **word)
{
	if (words < 1 || strcmp(word[0], "map") != 0)
		return false;
	if (query->name != NULL)
		return words == 1 && query->user == NULL && query->from == NULL && query->mechanism == NULL &&
		       query->indicators[0] == NULL;
	query->principal = word[1];
	return words == 2;
}

int map_main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"user", required_argument, NULL, 'u'},
	    {"indicator", required_argument, NULL, 'i'},
	    {"from", required_argument, NULL, 'f'},
	    {"mechanism", required_argument, NULL, 'm'},
	    {"name", required_argument, NULL, 'n'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	struct map_query query = {.config = KPOPCTL_CONFIG};
	struct config *config;
	int c;

	while ((c = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		if (c == 'h')
			return kpopctl_help(map_usage);
		if (c == 'V')
			return kpopctl_version();
		if (!take_option(&query, c))
			return kpopctl_misused(map_usage);
	}
	if (!sound(&query, argc - optind, argv + optind))
		return kpopctl_misused(map_usage);
	config = kpopctl_config(query.config);
	if (config == NULL)
		return EXIT_FAILURE;
	int status = run(config, &query);
	config_free(&config);
	return status;
}
