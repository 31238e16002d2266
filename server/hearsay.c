/* SPDX-License-Identifier: ISC */
#include "server/hearsay.h"

#include <string.h>
#include <strings.h>

enum hearsay_kind hearsay_kind(const char *mechanism)
{
	static const struct {
		const char *name;
		enum hearsay_kind kind;
	} kinds[] = {
	    {"GSSAPI", HEARSAY_TICKET},
	    {"GS2-KRB5", HEARSAY_TICKET},
	    {"GS2-KRB5-PLUS", HEARSAY_TICKET},
	    {"KPOP", HEARSAY_TICKET},
	    {"PLAIN", HEARSAY_PLAIN},
	    {"LOGIN", HEARSAY_LOGIN},
	    {"USER", HEARSAY_USERPASS},
	    {"CRAM-MD5", HEARSAY_CRAM_MD5},
	    {"APOP", HEARSAY_APOP},
	};
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strcasecmp(mechanism, kinds[i].name) == 0)
			return kinds[i].kind;
	return strncasecmp(mechanism, "SCRAM-", 6) == 0 ? HEARSAY_SCRAM : HEARSAY_OTHER;
}

/* Octets that are read from the front. */
struct view {
	const uint8_t *at;
	size_t len;
};

static void set_user(struct hearsay *h, struct view name)
{
	h->user[0] = '\0';
	if (name.len > LIMIT_USER_OCTETS || (name.len != 0 && memchr(name.at, '\0', name.len) != NULL))
		return;
	memcpy(h->user, name.at, name.len);
	h->user[name.len] = '\0';
}

static void set_secret(struct hearsay *h, struct view secret)
{
	h->secret = secret.at;
	h->secret_len = secret.len;
}

/* What stands before the first mark; rest is then what stands behind it. Without a mark: false. */
static bool cut(struct view *rest, uint8_t mark, struct view *before_r)
{
	const uint8_t *at = rest->len != 0 ? memchr(rest->at, mark, rest->len) : NULL;
	if (at == NULL)
		return false;
	*before_r = (struct view){rest->at, (size_t)(at - rest->at)};
	*rest = (struct view){at + 1, rest->len - before_r->len - 1};
	return true;
}

/* authzid NUL authcid NUL password */
static void plain(struct hearsay *h, struct view rest)
{
	struct view authzid, name;
	if (!cut(&rest, '\0', &authzid) || !cut(&rest, '\0', &name))
		return;
	set_user(h, name);
	set_secret(h, rest);
}

/* user NUL password, user NUL digest */
static void two_fields(struct hearsay *h, struct view rest, bool secret)
{
	struct view name;
	if (!cut(&rest, '\0', &name))
		return;
	set_user(h, name);
	if (secret)
		set_secret(h, rest);
}

/* user SP digest; a name may have spaces, a digest has none. */
static void cram_md5(struct hearsay *h, struct view rest)
{
	const uint8_t *space = rest.len != 0 ? memrchr(rest.at, ' ', rest.len) : NULL;
	if (space != NULL)
		set_user(h, (struct view){rest.at, (size_t)(space - rest.at)});
}

/* "=2C" is a comma and "=3D" an equals sign (RFC 5802 section 5.1). */
static void scram_name(struct hearsay *h, struct view name)
{
	uint8_t text[LIMIT_USER_OCTETS];
	size_t len = 0;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t octet = name.at[i];
		if (octet == '=' && name.len - i >= 3 &&
		    (memcmp(name.at + i, "=2C", 3) == 0 || memcmp(name.at + i, "=3D", 3) == 0)) {
			octet = name.at[i + 2] == 'C' ? ',' : '=';
			i += 2;
		}
		if (len == sizeof text)
			return;
		text[len++] = octet;
	}
	set_user(h, (struct view){text, len});
}

/* flag, [a=authzid], n=user, … */
static void scram_first(struct hearsay *h, struct view rest)
{
	struct view field;
	if (!cut(&rest, ',', &field) || !cut(&rest, ',', &field))
		return;
	while (cut(&rest, ',', &field))
		if (field.len >= 2 && field.at[0] == 'n' && field.at[1] == '=') {
			scram_name(h, (struct view){field.at + 2, field.len - 2});
			return;
		}
}

bool hearsay_take(struct hearsay *h, const uint8_t *octets, size_t len)
{
	const struct view message = {len != 0 ? octets : (const uint8_t *)"", len};
	unsigned number = h->messages++;
	h->secret = NULL;
	h->secret_len = 0;
	switch (h->kind) {
	case HEARSAY_TICKET:
		return false;
	case HEARSAY_PLAIN:
		plain(h, message);
		return true;
	case HEARSAY_LOGIN:
		if (number == 0)
			set_user(h, message);
		else
			set_secret(h, message);
		return number > 0;
	case HEARSAY_USERPASS:
		two_fields(h, message, true);
		return true;
	case HEARSAY_APOP:
		two_fields(h, message, false);
		return true;
	case HEARSAY_CRAM_MD5:
		cram_md5(h, message);
		return true;
	case HEARSAY_SCRAM:
		if (number == 0)
			scram_first(h, message);
		return number == 1;
	case HEARSAY_OTHER:
		break;
	}
	return true;
}
