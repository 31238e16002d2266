/* SPDX-License-Identifier: ISC */
/*
 * recital: what a client said in an exchange that shows a password, so that it can be said again.
 *
 * For exchange.c. The library cannot stop in the middle of a step: when a password is to be checked
 * elsewhere, the step fails, and once the verdict is there the same messages go to a new object of the
 * library's. Owns copies of the messages and wipes them.
 */
#ifndef KPOPD_SASL_RECITAL_H
#define KPOPD_SASL_RECITAL_H

#include <stdbool.h>
#include <stddef.h>

struct recital_message {
	char *octets_secret; /* NULL: the exchange began without an initial response */
	size_t len;
};

struct recital;
struct recital *recital_new(void); /* NULL: no memory */
void recital_free(struct recital **recital);
/* false: no memory, or more messages than any mechanism has. */
bool recital_add(struct recital *recital, const void *message, size_t len);
/* NULL behind the last. */
const struct recital_message *recital_get(const struct recital *recital, size_t index);

#endif
