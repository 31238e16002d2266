/* SPDX-License-Identifier: ISC */
#include "passhash.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "passverify.h"

#define CRYPT_ALPHABET "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define BASE64_ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
#define HEX_ALPHABET "0123456789abcdef"
/* What may be in a salt that is text: everything printable but what ends it. */
#define TEXT_ALPHABET NULL

static const char malformed[] = "a password hash that is cut off or malformed";
static const char costly[] = "a password hash that would cost more than a login may";
static const char feeble[] = "a password hash made with too few rounds";

/* Takes a number without sign and leading zeros, and the text behind it. */
static bool take_number(const char **at, uint32_t *value_r, const char *behind)
{
	const char *digit = *at;
	uint64_t value = 0;

	if (*digit == '0' && digit[1] >= '0' && digit[1] <= '9')
		return false;
	for (; *digit >= '0' && *digit <= '9' && value < UINT32_MAX; digit++)
		value = value * 10 + (uint64_t)(*digit - '0');
	if (digit == *at || value > UINT32_MAX || strncmp(digit, behind, strlen(behind)) != 0)
		return false;
	*value_r = (uint32_t)value;
	*at = digit + strlen(behind);
	return true;
}

/* Takes min to max characters of an alphabet, and what ends them: a '$', or the text's end. */
static bool take_word(
    const char **at, const char *alphabet, size_t min, size_t max, char end, struct passhash_word *word_r)
{
	const char *from = *at;
	size_t len = 0;

	if (alphabet != NULL)
		len = strspn(from, alphabet);
	else
		while (from[len] > ' ' && from[len] <= '~' && from[len] != '$' && from[len] != ':')
			len++;
	if (len < min || len > max || from[len] != end)
		return false;
	*word_r = (struct passhash_word){from, len};
	*at = from + len + (end != '\0' ? 1 : 0);
	return true;
}

static uint32_t crypt_digit(char c)
{
	const char *found = c != '\0' ? strchr(CRYPT_ALPHABET, c) : NULL;

	return found != NULL ? (uint32_t)(found - CRYPT_ALPHABET) : 64;
}

/*
 * $y$jNr$salt$hash: flavour j is what the library makes; N and r are one digit each, the logarithm of the
 * blocks and their size, both counted from 1. Memory is 128 octets times both.
 */
static const char *parse_yescrypt(const char *at, struct passhash *hash)
{
	uint32_t log_blocks, block;

	if (at[0] != 'j' || (log_blocks = crypt_digit(at[1])) > 46 || (block = crypt_digit(at[2])) > 46 ||
	    at[3] != '$')
		return malformed;
	log_blocks++;
	block++;
	if (log_blocks > 24 || ((uint64_t)block << log_blocks) / 8 > PASSHASH_MEMORY_MAX_KIB)
		return costly;
	hash->memory = (uint32_t)(((uint64_t)block << log_blocks) / 8);
	if (hash->memory < 1024)
		return feeble;
	hash->cost = (struct passhash_word){at, 4};
	at += 4;
	return take_word(&at, CRYPT_ALPHABET, 8, 86, '$', &hash->salt) &&
		       take_word(&at, CRYPT_ALPHABET, 43, 43, '\0', &hash->digest)
		   ? NULL
		   : malformed;
}

static const char *parse_sha(const char *at, struct passhash *hash, size_t digest_len)
{
	static const char said[] = "rounds=";

	hash->rounds = 5000;
	hash->cost = (struct passhash_word){at, 0};
	if (strncmp(at, said, sizeof(said) - 1) == 0) {
		at += sizeof(said) - 1;
		if (!take_number(&at, &hash->rounds, "$"))
			return malformed;
		hash->cost.len = (size_t)(at - hash->cost.at);
	}
	if (hash->rounds < 1000)
		return feeble;
	if (hash->rounds > PASSHASH_ROUNDS_MAX_COUNT)
		return costly;
	return take_word(&at, TEXT_ALPHABET, 1, 16, '$', &hash->salt) &&
		       take_word(&at, CRYPT_ALPHABET, digest_len, digest_len, '\0', &hash->digest)
		   ? NULL
		   : malformed;
}

static const char *parse_sha512(const char *at, struct passhash *hash)
{
	return parse_sha(at, hash, 86);
}

static const char *parse_sha256(const char *at, struct passhash *hash)
{
	return parse_sha(at, hash, 43);
}

