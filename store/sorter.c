/* SPDX-License-Identifier: ISC */
#include "sorter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "index.h"

#define RUN_OCTETS ((size_t)1 << 20)     /* memory of a run that goes to the file */
#define MEMORY_OCTETS ((size_t)64 << 20) /* of the only run, where there is no file */
#define FIRST_OCTETS ((size_t)16 << 10)
#define BUFFER_OCTETS_MIN ((size_t)4 << 10) /* of each run's reader, while they are merged */
#define BUFFER_OCTETS_MAX ((size_t)32 << 10)

/* In front of every item, in memory and in the file. */
struct item {
	uint32_t len; /* of the octets that follow, without what aligns the next */
	uint32_t spare;
};

struct run {
	off_t at, end; /* of what is not read yet */
	size_t used, len;
	uint8_t *buffer; /* len octets are there, used of them are done with */
};

struct sorter {
	const struct index *index;
	sorter_compare_fn *compare;
	bool failed, no_file;
	uint32_t count;
	/* The run in memory. */
	uint8_t *octets;
	size_t len, size;
	uint32_t *places; /* in steps of 8 octets */
	uint32_t place_count, place_size;
	uint32_t next; /* place to give next, when nothing is in the file */
	/* The runs in the file. */
	int fd;
	off_t file_len;
	struct run *runs;
	uint32_t run_count, run_size;
	uint32_t *heap; /* runs by their first item; the first is the one given last */
	uint32_t heap_count;
	bool given;
	uint8_t *buffers;
	size_t buffer_size;
};

static size_t step(size_t len)
{
	return sizeof(struct item) + (len + 7) / 8 * 8;
}

struct sorter *sorter_new(const struct index *index, sorter_compare_fn *compare)
{
	struct sorter *sorter = calloc(1, sizeof(*sorter));
	if (sorter == NULL)
		return NULL;
	sorter->index = index;
	sorter->compare = compare;
	sorter->no_file = index == NULL;
	sorter->fd = -1;
	return sorter;
}

void sorter_free(struct sorter **sorter)
{
	struct sorter *gone = *sorter;
	*sorter = NULL;
	if (gone == NULL)
		return;
	if (gone->fd >= 0)
		close(gone->fd);
	free(gone->octets);
	free(gone->places);
	free(gone->runs);
	free(gone->heap);
	free(gone->buffers);
	free(gone);
}

static bool fail(struct sorter *sorter)
{
	sorter->failed = true;
	return false;
}

static int by_compare(const void *a, const void *b, void *arg)
{
	const struct sorter *sorter = arg;
	const uint8_t *base = sorter->octets + sizeof(struct item);
	return sorter->compare(
	    base + (size_t) * (const uint32_t *)a * 8, base + (size_t) * (const uint32_t *)b * 8);
}

static void sort_memory(struct sorter *sorter)
{
	if (sorter->place_count > 1)
		qsort_r(sorter->places, sorter->place_count, sizeof(*sorter->places), by_compare, sorter);
}

static bool write_all(int fd, const uint8_t *octets, size_t len, off_t at)
{
	while (len > 0) {
		ssize_t wrote = pwrite(fd, octets, len, at);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			return false;
		octets += wrote;
		at += wrote;
		len -= (size_t)wrote;
	}
	return true;
}

/* The sorted run, item by item through a small buffer. */
static bool write_run(struct sorter *sorter)
{
	uint8_t *buffer = malloc(BUFFER_OCTETS_MAX);
	bool done = buffer != NULL;
	size_t used = 0;
	off_t at = sorter->file_len;
	for (uint32_t i = 0; done && i < sorter->place_count; i++) {
		const uint8_t *from = sorter->octets + (size_t)sorter->places[i] * 8;
		size_t len = step(((const struct item *)from)->len);
		if (used + len > BUFFER_OCTETS_MAX) {
			done = write_all(sorter->fd, buffer, used, at);
			at += (off_t)used;
			used = 0;
		}
		memcpy(buffer + used, from, len);
		used += len;
	}
	done = done && write_all(sorter->fd, buffer, used, at);
	free(buffer);
	if (!done)
		return false;
	sorter->runs[sorter->run_count++] = (struct run){.at = sorter->file_len, .end = at + (off_t)used};
	sorter->file_len = at + (off_t)used;
	return true;
}

/* Makes the run in memory one of the file's. false: there can be no file, the run must stay. */
static bool spill(struct sorter *sorter)
{
	if (sorter->no_file)
		return false;
	if (sorter->run_count == sorter->run_size) {
		uint32_t size = sorter->run_size == 0 ? 16 : sorter->run_size * 2;
		struct run *runs = reallocarray(sorter->runs, size, sizeof(*runs));
		if (runs == NULL)
			return false;
		sorter->runs = runs;
		sorter->run_size = size;
	}
	if (sorter->fd < 0)
		sorter->fd = index_spill(sorter->index);
	sort_memory(sorter);
	if (sorter->fd < 0 || !write_run(sorter)) {
		sorter->no_file = true;
		return false;
	}
	sorter->len = 0;
	sorter->place_count = 0;
	return true;
}

static bool grow(struct sorter *sorter, size_t need)
{
	size_t size = sorter->size == 0 ? FIRST_OCTETS : sorter->size;
	while (size < need)
		size *= 2;
	uint8_t *octets = realloc(sorter->octets, size);
	if (octets == NULL)
		return false;
	sorter->octets = octets;
	sorter->size = size;
	return true;
}

static bool grow_places(struct sorter *sorter)
{
	uint32_t size = sorter->place_size == 0 ? 256 : sorter->place_size * 2;
	uint32_t *places = reallocarray(sorter->places, size, sizeof(*places));
	if (places == NULL)
		return false;
	sorter->places = places;
	sorter->place_size = size;
	return true;
}

