/* SPDX-License-Identifier: ISC */
#include "server/auth_token.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

void auth_token_clear(struct auth_token *token)
{
	if (token->octets != NULL)
		OPENSSL_cleanse(token->octets, token->size);
	free(token->octets);
	*token = (struct auth_token){.octets = NULL};
}

/* Makes room for extra octets; no copy of a secret stays behind. */
static bool token_reserve(struct auth_token *token, size_t extra)
{
	size_t want = token->len + extra, size = token->size < 1024 ? 1024 : token->size;
	if (want <= token->size)
		return true;
	while (size < want)
		size *= 2;
	uint8_t *octets = malloc(size);
	if (octets == NULL)
		return false;
	if (token->octets != NULL) {
		memcpy(octets, token->octets, token->len);
		OPENSSL_cleanse(token->octets, token->size);
		free(token->octets);
	}
	token->octets = octets;
	token->size = size;
	return true;
}

void auth_token_feed(struct auth_token *token, const uint8_t *buf, size_t len)
{
	if (len == 0)
		return;
	token->bad = token->bad || token->cr; /* the CR before was not the line's end */
	token->cr = buf[len - 1] == '\r';
	if (token->cr)
		len--;
	if (len > 0 && token->line_octets == 0)
		token->first = buf[0];
	token->line_octets += len;
	token->bad = token->bad || token->line_octets > LIMIT_TOKEN_BASE64_OCTETS;
	if (len == 0)
		return;
	if (token->bad || !token_reserve(token, BASE64_DECODED_OCTETS(len))) {
		token->bad = true;
		return;
	}
	token->len += base64_decode(&token->decoder, buf, len, token->octets + token->len);
}

bool auth_token_is(const struct auth_token *token, uint8_t only)
{
	return token->line_octets == 1 && token->first == only;
}

bool auth_token_valid(const struct auth_token *token)
{
	return !token->bad && base64_decoded(&token->decoder) && token->len <= SASLX_TOKEN_OCTETS;
}