/* $2b$10$ and 22 characters of salt, 31 of the hash. */
static const char *parse_bcrypt(const char *at, struct passhash *hash)
{
	if (strspn(at, "0123456789") != 2 || at[2] != '$')
		return malformed;
	hash->rounds = (uint32_t)(at[0] - '0') * 10 + (uint32_t)(at[1] - '0');
	hash->cost = (struct passhash_word){at, 3};
	at += 3;
	if (hash->rounds < 4)
		return feeble;
	if (hash->rounds > PASSHASH_BCRYPT_MAX_COST)
		return costly;
	return take_word(&at, CRYPT_ALPHABET, 53, 53, '\0', &hash->digest) ? NULL : malformed;
}

/* v=19$m=65536,t=3,p=1$salt$hash; the first version did not say its number. */
static const char *parse_argon2(const char *at, struct passhash *hash)
{
	const char *from = at;

	hash->version = 0x10;
	if (strncmp(at, "v=", 2) == 0) {
		at += 2;
		if (!take_number(&at, &hash->version, "$") ||
		    (hash->version != 0x10 && hash->version != 0x13))
			return malformed;
	}
	if (strncmp(at, "m=", 2) != 0)
		return malformed;
	at += 2;
	if (!take_number(&at, &hash->memory, ",t=") || !take_number(&at, &hash->rounds, ",p=") ||
	    !take_number(&at, &hash->lanes, "$") || hash->rounds == 0 || hash->lanes == 0 ||
	    hash->memory / 8 < hash->lanes)
		return malformed;
	if (hash->memory > PASSHASH_MEMORY_MAX_KIB ||
	    (uint64_t)hash->memory * hash->rounds > PASSHASH_FILLED_MAX_KIB || hash->lanes > 64)
		return costly;
	hash->cost = (struct passhash_word){from, (size_t)(at - from)};
	return take_word(&at, BASE64_ALPHABET, 11, 86, '$', &hash->salt) &&
		       take_word(&at, BASE64_ALPHABET, 22, 86, '\0', &hash->digest) &&
		       hash->salt.len % 4 != 1 && hash->digest.len % 4 != 1
		   ? NULL
		   : malformed;
}

/* Dovecot's $1$salt$rounds$hash: the salt is used as it is written. */
static const char *parse_pbkdf2(const char *at, struct passhash *hash)
{
	if (!take_word(&at, TEXT_ALPHABET, 8, 64, '$', &hash->salt))
		return malformed;
	hash->cost.at = at;
	if (!take_number(&at, &hash->rounds, "$"))
		return malformed;
	hash->cost.len = (size_t)(at - hash->cost.at);
	if (hash->rounds < 1000)
		return feeble;
	if (hash->rounds > PASSHASH_ROUNDS_MAX_COUNT)
		return costly;
	return take_word(&at, HEX_ALPHABET, 40, 40, '\0', &hash->digest) ? NULL : malformed;
}

/* wrong: known, and refused. */
static const struct form {
	const char *prefix, *name;
	enum passhash_kind kind;
	const char *(*parse)(const char *at, struct passhash *hash);
	const char *wrong;
} forms[] = {
    {"$y$", "yescrypt", PASSHASH_CRYPT, parse_yescrypt, NULL},
    {"$6$", "sha512crypt", PASSHASH_CRYPT, parse_sha512, NULL},
    {"$5$", "sha256crypt", PASSHASH_CRYPT, parse_sha256, NULL},
    {"$2y$", "bcrypt", PASSHASH_CRYPT, parse_bcrypt, NULL},
    {"$2b$", "bcrypt", PASSHASH_CRYPT, parse_bcrypt, NULL},
    {"$2a$", "bcrypt", PASSHASH_CRYPT, parse_bcrypt, NULL},
    {"$argon2id$", "argon2id", PASSHASH_ARGON2ID, parse_argon2, NULL},
    {"$argon2i$", "argon2i", PASSHASH_ARGON2I, parse_argon2, NULL},
    {"{PBKDF2}$1$", "pbkdf2-sha1", PASSHASH_PBKDF2, parse_pbkdf2, NULL},
    {"$1$", NULL, PASSHASH_CRYPT, NULL, "an MD5 hash, which is too weak"},
    {"$apr1$", NULL, PASSHASH_CRYPT, NULL, "an MD5 hash, which is too weak"},
    {"$md5", NULL, PASSHASH_CRYPT, NULL, "an MD5 hash, which is too weak"},
    {"$sha1$", NULL, PASSHASH_CRYPT, NULL, "a SHA-1 hash of crypt(3), which is not verified here"},
    {"$3$", NULL, PASSHASH_CRYPT, NULL, "an NT hash, which is too weak"},
    {"$2x$", NULL, PASSHASH_CRYPT, NULL, "a bcrypt hash of a faulty implementation ($2x$)"},
    {"$argon2d$", NULL, PASSHASH_CRYPT, NULL, "an Argon2d hash, which is not meant for passwords"},
    {"$7$", NULL, PASSHASH_CRYPT, NULL, "an scrypt hash, which is not verified here"},
    {"$gy$", NULL, PASSHASH_CRYPT, NULL, "a gost-yescrypt hash, which is not verified here"},
};

