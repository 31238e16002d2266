/* SPDX-License-Identifier: ISC */
#include "server/config_keys.h"

#include <confuse.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/config_check.h"
#include "server/config_sections.h"
#include "server/config_table.h"
#include "server/penalty.h"

#define SERVICES_COUNT 8u
#define PLUGINS_COUNT 16u
#define REALMS_COUNT 16u
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define AT(field) #field, .offset = offsetof(struct config, field)
static const char *const isolations[] = {"process", "shared", NULL};
/* In the order of enum maildrop_lock. */
static const char *const locks[] = {"exclusive", "takeover", "shared", NULL};
static const char *const mail_users[] = {"virtual", "system", NULL};
static const char *const plaintexts[] = {"tls", "loopback", "always", NULL};
/* In the order of the bits of enum saslx_layers. */
static const char *const layers[] = {"none", "integrity", "confidentiality", NULL};
static const char *const gssapi_policies[] = {"off", "accept", "require", NULL};
/* In the order of enum lmtp_unknown and enum quota_full. */
static const char *const lmtp_unknowns[] = {"refuse", "create", NULL};
static const char *const quota_fulls[] = {"temporary", "permanent", NULL};
static const char *const log_targets[] = {"stderr", "syslog", NULL};
/* The strongest first; config_enctypes has their numbers. */
static const char *const enctypes[] = {"aes256-cts-hmac-sha384-192", "aes128-cts-hmac-sha256-128",
    "aes256-cts-hmac-sha1-96", "aes128-cts-hmac-sha1-96", NULL};
static const char *const default_services[] = {"pop", "pop3", NULL};
/*
 * In the order of worth; but GSSAPI first, within the octets of the line that fetchmail reads in one piece.
 */
static const char *const default_mechanisms[] = {"GSSAPI", "GS2-KRB5-PLUS", "GS2-KRB5", "SCRAM-SHA-512-PLUS",
    "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN",
    "LOGIN", NULL};
/* As Debian's policy wants of all programs that touch a spool. */
static const char *const default_spool_locks[] = {"fcntl", "dotlock", NULL};
static const char *const default_passwords[] = {"secrets", NULL};
static const char *const no_list[] = {NULL};
/* Programs of this host that have users of their own, and speak for all of them. */
static const char *const loopback[] = {"127.0.0.0/8", "::1", NULL};

