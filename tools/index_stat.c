/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/inspect.h"
#include "tools/index_stat.h"
#include "tools/kpopctl.h"

#define AGE_OCTETS 32u
#define SIZE_OCTETS 16u

/* Over all environments; shared with the processes that look at them. */
struct sums {
	uint64_t environments, users, messages, octets, marked, damaged, disk_octets, map_octets, used_octets,
	    free_octets, bad, bad_octets;
	int64_t now, begun_secs;
};

static const char *state_text(enum inspect_state state)
{
	static const char *const texts[] = {[INSPECT_UNKNOWN] = "not in the index, the next login begins it",
	    [INSPECT_CURRENT] = "as the mail is",
	    [INSPECT_BEHIND] = "the next login will look at the mail",
	    [INSPECT_UNFINISHED] = "a login was cut short, the next goes on",
	    [INSPECT_DAMAGED] = "damaged, the next login begins it anew"};
	return texts[state];
}

void index_show_user(const char *user, const struct inspect_user *of, bool environment)
{
	printf("%s: ", user);
	if (of->state != INSPECT_UNKNOWN)
		printf("%" PRIu32 " messages (%" PRIu64 " octets), ", of->messages, of->octets);
	if (environment)
		printf("environment %s, ", of->env);
	printf("%s", state_text(of->state));
	if (of->changes > 0)
		printf(": %" PRIu32 " changes", of->changes);
	putchar('\n');
}

/* "12.3M" */
static const char *size_text(uint64_t octets, char text_r[SIZE_OCTETS])
{
	static const char units[] = " KMGTPE";
	double value = (double)octets;
	size_t unit = 0;
	for (; value >= 1000 && unit < sizeof(units) - 2; unit++)
		value /= 1024;
	if (unit == 0)
		snprintf(text_r, SIZE_OCTETS, "%" PRIu64, octets);
	else
		snprintf(text_r, SIZE_OCTETS, value < 10 ? "%.1f%c" : "%.0f%c", value, units[unit]);
	return text_r;
}

/* "3 h" */
static const char *age_text(int64_t now, int64_t then, char text_r[AGE_OCTETS])
{
	static const struct {
		int64_t secs;
		const char *name;
	} units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
	int64_t age = then > 0 && then < now ? now - then : 0;
	size_t i = 0;
	while (i < 3 && age < 2 * units[i].secs)
		i++;
	snprintf(text_r, AGE_OCTETS, "%lld %s", (long long)(age / units[i].secs), units[i].name);
	return text_r;
}

static void add(struct sums *sums, const struct inspect_env *env)
{
	sums->environments += env->there;
	sums->users += env->users;
	sums->messages += env->messages;
	sums->octets += env->octets;
	sums->marked += env->marked;
	sums->damaged += env->damaged;
	sums->disk_octets += env->disk_octets;
	sums->map_octets += env->map_octets;
	sums->used_octets += env->used_octets;
	sums->free_octets += env->free_octets;
	sums->bad += env->bad;
	sums->bad_octets += env->bad_octets;
}

static void show(const char *name, const struct inspect_env *env, int64_t now)
{
	char octets[SIZE_OCTETS], disk[SIZE_OCTETS], used[SIZE_OCTETS], map[SIZE_OCTETS], spare[SIZE_OCTETS],
	    begun[AGE_OCTETS], written[AGE_OCTETS], bad[SIZE_OCTETS];
	if (env->there)
		printf("%-12s %8" PRIu64 " %9" PRIu64 " %7s %7s %7s of %-5s %6s %8s %8s\n", name, env->users,
		    env->messages, size_text(env->octets, octets), size_text(env->disk_octets, disk),
		    size_text(env->used_octets, used), size_text(env->map_octets, map),
		    size_text(env->free_octets, spare), age_text(now, env->begun_secs, begun),
		    age_text(now, env->written_secs, written));
	if (env->trouble != NULL)
		printf("%-12s %s\n", name, env->trouble);
	if (env->damaged > 0)
		printf("%-12s %" PRIu64 " damaged records, the next login that meets one sets it aside\n",
		    name, env->damaged);
	if (env->bad)
		printf("%-12s was set aside %s ago: %s.bad takes %s, and may be deleted\n", name,
		    age_text(now, env->bad_secs, written), env->name, size_text(env->bad_octets, bad));
}