static const struct form *find(const char *text)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		if (strncmp(text, forms[i].prefix, strlen(forms[i].prefix)) == 0)
			return &forms[i];
	return NULL;
}

static const char *parse(const char *text, struct passhash *hash_r)
{
	const struct form *form = find(text);

	*hash_r = (struct passhash){.text = text};
	if (strnlen(text, PASSHASH_OCTETS + 1) > PASSHASH_OCTETS)
		return "a password hash that is too long";
	if (form == NULL && strlen(text) == 13 && strspn(text, CRYPT_ALPHABET) == 13)
		return "a DES hash, which is too weak";
	if (form == NULL)
		return "no password hash of a kind that is known here";
	if (form->wrong != NULL)
		return form->wrong;
	hash_r->kind = form->kind;
	return form->parse(text + strlen(form->prefix), hash_r);
}

const char *passhash_wrong(const char *text)
{
	struct passhash hash;

	return parse(text, &hash);
}

const char *passhash_name(const char *text)
{
	struct passhash hash;

	return parse(text, &hash) == NULL ? find(text)->name : NULL;
}

int passhash_cost(const char *text, char *text_r)
{
	const char *name = passhash_name(text);
	struct passhash hash;
	const size_t size = PASSHASH_OCTETS + 1;

	if (parse(text, &hash) != NULL)
		return -1;
	if (hash.kind == PASSHASH_ARGON2ID || hash.kind == PASSHASH_ARGON2I)
		snprintf(text_r, size, "%u KiB, %u passes", (unsigned)hash.memory, (unsigned)hash.rounds);
	else if (hash.memory != 0)
		snprintf(text_r, size, "%u KiB", (unsigned)hash.memory);
	else
		snprintf(text_r, size, strcmp(name, "bcrypt") == 0 ? "cost %u" : "%u rounds",
		    (unsigned)hash.rounds);
	return 0;
}

static size_t put(char *text, size_t at, const char *from, size_t len)
{
	memcpy(text + at, from, len);
	return at + len;
}

static size_t fill(char *text, size_t at, char c, size_t len)
{
	memset(text + at, c, len);
	return at + len;
}

/* Salt and hash become all zeros; salts are as long as the programs make them today. */
int passhash_blank(const char *text, char *blank_r)
{
	struct passhash hash;
	size_t at;

	if (parse(text, &hash) != NULL)
		return -1;
	at = put(blank_r, 0, text, strlen(find(text)->prefix));
	if (hash.kind == PASSHASH_PBKDF2) {
		at = fill(blank_r, at, '.', 16);
		at = put(blank_r, at, "$", 1);
		at = put(blank_r, at, hash.cost.at, hash.cost.len);
		at = fill(blank_r, at, '0', hash.digest.len);
	} else {
		char zero = hash.kind == PASSHASH_CRYPT ? '.' : 'A';

		at = put(blank_r, at, hash.cost.at, hash.cost.len);
		if (hash.salt.at != NULL) {
			at = fill(blank_r, at, zero, hash.rounds >= 1000 ? 16 : 22);
			at = put(blank_r, at, "$", 1);
		}
		at = fill(blank_r, at, zero, hash.digest.len);
	}
	blank_r[at] = '\0';
	/* All three bcrypts cost the same. */
	if (strncmp(blank_r, "$2", 2) == 0)
		blank_r[2] = 'b';
	return 0;
}

int passhash_verify(const char *text, const char *password_secret, size_t len)
{
	struct passhash hash;

	if (parse(text, &hash) != NULL)
		return PASSHASH_TROUBLE;
	return passverify(&hash, password_secret, len);
}
