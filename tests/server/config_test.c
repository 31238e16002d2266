/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "server/config.h"
#include "server/config_check.h"
#include "server/config_keys.h"
#include "server/config_sections.h"

static char dir[] = "/tmp/config_test.XXXXXX";
static char file[64];
static char why[1024];

static void write_file(const char *path, const char *text, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static struct config *read_config(const char *text)
{
	write_file(file, text, strlen(text), 0600);
	return config_read(file, why, sizeof(why));
}

static void assert_list(char *const *list, const char *want)
{
	char joined[512] = "";
	for (; *list != NULL; list++) {
		strcat(joined, *list);
		strcat(joined, " ");
	}
	assert_string_equal(joined, want);
}

static void assert_enctypes(const struct config *config, const int *want)
{
	int got[CONFIG_ENCTYPES_COUNT + 1];
	config_enctypes(config, got);
	for (size_t i = 0; i == 0 || want[i - 1] != 0; i++)
		assert_int_equal(got[i], want[i]);
}

static void test_defaults(void **state)
{
	(void)state;
	struct config *config = read_config("");
	assert_non_null(config);
	assert_string_equal(config->file, file);
	assert_true(strlen(config->hostname) > 0);
	assert_string_equal(config->maildir, "%u/Maildir");
	assert_null(config->spool);
	assert_list(config->spool_locks, "fcntl dotlock ");
	assert_true(config->login_delay_secs == 0 && config->expire_days == CONFIG_NEVER);
	assert_true(config->quota_octets == 0 && config->quota_messages == 0 && config->class_count == 0);
	assert_string_equal(config->front_user, "kpopd-front");
	assert_string_equal(config->auth_user, "kpopd-auth");
	assert_string_equal(config->store_user, "kpopd");
	assert_string_equal(config->checker_user, "kpopd-check");
	assert_list(config->passwords, "secrets ");
	assert_list(config->kerberos_realms, "");
	assert_null(config->kerberos_realm);
	assert_null(config->kerberos_armor_cache);
	assert_string_equal(config->saslauthd_socket, "/run/saslauthd/mux");
	assert_true(config->checks == 32 && config->check_secs == 10 && config->remember_secs == 0);
	assert_string_equal(config->state_dir, KPOPD_LOCALSTATEDIR "/lib/kpopd");
	assert_string_equal(config->pid_file, KPOPD_RUNSTATEDIR "/kpopd/kpopd.pid");
	assert_string_equal(config->keytab, "/etc/krb5.keytab");
	assert_string_equal(config->krb5_conf, "/etc/krb5.conf");
	assert_string_equal(config->plugin_dir, KPOPD_SASL_PLUGIN_DIR);
	assert_null(config->certificate);
	assert_null(config->key);
	assert_list(config->services, "pop pop3 ");
	assert_enctypes(config, (const int[]){20, 19, 18, 17, 0});
	assert_list(config->mechanisms, "GSSAPI GS2-KRB5-PLUS GS2-KRB5 SCRAM-SHA-512-PLUS SCRAM-SHA-256-PLUS "
					"SCRAM-SHA-1-PLUS SCRAM-SHA-512 "
					"SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN ");
	assert_int_equal(config->channel_binding, SASLX_BINDING_ALLOW);
	assert_int_equal(config->channel_binding_rule_count, 0);
	assert_int_equal(config->gssapi_channel_binding, SASLX_BINDING_OFF);
	assert_int_equal(config->mechanism_count, 11);
	assert_list(config->plugins, "");
	assert_int_equal(config->lock, MAILDROP_EXCLUSIVE);
	assert_int_equal(config->isolation, ISOLATION_PROCESS);
	assert_int_equal(config->mail_users, MAIL_USERS_VIRTUAL);
	assert_int_equal(config->first_uid, 1000);
	assert_int_equal(config->plaintext, PLAINTEXT_TLS);
	assert_int_equal(
	    config->gssapi_layers, SASLX_LAYER_NONE | SASLX_LAYER_INTEGRITY | SASLX_LAYER_CONFIDENTIALITY);
	assert_int_equal(config->log_target, LOG_TO_STDERR);
	assert_true(config->user_pass && !config->apop && !config->implementation && !config->log_debug);
	assert_int_equal(config->refusal_msecs, 2000);
	assert_int_equal(config->penalty_threshold, 5);
	assert_int_equal(config->penalty_secs, 15);
	assert_int_equal(config->penalty_max_secs, 900);
	assert_int_equal(config->penalty_exempt_networks.count, 2);
	assert_int_equal(config->source_checks, 2);
	assert_int_equal(config->authorization_secs, 180);
	assert_int_equal(config->idle_secs, 600);
	assert_int_equal(config->tls_handshake_secs, 10);
	assert_int_equal(config->kpop_handshake_secs, 30);
	assert_int_equal(config->spare, 4);
	assert_int_equal(config->sessions, 1000);
	/* Without a certificate nothing is said of POP3S. */
	assert_int_equal(config->listener_count, 2);
	assert_int_equal(config->listeners[0].protocol, PROTOCOL_POP3);
	assert_int_equal(config->listeners[0].port, 110);
	assert_int_equal(config->listeners[1].protocol, PROTOCOL_KPOP);
	assert_int_equal(config->listeners[1].port, 1109);
	assert_list(config->listeners[1].addresses, "0.0.0.0 :: ");
	config_free(&config);
	assert_null(config);
}

static void test_values(void **state)
{
	(void)state;
	struct config *config = read_config(
	    "# a comment\n"
	    "hostname = pop.example.org\n"
	    "mail_root = '/srv/mail'\n"
	    "maildir = \"%d/%n\"\n"
	    "state_dir = /var/lib/k\nrun_dir = /run/k\n"
	    "certificate = /etc/c.pem\nkey = /nonexistent/k.pem\n"
	    "lock = takeover\nisolation = shared\nplaintext = always\nlog_target = syslog\n"
	    "mechanisms = {\"CRAM-MD5\", GSSAPI}\nservices = { pop }\n"
	    "enctypes = {aes256-cts-hmac-sha1-96, aes256-cts-hmac-sha384-192}\n"
	    "gssapi_layers = {confidentiality, integrity}\n"
	    "first_uid = 4294967294\nuser_pass = false\napop = yes\nlog_debug = on\nimplementation = true\n"
	    "passwords = {saslauthd, secrets}\nkerberos_realm = EXAMPLE.ORG\n"
	    "refusal_msecs = 0\nidle_secs = 601\nsessions = 100000\n"
	    "penalty_threshold = 0\npenalty_secs = 60\npenalty_max_secs = 60\n"
	    "penalty_exempt_networks = { '192.0.2.0/24' }\nsource_checks = 0\n"
	    "listener inside {\n  protocol = kpop\n  addresses = {'127.0.0.1', '::1'}\n"
	    "  port = 11109\n}\n"
	    "channel_binding = require\ngssapi_channel_binding = accept\n"
	    "channel_binding_rule office { networks = {'10.0.0.0/8', '::1'} policy = off }\n"
	    "channel_binding_rule old { mechanisms = {SCRAM-SHA-1, 'GS2-KRB5-PLUS'}\n"
	    "  policy = allow\n}\n"
	    "listener outside { protocol = pop3s\n"
	    "  proxy_networks = {'192.0.2.0/24', '2001:db8::1'} }\n");
	if (config == NULL)
		fail_msg("%s", why);
	assert_string_equal(config->hostname, "pop.example.org");
	assert_string_equal(config->mail_root, "/srv/mail");
	assert_string_equal(config->maildir, "%d/%n");
	assert_string_equal(config->pid_file, "/run/k/kpopd.pid");
	assert_string_equal(config->certificate, "/etc/c.pem");
	assert_string_equal(config->key, "/nonexistent/k.pem");
	assert_int_equal(config->lock, MAILDROP_TAKEOVER);
	assert_int_equal(config->isolation, ISOLATION_SHARED);
	assert_int_equal(config->first_uid, 4294967294u);
	assert_int_equal(config->plaintext, PLAINTEXT_ALWAYS);
	assert_int_equal(config->log_target, LOG_TO_SYSLOG);
	assert_list(config->mechanisms, "CRAM-MD5 GSSAPI ");
	assert_int_equal(config->gssapi_layers, SASLX_LAYER_INTEGRITY | SASLX_LAYER_CONFIDENTIALITY);
	assert_int_equal(config->mechanism_count, 2);
	assert_list(config->services, "pop ");
	assert_enctypes(config, (const int[]){20, 18, 0});
	assert_list(config->passwords, "saslauthd secrets ");
	assert_string_equal(config->kerberos_realm, "EXAMPLE.ORG");
	assert_true(!config->user_pass && config->apop && config->log_debug && config->implementation);
	assert_int_equal(config->refusal_msecs, 0);
	assert_int_equal(config->penalty_threshold, 0);
	assert_int_equal(config->penalty_secs, 60);
	assert_int_equal(config->penalty_max_secs, 60);
	assert_int_equal(config->penalty_exempt_networks.count, 1);
	assert_int_equal(config->penalty_exempt_networks.entries[0].prefix, 96 + 24);
	assert_int_equal(config->source_checks, 0);
	assert_int_equal(config->idle_secs, 601);
	assert_int_equal(config->sessions, 100000);
	assert_int_equal(config->channel_binding, SASLX_BINDING_REQUIRE);
	assert_int_equal(config->gssapi_channel_binding, SASLX_BINDING_ALLOW);
	assert_int_equal(config->channel_binding_rule_count, 2);
	assert_string_equal(config->channel_binding_rules[0].name, "office");
	assert_int_equal(config->channel_binding_rules[0].networks.count, 2);
	assert_list(config->channel_binding_rules[0].mechanisms, "");
	assert_int_equal(config->channel_binding_rules[0].policy, SASLX_BINDING_OFF);
	assert_int_equal(config->channel_binding_rules[1].networks.count, 0);
	assert_list(config->channel_binding_rules[1].mechanisms, "SCRAM-SHA-1 GS2-KRB5-PLUS ");
	assert_int_equal(config->channel_binding_rules[1].policy, SASLX_BINDING_ALLOW);
	assert_int_equal(config->listener_count, 2);
	assert_string_equal(config->listeners[0].name, "inside");
	assert_int_equal(config->listeners[0].protocol, PROTOCOL_KPOP);
	assert_list(config->listeners[0].addresses, "127.0.0.1 ::1 ");
	assert_int_equal(config->listeners[0].port, 11109);
	assert_string_equal(config->listeners[1].name, "outside");
	assert_int_equal(config->listeners[1].protocol, PROTOCOL_POP3S);
	assert_list(config->listeners[1].addresses, "0.0.0.0 :: ");
	assert_int_equal(config->listeners[1].port, 995);
	assert_int_equal(config->listeners[0].proxy_networks.count, 0);
	assert_int_equal(config->listeners[1].proxy_networks.count, 2);
	assert_int_equal(config->listeners[1].proxy_networks.entries[0].prefix, 120);
	assert_int_equal(config->listeners[1].proxy_networks.entries[1].address[0], 0x20);
	assert_int_equal(config->listeners[1].proxy_networks.entries[1].prefix, 128);

	char path[PATH_MAX];
	assert_string_equal(config_path(config, CONFIG_AUTH_DIR, path), "/var/lib/k/auth");
	assert_string_equal(config_path(config, CONFIG_SECRETS, path), "/var/lib/k/auth/secrets.mdb");
	assert_string_equal(config_path(config, CONFIG_REPLAY_CACHE, path), "/var/lib/k/auth/replay");
	assert_string_equal(config_path(config, CONFIG_KRB5_SNAPSHOT, path), "/var/lib/k/auth/krb5.conf");
	assert_string_equal(config_path(config, CONFIG_INDEX_DIR, path), "/var/lib/k/index");
	assert_string_equal(config_path(config, CONFIG_EMPTY_DIR, path), "/var/lib/k/empty");
	config_free(&config);
}

static void test_rules(void **state)
{
	(void)state;
	struct config *config = read_config(
	    "default_domain = 'A.Example' domains = {'B.Example'} local_domains = {Pop.A.Example}\n"
	    "plus_hosts = {'B.EXAMPLE'} fold_case = yes\n"
	    "map 'one' {\n regex = '([a-z]+)\\.pop@A\\.B' user = '\\1@a.example' indicators = {otp, "
	    "'pkinit'} }\n"
	    "map two { networks = {'10.0.0.0/8', '::1'} mechanisms = {KPOP} auth_to_local = true }\n"
	    "map three { realm = C k5login = on }\n"
	    "proxy desk { administrators = {'h@a.example'} users = {'*', 'x@b.example'} }\n");
	if (config == NULL)
		fail_msg("%s", why);
	assert_string_equal(config->default_domain, "a.example");
	assert_list(config->domains, "b.example ");
	assert_list(config->local_domains, "pop.a.example ");
	assert_list(config->plus_hosts, "b.example ");
	assert_true(config->fold_case);
	assert_int_equal(config->map_count, 3);
	assert_string_equal(config->maps[0].name, "one");
	assert_int_equal(config->maps[0].line, 3);
	assert_string_equal(config->maps[0].regex, "([a-z]+)\\.pop@A\\.B");
	assert_string_equal(config->maps[0].user, "\\1@a.example");
	assert_list(config->maps[0].indicators, "otp pkinit ");
	assert_list(config->maps[0].mechanisms, "");
	assert_int_equal(config->maps[0].networks.count, 0);
	assert_int_equal(config->maps[1].line, 5);
	assert_int_equal(config->maps[1].networks.count, 2);
	assert_list(config->maps[1].mechanisms, "KPOP ");
	assert_true(config->maps[1].auth_to_local && !config->maps[1].deny && config->maps[1].user == NULL);
	assert_string_equal(config->maps[2].realm, "C");
	assert_true(config->maps[2].k5login);
	assert_int_equal(config->proxy_count, 1);
	assert_list(config->proxies[0].administrators, "h@a.example ");
	assert_list(config->proxies[0].users, "* x@b.example ");
	config_free(&config);
}

static void test_classes(void **state)
{
	(void)state;
	struct config *config = read_config(
	    "login_delay_secs = 60 expire_days = 30 quota_octets = 2M quota_messages = 7\n"
	    "class 'one' { users = {'*@a.example', 'bob'} login_delay_secs = 0 expire_days = never\n"
	    " quota_octets = 0 quota_messages = 0 }\n"
	    "class two { users = {alice} }\n");
	if (config == NULL)
		fail_msg("%s", why);
	assert_true(config->login_delay_secs == 60 && config->expire_days == 30);
	assert_true(config->quota_octets == 2 << 20 && config->quota_messages == 7);
	assert_int_equal(config->class_count, 2);
	const struct class_config *class = config->classes;
	assert_string_equal(class->name, "one");
	assert_int_equal(class->line, 2);
	assert_list(class->users, "*@a.example bob ");
	assert_true(class->login_delay_secs == 0 && class->expire_days == CONFIG_NEVER);
	assert_true(class->quota_octets == 0 && class->quota_messages == 0);
	class ++;
	assert_true(class->login_delay_secs == CONFIG_UNSET && class->expire_days == CONFIG_UNSET);
	assert_true(class->quota_octets == CONFIG_UNSET_OCTETS && class->quota_messages == CONFIG_UNSET);
	config_free(&config);
}

static void test_octets(void **state)
{
	static const struct {
		const char *text;
		uint64_t want;
	} rows[] = {
	    {"0", 0},
	    {"1", 1},
	    {"12345678901", UINT64_C(12345678901)},
	    {"1K", 1024},
	    {"3M", 3 << 20},
	    {"5G", UINT64_C(5) << 30},
	    {"2T", UINT64_C(2) << 40},
	    {"1048576T", UINT64_C(1) << 60},
	    {"1152921504606846976", UINT64_C(1) << 60},
	    {"1152921504606846977", CONFIG_UNSET_OCTETS},
	    {"K", CONFIG_UNSET_OCTETS},
	    {"1k", CONFIG_UNSET_OCTETS},
	    {"+1", CONFIG_UNSET_OCTETS},
	    {" 1", CONFIG_UNSET_OCTETS},
	    {"1 ", CONFIG_UNSET_OCTETS},
	    {"", CONFIG_UNSET_OCTETS},
	    {NULL, CONFIG_UNSET_OCTETS},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (config_octets(rows[i].text) != rows[i].want)
			fail_msg("%s: got %llu", rows[i].text != NULL ? rows[i].text : "NULL",
			    (unsigned long long)config_octets(rows[i].text));
}

static void test_no_mechanisms(void **state)
{
	(void)state;
	struct config *config = read_config("mechanisms = {}\n");
	assert_non_null(config);
	assert_int_equal(config->mechanism_count, 0);
	assert_list(config->mechanisms, "");
	config_free(&config);
}

static void test_default_listeners_with_tls(void **state)
{
	(void)state;
	struct config *config = read_config("certificate = /c\nkey = /k\n");
	assert_non_null(config);
	assert_int_equal(config->listener_count, 3);
	assert_string_equal(config->listeners[2].name, "pop3s");
	assert_int_equal(config->listeners[2].protocol, PROTOCOL_POP3S);
	assert_int_equal(config->listeners[2].port, 995);
	config_free(&config);
}

struct refusal_row {
	const char *sentence, *text;
	int line;
	const char *what; /* the line begins "FILE:LINE: " and then this */
};

static const struct refusal_row refusals[] = {
    {"a quote that is never closed", "apop = no\nhostname = 'a\nsessions = 2\n", 2, "a quote is opened here"},
    {"an unknown key", "apop = no\nflavour = mint\n", 2, "unknown key 'flavour'; kpopd.conf(5)"},
    {"an unknown key of a listener", "listener x {\n protocol = pop3\n colour = red\n}\n", 3,
	"unknown key 'colour'"},
    {"a key twice", "apop = no\n\napop = yes\n", 3, "apop: given before, on line 1"},
    {"a list twice", "services = {pop, pop3}\nservices = {pop}\n", 2, "services: given before, on line 1"},
    {"a listener's key twice", "listener x {\n port = 1\n port = 2\n protocol = pop3\n}\n", 3,
	"port: given before, on line 2"},
    {"no equal sign", "apop yes\n", 1, "missing equal sign"},
    {"an open string", "apop = no\nhostname = \"pop\n", 0, "premature end of file"},
    {"no value", "apop = no\nlock =\n\n", 3, "lock: the file ends before its value; write one"},
    {"no value for a number", "spare =\n", 1, "invalid integer value for option 'spare'"},
    {"no list", "services = {pop,\n", 1, "services: the file ends before its value; write one"},
    {"an open section of three lines", "apop = no\nlistener x {\n protocol = pop3\n", 3,
	"the file ends inside a listener"},
    {"an open section", "listener x {\n protocol = pop3\n", 0, "the file ends inside a listener"},
    {"a word for a number", "spare = many\n", 1,
	"invalid integer value for option 'spare'; write a whole number"},
    {"a word for a switch", "apop = perhaps\n", 1,
	"invalid boolean value for option 'apop'; write true or false"},
    {"a list where one value goes", "apop = {yes}\n", 1, ""},
    {"a number too small", "spare = 0\n", 1, "spare: 0 is out of bounds; write a number from 1 to 256"},
    {"a negative number", "sessions = -1\n", 1, "sessions: -1 is out of bounds"},
    {"a number that wraps", "sessions = 4294967297\n", 1, "sessions: 4294967297 is out of bounds"},
    {"less idle time than POP3 demands", "\nidle_secs = 599\n", 2,
	"idle_secs: 599 is out of bounds; write a number from 600"},
    {"accounts of the system, and many sessions in one process", "mail_users = system\nisolation = shared\n",
	1, "mail_users: system needs a process for each session; set isolation = process"},
    {"no such users", "mail_users = mine\n", 1,
	"mail_users: 'mine' is none of its values; write one of virtual, system"},
    {"root as a user", "first_uid = 0\n", 1,
	"first_uid: 0 is out of bounds; write a number from 1 to 4294967294"},
    {"no such lock", "lock = both\n", 1,
	"lock: 'both' is none of its values; write one of exclusive, takeover, shared"},
    {"no such isolation", "isolation = none\n", 1,
	"isolation: 'none' is none of its values; write one of process, shared"},
    {"no such policy", "channel_binding = always\n", 1,
	"channel_binding: 'always' is none of its values; write one of off, allow, require"},
    {"GSSAPI cannot be allowed what it has not", "gssapi_channel_binding = allow\n", 1,
	"gssapi_channel_binding: 'allow' is none of its values; write one of off, accept, require"},
    {"a binding to TLS that is not there", "\nchannel_binding = require\n", 2,
	"channel_binding: GS2-KRB5-PLUS cannot be bound without TLS; set 'certificate' and 'key'"},
    {"the same for GSSAPI", "gssapi_channel_binding = require\nmechanisms = {GSSAPI}\n", 1,
	"gssapi_channel_binding: GSSAPI cannot be bound without TLS"},
    {"a binding by a name that is not there",
	"certificate = /c\nkey = /nonexistent/k\nmechanisms = {SCRAM-SHA-256}\nchannel_binding = require\n",
	4, "channel_binding: nobody can bind by SCRAM-SHA-256; add SCRAM-SHA-256-PLUS to 'mechanisms'"},
    {"a rule without a policy", "\nchannel_binding_rule x {\n networks = {'10.0.0.0/8'}\n}\n", 2,
	"channel_binding_rule x: has no policy; write 'policy = off', allow or require"},
    {"a rule for a mechanism without binding",
	"channel_binding_rule x {\n mechanisms = {PLAIN}\n policy = require\n}\n", 2,
	"mechanisms: PLAIN has no channel binding"},
    {"a rule for GSSAPI", "channel_binding_rule x {\n mechanisms = {GSSAPI}\n policy = require\n}\n", 2,
	"mechanisms: GSSAPI has no channel binding; name GS2-KRB5 or a SCRAM mechanism, or for GSSAPI set "},
    {"a rule with a network that is none",
	"channel_binding_rule x {\n networks = {'10.0.0.1/8'}\n policy = require\n}\n", 2, "networks: "},
    {"no such protocol", "listener x {\n protocol = imap\n}\n", 2,
	"protocol: 'imap' is none of its values; write one of pop3, pop3s, kpop"},
    {"a listener without protocol", "listener x {\n port = 1\n}\n", 1, "listener x: has no protocol"},
    {"a listener without addresses", "listener x {\n protocol = pop3\n addresses = {}\n}\n", 1,
	"addresses: is empty; write at least 1"},
    {"a listener without a name", "listener {\n}\n", 1, ""},
    {"two listeners of one name", "listener x { protocol = pop3 }\nlistener x { protocol = kpop }\n", 2,
	"found duplicate title"},
    {"a listener with a bad name", "listener 'a:b' {\n protocol = pop3\n}\n", 1,
	"listener: 'a:b' cannot be a title"},
    {"two listeners of one port",
	"listener a { protocol = pop3 }\nlistener b {\n protocol = kpop\n port = 110\n}\n", 2,
	"listener b: 0.0.0.0 port 110 is listener a's already"},
    {"port 0", "listener x {\n protocol = pop3\n port = 0\n}\n", 3,
	"port: 0 is out of bounds; write a number from 1 to 65535"},
    {"a port too large", "listener x {\n protocol = pop3\n port = 65536\n}\n", 3,
	"port: 65536 is out of bounds"},
    {"a threshold that the table cannot count to", "penalty_threshold = 21\n", 1,
	"penalty_threshold: 21 is out of bounds; write a number from 0 to 20"},
    {"a first penalty longer than the longest", "\npenalty_secs = 61\npenalty_max_secs = 60\n", 2,
	"penalty_secs: 61 is more than penalty_max_secs, 60"},
    {"a longest penalty shorter than the first by default", "\npenalty_max_secs = 14\n", 2,
	"penalty_secs: 15 is more than penalty_max_secs, 14"},
    {"an exempt network that is none", "penalty_exempt_networks = {'localhost'}\n", 1,
	"penalty_exempt_networks: 'localhost' is no network"},
    {"a name for an address", "listener x {\n protocol = pop3\n addresses = {\n'localhost'\n}\n}\n", 4,
	"addresses: 'localhost' is no numeric address"},
    {"an address with port", "listener x {\n protocol = pop3\n addresses = {'127.0.0.1:110'}\n}\n", 3,
	"addresses: '127.0.0.1:110' is no numeric"},
    {"lines are those of the file, whatever comments stand before",
	"# a\n  # b ' \n\n/* c\n\n \" */\n// d\nmaildir = '%u#/*b' # e '\nspare = 0 // f\n", 9,
	"spare: 0 is out of"},
    {"what is in quotes is no comment", "hostname = 'a' maildir = \"%u/#\\\"/*'\" spare = 0 # */\n", 1,
	"spare: 0 is"},
    {"an open comment", "spare = 1\n/* spare = 0\n", 2, "the comment that begins here is never closed"},
    {"an open map", "map x {\n deny = true\n", 0, "the file ends inside a map"},
    {"a principal in double quotes", "map x {\n principal = \"a@B\"\n user = 'a'\n}\n", 2,
	"principal: write it on one line, as principal = '...' in single quotes"},
    {"a regex in double quotes", "map x {\n user = '\\1'\n regex = \"(a)\\.b@C\"\n}\n", 3,
	"regex: write it on one line, as regex = '...' in single quotes"},
    {"a regex without quotes", "map x {\n regex = .*@C\n deny = true\n}\n", 2, "regex: write it on one line"},
    {"a template in double quotes", "map x {\n realm = C user = \"a\"\n}\n", 2,
	"user: write it on one line, as user = '...' in single quotes"},
    {"a doubled backslash in single quotes", "map x {\n regex = 'a\\\\b@C'\n deny = true\n}\n", 2,
	"regex: write it on one line"},
    {"a regex on the next line", "map x {\n regex =\n 'a@C'\n deny = true\n}\n", 3,
	"regex: write it on one line"},
    {"two regexes, one of them in double quotes",
	"map x {\n regex = 'a@C' deny = true }\nmap y {\n regex = \"a@C\" deny = true }\n", 4,
	"regex: write it on one line"},
    {"a regex that is none", "map x {\n regex = '(a@C'\n deny = true\n}\n", 2,
	"regex: '(a@C' is no extended regular expression: "},
    {"a regex that refers back", "map x {\n regex = '(a)\\1@C'\n deny = true\n}\n", 2,
	"regex: '(a)\\1@C' refers back to a group"},
    {"an empty regex", "map x {\n regex = ''\n deny = true\n}\n", 2, "regex: it is empty"},
    {"a principal without realm", "map x {\n principal = 'alice'\n deny = true\n}\n", 2,
	"principal: 'alice' is no principal with its realm"},
    {"a principal with an empty realm", "map x {\n principal = 'alice@'\n deny = true\n}\n", 2,
	"principal: 'alice@' is no principal with its realm"},
    {"a principal whose only @ is quoted", "map x {\n principal = 'alice\\@B'\n deny = true\n}\n", 2,
	"principal: 'alice\\@B' is no principal with its realm"},
    {"a principal with two realms", "map x {\n principal = 'alice@B@C'\n deny = true\n}\n", 2,
	"principal: 'alice@B@C' is no principal with its realm"},
    {"a realm with an @", "map x {\n realm = '@B'\n deny = true\n}\n", 2, "realm: '@B' is no realm"},
    {"an indicator with a space", "map x {\n indicators = {'o tp'}\n deny = true\n}\n", 2,
	"indicators: 'o tp' is no authentication indicator"},
    {"no indicators", "map x {\n indicators = {}\n deny = true\n}\n", 1, "indicators: is empty"},
    {"no networks", "map x {\n networks = {}\n deny = true\n}\n", 1, "networks: is empty"},
    {"a network that is none", "map x {\n networks = {'10.0.0.1/8'}\n deny = true\n}\n", 2,
	"networks: '10.0.0.1/8' has bits set behind its prefix"},
    {"a mechanism without principals", "map x {\n mechanisms = {'CRAM-MD5'}\n deny = true\n}\n", 1,
	"map x: mechanisms: CRAM-MD5 has no principals"},
    {"a mechanism misspelt", "map x {\n mechanisms = {'GSAPI'}\n deny = true\n}\n", 1,
	"map x: mechanisms: GSAPI has no principals"},
    {"a map of nothing", "map x {\n realm = 'B'\n}\n", 1,
	"map x: has none of user, auth_to_local, k5login and deny"},
    {"a map of two things", "map x {\n realm = 'B'\n user = 'a'\n deny = true\n}\n", 1,
	"map x: has more than one of user, auth_to_local"},
    {"a map for two", "map x {\n realm = 'B'\n principal = 'a@B'\n deny = true\n}\n", 1,
	"map x: has more than one of principal, realm and regex"},
    {"a map of all realms", "map x {\n user = '%n'\n}\n", 1,
	"map x: makes one user of principals of all realms"},
    {"a template with %u", "map x {\n realm = 'B'\n user = '%u'\n}\n", 1,
	"map x: user '%u' has a % that is none of %n, %l, %r and %d"},
    {"a template with too many groups", "map x {\n regex = 'a@B'\n user = '\\1'\n}\n", 1,
	"map x: user '\\1' names more groups than the regex has"},
    {"a group without a regex", "map x {\n realm = 'B'\n user = '\\1'\n}\n", 1,
	"map x: user '\\1' names more groups than the regex has"},
    {"a user that cannot be", "map x {\n realm = 'B'\n user = '../a'\n}\n", 1,
	"map x: '../a' is no name that a user here can have"},
    {"a user by another spelling",
	"local_domains = {'b.example'}\nmap x {\n realm = 'B'\n user = 'a@b.example'\n}\n", 2,
	"map x: 'a@b.example' is only another spelling of a user's name"},
    {"a map behind one for all", "map x { deny = true }\n\nmap y {\n realm = 'B'\n deny = true\n}\n", 3,
	"map y: is never asked, map x on line 1 decides about all"},
    {"two maps of one name", "map x { deny = true }\nmap x { deny = true }\n", 2,
	"found duplicate title 'x'; give each"},
    {"a map without a name", "map { deny = true }\n", 1, "missing title for section 'map'; give it a name"},
    {"a class of nobody", "class x {\n expire_days = 1\n}\n", 1, "class x: has no users"},
    {"a class with an empty list", "class x {\n users = {}\n}\n", 1, "users: is empty; write at least 1"},
    {"a class of a pattern that is none", "class x {\n users = {'a/*'}\n}\n", 1,
	"class x: users: 'a/*' is no pattern"},
    {"a class of no user's name", "class x {\n users = {'a', '-b'}\n}\n", 1,
	"class x: users: '-b' is no user's name"},
    {"a class behind one of all", "class x { users = {'a', '*'} }\nclass y {\n users = {b}\n}\n", 2,
	"class y: is never asked, class x on line 1 has all users"},
    {"a delay of more than a day", "\nlogin_delay_secs = 86401\n", 2, "login_delay_secs: 86401 is out of"},
    {"a delay in a class", "class x {\n users = {a}\n login_delay_secs = -1\n}\n", 3,
	"login_delay_secs: -1 is out of bounds"},
    {"days that are no number", "expire_days = soon\n", 1,
	"expire_days: 'soon' is no number of days; write one from 0 to 36500, or never"},
    {"days with a unit", "expire_days = '30d'\n", 1, "expire_days: '30d' is no number of days"},
    {"too many days", "expire_days = 36501\n", 1, "expire_days: '36501' is no number of days"},
    {"negative days", "expire_days = '-1'\n", 1, "expire_days: '-1' is no number of days"},
    {"no days", "expire_days = ''\n", 1, "expire_days: '' is no number of days"},
    {"days in a class", "class x {\n users = {a}\n expire_days = 1.5\n}\n", 3, "expire_days: '1.5' is no"},
    {"octets with another unit", "quota_octets = '5P'\n", 1, "quota_octets: '5P' is no number of octets"},
    {"octets with two units", "quota_octets = 5KB\n", 1, "quota_octets: '5KB' is no number of octets"},
    {"octets beyond bounds", "quota_octets = 99999999999999999999\n", 1, "quota_octets: '9999"},
    {"octets beyond bounds by their unit", "quota_octets = 1048577T\n", 1, "quota_octets: '1048577T' is no"},
    {"a quota twice", "quota_octets = 1\nquota_octets = 2\n", 2, "quota_octets: given before, on line 1"},
    {"too many messages", "quota_messages = 1000000001\n", 1, "quota_messages: 1000000001 is out of"},
    {"a proxy of nobody", "proxy x {\n users = {'*'}\n}\n", 1, "proxy x: has no administrators"},
    {"a proxy for nobody", "proxy x {\n administrators = {'a'}\n}\n", 1, "proxy x: has no users"},
    {"a pattern of administrators", "proxy x {\n administrators = {'*'}\n users = {'*'}\n}\n", 1,
	"proxy x: administrators: '*' is no user's name"},
    {"an administrator by another spelling",
	"fold_case = true\nproxy x {\n administrators = {'A'}\n users = {'*'}\n}\n", 2,
	"proxy x: administrators: 'A' is no user's name, or only another spelling"},
    {"a user by another spelling",
	"default_domain = 'b.example'\nproxy x {\n"
	" administrators = {'a@b.example'}\n users = {'c'}\n}\n",
	2, "proxy x: users: 'c' is no user's name, or only another spelling"},
    {"a pattern that is none", "proxy x {\n administrators = {'a'}\n users = {'*/b'}\n}\n", 1,
	"proxy x: users: '*/b' is no pattern"},
    {"a pattern with brackets", "proxy x {\n administrators = {'a'}\n users = {'[a-z]*'}\n}\n", 1,
	"proxy x: users: '[a-z]*' is no pattern"},
    {"a mechanism that is none",
	"proxy x {\n administrators = {'a'}\n users = {'*'}\n mechanisms = {'PLAN'}\n}\n", 1,
	"proxy x: mechanisms: PLAN is no mechanism here"},
    {"a domain that is none", "\ndomains = {'a..b'}\n", 2, "domains: 'a..b' is no host name"},
    {"a domain twice", "domains = {'a.b',\n'A.B'}\n", 2, "domains: a.b is there twice"},
    {"a domain that stays and goes", "domains = {'a.b'}\nlocal_domains = {'c.d', 'A.b'}\n", 2,
	"local_domains: a.b stays in names by 'domains' or 'default_domain', and is taken from them here"},
    {"a default domain that goes", "default_domain = 'a.b'\nlocal_domains = {'a.b'}\n", 2,
	"local_domains: a.b stays in names"},
    {"a plus before a domain of others", "plus_hosts = {'a.b'}\n", 1, "plus_hosts: a.b is no domain here"},
    {"a network by name", "listener x {\n protocol = pop3\n proxy_networks = {'localhost'}\n}\n", 3,
	"proxy_networks: 'localhost' is no network; write it as"},
    {"a network with a mask", "listener x {\n protocol = pop3\n proxy_networks = {'10.0.0.0/255.0.0.0'}\n}\n",
	3, "proxy_networks: '10.0.0.0/255.0.0.0' has no number of bits behind the '/'"},
    {"a network of a host in it",
	"listener x {\n protocol = pop3\n proxy_networks = {\n'::1', '10.0.0.1/8'}\n}\n", 4,
	"proxy_networks: '10.0.0.1/8' has bits set behind its prefix"},
    {"POP3S without a certificate", "apop = no\nlistener s {\n protocol = pop3s\n}\n", 2,
	"listener s: pop3s needs TLS; set 'certificate' and 'key'"},
    {"a certificate alone", "\ncertificate = /c\n", 2, "certificate: 'key' is missing"},
    {"a key alone", "\n\nkey = /k\n", 3, "key: 'certificate' is missing"},
    {"a host name with <, which APOP would take for its own", "hostname = 'a<b'\n", 1,
	"hostname: 'a<b' is no host name"},
    {"a host name with a space", "hostname = 'a b'\n", 1, "hostname: "},
    {"a host name with a line end", "hostname = \"a\\nb\"\n", 1, "hostname: 'a?b' is no host name"},
    {"a host name with an empty label", "hostname = 'a..b'\n", 1, "hostname: "},
    {"a host name with a hyphen in front", "hostname = '-a'\n", 1, "hostname: "},
    {"an empty host name", "hostname = ''\n", 1, "hostname: "},
    {"a host name in brackets", "hostname = '[AUTH]'\n", 1, "hostname: "},
    {"a relative path", "mail_root = 'var/mail'\n", 1,
	"mail_root: 'var/mail' is no absolute path; begin it with '/'"},
    {"an empty path", "keytab = ''\n", 1, "keytab: '' is no absolute path"},
    {"a keytab with a type", "keytab = 'FILE:/etc/krb5.keytab'\n", 1,
	"keytab: 'FILE:/etc/krb5.keytab' is no absolute path"},
    {"a path with a control character", "run_dir = \"/run\\tk\"\n", 1,
	"run_dir: the path holds a control character"},
    {"a template for everybody", "maildir = Maildir\n", 1, "maildir: 'Maildir' does not give each user"},
    {"a template that leads out", "maildir = '../%u'\n", 1, "maildir: '../%u' does not"},
    {"a user with a space", "front_user = 'a b'\n", 1, "front_user: 'a b' is no user"},
    {"a mechanism in small letters", "mechanisms = {gssapi}\n", 1,
	"mechanisms: 'gssapi' is no SASL mechanism"},
    {"a mechanism nobody has", "\nmechanisms = {'X-SITE'}\n", 2, "mechanisms: kpopd does not have X-SITE"},
    {"a mechanism that proves nothing", "mechanisms = {ANONYMOUS}\n", 1,
	"mechanisms: ANONYMOUS proves nobody's identity"},
    {"a place that knows no passwords", "passwords = {secrets, shadow}\n", 1,
	"passwords: 'shadow' knows no passwords"},
    {"a place twice", "\npasswords = {kerberos, secrets, kerberos}\n", 2,
	"passwords: kerberos is there twice"},
    {"nobody who knows passwords", "passwords = {}\n", 1, "passwords: is empty"},
    {"a realm of other characters", "kerberos_realm = 'A/B'\n", 1, "kerberos_realm: 'A/B' is no realm"},
    {"a realm of other characters in a list", "kerberos_realms = {'A', 'B@C'}\n", 1,
	"kerberos_realms: 'B@C' is"},
    {"a check that outlasts the client's patience", "check_secs = 26\n", 1,
	"check_secs: 26 is out of bounds"},
    {"a lock that is none", "spool_locks = {fcntl, lockf}\n", 1,
	"spool_locks: 'lockf' is no lock of mbox files"},
    {"a lock twice", "spool_locks = {dotlock, fcntl, dotlock}\n", 1, "spool_locks: dotlock is there twice"},
    {"no locks", "spool_locks = {}\n", 1, "spool_locks: is empty"},
    {"a mechanism twice", "mechanisms = {PLAIN, PLAIN}\n", 1, "mechanisms: PLAIN is there twice"},
    {"no layers", "gssapi_layers = {}\n", 1, "gssapi_layers: is empty; write at least 1"},
    {"an unknown layer", "gssapi_layers = {none, privacy}\n", 1,
	"gssapi_layers: 'privacy' is none of its values; write one of none, integrity, confidentiality"},
    {"more layers than there are", "gssapi_layers = {none, none, none, none}\n", 1,
	"gssapi_layers: more than 3 values"},
    {"no enctypes", "enctypes = {}\n", 1, "enctypes: is empty; write at least 1"},
    {"a weak enctype", "enctypes = {arcfour-hmac}\n", 1, "enctypes: 'arcfour-hmac' is none of its values"},
    {"no services", "services = {}\n", 1, "services: is empty; write at least 1"},
    {"a service with host", "services = {'pop/localhost'}\n", 1, "services: 'pop/localhost' is no service"},
    {"a relative plug-in", "plugins = {'libx.so'}\n", 1, "plugins: 'libx.so' is no absolute path"},
    {"the environment in double quotes", "apop = no\nhostname = \"${HOME}\"\n", 2,
	"${...} would take a value"},
    {"the environment behind a hash that begins no comment", "hostname = \"#${HOME}\"\n", 1,
	"${...} would take a value"},
    {"the environment without quotes", "hostname = ${HOME}\n", 1, "${...} would take a value"},
    {"a function", "include('/etc/passwd')\n", 1, "unknown key 'include'"},
    {"LMTP for other machines", "\nlistener m { protocol = lmtp addresses = {'127.0.0.1', '192.0.2.1'} }\n",
	2, "listener m: whoever reaches 192.0.2.1 could deliver mail to anybody"},
    {"LMTP for all machines", "listener m { protocol = lmtp addresses = {'::'} }\n", 1,
	"listener m: whoever reaches :: could deliver"},
    {"LMTP nowhere", "listener m { protocol = lmtp }\n", 1, "listener m: LMTP listens on a path or"},
    {"LMTP in two ways", "listener m { protocol = lmtp path = '/x' addresses = {'::1'} }\n", 1,
	"listener m: LMTP listens on a path or"},
    {"LMTP on the port of SMTP", "listener m { protocol = lmtp addresses = {'::1'} port = 25 }\n", 1,
	"listener m: LMTP must not be on port 25"},
    {"LMTP behind a balancer", "listener m { protocol = lmtp path = '/x' proxy_networks = {'192.0.2.1'} }\n",
	1, "listener m: proxy_networks is not for"},
    {"a path for others", "listener m { protocol = pop3 path = '/x' }\n", 1,
	"listener m: path is for protocol lmtp"},
    {"a mode for others", "listener m { protocol = pop3 path_mode = '0600' }\n", 1,
	"listener m: path_mode is for protocol lmtp"},
    {"a relative path", "listener m { protocol = lmtp path = 'lmtp' }\n", 1, "path: 'lmtp' is no absolute"},
    {"a path that no socket can have",
	"listener m { protocol = lmtp path = "
	"'/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
	"78901234567890123' }\n",
	1, "listener m: path is longer than a socket's can be, 107 octets"},
    {"a mode that is none", "listener m { protocol = lmtp path = '/x' path_mode = '0888' }\n", 1,
	"path_mode: '0888' is no mode"},
    {"a delimiter that names have", "recipient_delimiter = '+a'\n", 1,
	"recipient_delimiter: '+a' is no delimiter"},
    {"a message that fits no memory", "message_octets = 2G\n", 1, "message_octets: '2G' is out of bounds"},
    {"messages too small for mail", "message_octets = 63K\n", 1, "message_octets: '63K' is out of bounds"},
    {"more text than one line", "hostname = 'a\x1b[31mb\n'\n", 0, "hostname: 'a?[31mb?' is no host name"},
};

static void test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const struct refusal_row *row = &refusals[i];
		struct config *config = read_config(row->text);
		char want[96];
		snprintf(want, sizeof(want), "%s:%d: ", file, row->line);
		const char *rest = strstr(why, ": ");
		if (config != NULL)
			fail_msg("%s: accepted", row->sentence);
		/* Line 0 in a row: any line. */
		if (strchr(why, '\n') != NULL || strncmp(why, file, strlen(file)) != 0 || rest == NULL ||
		    (row->line > 0 && strncmp(why, want, strlen(want)) != 0) ||
		    strncmp(rest + 2, row->what, strlen(row->what)) != 0)
			fail_msg("%s: %s", row->sentence, why);
	}
}

