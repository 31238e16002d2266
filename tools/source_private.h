/* SPDX-License-Identifier: ISC */
/*
 * source_private: what the formats of source.h share.
 */
#ifndef KPOPD_TOOLS_SOURCE_PRIVATE_H
#define KPOPD_TOOLS_SOURCE_PRIVATE_H

#include "tools/source.h"

/* A view of a line without its end. */
struct source_line {
	const char *text;
	size_t len;
};

/* The next line of the file, however long; counts it. */
bool source_line(struct source_reader *reader, struct source_line *line_r);
/* The same, NUL-terminated in room[SOURCE_LINE_OCTETS]; one that is longer or holds a NUL becomes the item's
 * why. */
bool source_text(struct source_reader *reader, char *room, struct source_item *item);
/* Why an item cannot be taken; the first reason stays. */
void source_wrong(struct source_item *item, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A file that is not of its format: says so, and ends. */
void source_end(struct source_reader *reader, struct source_item *item, const char *why);
/* Digits from *text, which then is behind them. false: none, or more than UINT32_MAX. */
bool source_number(const char **text, uint32_t *number_r);
/* The name of a file, up to its flags, becomes the key: its unique part. */
void source_set_name(struct source_item *item, const char *name);
void source_set_uidl(struct source_item *item, const char *uidl);

/* One item each; false: no more. */
bool source_next_list(struct source_reader *reader, struct source_item *item);
bool source_next_dovecot(struct source_reader *reader, struct source_item *item);
bool source_next_courier(struct source_reader *reader, struct source_item *item);
bool source_next_cyrus(struct source_reader *reader, struct source_item *item);
bool source_next_mbox(struct source_reader *reader, struct source_item *item);

#endif
