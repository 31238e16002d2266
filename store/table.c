/* SPDX-License-Identifier: ISC */
#include "table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "uidl.h"

#define TEXT_OCTETS 65536u
#define NOTES_COUNT 8u
#define SCAN_TRIES_COUNT 4

struct text_block {
	struct text_block *next;
	size_t used;
	char text[TEXT_OCTETS];
};

void table_clear(struct table *table)
{
	while (table->text != NULL) {
		struct text_block *next = table->text->next;
		free(table->text);
		table->text = next;
	}
	free(table->messages);
	*table = (struct table){0};
}

char *table_text(struct table *table, size_t len)
{
	struct text_block *block = table->text;
	if (block == NULL || TEXT_OCTETS - block->used < len) {
		block = malloc(sizeof(*block));
		if (block == NULL || len > TEXT_OCTETS) {
			free(block);
			return NULL;
		}
		block->next = table->text;
		block->used = 0;
		table->text = block;
	}
	char *text = block->text + block->used;
	block->used += len;
	return text;
}

bool table_add(struct table *table, const struct record *record, enum message_state state)
{
	if (table->count == table->size) {
		uint32_t size = table->size == 0 ? 64 : table->size * 2;
		struct message *messages = reallocarray(table->messages, size, sizeof(*messages));
		if (messages == NULL)
			return false;
		table->messages = messages;
		table->size = size;
	}
	char *text = table_text(table, (size_t)record->name_len + record->uidl_len);
	if (text == NULL)
		return false;
	struct message *message = &table->messages[table->count++];
	*message = (struct message){.record = *record, .state = state};
	message->record.name = memcpy(text, record->name, record->name_len);
	message->record.uidl = text + record->name_len;
	if (record->uidl_len > 0)
		memcpy(text + record->name_len, record->uidl, record->uidl_len);
	return true;
}

static int compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

int table_compare_unique(const struct record *a, const struct record *b)
{
	return compare_text(a->name, a->unique_len, b->name, b->unique_len);
}

static int by_unique(const void *a_message, const void *b_message)
{
	const struct record *a = &((const struct message *)a_message)->record;
	const struct record *b = &((const struct message *)b_message)->record;
	int order = table_compare_unique(a, b);
	if (order == 0)
		order = (a->inode > b->inode) - (a->inode < b->inode);
	if (order == 0)
		order = a->part - b->part;
	return order != 0 ? order : compare_text(a->name, a->name_len, b->name, b->name_len);
}

static int by_uid(const void *a_message, const void *b_message)
{
	uint32_t a = ((const struct message *)a_message)->record.uid;
	uint32_t b = ((const struct message *)b_message)->record.uid;
	return (a > b) - (a < b);
}

static void sort(struct table *table, int (*compare)(const void *, const void *))
{
	if (table->count > 1)
		qsort(table->messages, table->count, sizeof(*table->messages), compare);
}

void table_sort_unique(struct table *table)
{
	sort(table, by_unique);
}

void table_sort_uid(struct table *table)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < table->count; i++)
		if (table->messages[i].state != MESSAGE_DROPPED)
			table->messages[kept++] = table->messages[i];
	table->count = kept;
	sort(table, by_uid);
}

const struct message *table_find(const struct table *table, const struct record *record)
{
	uint32_t low = 0;
	uint32_t high = table->count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (table_compare_unique(&table->messages[middle].record, record) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	const struct message *found = NULL;
	for (; low < table->count && table_compare_unique(&table->messages[low].record, record) == 0; low++) {
		if (table->messages[low].record.inode == record->inode)
			return &table->messages[low];
		if (found == NULL)
			found = &table->messages[low];
	}
	return found;
}

static int add_found(void *arg, const struct record *record)
{
	struct table *table = arg;
	if (table->count == TABLE_MESSAGES_COUNT) {
		table->partial = true;
		return MAILDROP_OK;
	}
	return table_add(table, record, MESSAGE_NEW) ? MAILDROP_OK : MAILDROP_TEMP;
}

/* A file that moved from new/ to cur/, or was renamed, during the scan may have been seen twice. */
static void drop_twice_seen(struct table *table)
{
	for (uint32_t i = 1; i < table->count; i++) {
		struct message *before = &table->messages[i - 1];
		const struct record *record = &table->messages[i].record;
		if (before->record.inode == record->inode &&
		    table_compare_unique(&before->record, record) == 0)
			before->state = MESSAGE_DROPPED;
	}
	uint32_t kept = 0;
	for (uint32_t i = 0; i < table->count; i++)
		if (table->messages[i].state != MESSAGE_DROPPED)
			table->messages[kept++] = table->messages[i];
	table->count = kept;
}

int table_scan(struct table *table, struct mailbox *mailbox, struct part_state states_r[MAILBOX_PARTS])
{
	struct part_state after[MAILBOX_PARTS];
	for (int tries = 0; tries < SCAN_TRIES_COUNT; tries++) {
		table_clear(table);
		int rc = mailbox->ops->state(mailbox, states_r);
		if (rc == MAILDROP_OK)
			rc = mailbox->ops->scan(mailbox, add_found, table);
		if (rc == MAILDROP_OK)
			rc = mailbox->ops->state(mailbox, after);
		if (rc != MAILDROP_OK)
			return rc;
		if (memcmp(states_r, after, sizeof(after)) == 0)
			break;
	}
	table_sort_unique(table);
	drop_twice_seen(table);
	return MAILDROP_OK;
}
