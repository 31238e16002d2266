/* SPDX-License-Identifier: ISC */
#include "library.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <sasl/saslplug.h>

#include "attempt.h"
#include "binding.h"
#include "scramkeys.h"
#include "screen.h"

/* The stock plug-ins that are opened when plugin_dir has them; no other file there ever is. */
static const char *const stock[] = {"libscram.so", "libplain.so", "liblogin.so", "libcrammd5.so", NULL};

static struct library library;

struct library *library_get(void)
{
	return &library;
}

const char *const *library_sources(void)
{
	static const char *const ours[] = {LIBRARY_SECRETS, NULL};

	return library.config.passwords != NULL ? library.config.passwords : ours;
}

bool library_passwords(void)
{
	const char *const *sources = library_sources();

	for (size_t i = 0; sources[i] != NULL; i++)
		if (library.config.secrets != NULL || strcmp(sources[i], LIBRARY_SECRETS) != 0)
			return true;
	return false;
}

int library_getopt(void *context, const char *plugin, const char *option, const char **result, unsigned *len)
{
	const struct {
		const char *name, *value;
	} options[] = {
	    {"mech_list", library.mech_list},
	    {"auxprop_plugin", "kpopd"},
	    {"canon_user_plugin", "INTERNAL"},
	    /* Passwords are checked by callback; a refusal there goes on to this, which nothing answers to.
	     */
	    {"pwcheck_method", "kpopd"},
	    {"auto_transition", "no"},
	    {"log_level", "1"},
	};

	(void)context;
	(void)plugin;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (strcmp(option, options[i].name) != 0)
			continue;
		*result = options[i].value;
		if (len != NULL)
			*len = (unsigned)strlen(options[i].value);
		return SASL_OK;
	}
	return SASL_FAIL;
}

static int search_path(void *context, const char **path)
{
	(void)context;
	*path = library.search_path;
	return SASL_OK;
}

static bool is_stock(const char *file)
{
	size_t dir_len = strlen(library.config.plugin_dir);

	while (dir_len > 1 && library.config.plugin_dir[dir_len - 1] == '/')
		dir_len--;
	if (strncmp(file, library.config.plugin_dir, dir_len) != 0 || file[dir_len] != '/')
		return false;
	file += dir_len + strspn(file + dir_len, "/");
	for (size_t i = 0; stock[i] != NULL; i++)
		if (strcmp(file, stock[i]) == 0)
			return true;
	return false;
}

/* Nothing is opened unless it is a file we named. SASL_CONTINUE means: not this one, but go on. */
static int verify_file(void *context, const char *file, sasl_verify_type_t type)
{
	(void)context;
	if (type != SASL_VRFY_PLUGIN)
		return SASL_CONTINUE;
	if (is_stock(file))
		return SASL_OK;
	for (size_t i = 0; library.config.plugins != NULL && library.config.plugins[i] != NULL; i++)
		if (strcmp(file, library.config.plugins[i]) == 0)
			return SASL_OK;
	return SASL_CONTINUE;
}

static int log_start(void *context, int level, const char *message)
{
	(void)context;
	if (level != SASL_LOG_NONE && level <= SASL_LOG_WARN && message != NULL)
		snprintf(library.why, sizeof(library.why), "%s", message);
	return SASL_OK;
}

/* The library knows a mechanism by one name, with -PLUS or without; base_r as long as a mechanism's name. */
static const char *base_name(const char *mechanism, char base_r[ATTEMPT_MECHANISM_OCTETS])
{
	snprintf(base_r, ATTEMPT_MECHANISM_OCTETS, "%s", mechanism);
	if (binding_is_plus(base_r))
		*strrchr(base_r, '-') = '\0';
	return base_r;
}

static char *join_mechanisms(const char *const *mechanisms)
{
	char base[ATTEMPT_MECHANISM_OCTETS];
	size_t size = sizeof(SEED_MECHANISM);
	char *text;

	for (size_t i = 0; mechanisms[i] != NULL; i++)
		size += strlen(mechanisms[i]) + 1;
	text = calloc(1, size);
	for (size_t i = 0; text != NULL && mechanisms[i] != NULL; i++) {
		strcat(text, base_name(mechanisms[i], base));
		strcat(text, " ");
	}
	if (text != NULL)
		strcat(text, SEED_MECHANISM);
	return text;
}

