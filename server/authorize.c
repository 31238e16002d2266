/* SPDX-License-Identifier: ISC */
#include "server/authorize.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/names.h"

static void refuse(struct decision *decision, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void refuse(struct decision *decision, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(decision->why, sizeof decision->why, format, args);
	va_end(args);
	decision->verdict = VERDICT_REFUSED;
	decision->user[0] = '\0';
}

/* Who it is that has proved a principal. */
static void map(struct mapping *mapping, const struct claim *claim, const char *requested,
    const struct circumstances *circumstances, struct decision *decision)
{
	struct mapping_result result;

	if (mapping == NULL) {
		refuse(decision, "principals are not taken here");
		return;
	}
	mapping_decide(mapping, claim->name, requested, circumstances, NULL, NULL, &result);
	decision->map = result.rule;
	if (result.kind == MAPPING_REFUSED)
		refuse(decision, "%.200s is nobody here: %.250s", claim->name, result.why);
	else if (result.kind == MAPPING_K5LOGIN && result.user[0] == '\0' && !claim->undecided)
		refuse(decision, "%.200s has to name the user whose .k5login is to be read", claim->name);
	else if (result.kind == MAPPING_K5LOGIN)
		decision->verdict = VERDICT_ASK;
	snprintf(decision->user, sizeof decision->user, "%s",
	    decision->verdict == VERDICT_REFUSED ? "" : result.user);
}

/* Somebody who is a user wants to be another one. */
static void act(const struct config *config, const struct claim *claim, const char *requested,
    const struct circumstances *circumstances, struct decision *decision)
{
	decision->proxy = delegation_find(config, decision->user, requested, circumstances);
	if (decision->proxy == NULL) {
		refuse(decision,
		    "%.200s, who is %.200s here, wants to act as another user, and no proxy lets it",
		    claim->name, decision->user);
		return;
	}
	snprintf(decision->administrator, sizeof decision->administrator, "%s", decision->user);
	snprintf(decision->user, sizeof decision->user, "%s", requested);
}

void authorize(const struct config *config, struct mapping *mapping, const struct claim *claim,
    struct decision *decision_r)
{
	const struct circumstances circumstances = {claim->indicators, claim->peer, claim->mechanism};
	char requested[LIMIT_USER_OCTETS + 1] = "";
	const char *why = "";

	*decision_r = (struct decision){.verdict = VERDICT_USER};
	if (claim->requested[0] != '\0' &&
	    names_canonical(config, claim->requested, strlen(claim->requested), requested, &why) != 0) {
		refuse(
		    decision_r, "%.200s wants to act as a name that nobody can have: %s", claim->name, why);
		return;
	}
	if (claim->kerberos)
		map(mapping, claim, requested, &circumstances, decision_r);
	else if (names_canonical(config, claim->name, strlen(claim->name), decision_r->user, &why) != 0)
		refuse(decision_r, "%.200s cannot be a user's name: %s", claim->name, why);
	if (decision_r->verdict == VERDICT_USER && requested[0] != '\0' &&
	    strcmp(requested, decision_r->user) != 0)
		act(config, claim, requested, &circumstances, decision_r);
}
