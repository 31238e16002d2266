/* SPDX-License-Identifier: ISC */
/*
 * ticket: what can be read of an AP-REQ without a key: whom it is for, and under which key.
 *
 * For explain.c, which tells an administrator why a ticket was refused. Pure and bounded; nothing it reads
 * decides about anybody. RFC 4120 sections 5.2.2, 5.2.9, 5.3, 5.5.1; framings as below.
 */
#ifndef KPOPD_KPOP_TICKET_H
#define KPOPD_KPOP_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TICKET_COMPONENTS_COUNT 4u /* of a service's name; more are no service's */

enum ticket_err {
	TICKET_OK = 0,
	TICKET_NONE = -1,      /* it does not begin like anything of Kerberos 5 */
	TICKET_MECHANISM = -2, /* a GSS-API token of another mechanism: SPNEGO, IAKERB */
	TICKET_KIND = -3,      /* a token of Kerberos, but no AP-REQ */
	TICKET_BROKEN = -4,    /* an AP-REQ that is cut short or broken inside */
};

struct ticket_octets {
	const uint8_t *octets; /* in what was given */
	size_t len;
};

/* EncryptedData. */
struct ticket_sealed {
	int32_t enctype;
	bool has_kvno;
	uint32_t kvno;
	struct ticket_octets cipher;
};

struct ticket {
	struct ticket_octets realm, components[TICKET_COMPONENTS_COUNT];
	unsigned component_count;
	struct ticket_sealed part, authenticator;
};

/*
 * octets: an AP-REQ; or a first token of GSS-API with one inside (RFC 2743 section 3.1, RFC 4121 section
 * 4.1); or a GS2 header and such a token without its frame (RFC 5801 section 4). What lies behind the AP-REQ
 * is not looked at. Views live as long as octets. Any of enum ticket_err.
 */
int ticket_read(const void *octets, size_t len, struct ticket *ticket_r);
/* Whether octets are, by their first tag and length, one AP-REQ with nothing behind it. */
bool ticket_whole(const void *octets, size_t len);
/* "" for TICKET_OK; static text. */
const char *ticket_err_text(int err);

/* The time (5.2.3) in the octets of an authenticator (5.5.1) that were decrypted. 0, or -1. */
int ticket_authenticator_time(const void *octets, size_t len, int64_t *secs_r);

#endif
