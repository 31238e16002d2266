/* SPDX-License-Identifier: ISC */
/*
 * The first octet chooses the format of another server's list of UIDLs, the rest is the file. Whatever item
 * comes out can be taken has a sound UIDL and a key; nothing but the file bounds how many there are.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/uidl.h"
#include "tools/source.h"
#include "tools/uidl_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
	if (!holds)
		abort();
}

/* The first line as a UIDL's template. */
static void check_template(const char *text, size_t len)
{
	const struct template_values values = {
	    .uid = 1, .uidvalidity = UINT32_MAX, .filename = "1.a,S=2", .guid = "g", .md5 = "m"};
	char template[128], uidl[MAILDROP_UIDL_OCTETS + 1];

	if (len >= sizeof(template))
		return;
	memcpy(template, text, len);
	template[len] = '\0';
	if (template_check(template) == NULL && template_expand(template, &values, uidl) == NULL)
		check(uidl_valid(uidl, strlen(uidl)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const templates[] = {NULL, "%f", "%g", "%m", "%v.%u"};
	struct source_reader reader = {.octets = (const char *)data + 1, .len = size - 1};
	struct source_item item;
	unsigned long items = 0;

	if (size == 0)
		return 0;
	reader.format = (enum source_format)(SOURCE_LIST + data[0] % (SOURCE_FORMATS - SOURCE_LIST));
	reader.template = templates[data[0] / 16 % (sizeof(templates) / sizeof(templates[0]))];
	source_guess(reader.octets, reader.len);
	check_template(reader.octets, reader.len);
	while (source_next(&reader, &item)) {
		check(++items <= size + 1);
		check(item.line > 0 || item.why[0] != '\0');
		if (item.why[0] == '\0')
			check(uidl_valid(item.uidl, strlen(item.uidl)) && item.key[0] != '\0');
	}
	return 0;
}
