/* SPDX-License-Identifier: ISC */
#include "changes.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH_COUNT 1000u    /* of scattered records: at most so many pages of 4 KiB in memory */
#define FORGET_COUNT 10000u  /* in a row */
#define PAUSE_NSECS 2500000L /* longer than a writer that waits takes to look again */

struct changes {
	struct changes_config config;
	bool failed, partly; /* partly: something is written, and the maildrop unfinished */
	bool forgotten;
	struct timespec wrote_at;
	size_t put_count, gone_count;
	struct record records[BATCH_COUNT];
	const struct record *puts[BATCH_COUNT];
	uint32_t gone[BATCH_COUNT];
	char texts[BATCH_COUNT][RECORD_NAME_OCTETS + MAILDROP_UIDL_OCTETS];
};

struct changes *changes_begin(const struct changes_config *config)
{
	struct changes *changes = calloc(1, sizeof(*changes));
	if (changes == NULL)
		return NULL;
	changes->config = *config;
	changes->forgotten = !config->fresh;
	return changes;
}

void changes_free(struct changes **changes)
{
	free(*changes);
	*changes = NULL;
}

/* Others get their turn even when there is nothing to measure between two transactions. */
static void breathe(const struct timespec *since)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NSECS};
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec - since->tv_sec <= 1 &&
	    (now.tv_sec - since->tv_sec) * 1000000000L + now.tv_nsec - since->tv_nsec < PAUSE_NSECS)
		nanosleep(&pause, NULL);
}

static bool update(struct changes *changes, const struct index_update *update)
{
	if (changes->failed)
		return false;
	if (changes->partly)
		breathe(&changes->wrote_at);
	changes->partly = true;
	changes->failed = index_update(changes->config.env, update) != INDEX_OK;
	clock_gettime(CLOCK_MONOTONIC, &changes->wrote_at);
	return !changes->failed;
}

/* The old generation goes; all but the last of it in transactions of their own. */
static bool forget(struct changes *changes)
{
	struct drop drop = changes->config.unfinished;
	bool left = true;
	drop.state = DROP_FORGOTTEN;
	drop.trusted = false;
	const struct index_update some = {
	    .user = changes->config.user, .forget = FORGET_COUNT, .left_r = &left, .drop = &drop};
	while (left)
		if (!update(changes, &some))
			return false;
	changes->forgotten = true;
	/* Most often there was little to forget, and what follows is the first of its kind. */
	changes->partly = false;
	return true;
}

/* drop: as it is after this; NULL: unfinished. */
static bool write_out(struct changes *changes, const struct drop *drop)
{
	struct drop unfinished = changes->config.unfinished;
	unfinished.state = DROP_UNFINISHED;
	unfinished.trusted = false;
	if (!changes->forgotten && !forget(changes))
		return false;
	const struct index_update all = {.user = changes->config.user,
	    .drop = drop != NULL ? drop : &unfinished,
	    .puts = changes->puts,
	    .put_count = changes->put_count,
	    .only_known = changes->config.follow,
	    .gone = changes->gone,
	    .gone_count = changes->gone_count,
	    .epoch = changes->config.epoch};
	bool done = update(changes, &all);
	changes->put_count = changes->gone_count = 0;
	return done;
}

bool changes_put(struct changes *changes, const struct record *record)
{
	if (changes->put_count == BATCH_COUNT && !write_out(changes, NULL))
		return false;
	size_t i = changes->put_count++;
	char *text = changes->texts[i];
	changes->records[i] = *record;
	changes->records[i].name = memcpy(text, record->name, record->name_len);
	changes->records[i].uidl = text + record->name_len;
	if (record->uidl_len > 0)
		memcpy(text + record->name_len, record->uidl, record->uidl_len);
	changes->puts[i] = &changes->records[i];
	return !changes->failed;
}

bool changes_gone(struct changes *changes, uint32_t uid)
{
	if (changes->gone_count == BATCH_COUNT && !write_out(changes, NULL))
		return false;
	changes->gone[changes->gone_count++] = uid;
	return !changes->failed;
}

bool changes_end(struct changes *changes, const struct drop *drop)
{
	return write_out(changes, drop);
}

bool changes_any(const struct changes *changes)
{
	return changes->put_count > 0 || changes->gone_count > 0 || changes->wrote_at.tv_sec != 0;
}
