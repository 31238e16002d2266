/* SPDX-License-Identifier: ISC */
#include "server/config_check.h"

#include <arpa/inet.h>
#include <regex.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/identity.h"
#include "server/mechanism.h"
#include "server/network.h"
#include "server/utf8.h"

#define HOSTNAME_OCTETS 253u /* RFC 1035 section 2.3.4, as text */
#define LABEL_OCTETS 63u
#define PRINCIPAL_OCTETS 1000u
#define SERVICE_OCTETS 64u
#define TITLE_OCTETS 64u
#define MECHANISM_OCTETS 20u   /* RFC 4422 section 3.1 */
#define SYSTEM_USER_OCTETS 32u /* useradd(8) */
#define PATH_OCTETS                                                                             \
	(PATH_MAX - 64u) /* we append names of our own, and the longest of them is far below 64 \
			  */

static const char letters_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static __attribute__((format(printf, 3, 4))) int wrong(char *why_r, size_t size, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(why_r, size, format, args);
	va_end(args);
	return -1;
}

/* Whether value is 1 to most octets of letters, digits and the others. */
static bool made_of(const char *value, const char *others, size_t most)
{
	size_t len = strlen(value);
	for (size_t i = 0; i < len; i++)
		if (strchr(letters_digits, value[i]) == NULL && strchr(others, value[i]) == NULL)
			return false;
	return len > 0 && len <= most;
}

int config_check_hostname(const char *value, char *why_r, size_t size)
{
	bool good = made_of(value, "-.", HOSTNAME_OCTETS);
	for (const char *label = value; good;) {
		size_t len = strcspn(label, ".");
		good = len > 0 && len <= LABEL_OCTETS && label[0] != '-' && label[len - 1] != '-';
		if (label[len] == '\0')
			break;
		label += len + 1;
	}
	return good
		   ? 0
		   : wrong(why_r, size,
			 "'%.64s' is no host name; write letters, digits, '-' and '.', as in pop.example.org",
			 value);
}

