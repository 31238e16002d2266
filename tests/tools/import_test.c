/* SPDX-License-Identifier: ISC */
/* What is read of other servers' files, item by item. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/import_item.h"

#define BCRYPT "$2y$05$WfCCPKrotX2Qc71xqnGaKebR0YVLc04CVRBZ/jD4rFkZERhhd24zG"
#define STORED "t+SFrK+uQbqwj+ixEwrDOfOZI4+HgtB1HM0JBMy0tso="
#define SERVER "I3qhoBDyBQZqXmwDKOJHdCu9t5y//ZC0Z6pffzBHhuA="
#define KEYS(count, salt) "{SCRAM-SHA-256}" count "," salt "," STORED "," SERVER
#define SALT "IIGGyoXU90wAFGWU5Gywpg=="

/* want: "user=p:password", "user=h:hash", "user=k:iterations", "!why" or "-" for an entry that is left out.
 */
static const struct {
	const char *sentence;
	enum import_format format;
	const char *line, *want;
} rows[] = {
    {"a hash", IMPORT_DOVECOT, "alice:{BLF-CRYPT}" BCRYPT ":1:1::::", "alice=h:" BCRYPT},
    {"a scheme in small letters", IMPORT_DOVECOT, "alice:{blf-crypt}" BCRYPT, "alice=h:" BCRYPT},
    {"a hash without its scheme", IMPORT_DOVECOT, "alice:" BCRYPT, "alice=h:" BCRYPT},
    {"a CR before the line's end", IMPORT_DOVECOT, "alice:" BCRYPT "\r", "alice=h:" BCRYPT},
    {"a password", IMPORT_DOVECOT, "alice:{PLAIN}a b", "alice=p:a b"},
    {"a password with braces", IMPORT_DOVECOT, "alice:{PLAIN}{x}", "alice=p:{x}"},
    {"an empty password", IMPORT_DOVECOT, "alice:{PLAIN}", "!1 to 255"},
    {"an empty password with more fields", IMPORT_DOVECOT, "alice:{PLAIN}:1:1", "!1 to 255"},
    {"an unfinished scheme", IMPORT_DOVECOT, "alice:{PLAIN", "!no {SCHEME}"},
    {"keys", IMPORT_DOVECOT, "alice:" KEYS("4096", SALT), "alice=k:4096"},
    {"keys of as many iterations as may be", IMPORT_DOVECOT, "alice:" KEYS("1000000", SALT),
	"alice=k:1000000"},
    {"more", IMPORT_DOVECOT, "alice:" KEYS("1000001", SALT), "!iterations"},
    {"too few", IMPORT_DOVECOT, "alice:" KEYS("4095", SALT), "!iterations"},
    {"a sign", IMPORT_DOVECOT, "alice:" KEYS("+4096", SALT), "!ITERATIONS"},
    {"many digits", IMPORT_DOVECOT, "alice:" KEYS("99999999999999999999999", SALT), "!iterations"},
    {"no salt", IMPORT_DOVECOT, "alice:" KEYS("4096", ""), "!base64"},
    {"a short salt", IMPORT_DOVECOT, "alice:" KEYS("4096", "YWJj"), "!base64"},
    {"a salt of 33", IMPORT_DOVECOT, "alice:" KEYS("4096", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEy"),
	"!base64"},
    {"a salt in bad base64", IMPORT_DOVECOT, "alice:" KEYS("4096", "IIGGyoXU90wAFGWU5Gyw!g=="), "!base64"},
    {"padding in the middle", IMPORT_DOVECOT, "alice:" KEYS("4096", "II==yoXU90wAFGWU5Gywpg=="), "!base64"},
    {"keys cut off", IMPORT_DOVECOT, "alice:{SCRAM-SHA-256}4096," SALT "," STORED, "!SERVER-KEY"},
    {"keys of the other hash", IMPORT_DOVECOT, "alice:{SCRAM-SHA-1}4096," SALT "," STORED "," SERVER,
	"!length"},
    {"SCRAM of a hash that is not kept", IMPORT_DOVECOT, "alice:{SCRAM-SHA-384}4096,x,x,x", "!not known"},
    {"no name", IMPORT_DOVECOT, ":" BCRYPT, "!name"},
    {"PBKDF2", IMPORT_DOVECOT,
	"alice:{PBKDF2}$1$B5nQs92NT8yvyqIA$5000$e8c68c0fa3f136166ba9ead7f5bb25aed7b5caba",
	"alice=h:{PBKDF2}$1$B5nQs92NT8yvyqIA$5000$e8c68c0fa3f136166ba9ead7f5bb25aed7b5caba"},
    {"MD5 under the name of CRYPT", IMPORT_DOVECOT, "alice:{CRYPT}$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",
	"!MD5"},
    {"a field of no concern", IMPORT_DOVECOT, "alice:" BCRYPT ":1:1:::: userdb_nologin=y", "alice=h:" BCRYPT},
    {"one that limits logins", IMPORT_DOVECOT, "alice:" BCRYPT ":1:1::::userdb_x=y nologin", "!nologin"},
    {"a gecos that looks like it", IMPORT_DOVECOT, "alice:" BCRYPT ":1:1:nologin:::", "alice=h:" BCRYPT},
    {"htpasswd", IMPORT_HTPASSWD, "alice:" BCRYPT, "alice=h:" BCRYPT},
    {"htdigest", IMPORT_HTPASSWD, "alice:realm:5f4dcc3b5aa765d61d8327deb882cf99", "!htdigest"},
    {"htpasswd -p", IMPORT_HTPASSWD, "alice:secret", "!no password hash"},
    {"DES", IMPORT_HTPASSWD, "alice:HaacVEDPVnWEE", "!DES"},
    {"a dump", IMPORT_SASLDB, "HEADER=END\n alice\\00r\\00userPassword\n secret\nDATA=END\n x",
	"alice=p:secret"},
    {"octets of a dump", IMPORT_SASLDB, "HEADER=END\n alice\\00\\00userPassword\n a\\\\b\\c3\\bc:\n",
	"alice=p:a\\b\xc3\xbc:"},
    {"a dump in hexadecimal", IMPORT_SASLDB,
	"format=bytevalue\nHEADER=END\n 616c6963650072007573657250617373776f7264\n 7077\n", "alice=p:pw"},
    {"an odd digit", IMPORT_SASLDB,
	"format=bytevalue\nHEADER=END\n 616c6963650072007573657250617373776f7264\n 707\n", "!malformed"},
    {"a backslash at the end", IMPORT_SASLDB, "HEADER=END\n alice\\00r\\00userPassword\n x\\\n",
	"!malformed"},
    {"a bad escape", IMPORT_SASLDB, "HEADER=END\n alice\\00r\\00userPassword\n \\0g\n", "!malformed"},
    {"no space before a line", IMPORT_SASLDB, "HEADER=END\nalice\\00r\\00userPassword\n x\n", "!malformed"},
    {"a NUL in a password", IMPORT_SASLDB, "HEADER=END\n alice\\00r\\00userPassword\n x\\00y\n", "!1 to 255"},
    {"a NUL in a name", IMPORT_SASLDB, "HEADER=END\n al\\00ice\\00r\\00userPassword\n x\n", "-"},
    {"another property", IMPORT_SASLDB, "HEADER=END\n alice\\00r\\00cmusaslsecretOTP\n x\n", "-"},
    {"a property with more behind", IMPORT_SASLDB, "HEADER=END\n alice\\00r\\00userPasswordx\n x\n", "-"},
    {"another realm", IMPORT_SASLDB, "HEADER=END\n alice\\00other\\00userPassword\n x\n", "-"},
    {"a key of other parts", IMPORT_SASLDB, "HEADER=END\n alice\n x\n", "!key"},
    {"a key without a value", IMPORT_SASLDB, "HEADER=END\n alice\\00r\\00userPassword\n", "!cut off"},
    {"no header", IMPORT_SASLDB, " alice\\00r\\00userPassword\n x\n", "!not a dump"},
    {"nothing", IMPORT_SASLDB, "", "!not a dump"},
};

/* As want is written. */
static const char *describe(const struct import_item *item)
{
	static char text[1024];

	if (item->why[0] != '\0')
		snprintf(text, sizeof(text), "!%s", item->why);
	else if (item->skipped)
		strcpy(text, "-");
	else if (item->password_secret[0] != '\0')
		snprintf(text, sizeof(text), "%s=p:%s", item->user, item->password_secret);
	else if (item->record.hash[0] != '\0')
		snprintf(text, sizeof(text), "%s=h:%s", item->user, item->record.hash);
	else
		snprintf(text, sizeof(text), "%s=k:%u", item->user,
		    (unsigned)item->record.keys[credentials_main_hash(&item->record)].iterations);
	return text;
}

static void lines_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct import_reader reader = {.octets = rows[i].line,
		    .len = strlen(rows[i].line),
		    .format = rows[i].format,
		    /* The realm of the empty one is said by nobody. */
		    .realm = strstr(rows[i].line, "\\00\\00") == NULL ? "r" : NULL};
		struct import_item item;
		const char *got;

		assert_true(import_next(&reader, &item));
		got = describe(&item);
		if (rows[i].want[0] == '!' ? got[0] != '!' || strstr(got, rows[i].want + 1) == NULL
					   : strcmp(got, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].sentence, got);
		assert_false(import_next(&reader, &item));
		free(reader.only_realm);
	}
}

