/* SPDX-License-Identifier: ISC */
/*
 * The first octet chooses the size of the reads, the rest is an mbox. Messages must lie one behind the other,
 * cover the file, be told of whole, come out the same when they are read alone and in other pieces; and what
 * is surely a message must be found, whatever lengths say.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/mbox_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
	if (!holds)
		abort();
}

struct memory {
	const uint8_t *data;
	size_t len, step;
};

static ssize_t read_memory(void *arg, void *buf, size_t len, uint64_t offset)
{
	const struct memory *memory = arg;
	if (offset >= memory->len)
		return 0;
	size_t left = memory->len - (size_t)offset;
	len = len < left ? len : left;
	len = len < memory->step ? len : memory->step;
	memcpy(buf, memory->data + offset, len);
	return (ssize_t)len;
}

struct told {
	const struct memory *memory;
	uint64_t at;
	bool content; /* something behind the "From " line was told */
	uint64_t from_len;
};

static void take_piece(void *arg, enum mbox_piece piece, const void *buf, size_t len)
{
	struct told *told = arg;
	check(told->at + len <= told->memory->len);
	check(memcmp(told->memory->data + told->at, buf, len) == 0);
	told->at += len;
	if (piece == MBOX_FROM) {
		check(!told->content);
		told->from_len += len;
	} else {
		told->content = true;
	}
}

/* How many lines are surely the beginning of a message. */
static unsigned count_sure(const struct memory *memory)
{
	unsigned sure = 0;
	bool may_begin = true;
	const char *text = (const char *)memory->data;
	for (size_t at = 0; at < memory->len;) {
		size_t left = memory->len - at;
		sure += may_begin && mbox_from_look(text + at, left) == MBOX_FROM_SURE;
		may_begin = mbox_from_empty(text + at, left) > 0;
		const char *lf = memchr(text + at, '\n', left);
		at = lf == NULL ? memory->len : (size_t)(lf + 1 - text);
	}
	return sure;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mbox_parser parser;
	static struct mbox_parser alone;
	if (size < 1)
		return 0;
	struct memory memory = {data + 1, size - 1, data[0] == 0 ? SIZE_MAX : data[0]};
	struct memory whole = {data + 1, size - 1, SIZE_MAX};
	struct mbox_message message;
	struct mbox_message again;
	uint64_t end = 0;
	unsigned sure = 0;
	bool first = true;
	mbox_begin(&parser, read_memory, &memory, 0);
	struct told told = {.memory = &whole};
	for (;; first = false) {
		told = (struct told){.memory = &whole, .at = 0};
		/* Where it begins is known only afterwards, so it is told of alone. */
		if (mbox_next(&parser, NULL, NULL, &message) != MBOX_MESSAGE)
			break;
		check(first || message.start == end);
		end = message.end;
		told.at = message.start;
		mbox_begin(&alone, read_memory, &whole, message.start);
		check(mbox_next(&alone, take_piece, &told, &again) == MBOX_MESSAGE);
		check(again.start == message.start && again.length == message.length &&
		      again.end == message.end);
		check(told.at == message.start + told.from_len + message.length);
		check(message.end - told.at <= 2);
		sure += mbox_from_look((const char *)memory.data + message.start,
			    memory.len - (size_t)message.start) == MBOX_FROM_SURE;
	}
	check(first || end == memory.len);
	check(sure == count_sure(&memory));
	return 0;
}
