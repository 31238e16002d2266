/* SPDX-License-Identifier: ISC */
/*
 * envelope: the header fields that a final delivery puts before a message (RFC 5321 section 4.4).
 *
 * For deliverers and kpop-deliver. Pure.
 */
#ifndef KPOPD_SERVER_ENVELOPE_H
#define KPOPD_SERVER_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>

#include "server/lmtp_parse.h"

#define ENVELOPE_FIELDS_OCTETS (2u * LMTP_ADDRESS_OCTETS + 64u)

/* Whether it can stand in a field: no control characters, at most LMTP_ADDRESS_OCTETS. */
bool envelope_address_valid(const char *address, size_t len);
/*
 * Return-Path and Delivered-To; sender NULL: not known, no Return-Path; "": the null sender, "<>". Both valid
 * and NUL-terminated. fields_r has ENVELOPE_FIELDS_OCTETS. Returns the length.
 */
size_t envelope_fields(const char *sender, const char *recipient, bool crlf, char *fields_r);

#endif
