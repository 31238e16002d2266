/* SPDX-License-Identifier: ISC */
/*
 * config: kpopd.conf, read with libconfuse, checked, with a safe default for every key.
 *
 * Read by master and the tools; every role inherits the finished structure, which nobody changes.
 * The keys and their meaning are in kpopd.conf(5), one to one.
 */
#ifndef KPOPD_SERVER_CONFIG_H
#define KPOPD_SERVER_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/limits.h"
#include "server/network.h"

enum protocol { PROTOCOL_POP3 = 0, PROTOCOL_POP3S, PROTOCOL_KPOP, PROTOCOL_LMTP, PROTOCOL_COUNT };
enum isolation { ISOLATION_PROCESS = 0, ISOLATION_SHARED };
enum mail_users { MAIL_USERS_VIRTUAL = 0, MAIL_USERS_SYSTEM };
enum plaintext { PLAINTEXT_TLS = 0, PLAINTEXT_LOOPBACK, PLAINTEXT_ALWAYS };
enum lmtp_unknown { LMTP_UNKNOWN_REFUSE = 0, LMTP_UNKNOWN_CREATE };
enum quota_full { QUOTA_FULL_TEMPORARY = 0, QUOTA_FULL_PERMANENT };
enum log_target { LOG_TO_STDERR = 0, LOG_TO_SYSLOG };

/* A section has a title, and a line on which it begins, 0 when the file does not have it. */
struct listener_config {
	char *name; /* matches FileDescriptorName= of systemd.socket(5) */
	int line;
	enum protocol protocol;
	char **addresses; /* numeric, NULL-terminated: "127.0.0.1", "::", "0.0.0.0" */
	uint16_t port;
	char *path;                     /* lmtp: a Unix socket; then there are no addresses; NULL: none */
	char *path_mode;                /* octal digits */
	char *path_owner, *path_group;  /* NULL: ours */
	struct networks proxy_networks; /* whose connections begin with a PROXY header; default none */
};

/* Who must, may or cannot bind; the first that fits holds. */
struct channel_binding_rule {
	char *name;
	int line;
	char **mechanisms;        /* with or without -PLUS; empty: all */
	struct networks networks; /* empty: all */
	enum saslx_binding_policy policy;
};

/* A rule that makes a user of a principal; see mapping.h. Strings that were not given are NULL. */
struct map_config {
	char *name;
	int line;
	char *principal, *realm, *regex; /* at most one */
	char **indicators, **mechanisms; /* empty: any; so has networks no entries */
	struct networks networks;
	char *user;                        /* a template */
	bool auth_to_local, k5login, deny; /* one of these four */
};

/* Who may open whose maildrop; see delegation.h. */
struct proxy_config {
	char *name;
	int line;
	char **administrators, **users; /* canonical names; names or patterns */
	char **indicators, **mechanisms;
	struct networks networks;
};

/* What holds for some users; see policy.h. A value that was not given is CONFIG_UNSET (_OCTETS). */
struct class_config {
	char *name;
	int line;
	char **users; /* names or patterns */
	unsigned login_delay_secs, expire_days, quota_messages;
	uint64_t quota_octets;
};

#define CONFIG_UNSET UINT_MAX
#define CONFIG_UNSET_OCTETS UINT64_MAX
#define CONFIG_NEVER (UINT_MAX - 1u) /* expire_days */

struct config {
	char *file;     /* where this came from */
	char *hostname; /* in the greeting, challenges, APOP timestamps; default gethostname's, looked up in
			   full */

	struct listener_config *listeners;
	size_t listener_count;
	struct map_config *maps;
	size_t map_count;
	struct proxy_config *proxies;
	size_t proxy_count;
	unsigned login_delay_secs; /* of users of no class; policy.h says what holds for one */
	unsigned expire_days;      /* or CONFIG_NEVER */
	unsigned quota_messages;   /* 0: any number; and of octets */
	uint64_t quota_octets;
	struct class_config *classes;
	size_t class_count;

	/* What a client calls a mailbox; see names.h. Domains are in small letters. */
	char *default_domain; /* NULL: none */
	char **domains, **local_domains, **plus_hosts;
	bool fold_case;

