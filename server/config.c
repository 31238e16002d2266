/* SPDX-License-Identifier: ISC */
#include "server/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/config_check.h"
#include "server/config_comments.h"
#include "server/config_keys.h"
#include "server/config_rules.h"
#include "server/identity.h"
#include "server/mechanism.h"

#define FILE_OCTETS (1u << 20)

/* libconfuse counts on behind the end of the file. */
static int line_of_file(const char *text, int line)
{
	int last = 1;

	if (text == NULL)
		return line;
	for (const char *p = text; *p != '\0'; p++)
		last += *p == '\n' && p[1] != '\0';
	return line > last ? last : line;
}

int config_fail(struct config_place *place, int line, const char *format, ...)
{
	va_list args;

	if (place->failed) /* the first error is the cause of those behind it */
		return -1;
	place->failed = true;
	line = line_of_file(place->text, line);
	int len = line > 0 ? snprintf(place->why, place->size, "%s:%d: ", place->file, line)
			   : snprintf(place->why, place->size, "%s: ", place->file);
	va_start(args, format);
	if (len >= 0 && (size_t)len < place->size)
		vsnprintf(place->why + len, place->size - (size_t)len, format, args);
	va_end(args);
	for (char *p = place->why; *p != '\0'; p++) /* one line, whatever the file held */
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
	return -1;
}

/* An open file's text, NUL-terminated. NULL: failed. */
static char *read_stream(struct config_place *place, FILE *file)
{
	char *text = malloc(FILE_OCTETS + 1);

	if (text == NULL) {
		config_fail(place, 0, "no memory");
		return NULL;
	}
	size_t len = fread(text, 1, FILE_OCTETS + 1, file);
	if (ferror(file))
		config_fail(place, 0, "cannot be read: %s", strerror(errno));
	else if (len > FILE_OCTETS)
		config_fail(place, 0, "is larger than %u octets; that is no configuration", FILE_OCTETS);
	else if (memchr(text, '\0', len) != NULL)
		config_fail(place, 0, "holds a NUL octet; save it as plain text");
	if (place->failed) {
		free(text);
		return NULL;
	}
	text[len] = '\0';
	int open = config_comments_blank(text);
	if (open != 0) {
		config_fail(place, open, "the comment that begins here is never closed; close it with '*/'");
		free(text);
		return NULL;
	}
	return text;
}

static char *read_text(struct config_place *place)
{
	struct stat st;
	char why[160];
	char *text = NULL;
	/* Non-blocking: what is no file may be a FIFO, and is refused rather than waited for. */
	int fd = open(place->file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;

	if (file == NULL || fstat(fd, &st) != 0)
		config_fail(place, 0, "cannot be opened: %s; name another file with -c", strerror(errno));
	else if (config_check_file(&st, why, sizeof(why)) != 0)
		config_fail(place, 0, "the file %s", why);
	else
		text = read_stream(place, file);
	if (file != NULL)
		fclose(file);
	else if (fd >= 0)
		close(fd);
	return text;
}

/* libconfuse would put the environment's value for ${NAME}, in double quotes and outside of quotes. */
static int refuse_environment(struct config_place *place, const char *text)
{
	int line = 1;
	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '\n')
			line++;
		if (p[0] == '$' && p[1] == '{')
			return config_fail(place, line,
			    "${...} would take a value from the environment; write the value itself");
	}
	return 0;
}

/* The machine's name, in full when the resolver knows it so. */
static char *default_hostname(void)
{
	char name[HOST_NAME_MAX + 1] = "";
	char why[160];
	struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	const char *chosen = name;

	if (gethostname(name, sizeof(name) - 1) != 0)
		name[0] = '\0';
	if (name[0] != '\0' && strchr(name, '.') == NULL && getaddrinfo(name, NULL, &hints, &found) == 0 &&
	    found->ai_canonname != NULL)
		chosen = found->ai_canonname;
	if (config_check_hostname(chosen, why, sizeof(why)) != 0)
		chosen = config_check_hostname(name, why, sizeof(why)) == 0 ? name : "localhost";
	char *copy = strdup(chosen);
	if (found != NULL)
		freeaddrinfo(found);
	return copy;
}

static int add_listener(struct config *config, const char *name, enum protocol protocol, uint16_t port)
{
	struct listener_config *listener = &config->listeners[config->listener_count++];

	*listener = (struct listener_config){.protocol = protocol, .name = strdup(name), .port = port};
	listener->addresses = calloc(3, sizeof(*listener->addresses));
	if (listener->name == NULL || listener->addresses == NULL)
		return -1;
	listener->addresses[0] = strdup("0.0.0.0");
	listener->addresses[1] = strdup("::");
	return listener->addresses[0] != NULL && listener->addresses[1] != NULL ? 0 : -1;
}

