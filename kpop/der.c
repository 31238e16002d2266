/* SPDX-License-Identifier: ISC */
#include "der.h"

uint8_t der_take_octet(struct der *der)
{
	if (der->bad || der->left == 0) {
		der->bad = true;
		return 0;
	}
	der->left--;
	return *der->at++;
}

/* Definite lengths alone, up to what fits the view. */
static size_t take_length(struct der *der)
{
	size_t len = der_take_octet(der);

	if (len >= 0x80) {
		size_t count = len & 0x7f;

		len = 0;
		if (count == 0 || count > sizeof(uint32_t))
			der->bad = true;
		for (size_t i = 0; i < count && !der->bad; i++)
			len = len << 8 | der_take_octet(der);
	}
	if (len > der->left)
		der->bad = true;
	return der->bad ? 0 : len;
}

bool der_next_is(const struct der *der, uint8_t tag)
{
	return !der->bad && der->left > 0 && der->at[0] == tag;
}

struct der der_take(struct der *der, uint8_t tag)
{
	struct der inner = {NULL, 0, true};

	if (!der_next_is(der, tag)) {
		der->bad = true;
		return inner;
	}
	der_take_octet(der);
	size_t len = take_length(der);
	if (der->bad)
		return inner;
	inner = (struct der){der->at, len, false};
	der->at += len;
	der->left -= len;
	return inner;
}

struct der der_take_field(struct der *der, unsigned number, uint8_t tag)
{
	struct der field = der_take(der, (uint8_t)(DER_FIELD + number));
	struct der inner = der_take(&field, tag);

	der->bad = der->bad || inner.bad;
	return inner;
}

void der_skip_field(struct der *der, unsigned number)
{
	if (der_next_is(der, (uint8_t)(DER_FIELD + number)))
		der_take(der, (uint8_t)(DER_FIELD + number));
}

int64_t der_take_integer(struct der *der, unsigned number)
{
	struct der value = der_take_field(der, number, DER_INTEGER);
	int64_t integer = 0;

	if (value.bad || value.left == 0 || value.left > 5) { /* an UInt32 has a zero before it */
		der->bad = true;
		return 0;
	}
	if ((value.at[0] & 0x80) != 0)
		integer = -1;
	for (size_t i = 0; i < value.left; i++)
		integer = integer * 256 + value.at[i];
	return integer;
}