static int look(void *arg, const struct mailuser *mailuser)
{
	struct sums *sums = arg;
	unsigned count = inspect_env_count(mailuser->store);
	bool trouble = false;
	if (count == 0)
		printf("%s: there is no index\n", mailuser->user);
	for (unsigned i = 0; i < count; i++) {
		struct inspect_env env;
		inspect_env(mailuser->store, i, &env);
		show(mailuser->usermail->system ? mailuser->user : env.name, &env, sums->now);
		add(sums, &env);
		trouble = trouble || env.trouble != NULL || env.damaged > 0;
	}
	int64_t begun = inspect_boot_secs(mailuser->store);
	if (begun > 0 && (sums->begun_secs == 0 || begun < sums->begun_secs))
		sums->begun_secs = begun;
	return trouble ? VISIT_FAILED : VISIT_OK;
}

static void show_sums(const struct sums *sums)
{
	char octets[SIZE_OCTETS], disk[SIZE_OCTETS], used[SIZE_OCTETS], map[SIZE_OCTETS], spare[SIZE_OCTETS],
	    bad[SIZE_OCTETS], age[AGE_OCTETS];
	printf("%" PRIu64 " environments: %" PRIu64 " users, %" PRIu64 " messages (%s octets)\n",
	    sums->environments, sums->users, sums->messages, size_text(sums->octets, octets));
	printf("on the disk %s; of the maps %s of %s are used, %s of that free",
	    size_text(sums->disk_octets, disk), size_text(sums->used_octets, used),
	    size_text(sums->map_octets, map), size_text(sums->free_octets, spare));
	printf("\nformat %u", inspect_format());
	if (sums->begun_secs > 0)
		printf("; begun %s ago, in this boot", age_text(sums->now, sums->begun_secs, age));
	putchar('\n');
	if (sums->marked > 0)
		printf("%" PRIu64 " messages are gone, but for sessions that began before\n", sums->marked);
	if (sums->damaged > 0)
		printf("%" PRIu64 " records are damaged\n", sums->damaged);
	if (sums->bad > 0)
		printf("%" PRIu64 " set aside, which take %s\n", sums->bad, size_text(sums->bad_octets, bad));
}

/* ---- of some users ---- */

static int look_user(void *arg, const struct mailuser *mailuser)
{
	struct inspect_user of;
	(void)arg;
	if (inspect_user(mailuser->store, mailuser->place, &of) != MAILDROP_OK)
		return kpopctl_fail("%s: cannot be looked at now", mailuser->user);
	index_show_user(mailuser->user, &of, true);
	return VISIT_OK;
}

enum visit_status index_stat(const struct config *config, char *const *names)
{
	if (names[0] != NULL)
		return visit(&(struct visit){config, names, NULL, look_user, NULL});
	struct sums *sums = visit_shared(sizeof(*sums));
	if (sums == NULL)
		return VISIT_FAILED;
	sums->now = time(NULL);
	printf("%-12s %8s %9s %7s %7s %16s %6s %8s %8s\n",
	    config->mail_users == MAIL_USERS_SYSTEM ? "of" : "environment", "users", "messages", "octets",
	    "disk", "map used", "free", "begun", "written");
	enum visit_status status = VISIT_OK;
	if (config->mail_users == MAIL_USERS_SYSTEM)
		status = visit(&(struct visit){config, names, NULL, look, sums});
	else if (mailuser_run(config, config->store_user, look, sums) != VISIT_OK)
		status = VISIT_FAILED;
	show_sums(sums);
	return status;
}
