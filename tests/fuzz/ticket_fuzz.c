/* SPDX-License-Identifier: ISC */
/* What is read of a ticket without a key: any octets, and whatever is taken from them must lie inside. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kpop/ticket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_lie_inside(struct ticket_octets view, const uint8_t *data, size_t size)
{
	if (view.len != 0 && (view.octets < data || view.len > (size_t)(data + size - view.octets)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ticket ticket;
	int64_t secs;
	/* A copy, so that a sanitizer sees where it ends. */
	uint8_t *copy = malloc(size + 1);

	if (copy == NULL)
		return 0;
	memcpy(copy, data, size);
	copy = realloc(copy, size != 0 ? size : 1);
	int err = ticket_read(copy, size, &ticket);
	if ((ticket_err_text(err)[0] == '\0') != (err == TICKET_OK))
		abort();
	if (err == TICKET_OK) {
		if (ticket.component_count == 0 || ticket.component_count > TICKET_COMPONENTS_COUNT)
			abort();
		for (unsigned i = 0; i < ticket.component_count; i++)
			must_lie_inside(ticket.components[i], copy, size);
		must_lie_inside(ticket.realm, copy, size);
		must_lie_inside(ticket.part.cipher, copy, size);
		must_lie_inside(ticket.authenticator.cipher, copy, size);
	}
	(void)ticket_whole(copy, size);
	(void)ticket_authenticator_time(copy, size, &secs);
	free(copy);
	return 0;
}
