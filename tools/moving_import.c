/* SPDX-License-Identifier: ISC */
/*
 * Taking over another server's UIDLs. Everything is looked at before anything is written, and what is written
 * is written in one step, so a maildrop has all of them or is as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/limits.h"
#include "server/names.h"
#include "tools/claims.h"
#include "tools/kpopctl.h"
#include "tools/live.h"
#include "tools/moving.h"
#include "tools/progress.h"
#include "tools/side.h"

#define STRIKES_COUNT 100u /* refusals by the store before we give up: each costs another look at all */
#define STREAM_OCTETS ((size_t)256 << 20) /* of what cannot be mapped; a million messages and more */
#define LIST_LINE_OCTETS (PATH_MAX + LIMIT_USER_OCTETS + 8u)

struct import {
	const struct moving_options *options;
	const char *user, *source;
	struct side here;
	struct claims claims;
	struct live_counts live;
	bool from_server;
};

/* ---- a file ---- */

struct file {
	char *octets;
	size_t len;
	bool mapped;
};

static void file_clear(struct file *file)
{
	if (file->mapped)
		munmap(file->octets, file->len);
	else
		free(file->octets);
	*file = (struct file){0};
}

static int read_stream(int fd, struct file *file)
{
	size_t size = 0;
	ssize_t got = 1;

	while (got > 0) {
		if (file->len == size) {
			char *octets =
			    size < STREAM_OCTETS ? realloc(file->octets, size == 0 ? 65536 : 2 * size) : NULL;
			if (octets == NULL) {
				errno = size < STREAM_OCTETS ? ENOMEM : EFBIG;
				return -1;
			}
			size = size == 0 ? 65536 : 2 * size;
			file->octets = octets;
		}
		got = read(fd, file->octets + file->len, size - file->len);
		if (got > 0)
			file->len += (size_t)got;
		else if (got < 0 && errno == EINTR)
			got = 1;
	}
	return got < 0 ? -1 : 0;
}

/* An mbox may be of any size: it is mapped. Whoever cuts it meanwhile ends us before we have written. */
static int open_file(const char *path, struct file *file)
{
	bool standard = strcmp(path, "-") == 0;
	int fd = standard ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int rc = -1;

	*file = (struct file){0};
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0)
		;
	else if (S_ISDIR(st.st_mode))
		errno = EISDIR;
	else if (!standard && S_ISREG(st.st_mode) && st.st_size > 0) {
		file->octets = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		file->mapped = file->octets != MAP_FAILED;
		file->len = file->mapped ? (size_t)st.st_size : 0;
		file->octets = file->mapped ? file->octets : NULL;
		rc = file->mapped ? 0 : -1;
	} else {
		rc = read_stream(fd, file);
	}
	close(fd);
	return rc;
}

static int read_source(struct import *import)
{
	struct file file;
	struct source_item item;

	if (open_file(import->source, &file) != 0)
		return kpopctl_fail("%s: %s%s", import->source, strerror(errno),
		    errno == EACCES
			? "; it is read with the rights of whose mail it is, or from standard input: -"
			: "");
	struct source_reader reader = {.octets = file.octets,
	    .len = file.len,
	    .format = import->options->format,
	    .template = import->options->template};
	if (reader.format == SOURCE_GUESS)
		reader.format = source_guess(file.octets, file.len);
	if (reader.format == SOURCE_GUESS) {
		file_clear(&file);
		return kpopctl_fail(
		    "%s: nothing in it, or nothing that shows its format; say --format", import->source);
	}
	while (source_next(&reader, &item)) {
		claims_add(&import->claims, &item);
		if (file.len > 0)
			progress("octets read", reader.at, file.len);
	}
	progress_end();
	file_clear(&file);
	return EXIT_SUCCESS;
}

/* ---- what speaks against it ---- */

static void complain(const struct import *import, const struct claim *claim)
{
	char text[1024];
	const char *key = claim->kind == SOURCE_NAME && claim->key != NULL ? claim->key : "";

	snprintf(text, sizeof(text), "%s:%s%lu: %s%s%s%s%s", import->source,
	    import->from_server ? " message " : "", claim->line, key, key[0] != '\0' ? ": " : "",
	    claim->uidl != NULL ? claim->uidl : "", claim->uidl != NULL ? ": " : "", claim->why);
	kpopctl_fail("%s", moving_printable(text));
}

