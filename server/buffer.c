/* SPDX-License-Identifier: ISC */
#include "server/buffer.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

void buffer_release(struct buffer *buffer)
{
	if (buffer->octets != NULL)
		OPENSSL_cleanse(buffer->octets, buffer->high);
	free(buffer->octets);
	*buffer = (struct buffer){0};
}

/* Never realloc: it would leave the old octets in freed memory. */
int buffer_resize(struct buffer *buffer, size_t size)
{
	struct buffer bigger = {
	    .octets = malloc(size), .size = size, .len = buffer->len, .high = buffer->len};

	if (bigger.octets == NULL)
		return -1;
	if (buffer->len > 0)
		memcpy(bigger.octets, buffer->octets + buffer->start, buffer->len);
	buffer_release(buffer);
	*buffer = bigger;
	return 0;
}

void buffer_compact(struct buffer *buffer)
{
	if (buffer->start == 0)
		return;
	memmove(buffer->octets, buffer->octets + buffer->start, buffer->len);
	OPENSSL_cleanse(buffer->octets + buffer->len, buffer->high - buffer->len);
	buffer->high = buffer->len;
	buffer->start = 0;
}

void buffer_added(struct buffer *buffer, size_t len)
{
	buffer->len += len;
	if (buffer->high < buffer->start + buffer->len)
		buffer->high = buffer->start + buffer->len;
}

void buffer_drop(struct buffer *buffer, size_t len)
{
	buffer->start += len;
	buffer->len -= len;
	if (buffer->len == 0)
		buffer->start = 0;
}

size_t buffer_room(const struct buffer *buffer)
{
	return buffer->size - buffer->start - buffer->len;
}

uint8_t *buffer_end(const struct buffer *buffer)
{
	return buffer->octets + buffer->start + buffer->len;
}
