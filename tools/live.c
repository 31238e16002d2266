/* SPDX-License-Identifier: ISC */
#include "tools/live.h"

#include <stdlib.h>
#include <string.h>

#include "tools/progress.h"

/* A message by its digests. */
struct seen {
	uint8_t head[LIKENESS_OCTETS], whole[LIKENESS_OCTETS];
	uint64_t octets, lines;
	uint32_t i;
	uint32_t used; /* of the first of equal ones: how many of them have been given away */
};

static int by_head(const void *one, const void *two)
{
	const struct seen *a = one, *b = two;
	int order = memcmp(a->head, b->head, sizeof(a->head));

	/* Equal copies lie together. Of what is there, this is of the header, and so the same. */
	if (order == 0)
		order = memcmp(a->whole, b->whole, sizeof(a->whole));
	return order != 0 ? order : (a->i > b->i) - (a->i < b->i);
}

/* All of a side, sorted by header. What is here is read whole at once; of what is there, the header. */
static struct seen *look_at_all(struct side *side, uint32_t body_lines)
{
	struct seen *seen = calloc((size_t)side->count + 1, sizeof(*seen));
	struct likeness likeness;

	if (seen == NULL) {
		side_fail(side, "no memory");
		return NULL;
	}
	for (uint32_t i = 0; i < side->count; i++) {
		progress(side->remote != NULL ? "headers fetched" : "messages read", i, side->count);
		if (side_look(side, i, LIKENESS_LOOSE, body_lines, &likeness) != 0) {
			free(seen);
			return NULL;
		}
		memcpy(seen[i].head, likeness.head, LIKENESS_OCTETS);
		memcpy(seen[i].whole, likeness.whole, LIKENESS_OCTETS);
		seen[i].lines = likeness.lines;
		seen[i].octets = side->messages[i].octets;
		seen[i].i = i;
	}
	progress_end();
	qsort(seen, side->count, sizeof(*seen), by_head);
	return seen;
}

static uint32_t same_header(const struct seen *seen, uint32_t count, uint32_t from)
{
	uint32_t to = from;

	while (to < count && memcmp(seen[to].head, seen[from].head, LIKENESS_OCTETS) == 0)
		to++;
	return to - from;
}

/* As RFC 1939 counts, or with a line's end as one octet, or as the file is stored. */
static bool size_explained(const struct seen *there, const struct seen *mine, const struct side *here)
{
	return there->octets == mine->octets || there->octets == mine->octets - mine->lines ||
	       there->octets == here->messages[mine->i].stored;
}

struct matching {
	struct side *there, *here;
	struct claims *claims; /* as there->messages */
	struct live_counts *counts;
};

static void settle(struct matching *matching, const struct seen *there, const struct seen *mine)
{
	matching->claims->list[there->i].idx = mine->i;
}

/* The first of the group with this content, and how many there are. */
static struct seen *same_content(struct seen *group, uint32_t count, const uint8_t *whole, uint32_t *equal_r)
{
	uint32_t from = 0, to = count;

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;
		if (memcmp(group[middle].whole, whole, LIKENESS_OCTETS) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	for (to = from; to < count && memcmp(group[to].whole, whole, LIKENESS_OCTETS) == 0;)
		to++;
	*equal_r = to - from;
	return group + from;
}

/* By all of the message. Equal copies stand for each other, in order. */
static int match_by_content(struct matching *matching, struct seen *there, struct seen *here, uint32_t count)
{
	struct claim *claim = &matching->claims->list[there->i];
	struct likeness likeness;
	uint32_t equal;

	if (side_look(matching->there, there->i, LIKENESS_LOOSE, LIKENESS_WHOLE, &likeness) != 0)
		return -1;
	struct seen *first = same_content(here, count, likeness.whole, &equal);
	if (equal == 0 || first->used == equal) {
		claims_wrong(matching->claims, claim,
		    equal > 0 ? "there are fewer copies of this message here"
			      : "a message here has this header, but another content");
		return 0;
	}
	settle(matching, there, first + first->used++);
	matching->counts->by_content++;
	matching->counts->copies += equal > 1;
	return 0;
}

static int match_group(struct matching *matching, struct seen *there, uint32_t there_count, struct seen *here,
    uint32_t here_count)
{
	if (there_count == 1 && here_count == 1 && size_explained(there, here, matching->here)) {
		settle(matching, there, here);
		matching->counts->by_header++;
		return 0;
	}
	for (uint32_t i = 0; i < there_count; i++)
		if (match_by_content(matching, &there[i], here, here_count) != 0)
			return -1;
	return 0;
}

/* Walks both, sorted by header, side by side. */
static int match_all(struct matching *matching, struct seen *there, struct seen *here)
{
	uint32_t t = 0, h = 0, there_count = matching->there->count, here_count = matching->here->count;

	while (t < there_count) {
		uint32_t count = same_header(there, there_count, t);

		progress("messages matched", t, there_count);
		while (h < here_count && memcmp(here[h].head, there[t].head, LIKENESS_OCTETS) < 0)
			h++;
		uint32_t mine = h < here_count && memcmp(here[h].head, there[t].head, LIKENESS_OCTETS) == 0
				    ? same_header(here, here_count, h)
				    : 0;
		for (uint32_t i = 0; mine == 0 && i < count; i++)
			claims_wrong(matching->claims, &matching->claims->list[there[t + i].i],
			    "there is no message with this header here");
		if (mine > 0 && match_group(matching, &there[t], count, &here[h], mine) != 0)
			return -1;
		t += count;
	}
	progress_end();
	return 0;
}

static void claim_all(const struct side *there, struct claims *claims)
{
	for (uint32_t i = 0; i < there->count; i++) {
		const struct side_message *message = &there->messages[i];
		struct source_item item = {
		    .line = message->number, .order = message->number, .octets = message->octets};

		if (message->uidl != NULL)
			strcpy(item.uidl, message->uidl);
		else
			strcpy(item.why, "that server gives it no sound UIDL");
		claims_add(claims, &item);
	}
}

int live_match(struct side *there, struct side *here, struct claims *claims, struct live_counts *counts_r,
    struct side **failed_r)
{
	struct matching matching = {there, here, claims, counts_r};
	struct seen *far = NULL, *near = NULL;
	int rc = -1;

	*counts_r = (struct live_counts){0};
	*failed_r = there;
	claim_all(there, claims);
	if (claims->failed) {
		side_fail(there, "no memory");
		return -1;
	}
	far = look_at_all(there, 0);
	if (far != NULL) {
		*failed_r = here;
		near = look_at_all(here, LIKENESS_WHOLE);
	}
	if (near != NULL) {
		*failed_r = there;
		rc = match_all(&matching, far, near);
	}
	free(far);
	free(near);
	return rc;
}