static int default_listeners(struct config *config)
{
	struct listener_config *listeners = calloc(PROTOCOL_COUNT, sizeof(*listeners));

	if (listeners == NULL)
		return -1;
	free(config->listeners);
	config->listeners = listeners;
	if (add_listener(config, "pop3", PROTOCOL_POP3, 110) != 0 ||
	    add_listener(config, "kpop", PROTOCOL_KPOP, 1109) != 0)
		return -1;
	return config->certificate != NULL ? add_listener(config, "pop3s", PROTOCOL_POP3S, 995) : 0;
}

/* Defaults that are not constant. -1: no memory. */
static int fill_defaults(struct config *config, const char *file)
{
	config->file = strdup(file);
	if (config->hostname == NULL)
		config->hostname = default_hostname();
	if (config->pid_file == NULL && asprintf(&config->pid_file, "%s/kpopd.pid", config->run_dir) < 0)
		config->pid_file = NULL;
	for (config->mechanism_count = 0; config->mechanisms[config->mechanism_count] != NULL;)
		config->mechanism_count++;
	if (config->file == NULL || config->hostname == NULL || config->pid_file == NULL)
		return -1;
	return config->listener_count == 0 ? default_listeners(config) : 0;
}

static bool has_plus(const struct config *config, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; i < config->mechanism_count; i++)
		if (strncmp(config->mechanisms[i], name, len) == 0 &&
		    strcmp(config->mechanisms[i] + len, "-PLUS") == 0)
			return true;
	return false;
}

/* What is required but cannot be would be found out by clients. */
static int check_binding(const struct config *config, struct config_place *place)
{
	for (size_t i = 0; i < config->mechanism_count; i++) {
		const char *name = config->mechanisms[i];
		const struct mechanism *about = mechanism_find(name);
		const char *key = about->end_point ? "gssapi_channel_binding" : "channel_binding";
		enum saslx_binding_policy policy = about->end_point ? config->gssapi_channel_binding
						   : about->binds   ? config->channel_binding
								    : SASLX_BINDING_OFF;
		if (policy != SASLX_BINDING_REQUIRE ||
		    (about->binds && config->channel_binding_rule_count > 0))
			continue;
		if (config->certificate == NULL)
			return config_fail(place, config_keys_line(place, key),
			    "%s: %s cannot be bound without TLS; set 'certificate' and 'key', or leave it "
			    "out of "
			    "'mechanisms'",
			    key, name);
		if (about->binds && !about->plus && !has_plus(config, name))
			return config_fail(place, config_keys_line(place, key),
			    "%s: nobody can bind by %s; add %s-PLUS to 'mechanisms'", key, name, name);
	}
	return 0;
}

static int check_mechanisms(const struct config *config, struct config_place *place)
{
	int line = config_keys_line(place, "mechanisms");

	for (size_t i = 0; i < config->mechanism_count; i++) {
		const char *name = config->mechanisms[i];
		for (size_t j = 0; j < i; j++)
			if (strcmp(config->mechanisms[j], name) == 0)
				return config_fail(
				    place, line, "mechanisms: %s is there twice; leave one", name);
		if (mechanism_find(name)->name == NULL && config->plugins[0] == NULL)
			return config_fail(place, line,
			    "mechanisms: kpopd does not have %s; leave it out, or name its plug-in in "
			    "'plugins'",
			    name);
	}
	return 0;
}

static int check_spool_locks(const struct config *config, struct config_place *place)
{
	for (char **lock = config->spool_locks; *lock != NULL; lock++)
		for (char **other = config->spool_locks; other != lock; other++)
			if (strcmp(*lock, *other) == 0)
				return config_fail(place, config_keys_line(place, "spool_locks"),
				    "spool_locks: %s is there twice; leave one", *lock);
	return 0;
}

static int check_passwords(const struct config *config, struct config_place *place)
{
	for (char **source = config->passwords; *source != NULL; source++)
		for (char **other = config->passwords; other != source; other++)
			if (strcmp(*source, *other) == 0)
				return config_fail(place, config_keys_line(place, "passwords"),
				    "passwords: %s is there twice; leave one", *source);
	return 0;
}

static int check_tls(const struct config *config, struct config_place *place)
{
	if (config->certificate != NULL && config->key == NULL)
		return config_fail(place, config_keys_line(place, "certificate"),
		    "certificate: 'key' is missing; name the file of its private key too");
	if (config->key != NULL && config->certificate == NULL)
		return config_fail(place, config_keys_line(place, "key"),
		    "key: 'certificate' is missing; name the file of its certificate too");
	for (size_t i = 0; i < config->listener_count; i++)
		if (config->listeners[i].protocol == PROTOCOL_POP3S && config->certificate == NULL)
			return config_fail(place, config->listeners[i].line,
			    "listener %s: pop3s needs TLS; set 'certificate' and 'key'",
			    config->listeners[i].name);
	return 0;
}

