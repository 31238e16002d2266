/* SPDX-License-Identifier: ISC */
#include "tools/claims.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/progress.h"

#define WHY_OCTETS 512u

void claims_clear(struct claims *claims)
{
	for (size_t i = 0; i < claims->count; i++) {
		free(claims->list[i].uidl);
		free(claims->list[i].key);
		free(claims->list[i].why);
	}
	free(claims->list);
	free(claims->of);
	*claims = (struct claims){0};
}

void claims_wrong(struct claims *claims, struct claim *claim, const char *format, ...)
{
	char text[WHY_OCTETS];
	va_list args;

	if (claim->why != NULL)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	claim->why = strdup(text);
	claims->failed = claims->failed || claim->why == NULL;
}

static bool copy_text(const char *text, char **copy_r)
{
	*copy_r = text[0] != '\0' ? strdup(text) : NULL;
	return text[0] == '\0' || *copy_r != NULL;
}

void claims_add(struct claims *claims, const struct source_item *item)
{
	size_t count = claims->count;
	struct claim claim = {.line = item->line,
	    .order = item->order,
	    .octets = item->octets,
	    .kind = item->kind,
	    .idx = CLAIM_NOWHERE};

	if (claims->failed || count == CLAIMS_COUNT) {
		claims->failed = true;
		return;
	}
	if ((count & (count - 1)) == 0) {
		struct claim *list = reallocarray(claims->list, count == 0 ? 1 : 2 * count, sizeof(*list));
		if (list == NULL) {
			claims->failed = true;
			return;
		}
		claims->list = list;
	}
	if (!copy_text(item->uidl, &claim.uidl) || !copy_text(item->key, &claim.key) ||
	    !copy_text(item->why, &claim.why))
		claims->failed = true;
	claims->list[claims->count++] = claim;
}

static int by_order(const void *one, const void *two)
{
	const struct claim *a = one, *b = two;

	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	return (a->line > b->line) - (a->line < b->line);
}

void claims_sort(struct claims *claims)
{
	if (claims->count > 1)
		qsort(claims->list, claims->count, sizeof(struct claim), by_order);
}

/* ---- matching ---- */

/* A message here by its key. */
struct known {
	char *key;
	uint32_t idx;
	uint32_t used; /* of the first of its key: how many of them have been given away */
};

static int by_key(const void *one, const void *two)
{
	const struct known *a = one, *b = two;
	int order = strcmp(a->key, b->key);

	return order != 0 ? order : (a->idx > b->idx) - (a->idx < b->idx);
}

static char *key_of(const struct likeness *likeness, enum source_key kind)
{
	char text[2 * LIKENESS_OCTETS + 1];

	if (kind == SOURCE_SHA1)
		likeness_hex(likeness->sha1, sizeof(likeness->sha1), text);
	else
		likeness_hex(
		    kind == SOURCE_SHA256 ? likeness->sha256 : likeness->whole, LIKENESS_OCTETS, text);
	return strdup(text);
}

static void known_free(struct known *known, uint32_t count)
{
	for (uint32_t i = 0; known != NULL && i < count; i++)
		free(known[i].key);
	free(known);
}

/* All messages here by keys of one kind, sorted. NULL: here->why. */
static struct known *know(struct side *here, enum source_key kind)
{
	static const unsigned which[] = {[SOURCE_SHA256] = LIKENESS_SHA256,
	    [SOURCE_SHA1] = LIKENESS_SHA1,
	    [SOURCE_ALIKE] = LIKENESS_LOOSE};
	struct known *known = calloc((size_t)here->count + 1, sizeof(*known));
	struct likeness likeness;
	bool failed = known == NULL;

	for (uint32_t i = 0; !failed && i < here->count; i++) {
		known[i].idx = i;
		if (kind == SOURCE_NAME) {
			known[i].key = strdup(here->messages[i].name);
		} else {
			progress("messages read", i, here->count);
			if (side_look(here, i, which[kind], LIKENESS_WHOLE, &likeness) != 0) {
				known_free(known, here->count);
				return NULL;
			}
			known[i].key = key_of(&likeness, kind);
		}
		failed = known[i].key == NULL;
	}
	if (failed) {
		known_free(known, here->count);
		side_fail(here, "no memory");
		return NULL;
	}
	qsort(known, here->count, sizeof(*known), by_key);
	return known;
}

