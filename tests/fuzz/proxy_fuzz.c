/* SPDX-License-Identifier: ISC */
/*
 * A PROXY header, whole and cut after every octet: done at its last octet, never before and never beyond, the
 * same whatever comes behind, and once refused, always refused. Taken as a front takes it, piece by piece, it
 * is the same header.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const struct proxy_header *a, const struct proxy_header *b)
{
	return a->octets == b->octets && a->proxied == b->proxied && a->source.port == b->source.port &&
	       memcmp(a->source.address, b->source.address, sizeof(a->source.address)) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header whole = {0}, cut = {0};
	enum proxy_result want = proxy_parse(data, size, &whole);

	if (want == PROXY_DONE && (whole.octets > size || whole.octets > LIMIT_PROXY_OCTETS))
		abort();
	if (want == PROXY_MORE && size >= LIMIT_PROXY_OCTETS)
		abort();
	if (size > 256) /* below all cuts are tried, above those that powers of two make */
		size = whole.octets > 0 ? whole.octets : 256;
	for (size_t len = 0; len <= size; len += len < 256 ? 1 : len) {
		/* A copy of that length, so that a read past its end is seen. */
		uint8_t *octets = malloc(len + (len == 0));
		if (octets == NULL)
			abort();
		memcpy(octets, data, len);
		enum proxy_result got = proxy_parse(octets, len, &cut);
		free(octets);
		if (want == PROXY_DONE && got != (len < whole.octets ? PROXY_MORE : PROXY_DONE))
			abort();
		if (want == PROXY_MORE && got != PROXY_MORE)
			abort();
		if (want < 0 && got == PROXY_DONE)
			abort();
		if (got == PROXY_DONE && !same(&whole, &cut))
			abort();
	}
	return 0;
}
