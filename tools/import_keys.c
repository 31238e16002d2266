/* SPDX-License-Identifier: ISC */
#include "tools/import_keys.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#define THREADS_COUNT 32

/* One thread's part: every stride-th item. */
struct part {
	struct import_batch *batch;
	const struct secrets_forms *forms;
	size_t first, stride;
	int rc;
};

static void *make_part(void *arg)
{
	struct part *part = arg;

	for (size_t i = part->first; i < part->batch->count && part->rc == SECRETS_OK; i += part->stride) {
		struct import_item *item = &part->batch->items[i];

		if (item->password_secret[0] != '\0')
			part->rc = credentials_make(&item->record, item->password_secret, part->forms);
	}
	return NULL;
}

int import_keys(struct import_batch *batch, const struct secrets_forms *forms)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	size_t count = processors < 1 ? 1 : processors > THREADS_COUNT ? THREADS_COUNT : (size_t)processors;
	struct part parts[THREADS_COUNT];
	pthread_t threads[THREADS_COUNT];
	bool running[THREADS_COUNT] = {false};
	int rc = SECRETS_OK;

	for (size_t i = 0; i < count; i++)
		parts[i] = (struct part){batch, forms, i, count, SECRETS_OK};
	/* The first part is ours, and whichever no thread could be had for. */
	for (size_t i = 1; i < count; i++)
		running[i] = pthread_create(&threads[i], NULL, make_part, &parts[i]) == 0;
	for (size_t i = 0; i < count; i++)
		if (!running[i])
			make_part(&parts[i]);
	for (size_t i = 0; i < count; i++) {
		if (running[i])
			pthread_join(threads[i], NULL);
		if (parts[i].rc != SECRETS_OK)
			rc = parts[i].rc;
	}
	if (rc != SECRETS_OK)
		errno = EIO;
	return rc;
}
