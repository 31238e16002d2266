/* SPDX-License-Identifier: ISC */
/*
 * The handshake's framing, whole and cut to pieces: the same events, the same AP-REQ, and never an octet
 * beyond it. The first octet of the input says how it is cut.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kpop/sendauth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	enum sendauth_event events[2];
	size_t count, taken;
	struct sendauth *sendauth;
};

static bool over(enum sendauth_event event)
{
	return event != SENDAUTH_MORE && event != SENDAUTH_VERSIONS_OK;
}

static void feed_all(struct run *run, const uint8_t *data, size_t size, size_t step)
{
	enum sendauth_event event = SENDAUTH_MORE;
	size_t used;

	run->sendauth = sendauth_new();
	if (run->sendauth == NULL)
		abort();
	while (run->taken < size && !over(event)) {
		size_t len = size - run->taken < step ? size - run->taken : step;
		event = sendauth_feed(run->sendauth, data + run->taken, len, &used);
		if (used > len || (event == SENDAUTH_MORE && used != len))
			abort();
		run->taken += used;
		if (event != SENDAUTH_MORE) {
			if (run->count == 2)
				abort();
			run->events[run->count++] = event;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run whole = {0}, pieces = {0};
	size_t whole_len, pieces_len;

	if (size == 0)
		return 0;
	feed_all(&whole, data + 1, size - 1, size);
	feed_all(&pieces, data + 1, size - 1, (size_t)data[0] % 32 + 1);
	const uint8_t *a = sendauth_apreq(whole.sendauth, &whole_len);
	const uint8_t *b = sendauth_apreq(pieces.sendauth, &pieces_len);
	if (whole.count != pieces.count || memcmp(whole.events, pieces.events, sizeof(whole.events)) != 0 ||
	    whole_len != pieces_len || whole_len > SENDAUTH_APREQ_OCTETS ||
	    (whole_len > 0 && memcmp(a, b, whole_len) != 0))
		abort();
	if (whole_len > 0 &&
	    (whole.taken < whole_len || memcmp(data + 1 + whole.taken - whole_len, a, whole_len) != 0))
		abort();
	sendauth_free(&whole.sendauth);
	sendauth_free(&pieces.sendauth);
	return 0;
}
