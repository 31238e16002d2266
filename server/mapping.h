/* SPDX-License-Identifier: ISC */
/*
 * mapping: from a Kerberos principal to a user, by the map sections of the configuration.
 *
 * For authorize and kpopctl. The sections are asked in their order and the first that applies decides; one
 * applies when the principal, the circumstances and the number of the principal's components are as it
 * says. Without any map section, auth_to_local of krb5.conf decides, which by default knows the principals
 * of one component in the default realm. What no section knows is nobody's; so are anonymous principals and
 * those with a NUL, a control character or no UTF-8 in them, whatever the sections say.
 * Never waits and reads no user's file: for k5login it says who is to be asked.
 */
#ifndef KPOPD_SERVER_MAPPING_H
#define KPOPD_SERVER_MAPPING_H

#include "server/circumstances.h"

enum { MAPPING_WHY_OCTETS = 512 };

enum mapping_kind {
	MAPPING_REFUSED = 0,
	MAPPING_USER,
	MAPPING_K5LOGIN, /* the .k5login of user decides */
};

struct mapping_result {
	enum mapping_kind kind;
	char user[LIMIT_USER_OCTETS + 1]; /* of MAPPING_K5LOGIN "" when the client did not say whose */
	const struct map_config *rule;    /* that decided; NULL: none */
	char why[MAPPING_WHY_OCTETS]; /* one line: what decided, and what it says; names in it are clients' */
};

/* A Kerberos context of its own, and the rules made ready. config must stay. */
struct mapping;
/* NULL: no memory, or krb5.conf unreadable. krb5.conf is the environment's (KRB5_CONFIG). */
struct mapping *mapping_new(const struct config *config);
void mapping_free(struct mapping **mapping);

/*
 * principal as krb5_unparse_name quotes it; requested is canonical, or "". tell, unless it is NULL, hears why
 * each rule before the deciding one did not apply.
 */
typedef void mapping_tell_fn(void *arg, const struct map_config *rule, const char *why);
void mapping_decide(struct mapping *mapping, const char *principal, const char *requested,
    const struct circumstances *circumstances, mapping_tell_fn *tell, void *arg,
    struct mapping_result *result_r);

/* Whether template may stand behind user = in a map: NULL, or a constant line that says why not. groups: how
 * many the regex has. */
const char *mapping_template_fault(const char *template, size_t groups);
/* Whether it names somebody by itself, without a part of the principal. */
bool mapping_template_fixed(const char *template);

#endif
