/* SPDX-License-Identifier: ISC */
#include "server/names.h"

#include <string.h>
#include <strings.h>

#include "sasl/prep.h"
#include "server/identity.h"

static bool same(const char *text, const char *domain, size_t len)
{
	return strncasecmp(text, domain, len) == 0 && text[len] == '\0';
}

static const char *find(char *const *list, const char *domain, size_t len)
{
	for (; list != NULL && *list != NULL; list++)
		if (same(*list, domain, len))
			return *list;
	return NULL;
}

/* Of domains that stay. */
static const char *find_kept(const struct config *config, const char *domain, size_t len)
{
	if (config->default_domain != NULL && same(config->default_domain, domain, len))
		return config->default_domain;
	return find(config->domains, domain, len);
}

const char *names_domain(const struct config *config, const char *domain, size_t len)
{
	const char *kept = find_kept(config, domain, len);
	return kept != NULL ? kept : find(config->local_domains, domain, len);
}

/* Where a name is cut, and what is behind it: '@', or a '+' that this site takes for one. */
static const char *cut(const struct config *config, const char *name)
{
	const char *at = strchr(name, '@');
	const char *plus = at == NULL ? strrchr(name, '+') : NULL;
	if (plus != NULL && find(config->plus_hosts, plus + 1, strlen(plus + 1)) != NULL)
		return plus;
	return at;
}

static int fail(char *user_r, const char **why_r, const char *why)
{
	user_r[0] = '\0';
	if (why_r != NULL)
		*why_r = why;
	return -1;
}

/* One form of one name, as people type it in several; still with whatever domain it has. */
static const char *prepare(const struct config *config, const char *name, size_t len, char *prepared_r)
{
	if (len > LIMIT_USER_OCTETS)
		return "it is longer than any user's";
	if (prep(name, len, prepared_r, LIMIT_USER_OCTETS + 1) != PREP_OK)
		return "it is empty, no UTF-8, or has characters that no name has (RFC 4013)";
	if (!identity_user_valid(prepared_r, strlen(prepared_r)))
		return "a user's name has letters, digits and ._+-=@ only, and begins with a letter, digit, "
		       "_, + "
		       "or =";
	for (char *p = prepared_r; config->fold_case && *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return NULL;
}

/* The domain that is to stand behind the name, NULL for none. -1: nobody's. */
static int resolve(const struct config *config, const char *given, const char **domain_r)
{
	size_t len = given != NULL ? strlen(given) : 0;
	*domain_r = config->default_domain;
	if (given == NULL || find(config->local_domains, given, len) != NULL)
		return 0;
	*domain_r = find_kept(config, given, len);
	if (*domain_r == NULL && config->domains != NULL && config->domains[0] != NULL)
		return -1;
	if (*domain_r == NULL)
		*domain_r = given;
	return 0;
}

int names_canonical(
    const struct config *config, const char *name, size_t len, char *user_r, const char **why_r)
{
	char prepared[LIMIT_USER_OCTETS + 1];
	const char *domain, *why = prepare(config, name, len, prepared);

	if (why != NULL)
		return fail(user_r, why_r, why);
	const char *end = cut(config, prepared);
	size_t local_len = end != NULL ? (size_t)(end - prepared) : strlen(prepared);
	if (resolve(config, end != NULL ? end + 1 : NULL, &domain) != 0)
		return fail(user_r, why_r, "its domain is none of 'domains' or 'local_domains'");
	if (local_len + (domain != NULL ? 1 + strlen(domain) : 0) > LIMIT_USER_OCTETS)
		return fail(user_r, why_r, "with its domain it is longer than any user's");
	memcpy(user_r, prepared, local_len);
	user_r[local_len] = '\0';
	/* What is left would be cut again, and mean somebody else, the next time it is looked at. */
	if (end != NULL && domain == NULL && cut(config, user_r) != NULL)
		return fail(user_r, why_r, "it has one of 'plus_hosts' twice");
	if (domain != NULL) {
		user_r[local_len] = '@';
		memcpy(user_r + local_len + 1, domain, strlen(domain) + 1);
	}
	return identity_user_valid(user_r, strlen(user_r))
		   ? 0
		   : fail(user_r, why_r, "without its domain nothing is left that a user can be called");
}

bool names_is_canonical(const struct config *config, const char *user)
{
	char canonical[LIMIT_USER_OCTETS + 1];
	return names_canonical(config, user, strlen(user), canonical, NULL) == 0 &&
	       strcmp(canonical, user) == 0;
}