int config_check_path(const char *value, char *why_r, size_t size)
{
	if (value[0] != '/')
		return wrong(why_r, size, "'%.64s' is no absolute path; begin it with '/'", value);
	if (strlen(value) > PATH_OCTETS)
		return wrong(
		    why_r, size, "the path is longer than %u octets; choose a shorter one", PATH_OCTETS);
	for (const char *p = value; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return wrong(why_r, size,
			    "the path holds a control character; write it in single quotes if it holds a "
			    "backslash");
	return 0;
}

int config_check_template(const char *value, char *why_r, size_t size)
{
	return identity_template_valid(value)
		   ? 0
		   : wrong(why_r, size,
			 "'%.64s' does not give each user a path of his own; use %%u, as in '%%u/Maildir' or "
			 "'%%u', or %%d and %%n in two components, as in '%%d/%%n/Maildir'",
			 value);
}

int config_check_user(const char *value, char *why_r, size_t size)
{
	return made_of(value, "-_.", SYSTEM_USER_OCTETS) && value[0] != '-'
		   ? 0
		   : wrong(
			 why_r, size, "'%.64s' is no user of this system; write a name of passwd(5)", value);
}

int config_check_mechanism(const char *value, char *why_r, size_t size)
{
	bool good = made_of(value, "-_", MECHANISM_OCTETS);
	for (const char *p = value; good && *p != '\0'; p++)
		good = !(*p >= 'a' && *p <= 'z');
	if (!good)
		return wrong(why_r, size,
		    "'%.64s' is no SASL mechanism; write up to 20 capital letters, digits, '-' and '_', as "
		    "in "
		    "\"SCRAM-SHA-256\"",
		    value);
	if (strcmp(value, "ANONYMOUS") == 0 || strcmp(value, "EXTERNAL") == 0)
		return wrong(why_r, size, "%s proves nobody's identity here; leave it out", value);
	return 0;
}

int config_check_binding_mechanism(const char *value, char *why_r, size_t size)
{
	return mechanism_find(value)->binds ? 0
					    : wrong(why_r, size,
						  "%.64s has no channel binding; name GS2-KRB5 or a SCRAM "
						  "mechanism, or for GSSAPI set "
						  "gssapi_channel_binding",
						  value);
}

int config_check_service(const char *value, char *why_r, size_t size)
{
	return made_of(value, "-_", SERVICE_OCTETS) ? 0
						    : wrong(why_r, size,
							  "'%.64s' is no service; write the first component "
							  "of the key's name alone, as in \"pop\"",
							  value);
}

int config_check_address(const char *value, char *why_r, size_t size)
{
	unsigned char address[sizeof(struct in6_addr)];
	return inet_pton(AF_INET, value, address) == 1 || inet_pton(AF_INET6, value, address) == 1
		   ? 0
		   : wrong(why_r, size,
			 "'%.64s' is no numeric address; write it as \"192.0.2.1\" or \"2001:db8::1\", "
			 "without a port",
			 value);
}

int config_check_network(const char *value, char *why_r, size_t size)
{
	struct network network;

	switch (network_parse(value, &network)) {
	case 0:
		return 0;
	case NETWORK_PREFIX:
		return wrong(why_r, size,
		    "'%.64s' has no number of bits behind the '/' that fits the address; write 0 to 32 for "
		    "IPv4, "
		    "0 to 128 for IPv6",
		    value);
	case NETWORK_HOST_BITS:
		return wrong(why_r, size,
		    "'%.64s' has bits set behind its prefix; write the network's first address, or a longer "
		    "prefix",
		    value);
	default:
		return wrong(why_r, size,
		    "'%.64s' is no network; write it as \"192.0.2.0/24\" or \"2001:db8::/32\", or a numeric "
		    "address alone",
		    value);
	}
}

/* Text that a person can see, of 1 to most octets. */
static bool visible(const char *value, size_t most)
{
	size_t len = strlen(value);
	return len > 0 && len <= most && utf8_printable(value, len);
}

int config_check_principal(const char *value, char *why_r, size_t size)
{
	size_t ats = 0, at = 0;
	for (size_t i = 0; value[i] != '\0'; i++) {
		if (value[i] == '\\' && value[i + 1] != '\0')
			i++;
		else if (value[i] == '@' && ats++ == 0)
			at = i;
	}
	if (visible(value, PRINCIPAL_OCTETS) && ats == 1 && at > 0 && value[at + 1] != '\0')
		return 0;
	return wrong(why_r, size,
	    "'%.64s' is no principal with its realm; write it as in alice/admin@EXAMPLE.ORG, with a "
	    "backslash "
	    "before an @ that belongs to the name",
	    value);
}

int config_check_regex(const char *value, char *why_r, size_t size)
{
	regex_t regex;
	char why[128];
	int code = regcomp(&regex, value, REG_EXTENDED);

	if (code != 0) {
		regerror(code, &regex, why, sizeof why);
		return wrong(
		    why_r, size, "'%.64s' is no extended regular expression: %s; see regex(7)", value, why);
	}
	regfree(&regex);
	for (const char *p = value; (p = strchr(p, '\\')) != NULL; p += 2)
		if (p[1] >= '1' && p[1] <= '9')
			return wrong(why_r, size,
			    "'%.64s' refers back to a group, which can take for ever; leave \\%c out", value,
			    p[1]);
	return visible(value, PRINCIPAL_OCTETS) ? 0
						: wrong(why_r, size,
						      "it is empty, too long, or holds a control "
						      "character; write what principals look like");
}

int config_check_indicator(const char *value, char *why_r, size_t size)
{
	return visible(value, SASLX_INDICATOR_OCTETS) && strchr(value, ' ') == NULL
		   ? 0
		   : wrong(why_r, size,
			 "'%.64s' is no authentication indicator; write what the KDC is configured to give, "
			 "of up "
			 "to %d octets",
			 value, SASLX_INDICATOR_OCTETS);
}

int config_check_delimiter(const char *value, char *why_r, size_t size)
{
	return value[0] != '\0' && strspn(value, "+-_=.") == strlen(value) && strlen(value) <= 5
		   ? 0
		   : wrong(why_r, size, "'%.64s' is no delimiter; write one or more of + - _ = .", value);
}

int config_check_mode(const char *value, char *why_r, size_t size)
{
	size_t len = strlen(value);
	return (len == 3 || len == 4) && strspn(value, "01234567") == len && (len == 3 || value[0] == '0')
		   ? 0
		   : wrong(
			 why_r, size, "'%.64s' is no mode of a file; write octal digits, as in 0660", value);
}

int config_check_title(const char *value, char *why_r, size_t size)
{
	return made_of(value, "-_.", TITLE_OCTETS)
		   ? 0
		   : wrong(why_r, size,
			 "'%.64s' cannot be a title; write up to %u letters, digits, '-', '_' and '.'", value,
			 TITLE_OCTETS);
}

int config_check_source(const char *value, char *why_r, size_t size)
{
	static const char *const sources[] = {"secrets", "kerberos", "saslauthd"};

	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		if (strcmp(value, sources[i]) == 0)
			return 0;
	return wrong(why_r, size, "'%.64s' knows no passwords; write secrets, kerberos or saslauthd", value);
}

int config_check_lock(const char *value, char *why_r, size_t size)
{
	return identity_spool_lock(value) != SPOOL_LOCK_NONE
		   ? 0
		   : wrong(why_r, size, "'%.64s' is no lock of mbox files; write fcntl, dotlock or flock",
			 value);
}

int config_check_realm(const char *value, char *why_r, size_t size)
{
	return made_of(value, "-._", HOSTNAME_OCTETS)
		   ? 0
		   : wrong(why_r, size,
			 "'%.64s' is no realm; write letters, digits, '-', '_' and '.', as in EXAMPLE.ORG",
			 value);
}

/* Digits alone, whose value is most at most; what is behind them in *rest_r. */
static bool number(const char *text, uint64_t most, uint64_t *value_r, const char **rest_r)
{
	uint64_t value = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value) || value > most)
			return false;
	*value_r = value;
	*rest_r = p;
	return p > text;
}

