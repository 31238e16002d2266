/* SPDX-License-Identifier: ISC */
#include "server/mapping.h"

#include <krb5.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/identity.h"
#include "server/names.h"
#include "server/utf8.h"

enum { GROUPS_COUNT = 10 };

struct rule {
	krb5_principal principal;
	regex_t regex;
	bool has_regex;
};

struct mapping {
	const struct config *config;
	krb5_context context;
	struct rule *rules; /* as many as config->maps */
};

/* One decision. */
struct question {
	struct mapping *mapping;
	const char *text; /* the principal as it was given */
	krb5_principal principal;
	regmatch_t groups[GROUPS_COUNT]; /* of the rule that is asked now */
	struct mapping_result *result;
};

/* ---- making rules ready ---- */

static bool make_rule(krb5_context context, const struct map_config *map, struct rule *rule_r)
{
	if (map->principal != NULL && krb5_parse_name_flags(context, map->principal,
					  KRB5_PRINCIPAL_PARSE_REQUIRE_REALM, &rule_r->principal) != 0)
		return false;
	rule_r->has_regex = map->regex != NULL && regcomp(&rule_r->regex, map->regex, REG_EXTENDED) == 0;
	return map->regex == NULL || rule_r->has_regex;
}

struct mapping *mapping_new(const struct config *config)
{
	struct mapping *mapping = calloc(1, sizeof *mapping);
	if (mapping == NULL)
		return NULL;
	mapping->config = config;
	mapping->rules = calloc(config->map_count + 1, sizeof *mapping->rules);
	bool good = mapping->rules != NULL && krb5_init_context(&mapping->context) == 0;
	for (size_t i = 0; good && i < config->map_count; i++)
		good = make_rule(mapping->context, &config->maps[i], &mapping->rules[i]);
	if (!good)
		mapping_free(&mapping);
	return mapping;
}

void mapping_free(struct mapping **mapping)
{
	struct mapping *m = *mapping;
	if (m == NULL)
		return;
	for (size_t i = 0; m->rules != NULL && i < m->config->map_count; i++) {
		krb5_free_principal(m->context, m->rules[i].principal);
		if (m->rules[i].has_regex)
			regfree(&m->rules[i].regex);
	}
	free(m->rules);
	krb5_free_context(m->context);
	free(m);
	*mapping = NULL;
}

/* ---- templates ---- */

const char *mapping_template_fault(const char *template, size_t groups)
{
	if (template[0] == '\0')
		return "is empty";
	for (const char *p = template; *p != '\0'; p++) {
		if (*p == '%' && (*++p == '\0' || strchr("nlrd", *p) == NULL))
			return "has a % that is none of %n, %l, %r and %d";
		if (*p != '\\')
			continue;
		if (*++p < '1' || *p > '9')
			return "has a backslash that is not followed by a digit from 1 to 9";
		if ((size_t)(*p - '0') > groups)
			return "names more groups than the regex has";
	}
	return NULL;
}

bool mapping_template_fixed(const char *template)
{
	return strpbrk(template, "%\\") == NULL;
}

/* The user that is being made; too is set once it has no room. */
struct making {
	char *user;
	size_t len;
	bool bad;
};

static void add(struct making *making, const char *text, size_t len, bool small)
{
	if (making->bad || len > LIMIT_USER_OCTETS - making->len) {
		making->bad = true;
		return;
	}
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		making->user[making->len++] = small && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	making->user[making->len] = '\0';
}

static void add_group(struct making *making, const struct question *question, unsigned number)
{
	regmatch_t group = question->groups[number];
	if (group.rm_so >= 0)
		add(making, question->text + group.rm_so, (size_t)(group.rm_eo - group.rm_so), false);
}

