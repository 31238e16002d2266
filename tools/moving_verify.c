/* SPDX-License-Identifier: ISC */
/*
 * Comparing an old server with this one, message by message, as a client would see them.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/limits.h"
#include "tools/kpopctl.h"
#include "tools/moving.h"
#include "tools/progress.h"
#include "tools/side.h"

#define SHOWN_COUNT 20u /* of each kind of difference; all are counted */

enum difference { MISSING = 0, EXTRA, TWICE, UNNAMED, CONTENT, ORDER, SIZE, DIFFERENCES };

static const struct {
	const char *what;
	bool harmless;
} differences[DIFFERENCES] = {
    [MISSING] = {"on the old server only", false},
    [EXTRA] = {"here only", false},
    [TWICE] = {"UIDL twice on one server", false},
    [UNNAMED] = {"without a sound UIDL", false},
    [CONTENT] = {"another content under the same UIDL", false},
    [ORDER] = {"in another order", false},
    [SIZE] = {"listed with another size (servers count line ends in different ways)", true},
};

/* The messages of a side by UIDL. */
struct sorted {
	uint32_t *places;
	uint32_t count;
	const struct side *side;
};

struct verification {
	const struct moving_options *options;
	struct side old, new;
	struct sorted old_sorted, new_sorted;
	uint32_t common, looked_at;
	unsigned long counts[DIFFERENCES];
};

static void differ(struct verification *verification, enum difference what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void differ(struct verification *verification, enum difference what, const char *format, ...)
{
	char text[1024];
	va_list args;

	if (verification->counts[what]++ >= SHOWN_COUNT)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	progress_end();
	printf("%s: %s\n", differences[what].what, moving_printable(text));
}

static int by_uidl(const void *one, const void *two, void *arg)
{
	const struct side *side = arg;
	uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)two;
	int order = strcmp(side->messages[a].uidl, side->messages[b].uidl);

	return order != 0 ? order : (a > b) - (a < b);
}

/* Leaves out, and tells, what has no UIDL of its own. */
static int sort(
    struct verification *verification, struct side *side, const char *where, struct sorted *sorted_r)
{
	uint32_t kept = 0;

	*sorted_r =
	    (struct sorted){.side = side, .places = calloc((size_t)side->count + 1, sizeof(uint32_t))};
	if (sorted_r->places == NULL)
		return kpopctl_fail("%s", strerror(errno));
	for (uint32_t i = 0; i < side->count; i++) {
		if (side->messages[i].uidl == NULL)
			differ(verification, UNNAMED, "%s, message %u", where,
			    (unsigned)side->messages[i].number);
		else
			sorted_r->places[sorted_r->count++] = i;
	}
	qsort_r(sorted_r->places, sorted_r->count, sizeof(uint32_t), by_uidl, side);
	for (uint32_t i = 0; i < sorted_r->count; i++) {
		const struct side_message *message = &side->messages[sorted_r->places[i]];
		if (kept > 0 && strcmp(message->uidl, side->messages[sorted_r->places[kept - 1]].uidl) == 0)
			differ(verification, TWICE, "%s, message %u: %s", where, (unsigned)message->number,
			    message->uidl);
		else
			sorted_r->places[kept++] = sorted_r->places[i];
	}
	sorted_r->count = kept;
	return EXIT_SUCCESS;
}

static void tell_one(
    struct verification *verification, enum difference what, const struct side_message *message)
{
	differ(verification, what, "message %u: %s%s%s", (unsigned)message->number, message->uidl,
	    message->name != NULL ? ", " : "", message->name != NULL ? message->name : "");
}

/* Fills pairs: by place on the old side, the place on the new one, or UINT32_MAX. */
static void pair(struct verification *verification, uint32_t *pairs)
{
	const struct sorted *old = &verification->old_sorted, *new = &verification->new_sorted;
	uint32_t o = 0, n = 0;

	memset(pairs, 0xff, (size_t)verification->old.count * sizeof(*pairs));
	while (o < old->count || n < new->count) {
		const struct side_message *there =
		    o < old->count ? &old->side->messages[old->places[o]] : NULL;
		const struct side_message *here =
		    n < new->count ? &new->side->messages[new->places[n]] : NULL;
		int order = there == NULL ? 1 : here == NULL ? -1 : strcmp(there->uidl, here->uidl);

		if (order < 0)
			tell_one(verification, MISSING, there);
		else if (order > 0)
			tell_one(verification, EXTRA, here);
		else
			pairs[old->places[o]] = new->places[n];
		verification->common += order == 0;
		o += order <= 0;
		n += order >= 0;
	}
}

/* What both have, in the old order: here each must come behind all before it. */
static void compare_order(struct verification *verification, const uint32_t *pairs)
{
	uint32_t last = 0;
	bool any = false;

	for (uint32_t i = 0; i < verification->old.count; i++) {
		const struct side_message *message = &verification->old.messages[i];

		if (pairs[i] == UINT32_MAX)
			continue;
		if (any && pairs[i] < last)
			differ(verification, ORDER, "%s: message %u there, %u here", message->uidl,
			    (unsigned)message->number, (unsigned)verification->new.messages[pairs[i]].number);
		else
			last = pairs[i];
		any = true;
	}
}

