/* SPDX-License-Identifier: ISC */
#include "server/utf8.h"

#include <stdint.h>

/* The character that begins here, and its octets; 0: there is none, or one written longer than it is. */
static size_t decode(const uint8_t *at, size_t len, uint32_t *character_r)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t octets = at[0] < 0x80 ? 1 : at[0] < 0xc0 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;

	if (octets == 0 || octets > len || at[0] >= 0xf8)
		return 0;
	uint32_t character = octets == 1 ? at[0] : at[0] & (0x7fu >> octets);
	for (size_t i = 1; i < octets; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		character = character << 6 | (at[i] & 0x3fu);
	}
	*character_r = character;
	return character >= least[octets] && character <= 0x10ffff &&
		       !(character >= 0xd800 && character <= 0xdfff)
		   ? octets
		   : 0;
}

bool utf8_printable(const char *text, size_t len)
{
	while (len > 0) {
		uint32_t character;
		size_t octets = decode((const uint8_t *)text, len, &character);
		if (octets == 0 || character < 0x20 || (character >= 0x7f && character < 0xa0))
			return false;
		text += octets;
		len -= octets;
	}
	return true;
}
