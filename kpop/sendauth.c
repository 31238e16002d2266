/* SPDX-License-Identifier: ISC */
#include "sendauth.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_OCTETS 4u
/* Both strings are shorter; a client with another version of the protocol still gets its answer octet. */
#define STRING_OCTETS 64u

static const char sendauth_version[] = "KRB5_SENDAUTH_V1.0"; /* on the wire with its NUL */
static const char application_version[] = "KPOPV1.0";

enum phase {
	PHASE_FIRST = 0,
	PHASE_VERSION,
	PHASE_SERVICE_LENGTH,
	PHASE_SERVICE,
	PHASE_APREQ_LENGTH,
	PHASE_APREQ,
	PHASE_END
};

struct sendauth {
	enum phase phase;
	enum sendauth_event end; /* once the phase is PHASE_END */
	size_t want, got;        /* octets of the piece that is being read */
	uint8_t piece[STRING_OCTETS];
	uint8_t *apreq; /* the piece, once it is the AP-REQ */
	size_t apreq_len;
};

struct sendauth *sendauth_new(void)
{
	struct sendauth *sendauth = calloc(1, sizeof(*sendauth));
	if (sendauth != NULL)
		sendauth->want = LENGTH_OCTETS;
	return sendauth;
}

void sendauth_free(struct sendauth **sendauth)
{
	if (*sendauth == NULL)
		return;
	free((*sendauth)->apreq);
	free(*sendauth);
	*sendauth = NULL;
}

static enum sendauth_event end(struct sendauth *sendauth, enum sendauth_event event)
{
	sendauth->phase = PHASE_END;
	sendauth->end = event;
	return event;
}

static void expect(struct sendauth *sendauth, enum phase phase, size_t want)
{
	sendauth->phase = phase;
	sendauth->want = want;
	sendauth->got = 0;
}

static bool typed(uint8_t octet)
{
	return (octet >= 0x20 && octet < 0x7f) || octet == '\r' || octet == '\n' || octet == '\t';
}

/*
 * Who is there, by the first one to four octets. SENDAUTH_MORE: it may still be a sendauth length, Kerberos 4
 * or TLS. Only what these octets are decides, never how many came at once.
 */
static enum sendauth_event recognise(const uint8_t *first, size_t len)
{
	static const uint8_t krb4[LENGTH_OCTETS] = {'A', 'U', 'T', 'H'};
	static const uint8_t tls[2] = {0x16, 0x03}; /* a handshake record of any version */

	if (memcmp(first, krb4, len) == 0)
		return len == sizeof(krb4) ? SENDAUTH_KRB4 : SENDAUTH_MORE;
	if (memcmp(first, tls, len < sizeof(tls) ? len : sizeof(tls)) == 0)
		return len >= sizeof(tls) ? SENDAUTH_TLS : SENDAUTH_MORE;
	if (typed(first[0]))
		return SENDAUTH_TEXT;
	for (size_t i = 0; i < len && i < LENGTH_OCTETS - 1; i++)
		if (first[i] != 0)
			return SENDAUTH_GARBAGE;
	if (len == LENGTH_OCTETS &&
	    (first[LENGTH_OCTETS - 1] == 0 || first[LENGTH_OCTETS - 1] > STRING_OCTETS))
		return SENDAUTH_GARBAGE;
	return SENDAUTH_MORE;
}

static size_t piece_length(const struct sendauth *sendauth)
{
	const uint8_t *octets = sendauth->piece;
	return (size_t)octets[0] << 24 | (size_t)octets[1] << 16 | (size_t)octets[2] << 8 | octets[3];
}

static bool piece_is(const struct sendauth *sendauth, const char *string, size_t size)
{
	return sendauth->want == size && memcmp(sendauth->piece, string, size) == 0;
}

/* A length has been read: what it announces comes next. */
static enum sendauth_event length_read(struct sendauth *sendauth, enum phase next, size_t most)
{
	size_t len = piece_length(sendauth);
	if (len == 0 || len > most)
		return end(sendauth, SENDAUTH_GARBAGE);
	expect(sendauth, next, len);
	return SENDAUTH_MORE;
}

static enum sendauth_event apreq_length_read(struct sendauth *sendauth)
{
	if (length_read(sendauth, PHASE_APREQ, SENDAUTH_APREQ_OCTETS) != SENDAUTH_MORE)
		return SENDAUTH_GARBAGE;
	sendauth->apreq = malloc(sendauth->want);
	return sendauth->apreq != NULL ? SENDAUTH_MORE : end(sendauth, SENDAUTH_GARBAGE);
}

/* The piece is whole. */
static enum sendauth_event piece_read(struct sendauth *sendauth)
{
	switch (sendauth->phase) {
	case PHASE_FIRST:
		return length_read(sendauth, PHASE_VERSION, STRING_OCTETS);
	case PHASE_VERSION:
		if (!piece_is(sendauth, sendauth_version, sizeof(sendauth_version)))
			return end(sendauth, SENDAUTH_BAD_VERSION);
		expect(sendauth, PHASE_SERVICE_LENGTH, LENGTH_OCTETS);
		return SENDAUTH_MORE;
	case PHASE_SERVICE_LENGTH:
		return length_read(sendauth, PHASE_SERVICE, STRING_OCTETS);
	case PHASE_SERVICE:
		if (!piece_is(sendauth, application_version, sizeof(application_version)))
			return end(sendauth, SENDAUTH_BAD_SERVICE);
		expect(sendauth, PHASE_APREQ_LENGTH, LENGTH_OCTETS);
		return SENDAUTH_VERSIONS_OK;
	case PHASE_APREQ_LENGTH:
		return apreq_length_read(sendauth);
	case PHASE_APREQ:
		sendauth->apreq_len = sendauth->want;
		return end(sendauth, SENDAUTH_APREQ);
	case PHASE_END:
		break;
	}
	return sendauth->end;
}

enum sendauth_event sendauth_feed(struct sendauth *sendauth, const void *buf, size_t len, size_t *used_r)
{
	const uint8_t *octets = buf;

	*used_r = 0;
	if (sendauth->phase == PHASE_END)
		return sendauth->end;
	while (*used_r < len) {
		uint8_t *to = sendauth->phase == PHASE_APREQ ? sendauth->apreq : sendauth->piece;
		size_t take = sendauth->want - sendauth->got;
		if (take > len - *used_r)
			take = len - *used_r;
		if (sendauth->phase == PHASE_FIRST)
			take = 1; /* each of them may say that it is something else */
		memcpy(to + sendauth->got, octets + *used_r, take);
		sendauth->got += take;
		*used_r += take;
		enum sendauth_event event = SENDAUTH_MORE;
		if (sendauth->phase == PHASE_FIRST) {
			event = recognise(sendauth->piece, sendauth->got);
			if (event != SENDAUTH_MORE) {
				*used_r = 0;
				return end(sendauth, event);
			}
		}
		if (sendauth->got == sendauth->want)
			event = piece_read(sendauth);
		if (event != SENDAUTH_MORE)
			return event;
	}
	return SENDAUTH_MORE;
}

const uint8_t *sendauth_apreq(const struct sendauth *sendauth, size_t *len_r)
{
	*len_r = sendauth->apreq_len;
	return sendauth->apreq;
}