/* false: it does not fit; a name that cannot be is found later. */
static bool expand(const struct question *question, const char *template, char *user_r)
{
	struct making making = {.user = user_r};
	const krb5_data *name = &question->principal->data[0], *realm = &question->principal->realm;
	user_r[0] = '\0';
	for (const char *p = template; *p != '\0'; p++) {
		if (*p == '\\')
			add_group(&making, question, (unsigned)(*++p - '0'));
		else if (*p != '%')
			add(&making, p, 1, false);
		else if (*++p == 'n')
			add(&making, name->data, name->length, false);
		else if (*p == 'l')
			add(&making, name->data, name->length, true);
		else
			add(&making, realm->data, realm->length, *p == 'd');
	}
	return !making.bad;
}

/* ---- one rule ---- */

static bool same_text(const krb5_data *data, const char *text)
{
	return data->length == strlen(text) && memcmp(data->data, text, data->length) == 0;
}

/* The whole principal or nothing: a regex without anchors must not find alice in malice. */
static bool matches(struct question *question, const regex_t *regex)
{
	size_t len = strlen(question->text);
	return regexec(regex, question->text, GROUPS_COUNT, question->groups, 0) == 0 &&
	       question->groups[0].rm_so == 0 && (size_t)question->groups[0].rm_eo == len;
}

static bool to_local(struct question *question, char *user_r)
{
	bool known = krb5_aname_to_localname(
			 question->mapping->context, question->principal, LIMIT_USER_OCTETS + 1, user_r) == 0;
	if (!known)
		user_r[0] = '\0';
	return known;
}

static bool names_principal(const char *template)
{
	return strstr(template, "%n") != NULL || strstr(template, "%l") != NULL;
}

/* Why a rule does not apply; NULL: it does, and what it makes of the principal is in the result. */
static const char *pass_over(
    struct question *question, const struct map_config *map, const struct circumstances *circumstances)
{
	const struct rule *rule = &question->mapping->rules[map - question->mapping->config->maps];
	const struct conditions wanted = {map->indicators, map->mechanisms, &map->networks};
	const char *lacks;

	if (map->principal != NULL &&
	    !krb5_principal_compare(question->mapping->context, rule->principal, question->principal))
		return "it is for another principal";
	if (map->realm != NULL && !same_text(&question->principal->realm, map->realm))
		return "it is for another realm";
	if (map->regex != NULL && !matches(question, &rule->regex))
		return "the regex does not match the whole principal";
	if ((lacks = circumstances_lack(circumstances, &wanted)) != NULL)
		return lacks;
	if (map->auth_to_local && !to_local(question, question->result->user))
		return "auth_to_local of krb5.conf has no name for the principal";
	if (map->user != NULL && question->principal->length != 1) {
		if (names_principal(map->user))
			return "the principal has an instance, and %n and %l are for those without";
		/* host/mail.example.org is nobody's idea of a realm's users. */
		if (map->principal == NULL && map->regex == NULL)
			return "the principal has an instance, which 'principal' or 'regex' must name";
	}
	/* Another realm's KDC may name bob@example.org whom it likes; he is a user of ours. */
	if (map->user != NULL && names_principal(map->user) &&
	    memchr(question->principal->data[0].data, '@', question->principal->data[0].length) != NULL)
		return "the principal has an @ before its realm, and %n and %l are for those without";
	return NULL;
}

/* ---- the decision ---- */

static void say(struct mapping_result *result, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct mapping_result *result, const char *format, ...)
{
	va_list args;
	int len = result->rule != NULL ? snprintf(result->why, sizeof result->why,
					     "map %s (line %d): ", result->rule->name, result->rule->line)
				       : 0;
	va_start(args, format);
	vsnprintf(result->why + len, sizeof result->why - (size_t)len, format, args);
	va_end(args);
}

static void refuse(struct mapping_result *result, const char *what)
{
	result->kind = MAPPING_REFUSED;
	result->user[0] = '\0';
	say(result, "%s", what);
}

