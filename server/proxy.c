/* SPDX-License-Identifier: ISC */
#include "server/proxy.h"

#include <arpa/inet.h>
#include <string.h>

#define V1_PREFIX "PROXY "
#define V1_PREFIX_OCTETS (sizeof(V1_PREFIX) - 1)
#define V2_HEAD_OCTETS 16u
#define V2_INET_OCTETS 12u /* two addresses, two ports */
#define V2_INET6_OCTETS 36u
#define TLV_HEAD_OCTETS 3u
#define TLV_CRC32C 0x03
#define CRC32C_POLYNOMIAL 0x82f63b78u /* Castagnoli's, bits reversed */

static const uint8_t v2_signature[12] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

/* ---- version 1: a line ---- */

/* The next word of the line, which ends with a space or the line; NULL: none, or longer than any of its kind.
 */
static char *next_word(const char **at, char *word_r, size_t size)
{
	size_t len = strcspn(*at, " ");

	if (len == 0 || len >= size)
		return NULL;
	memcpy(word_r, *at, len);
	word_r[len] = '\0';
	*at += len;
	/* One space between two words, and none behind the last. */
	if (**at == ' ' && *++*at == '\0')
		return NULL;
	return word_r;
}

static bool v1_address(const char *word, bool v6, uint8_t address_r[16])
{
	memset(address_r, 0, 16);
	if (v6)
		return inet_pton(AF_INET6, word, address_r) == 1;
	address_r[10] = address_r[11] = 0xff;
	return inet_pton(AF_INET, word, address_r + 12) == 1;
}

static bool v1_port(const char *word, uint16_t *port_r)
{
	unsigned port = 0;

	if (word[0] == '0' && word[1] != '\0')
		return false;
	for (; *word != '\0'; word++) {
		if (*word < '0' || *word > '9')
			return false;
		port = port * 10 + (unsigned)(*word - '0');
	}
	*port_r = (uint16_t)port;
	return port <= UINT16_MAX;
}

/* line is what stands between "PROXY " and CRLF. */
static enum proxy_result v1_line(const char *line, struct proxy_header *header_r)
{
	char word[INET6_ADDRSTRLEN];
	uint8_t destination[16];
	uint16_t port;
	const char *at = line;

	if (strcmp(line, "UNKNOWN") == 0 || strncmp(line, "UNKNOWN ", 8) == 0)
		return PROXY_DONE; /* whatever stands behind it */
	bool v6 = strncmp(line, "TCP6 ", 5) == 0;
	if (!v6 && strncmp(line, "TCP4 ", 5) != 0)
		return PROXY_MALFORMED;
	at += 5;
	if (next_word(&at, word, sizeof(word)) == NULL || !v1_address(word, v6, header_r->source.address) ||
	    next_word(&at, word, sizeof(word)) == NULL || !v1_address(word, v6, destination) ||
	    next_word(&at, word, 6) == NULL || !v1_port(word, &header_r->source.port) ||
	    next_word(&at, word, 6) == NULL || !v1_port(word, &port) || *at != '\0')
		return PROXY_MALFORMED;
	header_r->proxied = true;
	return PROXY_DONE;
}

static enum proxy_result v1_parse(const uint8_t *octets, size_t len, struct proxy_header *header_r)
{
	char line[LIMIT_PROXY_LINE_OCTETS];
	size_t room = len < LIMIT_PROXY_LINE_OCTETS ? len : LIMIT_PROXY_LINE_OCTETS;
	const uint8_t *lf = memchr(octets, '\n', room);
	size_t end = lf != NULL ? (size_t)(lf - octets) : room;

	for (size_t i = V1_PREFIX_OCTETS; i < end; i++) {
		bool cr = octets[i] == '\r' && i + 1 == end; /* the LF may still be on its way */
		if (!cr && (octets[i] < 0x20 || octets[i] > 0x7e))
			return PROXY_MALFORMED;
	}
	if (lf == NULL)
		return len < LIMIT_PROXY_LINE_OCTETS ? PROXY_MORE : PROXY_TOO_LONG;
	if (end == V1_PREFIX_OCTETS || octets[end - 1] != '\r')
		return PROXY_MALFORMED;
	end -= V1_PREFIX_OCTETS + 1;
	memcpy(line, octets + V1_PREFIX_OCTETS, end);
	line[end] = '\0';
	header_r->octets = (size_t)(lf - octets) + 1;
	return v1_line(line, header_r);
}

/* ---- version 2: binary ---- */

static uint32_t crc32c_more(uint32_t crc, const uint8_t *octets, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		crc ^= octets[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ ((crc & 1) != 0 ? CRC32C_POLYNOMIAL : 0);
	}
	return crc;
}

/* Whether the checksum at that place is the one of the header with zeros in its place. */
static bool checksum_right(const uint8_t *octets, size_t total, size_t at)
{
	static const uint8_t zeros[4];
	uint32_t sum, crc = crc32c_more(UINT32_MAX, octets, at);

	crc = crc32c_more(crc, zeros, sizeof(zeros));
	crc = ~crc32c_more(crc, octets + at + sizeof(zeros), total - at - sizeof(zeros));
	memcpy(&sum, octets + at, sizeof(sum));
	return ntohl(sum) == crc;
}

