/* SPDX-License-Identifier: ISC */
/*
 * sorter: puts any number of items in order with a bounded amount of memory.
 *
 * For the store's own modules. Items are gathered in memory, sorted as a run when that is full, and runs lie
 * in an unlinked file in the index directory until they are merged. What fits into one run needs no file.
 * Where no file can be had (no index directory, a full disk) the run grows instead, to a bound.
 *
 * Threads: a sorter belongs to one at a time.
 */
#ifndef KPOPD_STORE_SORTER_H
#define KPOPD_STORE_SORTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SORTER_ITEM_OCTETS 1024u /* longest item */

struct index;
struct sorter;

/* Orders two items; they are aligned for any type. The first octets of an item say how long it is, to those
 * who care. */
typedef int sorter_compare_fn(const void *a, const void *b);

/* index: whose directory the file lies in; NULL: memory only. NULL: no memory. */
struct sorter *sorter_new(const struct index *index, sorter_compare_fn *compare);
void sorter_free(struct sorter **sorter);

/* Adds a copy, before the sorter is sorted. false: no room, and the sorter has failed. */
bool sorter_add(struct sorter *sorter, const void *item, size_t len);
uint32_t sorter_count(const struct sorter *sorter);
/* Ends the adding; sorter_next then begins with the first item. May be called again, to begin again. false:
 * the sorter has failed. */
bool sorter_sort(struct sorter *sorter);
/* The next item in order; it lives until the next call. NULL: no more, or the sorter has failed. */
const void *sorter_next(struct sorter *sorter);
/* Something went wrong, now or before: what it gave was not all. */
bool sorter_failed(const struct sorter *sorter);

#endif