/* A rule has made a name; is there such a user? */
static void take_user(struct question *question, const char *how)
{
	struct mapping_result *result = question->result;
	char made[LIMIT_USER_OCTETS + 1];

	memcpy(made, result->user, sizeof made);
	result->kind = MAPPING_USER;
	if (!identity_user_valid(made, strlen(made))) {
		refuse(result, "what it makes of the principal is no name that a user here can have");
	} else if (!names_is_canonical(question->mapping->config, made)) {
		result->kind = MAPPING_REFUSED;
		result->user[0] = '\0';
		say(result, "%s would be %s, which is only another spelling of a user's name", question->text,
		    made);
	} else {
		say(result, "%s is %s by %s", question->text, made, how);
	}
}

static void apply(struct question *question, const struct map_config *map, const char *requested)
{
	struct mapping_result *result = question->result;

	result->rule = map;
	if (map->deny) {
		refuse(result, "denied");
	} else if (map->k5login) {
		result->kind = MAPPING_K5LOGIN;
		if (requested[0] != '\0')
			snprintf(result->user, sizeof result->user, "%s", requested);
		else if (to_local(question, result->user) &&
			 (!identity_user_valid(result->user, strlen(result->user)) ||
			     !names_is_canonical(question->mapping->config, result->user)))
			result->user[0] = '\0';
		say(result, "the .k5login of %s decides about %s",
		    result->user[0] != '\0' ? result->user : "the user the client names", question->text);
	} else if (map->auth_to_local) {
		take_user(question, "auth_to_local of krb5.conf");
	} else if (!expand(question, map->user, result->user)) {
		refuse(result, "what it makes of the principal is longer than any user's name");
	} else {
		take_user(question, "its template");
	}
}

static void decide(struct question *question, const char *requested,
    const struct circumstances *circumstances, mapping_tell_fn *tell, void *arg)
{
	const struct config *config = question->mapping->config;
	const char *why;

	for (size_t i = 0; i < config->map_count; i++) {
		why = pass_over(question, &config->maps[i], circumstances);
		if (why == NULL) {
			apply(question, &config->maps[i], requested);
			return;
		}
		question->result->user[0] = '\0';
		if (tell != NULL)
			tell(arg, &config->maps[i], why);
	}
	if (config->map_count != 0)
		refuse(question->result, "no map applies");
	else if (to_local(question, question->result->user))
		take_user(question, "auth_to_local of krb5.conf, as there are no maps");
	else
		refuse(
		    question->result, "there are no maps, and auth_to_local of krb5.conf has no name for it");
}

/* What no rule is asked about. NULL: nothing is wrong. */
static const char *find_fault(krb5_context context, krb5_const_principal principal)
{
	if (!utf8_printable(principal->realm.data, principal->realm.length))
		return "the realm has a NUL, a control character, or no UTF-8 in it";
	for (krb5_int32 i = 0; i < principal->length; i++)
		if (!utf8_printable(principal->data[i].data, principal->data[i].length))
			return "the principal has a NUL, a control character, or no UTF-8 in it";
	if (principal->length < 1 || principal->realm.length == 0)
		return "the principal has no name or no realm";
	if (krb5_principal_compare_any_realm(context, principal, krb5_anonymous_principal()))
		return "the principal is anonymous";
	return NULL;
}

void mapping_decide(struct mapping *mapping, const char *principal, const char *requested,
    const struct circumstances *circumstances, mapping_tell_fn *tell, void *arg,
    struct mapping_result *result_r)
{
	struct question question = {.mapping = mapping, .text = principal, .result = result_r};
	const char *fault;

	*result_r = (struct mapping_result){.kind = MAPPING_REFUSED};
	if (krb5_parse_name_flags(
		mapping->context, principal, KRB5_PRINCIPAL_PARSE_REQUIRE_REALM, &question.principal) != 0)
		refuse(result_r, "that is no principal with a realm, such as alice@EXAMPLE.ORG");
	else if ((fault = find_fault(mapping->context, question.principal)) != NULL)
		refuse(result_r, fault);
	else
		decide(&question, requested, circumstances, tell, arg);
	krb5_free_principal(mapping->context, question.principal);
}
