/* SPDX-License-Identifier: ISC */
#include "ticket.h"

#include <string.h>
#include <time.h>

#include "der.h"

/* Tags: X.690 section 8.1.2. */
enum {
	TAG_OID = 0x06,
	TAG_TIME = 0x18,
	TAG_STRING = 0x1b,
	TAG_GSS_TOKEN = 0x60,
	TAG_TICKET = 0x61,
	TAG_AUTHENTICATOR = 0x62,
	TAG_AP_REQ = 0x6e,
};

#define NAMES_OCTETS 1024u /* far above any realm's or host's */

static void take_sealed(struct der *der, unsigned number, struct ticket_sealed *sealed_r)
{
	struct der data = der_take_field(der, number, DER_SEQUENCE);

	sealed_r->enctype = (int32_t)der_take_integer(&data, 0);
	sealed_r->has_kvno = der_next_is(&data, DER_FIELD + 1);
	sealed_r->kvno = sealed_r->has_kvno ? (uint32_t)der_take_integer(&data, 1) : 0;
	struct der cipher = der_take_field(&data, 2, DER_OCTETS);
	sealed_r->cipher = (struct ticket_octets){cipher.at, cipher.left};
	der->bad = der->bad || data.bad;
}

static void take_name(struct der *der, unsigned number, struct ticket *ticket)
{
	struct der name = der_take_field(der, number, DER_SEQUENCE);

	der_skip_field(&name, 0);
	struct der strings = der_take_field(&name, 1, DER_SEQUENCE);
	while (!strings.bad && strings.left > 0 && ticket->component_count < TICKET_COMPONENTS_COUNT) {
		struct der string = der_take(&strings, TAG_STRING);

		if (string.left > NAMES_OCTETS)
			strings.bad = true;
		ticket->components[ticket->component_count++] =
		    (struct ticket_octets){string.at, string.left};
	}
	der->bad = der->bad || name.bad || strings.bad || strings.left > 0 || ticket->component_count == 0;
}

static void take_ticket(struct der *der, unsigned number, struct ticket *ticket)
{
	struct der tagged = der_take_field(der, number, TAG_TICKET);
	struct der fields = der_take(&tagged, DER_SEQUENCE);

	if (der_take_integer(&fields, 0) != 5)
		fields.bad = true;
	struct der realm = der_take_field(&fields, 1, TAG_STRING);
	ticket->realm = (struct ticket_octets){realm.at, realm.left};
	if (realm.left > NAMES_OCTETS)
		fields.bad = true;
	take_name(&fields, 2, ticket);
	take_sealed(&fields, 3, &ticket->part);
	der->bad = der->bad || fields.bad;
}

static int read_apreq(struct der der, struct ticket *ticket_r)
{
	struct der tagged = der_take(&der, TAG_AP_REQ);
	struct der fields = der_take(&tagged, DER_SEQUENCE);

	if (der_take_integer(&fields, 0) != 5 || der_take_integer(&fields, 1) != 14)
		fields.bad = true;
	der_skip_field(&fields, 2);
	take_ticket(&fields, 3, ticket_r);
	take_sealed(&fields, 4, &ticket_r->authenticator);
	return fields.bad ? TICKET_BROKEN : TICKET_OK;
}

/* RFC 4121 section 4.1: two octets say what follows. */
static int read_token(struct der der, struct ticket *ticket_r)
{
	unsigned kind = der_take_octet(&der);

	kind = kind << 8 | der_take_octet(&der);
	if (der.bad || kind != 0x0100 || !der_next_is(&der, TAG_AP_REQ))
		return TICKET_KIND;
	return read_apreq(der, ticket_r);
}

static int read_frame(struct der der, struct ticket *ticket_r)
{
	static const uint8_t kerberos[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02};
	struct der frame = der_take(&der, TAG_GSS_TOKEN);
	struct der oid = der_take(&frame, TAG_OID);

	if (frame.bad)
		return TICKET_BROKEN;
	if (oid.left != sizeof(kerberos) || memcmp(oid.at, kerberos, sizeof(kerberos)) != 0)
		return TICKET_MECHANISM;
	return read_token(frame, ticket_r);
}

