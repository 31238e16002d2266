/* SPDX-License-Identifier: ISC */
#include "server/envelope.h"

#include <stdio.h>

bool envelope_address_valid(const char *address, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)address[i] < 0x20 || address[i] == 0x7F)
			return false;
	return len <= LMTP_ADDRESS_OCTETS;
}

size_t envelope_fields(const char *sender, const char *recipient, bool crlf, char *fields_r)
{
	const char *end = crlf ? "\r\n" : "\n";
	int len = 0;
	if (sender != NULL)
		len = snprintf(fields_r, ENVELOPE_FIELDS_OCTETS, "Return-Path: <%s>%s", sender, end);
	len += snprintf(
	    fields_r + len, ENVELOPE_FIELDS_OCTETS - (size_t)len, "Delivered-To: %s%s", recipient, end);
	return (size_t)len;
}
