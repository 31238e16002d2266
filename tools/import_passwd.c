/* SPDX-License-Identifier: ISC */
/*
 * Lines of Dovecot's passwd-file, "user:{SCHEME}secret:uid:gid:gecos:home:shell:more", and of Apache's
 * htpasswd, "user:hash".
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "tools/import_item.h"

#define NEW_PASSWORD "; give the user a new password"

/* Takes the hash as it is, or says why not. */
static void take_hash(struct import_item *item, const char *prefix, const char *text)
{
	char hash[IMPORT_LINE_OCTETS + 32];
	const char *wrong;

	strcpy(hash, prefix);
	strcat(hash, text);
	wrong = passhash_wrong(hash);
	if (wrong != NULL)
		import_wrong(item, "%s" NEW_PASSWORD, wrong);
	else
		strcpy(item->record.hash, hash);
}

/* One part of "iterations,salt,StoredKey,ServerKey" in base64 of exactly, or at most, so many octets. */
static size_t take_base64(char *text, uint8_t *octets_r, size_t least, size_t most)
{
	uint8_t decoded[(SCRAM_KEY_OCTETS + 2) / 3 * 3 + 3];
	size_t len = strlen(text), pad = len - strcspn(text, "="), got;

	if (len == 0 || len % 4 != 0 || len / 4 * 3 > sizeof(decoded) || pad > 2)
		return 0;
	if (EVP_DecodeBlock(decoded, (const uint8_t *)text, (int)len) < 0)
		return 0;
	got = len / 4 * 3 - pad;
	if (got < least || got > most)
		return 0;
	memcpy(octets_r, decoded, got);
	return got;
}

static void take_keys(struct import_item *item, enum scram_hash hash, char *text)
{
	struct scramkeys *keys = &item->record.keys[hash];
	size_t octets = scramkeys_octets(hash);
	const char *count = strsep(&text, ",");
	char *salt = strsep(&text, ","), *stored = strsep(&text, ","), *server = text, *end;
	unsigned long iterations;

	if (server == NULL || count[0] < '1' || count[0] > '9') {
		import_wrong(item, "SCRAM keys that are not ITERATIONS,SALT,STORED-KEY,SERVER-KEY");
		return;
	}
	iterations = strtoul(count, &end, 10);
	if (*end != '\0' || iterations < SECRETS_ITERATIONS_COUNT ||
	    iterations > SECRETS_ITERATIONS_MAX_COUNT) {
		import_wrong(item, "SCRAM keys of %s iterations, not of %u to %u" NEW_PASSWORD, count,
		    SECRETS_ITERATIONS_COUNT, SECRETS_ITERATIONS_MAX_COUNT);
		return;
	}
	keys->salt_len = (uint8_t)take_base64(salt, keys->salt, 8, SCRAM_SALT_MAX_OCTETS);
	if (keys->salt_len == 0 || take_base64(stored, keys->stored, octets, octets) == 0 ||
	    take_base64(server, keys->server, octets, octets) == 0)
		import_wrong(item, "SCRAM keys in bad base64, or of another length");
	else
		keys->iterations = (uint32_t)iterations;
}

enum scheme_kind { SCHEME_PASSWORD, SCHEME_HASH, SCHEME_PBKDF2, SCHEME_FAST, SCHEME_OF_MECHANISM };

static const struct {
	const char *name;
	enum scheme_kind kind;
} schemes[] = {
    {"PLAIN", SCHEME_PASSWORD},
    {"CLEARTEXT", SCHEME_PASSWORD},
    {"CLEAR", SCHEME_PASSWORD},
    {"CRYPT", SCHEME_HASH},
    {"BLF-CRYPT", SCHEME_HASH},
    {"SHA512-CRYPT", SCHEME_HASH},
    {"SHA256-CRYPT", SCHEME_HASH},
    {"ARGON2ID", SCHEME_HASH},
    {"ARGON2I", SCHEME_HASH},
    {"PBKDF2", SCHEME_PBKDF2},
    {"MD5-CRYPT", SCHEME_FAST},
    {"DES-CRYPT", SCHEME_FAST},
    {"MD5", SCHEME_FAST},
    {"PLAIN-MD5", SCHEME_FAST},
    {"PLAIN-MD4", SCHEME_FAST},
    {"LDAP-MD5", SCHEME_FAST},
    {"SMD5", SCHEME_FAST},
    {"SHA", SCHEME_FAST},
    {"SHA1", SCHEME_FAST},
    {"SHA256", SCHEME_FAST},
    {"SHA512", SCHEME_FAST},
    {"SSHA", SCHEME_FAST},
    {"SSHA256", SCHEME_FAST},
    {"SSHA512", SCHEME_FAST},
    {"NTLM", SCHEME_FAST},
    {"LANMAN", SCHEME_FAST},
    {"CRAM-MD5", SCHEME_OF_MECHANISM},
    {"HMAC-MD5", SCHEME_OF_MECHANISM},
    {"DIGEST-MD5", SCHEME_OF_MECHANISM},
    {"OTP", SCHEME_OF_MECHANISM},
    {"SKEY", SCHEME_OF_MECHANISM},
    {"RPA", SCHEME_OF_MECHANISM},
};

