/* SPDX-License-Identifier: ISC */
#include "tools/import.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/names.h"
#include "tools/import_item.h"
#include "tools/import_keys.h"
#include "tools/kpopctl.h"

int import_format_find(const char *name, enum import_format *format_r)
{
	static const char *const names[] = {
	    [IMPORT_SASLDB] = "sasldb", [IMPORT_DOVECOT] = "dovecot", [IMPORT_HTPASSWD] = "htpasswd"};

	for (int format = IMPORT_SASLDB; format <= IMPORT_HTPASSWD; format++)
		if (strcmp(name, names[format]) == 0) {
			*format_r = (enum import_format)format;
			return 0;
		}
	return -1;
}

struct import {
	struct secrets *secrets; /* NULL: none are there yet */
	const struct import_options *options;
	struct secrets_forms forms;
	const char *name; /* of the file, for people */
	char *octets_secret;
	size_t len, size;
	enum import_format format;
	void *seen; /* names and their lines, a tree of struct seen */
	unsigned long taken, hashes, wrong, skipped;
	struct import_batch batch;
};

/* ---- the file ---- */

/* No copy of what may be passwords stays behind. */
static bool make_room(struct import *import)
{
	size_t size = import->size == 0 ? 65536 : 2 * import->size;
	char *octets;

	if (import->len < import->size)
		return true;
	if (size > IMPORT_FILE_OCTETS) {
		kpopctl_fail("%s: longer than %zu MiB; split it", import->name, IMPORT_FILE_OCTETS >> 20);
		return false;
	}
	octets = malloc(size);
	if (octets == NULL) {
		kpopctl_fail("%s: %s", import->name, strerror(errno));
		return false;
	}
	if (import->len != 0) {
		memcpy(octets, import->octets_secret, import->len);
		explicit_bzero(import->octets_secret, import->len);
	}
	free(import->octets_secret);
	import->octets_secret = octets;
	import->size = size;
	return true;
}

