/* SPDX-License-Identifier: ISC */
/*
 * What an LMTP client may send: the first octet says in how large pieces; then lines, each ended by CRLF, and
 * from a line "DATA" on the data, until that ends.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/lmtp_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
	if (!good)
		abort();
}

static bool printable(const char *text)
{
	for (; *text != '\0'; text++)
		if (*text < 0x20 || *text == 0x7F)
			return false;
	return true;
}

/* Nothing behind the line may be read: it has a place of its own. */
static enum lmtp_verb parse(const uint8_t *from, size_t len)
{
	struct lmtp_command command;
	char *line = malloc(len + (len == 0));
	must(line != NULL);
	memcpy(line, from, len);
	enum lmtp_syntax syntax = lmtp_parse(line, len, &command);
	must(command.verb < LMTP_VERB_COUNT && strlen(command.address) <= LMTP_ADDRESS_OCTETS);
	must(strlen(command.mailbox) <= strlen(command.address));
	must(printable(command.address) && printable(command.mailbox));
	if (syntax == LMTP_SYNTAX_OK && command.verb == LMTP_RCPT)
		must(command.address[0] != '\0');
	if (command.verb != LMTP_MAIL && command.verb != LMTP_RCPT)
		must(command.address[0] == '\0' && command.size == 0);
	free(line);
	return syntax == LMTP_SYNTAX_OK ? command.verb : LMTP_UNKNOWN;
}

/* Whatever the pieces, the end is the first CRLF "." CRLF, and what is kept is the same. */
static size_t decode(const uint8_t *in, size_t len, size_t piece, uint8_t *out, size_t *out_len, bool *ended)
{
	struct lmtp_data state = {.at = LMTP_AT_LINE};
	size_t used = 0, got;
	*out_len = 0;
	while (used < len && !state.ended) {
		size_t some = len - used < piece ? len - used : piece;
		uint8_t *exact = malloc(some), *room = malloc(some + 1);
		must(exact != NULL && room != NULL);
		memcpy(exact, in + used, some);
		size_t taken = lmtp_data_decode(&state, exact, some, room, &got);
		must(got <= some + 1 && (taken == some || state.ended));
		memcpy(out + *out_len, room, got);
		*out_len += got;
		used += taken;
		free(exact);
		free(room);
	}
	must(state.octets >= *out_len && state.octets <= used);
	*ended = state.ended;
	return used;
}

static size_t take_data(const uint8_t *in, size_t len, size_t piece)
{
	uint8_t *once = malloc(len + 1), *again = malloc(len + 1);
	size_t once_len, again_len;
	bool ended, again_ended;
	must(once != NULL && again != NULL);
	size_t used = decode(in, len, len + 1, once, &once_len, &ended);
	must(decode(in, len, piece, again, &again_len, &again_ended) == used && again_ended == ended);
	must(again_len == once_len && memcmp(once, again, once_len) == 0);
	const uint8_t *end = len >= 3 && memcmp(in, ".\r\n", 3) == 0 ? in : memmem(in, len, "\r\n.\r\n", 5);
	must(ended == (end != NULL));
	must(!ended || used == (size_t)(end - in) + (end == in && in[0] == '.' ? 3 : 5));
	free(once);
	free(again);
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	size_t piece = 1 + *data++ % 16;
	size--;
	while (size > 0) {
		const uint8_t *end = memmem(data, size, "\r\n", 2);
		size_t len = end == NULL ? size : (size_t)(end - data);
		size_t used = end == NULL ? size : len + 2;
		bool is_data = parse(data, len) == LMTP_DATA;
		data += used;
		size -= used;
		if (is_data && size > 0) {
			used = take_data(data, size, piece);
			data += used;
			size -= used;
		}
	}
	return 0;
}