/* Appends before, the numbers from first on, after: times over. */
static void repeat(char *text, const char *before, int first, const char *after, int times)
{
	for (int i = first; i < first + times; i++)
		sprintf(text + strlen(text), "%s%d%s", before, i, after);
}

static void listeners(char *text, int first, int times)
{
	for (int i = first; i < first + times; i++)
		sprintf(text + strlen(text),
		    "listener l%d { protocol = pop3 addresses = {'::1'} port = %d }\n", i, i);
}

static void test_too_many(void **state)
{
	(void)state;
	static char text[20000];

	strcpy(text, "plugins = {'/x.so'}\nmechanisms = {");
	repeat(text, "M-", 1, ", ", LIMIT_MECHANISMS_COUNT);
	strcpy(text + strlen(text) - 2, "}\n");
	struct config *config = read_config(text);
	assert_non_null(config);
	assert_int_equal(config->mechanism_count, LIMIT_MECHANISMS_COUNT);
	config_free(&config);
	strcpy(text + strlen(text) - 2, ", X}\n");
	assert_null(read_config(text));
	assert_non_null(strstr(why, ":2: mechanisms: more than 32 values"));

	text[0] = '\0';
	listeners(text, 1000, LIMIT_LISTENERS_COUNT);
	config = read_config(text);
	assert_non_null(config);
	config_free(&config);
	listeners(text, 2000, 1);
	assert_null(read_config(text));
	assert_non_null(strstr(why, ":33: listener: more than 32"));

	text[0] = '\0';
	listeners(text, 1000, LIMIT_LISTENERS_COUNT - 1);
	strcat(text, "listener two {\nprotocol = pop3s\naddresses = {'::1', '127.0.0.1'}\n}\n");
	strcat(text, "certificate = /c\nkey = /k\n");
	assert_null(read_config(text));
	assert_non_null(strstr(why, ":32: listener two: more than 32 addresses in all"));
}

