/* SPDX-License-Identifier: ISC */
#include "table.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_OCTETS 65536u
#define RESET_COUNT 4096u

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

void table_reset(struct table *table)
{
	struct text_block *text = table->text;
	if (table->size > RESET_COUNT || (text != NULL && text->next != NULL)) {
		table_clear(table);
		return;
	}
	table->count = 0;
	if (text != NULL)
		text->used = 0;
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

static int by_uid(const void *a_message, const void *b_message)
{
	uint32_t a = ((const struct message *)a_message)->record.uid;
	uint32_t b = ((const struct message *)b_message)->record.uid;
	return (a > b) - (a < b);
}

void table_sort_uid(struct table *table)
{
	if (table->count > 1)
		qsort(table->messages, table->count, sizeof(*table->messages), by_uid);
}

const struct message *table_find_uid(const struct table *table, uint32_t uid)
{
	const struct message key = {.record = {.uid = uid}};
	return table->count == 0 ? NULL : bsearch(&key, table->messages, table->count, sizeof(key), by_uid);
}