unsigned config_days(const char *text)
{
	uint64_t days;
	const char *rest;

	if (text != NULL && strcmp(text, "never") == 0)
		return CONFIG_NEVER;
	if (text == NULL || !number(text, LIMIT_EXPIRE_DAYS, &days, &rest) || *rest != '\0')
		return CONFIG_UNSET;
	return (unsigned)days;
}

uint64_t config_octets(const char *text)
{
	static const char units[] = "KMGT";
	uint64_t octets;
	const char *rest, *unit;

	if (text == NULL || !number(text, LIMIT_QUOTA_OCTETS, &octets, &rest))
		return CONFIG_UNSET_OCTETS;
	if (*rest == '\0')
		return octets;
	unit = strchr(units, *rest);
	if (unit == NULL || rest[1] != '\0')
		return CONFIG_UNSET_OCTETS;
	unsigned bits = 10u * (unsigned)(unit - units + 1);
	return octets <= LIMIT_QUOTA_OCTETS >> bits ? octets << bits : CONFIG_UNSET_OCTETS;
}

int config_check_days(const char *value, char *why_r, size_t size)
{
	return config_days(value) != CONFIG_UNSET
		   ? 0
		   : wrong(why_r, size, "'%.64s' is no number of days; write one from 0 to %u, or never",
			 value, LIMIT_EXPIRE_DAYS);
}

int config_check_octets(const char *value, char *why_r, size_t size)
{
	return config_octets(value) != CONFIG_UNSET_OCTETS
		   ? 0
		   : wrong(why_r, size,
			 "'%.64s' is no number of octets; write it in digits, with K, M, G or T behind them "
			 "or nothing, as in 500M; 0 is no limit",
			 value);
}

/* In memory while it comes, so not any number. */
int config_check_message_octets(const char *value, char *why_r, size_t size)
{
	uint64_t octets = config_octets(value);
	return octets >= LIMIT_MESSAGE_LEAST_OCTETS && octets <= LIMIT_MESSAGE_MOST_OCTETS
		   ? 0
		   : wrong(why_r, size, "'%.64s' is out of bounds; write octets from 64K to 1G, as in 50M",
			 value);
}

int config_check_file(const struct stat *st, char *why_r, size_t size)
{
	uid_t us = geteuid();

	if (!S_ISREG(st->st_mode))
		return wrong(why_r, size, "is not a regular file; name one");
	if (st->st_uid != 0 && st->st_uid != us)
		return wrong(why_r, size, "belongs to user %u, who could change it; chown it to root",
		    (unsigned)st->st_uid);
	if ((st->st_mode & S_IWOTH) != 0)
		return wrong(why_r, size, "can be written by everybody; chmod o-w it");
	if ((st->st_mode & S_IWGRP) != 0 && st->st_gid != 0 && (us == 0 || st->st_gid != getegid()))
		return wrong(why_r, size, "can be written by group %u; chmod g-w it", (unsigned)st->st_gid);
	return 0;
}

int config_check_code(const char *value, char *why_r, size_t size)
{
	struct stat st;
	char why[160];

	if (config_check_path(value, why_r, size) != 0)
		return -1;
	/* A file that is missing or out of reach is named by whoever opens it: a tool may see less than
	 * master. */
	if (stat(value, &st) == 0 && config_check_file(&st, why, sizeof(why)) != 0)
		return wrong(why_r, size, "%.256s %s", value, why);
	return 0;
}

int config_check_secret(const char *value, char *why_r, size_t size)
{
	struct stat st;

	if (config_check_code(value, why_r, size) != 0)
		return -1;
	if (stat(value, &st) == 0 && (st.st_mode & S_IROTH) != 0)
		return wrong(why_r, size, "%.256s can be read by everybody; chmod o-r it", value);
	return 0;
}