static void test_small_why(void **state)
{
	(void)state;
	for (size_t size = 1; size < 40; size++) {
		memset(why, 'x', sizeof(why));
		write_file(file, "a = b\n", 6, 0600);
		assert_null(config_read(file, why, size));
		assert_true(memchr(why, '\0', size) != NULL);
		assert_int_equal(why[size], 'x');
	}
}

static void test_environment_in_comments_and_single_quotes(void **state)
{
	(void)state;
	setenv("CONFIG_TEST", "leaked", 1);
	struct config *config = read_config("  # ${CONFIG_TEST}\nmail_root = '/srv/$CONFIG_TEST'\n");
	assert_non_null(config);
	assert_string_equal(config->mail_root, "/srv/$CONFIG_TEST");
	config_free(&config);
}

static void test_files(void **state)
{
	(void)state;
	static const struct {
		const char *sentence;
		mode_t config, secret, plugin;
		const char *want; /* NULL: accepted */
	} rows[] = {
	    {"ours alone", 0600, 0600, 0600, NULL},
	    {"readable configuration and plug-in", 0644, 0640, 0755, NULL},
	    {"a configuration everybody writes", 0646, 0600, 0600,
		"the file can be written by everybody; chmod o-w it"},
	    {"a key everybody writes", 0600, 0602, 0600, "can be written by everybody; chmod o-w it"},
	    {"a key everybody reads", 0600, 0604, 0600, "can be read by everybody; chmod o-r it"},
	    {"a plug-in everybody writes", 0600, 0600, 0757, "can be written by everybody; chmod o-w it"},
	};
	static const char *const secrets[] = {"certificate = /c\nkey", "keytab"};
	char secret[64], plugin[64], text[512];
	snprintf(secret, sizeof(secret), "%s/secret", dir);
	snprintf(plugin, sizeof(plugin), "%s/plugin.so", dir);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t j = 0; j < 2; j++) {
			snprintf(
			    text, sizeof(text), "%s = '%s'\nplugins = {'%s'}\n", secrets[j], secret, plugin);
			write_file(secret, "", 0, rows[i].secret);
			write_file(plugin, "", 0, rows[i].plugin);
			write_file(file, text, strlen(text), rows[i].config);
			struct config *config = config_read(file, why, sizeof(why));
			if ((config != NULL) != (rows[i].want == NULL) ||
			    (config == NULL && strstr(why, rows[i].want) == NULL))
				fail_msg("%s: %s", rows[i].sentence, why);
			config_free(&config);
		}
	unlink(secret);
	unlink(plugin);
}

