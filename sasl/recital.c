/* SPDX-License-Identifier: ISC */
#include "recital.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "exchange.h"

struct recital {
	struct recital_message messages[SASLX_STEPS_COUNT + 1];
	size_t count;
};

struct recital *recital_new(void)
{
	return calloc(1, sizeof(struct recital));
}

void recital_free(struct recital **recital)
{
	struct recital *r = *recital;

	if (r == NULL)
		return;
	for (size_t i = 0; i < r->count; i++) {
		if (r->messages[i].octets_secret == NULL)
			continue;
		OPENSSL_cleanse(r->messages[i].octets_secret, r->messages[i].len);
		free(r->messages[i].octets_secret);
	}
	free(r);
	*recital = NULL;
}

bool recital_add(struct recital *recital, const void *message, size_t len)
{
	struct recital_message *added = &recital->messages[recital->count];

	if (recital->count >= sizeof(recital->messages) / sizeof(recital->messages[0]))
		return false;
	added->len = len;
	/* An empty message is one all the same. */
	if (message != NULL) {
		added->octets_secret = malloc(len + 1);
		if (added->octets_secret == NULL)
			return false;
		memcpy(added->octets_secret, message, len);
		added->octets_secret[len] = '\0';
	}
	recital->count++;
	return true;
}

const struct recital_message *recital_get(const struct recital *recital, size_t index)
{
	return index < recital->count ? &recital->messages[index] : NULL;
}