static bool file_sound(const char *file)
{
	return file[0] == '/' && strchr(file, ':') == NULL && strlen(file) < PATH_MAX;
}

/* plugin_dir and the folders of a site's own files, with ':' between. NULL: memory, or a path that cannot be.
 */
static char *join_folders(const struct saslx_config *config)
{
	size_t size = strlen(config->plugin_dir) + 1;
	char *text;

	if (!file_sound(config->plugin_dir))
		return NULL;
	for (size_t i = 0; config->plugins != NULL && config->plugins[i] != NULL; i++) {
		if (!file_sound(config->plugins[i]))
			return NULL;
		size += strlen(config->plugins[i]) + 1;
	}
	text = calloc(1, size);
	if (text == NULL)
		return NULL;
	strcat(text, config->plugin_dir);
	for (size_t i = 0; config->plugins != NULL && config->plugins[i] != NULL; i++) {
		const char *slash = strrchr(config->plugins[i], '/');

		strcat(text, ":");
		strncat(text, config->plugins[i], (size_t)(slash - config->plugins[i]));
	}
	return text;
}

static int start(char *why_r, size_t size)
{
	/* The library keeps the pointer until it ends. */
	static const sasl_callback_t callbacks[] = {
	    {SASL_CB_GETOPT, LIBRARY_CALLBACK(library_getopt), NULL},
	    {SASL_CB_GETPATH, LIBRARY_CALLBACK(search_path), NULL},
	    {SASL_CB_VERIFYFILE, LIBRARY_CALLBACK(verify_file), NULL},
	    {SASL_CB_LOG, LIBRARY_CALLBACK(log_start), NULL},
	    {SASL_CB_LIST_END, NULL, NULL},
	};
	/* Without a name of an application the library reads no configuration file. */
	int rc = sasl_server_init(callbacks, NULL);

	if (rc == SASL_OK)
		rc = auxprop_register();
	if (rc == SASL_OK)
		rc = seed_register();
	if (rc == SASL_OK && library.acceptor != NULL)
		rc = gssapi_register();
	if (rc == SASL_OK && library.acceptor != NULL)
		rc = gs2_register();
	if (rc == SASL_OK)
		return 0;
	snprintf(why_r, size, "Cyrus SASL does not start: %s%s%s", sasl_errstring(rc, NULL, NULL),
	    library.why[0] != '\0' ? ": " : "", library.why);
	return -1;
}

static void note(const char *text)
{
	if (library.config.note != NULL)
		library.config.note(library.config.arg, text);
}

static bool configured(const char *mechanism)
{
	for (size_t i = 0; library.config.mechanisms[i] != NULL; i++)
		if (strcasecmp(mechanism, library.config.mechanisms[i]) == 0)
			return true;
	return false;
}

static void open_acceptor(void)
{
	char why[512];

	if (!configured("GSSAPI") && !configured("GS2-KRB5") && !configured("GS2-KRB5-PLUS"))
		return;
	if (library.config.keytab == NULL)
		note("GSSAPI is not offered: no keytab is configured");
	else if (acceptor_open(&library.acceptor, &library.config, why, sizeof(why)) < 0)
		note(why);
}

struct wanted {
	const char *mechanism; /* without -PLUS */
	bool found;
};

static void compare(server_sasl_mechanism_t *mechanism, sasl_info_callback_stage_t stage, void *arg)
{
	struct wanted *wanted = arg;

	if (stage == SASL_INFO_LIST_MECH && strcasecmp(mechanism->plug->mech_name, wanted->mechanism) == 0)
		wanted->found = true;
}

static bool plugged(const char *mechanism)
{
	char base[ATTEMPT_MECHANISM_OCTETS];
	struct wanted wanted = {.mechanism = base_name(mechanism, base)};

	sasl_server_plugin_info(NULL, compare, &wanted);
	return wanted.found;
}

static void note_missing(void)
{
	char text[512];

	for (size_t i = 0; library.config.mechanisms[i] != NULL; i++) {
		const char *mechanism = library.config.mechanisms[i];

		if (plugged(mechanism) || screen_kind(mechanism) == SCREEN_GSSAPI ||
		    screen_kind(mechanism) == SCREEN_GS2)
			continue;
		snprintf(text, sizeof(text), "%s is not offered: no plug-in for it among %s%s%s", mechanism,
		    library.search_path, library.why[0] != '\0' ? "; " : "", library.why);
		note(text);
	}
}