static void lines_are_bounded_and_counted(void **state)
{
	static char text[3 * IMPORT_LINE_OCTETS];
	struct import_reader reader = {.octets = text, .format = IMPORT_DOVECOT};
	struct import_item item;

	(void)state;
	strcpy(text, "\n  # comment\na:{PLAIN}x\n\nb:{PLAIN}x:1:1:");
	memset(text + strlen(text), 'g', IMPORT_LINE_OCTETS);
	strcat(text, "\nc:{PLAIN}x");
	reader.len = strlen(text);
	assert_true(import_next(&reader, &item));
	assert_int_equal(item.line, 3);
	assert_string_equal(item.why, "");
	assert_true(import_next(&reader, &item));
	assert_int_equal(item.line, 5);
	assert_non_null(strstr(item.why, "longer"));
	assert_true(import_next(&reader, &item));
	assert_int_equal(item.line, 6);
	assert_string_equal(item.why, "");
	assert_false(import_next(&reader, &item));
}

static void formats_are_guessed_or_asked_for(void **state)
{
	static const struct {
		const char *text;
		enum import_format want;
	} guesses[] = {
	    {"VERSION=3\nformat=print\n", IMPORT_SASLDB},
	    {"\n# users\nalice:{PLAIN}x\n", IMPORT_DOVECOT},
	    {"alice:x:1:1::::\n", IMPORT_DOVECOT},
	    {"alice:" BCRYPT "\n", IMPORT_HTPASSWD},
	    {"alice:{SHA}6dcfXufJLW3J6S/9rRe4vUlBj5g=\n", IMPORT_HTPASSWD},
	    {"alice:{SHA}6dcfXufJLW3J6S/9rRe4vUlBj5g=:1:1::::\n", IMPORT_DOVECOT},
	    {"alice:HaacVEDPVnWEE\n", IMPORT_GUESS},
	    {"alice:\n", IMPORT_GUESS},
	    {"a:{SHA", IMPORT_DOVECOT},
	    {"alice\n", IMPORT_GUESS},
	    {"\n#\n", IMPORT_GUESS},
	    {"", IMPORT_GUESS},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(guesses) / sizeof(guesses[0]); i++) {
		size_t len = strlen(guesses[i].text);
		char *octets = malloc(len + (len == 0)); /* nothing behind it */

		assert_non_null(octets);
		memcpy(octets, guesses[i].text, len);
		if (import_guess(octets, len) != guesses[i].want)
			fail_msg("%s", guesses[i].text);
		free(octets);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_are_read),
	    cmocka_unit_test(lines_are_bounded_and_counted),
	    cmocka_unit_test(formats_are_guessed_or_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