static int compare_content(struct verification *verification, uint32_t old, uint32_t new)
{
	struct likeness there, here;
	const struct moving_options *options = verification->options;
	const struct side_message *message = &verification->old.messages[old];

	if (side_look(&verification->old, old, LIKENESS_LOOSE, options->body_lines, &there) != 0)
		return moving_fail(&verification->old);
	if (side_look(&verification->new, new, LIKENESS_LOOSE, options->body_lines, &here) != 0)
		return moving_fail(&verification->new);
	verification->looked_at++;
	if (memcmp(there.whole, here.whole, LIKENESS_OCTETS) != 0)
		differ(verification, CONTENT, "%s: message %u there, %u here", message->uidl,
		    (unsigned)message->number, (unsigned)verification->new.messages[new].number);
	return EXIT_SUCCESS;
}

static int compare_messages(struct verification *verification, const uint32_t *pairs)
{
	int status = EXIT_SUCCESS;

	for (uint32_t i = 0; status == EXIT_SUCCESS && i < verification->old.count; i++) {
		const struct side_message *there = &verification->old.messages[i];

		if (pairs[i] == UINT32_MAX)
			continue;
		const struct side_message *here = &verification->new.messages[pairs[i]];
		if (there->octets != here->octets)
			differ(verification, SIZE, "%s: %llu octets there, %llu here", there->uidl,
			    (unsigned long long)there->octets, (unsigned long long)here->octets);
		if (!verification->options->list_only)
			status = compare_content(verification, i, pairs[i]);
		progress("messages compared", i, verification->old.count);
	}
	progress_end();
	return status;
}

/* The last line is for whoever reads no other. */
static int conclude(const struct verification *verification, const char *user)
{
	const struct moving_options *options = verification->options;
	unsigned long harmful = 0;

	for (int what = 0; what < DIFFERENCES; what++) {
		unsigned long count = verification->counts[what];
		if (count > SHOWN_COUNT)
			printf("%s: %lu in all\n", differences[what].what, count);
		harmful += differences[what].harmless ? 0 : count;
	}
	printf("%s: %u messages there, %u here, %u of them with the same UIDL, %u compared %s\n", user,
	    (unsigned)verification->old.count, (unsigned)verification->new.count,
	    (unsigned)verification->common, (unsigned)verification->looked_at,
	    options->body_lines == LIKENESS_WHOLE ? "as a whole" : "by their header and first lines");
	if (harmful > 0)
		printf("NOT SAFE to cut over %s: %lu differences\n", user, harmful);
	else
		printf("safe to cut over %s\n", user);
	return harmful > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int compare(struct verification *verification, const char *user)
{
	uint32_t *pairs = calloc((size_t)verification->old.count + 1, sizeof(*pairs));
	int status = pairs == NULL ? kpopctl_fail("%s", strerror(errno)) : EXIT_SUCCESS;

	if (status == EXIT_SUCCESS)
		status = sort(verification, &verification->old, "the old server", &verification->old_sorted);
	if (status == EXIT_SUCCESS)
		status = sort(verification, &verification->new, "here", &verification->new_sorted);
	if (status == EXIT_SUCCESS) {
		pair(verification, pairs);
		compare_order(verification, pairs);
		status = compare_messages(verification, pairs);
	}
	if (status == EXIT_SUCCESS)
		status = conclude(verification, user);
	else
		printf("NOT SAFE to cut over %s: they could not be compared\n", user);
	free(verification->old_sorted.places);
	free(verification->new_sorted.places);
	free(pairs);
	return status;
}

static int open_old(struct verification *verification, const char *user)
{
	char login[2 * LIMIT_USER_OCTETS];
	struct remote_options remote;

	if (moving_login(&verification->options->there, user, login, sizeof(login), &remote) != 0)
		return EXIT_FAILURE;
	if (side_open_remote(&remote, &verification->old) != 0)
		return moving_fail(&verification->old);
	return EXIT_SUCCESS;
}

static int open_new(struct verification *verification, const struct mailuser *mailuser)
{
	const struct moving_options *options = verification->options;
	struct remote_options new = options->there, remote;
	char login[2 * LIMIT_USER_OCTETS];
	int rc;

	if (options->new_url == NULL) {
		rc = side_open_here(mailuser, &verification->new);
	} else {
		new.url = options->new_url;
		new.login = options->new_login != NULL ? options->new_login : new.login;
		new.secret = options->new_secret != NULL ? options->new_secret : new.secret;
		if (moving_login(&new, mailuser->user, login, sizeof(login), &remote) != 0)
			return EXIT_FAILURE;
		rc = side_open_remote(&remote, &verification->new);
	}
	return rc == 0 ? EXIT_SUCCESS : moving_fail(&verification->new);
}

static int run(void *arg, const struct mailuser *mailuser)
{
	struct verification verification = {.options = arg};
	int status = open_old(&verification, mailuser->user);

	if (status == EXIT_SUCCESS)
		status = open_new(&verification, mailuser);
	if (status == EXIT_SUCCESS)
		status = compare(&verification, mailuser->user);
	else
		printf("NOT SAFE to cut over %s: they could not be compared\n", mailuser->user);
	side_close(&verification.old);
	side_close(&verification.new);
	return moving_flushed(status);
}

int moving_verify(const struct config *config, const struct moving_options *options, const char *user)
{
	int got = mailuser_run(config, user, run, (void *)(uintptr_t)options);

	if (got < 0)
		printf("NOT SAFE to cut over %s: they could not be compared\n", user);
	return moving_status(got);
}