	char *mail_root, *maildir; /* template under mail_root: %u %n %d; default "%u/Maildir" */
	char *spool;               /* the same for mail in mbox files, instead of Maildirs; NULL: Maildirs */
	char **spool_locks;        /* fcntl, dotlock, flock: those that are taken, in this order */
	char *state_dir; /* auth/ (secrets, replay cache, krb5.conf snapshot), index/, spool/, users/,
		      empty/ */
	char *run_dir;   /* pid file */
	enum mail_users
	    mail_users;     /* whose the mail is: all store_user's, or each the account's of that name */
	unsigned first_uid; /* of accounts that are served; see account.h */
	char *pid_file;
	char *front_user, *auth_user, *store_user, *checker_user; /* used when started as root */

	enum maildrop_lock lock;
	enum isolation isolation;
	unsigned front_processes, auth_processes, password_processes, store_processes, store_threads;
	unsigned spare;    /* isolation = process: children of each kind forked ahead */
	unsigned sessions; /* most clients at once, all fronts together */

	unsigned lmtp_sessions, lmtp_idle_secs;
	uint64_t message_octets; /* the largest message that LMTP takes */
	enum lmtp_unknown lmtp_unknown;
	enum quota_full quota_full;
	char *recipient_delimiter; /* what begins an extension of a name; NULL: nothing does */

	char *certificate, *key; /* PEM; both NULL: no TLS */
	char *keytab;            /* default /etc/krb5.keytab */
	char *krb5_conf;         /* default /etc/krb5.conf */
	char **services;         /* ticket services accepted; default pop, pop3 */
	unsigned enctypes;       /* of tickets, session keys and keys; bits for config_enctypes */
	char **mechanisms;       /* in the order of CAPA; NULL-terminated; at most LIMIT_MECHANISMS_COUNT */
	size_t mechanism_count;
	char **plugins;         /* a site's own SASL plug-ins: absolute paths, NULL-terminated */
	char *plugin_dir;       /* the stock ones */
	unsigned gssapi_layers; /* enum saslx_layers: those GSSAPI may offer without TLS */
	bool user_pass;         /* USER and PASS on POP3 and POP3S */
	bool apop;
	enum plaintext plaintext;
	char **passwords;     /* who knows them, in the order they are asked: secrets, kerberos, saslauthd */
	char *kerberos_realm; /* of names without a domain; NULL: krb5.conf's default */
	char **kerberos_realms;     /* those that a name's domain may be; NULL-terminated */
	char *kerberos_armor_cache; /* for FAST; NULL: without */
	char *saslauthd_socket;
	unsigned checks,
	    check_secs;         /* passwords being checked elsewhere: at once, and how long one may take */
	unsigned remember_secs; /* how long a password that others called right is not asked about again */
	unsigned refusal_msecs; /* a refusal is answered this long after START */
	unsigned penalty_threshold, penalty_secs, penalty_max_secs; /* see penalty.h */
	struct networks penalty_exempt_networks;
	unsigned source_checks; /* passwords of one source that are checked at a time; 0: any number */

	enum saslx_binding_policy channel_binding; /* where no rule fits */
	struct channel_binding_rule *channel_binding_rules;
	size_t channel_binding_rule_count;
	enum saslx_binding_policy gssapi_channel_binding; /* of GSSAPI itself, as Active Directory has it */

	unsigned authorization_secs, idle_secs, tls_handshake_secs, kpop_handshake_secs;
	bool implementation; /* show IMPLEMENTATION in CAPA */
	enum log_target log_target;
	bool log_debug;
};

/*
 * Reads and checks file. On failure returns NULL and why_r holds one line, "FILE:LINE: what is wrong and
 * what to do". Frees nothing of the caller's.
 */
struct config *config_read(const char *file, char *why_r, size_t size);
void config_free(struct config **config);

#define CONFIG_ENCTYPES_COUNT 4u
/* The enctypes accepted, by their numbers (RFC 3961 section 8), ended by 0. */
void config_enctypes(const struct config *config, int numbers_r[CONFIG_ENCTYPES_COUNT + 1]);

/* state_dir/auth/secrets.mdb and its siblings: one place knows the names. path_r is PATH_MAX octets. */
enum config_path {
	CONFIG_AUTH_DIR,
	CONFIG_SECRETS,
	CONFIG_REPLAY_CACHE,
	CONFIG_KRB5_SNAPSHOT,
	CONFIG_CHECK_DIR,
	CONFIG_CHECK_KRB5_SNAPSHOT,
	CONFIG_INDEX_DIR,
	CONFIG_HOMES_DIR,
	CONFIG_USERS_DIR,
	CONFIG_EMPTY_DIR
};
const char *config_path(const struct config *config, enum config_path which, char *path_r);

#endif