bool sorter_add(struct sorter *sorter, const void *item, size_t len)
{
	size_t need = step(len);
	if (sorter->failed || len > SORTER_ITEM_OCTETS)
		return fail(sorter);
	if (sorter->len + need > RUN_OCTETS && !spill(sorter) && sorter->len + need > MEMORY_OCTETS)
		return fail(sorter);
	if (sorter->len + need > sorter->size && !grow(sorter, sorter->len + need))
		return fail(sorter);
	if (sorter->place_count == sorter->place_size && !grow_places(sorter))
		return fail(sorter);
	struct item head = {.len = (uint32_t)len};
	uint8_t *to = sorter->octets + sorter->len;
	memcpy(to, &head, sizeof(head));
	memcpy(to + sizeof(head), item, len);
	memset(to + sizeof(head) + len, 0, need - sizeof(head) - len);
	sorter->places[sorter->place_count++] = (uint32_t)(sorter->len / 8);
	sorter->len += need;
	sorter->count++;
	return true;
}

uint32_t sorter_count(const struct sorter *sorter)
{
	return sorter->count;
}

bool sorter_failed(const struct sorter *sorter)
{
	return sorter->failed;
}

/* Has the run's next item whole in its buffer. false: the run is over, or cannot be read. */
static bool fill(struct sorter *sorter, struct run *run)
{
	size_t left = run->len - run->used;
	if (left >= sizeof(struct item)) {
		struct item head;
		memcpy(&head, run->buffer + run->used, sizeof(head));
		if (head.len > SORTER_ITEM_OCTETS)
			return fail(sorter);
		if (left >= step(head.len))
			return true;
	}
	if (run->at == run->end)
		return left == 0 ? false : fail(sorter);
	memmove(run->buffer, run->buffer + run->used, left);
	run->used = 0;
	run->len = left;
	size_t want = sorter->buffer_size - left;
	if ((off_t)want > run->end - run->at)
		want = (size_t)(run->end - run->at);
	ssize_t got;
	do
		got = pread(sorter->fd, run->buffer + left, want, run->at);
	while (got < 0 && errno == EINTR);
	if (got != (ssize_t)want)
		return fail(sorter);
	run->at += got;
	run->len += (size_t)got;
	return fill(sorter, run);
}

static const uint8_t *first(const struct sorter *sorter, uint32_t place)
{
	const struct run *run = &sorter->runs[sorter->heap[place]];
	return run->buffer + run->used + sizeof(struct item);
}

static void sink(struct sorter *sorter, uint32_t place)
{
	for (;;) {
		uint32_t least = place;
		for (uint32_t child = 2 * place + 1; child <= 2 * place + 2; child++)
			if (child < sorter->heap_count &&
			    sorter->compare(first(sorter, child), first(sorter, least)) < 0)
				least = child;
		if (least == place)
			return;
		uint32_t run = sorter->heap[place];
		sorter->heap[place] = sorter->heap[least];
		sorter->heap[least] = run;
		place = least;
	}
}

/* A buffer for each run, and all runs from their beginning. */
static bool begin_merge(struct sorter *sorter)
{
	if (sorter->buffers == NULL) {
		size_t size = RUN_OCTETS / sorter->run_count / 8 * 8;
		size = size < BUFFER_OCTETS_MIN ? BUFFER_OCTETS_MIN : size;
		sorter->buffer_size = size > BUFFER_OCTETS_MAX ? BUFFER_OCTETS_MAX : size;
		sorter->buffers = calloc(sorter->run_count, sorter->buffer_size);
		sorter->heap = calloc(sorter->run_count, sizeof(*sorter->heap));
		if (sorter->buffers == NULL || sorter->heap == NULL)
			return fail(sorter);
	}
	off_t at = 0;
	sorter->heap_count = 0;
	sorter->given = false;
	for (uint32_t i = 0; i < sorter->run_count; i++) {
		struct run *run = &sorter->runs[i];
		run->at = at;
		run->used = run->len = 0;
		run->buffer = sorter->buffers + i * sorter->buffer_size;
		at = run->end;
		if (fill(sorter, run))
			sorter->heap[sorter->heap_count++] = i;
	}
	for (uint32_t i = sorter->heap_count; i-- > 0;)
		sink(sorter, i);
	return !sorter->failed;
}

/* Once there is a file everything goes there: the last run's memory is better used for buffers. */
bool sorter_sort(struct sorter *sorter)
{
	sorter->next = 0;
	if (sorter->failed)
		return false;
	if (sorter->run_count == 0) {
		sort_memory(sorter);
		return true;
	}
	if (sorter->place_count > 0 && !spill(sorter))
		return fail(sorter);
	free(sorter->octets);
	free(sorter->places);
	sorter->octets = NULL;
	sorter->places = NULL;
	sorter->size = sorter->place_size = 0;
	return begin_merge(sorter);
}

static const void *next_merged(struct sorter *sorter)
{
	if (sorter->given) {
		struct run *run = &sorter->runs[sorter->heap[0]];
		struct item head;
		memcpy(&head, run->buffer + run->used, sizeof(head));
		run->used += step(head.len);
		if (!fill(sorter, run))
			sorter->heap[0] = sorter->heap[--sorter->heap_count];
		sink(sorter, 0);
	}
	sorter->given = sorter->heap_count > 0 && !sorter->failed;
	return sorter->given ? first(sorter, 0) : NULL;
}

const void *sorter_next(struct sorter *sorter)
{
	if (sorter->failed)
		return NULL;
	if (sorter->run_count > 0)
		return next_merged(sorter);
	if (sorter->next == sorter->place_count)
		return NULL;
	return sorter->octets + (size_t)sorter->places[sorter->next++] * 8 + sizeof(struct item);
}
