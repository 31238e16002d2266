/* SPDX-License-Identifier: ISC */
#include "server/authorize.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

void authorize(const struct config *config, struct identity *identity, const struct claim *claim,
    struct decision *decision_r)
{
	(void)config;
	*decision_r = (struct decision){.verdict = VERDICT_USER};
	if (!claim->kerberos)
		snprintf(decision_r->user, sizeof decision_r->user, "%s", claim->name);
	else if (identity == NULL || identity_from_principal(identity, claim->name, decision_r->user) < 0)
		refuse(decision_r, "%s is nobody's principal here (see auth_to_local in krb5.conf)",
		    claim->name);
	if (decision_r->verdict != VERDICT_USER)
		return;
	if (claim->requested[0] != '\0' && strcmp(claim->requested, decision_r->user) != 0)
		refuse(decision_r, "%s, who is %s here, wants to act as another user", claim->name,
		    decision_r->user);
	else if (!identity_user_valid(decision_r->user, strlen(decision_r->user)))
		refuse(decision_r, "the name is not one a user here can have");
}
