/* SPDX-License-Identifier: ISC */
#include "tools/moving.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "tools/kpopctl.h"
#include "tools/side.h"

char *moving_printable(char *text)
{
	for (char *at = text; *at != '\0'; at++)
		if (!isprint((unsigned char)*at))
			*at = '?';
	return text;
}

int moving_expand(const char *text, const char *user, char *text_r, size_t size)
{
	const char *at = strchr(user, '@');
	size_t len = 0;

	for (; *text != '\0'; text++) {
		const char *part = text;
		size_t part_len = 1;

		if (*text == '%') {
			text++;
			part = *text == 'd' ? (at != NULL ? at + 1 : "default") : user;
			part_len = *text == 'n' && at != NULL ? (size_t)(at - user) : strlen(part);
			if (*text == '%')
				part = text, part_len = 1;
			else if (*text == '\0' || strchr("und", *text) == NULL)
				return -1;
		}
		if (part_len >= size - len)
			return -1;
		memcpy(text_r + len, part, part_len);
		len += part_len;
	}
	text_r[len] = '\0';
	return 0;
}

int moving_login(const struct remote_options *options, const char *user, char *login_r, size_t size,
    struct remote_options *options_r)
{
	*options_r = *options;
	options_r->login = login_r;
	if (moving_expand(options->login != NULL ? options->login : "%u", user, login_r, size) == 0)
		return 0;
	kpopctl_fail("--login %s: %%u, %%n and %%d are known in it", options->login);
	return -1;
}

int moving_fail(struct side *side)
{
	kpopctl_fail("%s", moving_printable(side->why));
	return side->in_use ? EX_TEMPFAIL : EXIT_FAILURE;
}

int moving_flushed(int status)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		return kpopctl_fail("standard output: %s", strerror(errno));
	return status;
}

int moving_status(int got)
{
	return got < 0 ? EXIT_FAILURE : got;
}

/* ---- export ---- */

static int print_digest(struct side *side, uint32_t i)
{
	struct likeness likeness;
	char text[2 * LIKENESS_OCTETS + 1];

	if (side_look(side, i, LIKENESS_SHA256, LIKENESS_WHOLE, &likeness) != 0)
		return moving_fail(side);
	likeness_hex(likeness.sha256, sizeof(likeness.sha256), text);
	printf("sha256:%s\t%s\n", text, side->messages[i].uidl);
	return EXIT_SUCCESS;
}

/*
 * A name with a tab or a line's end in it cannot be told by a list; by its digest it can. And what its owner
 * has called a file shall not speak to the terminal of whoever asks.
 */
static bool name_fits(const char *name)
{
	for (const char *at = name; *at != '\0'; at++)
		if (!isprint((unsigned char)*at))
			return false;
	return name[0] != '#';
}

static int export(void *arg, const struct mailuser *mailuser)
{
	const struct moving_options *options = arg;
	struct side side;
	int status = EXIT_SUCCESS;

	if (side_open_here(mailuser, &side) != 0)
		status = moving_fail(&side);
	else if (side.count == 0) /* nothing, most likely because the name is mistyped */
		kpopctl_fail("%s has no mail here", mailuser->user);
	for (uint32_t i = 0; status == EXIT_SUCCESS && i < side.count; i++) {
		if (options->digest || !name_fits(side.messages[i].name))
			status = print_digest(&side, i);
		else
			printf("%s\t%s\n", side.messages[i].name, side.messages[i].uidl);
	}
	side_close(&side);
	return moving_flushed(status);
}

int moving_export(const struct config *config, const struct moving_options *options, const char *user)
{
	return moving_status(mailuser_run(config, user, export, (void *)(uintptr_t)options));
}