static void take_scheme(struct import_item *item, const char *scheme, char *text)
{
	const size_t schemes_count = sizeof(schemes) / sizeof(schemes[0]);
	enum scram_hash hash;
	size_t i = 0;

	if (strncasecmp(scheme, "SCRAM-", 6) == 0 && scramkeys_find(scheme + 6, &hash) == 0) {
		take_keys(item, hash, text);
		return;
	}
	while (i < schemes_count && strcasecmp(scheme, schemes[i].name) != 0)
		i++;
	if (i == schemes_count) {
		import_wrong(item, "{%.32s} is not known here" NEW_PASSWORD, scheme);
		return;
	}
	switch (schemes[i].kind) {
	case SCHEME_PASSWORD:
		import_password(item, text, strlen(text));
		break;
	case SCHEME_HASH:
		take_hash(item, "", text);
		break;
	case SCHEME_PBKDF2:
		take_hash(item, "{PBKDF2}", text);
		break;
	case SCHEME_FAST:
		import_wrong(item, "{%s} is a fast hash, which is too weak" NEW_PASSWORD, schemes[i].name);
		break;
	case SCHEME_OF_MECHANISM:
		import_wrong(
		    item, "{%s} serves one mechanism of Dovecot's only" NEW_PASSWORD, schemes[i].name);
		break;
	}
}

/* Fields that keep a user out: taken without them, the user could come in. */
static void check_more(struct import_item *item, char *more)
{
	static const char *const limits[] = {"nologin", "nopassword", "allow_nets", "allow_real_nets"};
	char *word;

	while ((word = strsep(&more, " \t")) != NULL)
		for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
			if (strncmp(word, limits[i], strlen(limits[i])) == 0)
				import_wrong(item,
				    "the field %s limits who may log in, which has no match here; remove the "
				    "field, "
				    "or the line",
				    limits[i]);
}

static void take_secret(struct import_item *item, enum import_format format, char *text)
{
	char *end;

	if (text[0] == '\0' || strcmp(text, "*") == 0 || strcmp(text, "x") == 0 || text[0] == '!') {
		import_wrong(item, "no password: the user is locked, or has it elsewhere");
	} else if (text[0] == '{' && (end = strchr(text, '}')) != NULL) {
		*end = '\0';
		take_scheme(item, text + 1, end + 1);
	} else if (text[0] == '$' || format == IMPORT_HTPASSWD) {
		take_hash(item, "", text);
	} else {
		import_wrong(item, "no {SCHEME} before the password: write {PLAIN} or {CRYPT} there");
	}
}

void import_passwd(struct import_item *item, enum import_format format, const char *line, size_t len)
{
	char copy_secret[IMPORT_LINE_OCTETS + 1], *rest = copy_secret, *user, *text;
	int fields = 2;

	memcpy(copy_secret, line, len);
	copy_secret[len] = '\0';
	user = strsep(&rest, ":");
	text = strsep(&rest, ":");
	import_user(item, user, strlen(user));
	for (; format == IMPORT_DOVECOT && rest != NULL && fields < 7; fields++)
		strsep(&rest, ":");
	if (text == NULL)
		import_wrong(item, "no colon behind the name");
	else if (format == IMPORT_HTPASSWD && rest != NULL)
		import_wrong(
		    item, "more than a name and a hash; is it a file of htdigest? Those have MD5 only");
	else
		take_secret(item, format, text);
	if (format == IMPORT_DOVECOT && rest != NULL)
		check_more(item, rest);
	explicit_bzero(copy_secret, sizeof(copy_secret));
}
