/* SPDX-License-Identifier: ISC */
/*
 * The first octet chooses the format of a file of another server, the rest is the file. Whatever item comes
 * out can be taken makes a record that is read again as it was written.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tools/import_item.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
	if (!holds)
		abort();
}

static void check_item(const struct import_item *item)
{
	struct credentials record = item->record, again;
	uint8_t octets[CREDENTIALS_OCTETS];
	size_t len;

	check(strlen(item->user) > 0 && item->line > 0);
	if (item->password_secret[0] != '\0') {
		check(record.hash[0] == '\0' && credentials_main_hash(&record) < 0);
		return;
	}
	len = credentials_encode(&record, octets);
	check(len <= sizeof(octets) && credentials_decode(&again, octets, len) == 0);
	check(memcmp(&again, &record, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct import_reader reader = {.octets = (const char *)data + 1, .len = size - 1};
	struct import_item item;
	unsigned long items = 0;

	if (size == 0)
		return 0;
	reader.format = (enum import_format)(IMPORT_SASLDB + data[0] % 3);
	reader.keep_realm = (data[0] & 0x40) != 0;
	import_guess(reader.octets, reader.len);
	while (import_next(&reader, &item)) {
		check(++items <= size + 1);
		if (item.why[0] == '\0' && !item.skipped)
			check_item(&item);
	}
	free(reader.only_realm);
	/* As a stored record, too. */
	credentials_decode(&item.record, data, size);
	return 0;
}