static void complain_all(const struct import *import)
{
	char text[1024];

	for (size_t i = 0; i < import->claims.count; i++)
		if (import->claims.list[i].why != NULL)
			complain(import, &import->claims.list[i]);
	for (uint32_t i = 0; i < import->here.count; i++)
		if (import->claims.of[i] == CLAIM_NOWHERE) {
			snprintf(text, sizeof(text),
			    "%s: %s: nothing sound in %s is of this message; it keeps the UIDL %s",
			    import->user, import->here.messages[i].name, import->source,
			    import->here.messages[i].uidl);
			kpopctl_fail("%s", moving_printable(text));
		}
}

static int gather(struct import *import)
{
	struct side there = {0}, *failed = &there;
	struct remote_options remote;
	char login[2 * LIMIT_USER_OCTETS];
	int rc = 0;

	if (!import->from_server)
		return read_source(import);
	if (moving_login(&import->options->there, import->user, login, sizeof(login), &remote) != 0)
		return EXIT_FAILURE;
	remote.url = import->source;
	rc = side_open_remote(&remote, &there);
	if (rc == 0)
		rc = live_match(&there, &import->here, &import->claims, &import->live, &failed);
	if (rc != 0)
		moving_fail(failed);
	side_close(&there);
	return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- writing ---- */

/* The claims that nothing speaks against, as the store takes them. */
struct adoptions {
	struct maildrop_adoption *list;
	struct claim **claims; /* by place in list */
	uint32_t count;
};

static bool adoptions_make(struct claims *claims, struct adoptions *adoptions_r)
{
	struct adoptions adoptions = {.list = calloc(claims->count + 1, sizeof(*adoptions.list)),
	    .claims = calloc(claims->count + 1, sizeof(struct claim *))};

	*adoptions_r = adoptions;
	if (adoptions.list == NULL || adoptions.claims == NULL)
		return false;
	for (size_t i = 0; i < claims->count; i++) {
		struct claim *claim = &claims->list[i];

		if (claim->why != NULL || claim->idx == CLAIM_NOWHERE)
			continue;
		adoptions.list[adoptions_r->count] = (struct maildrop_adoption){claim->idx, claim->uidl};
		adoptions.claims[adoptions_r->count++] = claim;
	}
	return true;
}

static void adoptions_clear(struct adoptions *adoptions)
{
	free(adoptions->list);
	free(adoptions->claims);
}

/* One that the store refuses: it knows what UIDLs there once were. */
static void strike(struct import *import, struct adoptions *adoptions, uint32_t bad)
{
	struct claims *claims = &import->claims;
	struct claim *claim = adoptions->claims[bad];
	size_t behind = adoptions->count - bad - 1;

	claims_wrong(claims, claim, "another message here has or had this UIDL");
	complain(import, claim);
	claims->wrong++;
	claims->lonely++;
	claims->of[claim->idx] = CLAIM_NOWHERE;
	memmove(&adoptions->list[bad], &adoptions->list[bad + 1], behind * sizeof(*adoptions->list));
	memmove(&adoptions->claims[bad], &adoptions->claims[bad + 1], behind * sizeof(struct claim *));
	adoptions->count--;
}

static int adopt(struct import *import, struct adoptions *adoptions)
{
	unsigned strikes = 0;

	for (;;) {
		uint32_t bad = CLAIM_NOWHERE;

		errno = 0;
		int rc = maildrop_adopt(import->here.maildrop, adoptions->list, adoptions->count, &bad);
		if (rc == MAILDROP_OK)
			return EXIT_SUCCESS;
		if (rc != MAILDROP_UIDL || bad >= adoptions->count)
			return kpopctl_fail("%s: %s; nothing was written", import->user, side_error(rc));
		strike(import, adoptions, bad);
		if (!import->options->keep_going || ++strikes == STRIKES_COUNT)
			return kpopctl_fail("%s: nothing was written", import->user);
	}
}

static int write_claims(struct import *import)
{
	struct adoptions adoptions;
	int status = adoptions_make(&import->claims, &adoptions) ? adopt(import, &adoptions)
								 : kpopctl_fail("%s", strerror(errno));

	adoptions_clear(&adoptions);
	return status;
}

static void tell(const struct import *import)
{
	const struct claims *claims = &import->claims;

	printf("%s: %s %zu of %zu UIDLs of %s, for %u messages here", import->user,
	    import->options->dry_run ? "to be imported:" : "imported:", import->here.count - claims->lonely,
	    claims->count, import->source, (unsigned)import->here.count);
	if (import->from_server)
		printf("; matched: %zu by header and size, %zu by content (%zu of them equal copies)",
		    import->live.by_header, import->live.by_content, import->live.copies);
	putchar('\n');
}

static int decide(struct import *import)
{
	struct claims *claims = &import->claims;
	bool sound;

	claims_judge(claims, &import->here);
	if (claims->failed)
		return kpopctl_fail("%s: too many entries, or no memory", import->source);
	sound = claims->wrong == 0 && claims->lonely == 0;
	if (!sound)
		complain_all(import);
	if (!sound && !import->options->keep_going)
		return kpopctl_fail(
		    "%s: %zu of %zu entries cannot be taken, %zu of %u messages have none; nothing was "
		    "written (--keep-going takes what is sound)",
		    import->user, claims->wrong, claims->count, claims->lonely, (unsigned)import->here.count);
	if (!import->options->dry_run && write_claims(import) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	tell(import);
	return claims->wrong == 0 && claims->lonely == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(void *arg, const struct mailuser *mailuser)
{
	struct import *import = arg;
	int status = EXIT_SUCCESS;

	if (side_open_here(mailuser, &import->here) != 0)
		status = moving_fail(&import->here);
	if (status == EXIT_SUCCESS)
		status = gather(import);
	if (status == EXIT_SUCCESS) {
		claims_sort(&import->claims);
		if (claims_match(&import->claims, &import->here) != 0)
			status = moving_fail(&import->here);
	}
	if (status == EXIT_SUCCESS)
		status = decide(import);
	claims_clear(&import->claims);
	side_close(&import->here);
	return moving_flushed(status);
}

int moving_import(
    const struct config *config, const struct moving_options *options, const char *user, const char *source)
{
	struct import import = {
	    .options = options, .user = user, .source = source, .from_server = remote_is_address(source)};

	return moving_status(mailuser_run(config, user, run, &import));
}

/* ---- many users ---- */

static int import_line(const struct config *config, const struct moving_options *options, char *line,
    const char *source_template)
{
	char user[LIMIT_USER_OCTETS + 1], source[LIST_LINE_OCTETS];
	char *rest = line + strcspn(line, " \t");
	const char *why;

	if (*rest != '\0')
		*rest++ = '\0';
	rest += strspn(rest, " \t");
	if (names_canonical(config, line, strlen(line), user, &why) != 0)
		return kpopctl_fail("%s cannot be a user's name: %s", moving_printable(line), why);
	if (*rest == '\0' && source_template == NULL)
		return kpopctl_fail("%s: no SOURCE in its line, and none for all", user);
	if (*rest == '\0' && moving_expand(source_template, user, source, sizeof(source)) != 0)
		return kpopctl_fail("%s: %%u, %%n and %%d are known in it", source_template);
	if (strcmp(*rest != '\0' ? rest : source, "-") == 0)
		return kpopctl_fail("%s: standard input cannot be the SOURCE of many", user);
	return moving_import(config, options, user, *rest != '\0' ? rest : source);
}

int moving_import_all(const struct config *config, const struct moving_options *options, const char *list,
    const char *source_template)
{
	char line[LIST_LINE_OCTETS];
	unsigned long users = 0, failed = 0;
	FILE *file = strcmp(list, "-") == 0 ? stdin : fopen(list, "re");

	if (file == NULL)
		return kpopctl_fail("%s: %s", list, strerror(errno));
	while (fgets(line, sizeof(line), file) != NULL) {
		size_t len = strcspn(line, "\r\n");

		if (line[len] == '\0' && !feof(file)) {
			fclose(file);
			return kpopctl_fail(
			    "%s: a line is longer than %u octets", list, (unsigned)sizeof(line) - 2);
		}
		line[len] = '\0';
		if (len == 0 || line[0] == '#')
			continue;
		users++;
		failed += import_line(config, options, line, source_template) != EXIT_SUCCESS;
	}
	fclose(file);
	printf("%lu users, %lu of them with something that could not be imported\n", users, failed);
	return failed == 0 && users > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