static int read_file(struct import *import, const char *path)
{
	bool standard = strcmp(path, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : 1;

	import->name = standard ? "standard input" : path;
	while (got > 0) {
		if (!make_room(import)) {
			got = -2;
			break;
		}
		got = read(fd, import->octets_secret + import->len, import->size - import->len);
		if (got > 0)
			import->len += (size_t)got;
		else if (got < 0 && errno == EINTR)
			got = 1;
	}
	if (got == -1)
		kpopctl_fail("%s: %s", import->name, strerror(errno));
	if (!standard && fd >= 0)
		close(fd);
	return got < 0 ? -1 : 0;
}

/* The magic numbers of Berkeley's hash and btree, in either order of octets. */
static bool is_database(const struct import *import)
{
	static const char magics[][5] = {
	    "\x61\x15\x06\x00", "\x00\x06\x15\x61", "\x62\x31\x05\x00", "\x00\x05\x31\x62"};

	for (size_t i = 0; import->len >= 16 && i < sizeof(magics) / sizeof(magics[0]); i++)
		if (memcmp(import->octets_secret + 12, magics[i], 4) == 0)
			return true;
	return false;
}

static int find_format(struct import *import)
{
	import->format = import->options->format;
	if (is_database(import)) {
		kpopctl_fail("%s: a database; say: db5.3_dump -p %s | kpopctl user import -", import->name,
		    import->name);
		return -1;
	}
	if (import->format == IMPORT_GUESS)
		import->format = import_guess(import->octets_secret, import->len);
	if (import->format != IMPORT_GUESS && import->format != IMPORT_SASLDB &&
	    (import->options->realm != NULL || import->options->keep_realm)) {
		kpopctl_fail(
		    "%s: only a sasldb has realms; leave out --realm and --keep-realm", import->name);
		return -1;
	}
	if (import->format != IMPORT_GUESS)
		return 0;
	kpopctl_fail(
	    "%s: nothing in it, or nothing that shows its format; say --format sasldb, dovecot or htpasswd",
	    import->name);
	return -1;
}

/* ---- each user ---- */

struct seen {
	unsigned long line;
	char name[];
};

/* Users are stored by their own names, whatever they are called elsewhere. */
static void check_name(struct import *import, struct import_item *item)
{
	char user[LIMIT_USER_OCTETS + 1];
	const char *why;

	if (names_canonical(import->options->config, item->user, strlen(item->user), user, &why) != 0)
		import_wrong(item, "%s", why);
	else
		memcpy(item->user, user, sizeof(user));
}

static int compare_seen(const void *one, const void *two)
{
	return strcmp(((const struct seen *)one)->name, ((const struct seen *)two)->name);
}

static void check_once(struct import *import, struct import_item *item)
{
	size_t size = strlen(item->user) + 1;
	struct seen *seen = malloc(sizeof(*seen) + size), **found;

	if (seen == NULL) {
		import_wrong(item, "%s", strerror(errno));
		return;
	}
	seen->line = item->line;
	memcpy(seen->name, item->user, size);
	found = tsearch(seen, &import->seen, compare_seen);
	if (found != NULL && *found == seen)
		return;
	if (found == NULL)
		import_wrong(item, "%s", strerror(errno));
	else
		import_wrong(item, "is in line %lu already; remove one", (*found)->line);
	free(seen);
}

static void check_new(struct import *import, struct import_item *item)
{
	struct credentials record;
	int rc;

	if (import->secrets == NULL || import->options->replace)
		return;
	rc = secrets_get(import->secrets, item->user, &record);
	credentials_clear(&record);
	if (rc == SECRETS_OK || (rc == SECRETS_TEMP && errno == EBADMSG))
		import_wrong(item, "is a user already; say --replace, or remove the line");
	else if (rc == SECRETS_TEMP)
		import_wrong(item, "the secrets cannot be read: %s", strerror(errno));
}

/* What the file says must not speak to the terminal. */
static void complain(const struct import *import, const struct import_item *item)
{
	char text[SECRETS_USER_OCTETS + IMPORT_WHY_OCTETS + 2];

	snprintf(text, sizeof(text), "%s%s%s", item->user, item->user[0] != '\0' ? ": " : "", item->why);
	for (char *at = text; *at != '\0'; at++)
		if (iscntrl((unsigned char)*at))
			*at = '?';
	kpopctl_fail("%s:%lu: %s", import->name, item->line, text);
}

static void check(struct import *import, struct import_item *item)
{
	check_name(import, item);
	if (item->why[0] == '\0')
		check_once(import, item);
	if (item->why[0] == '\0')
		check_new(import, item);
}

typedef int item_fn(struct import *import, const struct import_item *item);

/* Looks at every item; fn gets those that can be taken. */
static int each(struct import *import, bool tell, item_fn *fn)
{
	struct import_reader reader = {.octets = import->octets_secret,
	    .len = import->len,
	    .format = import->format,
	    .realm = import->options->realm,
	    .keep_realm = import->options->keep_realm};
	struct import_item item;
	int rc = 0;

	import->taken = import->hashes = import->wrong = import->skipped = 0;
	while (rc == 0 && import_next(&reader, &item)) {
		if (item.why[0] == '\0' && !item.skipped)
			check(import, &item);
		import->skipped += item.skipped;
		import->wrong += item.why[0] != '\0';
		if (item.why[0] != '\0' && tell)
			complain(import, &item);
		if (item.why[0] == '\0' && !item.skipped) {
			import->taken++;
			import->hashes += item.record.hash[0] != '\0';
			rc = fn(import, &item);
		}
		explicit_bzero(&item, sizeof(item));
	}
	free(reader.only_realm);
	tdestroy(import->seen, free);
	import->seen = NULL;
	return rc;
}

static int ignore(struct import *import, const struct import_item *item)
{
	(void)import;
	(void)item;
	return 0;
}

/* ---- writing ---- */

static int flush(struct import *import)
{
	enum secrets_entering how = import->options->replace ? SECRETS_EITHER : SECRETS_ADD;
	struct import_batch *batch = &import->batch;
	struct secrets_entry entries[IMPORT_BATCH_COUNT];
	size_t failed = 0;
	int rc = batch->count == 0 ? SECRETS_OK : import_keys(batch, &import->forms);

	for (size_t i = 0; i < batch->count; i++)
		entries[i] = (struct secrets_entry){batch->items[i].user, &batch->items[i].record};
	if (rc == SECRETS_OK && batch->count != 0)
		rc = secrets_enter_many(import->secrets, entries, batch->count, how, &failed);
	if (rc == SECRETS_EXISTS)
		kpopctl_fail("%s was added by somebody else at this moment; the lines before %lu are done",
		    batch->items[failed].user, batch->items[0].line);
	else if (rc != SECRETS_OK)
		kpopctl_fail("%s; the lines before %lu are done: import the rest, or all with --replace",
		    strerror(errno), batch->items[0].line);
	explicit_bzero(batch->items, batch->count * sizeof(batch->items[0]));
	batch->count = 0;
	return rc;
}

static int take(struct import *import, const struct import_item *item)
{
	import->batch.items[import->batch.count++] = *item;
	return import->batch.count == IMPORT_BATCH_COUNT ? flush(import) : 0;
}

static void tell(const struct import *import)
{
	printf("%s %lu %s, %lu with SCRAM keys, %lu with a hash that serves PLAIN, LOGIN and USER only\n",
	    import->options->dry_run ? "to be imported:" : "imported:", import->taken,
	    import->taken == 1 ? "user" : "users", import->taken - import->hashes, import->hashes);
	if (import->skipped != 0)
		printf("left out: %lu other entries\n", import->skipped);
}

static int write_all(struct import *import)
{
	import->batch.items = calloc(IMPORT_BATCH_COUNT, sizeof(import->batch.items[0]));
	if (import->batch.items == NULL)
		return kpopctl_fail("%s", strerror(errno));
	if (each(import, false, take) != 0 || flush(import) != 0)
		return EXIT_FAILURE;
	if (secrets_settle(import->secrets) != SECRETS_OK)
		return kpopctl_fail("all users are in, but the last write failed: %s", strerror(errno));
	return EXIT_SUCCESS;
}

static int set_iterations(struct import *import)
{
	import->forms = import->options->forms;
	if (import->forms.iterations == 0)
		import->forms.iterations = secrets_iterations(import->secrets);
	if (import->forms.iterations == 0)
		return kpopctl_fail("the secrets cannot be read: %s", strerror(errno));
	return EXIT_SUCCESS;
}

/* Looks first and opens for writing then: a file that cannot be imported leaves no trace. */
static int work(struct import *import)
{
	int status = EXIT_SUCCESS;

	each(import, true, ignore);
	if (import->wrong != 0 && !import->options->keep_going)
		return kpopctl_fail(
		    "%lu of %lu lines cannot be taken; nothing was written (--keep-going imports "
		    "the others)",
		    import->wrong, import->wrong + import->taken);
	if (!import->options->dry_run) {
		secrets_close(&import->secrets);
		import->secrets = import->options->open(import->options->config, true);
		status = import->secrets == NULL ? EXIT_FAILURE : set_iterations(import);
		if (status == EXIT_SUCCESS)
			status = write_all(import);
	}
	if (status == EXIT_SUCCESS)
		tell(import);
	return import->wrong != 0 ? EXIT_FAILURE : status;
}

static void import_clear(struct import *import)
{
	if (import->batch.items != NULL)
		explicit_bzero(import->batch.items, IMPORT_BATCH_COUNT * sizeof(import->batch.items[0]));
	free(import->batch.items);
	if (import->octets_secret != NULL)
		explicit_bzero(import->octets_secret, import->size);
	free(import->octets_secret);
	secrets_close(&import->secrets);
}

int import_run(const char *path, const struct import_options *options)
{
	struct import import = {.options = options};
	int status = EXIT_FAILURE;

	if (read_file(&import, path) == 0 && find_format(&import) == 0) {
		import.secrets = options->open(options->config, false);
		status = work(&import);
	}
	import_clear(&import);
	return status;
}
