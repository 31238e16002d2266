/* SPDX-License-Identifier: ISC */
/*
 * config_check: what a value of kpopd.conf may be. Private to config.
 *
 * Each check returns 0, or -1 and in why_r (size octets) what is wrong with the value and what to do;
 * the caller puts file, line and key before it.
 */
#ifndef KPOPD_SERVER_CONFIG_CHECK_H
#define KPOPD_SERVER_CONFIG_CHECK_H

#include <stddef.h>
#include <sys/stat.h>

#include "server/config.h"

typedef int config_check_fn(const char *value, char *why_r, size_t size);

config_check_fn
    config_check_hostname;         /* RFC 1123 section 2.1; it stands in the greeting (RFC 2449 section 3) */
config_check_fn config_check_path; /* absolute, sound, short enough to append to */
config_check_fn config_check_template;  /* identity_template_valid */
config_check_fn config_check_user;      /* a system user's name */
config_check_fn config_check_mechanism; /* RFC 4422 section 3.1, and none that proves nothing */
config_check_fn config_check_service;   /* the first component of a service principal */
config_check_fn config_check_lock;      /* of mbox files */
config_check_fn config_check_source;    /* of passwords: who knows them */
config_check_fn config_check_realm;     /* a Kerberos realm, as RFC 4120 section 6.1 has it for domains */
config_check_fn config_check_address;   /* numeric IPv4 or IPv6 */
config_check_fn config_check_network;   /* network_parse */
config_check_fn config_check_principal; /* of Kerberos, with its realm, quoted as krb5_unparse_name does */
config_check_fn config_check_regex;     /* extended, without back references */
config_check_fn config_check_message_octets; /* of one message */
config_check_fn config_check_delimiter;      /* characters between a name and its extension */
config_check_fn config_check_mode;           /* of a file, in octal digits */
config_check_fn config_check_indicator;      /* of a KDC */
config_check_fn config_check_title;          /* a section's name: what systemd.socket(5) allows */
config_check_fn config_check_code;           /* a path of a file we run: not writable by others */
config_check_fn config_check_secret;         /* a path of a file that others may neither write nor read */
config_check_fn config_check_days;           /* 0 to LIMIT_EXPIRE_DAYS, or never */
config_check_fn config_check_octets; /* 0 to LIMIT_QUOTA_OCTETS, with K, M, G or T behind it or nothing */
config_check_fn config_check_binding_mechanism; /* one whose clients can bind to TLS */

/* Their values, of a text that was checked; NULL: CONFIG_UNSET, CONFIG_UNSET_OCTETS. */
unsigned config_days(const char *text);
uint64_t config_octets(const char *text);

/* The same for a file that is open already: written by nobody but root, us, and root's or our group. */
int config_check_file(const struct stat *st, char *why_r, size_t size);

#endif
