/* SPDX-License-Identifier: ISC */
/*
 * item: a message's record as an item of a sorter.
 */
#ifndef KPOPD_STORE_ITEM_H
#define KPOPD_STORE_ITEM_H

#include <stdbool.h>
#include <stdint.h>

#include "record.h"
#include "sorter.h"

/* order: the place of an adopted message, or 0. false: as sorter_add. */
bool item_add(struct sorter *sorter, const struct record *record, uint32_t order);
/* The record's views point into the item. */
void item_read(const void *item, struct record *record_r);

/* By unique part, then inode, part and name. */
int item_by_unique(const void *a, const void *b);
/* Adopted ones first, in their order; then as they lie in a file; then by the time in the name, and the name.
 */
int item_by_arrival(const void *a, const void *b);
/* Orders the unique parts of two names. */
int item_compare_unique(const struct record *a, const struct record *b);

#endif