/* A process that has become one user can serve no other. */
static int check_users(const struct config *config, struct config_place *place)
{
	const char *key = config->spool != NULL ? "spool" : "maildir";
	if (config->mail_users != MAIL_USERS_SYSTEM && identity_in_homes(config))
		return config_fail(place, config_keys_line(place, key),
		    "%s: %%h is the home of an account; set mail_users = system, or begin with %%u", key);
	if (config->mail_users != MAIL_USERS_SYSTEM || config->isolation == ISOLATION_PROCESS)
		return 0;
	return config_fail(place, config_keys_line(place, "mail_users"),
	    "mail_users: system needs a process for each session; set isolation = process");
}

static int check_penalty(const struct config *config, struct config_place *place)
{
	if (config->penalty_secs <= config->penalty_max_secs)
		return 0;
	int line = config_keys_line(place, "penalty_secs");
	return config_fail(place, line != 0 ? line : config_keys_line(place, "penalty_max_secs"),
	    "penalty_secs: %u is more than penalty_max_secs, %u; make it smaller, or that larger",
	    config->penalty_secs, config->penalty_max_secs);
}

static bool listens(const struct listener_config *listener, const char *address, uint16_t port)
{
	for (size_t i = 0; listener->port == port && listener->addresses[i] != NULL; i++)
		if (strcmp(listener->addresses[i], address) == 0)
			return true;
	return false;
}

static int check_listeners(const struct config *config, struct config_place *place)
{
	size_t sockets = 0;

	for (size_t i = 0; i < config->listener_count; i++)
		for (char **address = config->listeners[i].addresses; *address != NULL; address++)
			if (++sockets > LIMIT_LISTENERS_COUNT)
				return config_fail(place, config->listeners[i].line,
				    "listener %s: more than %u addresses in all; leave some out",
				    config->listeners[i].name, LIMIT_LISTENERS_COUNT);
	for (size_t i = 0; i < config->listener_count; i++)
		for (size_t j = 0; j < i; j++)
			for (char **address = config->listeners[i].addresses; *address != NULL; address++)
				if (listens(&config->listeners[j], *address, config->listeners[i].port))
					return config_fail(place, config->listeners[i].line,
					    "listener %s: %s port %u is listener %s's already; choose "
					    "another",
					    config->listeners[i].name, *address, config->listeners[i].port,
					    config->listeners[j].name);
	return 0;
}

struct config *config_read(const char *file, char *why_r, size_t size)
{
	struct config_place place = {.file = file, .why = why_r, .size = size};
	struct config *config = calloc(1, sizeof(*config));
	char *text = NULL;

	why_r[0] = '\0';
	if (config == NULL)
		config_fail(&place, 0, "no memory");
	else if ((text = read_text(&place)) == NULL || refuse_environment(&place, text) != 0 ||
		 config_keys_read(config, &place, text) != 0)
		; /* place says why */
	else if (fill_defaults(config, file) != 0)
		config_fail(&place, 0, "no memory");
	else if (check_tls(config, &place) == 0 && check_penalty(config, &place) == 0 &&
		 check_users(config, &place) == 0 && check_mechanisms(config, &place) == 0 &&
		 check_binding(config, &place) == 0 && check_passwords(config, &place) == 0 &&
		 check_spool_locks(config, &place) == 0 && config_rules_check(config, &place) == 0)
		check_listeners(config, &place);
	free(text);
	if (place.failed)
		config_free(&config);
	return config;
}

void config_free(struct config **config)
{
	if (*config == NULL)
		return;
	config_keys_free(*config);
	free((*config)->file);
	free(*config);
	*config = NULL;
}

const char *config_path(const struct config *config, enum config_path which, char *path_r)
{
	static const char *const names[] = {
	    [CONFIG_AUTH_DIR] = "auth",
	    [CONFIG_SECRETS] = "auth/secrets.mdb",
	    [CONFIG_REPLAY_CACHE] = "auth/replay",
	    [CONFIG_KRB5_SNAPSHOT] = "auth/krb5.conf",
	    [CONFIG_CHECK_DIR] = "check",
	    [CONFIG_CHECK_KRB5_SNAPSHOT] = "check/krb5.conf",
	    [CONFIG_INDEX_DIR] = "index",
	    [CONFIG_HOMES_DIR] = "spool",
	    [CONFIG_USERS_DIR] = "users",
	    [CONFIG_EMPTY_DIR] = "empty",
	};
	/* It fits: config_check_path leaves room behind every path. */
	snprintf(path_r, PATH_MAX, "%s/%s", config->state_dir, names[which]);
	return path_r;
}

void config_enctypes(const struct config *config, int numbers_r[CONFIG_ENCTYPES_COUNT + 1])
{
	/* In the order of the names in config_keys.c. */
	static const int numbers[CONFIG_ENCTYPES_COUNT] = {20, 19, 18, 17};
	size_t count = 0;
	for (size_t i = 0; i < CONFIG_ENCTYPES_COUNT; i++)
		if ((config->enctypes >> i & 1) != 0)
			numbers_r[count++] = numbers[i];
	numbers_r[count] = 0;
}
