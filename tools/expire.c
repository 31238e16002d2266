/* SPDX-License-Identifier: ISC */
#include "tools/expire.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "server/policy.h"
#include "tools/progress.h"
#include "tools/visit.h"

#define DAY_SECS INT64_C(86400)

/* Over all users. */
struct totals {
	uint64_t users, in_use, messages, octets, left;
};

struct run {
	const struct config *config;
	bool dry, named; /* named: those who are asked about want an answer in any case */
	int64_t now;
	struct totals *totals; /* shared with the users' processes */
};

/* Of one user. */
struct harvest {
	const struct run *run;
	const struct mailuser *mailuser;
	struct maildrop *maildrop;
	int64_t before; /* what came earlier goes */
	uint8_t *marks;
	uint32_t count, marked, unknown;
	uint64_t octets;
};

void expire_usage(FILE *out)
{
	fputs("       kpopctl [-c FILE] expire [-n] [USER...]\n"
	      "            remove mail older than its user's expire_days; of all users, or of these\n"
	      "         -n, --dry-run      only say what would be removed\n",
	    out);
}

static int complain(const struct harvest *harvest, const char *what)
{
	kpopctl_fail("%s: %s: %s", harvest->mailuser->user, what,
	    errno != 0 ? strerror(errno) : "the lines above may say why");
	return VISIT_FAILED;
}

static bool marked(const struct harvest *harvest, uint32_t idx)
{
	return (harvest->marks[idx / 8] >> (idx % 8) & 1) != 0;
}

/* What went meanwhile need not be removed, and what nobody can tell the age of stays. */
static void mark_old(struct harvest *harvest)
{
	for (uint32_t idx = 0; idx < harvest->count; idx++) {
		int64_t secs;
		int rc = maildrop_arrived(harvest->maildrop, idx, &secs);
		progress(harvest->mailuser->user, idx, harvest->count);
		if (rc == MAILDROP_OK && secs < harvest->before) {
			harvest->marks[idx / 8] = (uint8_t)(harvest->marks[idx / 8] | 1u << (idx % 8));
			harvest->marked++;
		} else if (rc != MAILDROP_OK && rc != MAILDROP_GONE) {
			harvest->unknown++;
		}
	}
	progress_end();
}

static int add_octets(void *arg, uint32_t idx, const struct maildrop_entry *entry)
{
	struct harvest *harvest = arg;
	if (marked(harvest, idx))
		harvest->octets += entry->octets;
	return 0;
}

static void report(const struct harvest *harvest, uint32_t left, unsigned days)
{
	struct totals *totals = harvest->run->totals;
	totals->messages += harvest->marked - left;
	totals->octets += left == 0 ? harvest->octets : 0;
	totals->left += left;
	if (harvest->marked > 0 || harvest->run->named)
		printf("%s: %s %" PRIu32 " of %" PRIu32 " messages (%" PRIu64
		       " octets), older than %u days\n",
		    harvest->mailuser->user, harvest->run->dry ? "would remove" : "removed",
		    harvest->marked - left, harvest->count, harvest->octets, days);
}

static int reap(struct harvest *harvest, unsigned days)
{
	uint32_t left = 0;
	harvest->count = maildrop_count(harvest->maildrop);
	harvest->marks = calloc(1, harvest->count / 8u + 1);
	if (harvest->marks == NULL)
		return complain(harvest, "no memory");
	mark_old(harvest);
	errno = 0;
	if (maildrop_list(harvest->maildrop, 0, harvest->count, add_octets, harvest) != MAILDROP_OK)
		return complain(harvest, "cannot be listed");
	if (!harvest->run->dry && harvest->marked > 0)
		maildrop_expunge(harvest->maildrop, harvest->marks, (harvest->count + 7u) / 8u, &left);
	report(harvest, left, days);
	if (harvest->unknown > 0)
		kpopctl_fail("%s: of %" PRIu32 " messages nobody can tell the age now: they stay",
		    harvest->mailuser->user, harvest->unknown);
	if (left > 0)
		kpopctl_fail("%s: %" PRIu32 " messages could not be removed", harvest->mailuser->user, left);
	return left > 0 || harvest->unknown > 0 ? VISIT_FAILED : VISIT_OK;
}

/* Of many users there is nothing to do, and nothing is done. */
static bool something_expires(void *arg, const char *user)
{
	const struct run *run = arg;
	struct policy policy;
	policy_of(run->config, user, &policy);
	if (policy.expire_days != POLICY_NEVER && policy.expire_days != 0)
		return true;
	if (run->named)
		printf("%s: %s\n", user,
		    policy.expire_days == 0 ? "mail goes when it was fetched, none by its age"
					    : "mail is kept for ever");
	return false;
}

static int expire_user(void *arg, const struct mailuser *mailuser)
{
	const struct run *run = arg;
	struct harvest harvest = {.run = run, .mailuser = mailuser};
	struct maildrop_place place = *mailuser->place;
	struct policy policy;
	policy_of(mailuser->config, mailuser->user, &policy);
	/* Nobody else may be in it, also where sessions share theirs. */
	place.lock = MAILDROP_EXCLUSIVE;
	errno = 0;
	int rc = maildrop_open(mailuser->store, &place, &harvest.maildrop);
	if (rc == MAILDROP_IN_USE) {
		printf("%s: in use, left for the next time\n", mailuser->user);
		run->totals->in_use++;
		return VISIT_IN_USE;
	}
	if (rc != MAILDROP_OK)
		return complain(&harvest, "cannot be opened");
	run->totals->users++;
	harvest.before = run->now - (int64_t)policy.expire_days * DAY_SECS;
	int status = reap(&harvest, policy.expire_days);
	maildrop_close(&harvest.maildrop);
	free(harvest.marks);
	return status;
}

static int expire(const char *file, char *const *names, bool dry)
{
	struct config *config = kpopctl_config(file);
	struct run run = {.config = config, .dry = dry, .named = names[0] != NULL, .now = time(NULL)};
	run.totals = config != NULL ? visit_shared(sizeof(*run.totals)) : NULL;
	if (run.totals == NULL) {
		config_free(&config);
		return EXIT_FAILURE;
	}
	enum visit_status status =
	    visit(&(struct visit){config, names, something_expires, expire_user, &run});
	const struct totals *totals = run.totals;
	printf("%s %" PRIu64 " messages (%" PRIu64 " octets) of %" PRIu64 " users; %" PRIu64
	       " users in use, %" PRIu64 " messages not removed\n",
	    dry ? "would remove" : "removed", totals->messages, totals->octets, totals->users, totals->in_use,
	    totals->left);
	config_free(&config);
	return (int)status;
}

int expire_main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"dry-run", no_argument, NULL, 'n'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	const char *file = KPOPCTL_CONFIG;
	bool dry = false;
	int c;
	while ((c = getopt_long(argc, argv, "c:hnV", options, NULL)) != -1) {
		if (c == 'V')
			return kpopctl_version();
		if (c == 'h')
			return kpopctl_help(expire_usage);
		if (c == '?')
			return kpopctl_misused(expire_usage);
		if (c == 'n')
			dry = true;
		else
			file = optarg;
	}
	return optind < argc && strcmp(argv[optind], "expire") == 0 ? expire(file, argv + optind + 1, dry)
								    : kpopctl_misused(expire_usage);
}
