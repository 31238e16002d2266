/* SPDX-License-Identifier: ISC */
#include "item.h"

#include <string.h>

#include "uidl.h"

/* Then the rest when there is one, the name, the UIDL. */
struct head {
	uint64_t inode, offset;
	uint32_t uid, order;
	uint8_t part, flags, name_len, unique_len, uidl_len, shared, whole, stale;
};

struct rest {
	uint64_t octets, length;
	int64_t mtime_nsecs;
	uint8_t digest[CONTENT_DIGEST_OCTETS];
};

bool item_add(struct sorter *sorter, const struct record *record, uint32_t order)
{
	/* Of what was only seen in a directory there is no more than a name. */
	bool whole = record->octets > 0 || digest_known(record->digest);
	uint8_t item[sizeof(struct head) + sizeof(struct rest) + RECORD_NAME_OCTETS + MAILDROP_UIDL_OCTETS];
	const struct head head = {
	    .inode = record->inode,
	    .offset = record->offset,
	    .uid = record->uid,
	    .order = order,
	    .part = record->part,
	    .flags = record->flags,
	    .name_len = record->name_len,
	    .unique_len = record->unique_len,
	    .uidl_len = record->uidl_len,
	    .shared = record->shared,
	    .whole = whole,
	    .stale = record->stale,
	};
	size_t len = sizeof(head);
	memcpy(item, &head, sizeof(head));
	if (whole) {
		struct rest rest = {
		    .octets = record->octets, .length = record->length, .mtime_nsecs = record->mtime_nsecs};
		memcpy(rest.digest, record->digest, CONTENT_DIGEST_OCTETS);
		memcpy(item + len, &rest, sizeof(rest));
		len += sizeof(rest);
	}
	memcpy(item + len, record->name, record->name_len);
	len += record->name_len;
	if (record->uidl_len > 0)
		memcpy(item + len, record->uidl, record->uidl_len);
	return sorter_add(sorter, item, len + record->uidl_len);
}

static const char *name_of(const struct head *head)
{
	return (const char *)(head + 1) + (head->whole ? sizeof(struct rest) : 0);
}

void item_read(const void *item, struct record *record_r)
{
	const struct head *head = item;
	*record_r = (struct record){
	    .inode = head->inode,
	    .offset = head->offset,
	    .uid = head->uid,
	    .part = head->part,
	    .flags = head->flags,
	    .name_len = head->name_len,
	    .unique_len = head->unique_len,
	    .uidl_len = head->uidl_len,
	    .shared = head->shared != 0,
	    .stale = head->stale != 0,
	    .name = name_of(head),
	    .uidl = name_of(head) + head->name_len,
	};
	if (head->whole) {
		const struct rest *rest = (const struct rest *)(head + 1);
		record_r->octets = rest->octets;
		record_r->length = rest->length;
		record_r->mtime_nsecs = rest->mtime_nsecs;
		memcpy(record_r->digest, rest->digest, CONTENT_DIGEST_OCTETS);
	}
}

static int compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

int item_compare_unique(const struct record *a, const struct record *b)
{
	return compare_text(a->name, a->unique_len, b->name, b->unique_len);
}

int item_by_unique(const void *a_item, const void *b_item)
{
	const struct head *a = a_item;
	const struct head *b = b_item;
	int order = compare_text(name_of(a), a->unique_len, name_of(b), b->unique_len);
	if (order == 0)
		order = (a->inode > b->inode) - (a->inode < b->inode);
	if (order == 0)
		order = a->part - b->part;
	return order != 0 ? order : compare_text(name_of(a), a->name_len, name_of(b), b->name_len);
}

int item_by_arrival(const void *a_item, const void *b_item)
{
	const struct head *a = a_item;
	const struct head *b = b_item;
	/* 0, not adopted, comes last. */
	int order = (a->order - 1 > b->order - 1) - (a->order - 1 < b->order - 1);
	if (order == 0)
		order = (a->offset > b->offset) - (a->offset < b->offset);
	return order != 0 ? order : uidl_order(name_of(a), a->name_len, name_of(b), b->name_len);
}