int saslx_init(const struct saslx_config *config, char *why_r, size_t size)
{
	if (library.ready) {
		snprintf(why_r, size, "Cyrus SASL has been started before");
		return -1;
	}
	memset(&library, 0, sizeof(library));
	library.config = *config;
	snprintf(library.host, sizeof(library.host), "%s",
	    config->host != NULL && *config->host != '\0' ? config->host : "localhost");
	library.mech_list = join_mechanisms(config->mechanisms);
	library.search_path = join_folders(config);
	if (library.mech_list == NULL || library.search_path == NULL) {
		snprintf(why_r, size,
		    "no memory, or the path of a SASL plug-in is not absolute or has a ':' in it");
		saslx_done();
		return -1;
	}
	open_acceptor();
	library.ready = true;
	if (start(why_r, size) < 0) {
		saslx_done();
		return -1;
	}
	note_missing();
	return 0;
}

void saslx_done(void)
{
	if (library.ready)
		sasl_server_done();
	acceptor_close(&library.acceptor);
	free(library.mech_list);
	free(library.search_path);
	memset(&library, 0, sizeof(library));
}

static const char scram[] = "SCRAM-";

/* Whether the secrets have keys of this SCRAM's hash. */
static bool keys_kept(const char *mechanism, enum scram_hash *hash_r)
{
	char base[ATTEMPT_MECHANISM_OCTETS];

	return scramkeys_find(base_name(mechanism, base) + sizeof(scram) - 1, hash_r) == 0;
}

/* Clients take the strongest mechanism there is, and do not try another. */
static bool all_have_keys(const char *mechanism)
{
	enum scram_hash hash;

	return keys_kept(mechanism, &hash) && (secrets_keys(library.config.secrets) & 1u << hash) != 0;
}

bool saslx_usable(const char *mechanism)
{
	enum scram_hash hash;

	if (!library.ready)
		return false;
	/* APOP is no SASL mechanism; it needs what CRAM-MD5 needs, but no plug-in. */
	if (strcasecmp(mechanism, "APOP") == 0)
		return library.config.secrets != NULL;
	if (!configured(mechanism) || !plugged(mechanism))
		return false;
	switch (screen_kind(mechanism)) {
	case SCREEN_GSSAPI:
	case SCREEN_GS2:
		return library.acceptor != NULL;
	case SCREEN_SCRAM:
		return library.config.secrets != NULL && keys_kept(mechanism, &hash);
	case SCREEN_CRAM_MD5:
		return library.config.secrets != NULL;
	case SCREEN_PLAIN:
	case SCREEN_LOGIN:
		return library_passwords();
	case SCREEN_OTHER:
		break;
	}
	/*
	 * EXTERNAL is built into the library and would believe whoever hands us the client's octets. Other
	 * hashes of the SCRAM plug-in find no keys in our secrets. Of a mechanism we do not know we cannot
	 * tell what its client has bound to.
	 */
	return strcasecmp(mechanism, "EXTERNAL") != 0 && strcasecmp(mechanism, "ANONYMOUS") != 0 &&
	       strncasecmp(mechanism, scram, sizeof(scram) - 1) != 0 && !binding_is_plus(mechanism);
}

/* Whether somebody other than the secrets file can tell that a password is right. */
static bool asks_others(void)
{
	const char *const *sources = library_sources();

	for (size_t i = 0; sources[i] != NULL; i++)
		if (strcmp(sources[i], LIBRARY_SECRETS) != 0)
			return true;
	return false;
}

bool saslx_works(const char *mechanism)
{
	bool stored = secrets_exist(library.config.secrets);

	if (strcasecmp(mechanism, "USER") == 0)
		return library.ready && (stored || asks_others());
	switch (screen_kind(mechanism)) {
	case SCREEN_SCRAM:
		return stored && saslx_usable(mechanism) && all_have_keys(mechanism);
	case SCREEN_CRAM_MD5:
		return stored && saslx_usable(mechanism);
	case SCREEN_PLAIN:
	case SCREEN_LOGIN:
		return (stored || asks_others()) && saslx_usable(mechanism);
	default:
		return saslx_usable(mechanism);
	}
}
