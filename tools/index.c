/* SPDX-License-Identifier: ISC */
#include "tools/index.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store/inspect.h"
#include "tools/index_stat.h"
#include "tools/progress.h"

/* Over all users; shared with their processes. */
struct totals {
	uint64_t users, messages, differences, in_use;
};

struct run {
	const struct config *config;
	bool named, all;
	struct totals *totals;
};

void index_usage(FILE *out)
{
	fputs("       kpopctl [-c FILE] index check [USER...]\n"
	      "            compare the index with the mail, and say how they differ\n"
	      "       kpopctl [-c FILE] index rebuild [--all | USER...]\n"
	      "            make the index anew from the mail, of all users or of these\n"
	      "         -a, --all          set aside all of the index first, whoever uses it\n"
	      "       kpopctl [-c FILE] index stat [USER...]\n"
	      "            say what the index holds and takes, or what it has of these users\n",
	    out);
}

static int failed(const struct run *run, const struct mailuser *mailuser, int rc)
{
	if (rc == MAILDROP_IN_USE) {
		printf("%s: in use, left out\n", mailuser->user);
		run->totals->in_use++;
		return VISIT_IN_USE;
	}
	kpopctl_fail("%s: %s", mailuser->user,
	    rc == MAILDROP_PERM
		? "the mail cannot be opened: it has the wrong type or owner, or is closed to us"
		: "cannot be done just now");
	return VISIT_FAILED;
}

/* ---- check ---- */

static void show_progress(void *arg, uint32_t done, uint32_t all)
{
	const struct mailuser *mailuser = arg;
	progress(mailuser->user, done, all);
}

static void show_difference(void *arg, const char *text)
{
	const struct mailuser *mailuser = arg;
	progress_end();
	printf("%s: %s\n", mailuser->user, text);
}

static int check_user(void *arg, const struct mailuser *mailuser)
{
	const struct run *run = arg;
	const struct inspect_teller teller = {show_difference, show_progress, (void *)(uintptr_t)mailuser};
	struct inspect_user of;
	int rc = inspect_check(mailuser->store, mailuser->place, &teller, &of);
	progress_end();
	if (rc != MAILDROP_OK)
		return failed(run, mailuser, rc);
	run->totals->users++;
	run->totals->messages += of.messages;
	run->totals->differences += of.differences;
	if (run->named)
		index_show_user(mailuser->user, &of, false);
	return of.differences > 0 ? VISIT_FAILED : VISIT_OK;
}

static enum visit_status index_check(const struct config *config, char *const *names)
{
	struct run run = {
	    .config = config, .named = names[0] != NULL, .totals = visit_shared(sizeof(*run.totals))};
	if (run.totals == NULL)
		return VISIT_FAILED;
	enum visit_status status = visit(&(struct visit){config, names, NULL, check_user, &run});
	printf("%" PRIu64 " users, %" PRIu64 " messages, %" PRIu64 " differences; %" PRIu64 " users in use\n",
	    run.totals->users, run.totals->messages, run.totals->differences, run.totals->in_use);
	return status;
}

/* ---- rebuild ---- */

/*
 * Whether a name was used again for another message only the old records can tell: so what has changed since
 * the last login is looked at while they are there. If that cannot be, so it is.
 */
static void settle(const struct mailuser *mailuser, const struct maildrop_place *place)
{
	struct inspect_user of;
	struct maildrop *maildrop;
	if (inspect_user(mailuser->store, place, &of) != MAILDROP_OK || of.state != INSPECT_BEHIND)
		return;
	if (maildrop_open(mailuser->store, place, &maildrop) == MAILDROP_OK)
		maildrop_close(&maildrop);
}

static int make_anew(const struct mailuser *mailuser, struct maildrop **maildrop_r)
{
	struct maildrop_place place = *mailuser->place;
	place.lock = MAILDROP_EXCLUSIVE;
	*maildrop_r = NULL;
	settle(mailuser, &place);
	int rc = inspect_forget(mailuser->store, &place);
	/* Who comes in between makes it anew himself. */
	return rc == MAILDROP_OK ? maildrop_open(mailuser->store, &place, maildrop_r) : rc;
}

