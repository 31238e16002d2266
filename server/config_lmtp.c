/* SPDX-License-Identifier: ISC */
#include "server/config_lmtp.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { SMTP_PORT = 25 };

static const char *const local_keys[] = {"path", "path_mode", "path_owner", "path_group"};

static bool given(cfg_t *section, const char *key)
{
	return (cfg_getopt(section, key)->flags & CFGF_MODIFIED) != 0;
}

static int check_other(struct config_place *place, int line, cfg_t *section)
{
	for (size_t i = 0; i < sizeof local_keys / sizeof local_keys[0]; i++)
		if (given(section, local_keys[i]))
			return config_fail(place, line,
			    "listener %s: %s is for protocol lmtp; leave it out, and name addresses",
			    cfg_title(section), local_keys[i]);
	return 0;
}

/* Those of RFC 1122 section 3.2.1.3 and RFC 4291 section 2.5.3. */
static bool is_loopback(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

static int check_addresses(struct config_place *place, int line, cfg_t *section)
{
	for (unsigned i = 0; i < cfg_size(section, "addresses"); i++) {
		const char *address = cfg_getnstr(section, "addresses", i);
		if (!is_loopback(address))
			return config_fail(place, line,
			    "listener %s: whoever reaches %s could deliver mail to anybody, because LMTP "
			    "asks for no password; name 127.0.0.1, ::1, or a path",
			    cfg_title(section), address);
	}
	/* RFC 2033 section 5. */
	if (cfg_getint(section, "port") == SMTP_PORT)
		return config_fail(place, line,
		    "listener %s: LMTP must not be on port 25, which is SMTP's; choose another",
		    cfg_title(section));
	return 0;
}

static int check_path(struct config_place *place, int line, cfg_t *section)
{
	if (strlen(cfg_getstr(section, "path")) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return config_fail(place, line,
		    "listener %s: path is longer than a socket's can be, %zu octets; choose a shorter one",
		    cfg_title(section), sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	return 0;
}

int config_lmtp_check(struct config_place *place, int line, cfg_t *section)
{
	bool path = given(section, "path"), addresses = given(section, "addresses");
	if (strcmp(cfg_getstr(section, "protocol"), "lmtp") != 0)
		return check_other(place, line, section);
	if (given(section, "proxy_networks"))
		return config_fail(place, line,
		    "listener %s: proxy_networks is not for protocol lmtp; leave it out", cfg_title(section));
	if (path == addresses)
		return config_fail(place, line,
		    "listener %s: LMTP listens on a path or on addresses of this machine; write 'path = ...' "
		    "or 'addresses = {...}', one of the two",
		    cfg_title(section));
	return path ? check_path(place, line, section) : check_addresses(place, line, section);
}

void config_lmtp_finish(struct listener_config *listener)
{
	if (listener->path == NULL)
		return;
	for (char **address = listener->addresses; *address != NULL; address++)
		free(*address);
	listener->addresses[0] = NULL;
}