/* The first of its key; NULL: there is none. */
static struct known *find(struct known *known, uint32_t count, const char *key)
{
	uint32_t from = 0, to = count;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;
		if (strcmp(known[middle].key, key) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from < count && strcmp(known[from].key, key) == 0 ? &known[from] : NULL;
}

static void match_one(struct claims *claims, struct claim *claim, struct known *known, uint32_t count)
{
	struct known *end = known + count, *first = find(known, count, claim->key), *at;

	if (first == NULL) {
		claims_wrong(claims, claim,
		    claim->kind == SOURCE_NAME ? "there is no such message here"
					       : "there is no message of this content here");
		return;
	}
	if (claim->kind == SOURCE_NAME && first + 1 < end && strcmp(first[1].key, claim->key) == 0) {
		claims_wrong(claims, claim, "there are several messages with this name here");
		return;
	}
	at = first + first->used;
	if (at >= end || strcmp(at->key, claim->key) != 0) {
		claims_wrong(claims, claim, "another line is of the same message");
		return;
	}
	first->used++;
	claim->idx = at->idx;
}

int claims_match(struct claims *claims, struct side *here)
{
	for (int kind = SOURCE_NAME; kind <= SOURCE_ALIKE; kind++) {
		struct known *known = NULL;

		for (size_t i = 0; i < claims->count; i++) {
			struct claim *claim = &claims->list[i];

			if (claim->kind != (enum source_key)kind || claim->key == NULL ||
			    claim->idx != CLAIM_NOWHERE)
				continue;
			if (known == NULL)
				known = know(here, (enum source_key)kind);
			if (known == NULL)
				return -1;
			match_one(claims, claim, known, here->count);
		}
		known_free(known, here->count);
	}
	progress_end();
	return 0;
}

/* ---- judging ---- */

static int by_uidl(const void *one, const void *two)
{
	const struct claim *a = *(struct claim *const *)one, *b = *(struct claim *const *)two;
	int order = strcmp(a->uidl, b->uidl);

	return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static struct claim **sort_uidls(struct claims *claims, size_t *count_r)
{
	struct claim **sorted = calloc(claims->count + 1, sizeof(struct claim *));

	*count_r = 0;
	for (size_t i = 0; sorted != NULL && i < claims->count; i++)
		if (claims->list[i].uidl != NULL)
			sorted[(*count_r)++] = &claims->list[i];
	if (*count_r > 1)
		qsort(sorted, *count_r, sizeof(struct claim *), by_uidl);
	return sorted;
}

static int compare_uidl(const void *key, const void *member)
{
	return strcmp(key, (*(struct claim *const *)member)->uidl);
}

/* A message that keeps its UIDL keeps it from all claims. */
static void look_for_collisions(
    struct claims *claims, const struct side *here, struct claim **sorted, size_t count)
{
	for (uint32_t i = 0; i < here->count; i++) {
		struct claim **found;

		if (claims->of[i] != CLAIM_NOWHERE)
			continue;
		found = bsearch(here->messages[i].uidl, sorted, count, sizeof(struct claim *), compare_uidl);
		if (found != NULL)
			claims_wrong(claims, *found, "its UIDL is already that of another message here, %s",
			    here->messages[i].name);
	}
}

void claims_judge(struct claims *claims, const struct side *here)
{
	size_t count;
	struct claim **sorted = sort_uidls(claims, &count);

	claims->of = malloc(((size_t)here->count + 1) * sizeof(*claims->of));
	claims->failed = claims->failed || sorted == NULL || claims->of == NULL;
	if (claims->failed) {
		free(sorted);
		return;
	}
	for (size_t i = 1; i < count; i++)
		if (strcmp(sorted[i]->uidl, sorted[i - 1]->uidl) == 0) {
			claims_wrong(claims, sorted[i], "its UIDL is also that of %lu", sorted[i - 1]->line);
			claims_wrong(claims, sorted[i - 1], "its UIDL is also that of %lu", sorted[i]->line);
		}
	memset(claims->of, 0xff, (size_t)here->count * sizeof(*claims->of));
	claims->lonely = here->count;
	for (size_t i = 0; i < claims->count; i++)
		if (claims->list[i].idx != CLAIM_NOWHERE && claims->list[i].why == NULL) {
			claims->of[claims->list[i].idx] = (uint32_t)i;
			claims->lonely--;
		}
	look_for_collisions(claims, here, sorted, count);
	for (size_t i = 0; i < claims->count; i++)
		claims->wrong += claims->list[i].why != NULL;
	free(sorted);
}
