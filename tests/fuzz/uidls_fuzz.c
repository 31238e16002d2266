/* SPDX-License-Identifier: ISC */
/*
 * A line of kpopd.uidl, which anybody may have written. What is taken must come out as it went in.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/uidls_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[RECORD_NAME_OCTETS], text[UIDLS_LINE_OCTETS], again_name[RECORD_NAME_OCTETS];
	struct uidls_line line = {.order = 1}, again;
	char *copy = malloc(size + 1); /* so that reading beyond it is seen */
	if (copy == NULL)
		return 0;
	memcpy(copy, data, size);
	if (uidls_line_parse(copy, size, &line, name)) {
		size_t len = uidls_line_format(&line, text);
		if (len == 0 || len > sizeof(text) || text[len - 1] != '\n' ||
		    !uidls_line_parse(text, len - 1, &again, again_name) || again.kind != line.kind ||
		    again.unique_len != line.unique_len || again.name_len != line.name_len ||
		    memcmp(again_name, name, line.name_len) != 0 || again.uidl_len != line.uidl_len ||
		    memcmp(again.uidl, line.uidl, line.uidl_len) != 0 ||
		    memcmp(again.digest, line.digest, sizeof(line.digest)) != 0)
			abort();
	}
	free(copy);
	return 0;
}