/* "n,,", "p=tls-exporter,a=somebody,", each perhaps behind "F,"; a name has no comma in it. */
static bool skip_header(struct der *der)
{
	struct der whole = *der;

	if (der->left >= 2 && memcmp(der->at, "F,", 2) == 0) {
		der->at += 2;
		der->left -= 2;
	}
	if (der->left < 2 || (memcmp(der->at, "n,", 2) != 0 && memcmp(der->at, "y,", 2) != 0 &&
				 memcmp(der->at, "p=", 2) != 0)) {
		*der = whole;
		return false;
	}
	for (int commas = 0; commas < 2; commas++) {
		const uint8_t *comma =
		    memchr(der->at, ',', der->left < NAMES_OCTETS ? der->left : NAMES_OCTETS);

		if (comma == NULL) {
			*der = whole;
			return false;
		}
		der->left -= (size_t)(comma + 1 - der->at);
		der->at = comma + 1;
	}
	return true;
}

int ticket_read(const void *octets, size_t len, struct ticket *ticket_r)
{
	struct der der = {octets, len, false};

	memset(ticket_r, 0, sizeof(*ticket_r));
	/* First, for "n," looks like an AP-REQ of 44 octets, and no AP-REQ is that short. */
	bool header = skip_header(&der);
	if (der_next_is(&der, TAG_GSS_TOKEN))
		return read_frame(der, ticket_r);
	if (header)
		return read_token(der, ticket_r);
	return der_next_is(&der, TAG_AP_REQ) ? read_apreq(der, ticket_r) : TICKET_NONE;
}

bool ticket_whole(const void *octets, size_t len)
{
	struct der der = {octets, len, false};

	der_take(&der, TAG_AP_REQ);
	return !der.bad && der.left == 0;
}

const char *ticket_err_text(int err)
{
	switch (err) {
	case TICKET_OK:
		return "";
	case TICKET_MECHANISM:
		return "the token is of another GSS-API mechanism than Kerberos 5 (SPNEGO or IAKERB, "
		       "perhaps)";
	case TICKET_KIND:
		return "the token is Kerberos', but no AP-REQ";
	case TICKET_BROKEN:
		return "the AP-REQ is cut short or broken inside";
	default:
		return "what came is no Kerberos 5 ticket";
	}
}

/* KerberosTime is "YYYYMMDDHHMMSSZ", RFC 4120 section 5.2.3. */
static int parse_time(const struct der *text, int64_t *secs_r)
{
	int value[6], at = 0;
	struct tm tm = {0};

	if (text->bad || text->left != 15 || text->at[14] != 'Z')
		return -1;
	for (int i = 0; i < 6; i++) {
		value[i] = 0;
		for (int digits = i == 0 ? 4 : 2; digits > 0; digits--, at++) {
			if (text->at[at] < '0' || text->at[at] > '9')
				return -1;
			value[i] = value[i] * 10 + (text->at[at] - '0');
		}
	}
	tm.tm_year = value[0] - 1900;
	tm.tm_mon = value[1] - 1;
	tm.tm_mday = value[2];
	tm.tm_hour = value[3];
	tm.tm_min = value[4];
	tm.tm_sec = value[5];
	*secs_r = (int64_t)timegm(&tm);
	return 0;
}

int ticket_authenticator_time(const void *octets, size_t len, int64_t *secs_r)
{
	struct der der = {octets, len, false};
	struct der tagged = der_take(&der, TAG_AUTHENTICATOR);
	struct der fields = der_take(&tagged, DER_SEQUENCE);

	for (unsigned i = 0; i < 5; i++)
		der_skip_field(&fields, i);
	struct der when = der_take_field(&fields, 5, TAG_TIME);
	return fields.bad ? -1 : parse_time(&when, secs_r);
}
