/* SPDX-License-Identifier: ISC */
/*
 * der: values of X.690's distinguished encoding, read one after the other. Private to kpop.
 *
 * A view is read from its front, and bad sticks: whoever reads asks once, at the end. Definite lengths alone;
 * nothing is ever read behind the view.
 */
#ifndef KPOPD_KPOP_DER_H
#define KPOPD_KPOP_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tags: section 8.1.2. */
enum {
	DER_INTEGER = 0x02,
	DER_OCTETS = 0x04,
	DER_UTF8 = 0x0c,
	DER_SEQUENCE = 0x30,
	DER_FIELD = 0xa0, /* [0], [1], … of a sequence */
};

struct der {
	const uint8_t *at;
	size_t left;
	bool bad;
};

uint8_t der_take_octet(struct der *der);
bool der_next_is(const struct der *der, uint8_t tag);
/* The contents of the next value, which must have this tag. */
struct der der_take(struct der *der, uint8_t tag);
/* Of field [number] of a sequence: the contents of the value in it. */
struct der der_take_field(struct der *der, unsigned number, uint8_t tag);
/* A field there may be, of no interest. */
void der_skip_field(struct der *der, unsigned number);
/* An Int32 or UInt32 in field [number]. */
int64_t der_take_integer(struct der *der, unsigned number);

#endif