/* What stands behind the addresses is for others; it must only be sound. */
static enum proxy_result v2_extensions(const uint8_t *octets, size_t total, size_t at)
{
	while (at < total) {
		if (total - at < TLV_HEAD_OCTETS)
			return PROXY_MALFORMED;
		uint8_t type = octets[at];
		size_t len = (size_t)octets[at + 1] << 8 | octets[at + 2];
		at += TLV_HEAD_OCTETS;
		if (len > total - at)
			return PROXY_MALFORMED;
		if (type == TLV_CRC32C && len != 4)
			return PROXY_MALFORMED;
		if (type == TLV_CRC32C && !checksum_right(octets, total, at))
			return PROXY_CHECKSUM;
		at += len;
	}
	return PROXY_DONE;
}

static enum proxy_result v2_addresses(const uint8_t *octets, size_t total, struct proxy_header *header_r)
{
	bool v6 = octets[13] >> 4 == 2;
	size_t len = v6 ? V2_INET6_OCTETS : V2_INET_OCTETS;
	const uint8_t *at = octets + V2_HEAD_OCTETS;
	uint8_t *address = header_r->source.address;

	if (total - V2_HEAD_OCTETS < len)
		return PROXY_MALFORMED;
	memset(address, 0, 16);
	if (v6) {
		memcpy(address, at, 16);
		at += 32;
	} else {
		address[10] = address[11] = 0xff;
		memcpy(address + 12, at, 4);
		at += 8;
	}
	header_r->source.port = (uint16_t)(at[0] << 8 | at[1]);
	header_r->proxied = true;
	return v2_extensions(octets, total, V2_HEAD_OCTETS + len);
}

/* Of version and command, family and transport, as far as they are there. */
static enum proxy_result v2_kind(const uint8_t *octets, size_t len, bool *local_r)
{
	*local_r = false;
	if (len > 12 && octets[12] != 0x20 && octets[12] != 0x21)
		return PROXY_MALFORMED;
	if (len <= 13)
		return PROXY_MORE;
	*local_r = octets[12] == 0x20 || octets[13] == 0;
	if (*local_r || octets[13] == 0x11 || octets[13] == 0x21)
		return PROXY_DONE;
	bool known = octets[13] == 0x12 || octets[13] == 0x22 || octets[13] == 0x31 || octets[13] == 0x32;
	return known ? PROXY_FOREIGN : PROXY_MALFORMED;
}

static enum proxy_result v2_parse(const uint8_t *octets, size_t len, struct proxy_header *header_r)
{
	bool local;
	enum proxy_result result = v2_kind(octets, len, &local);

	if (result != PROXY_DONE)
		return result;
	if (len < V2_HEAD_OCTETS)
		return PROXY_MORE;
	size_t total = V2_HEAD_OCTETS + ((size_t)octets[14] << 8 | octets[15]);
	if (total > LIMIT_PROXY_OCTETS)
		return PROXY_TOO_LONG;
	if (len < total)
		return PROXY_MORE;
	header_r->octets = total;
	/* What a header without addresses says beyond that is not to be looked at. */
	return local ? PROXY_DONE : v2_addresses(octets, total, header_r);
}

/* ---- both ---- */

/* Whether octets is mark, as far as both go. */
static bool begins(const uint8_t *octets, size_t len, const void *mark, size_t mark_len)
{
	return memcmp(octets, mark, len < mark_len ? len : mark_len) == 0;
}

enum proxy_result proxy_parse(const uint8_t *octets, size_t len, struct proxy_header *header_r)
{
	struct proxy_header header = {.octets = 0};
	enum proxy_result result = PROXY_ABSENT;

	if (len == 0)
		return PROXY_MORE;
	if (begins(octets, len, V1_PREFIX, V1_PREFIX_OCTETS))
		result = len < V1_PREFIX_OCTETS ? PROXY_MORE : v1_parse(octets, len, &header);
	else if (begins(octets, len, v2_signature, sizeof(v2_signature)))
		result = len < sizeof(v2_signature) ? PROXY_MORE : v2_parse(octets, len, &header);
	if (result == PROXY_DONE)
		*header_r = header;
	return result;
}

const char *proxy_text(enum proxy_result result)
{
	switch (result) {
	case PROXY_DONE:
		return "a PROXY header";
	case PROXY_MORE:
		return "the PROXY header is cut off";
	case PROXY_ABSENT:
		return "no PROXY header";
	case PROXY_MALFORMED:
		return "a malformed PROXY header";
	case PROXY_FOREIGN:
		return "a PROXY header of no TCP connection";
	case PROXY_TOO_LONG:
		return "a PROXY header too long";
	case PROXY_CHECKSUM:
		return "a PROXY header whose checksum is wrong";
	}
	return "";
}