static int rebuild_user(void *arg, const struct mailuser *mailuser)
{
	const struct run *run = arg;
	struct maildrop *maildrop;
	if (run->all && mailuser->usermail->system) {
		settle(mailuser, mailuser->place);
		inspect_set_aside(mailuser->store);
	}
	progress(mailuser->user, run->totals->users + 1, run->totals->users + 1);
	int rc = make_anew(mailuser, &maildrop);
	progress_end();
	if (rc == MAILDROP_GONE && run->named)
		printf("%s: there is no mail\n", mailuser->user);
	if (rc == MAILDROP_GONE)
		return VISIT_OK;
	if (rc != MAILDROP_OK)
		return failed(run, mailuser, rc);
	run->totals->users++;
	run->totals->messages += maildrop_count(maildrop);
	if (run->named)
		printf("%s: %" PRIu32 " messages (%" PRIu64 " octets)\n", mailuser->user,
		    maildrop_count(maildrop), maildrop_octets(maildrop));
	maildrop_close(&maildrop);
	return VISIT_OK;
}

static int settle_user(void *arg, const struct mailuser *mailuser)
{
	(void)arg;
	settle(mailuser, mailuser->place);
	return VISIT_OK;
}

/* With virtual users there is one index, and its owner is store_user: that any name can say. */
static int set_aside(void *arg, const struct mailuser *mailuser)
{
	(void)arg;
	inspect_set_aside(mailuser->store);
	return VISIT_OK;
}

static enum visit_status index_rebuild(const struct config *config, char *const *names, bool all)
{
	struct run run = {.config = config,
	    .named = names[0] != NULL,
	    .all = all,
	    .totals = visit_shared(sizeof(*run.totals))};
	if (run.totals == NULL)
		return VISIT_FAILED;
	if (all && config->mail_users == MAIL_USERS_VIRTUAL) {
		visit(&(struct visit){config, names, NULL, settle_user, NULL});
		if (mailuser_run(config, config->store_user, set_aside, NULL) != VISIT_OK)
			return VISIT_FAILED;
	}
	enum visit_status status = visit(&(struct visit){config, names, NULL, rebuild_user, &run});
	printf("%" PRIu64 " users, %" PRIu64 " messages; %" PRIu64 " users in use\n", run.totals->users,
	    run.totals->messages, run.totals->in_use);
	return status;
}

/* ---- what is typed ---- */

static int act(const char *file, const char *verb, char *const *names, bool all)
{
	struct config *config = kpopctl_config(file);
	enum visit_status status = VISIT_FAILED;
	if (config == NULL)
		return EXIT_FAILURE;
	if (strcmp(verb, "check") == 0)
		status = index_check(config, names);
	else if (strcmp(verb, "rebuild") == 0)
		status = index_rebuild(config, names, all);
	else
		status = index_stat(config, names);
	config_free(&config);
	return (int)status;
}

int index_main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"all", no_argument, NULL, 'a'},
	    {"config", required_argument, NULL, 'c'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	const char *file = KPOPCTL_CONFIG;
	bool all = false;
	int c;
	while ((c = getopt_long(argc, argv, "ac:hV", options, NULL)) != -1) {
		if (c == 'V')
			return kpopctl_version();
		if (c == 'h')
			return kpopctl_help(index_usage);
		if (c == '?')
			return kpopctl_misused(index_usage);
		if (c == 'a')
			all = true;
		else
			file = optarg;
	}
	const char *verb = optind + 1 < argc && strcmp(argv[optind], "index") == 0 ? argv[optind + 1] : "";
	char *const *names = argv + optind + 2;
	bool rebuild = strcmp(verb, "rebuild") == 0;
	if ((!rebuild && strcmp(verb, "check") != 0 && strcmp(verb, "stat") != 0) ||
	    (all && (!rebuild || names[0] != NULL)))
		return kpopctl_misused(index_usage);
	return act(file, verb, names, all);
}
