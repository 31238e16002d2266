/* SPDX-License-Identifier: ISC */
#include "ticket.h"

#include <string.h>
#include <time.h>

/* Tags: X.690 section 8.1.2. */
enum {
	TAG_INTEGER = 0x02,
	TAG_OCTETS = 0x04,
	TAG_OID = 0x06,
	TAG_TIME = 0x18,
	TAG_STRING = 0x1b,
	TAG_SEQUENCE = 0x30,
	TAG_GSS_TOKEN = 0x60,
	TAG_TICKET = 0x61,
	TAG_AUTHENTICATOR = 0x62,
	TAG_AP_REQ = 0x6e,
	TAG_FIELD = 0xa0, /* [0], [1], … of a sequence */
};

#define NAMES_OCTETS 1024u /* far above any realm's or host's */

/* A view that is read from its front. bad sticks. */
struct der {
	const uint8_t *at;
	size_t left;
	bool bad;
};

static uint8_t take_octet(struct der *der)
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
	size_t len = take_octet(der);

	if (len >= 0x80) {
		size_t count = len & 0x7f;

		len = 0;
		if (count == 0 || count > sizeof(uint32_t))
			der->bad = true;
		for (size_t i = 0; i < count && !der->bad; i++)
			len = len << 8 | take_octet(der);
	}
	if (len > der->left)
		der->bad = true;
	return der->bad ? 0 : len;
}

static bool next_is(const struct der *der, uint8_t tag)
{
	return !der->bad && der->left > 0 && der->at[0] == tag;
}

/* The contents of the next value, which must have this tag. */
static struct der take(struct der *der, uint8_t tag)
{
	struct der inner = {NULL, 0, true};

	if (!next_is(der, tag)) {
		der->bad = true;
		return inner;
	}
	take_octet(der);
	size_t len = take_length(der);
	if (der->bad)
		return inner;
	inner = (struct der){der->at, len, false};
	der->at += len;
	der->left -= len;
	return inner;
}

static struct der take_field(struct der *der, unsigned number, uint8_t tag)
{
	struct der field = take(der, (uint8_t)(TAG_FIELD + number));
	struct der inner = take(&field, tag);

	der->bad = der->bad || inner.bad;
	return inner;
}

/* A field there may be, of no interest. */
static void skip_field(struct der *der, unsigned number)
{
	if (next_is(der, (uint8_t)(TAG_FIELD + number)))
		take(der, (uint8_t)(TAG_FIELD + number));
}

static int64_t take_integer(struct der *der, unsigned number)
{
	struct der value = take_field(der, number, TAG_INTEGER);
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

static void take_sealed(struct der *der, unsigned number, struct ticket_sealed *sealed_r)
{
	struct der data = take_field(der, number, TAG_SEQUENCE);

	sealed_r->enctype = (int32_t)take_integer(&data, 0);
	sealed_r->has_kvno = next_is(&data, TAG_FIELD + 1);
	sealed_r->kvno = sealed_r->has_kvno ? (uint32_t)take_integer(&data, 1) : 0;
	struct der cipher = take_field(&data, 2, TAG_OCTETS);
	sealed_r->cipher = (struct ticket_octets){cipher.at, cipher.left};
	der->bad = der->bad || data.bad;
}

static void take_name(struct der *der, unsigned number, struct ticket *ticket)
{
	struct der name = take_field(der, number, TAG_SEQUENCE);

	skip_field(&name, 0);
	struct der strings = take_field(&name, 1, TAG_SEQUENCE);
	while (!strings.bad && strings.left > 0 && ticket->component_count < TICKET_COMPONENTS_COUNT) {
		struct der string = take(&strings, TAG_STRING);

		if (string.left > NAMES_OCTETS)
			strings.bad = true;
		ticket->components[ticket->component_count++] =
		    (struct ticket_octets){string.at, string.left};
	}
	der->bad = der->bad || name.bad || strings.bad || strings.left > 0 || ticket->component_count == 0;
}

static void take_ticket(struct der *der, unsigned number, struct ticket *ticket)
{
	struct der tagged = take_field(der, number, TAG_TICKET);
	struct der fields = take(&tagged, TAG_SEQUENCE);

	if (take_integer(&fields, 0) != 5)
		fields.bad = true;
	struct der realm = take_field(&fields, 1, TAG_STRING);
	ticket->realm = (struct ticket_octets){realm.at, realm.left};
	if (realm.left > NAMES_OCTETS)
		fields.bad = true;
	take_name(&fields, 2, ticket);
	take_sealed(&fields, 3, &ticket->part);
	der->bad = der->bad || fields.bad;
}

static int read_apreq(struct der der, struct ticket *ticket_r)
{
	struct der tagged = take(&der, TAG_AP_REQ);
	struct der fields = take(&tagged, TAG_SEQUENCE);

	if (take_integer(&fields, 0) != 5 || take_integer(&fields, 1) != 14)
		fields.bad = true;
	skip_field(&fields, 2);
	take_ticket(&fields, 3, ticket_r);
	take_sealed(&fields, 4, &ticket_r->authenticator);
	return fields.bad ? TICKET_BROKEN : TICKET_OK;
}

/* RFC 4121 section 4.1: two octets say what follows. */
static int read_token(struct der der, struct ticket *ticket_r)
{
	unsigned kind = take_octet(&der);

	kind = kind << 8 | take_octet(&der);
	if (der.bad || kind != 0x0100 || !next_is(&der, TAG_AP_REQ))
		return TICKET_KIND;
	return read_apreq(der, ticket_r);
}

static int read_frame(struct der der, struct ticket *ticket_r)
{
	static const uint8_t kerberos[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02};
	struct der frame = take(&der, TAG_GSS_TOKEN);
	struct der oid = take(&frame, TAG_OID);

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
	if (next_is(&der, TAG_GSS_TOKEN))
		return read_frame(der, ticket_r);
	if (header)
		return read_token(der, ticket_r);
	return next_is(&der, TAG_AP_REQ) ? read_apreq(der, ticket_r) : TICKET_NONE;
}

bool ticket_whole(const void *octets, size_t len)
{
	struct der der = {octets, len, false};

	take(&der, TAG_AP_REQ);
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
	struct der tagged = take(&der, TAG_AUTHENTICATOR);
	struct der fields = take(&tagged, TAG_SEQUENCE);

	for (unsigned i = 0; i < 5; i++)
		skip_field(&fields, i);
	struct der when = take_field(&fields, 5, TAG_TIME);
	return fields.bad ? -1 : parse_time(&when, secs_r);
}