static void test_owners(void **state)
{
	(void)state;
	const uid_t us = geteuid();
	const gid_t other = getegid() + 1;
	const struct {
		const char *sentence;
		uid_t uid;
		gid_t gid;
		mode_t mode;
		const char *want; /* NULL: sound */
	} rows[] = {
	    {"root's", 0, 0, S_IFREG | 0644, NULL},
	    {"ours", us, other, S_IFREG | 0640, NULL},
	    {"root's group may write", 0, 0, S_IFREG | 0664, NULL},
	    {"another user's", us + 1, 0, S_IFREG | 0600, "belongs to user"},
	    {"another group may write", 0, other, S_IFREG | 0660, "can be written by group"},
	    {"everybody may write", us, 0, S_IFREG | 0602, "can be written by everybody"},
	    {"a directory", us, 0, S_IFDIR | 0700, "is not a regular file"},
	    {"a FIFO", us, 0, S_IFIFO | 0600, "is not a regular file"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct stat st = {.st_uid = rows[i].uid, .st_gid = rows[i].gid, .st_mode = rows[i].mode};
		why[0] = '\0';
		int got = config_check_file(&st, why, sizeof(why));
		if (got != (rows[i].want == NULL ? 0 : -1) || (got != 0 && strstr(why, rows[i].want) == NULL))
			fail_msg("%s: %d %s", rows[i].sentence, got, why);
	}
}

static void test_file_itself(void **state)
{
	(void)state;
	static char huge[(1 << 20) + 2];
	char path[80];

	snprintf(path, sizeof(path), "%s/none", dir);
	assert_null(config_read(path, why, sizeof(why)));
	assert_non_null(strstr(why, "/none: cannot be opened: No such file or directory"));
	assert_null(config_read(dir, why, sizeof(why)));
	assert_non_null(strstr(why, "is not a regular file"));
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(config_read(path, why, sizeof(why)));
	assert_non_null(strstr(why, "is not a regular file"));
	unlink(path);
	write_file(file, "apop = no\0\n", 11, 0600);
	assert_null(config_read(file, why, sizeof(why)));
	assert_non_null(strstr(why, "holds a NUL octet"));
	memset(huge, '\n', sizeof(huge) - 1);
	assert_null(read_config(huge));
	assert_non_null(strstr(why, "is larger than"));
	huge[1 << 20] = '\0';
	struct config *config = read_config(huge);
	assert_non_null(config);
	config_free(&config);
}

static char *load(const char *name)
{
	static char text[100000];
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", getenv("KPOPD_SRCDIR"), name);
	FILE *stream = fopen(path, "re");
	if (stream == NULL)
		fail_msg("%s cannot be opened", path);
	text[fread(text, 1, sizeof(text) - 1, stream)] = '\0';
	fclose(stream);
	return text;
}

static void test_sample(void **state)
{
	(void)state;
	char *sample = load("etc/kpopd.conf.sample");
	struct config *config = read_config(sample);
	assert_non_null(config);
	config_free(&config);
	/* Every key is there behind a bare '#'; with those taken away it is a configuration, too. */
	for (size_t i = 0; config_keys_name(i) != NULL; i++) {
		char line[80], inner[80];
		snprintf(line, sizeof(line), "\n#%s = ", config_keys_name(i));
		snprintf(inner, sizeof(inner), "\n#\t%s = ", config_keys_name(i));
		if (strstr(sample, line) == NULL && strstr(sample, inner) == NULL)
			fail_msg("%s is not in the sample", config_keys_name(i));
	}
	for (char *p = sample; *p != '\0'; p++)
		if (*p == '#' && (p == sample || p[-1] == '\n') && p[1] != ' ' && p[1] != '\n')
			*p = ' ';
	config = read_config(sample);
	if (config == NULL)
		fail_msg("%s", why);
	assert_int_equal(config->listener_count, 4);
	config_free(&config);
}

static void test_lmtp(void **state)
{
	(void)state;
	struct config *config =
	    read_config("listener m { protocol = lmtp path = '/run/kpopd/lmtp' }\n"
			"listener n { protocol = lmtp addresses = {'127.3.2.1', '::1'} }\n"
			"message_octets = 2M\nlmtp_unknown = create\nquota_full = permanent\n");
	if (config == NULL)
		fail_msg("%s", why);
	assert_int_equal(config->listeners[0].protocol, PROTOCOL_LMTP);
	assert_string_equal(config->listeners[0].path, "/run/kpopd/lmtp");
	assert_string_equal(config->listeners[0].path_mode, "0660");
	assert_null(config->listeners[0].addresses[0]);
	assert_null(config->listeners[1].path);
	assert_string_equal(config->listeners[1].addresses[1], "::1");
	assert_int_equal(config->listeners[1].port, 24);
	assert_int_equal(config->message_octets, 2 << 20);
	assert_int_equal(config->lmtp_unknown, LMTP_UNKNOWN_CREATE);
	assert_int_equal(config->quota_full, QUOTA_FULL_PERMANENT);
	config_free(&config);
	config = read_config("");
	assert_non_null(config);
	for (size_t i = 0; i < config->listener_count; i++)
		assert_int_not_equal(config->listeners[i].protocol, PROTOCOL_LMTP);
	assert_int_equal(config->message_octets, 50 << 20);
	assert_int_equal(config->lmtp_unknown, LMTP_UNKNOWN_REFUSE);
	assert_int_equal(config->quota_full, QUOTA_FULL_TEMPORARY);
	config_free(&config);
}

static void test_manual_page(void **state)
{
	(void)state;
	char *page = load("man/kpopd.conf.5");
	size_t items = 0, names = 0;
	for (; config_keys_name(names) != NULL; names++) {
		char item[80];
		snprintf(item, sizeof(item), "\n.It Ic %s", config_keys_name(names));
		const char *at = strstr(page, item);
		while (at != NULL && strchr(" \n", at[strlen(item)]) == NULL) /* a longer one */
			at = strstr(at + 1, item);
		if (at == NULL)
			fail_msg("%s is not on the page", config_keys_name(names));
	}
	for (const char *at = page; (at = strstr(at, "\n.It Ic ")) != NULL; at++)
		items++;
	size_t sections = 0;
	while (config_sections_name(sections) != NULL)
		sections++;
	assert_int_equal(items, names + sections);
}

static int make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(file, sizeof(file), "%s/kpopd.conf", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_rules),
	    cmocka_unit_test(test_classes),
	    cmocka_unit_test(test_octets),
	    cmocka_unit_test(test_no_mechanisms),
	    cmocka_unit_test(test_default_listeners_with_tls),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_too_many),
	    cmocka_unit_test(test_small_why),
	    cmocka_unit_test(test_environment_in_comments_and_single_quotes),
	    cmocka_unit_test(test_files),
	    cmocka_unit_test(test_owners),
	    cmocka_unit_test(test_file_itself),
	    cmocka_unit_test(test_sample),
	    cmocka_unit_test(test_manual_page),
	    cmocka_unit_test(test_lmtp),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