static const struct config_key keys[] = {
    STRING(hostname, NULL, config_check_hostname),
    STRING(mail_root, KPOPD_LOCALSTATEDIR "/lib/kpopd/mail", config_check_path),
    STRING(maildir, "%u/Maildir", config_check_template),
    STRING(spool, NULL, config_check_template),
    LIST(spool_locks, default_spool_locks, 1, SPOOL_LOCKS_COUNT, config_check_lock),
    NUMBER(login_delay_secs, 0, 0, LIMIT_LOGIN_DELAY_SECS),
    DAYS(expire_days, "never"),
    OCTETS(quota_octets, "0"),
    NUMBER(quota_messages, 0, 0, LIMIT_QUOTA_MESSAGES),
    WORD(mail_users, "virtual", mail_users),
    NUMBER(first_uid, 1000, 1, 4294967294u),
    STRING(state_dir, KPOPD_LOCALSTATEDIR "/lib/kpopd", config_check_path),
    STRING(run_dir, KPOPD_RUNSTATEDIR "/kpopd", config_check_path),
    STRING(pid_file, NULL, config_check_path),
    STRING(front_user, "kpopd-front", config_check_user),
    STRING(auth_user, "kpopd-auth", config_check_user),
    STRING(store_user, "kpopd", config_check_user),
    STRING(checker_user, "kpopd-check", config_check_user),
    WORD(lock, "exclusive", locks),
    WORD(isolation, "process", isolations),
    NUMBER(front_processes, 2, 1, 64),
    NUMBER(auth_processes, 2, 1, 64),
    NUMBER(password_processes, 4, 1, 256),
    NUMBER(store_processes, 2, 1, 64),
    NUMBER(store_threads, 4, 1, 64),
    NUMBER(spare, 4, 1, 256),
    NUMBER(sessions, 1000, 1, 100000),
    NUMBER(lmtp_sessions, 20, 1, 1000),
    NUMBER(lmtp_idle_secs, 300, 1, 3600), /* RFC 5321 section 4.5.3.2.7 */
    {.name = AT(message_octets), .kind = KIND_OCTETS, .text = "50M", .check = config_check_message_octets},
    WORD(lmtp_unknown, "refuse", lmtp_unknowns),
    WORD(quota_full, "temporary", quota_fulls),
    STRING(recipient_delimiter, NULL, config_check_delimiter),
    STRING(certificate, NULL, config_check_path),
    STRING(key, NULL, config_check_secret),
    STRING(keytab, "/etc/krb5.keytab", config_check_secret),
    STRING(krb5_conf, "/etc/krb5.conf", config_check_path),
    LIST(services, default_services, 1, SERVICES_COUNT, config_check_service),
    SET(enctypes, enctypes, enctypes),
    LIST(mechanisms, default_mechanisms, 0, LIMIT_MECHANISMS_COUNT, config_check_mechanism),
    LIST(plugins, no_list, 0, PLUGINS_COUNT, config_check_code),
    STRING(plugin_dir, KPOPD_SASL_PLUGIN_DIR, config_check_path),
    SET(gssapi_layers, layers, layers),
    STRING(default_domain, NULL, config_check_hostname),
    LIST(domains, no_list, 0, CONFIG_LIST_COUNT, config_check_hostname),
    LIST(local_domains, no_list, 0, CONFIG_LIST_COUNT, config_check_hostname),
    LIST(plus_hosts, no_list, 0, CONFIG_LIST_COUNT, config_check_hostname),
    BOOL(fold_case, false),
    BOOL(user_pass, true),
    BOOL(apop, false),
    WORD(channel_binding, "allow", config_binding_policies),
    WORD(gssapi_channel_binding, "off", gssapi_policies),
    WORD(plaintext, "tls", plaintexts),
    LIST(passwords, default_passwords, 1, 3, config_check_source),
    STRING(kerberos_realm, NULL, config_check_realm),
    LIST(kerberos_realms, no_list, 0, REALMS_COUNT, config_check_realm),
    STRING(kerberos_armor_cache, NULL, config_check_path),
    STRING(saslauthd_socket, "/run/saslauthd/mux", config_check_path),
    NUMBER(checks, 32, 1, 1024),
    NUMBER(check_secs, 10, 1, LIMIT_CHECK_MOST_SECS),
    NUMBER(remember_secs, 0, 0, 86400),
    NUMBER(refusal_msecs, 2000, 0, 60000),
    NUMBER(penalty_threshold, 5, 0, PENALTY_THRESHOLD_MOST),
    NUMBER(penalty_secs, 15, 1, 3600),
    NUMBER(penalty_max_secs, 900, 1, 86400),
    NETWORKS(penalty_exempt_networks, loopback),
    NUMBER(source_checks, 2, 0, 32),
    NUMBER(authorization_secs, 180, 10, 3600),
    NUMBER(idle_secs, 600, 600, 86400), /* RFC 1939 section 3: at least ten minutes */
    NUMBER(tls_handshake_secs, 10, 1, 300),
    NUMBER(kpop_handshake_secs, 30, 1, 600),
    BOOL(implementation, false),
    WORD(log_target, "stderr", log_targets),
    BOOL(log_debug, false),
};

_Static_assert(CONFIG_LIST_COUNT >= SERVICES_COUNT && CONFIG_LIST_COUNT >= PLUGINS_COUNT, "the longest list");
_Static_assert(COUNT(keys) <= CONFIG_KEYS_COUNT, "room for the line of each key");

/* One reading: libconfuse hands its callbacks no argument of ours. */
struct reading {
	struct config_place *place;
	struct config_seen keys[COUNT(keys)];
	struct config_sections sections;
};
static _Thread_local struct reading *reading;

#define fail(line, ...) config_fail(reading->place, line, __VA_ARGS__)

/* The library would tell the line where the file ends. */
static int open_quote_line(const char *text)
{
	int line = 1, opened = 0;
	char quote = '\0';

	for (const char *p = text; *p != '\0'; p++) {
		if (quote == '\0' && (*p == '"' || *p == '\'')) {
			quote = *p;
			opened = line;
		} else if (*p == quote) {
			quote = '\0';
		} else if (*p == '\\' && p[1] != '\0') {
			p++;
		}
		line += *p == '\n';
	}
	return opened;
}

static __attribute__((format(printf, 2, 0))) void library_error(cfg_t *cfg, const char *format, va_list args)
{
	static const char unknown[] = "no such option ";
	char text[256];

	vsnprintf(text, sizeof(text), format, args);
	if (strcmp(text, "no such option '" CONFIG_END_KEY "'") == 0)
		fail(cfg->line, "the file ends inside a %s; close it with '}'", cfg_name(cfg));
	else if (strncmp(text, unknown, sizeof(unknown) - 1) == 0)
		fail(cfg->line, "unknown key %s; kpopd.conf(5) has the list", text + sizeof(unknown) - 1);
	else if (strncmp(text, "unterminated string", 19) == 0)
		fail(open_quote_line(reading->place->text),
		    "a quote is opened here, or before, and never closed");
	else if (strncmp(text, "missing title", 13) == 0)
		fail(cfg->line, "%s; give it a name, as in listener inside { ... }", text);
	else if (strncmp(text, "found duplicate title", 21) == 0)
		fail(cfg->line, "%s; give each section of a kind a name of its own", text);
	else if (strstr(text, "boolean") != NULL)
		fail(cfg->line, "%s; write true or false", text);
	else if (strstr(text, "integer") != NULL)
		fail(cfg->line, "%s; write a whole number", text);
	else
		fail(cfg->line, "%s; kpopd.conf(5) shows how a file looks", text);
}

/* libconfuse takes the end of the file for the end of a section; so we write one more key behind text. */
static int parse(cfg_t *cfg, const char *text)
{
	char *copy = NULL;

	if (asprintf(&copy, "%s\n" CONFIG_END_KEY " = true\n", text) < 0)
		return fail(0, "no memory");
	int result = cfg_parse_buf(cfg, copy);
	free(copy);
	if (result != CFG_SUCCESS)
		fail(cfg->line, "cannot be understood; kpopd.conf(5) shows how a file looks");
	return result == CFG_SUCCESS ? 0 : -1;
}

static int key_read(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct config_key *key = config_table_find(keys, COUNT(keys), cfg_opt_name(opt));
	struct config_seen *seen = &reading->keys[key - keys];
	int result = config_table_seen(reading->place, cfg->line, key, seen, opt);

	reading->place->lines[key - keys] = seen->line;
	return result;
}

/* A parser for all tables; it keeps copies of the options. NULL: no memory. */
static cfg_t *make_parser(void)
{
	cfg_opt_t options[COUNT(keys) + CONFIG_SECTIONS_COUNT + 2] = {0};
	const cfg_opt_t end = CFG_END(), end_key = CFG_BOOL(CONFIG_END_KEY, cfg_false, CFGF_NONE);

	for (size_t i = 0; i < COUNT(keys); i++)
		options[i] = config_table_option(&keys[i], key_read);
	config_sections_options(&reading->sections, options + COUNT(keys));
	options[COUNT(keys) + CONFIG_SECTIONS_COUNT] = end_key;
	options[COUNT(keys) + CONFIG_SECTIONS_COUNT + 1] = end;
	cfg_t *cfg = cfg_init(options, CFGF_NONE);
	if (cfg != NULL)
		cfg_set_error_function(cfg, library_error);
	return cfg;
}

/* Whether title, in quotes or not, is what stands at p. */
static bool titled(const char *p, const char *title)
{
	p += strspn(p, " \t");
	p += *p == '\'' || *p == '"';
	return strncmp(p, title, strlen(title)) == 0 && strchr("'\" \t{", p[strlen(title)]) != NULL;
}

int config_keys_find_line(const char *text, const char *word, const char *title)
{
	size_t len = strlen(word);
	for (int line = 1;; line++) {
		const char *p = text + strspn(text, " \t");
		if (strncmp(p, word, len) == 0 && (title == NULL || titled(p + len, title)))
			return line;
		text = strchr(text, '\n');
		if (text == NULL)
			return 0;
		text++;
	}
}

static int check_empties(cfg_t *cfg, const char *text)
{
	for (size_t i = 0; i < COUNT(keys); i++)
		if (config_table_check_empty(reading->place, config_keys_find_line(text, keys[i].name, NULL),
			&keys[i], cfg_getopt(cfg, keys[i].name)) != 0)
			return -1;
	return 0;
}

int config_keys_read(struct config *config, struct config_place *place, const char *text)
{
	struct reading now = {.place = place, .sections = {.config = config, .place = place, .text = text}};
	cfg_t *cfg;

	reading = &now;
	place->text = text;
	cfg = make_parser();
	if (cfg == NULL || (parse(cfg, text) == 0 && check_empties(cfg, text) == 0 &&
			       config_table_store(keys, COUNT(keys), cfg, config) != 0))
		fail(0, "no memory");
	if (cfg != NULL)
		cfg_free(cfg);
	reading = NULL;
	return place->failed ? -1 : 0;
}

void config_keys_free(struct config *config)
{
	config_sections_free(config);
	config_table_free(keys, COUNT(keys), config);
}

int config_keys_line(const struct config_place *place, const char *name)
{
	const struct config_key *key = config_table_find(keys, COUNT(keys), name);
	return key != NULL ? place->lines[key - keys] : 0;
}

const char *config_keys_name(size_t index)
{
	if (index < COUNT(keys))
		return keys[index].name;
	return config_sections_key(index - COUNT(keys));
}
